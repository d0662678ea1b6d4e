"""Small networks with what makes exports hard: BatchNorm, several inputs, recurrent state, dict outputs."""

import torch
from torch import nn


class Lanes(nn.Module):
    """Convolution, BatchNorm, ReLU, pooling, linear: one tensor out."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 6)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.norm(self.conv(images))).mean((2, 3)))


class Calibrated(Lanes):
    """Two inputs, a list of outputs."""

    def forward(self, images: torch.Tensor, intrinsics: torch.Tensor) -> list[torch.Tensor]:
        lines = super().forward(images)
        return [lines * intrinsics[:, 0, 0:1], torch.sigmoid(lines)]


class Recurrent(Lanes):
    """State in and out, outputs in a dict, one of them the input itself."""

    def forward(self, images: torch.Tensor, hidden: torch.Tensor) -> dict[str, torch.Tensor]:
        state = torch.tanh(super().forward(images) + hidden)
        return {"hidden_out": state, "lines": state * 2, "echo": images, "spare": state}


class Paired(Lanes):
    """A tuple, as most networks give."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        lines = super().forward(images)
        return lines, torch.sigmoid(lines)
