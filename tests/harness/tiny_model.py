"""A model of four lines in a few hundred weights, for tests of everything around a model.

The lines bow and shift with the brightness and colour of the picture, so that preprocessing matters; a BatchNorm makes
the training mode matter.
"""

from __future__ import annotations

from pathlib import Path

NETWORK = '''"""Four lines whose shape follows the mean colour of image columns."""

import torch
from torch import nn


class Tiny(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.pool = nn.AdaptiveAvgPool2d((4, 4))
        self.head = nn.Linear(128, 4 * 3)
        for p in self.parameters():
            if p.ndim > 1:
                p.data = torch.randn(p.shape, generator=generator) / p[0].numel() ** 0.5
        for layer in (self.conv, self.head):
            bound = layer.weight[0].numel() ** -0.5
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        self.norm.running_mean.fill_(0.1)
        self.norm.running_var.fill_(0.5)
        x = torch.linspace(0, 80, 33)
        self.register_buffer("x", x)
        self.register_buffer("powers", torch.stack([torch.ones_like(x), x / 80, (x / 80) ** 2]))
        self.register_buffer("base", torch.tensor([5.4, 1.8, -1.8, -5.4]))

    def forward(self, image):
        features = self.pool(torch.relu(self.norm(self.conv(image)))).flatten(1)
        y = self.base[:, None] + self.head(features).view(-1, 4, 3) @ self.powers
        lines = torch.stack([self.x.expand_as(y), y], dim=-1)
        return lines, torch.sigmoid(3 + 0 * y[:, :, 0])
'''

CARD = """schema = 1
name = "tiny"
inputs = [{name = "image", shape = [1, 3, 36, 64], layout = "NCHW", source = "camera.front"}]
outputs = [{name = "lines"}, {name = "scores"}]
[torch]
factory = "network:Tiny"
weights = "tiny.safetensors"
[decoder]
name = "polyline"
[preprocess]
train = [
    {op = "to_rgb"},
    {op = "resize", size = [64, 36], antialias = true},
    {op = "normalise"},
]
deploy = [
    {op = "to_rgb", arithmetic = "fixed"},
    {op = "resize", size = [64, 36], arithmetic = "fixed"},
    {op = "round_u8"},
    {op = "normalise"},
]
"""


def write_tiny(folder: Path, seed: int = 0) -> Path:
    """Write network, weights and card; returns the card."""

    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "network.py").write_text(NETWORK)
    scope: dict[str, object] = {"__name__": "tiny_network"}
    exec(compile(NETWORK, "network.py", "exec"), scope)
    model = scope["Tiny"](seed)  # type: ignore[operator]  # what the source above defines
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "tiny.safetensors")
    (folder / "tiny.toml").write_text(CARD)
    return folder / "tiny.toml"
