"""Preprocessing steps that only faults have; pixels are [height, width, channels], 0 to 255, and keep their dtype."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.feed.preprocess.ops import Value, bind

__all__ = [
    "Held", "Mixed", "Stale", "blurred", "brightened", "desaturated", "distorted", "flipped", "gamma", "jpeg",
    "misread", "sheared", "shifted", "zoomed",
]  # fmt: skip

Pixels = NDArray[Any]


class Stale:
    """Pass on the picture of `frames` moments ago; the first pictures of a case repeat the first one."""

    def __init__(self, frames: int = 1) -> None:
        self._waiting: deque[Value] = deque(maxlen=frames + 1)

    def __call__(self, value: Value) -> Value:
        """The picture of `frames` moments ago."""
        self._waiting.append(value)
        return self._waiting[0]


class Held:
    """Pass on every `frames`-th picture and repeat it until the next: a camera slower than its clock."""

    def __init__(self, frames: int = 2) -> None:
        self._frames, self._count = frames, 0
        self._kept: Value | None = None

    def __call__(self, value: Value) -> Value:
        """The last picture that was passed on."""
        if self._kept is None or self._count % self._frames == 0:
            self._kept = value
        self._count += 1
        return self._kept


class Mixed:
    """Part right and part wrong: a step and the faulty one in its place, their results mixed.

    Args:
        right: the step as the card has it.
        wrong: the faulty step.
        share: of the faulty one, 0 to 1.
    """

    def __init__(self, right: Mapping[str, Any], wrong: Mapping[str, Any], share: float) -> None:
        self._right, self._wrong = (bind(step, None, None, "planted fault") for step in (right, wrong))
        self._share = share

    def __call__(self, value: Value) -> Value:
        """(1 - share) right + share wrong."""
        return _mix(np.asarray(self._right(value)), np.asarray(self._wrong(value)), self._share)


def _mix(right: Pixels, wrong: Pixels, share: float) -> Pixels:
    return _as(right.astype(np.float32) * (1 - share) + wrong.astype(np.float32) * share, right)


def _as(values: Pixels, like: Pixels) -> Pixels:
    """In the dtype of `like`; whole numbers are rounded and clipped."""
    if like.dtype == np.uint8:
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return values.astype(like.dtype)


def _warped(pixels: Pixels, u: Pixels, v: Pixels) -> Pixels:
    """Pixels sampled at (u, v), bilinear; edges repeat the outermost pixel."""
    import cv2

    found = cv2.remap(
        pixels.astype(np.float32), u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return _as(found.reshape(pixels.shape), pixels)


def _grid(pixels: Pixels) -> tuple[Pixels, Pixels]:
    """Columns and rows of every pixel."""
    v, u = np.mgrid[: pixels.shape[0], : pixels.shape[1]].astype(np.float64)
    return u, v


def shifted(pixels: Pixels, right_px: float = 0.0, down_px: float = 0.0) -> Pixels:
    """The picture moved."""
    u, v = _grid(pixels)
    return _warped(pixels, u - right_px, v - down_px)


def zoomed(pixels: Pixels, factor: float) -> Pixels:
    """The picture enlarged about its middle: a camera of another focal length."""
    u, v = _grid(pixels)
    middle_v, middle_u = (pixels.shape[0] - 1) / 2, (pixels.shape[1] - 1) / 2
    return _warped(pixels, (u - middle_u) / factor + middle_u, (v - middle_v) / factor + middle_v)


def sheared(pixels: Pixels, px_per_row: float) -> Pixels:
    """Every row begins a little later than the one above: a wrong row stride."""
    u, v = _grid(pixels)
    return _warped(pixels, u - px_per_row * v, v)


def distorted(pixels: Pixels, k1: float) -> Pixels:
    """Radial distortion about the middle, radius in half widths: r (1 + k1 r^2)."""
    u, v = _grid(pixels)
    half = pixels.shape[1] / 2
    x, y = (u - (pixels.shape[1] - 1) / 2) / half, (v - (pixels.shape[0] - 1) / 2) / half
    away = 1 + k1 * (x**2 + y**2)
    return _warped(pixels, x * away * half + (pixels.shape[1] - 1) / 2, y * away * half + (pixels.shape[0] - 1) / 2)


def gamma(pixels: Pixels, exponent: float) -> Pixels:
    """255 (pixels / 255) ^ exponent."""
    return _as(255 * (np.clip(pixels.astype(np.float32), 0, 255) / 255) ** exponent, pixels)


def brightened(pixels: Pixels, gain: float, offset: float = 0.0) -> Pixels:
    """gain x pixels + offset, clipped."""
    return _as(np.clip(pixels.astype(np.float32) * gain + offset, 0, 255), pixels)


def desaturated(pixels: Pixels, share: float) -> Pixels:
    """Colour taken out by its share: chroma planes that are not read."""
    gray = np.broadcast_to(pixels.astype(np.float32).mean(axis=-1, keepdims=True), pixels.shape)
    return _mix(pixels, gray, share)


def blurred(pixels: Pixels, sigma_px: float) -> Pixels:
    """A Gaussian of sigma pixels over rows and columns."""
    import cv2

    if sigma_px <= 0:
        return pixels
    return _as(cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), sigma_px).reshape(pixels.shape), pixels)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Through JPEG and back; at quality 100 not at all."""
    import cv2

    if quality >= 100:
        return pixels
    solid = np.ascontiguousarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)[..., ::-1])
    encoded = cv2.imencode(".jpg", solid, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    read = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE if pixels.shape[-1] == 1 else cv2.IMREAD_COLOR)
    return _as(np.asarray(read, np.float32).reshape(pixels.shape)[..., ::-1], pixels)


def flipped(pixels: Pixels, share: float) -> Pixels:
    """Left and right exchanged, mixed with the picture by its share."""
    return _mix(pixels, pixels[:, ::-1], share)


def misread(pixels: Pixels, share: float) -> Pixels:
    """[height, width, channels] read as if it lay in memory as [channels, height, width], mixed by its share."""
    height, width, channels = pixels.shape
    return _mix(pixels, np.ascontiguousarray(pixels).reshape(channels, height, width).transpose(1, 2, 0), share)
