"""RoadLines: a small network that gives the four lines around the ego lane as polylines in metres.

A convolutional backbone reduces the picture to a grid of cells 4 pixels wide and 8 high. Rows are then folded into
channels, so that what remains is one feature vector per image column; for every slot and station the head says in which
columns the line passes (softmax) and how far from the column's middle (a learned offset). Column middles are turned
into metres by the camera's geometry, inside the graph, as deployed models do. Stations nearer than the camera sees are
read from the nearest visible ones: a learned 33 x 33 mix of stations per slot, which starts as a cubic fit through the
visible ones, finishes the polyline.

Ours; the softmax over places follows the idea of Qin et al., "Ultra Fast Structure-aware Deep Lane Detection" (2020),
with stations ahead in metres instead of image rows.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["NEAREST_SEEN_M", "SLOTS", "STATIONS_M", "RoadLines"]

SLOTS = 4  # left-left, ego left, ego right, right-right
STATIONS_M = tuple(float(x) for x in np.linspace(0, 80, 33))

# The camera as the input sees it: 640 x 256 pixels from row 104 on, shrunk to a quarter (model card, [preprocess]).
WIDTH, HEIGHT = 160, 64
CELL_WIDTH, CELL_HEIGHT = 4, 8
SCALE = 160 / 640
FOCAL_PX, CENTER_PX = 560.0 * SCALE, (319.5 + 0.5) * SCALE - 0.5
CAMERA_X_M = 1.6
NEAREST_SEEN_M = 7.5  # stations before this one leave the picture at the sides


class RoadLines(nn.Module):
    """Input [batch, 3, 64, 160], normalised RGB; outputs (lines [batch, 4, 33, 2] metres, scores [batch, 4] in 0..1).

    Args:
        width: channels of the stem; the others are multiples of it.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        deep, columns, stations = 4 * width, WIDTH // CELL_WIDTH, len(STATIONS_M)
        self.backbone = nn.Sequential(
            _conv(3, width, stride=2),
            _conv(width, 2 * width, stride=2),
            _Residual(2 * width),
            _conv(2 * width, deep, stride=(2, 1)),
            _Residual(deep),
            _Residual(deep, dilation=2),
        )
        folded = 6 * width
        self.fold = nn.Sequential(
            nn.Conv1d(deep * HEIGHT // CELL_HEIGHT, folded, 1, bias=False), nn.BatchNorm1d(folded), nn.ReLU()
        )
        self.across = nn.Sequential(_Across(folded, 1), _Across(folded, 2), _Across(folded, 4))
        self.columns = nn.Conv1d(folded, 2 * SLOTS * stations, 1)
        self.presence = nn.Linear(2 * folded, SLOTS)
        self.mix = nn.Parameter(_cubic_fit().repeat(SLOTS, 1, 1))
        station = torch.tensor(STATIONS_M)
        pixel = (torch.arange(columns) + 0.5) * CELL_WIDTH - 0.5
        metre = (torch.clamp(station, min=NEAREST_SEEN_M) - CAMERA_X_M) / FOCAL_PX
        self.register_buffer("station_m", station, persistent=False)
        self.register_buffer("column_m", metre[:, None] * (CENTER_PX - pixel), persistent=False)
        self.register_buffer("cell_m", metre[:, None] * CELL_WIDTH, persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Lines in metres and the probability that each slot has one."""
        y_m, presence, _ = self.parts(image)
        x_m = self.station_m.expand(y_m.shape)
        return torch.stack([x_m, y_m], dim=-1), torch.sigmoid(presence)

    def parts(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What training needs: y in metres [batch, 4, 33], presence logits [batch, 4], column logits [.., 33, 40]."""
        grid = self.backbone(image)
        features = self.across(self.fold(grid.flatten(1, 2)))
        logits, offsets = self.columns(features).unflatten(1, (2, SLOTS, len(STATIONS_M))).unbind(1)
        weight = torch.softmax(logits, dim=-1)
        seen_m = (weight * (self.column_m + self.cell_m * offsets)).sum(-1)
        y_m = self.finished(seen_m, weight)
        pooled = torch.cat([features.mean(-1), features.amax(-1)], dim=1)
        return y_m, self.presence(pooled), logits

    def finished(self, seen_m: Tensor, weight: Tensor) -> Tensor:
        """Whole lines [batch, 4, 33] of what every station saw by itself.

        Args:
            seen_m: y in metres [batch, 4, 33].
            weight: of the columns [batch, 4, 33, 40], each row sums to 1; a subclass may ask how sure a station is.
        """
        return torch.matmul(self.mix, seen_m[..., None])[..., 0]


class _Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(channels, channels, dilation=dilation), _conv(channels, channels, activate=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class _Across(nn.Module):
    """A residual convolution over columns."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm1d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


def _conv(
    into: int, out: int, stride: int | tuple[int, int] = 1, dilation: int = 1, activate: bool = True
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(into, out, 3, stride, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(out),
    ]
    return nn.Sequential(*layers, *([nn.ReLU()] if activate else []))


def _cubic_fit() -> Tensor:
    """[33, 33]: values at all stations of the least-squares cubic through the visible ones."""
    x = np.array(STATIONS_M) / 80
    powers = np.stack([x**k for k in range(4)], axis=1)
    seen = (np.array(STATIONS_M) >= NEAREST_SEEN_M) / (0.1 + x)
    solve = np.linalg.pinv(powers * seen[:, None]) * seen
    return torch.tensor(powers @ solve, dtype=torch.float32)
