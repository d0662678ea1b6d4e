"""A model without training whose sensitivities are known, and a road it reads: what faults are planted in here.

The picture is a road from above: rows are 0 to 80 m ahead, columns 16 m across, with four yellowish lines on grey. The
network looks for yellow (red and green against blue), normalises it, and takes, within the window of each slot, the
mean column under a softmax. A brighter or duller picture changes how sharp the softmax is, a shifted picture shifts the
lines, exchanged colours leave nothing to find.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from cases.schema import CameraMeta
from cases.writer import CaseWriter

WIDTH, HEIGHT = 128, 80  # of the recording; the network sees half
ACROSS_M = 16.0
SLOTS_M = (5.4, 1.8, -1.8, -5.4)
FPS, FRAMES = 20.0, 50
GREY, YELLOW = (100.0, 102.0, 104.0), (215.0, 190.0, 60.0)

NETWORK = '''"""Four lines in a picture of the road from above."""

import torch
from torch import nn

SLOTS_M = (5.4, 1.8, -1.8, -5.4)


class Seeker(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.yellow = nn.Conv2d(3, 1, 1)
        self.norm = nn.BatchNorm2d(1)
        across = 1 - (torch.arange(64) + 0.5) / 32
        self.half_width = nn.Parameter(torch.tensor([1.0]))
        window = (8.0 * across[None] - torch.tensor(SLOTS_M)[:, None]).abs() < 1.7
        self.register_buffer("across", across, persistent=False)
        self.register_buffer("outside", torch.where(window, 0.0, -1e4)[:, None], persistent=False)
        self.register_buffer("ahead", torch.linspace(0, 80, 40), persistent=False)

    def forward(self, image):
        seen = self.norm(self.yellow(image))
        weight = torch.softmax(seen + self.outside, dim=-1)
        y = (weight * self.across * self.half_width).sum(-1).flip(-1)
        lines = torch.stack([self.ahead.expand_as(y), y], dim=-1)
        return lines, 0.99 + 0.0 * y[:, :, 0]
'''

CARD = """schema = 1
name = "seeker"
inputs = [{name = "image", shape = [1, 3, 40, 64], layout = "NCHW", source = "camera.top"}]
outputs = [{name = "lines", shape = [1, 4, 40, 2]}, {name = "scores", shape = [1, 4]}]
[torch]
factory = "network:Seeker"
weights = "seeker.safetensors"
[export]
exporter = "legacy"
opset = 17
[decoder]
name = "polyline"
[preprocess]
train = [
    {op = "nv12"},
    {op = "to_rgb"},
    {op = "resize", size = [64, 40], antialias = true},
    {op = "normalise"},
]
deploy = [
    {op = "nv12"},
    {op = "to_rgb", arithmetic = "fixed"},
    {op = "resize", size = [64, 40], antialias = true, arithmetic = "fixed"},
    {op = "round_u8"},
    {op = "normalise"},
]
"""


def write_model(folder: Path) -> Path:
    """Write network, weights and card; returns the card."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "network.py").write_text(NETWORK)
    state = {
        "yellow.weight": torch.tensor([1.0, 0.8, -1.6]).view(1, 3, 1, 1),
        "yellow.bias": torch.tensor([0.05]),
        "norm.weight": torch.tensor([1.1]),
        "norm.bias": torch.tensor([0.0]),
        "norm.running_mean": torch.tensor([0.16]),
        "norm.running_var": torch.tensor([0.02]),
        "half_width": torch.tensor([8.0]),
        "norm.num_batches_tracked": torch.tensor(1),
    }
    save_file(state, folder / "seeker.safetensors")
    (folder / "seeker.toml").write_text(CARD)
    return folder / "seeker.toml"


def road(seed: int) -> np.ndarray:
    """Lateral position of every line, metres, [frames, 4, rows]; rows from far to near as in the picture."""
    rng = np.random.default_rng(seed)
    t = np.arange(FRAMES) / FPS
    weave = 0.25 * np.sin(2 * np.pi * (0.4 * t + rng.random())) + 0.1 * np.sin(2 * np.pi * (0.15 * t + rng.random()))
    ahead = np.linspace(1, 0, HEIGHT)
    curve = rng.uniform(-0.5, 0.5) * ahead**2
    return np.array(SLOTS_M)[None, :, None] + weave[:, None, None] + curve


def picture(lines_m: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One recorded frame, uint8 [height, width, 3], red first."""
    across = ACROSS_M / 2 - (np.arange(WIDTH) + 0.5) * ACROSS_M / WIDTH
    paint = np.exp(-0.5 * ((across[None, None] - lines_m[..., None]) / 0.14) ** 2).max(axis=0)
    rgb = np.array(GREY) + paint[..., None] * (np.array(YELLOW) - np.array(GREY))
    return np.clip(np.rint(rgb + rng.normal(0, 1.0, (HEIGHT, WIDTH, 1))), 0, 255).astype(np.uint8)


def write_case(out: Path, seed: int, *, lossy: bool = False) -> Path:
    """A case of two and a half seconds."""
    import cv2

    rng = np.random.default_rng(seed + 1000)
    with CaseWriter(out, id=f"road_{seed}", fps=FPS, lossy=lossy, source="drawn") as case:
        meta = CameraMeta(kind="images", pixel_format="rgb24", width=WIDTH, height=HEIGHT)
        folder = case.add_camera("top", meta) / "images"
        for i, lines_m in enumerate(road(seed)):
            cv2.imwrite(str(folder / f"{i:06d}.png"), picture(lines_m, rng)[..., ::-1])
        frame = np.arange(FRAMES)
        times = (frame * 1e9 / FPS).astype(np.int64)
        case.set_frames(pl.DataFrame({"frame": frame, "timestamp_ns": times, "camera": "top", "index": frame}))
    return case.path
