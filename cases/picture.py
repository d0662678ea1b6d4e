"""One camera picture as it was recorded, and one moment of a recording.

Nothing is converted on reading: a picture keeps its planes and says how they are to be read, because the conversion to
RGB is one of the steps a deployment gets wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["ChromaSiting", "ColorMatrix", "ColorRange", "Ego", "Picture", "PixelFormat", "Tick"]

PixelFormat = Literal["rgb24", "bgr24", "gray8", "nv12", "yuv420p", "tensor"]
ColorMatrix = Literal["bt601", "bt709"]
ColorRange = Literal["limited", "full"]
ChromaSiting = Literal["left", "center", "topleft"]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of one camera.

    Attributes:
        data: rgb24, bgr24: uint8 [height, width, 3]; gray8: uint8 [height, width]; nv12 and yuv420p (I420): uint8
            [height * 3 / 2, width], planes packed as PyAV and OpenCV pack them; tensor: any array, passed on as it is.
        pixel_format: how to read `data`.
        width: pixels (0 for a tensor).
        height: pixels (0 for a tensor).
        color_matrix: YCbCr matrix the recording declares.
        color_range: range the recording declares.
        chroma_siting: where chroma samples lie.
    """

    data: NDArray[np.generic]
    pixel_format: PixelFormat
    width: int
    height: int
    color_matrix: ColorMatrix = "bt601"
    color_range: ColorRange = "limited"
    chroma_siting: ChromaSiting = "left"


@dataclass(frozen=True, slots=True)
class Ego:
    """Motion of the vehicle at one moment; None where the recording does not know.

    speed_mps, yaw_rate_radps: forward speed and yaw rate, left positive. x_m, y_m, yaw_rad: pose in the world.
    """

    speed_mps: float | None = None
    yaw_rate_radps: float | None = None
    x_m: float | None = None
    y_m: float | None = None
    yaw_rad: float | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """One moment of a case: the pictures of every camera asked for, and the ego motion."""

    frame: int
    timestamp_ns: int
    pictures: Mapping[str, Picture]
    ego: Ego = field(default_factory=Ego)
