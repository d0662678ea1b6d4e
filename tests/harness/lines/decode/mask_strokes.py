"""Masks of strokes with known centre lines, for decoder tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from harness.lines.decode.mask import MaskOptions, lines_of_margin

HEIGHT, WIDTH = 360, 640
Curve = Callable[[np.ndarray], np.ndarray]

v, u = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)


def straight(at_200: float, slope: float) -> Curve:
    return lambda rows: at_200 + slope * (rows - 200)


def stroke(
    curve: Curve, width: float, near: float = 350, far: float = 205, dash: tuple[int, int] | None = None
) -> np.ndarray:
    """Pixels within width / 2 of the curve along the row; dash = (period, painted) rows."""
    mask = (np.abs(u - curve(v)) <= width / 2) & (v <= near) & (v >= far)
    return mask if dash is None else mask & ((v - far) % dash[0] < dash[1])


def margin(*masks: np.ndarray) -> np.ndarray:
    return np.where(np.any(masks, axis=0), 1, -1).astype(np.float32)


def decoded(values: np.ndarray, **options: object) -> list[np.ndarray]:
    return [points for points, _ in lines_of_margin(values, MaskOptions(**options))]


def error_px(points: np.ndarray, curve: Curve) -> float:
    return float(np.abs(points[:, 0] - curve(points[:, 1])).max())


def across_px(one: np.ndarray, other: np.ndarray) -> float:
    """Largest distance across the line on the rows both have."""
    rows = np.arange(max(one[-1, 1], other[-1, 1]), min(one[0, 1], other[0, 1]) + 1)
    first, second = (np.interp(rows, p[::-1, 1], p[::-1, 0]) for p in (one, other))
    tilt = np.hypot(1, (one[0, 0] - one[-1, 0]) / (one[0, 1] - one[-1, 1]))
    return float(np.abs(first - second).max() / tilt)


def logits(values: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """[frames, 1, 2, height, width] whose channel 1 minus channel 0 is the margin of each frame."""
    margins = np.asarray(values, np.float32)
    return np.stack([-margins / 2, margins / 2], axis=1)[:, None]
