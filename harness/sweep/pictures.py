"""A change of a picture, made in RGB and written back into the format that the picture was recorded in.

What changes is added to the planes as they were recorded, so that a change of nothing changes no bit: 4:2:0 planes
never go to RGB and back. The result is 8-bit, as a camera's is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.picture import ChromaSiting, Picture
from harness.errors import CannotTell
from harness.feed.preprocess.colour import rgb_to_ycbcr, split_planes, to_rgb
from harness.sweep.perturbation import Rgb

__all__ = ["altered"]


def altered(picture: Picture, change: Callable[[Rgb], Rgb]) -> Picture:
    """The picture with `change` made to its colours.

    Raises:
        CannotTell: it is a tensor, not a picture.
        PreprocessError: its planes contradict its size.
    """
    if picture.pixel_format == "tensor":
        raise CannotTell(
            "the case holds tensors, not pictures",
            where=f"camera of {picture.data.shape}",
            remedy="record pictures: what happens before the tensor cannot be disturbed in it",
        )
    before = np.asarray(to_rgb(picture), np.float32)
    delta = np.clip(change(before), 0, 255) - before
    if picture.pixel_format in ("nv12", "yuv420p"):
        return replace(picture, data=_on_planes(picture, delta))
    if picture.pixel_format == "gray8":
        return replace(picture, data=_added(picture.data, _rows(delta, picture)[..., 0]))
    turned = delta if picture.pixel_format == "rgb24" else delta[..., ::-1]
    return replace(picture, data=_added(picture.data, turned))


def _added(data: NDArray[np.generic], delta: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.clip(np.rint(np.asarray(data, np.float32) + delta), 0, 255).astype(np.uint8)


def _rows(delta: Rgb, picture: Picture) -> NDArray[np.float32]:
    """The change of Y, Cb, Cr, [height, width, 3]; of a gray picture, whose numbers are its luma, full range."""
    import cv2

    full = picture.pixel_format == "gray8"
    rows = rgb_to_ycbcr(picture.color_matrix, "full" if full else picture.color_range)[:, :3]
    return np.asarray(cv2.transform(np.ascontiguousarray(delta), rows), np.float32)


def _on_planes(picture: Picture, delta: Rgb) -> NDArray[np.uint8]:
    luma, cb_cr = split_planes(picture)
    change = _rows(delta, picture)
    bright = _added(luma, change[..., 0])
    colour = _added(cb_cr, _at_chroma(change[..., 1:], picture.chroma_siting))
    half = colour if picture.pixel_format == "nv12" else np.moveaxis(colour, -1, 0)
    return np.concatenate([bright, half.reshape(-1, picture.width)])


def _at_chroma(values: NDArray[np.float32], siting: ChromaSiting) -> NDArray[np.float32]:
    """Values [height, width, 2] where chroma samples lie, [height / 2, width / 2, 2].

    Between two samples their mean; on one it, with a quarter of each neighbour.
    """
    import cv2

    height, width = values.shape[:2]
    alone, around = np.ones(1), np.array([0.25, 0.5, 0.25])
    rows: NDArray[Any] = np.asarray(values)
    if siting == "topleft":
        rows = np.asarray(cv2.sepFilter2D(rows, -1, alone, around, borderType=cv2.BORDER_REPLICATE))[::2]
    else:
        rows = np.asarray(cv2.resize(rows, (width, height // 2), interpolation=cv2.INTER_AREA))
    if siting == "center":
        return np.asarray(cv2.resize(rows, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.float32)
    return np.asarray(cv2.sepFilter2D(rows, -1, around, alone, borderType=cv2.BORDER_REPLICATE), np.float32)[:, ::2]
