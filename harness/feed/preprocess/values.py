"""Ops on the numbers and the order of axes: rounding, normalisation, dtype, channel order, layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import PreprocessError

__all__ = ["Layout", "Rounding", "arrange", "normalise", "pick_channels", "round_u8"]

Layout = Literal["NCHW", "NHWC"]
Rounding = Literal["nearest", "truncate"]
Array = NDArray[Any]


def round_u8(pixels: Array, rounding: Rounding = "nearest") -> NDArray[np.uint8]:
    """To uint8, clipped to 0..255; `nearest` takes ties to even, `truncate` drops the fraction. uint8 stays."""
    if pixels.dtype == np.uint8:
        return pixels
    whole = np.rint(pixels) if rounding == "nearest" else np.trunc(pixels)
    return np.clip(whole, 0, 255).astype(np.uint8)


def normalise(
    pixels: Array,
    scale: float | None = None,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
) -> NDArray[np.float32]:
    """(pixels * scale - mean) / std in float32, last axis the channels.

    scale None divides by 255, as training code does; a number multiplies, as a car's kernels do (1 / 255 is not a
    float32, so the two differ in the last bit).

    Raises:
        PreprocessError: as many means or stds as there are not channels.
    """
    means, stds = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    for name, values in (("mean", means), ("std", stds)):
        if values.ndim and values.shape != pixels.shape[-1:]:
            raise PreprocessError(
                f"{len(values)} values of {name} for pixels of shape {list(pixels.shape)}",
                where=f"normalise({name})",
                remedy="give one number, or one for each channel; normalise before layout",
            )
    result = pixels.astype(np.float32)
    if scale is None:
        result /= np.float32(255)
    else:
        result *= np.float32(scale)
    if means.any():
        result -= means
    if (stds != 1).any():
        result /= stds
    return result


def pick_channels(pixels: Array, order: Sequence[int]) -> Array:
    """Channels of the last axis in another order; [2, 1, 0] swaps red and blue.

    Raises:
        PreprocessError: a channel that is not there.
    """
    if min(order) < 0 or max(order) >= pixels.shape[-1]:
        raise PreprocessError(
            f"channels {list(order)} of pixels with {pixels.shape[-1]}",
            where="channels(order)",
            remedy=f"use numbers 0..{pixels.shape[-1] - 1}",
        )
    return np.ascontiguousarray(pixels[..., list(order)])


def arrange(pixels: Array, layout: Layout) -> Array:
    """[height, width, channels] (or [height, width]) as one batch [1, c, h, w] or [1, h, w, c], contiguous."""
    solid = pixels if pixels.ndim == 3 else pixels[..., None]
    return np.ascontiguousarray(solid.transpose(2, 0, 1) if layout == "NCHW" else solid)[None]
