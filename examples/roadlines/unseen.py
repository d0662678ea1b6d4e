"""Three ways of other cars to deliver a picture that no random mixture of training can draw, and the ops they need.

    nearest     integer colours, the nearest pixels at 384 x 171, fixed-point bilinear from there, 8 bits
    jpeg-gamma  integer colours, JPEG of quality 80, smooth shrinking, gamma 1.25, 8 bits
    yuyv        packed 4:2:2, float colours, area shrinking to 240 x 96, then bilinear, 8 bits

They judge: nothing is trained, chosen or tuned on them. None moves a line by more than 0.05 of a column on average
(measured: `nearest` draws left and right lines together by 0.03, 9 mm at 40 m; the others 0.006 at most). At a ratio
of 4 the nearest pixel lies half a pixel beside the middle everywhere; from 640 to 384 columns the errors cancel, from
256 to 171 rows all but 0.003. (Bilinear first and nearest afterwards would be plain bilinear again.) The other steps
work pixel by pixel, block by block, or keep the middle of what they shrink.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.picture import Picture
from harness.feed.preprocess.colour import split_planes, to_rgb

__all__ = ["UNSEEN", "gamma", "jpeg", "yuyv_to_rgb"]

Step = Mapping[str, Any]
_COLOUR: Step = {"op": "to_rgb", "step": "colour", "arithmetic": "fixed", "chroma": "nearest"}
_CROP: Step = {"op": "crop", "box": [0, 104, 640, 256]}
_END: tuple[Step, ...] = (
    {"op": "round_u8"},
    {"op": "normalise", "mean": [0.45, 0.45, 0.45], "std": [0.25, 0.25, 0.25]},
)

# name -> steps of a card in this folder
UNSEEN: dict[str, Sequence[Step]] = {
    "nearest": (
        _COLOUR,
        _CROP,
        {"op": "resize", "step": "scaler", "size": [384, 171], "kernel": "nearest"},
        {"op": "resize", "size": [160, 64], "arithmetic": "fixed"},
        *_END,
    ),
    "jpeg-gamma": (
        _COLOUR,
        {"op": "unseen:jpeg", "quality": 80},
        _CROP,
        {"op": "resize", "size": [160, 64], "antialias": True},
        {"op": "unseen:gamma", "exponent": 1.25},
        *_END,
    ),
    "yuyv": (
        {"op": "unseen:yuyv_to_rgb", "step": "colour"},
        _CROP,
        {"op": "resize", "step": "scaler", "size": [240, 96], "kernel": "area"},
        {"op": "resize", "size": [160, 64]},
        *_END,
    ),
}


def jpeg(pixels: NDArray[np.uint8], *, quality: int) -> NDArray[np.uint8]:
    """RGB uint8 [height, width, 3] written as JPEG and read back."""
    import cv2

    _, coded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)


def gamma(pixels: NDArray[Any], *, exponent: float) -> NDArray[np.float32]:
    """255 (v / 255)^exponent of values in 0..255, float32."""
    return np.asarray(255 * (np.clip(pixels, 0, 255) / np.float32(255)) ** exponent, np.float32)


def yuyv_to_rgb(picture: Picture) -> NDArray[np.float32]:
    """A recorded 4:2:0 picture as a YUYV camera would give it, as RGB float32 [height, width, 3].

    Chroma has every row (interpolated between those recorded) and every second column; each pair of pixels shares it.
    """
    import cv2

    luma, cb_cr = split_planes(picture)
    height, width = luma.shape
    rows = np.rint(cv2.resize(cb_cr.astype(np.float32), (width // 2, height))).astype(np.uint8)
    full = Picture(
        np.concatenate([luma, np.repeat(np.full((height // 2, 1), 128, np.uint8), width, 1)]), "nv12", width, height
    )
    return _with_chroma(full, np.repeat(rows, 2, axis=1))


def _with_chroma(grey: Picture, cb_cr: NDArray[np.uint8]) -> NDArray[np.float32]:
    """RGB of the luma of `grey` and chroma of its full size, BT.601 limited."""
    bright = to_rgb(grey)
    cb, cr = (cb_cr[..., i].astype(np.float32) - 128 for i in range(2))
    shift = 255 / 224 * np.stack([1.402 * cr, -0.344136 * cb - 0.714136 * cr, 1.772 * cb], axis=-1)
    return np.asarray(np.clip(bright + shift, 0, 255), np.float32)
