"""Resizing: every kernel, coordinate convention and arithmetic that separates a lab's resize from a car's.

A resize is two one-dimensional passes, each a sparse matrix [out, in] of weights. Where OpenCV computes exactly the
same, OpenCV does it.

    coordinates   source position of output sample i, ratio r = in / out
    half-pixel    (i + 0.5) r - 0.5          PIL, OpenCV, torch, ONNX half_pixel
    align-corners i (in - 1) / (out - 1)     torch align_corners=True, ONNX align_corners
    asymmetric    i r                        old TensorFlow, ONNX asymmetric, cv2.INTER_NEAREST
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

from harness.feed.preprocess.colour import Arithmetic, Pixels

__all__ = ["Coordinates", "Kernel", "axis_weights", "resize", "resize_moved"]

Kernel = Literal["nearest", "bilinear", "cubic", "area"]
Coordinates = Literal["half-pixel", "align-corners", "asymmetric"]

STILL, UNSCALED = (0.0, 0.0), (1.0, 1.0)
FIXED_ONE = 2048  # OpenCV's INTER_RESIZE_COEF_SCALE: 11 bits


def resize(
    pixels: Pixels,
    size: tuple[int, int],
    *,
    kernel: Kernel = "bilinear",
    antialias: bool = False,
    coordinates: Coordinates = "half-pixel",
    arithmetic: Arithmetic = "float",
) -> Pixels:
    """Resize pixels [height, width, channels] to size (width, height).

    Args:
        pixels: uint8 or float32.
        size: output width and height.
        kernel: `area` averages exactly the covered source area (enlarging with it is `nearest`-like, as in OpenCV).
        antialias: widen bilinear and cubic kernels when shrinking, as PIL and torch's antialias=True do.
        coordinates: see the module; `nearest` takes the sample whose cell holds (half-pixel) or the one at or before
            (asymmetric) the position.
        arithmetic: `float` gives float32, unrounded. `fixed` uses 11-bit weights: uint8 stays uint8 and plain
            half-pixel bilinear is exactly cv2.resize; float32 pixels stay float32 and only the weights are rounded.

    Returns:
        [size[1], size[0], channels]; `nearest` keeps the dtype whatever the arithmetic.
    """
    return resize_moved(
        pixels, size, kernel=kernel, antialias=antialias, coordinates=coordinates, arithmetic=arithmetic
    )


def resize_moved(
    pixels: Pixels,
    size: tuple[int, int],
    *,
    kernel: Kernel = "bilinear",
    antialias: bool = False,
    coordinates: Coordinates = "half-pixel",
    arithmetic: Arithmetic = "float",
    move: tuple[float, float] = STILL,
    zoom: tuple[float, float] = UNSCALED,
) -> Pixels:
    """`resize`, the result moved right and down by `move` of its pixels and scaled by `zoom` about its centre."""
    asis = (move, zoom) == (STILL, UNSCALED)
    plain = coordinates == "half-pixel" and not antialias
    if kernel == "nearest" and asis:
        return _nearest(pixels, size, coordinates)
    if arithmetic == "float":
        pixels = pixels.astype(np.float32, copy=False)
    if asis and (plain or kernel == "area") and (arithmetic == "float" or pixels.dtype == np.uint8):
        fast = {"bilinear": "INTER_LINEAR", "cubic": "INTER_CUBIC", "area": "INTER_AREA"}[kernel]
        return _by_opencv(pixels, size, fast)
    fixed = arithmetic == "fixed"
    height, width = pixels.shape[:2]
    vertical = _weights(height, size[1], kernel, antialias, coordinates, fixed, move[1], zoom[1])
    horizontal = _weights(width, size[0], kernel, antialias, coordinates, fixed, move[0], zoom[0])
    result = _separable(pixels.astype(np.float32, copy=False), vertical, horizontal)
    return np.clip(np.rint(result), 0, 255).astype(np.uint8) if pixels.dtype == np.uint8 else result


def axis_weights(
    source: int,
    target: int,
    kernel: Kernel,
    *,
    antialias: bool = False,
    coordinates: Coordinates = "half-pixel",
    move: float = 0.0,
    zoom: float = 1.0,
) -> NDArray[np.float64]:
    """Weights [target, source] of one pass; every row sums to 1, edges repeat the outermost sample.

    With antialias the kernel is cut at the edges and made to sum to 1 again (PIL, torch); cubic then has a = -0.5 and
    otherwise a = -0.75, as in torch and OpenCV.
    """
    ratio = source / target
    position = _positions(source, target, coordinates, move, zoom)[:, None]
    stretch = max(ratio, 1.0) if antialias or kernel == "area" else 1.0
    radius = {"nearest": 0.5, "bilinear": 1.0, "cubic": 2.0, "area": 0.5}[kernel] * stretch
    tap = np.floor(position - radius) + np.arange(int(2 * radius) + 3)
    weight = _kernel(kernel, antialias)((tap - position) / stretch)
    if kernel == "area":
        low, high = np.maximum(tap - 0.5, position - radius), np.minimum(tap + 0.5, position + radius)
        weight = np.maximum(high - low, 0)
    if antialias:
        weight = np.where((tap >= 0) & (tap < source), weight, 0)
    dense = np.zeros((target, source))
    rows = np.broadcast_to(np.arange(target)[:, None], tap.shape)
    np.add.at(dense, (rows, np.clip(tap, 0, source - 1).astype(np.int64)), weight)
    dense /= dense.sum(axis=1, keepdims=True)
    return dense


def _positions(
    source: int, target: int, coordinates: Coordinates, move: float = 0.0, zoom: float = 1.0
) -> NDArray[np.float64]:
    index = np.arange(target, dtype=np.float64)
    if (move, zoom) == (0.0, 1.0):
        return _plain_positions(index, source, target, coordinates)
    centre = (target - 1) / 2
    moved = _plain_positions((index - centre - move) / zoom + centre, source, target, coordinates)
    return np.clip(moved, -0.5, source - 0.5)


def _plain_positions(
    index: NDArray[np.float64], source: int, target: int, coordinates: Coordinates
) -> NDArray[np.float64]:
    if coordinates == "align-corners":
        return index * ((source - 1) / max(target - 1, 1))
    ratio = source / target
    return (index + 0.5) * ratio - 0.5 if coordinates == "half-pixel" else index * ratio


def _kernel(kernel: Kernel, antialias: bool) -> Any:
    if kernel != "cubic":
        return lambda x: np.maximum(1 - np.abs(x), 0)
    a = -0.5 if antialias else -0.75

    def keys(x: NDArray[np.float64]) -> NDArray[np.float64]:
        x = np.abs(x)
        near, far = (a + 2) * x**3 - (a + 3) * x**2 + 1, a * (x**3 - 5 * x**2 + 8 * x - 4)
        return np.where(x < 1, near, np.where(x < 2, far, 0))

    return keys


@lru_cache(maxsize=32)
def _weights(
    source: int,
    target: int,
    kernel: Kernel,
    antialias: bool,
    coordinates: Coordinates,
    fixed: bool,
    move: float,
    zoom: float,
) -> csr_array:
    from scipy.sparse import csr_array

    dense = axis_weights(source, target, kernel, antialias=antialias, coordinates=coordinates, move=move, zoom=zoom)
    if fixed:
        dense = np.rint(dense * FIXED_ONE) / FIXED_ONE
    return csr_array(dense.astype(np.float32))


def _separable(pixels: NDArray[np.float32], vertical: csr_array, horizontal: csr_array) -> NDArray[np.float32]:
    import cv2

    height, width, channels = pixels.shape
    low = (vertical @ pixels.reshape(height, width * channels)).reshape(-1, width, channels)
    turned = cv2.transpose(low).reshape(width, -1)
    narrow = (horizontal @ turned).reshape(-1, len(low), channels)
    return np.asarray(cv2.transpose(narrow), np.float32).reshape(len(low), -1, channels)


def _nearest(pixels: Pixels, size: tuple[int, int], coordinates: Coordinates) -> Pixels:
    height, width = pixels.shape[:2]
    rows, columns = _nearest_index(height, size[1], coordinates), _nearest_index(width, size[0], coordinates)
    return pixels[rows[:, None], columns]


def _nearest_index(source: int, target: int, coordinates: Coordinates) -> NDArray[np.int64]:
    """Half-pixel and asymmetric in integers: floating point would put ties on either side."""
    index = np.arange(target)
    if coordinates == "half-pixel":
        return (2 * index + 1) * source // (2 * target)
    if coordinates == "asymmetric":
        return index * source // target
    return np.floor(_positions(source, target, coordinates) + 0.5).astype(np.int64)


def _by_opencv(pixels: Pixels, size: tuple[int, int], name: str) -> Pixels:
    import cv2

    result = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=getattr(cv2, name))
    return np.asarray(result, pixels.dtype).reshape(size[1], size[0], -1)
