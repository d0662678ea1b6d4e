"""Colour conversion between the planes of a recorded picture and RGB, in float or in the integers of a car.

YCbCr to RGB, with luma weights Kr, Kb and Kg = 1 - Kr - Kb (ITU-R BT.601 and BT.709):

    R = Y + 2 (1 - Kr) Cr,   B = Y + 2 (1 - Kb) Cb,   G = Y - (2 Kr (1 - Kr) Cr + 2 Kb (1 - Kb) Cb) / Kg

where limited range stretches Y from 16..235 and Cb, Cr from 128 +- 112 to 0..255 and +- 127.5. `float` keeps float32,
clipped to 0..255; `fixed` has coefficients of 20 bits, takes luma below black as black, and gives uint8. For BT.601
limited it takes OpenCV's coefficients (1.164, 1.596, -0.813, -0.391, 2.018) and is exactly cv2.cvtColor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cases.picture import ChromaSiting, ColorMatrix, ColorRange, Picture
from harness.errors import PreprocessError

__all__ = [
    "Arithmetic",
    "Chroma",
    "MatrixChoice",
    "Pixels",
    "RangeChoice",
    "encode_nv12",
    "rgb_to_ycbcr",
    "split_planes",
    "to_gray",
    "to_rgb",
    "to_rgb_u8",
]

MatrixChoice = Literal["declared", "bt601", "bt709"]
RangeChoice = Literal["declared", "limited", "full"]
Chroma = Literal["nearest", "bilinear"]
Arithmetic = Literal["float", "fixed"]
Pixels = NDArray[Any]  # uint8 or float32, [height, width, channels], 0..255

LUMA_WEIGHTS: dict[ColorMatrix, tuple[float, float]] = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
FIXED_BITS = 20
OPENCV_BRIGHT = 1220542
OPENCV_CHROMA = ((0, 1673527), (-409993, -852492), (2116026, 0))


def to_rgb(
    picture: Picture,
    *,
    matrix: MatrixChoice = "declared",
    range: RangeChoice = "declared",
    chroma: Chroma = "bilinear",
    arithmetic: Arithmetic = "float",
) -> Pixels:
    """Any recorded picture as RGB [height, width, 3]: float32 in 0..255 (`float`) or uint8 (`fixed`).

    matrix, range and chroma matter to YCbCr pictures only; `declared` takes what the recording says. RGB, BGR and gray
    pictures keep their numbers.

    Raises:
        PreprocessError: a tensor, or planes whose shape contradicts the picture's size.
    """
    if picture.pixel_format in ("nv12", "yuv420p"):
        used_matrix = picture.color_matrix if matrix == "declared" else matrix
        used_range = picture.color_range if range == "declared" else range
        if arithmetic == "fixed":
            return _fixed_from_yuv(picture, used_matrix, used_range, chroma)
        return _float_from_yuv(picture, used_matrix, used_range, chroma)
    rgb = _packed_rgb(picture)
    return rgb if arithmetic == "fixed" else rgb.astype(np.float32)


def to_gray(
    picture: Picture,
    *,
    matrix: MatrixChoice = "declared",
    range: RangeChoice = "declared",
    arithmetic: Arithmetic = "float",
) -> Pixels:
    """Luma stretched to 0..255, [height, width, 1]; from RGB by the matrix's weights, from gray as it is.

    Raises:
        PreprocessError: as `to_rgb`.
    """
    if picture.pixel_format in ("nv12", "yuv420p"):
        gain, zero = _luma_gain(picture.color_range if range == "declared" else range)
        luma: Pixels = (split_planes(picture)[0] - np.float32(zero)) * np.float32(gain)
    else:
        kr, kb = LUMA_WEIGHTS[picture.color_matrix if matrix == "declared" else matrix]
        luma = _packed_rgb(picture) @ np.array([kr, 1 - kr - kb, kb], np.float32)
    gray: Pixels = np.clip(luma, 0, 255)[..., None]
    return np.rint(gray).astype(np.uint8) if arithmetic == "fixed" else gray


def to_rgb_u8(picture: Picture) -> NDArray[np.uint8]:
    """A picture as RGB uint8 [height, width, 3] for looking at: what the recording declares, rounded."""
    return np.asarray(to_rgb(picture, chroma="nearest", arithmetic="fixed"), np.uint8)


def encode_nv12(
    picture: Picture,
    *,
    matrix: ColorMatrix = "bt601",
    range: ColorRange = "limited",
    chroma: Literal["mean", "first"] = "mean",
) -> Picture:
    """The picture as NV12 of that matrix and range, as a car's camera delivers it.

    4:2:0 pictures that declare the same matrix and range are only repacked, others go through 8-bit RGB.

    chroma: `mean` averages each 2x2 block, `first` takes its top left pixel (as OpenCV's RGB to YUV 4:2:0 does).

    Raises:
        PreprocessError: a tensor, or an odd width or height.
    """
    import cv2

    if picture.pixel_format in ("nv12", "yuv420p"):
        if (picture.color_matrix, picture.color_range) == (matrix, range):
            luma, cb_cr = split_planes(picture)
            return _nv12(luma, cb_cr, matrix, range, picture.chroma_siting)
        rgb = np.asarray(to_rgb(picture, arithmetic="fixed"), np.uint8)
    else:
        rgb = np.ascontiguousarray(_packed_rgb(picture))
    height, width = rgb.shape[:2]
    if height % 2 or width % 2:
        raise PreprocessError(
            f"4:2:0 needs even width and height, got {width}x{height}",
            where="encode_nv12(picture)",
            remedy="crop or resize to an even size first",
        )
    half = (
        rgb[::2, ::2] if chroma == "first" else cv2.resize(rgb, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    )
    rows = rgb_to_ycbcr(matrix, range)
    luma = np.asarray(cv2.transform(rgb, rows[:1]), np.uint8).reshape(height, width)
    cb_cr = np.asarray(cv2.transform(np.ascontiguousarray(half), rows[1:]), np.uint8)
    return _nv12(luma, cb_cr, matrix, range, "topleft" if chroma == "first" else "center")


def split_planes(picture: Picture) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Luma [height, width] and interleaved chroma Cb, Cr [height / 2, width / 2, 2] of a 4:2:0 picture.

    Raises:
        PreprocessError: the planes' shape contradicts the picture's size.
    """
    height, width = picture.height, picture.width
    data = picture.data
    if height % 2 or width % 2 or data.shape != (height * 3 // 2, width) or data.dtype != np.uint8:
        raise PreprocessError(
            f"{picture.pixel_format} of {width}x{height} must be uint8 [{height * 3 // 2}, {width}] with even sides, "
            f"got {data.dtype} {list(data.shape)}",
            where="picture.data",
            remedy="fix the recording, or the size in case.toml",
        )
    planes = np.asarray(data, np.uint8)
    luma, rest = planes[:height], planes[height:]
    if picture.pixel_format == "nv12":
        return luma, rest.reshape(height // 2, width // 2, 2)
    cb, cr = rest.reshape(2, height // 2, width // 2)
    return luma, np.stack([cb, cr], axis=-1)


def _packed_rgb(picture: Picture) -> NDArray[np.uint8]:
    data, kind = picture.data, picture.pixel_format
    if kind == "gray8" and data.ndim == 2:
        return np.repeat(np.asarray(data, np.uint8)[..., None], 3, axis=2)
    if kind in ("rgb24", "bgr24") and data.ndim == 3 and data.shape[2] == 3:
        return np.asarray(data if kind == "rgb24" else data[..., ::-1], np.uint8)
    raise PreprocessError(
        f"no colours in a {kind} picture of shape {list(data.shape)}",
        where="picture.pixel_format",
        remedy="leave the colour step out for tensors; pictures are [height, width, 3], gray ones [height, width]",
    )


def _nv12(
    luma: NDArray[np.uint8], cb_cr: NDArray[np.uint8], matrix: ColorMatrix, range: ColorRange, siting: ChromaSiting
) -> Picture:
    height, width = luma.shape
    data = np.concatenate([luma, cb_cr.reshape(height // 2, width)])
    return Picture(data, "nv12", width, height, matrix, range, siting)


def _luma_gain(range: ColorRange) -> tuple[float, int]:
    """Gain and black level of Y."""
    return (255 / 219, 16) if range == "limited" else (1.0, 0)


def _chroma_to_rgb(matrix: ColorMatrix, range: ColorRange) -> NDArray[np.float64]:
    """What (Cb - 128, Cr - 128) adds to (R, G, B): [3, 2]."""
    kr, kb = LUMA_WEIGHTS[matrix]
    kg = 1 - kr - kb
    gain = 255 / 224 if range == "limited" else 1.0
    red, blue = 2 * (1 - kr), 2 * (1 - kb)
    return gain * np.array([[0, red], [-blue * kb / kg, -red * kr / kg], [blue, 0]])


def rgb_to_ycbcr(matrix: ColorMatrix, range: ColorRange) -> NDArray[np.float64]:
    """Rows giving Y, Cb, Cr of (R, G, B, 1): [3, 4]."""
    kr, kb = LUMA_WEIGHTS[matrix]
    luma = np.array([kr, 1 - kr - kb, kb])
    cb = (np.array([0, 0, 1]) - luma) / (2 * (1 - kb))
    cr = (np.array([1, 0, 0]) - luma) / (2 * (1 - kr))
    y_gain, c_gain, y_zero = (219 / 255, 224 / 255, 16) if range == "limited" else (1.0, 1.0, 0)
    return np.column_stack([np.stack([y_gain * luma, c_gain * cb, c_gain * cr]), [y_zero, 128, 128]])


def _float_from_yuv(picture: Picture, matrix: ColorMatrix, range: ColorRange, chroma: Chroma) -> NDArray[np.float32]:
    import cv2

    luma, cb_cr = split_planes(picture)
    cb, cr = (_enlarged(plane, chroma, picture.chroma_siting) for plane in cv2.split(cb_cr.astype(np.float32)))
    gain, zero = _luma_gain(range)
    rows = np.column_stack([np.full(3, gain), _chroma_to_rgb(matrix, range)])
    rows = np.column_stack([rows, -rows @ [zero, 128, 128]])
    rgb = np.asarray(cv2.transform(cv2.merge([luma.astype(np.float32), cb, cr]), rows), np.float32)
    return np.clip(rgb, 0, 255, out=rgb)


def _fixed_from_yuv(picture: Picture, matrix: ColorMatrix, range: ColorRange, chroma: Chroma) -> NDArray[np.uint8]:
    """Y, Cb and Cr stay 8-bit, also where chroma is interpolated; the sum is rounded once."""
    import cv2

    if (matrix, range, chroma) == ("bt601", "limited", "nearest"):
        split_planes(picture)
        code = cv2.COLOR_YUV2RGB_NV12 if picture.pixel_format == "nv12" else cv2.COLOR_YUV2RGB_I420
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture.data), code), np.uint8)
    luma, cb_cr = split_planes(picture)
    y_gain, zero, coefficients = _fixed_coefficients(matrix, range)
    value = np.arange(256, dtype=np.int32)
    bright = cv2.LUT(luma, y_gain * np.maximum(value - zero, 0) + (1 << FIXED_BITS - 1))
    planes = [_enlarged(plane, chroma, picture.chroma_siting) for plane in cv2.split(cb_cr)]
    channels = []
    for row in coefficients:
        total = bright
        for plane, gain in zip(planes, row, strict=True):
            total = cv2.add(total, cv2.LUT(plane, gain * (value - 128))) if gain else total
        whole = np.right_shift(np.asarray(total, np.int32), FIXED_BITS)
        channels.append(np.clip(whole, 0, 255, out=whole).astype(np.uint8))
    return np.asarray(cv2.merge(channels), np.uint8)


def _fixed_coefficients(matrix: ColorMatrix, range: ColorRange) -> tuple[int, int, Sequence[Sequence[int]]]:
    """Gain of Y, black level, and what Cb and Cr add to R, G, B, in units of 2^-20."""
    if (matrix, range) == ("bt601", "limited"):
        return OPENCV_BRIGHT, 16, OPENCV_CHROMA
    gain, zero = _luma_gain(range)
    one = 1 << FIXED_BITS
    return round(gain * one), zero, np.rint(_chroma_to_rgb(matrix, range) * one).astype(int).tolist()


def _enlarged(plane: Pixels, chroma: Chroma, siting: ChromaSiting) -> Pixels:
    """One chroma plane at twice its size, [h, w] to [2h, 2w]; uint8 is rounded."""
    import cv2

    height, width = plane.shape
    if chroma == "nearest":
        return np.asarray(cv2.resize(plane, (2 * width, 2 * height), interpolation=cv2.INTER_NEAREST), plane.dtype)
    full: Pixels = plane.astype(np.float32, copy=False)
    full = full if siting in ("left", "topleft") else cv2.resize(full, (2 * width, height))
    full = full if siting == "topleft" else cv2.resize(full, (full.shape[1], 2 * height))
    if siting in ("left", "topleft"):
        full = _with_middles(full, axis=1)
    if siting == "topleft":
        full = _with_middles(full, axis=0)
    return np.rint(full).astype(np.uint8) if plane.dtype == np.uint8 else full


def _with_middles(values: Pixels, axis: int) -> Pixels:
    """Twice as many samples along one axis: each followed by its mean with the next, the last by itself."""
    view = values if axis == 0 else values.T
    large = np.empty(tuple(n * (2 if i == axis else 1) for i, n in enumerate(values.shape)), np.float32)
    rows = large if axis == 0 else large.T
    rows[::2] = view
    rows[1:-1:2] = (view[:-1] + view[1:]) / 2
    rows[-1] = view[-1]
    return large
