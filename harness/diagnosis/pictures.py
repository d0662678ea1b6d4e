"""The difference picture: what was expected, what is there, and their difference before and after the edits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.diagnosis.model import Diagnosis
from harness.diagnosis.solve import Pictures
from harness.errors import ReportError

__all__ = ["draw", "write_picture"]

LEAST_WIDTH = 480  # pixels of a panel
STRIP = 22  # rows of a caption
GAINS = (1, 2, 4, 8, 16, 32, 64)  # of differences
CLIPPED = 0.02  # share of a difference's values that may leave the scale

Bytes = NDArray[np.uint8]


def draw(pictures: Pictures, told: Diagnosis) -> Bytes:
    """Four panels, RGB: what was expected and what is there above, their difference before and after the edits below.

    Differences are what is there minus the expected, in levels times the gain of the caption, gray where there is none;
    one gain for both, so that they can be compared.

    Args:
        pictures: of one frame.
        told: says whose they are: those of a deploy pipeline are not the car's.
    """
    before, after = pictures.car - pictures.expected, pictures.car - pictures.edited
    gain = _gain(before)
    whose = told.subject.removesuffix(" tensor")
    panels = [
        (pictures.expected, f"expected: {told.expected}"),
        (pictures.car, whose),
        (128 + gain * before, f"{whose} - expected, x{gain}: RMS {_rms(before):.2f} steps of 8 bit"),
        (128 + gain * after, f"the same with what is named, x{gain}: RMS {_rms(after):.2f} steps of 8 bit"),
    ]
    drawn = [_panel(picture, caption) for picture, caption in panels]
    gap = np.full((drawn[0].shape[0], 4, 3), 255, np.uint8)
    rows = [np.hstack([drawn[i], gap, drawn[i + 1]]) for i in (0, 2)]
    return np.vstack(rows)


def write_picture(pictures: Pictures, told: Diagnosis, path: Path) -> Path:
    """Write the picture as PNG.

    Raises:
        ReportError: the file cannot be written.
    """
    import cv2

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _, code = cv2.imencode(".png", np.ascontiguousarray(draw(pictures, told)[..., ::-1]))
        path.write_bytes(code.tobytes())
    except OSError as error:
        raise ReportError(
            f"cannot write the picture: {error.strerror}", where=str(path), remedy="name another folder by --out"
        ) from error
    return path


def _gain(difference: NDArray[np.float32]) -> int:
    """The largest gain under which nearly all of a difference stays on the scale."""
    reach = float(np.quantile(np.abs(difference), 1 - CLIPPED))
    return next((g for g in reversed(GAINS) if g * reach <= 127), 1)


def _rms(difference: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(difference).mean(dtype=np.float64)))


def _panel(picture: NDArray[np.float32], caption: str) -> Bytes:
    import cv2

    pixels = np.clip(np.rint(np.nan_to_num(picture)), 0, 255).astype(np.uint8)
    pixels = pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    factor = max(1, -(-LEAST_WIDTH // pixels.shape[1]))
    large = np.repeat(np.repeat(pixels, factor, 0), factor, 1)
    strip = np.full((STRIP, large.shape[1], 3), 255, np.uint8)
    cv2.putText(strip, caption, (4, STRIP - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([strip, large])
