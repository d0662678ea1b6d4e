"""Pictures, truth and frames that the tests of cases write and expect to read back."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

WIDTH, HEIGHT, STEP_NS = 64, 48, 50_000_000


def planes_of(frame: int) -> NDArray[np.uint8]:
    """I420 planes of a picture that no other frame has: a texture that moves, chroma that changes."""
    v, u = np.mgrid[0:HEIGHT, 0:WIDTH]
    luma = 40 + (3 * u + 5 * v + 11 * frame) % 160
    chroma = np.full((HEIGHT // 2, WIDTH), 100 + frame % 50)
    return np.concatenate([luma, chroma]).astype(np.uint8)


def truth_of(count: int) -> pl.DataFrame:
    """One straight line in every frame."""
    return pl.DataFrame(
        {
            "frame": range(count),
            "line": [0] * count,
            "slot": [1] * count,
            "class": [0] * count,
            "score": [1.0] * count,
            "topology": [0] * count,
            "x": [[0.0, 40.0]] * count,
            "y": [[1.8, 1.8]] * count,
        }
    )
