"""Geometric ops on pixels [height, width, channels]: crop, letterbox, homography warp, undistortion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import PreprocessError
from harness.feed.preprocess.colour import Arithmetic, Pixels
from harness.feed.preprocess.resample import Coordinates, Kernel, resize

__all__ = ["CalibrationLike", "crop", "letterbox", "undistort_maps", "undistorted", "warp"]

Sampling = Literal["nearest", "bilinear"]


class CalibrationLike(Protocol):
    """What undistortion needs of a case's calibration."""

    @property
    def width(self) -> int:
        """Width of the picture that the camera matrix is for, pixels."""
        ...

    @property
    def height(self) -> int:
        """Its height, pixels."""
        ...

    @property
    def intrinsics(self) -> NDArray[np.float64] | None:
        """Camera matrix, [3, 3], pixels; None where unknown."""
        ...

    @property
    def distortion_model(self) -> str:
        """`none`, `opencv` or `fisheye`."""
        ...

    @property
    def distortion(self) -> NDArray[np.float64]:
        """Coefficients in OpenCV's order."""
        ...


def crop(pixels: Pixels, box: tuple[int, int, int, int]) -> Pixels:
    """Cut out box (left, top, width, height), pixels.

    Raises:
        PreprocessError: the box is empty or leaves the picture.
    """
    left, top, width, height = box
    rows, columns = pixels.shape[:2]
    if left < 0 or top < 0 or width <= 0 or height <= 0 or left + width > columns or top + height > rows:
        raise PreprocessError(
            f"box [left, top, width, height] = {list(box)} leaves the picture of {columns}x{rows}",
            where="crop(box)",
            remedy="keep the box inside the picture that reaches this step",
        )
    return pixels[top : top + height, left : left + width]


def letterbox(
    pixels: Pixels,
    size: tuple[int, int],
    *,
    pad: float = 114.0,
    anchor: Literal["center", "topleft"] = "center",
    kernel: Kernel = "bilinear",
    antialias: bool = False,
    coordinates: Coordinates = "half-pixel",
    arithmetic: Arithmetic = "float",
) -> Pixels:
    """Resize by one factor to fit into size (width, height) and fill the rest with `pad`; other options as `resize`."""
    height, width = pixels.shape[:2]
    factor = min(size[0] / width, size[1] / height)
    inner = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = resize(pixels, inner, kernel=kernel, antialias=antialias, coordinates=coordinates, arithmetic=arithmetic)
    result = np.full((size[1], size[0], small.shape[2]), pad, small.dtype)
    left, top = ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2) if anchor == "center" else (0, 0)
    result[top : top + inner[1], left : left + inner[0]] = small
    return result


def warp(
    pixels: Pixels,
    matrix: Sequence[Sequence[float]],
    size: tuple[int, int],
    *,
    inverse: bool = False,
    kernel: Sampling = "bilinear",
    pad: float = 0.0,
) -> Pixels:
    """Homography warp to size (width, height).

    Args:
        pixels: uint8 or float32; the dtype stays.
        matrix: 3x3, from source (u, v, 1) to output pixels; with `inverse`, from output to source.
        size: output width and height.
        inverse: which way the matrix goes.
        kernel: how the source is sampled.
        pad: value outside the source.
    """
    import cv2

    flags = (cv2.INTER_LINEAR if kernel == "bilinear" else cv2.INTER_NEAREST) | (cv2.WARP_INVERSE_MAP if inverse else 0)
    result = cv2.warpPerspective(
        np.ascontiguousarray(pixels),
        np.asarray(matrix, np.float64),
        size,
        flags=flags,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(pad,) * 4,
    )
    return np.asarray(result, pixels.dtype).reshape(size[1], size[0], -1)


def undistort_maps(
    calibration: CalibrationLike | None, size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Source u and v, [height, width] each, of every undistorted pixel; the camera matrix stays the same.

    Raises:
        PreprocessError: the case has no camera matrix, or it is for pictures of another size.
    """
    import cv2

    if calibration is None or calibration.intrinsics is None:
        raise PreprocessError(
            "undistort needs the camera matrix, which the case does not have",
            where="calibration",
            remedy="add intrinsics and distortion of this camera to case.toml, or drop the step",
        )
    if size != (calibration.width, calibration.height):
        raise PreprocessError(
            f"the calibration is for {calibration.width}x{calibration.height}, the picture here is {size[0]}x{size[1]}",
            where="undistort",
            remedy="undistort before crop and resize",
        )
    fisheye = calibration.distortion_model == "fisheye"
    rectify = cv2.fisheye.initUndistortRectifyMap if fisheye else cv2.initUndistortRectifyMap
    k = calibration.intrinsics
    d = calibration.distortion if calibration.distortion_model != "none" else np.zeros(4)
    map_u, map_v = rectify(k, d, np.eye(3), k, size, cv2.CV_32FC1)
    return np.asarray(map_u, np.float32), np.asarray(map_v, np.float32)


def undistorted(
    pixels: Pixels, maps: tuple[NDArray[np.float32], NDArray[np.float32]], kernel: Sampling = "bilinear"
) -> Pixels:
    """Sample pixels at the maps; black outside the picture, the dtype stays."""
    import cv2

    flag = cv2.INTER_LINEAR if kernel == "bilinear" else cv2.INTER_NEAREST
    result = cv2.remap(np.ascontiguousarray(pixels), *maps, flag, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(result, pixels.dtype).reshape(pixels.shape)
