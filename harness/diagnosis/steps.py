"""Steps that cars have and cards do not: what an edit of a pipeline needs beside the built-in ops.

A card may name them too, `op = "harness.diagnosis.steps:gamma"`, and so say what its car does. Pixels are
[height, width, channels], 0..255; uint8 stays uint8, rounded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.picture import Picture

__all__ = [
    "curved",
    "filtered",
    "flipped",
    "gamma",
    "jpeg",
    "levels",
    "misread",
    "moved",
    "ranged",
    "recoloured",
    "resized",
    "sited",
]

Pixels = NDArray[Any]

LUMA = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
"""Weights of red and blue in luma (ITU-R BT.601, BT.709, BT.2020 with constant matrix)."""


def sited(picture: Picture, siting: str) -> Picture:
    """The recorded picture with its chroma samples taken to lie elsewhere: `left`, `center`, `topleft`."""
    return replace(picture, chroma_siting=siting)  # type: ignore[arg-type]  # the three names of ChromaSiting


def gamma(pixels: Pixels, exponent: float) -> Pixels:
    """255 (x / 255) ** exponent."""
    import cv2

    curve = 255 * (np.arange(256) / 255) ** exponent
    if pixels.dtype == np.uint8:
        return np.asarray(cv2.LUT(pixels, np.rint(curve).astype(np.uint8)), np.uint8).reshape(pixels.shape)
    share = np.clip(pixels, 0, 255) / np.float32(255)
    return np.asarray(cv2.pow(share, exponent), np.float32).reshape(pixels.shape) * np.float32(255)


def curved(pixels: Pixels, exponent: float, black: Any, white: Any) -> Pixels:
    """A gamma between the levels `black` and `white` of each channel, which stay as they are."""
    low, span = np.asarray(black, np.float32), np.asarray(white, np.float32) - np.asarray(black, np.float32)
    share = np.clip((pixels.astype(np.float32) - low) / span, 0, 1)
    return _like(low + span * share ** np.float32(exponent), pixels)


def levels(pixels: Pixels, gain: float, offset: float) -> Pixels:
    """gain x + offset, clipped to 0..255: limited range taken for full, or the other way, on pixels."""
    return _like(np.clip(pixels.astype(np.float32) * np.float32(gain) + np.float32(offset), 0, 255), pixels)


def ranged(pixels: Pixels, read: str, bgr: bool = False) -> Pixels:
    """RGB as it is where YCbCr of the other range is read as `full` or `limited`: luma and colours have other gains."""
    weights = np.array([LUMA["bt601"][0], 1 - sum(LUMA["bt601"]), LUMA["bt601"][1]], np.float32)
    shown = pixels.astype(np.float32)
    luma = shown @ (weights[::-1] if bgr else weights)
    luma_gain, colour_gain, black = 219 / 255, 224 / 255, 16.0
    if read == "limited":
        luma_gain, colour_gain, black = 1 / luma_gain, 1 / colour_gain, -16 / luma_gain
    made = (shown - luma[..., None]) * np.float32(colour_gain) + (luma * np.float32(luma_gain) + black)[..., None]
    return _like(np.clip(made, 0, 255), pixels)


def recoloured(pixels: Pixels, written: str, read: str, bgr: bool = False) -> Pixels:
    """RGB as it is where YCbCr of the matrix `written` is read as that of the matrix `read`."""
    matrix = _to_rgb(read) @ np.linalg.inv(_to_rgb(written))
    matrix = matrix[::-1, ::-1] if bgr else matrix
    return _like(np.clip(pixels.astype(np.float32) @ matrix.T.astype(np.float32), 0, 255), pixels)


def flipped(pixels: Pixels, axis: str) -> Pixels:
    """Mirrored: `horizontal` left to right, `vertical` upside down, `both`."""
    rows, columns = (-1 if axis != "horizontal" else 1), (-1 if axis != "vertical" else 1)
    return np.ascontiguousarray(pixels[::rows, ::columns])


def jpeg(pixels: Pixels, quality: int, bgr: bool = False) -> Pixels:
    """Through baseline JPEG, 4:2:0."""
    import cv2

    whole = pixels if pixels.dtype == np.uint8 else np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    coloured = whole.shape[2] == 3
    packed = np.ascontiguousarray(whole if bgr or not coloured else whole[..., ::-1])
    _, code = cv2.imencode(".jpg", packed, [cv2.IMWRITE_JPEG_QUALITY, quality])
    back = cv2.imdecode(code, cv2.IMREAD_COLOR if coloured else cv2.IMREAD_GRAYSCALE)
    assert back is not None  # what was just encoded decodes
    solid = back.reshape(whole.shape)
    return np.ascontiguousarray(solid if bgr or not coloured else solid[..., ::-1]).astype(pixels.dtype)


def moved(pixels: Pixels, right: float, down: float, across: float = 1.0, along: float = 1.0) -> Pixels:
    """Moved by (right, down) pixels and scaled about its centre, bilinear; the edge is repeated."""
    height, width = pixels.shape[:2]
    u, v = _before(width, right, across), _before(height, down, along)
    return _like(_along(_along(pixels.astype(np.float32), u, 1), v, 0), pixels)


def resized(
    pixels: Pixels,
    size: tuple[int, int],
    right: float,
    down: float,
    across: float = 1.0,
    along: float = 1.0,
    kernel: str = "bilinear",
    antialias: bool = False,
    coordinates: str = "half-pixel",
    arithmetic: str = "float",
) -> Pixels:
    """A resize whose picture comes out moved by (right, down) pixels of the result and scaled about its centre."""
    from harness.feed.preprocess.resample import resize_moved

    return resize_moved(
        pixels,
        (int(size[0]), int(size[1])),
        kernel=kernel,  # type: ignore[arg-type]  # names of Kernel
        antialias=antialias,
        coordinates=coordinates,  # type: ignore[arg-type]  # names of Coordinates
        arithmetic=arithmetic,  # type: ignore[arg-type]  # names of Arithmetic
        move=(right, down),
        zoom=(across, along),
    )


def filtered(pixels: Pixels, taps: list[list[float]]) -> Pixels:
    """Through a small linear filter, the edge repeated."""
    import cv2

    made = cv2.filter2D(pixels.astype(np.float32), -1, np.asarray(taps, np.float32), borderType=cv2.BORDER_REPLICATE)
    return _like(np.asarray(made, np.float32).reshape(pixels.shape), pixels)


def misread(array: Pixels, order: str) -> Pixels:
    """The numbers in memory read in another layout, as [height, width, channels] again.

    order: `NHWC as NCHW` (the car writes pixel by pixel, the network reads plane by plane) or `NCHW as NHWC`.
    """
    height, width, channels = array.shape
    if order == "NHWC as NCHW":
        return np.ascontiguousarray(array).reshape(channels, height, width).transpose(1, 2, 0)
    return np.ascontiguousarray(array.transpose(2, 0, 1)).reshape(height, width, channels)


def _to_rgb(matrix: str) -> NDArray[np.float64]:
    """Y, Cb, Cr of full range to R, G, B."""
    kr, kb = LUMA[matrix]
    kg = 1 - kr - kb
    red, blue = 2 * (1 - kr), 2 * (1 - kb)
    return np.array([[1, 0, red], [1, -blue * kb / kg, -red * kr / kg], [1, blue, 0]])


def _before(size: int, move: float, zoom: float) -> NDArray[np.float32]:
    """Where each sample of a moved and scaled axis was; OpenCV's warps know whole 32nds of a pixel only."""
    centre = (size - 1) / 2
    return ((np.arange(size) - centre - move) / zoom + centre).astype(np.float32)


def _along(pixels: NDArray[np.float32], at: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    size = pixels.shape[axis]
    at = np.clip(at, 0, size - 1)
    low = np.minimum(at.astype(np.int64), max(size - 2, 0))
    share = (at - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    high = np.minimum(low + 1, size - 1)
    return np.asarray(pixels.take(low, axis) * (1 - share) + pixels.take(high, axis) * share, np.float32)


def _like(values: NDArray[np.float32], pixels: Pixels) -> Pixels:
    """uint8 where the pixels were."""
    return np.rint(values).astype(np.uint8) if pixels.dtype == np.uint8 else values
