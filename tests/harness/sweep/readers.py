"""Planted models whose answer to any move of the picture is known, and pictures for them.

A picture shows two bright stripes on grey, slanted and moving. `Reader` takes, row by row, the middle of the brightness
within a window around each stripe: it draws exactly what is there. Its weight `sight` is the share of that which it
uses; 0 draws the same two lines for ever. `bow` bends them by the brightness of the picture. In the vehicle frame rows
and columns become ground points by the calibration that it believes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from cases.schema import CameraMeta
from cases.writer import CaseWriter

WIDTH, HEIGHT, FPS = 96, 64, 20.0
FIRST_ROW = 14
MIDDLES = (32.0, 64.0)
FOCAL, CENTRE, CAMERA_M, PITCH = 100.0, (47.5, 12.0), 1.4, 0.02

NETWORK = '''"""Two stripes, read row by row."""

import math

import torch
from torch import nn


class Reader(nn.Module):
    def __init__(self, sight=1.0, ground=False, bow=0.0) -> None:
        super().__init__()
        self.sight, self.ground, self.bow = sight, ground, bow
        u, middle = torch.arange(96.0), torch.tensor([32.0, 64.0])
        self.register_buffer("u", u, persistent=False)
        self.register_buffer("middle", middle[:, None], persistent=False)
        self.register_buffer("window", ((u - middle[:, None]).abs() < 15).float()[:, None], persistent=False)
        self.register_buffer("v", torch.arange(14.0, 64.0), persistent=False)

    def forward(self, image):
        paint = (image.mean(1)[:, None, 14:] - 0.45).clamp(min=0) * self.window
        seen = (paint * self.u).sum(-1) / paint.sum(-1).clamp(min=1e-6)
        u = self.middle + self.sight * (seen - self.middle)
        u = u + self.bow * (image.mean() - 0.5).clamp(min=0) * ((self.v - 38) / 25) ** 2
        v = self.v.expand_as(u)
        if self.ground:
            below = 0.02 + torch.atan((v - 12.0) / 100.0)
            x = 1.6 + 1.4 / torch.tan(below)
            depth = (x - 1.6) * math.cos(0.02) + 1.4 * math.sin(0.02)
            return torch.stack([x, -(u - 47.5) * depth / 100.0], -1), 0.9 + 0 * u[..., 0]
        return torch.stack([u, v], -1), 0.9 + 0 * u[..., 0]
'''

CARD = """schema = 1
name = "{name}"
{frame}
inputs = [{{name = "image", shape = [1, 3, 64, 96], layout = "NCHW", source = "camera.front"}}]
outputs = [{{name = "lines"}}, {{name = "scores"}}]
[torch]
factory = "network:Reader"
args = {{sight = {sight}, ground = {ground}, bow = {bow}}}
[decoder]
name = "polyline"
[preprocess]
train = [{{op = "to_rgb"}}, {{op = "normalise"}}]
deploy = [{{op = "to_rgb"}}, {{op = "normalise"}}]
"""
IMAGE = 'frame = "image"\nlength_unit = "px"\nimage = {width = 96, height = 64, rows = [63, 14]}'


def write_reader(
    folder: Path, *, sight: float = 1.0, ground: bool = False, bow: float = 0.0, name: str = "reader"
) -> Path:
    """Write network and card; returns the card."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "network.py").write_text(NETWORK)
    frame = "" if ground else IMAGE
    text = CARD.format(name=name, frame=frame, sight=sight, ground=str(ground).lower(), bow=bow)
    (folder / f"{name}.toml").write_text(text)
    return folder / f"{name}.toml"


def write_stripes(out: Path, *, frames: int = 12, calibrated: bool = True, name: str = "stripes") -> Path:
    """A case of two stripes that weave."""
    import cv2

    cos, sin = np.cos(PITCH), np.sin(PITCH)
    known = {
        "intrinsics": [[FOCAL, 0, CENTRE[0]], [0, FOCAL, CENTRE[1]], [0, 0, 1]],
        "extrinsics": [[0, -sin, cos, 1.6], [-1, 0, 0, 0], [0, -cos, -sin, CAMERA_M], [0, 0, 0, 1]],
    }
    meta = CameraMeta(kind="images", pixel_format="rgb24", width=WIDTH, height=HEIGHT, **(known if calibrated else {}))
    u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    with CaseWriter(out, id=name, fps=FPS, lossy=False, source="drawn") as case:
        folder = case.add_camera("front", meta) / "images"
        for i in range(frames):
            middles = [m + 0.08 * (v - HEIGHT / 2) + 2 * np.sin(i / 2) for m in MIDDLES]
            paint = sum(np.exp(-0.5 * ((u - m) / 2.0) ** 2) for m in middles)
            grey = np.clip(np.rint(100 + 120 * paint), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{i:06d}.png"), np.repeat(grey[..., None], 3, axis=2))
        frame = np.arange(frames)
        times = (frame * 1e9 / FPS).astype(np.int64)
        case.set_frames(pl.DataFrame({"frame": frame, "timestamp_ns": times, "camera": "front", "index": frame}))
    return case.path
