"""Perturbations that move nothing: noise, sharpness, brightness, colour, compression.

All take RGB float32 [height, width, 3] in 0..255 and give the same; values may leave that range, whoever writes them
into a picture cuts them off there. Colour matrices, ranges and resampling are those of the preprocessing steps
(harness/feed/preprocess), so that an operation is the same thing on either side.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.picture import ColorMatrix
from harness.feed.preprocess.colour import rgb_to_ycbcr
from harness.feed.preprocess.resample import Kernel, resize
from harness.sweep.perturbation import Draw, Rgb

__all__ = [
    "blur",
    "brightness",
    "chroma_shift",
    "chroma_subsampling",
    "full_read_as_limited",
    "gamma",
    "jpeg",
    "limited_read_as_full",
    "motion_blur",
    "noise",
    "other_matrix",
    "rescaled_by",
]

Rng = np.random.Generator


def noise(rgb: Rgb, sigma: float, rng: Rng) -> Rgb:
    """Gaussian noise of every value by itself, standard deviation in 8-bit steps."""
    return rgb + np.float32(sigma) * rng.standard_normal(rgb.shape, np.float32)


def blur(rgb: Rgb, sigma_px: float, rng: Rng) -> Rgb:
    """A Gaussian blur."""
    import cv2

    return rgb if sigma_px <= 0 else np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma_px), np.float32)


def motion_blur(rgb: Rgb, length_px: float, rng: Rng) -> Rgb:
    """The mean along a horizontal way of that length about each pixel: a camera that yaws during the exposure."""
    import cv2

    half = abs(length_px) / 2
    taps = np.arange(-int(np.ceil(half + 0.5)), int(np.ceil(half + 0.5)) + 1)
    cover = np.minimum(taps + 0.5, half) - np.maximum(taps - 0.5, -half)
    kernel = np.clip(cover, 0, None) if half > 0 else (taps == 0).astype(np.float64)
    kernel = kernel / kernel.sum()
    return np.asarray(cv2.sepFilter2D(rgb, cv2.CV_32F, kernel, np.ones(1), borderType=cv2.BORDER_REPLICATE), np.float32)


def brightness(rgb: Rgb, offset: float, rng: Rng) -> Rgb:
    """Every value plus so many 8-bit steps."""
    return rgb + np.float32(offset)


def gamma(rgb: Rgb, log2: float, rng: Rng) -> Rgb:
    """255 (v / 255)^(2^log2): darker where positive."""
    return np.asarray(255 * (np.clip(rgb, 0, 255) / 255) ** np.float32(2**log2), np.float32)


def jpeg(rgb: Rgb, loss: float, rng: Rng) -> Rgb:
    """Written as JPEG of quality 100 - loss (chroma 4:2:0) and read back."""
    import cv2

    if loss <= 0:
        return rgb
    pixels = np.clip(np.rint(rgb[..., ::-1]), 0, 255).astype(np.uint8)
    _, coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, max(1, round(100 - loss))])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.float32)[..., ::-1]


def rescaled_by(kernel: Kernel) -> Draw:
    """Shrunk by a factor with that kernel, and enlarged again by bilinear interpolation: a scaler in between."""
    return partial(_rescaled, kernel)


def _rescaled(kernel: Kernel, rgb: Rgb, factor: float, rng: Rng) -> Rgb:
    height, width = rgb.shape[:2]
    small = max(1, round(width / factor)), max(1, round(height / factor))
    if small == (width, height):
        return rgb
    return np.asarray(resize(resize(rgb, small, kernel=kernel), (width, height)), np.float32)


def limited_read_as_full(rgb: Rgb, share: float, rng: Rng) -> Rgb:
    """That share of the way to greyish blacks and dull whites: 16..235 shown as if it were 0..255."""
    return rgb + np.float32(share) * (16 + rgb * np.float32(219 / 255) - rgb)


def full_read_as_limited(rgb: Rgb, share: float, rng: Rng) -> Rgb:
    """That share of the way to crushed blacks and whites: 0..255 stretched as if it were 16..235."""
    stretched = np.clip((rgb - 16) * np.float32(255 / 219), 0, 255)
    return np.asarray(rgb + np.float32(share) * (stretched - rgb), np.float32)


def other_matrix(rgb: Rgb, share: float, rng: Rng) -> Rgb:
    """That share of the way to BT.601 read as BT.709; the other way round where negative."""
    written, read = ("bt601", "bt709") if share >= 0 else ("bt709", "bt601")
    wrong = np.linalg.inv(_matrix(read)) @ _matrix(written)
    return _transformed(rgb, np.eye(3) + abs(share) * (wrong - np.eye(3)))


def chroma_subsampling(rgb: Rgb, factor: float, rng: Rng) -> Rgb:
    """Colour at a resolution lower by a factor, averaged and enlarged by repetition; brightness stays sharp."""
    height, width = rgb.shape[:2]
    small = max(1, round(width / factor)), max(1, round(height / factor))
    if small == (width, height):
        return rgb
    ycc = _transformed(rgb, _matrix("bt601"))
    coarse = resize(resize(ycc[..., 1:], small, kernel="area"), (width, height), kernel="nearest")
    return _transformed(np.concatenate([ycc[..., :1], coarse], axis=-1), np.linalg.inv(_matrix("bt601")))


def chroma_shift(rgb: Rgb, shift_px: float, rng: Rng) -> Rgb:
    """Colour moved to the right under a brightness that stays: chroma sited elsewhere than one thinks."""
    import cv2

    ycc = _transformed(rgb, _matrix("bt601"))
    way = np.array([[1, 0, shift_px], [0, 1, 0]], np.float64)
    size = rgb.shape[1], rgb.shape[0]
    moved = cv2.warpAffine(np.ascontiguousarray(ycc[..., 1:]), way, size, borderMode=cv2.BORDER_REPLICATE)
    return _transformed(np.concatenate([ycc[..., :1], moved], axis=-1), np.linalg.inv(_matrix("bt601")))


def _matrix(name: str) -> NDArray[np.float64]:
    """Y, Cb, Cr of R, G, B, full range and without offsets, [3, 3]."""
    matrix: ColorMatrix = "bt601" if name == "bt601" else "bt709"
    return rgb_to_ycbcr(matrix, "full")[:, :3]


def _transformed(rgb: Rgb, matrix: NDArray[Any]) -> Rgb:
    import cv2

    return np.asarray(cv2.transform(np.ascontiguousarray(rgb), matrix), np.float32)
