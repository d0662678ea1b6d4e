"""A car's preprocessing written a second time, by OpenCV, PIL, torch and ffmpeg, with faults to switch on.

Nothing here comes from harness: what a diagnosis finds is not to be found by the code that planted it. Without faults
the car is exactly what `declared` says: NV12 of BT.601 limited range, cv2.cvtColor, a crop, cv2.resize, and
(x / 255 - mean) / std. Every fault takes its numbers from a generator, so that none lies on a grid of the search.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Random = np.random.Generator
Values = Mapping[str, Any]

COLOURS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


@dataclass(frozen=True)
class Setup:
    """One camera and network: sizes as (width, height), the crop's box, mean and std of levels over 255."""

    name: str
    source: tuple[int, int]
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    lens: tuple[float, ...] = ()

    @property
    def camera(self) -> NDArray[np.float64]:
        """Camera matrix, pixels."""
        width, height = self.source
        return np.array([[0.8 * width, 0, width / 2], [0, 0.8 * width, height / 2], [0, 0, 1]])

    def declared(self) -> list[dict[str, Any]]:
        """The deploy steps of the card."""
        lens = [{"op": "undistort"}] if self.lens else []
        return [
            {"op": "nv12"},
            {"op": "to_rgb", "chroma": "nearest", "arithmetic": "fixed"},
            *lens,
            {"op": "crop", "box": list(self.box)},
            {"op": "resize", "size": list(self.size), "arithmetic": "fixed"},
            {"op": "round_u8"},
            {"op": "normalise", "mean": list(self.mean), "std": list(self.std)},
        ]


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SETUPS = (
    Setup("96x40", (320, 180), (8, 44, 304, 130), (96, 40), (0.45, 0.42, 0.47), (0.25, 0.24, 0.27)),
    Setup("128x64", (400, 224), (16, 20, 368, 196), (128, 64), *IMAGENET, lens=(-0.21, 0.05, 0.001, -0.0005)),
    Setup("160x88", (480, 270), (8, 8, 464, 254), (160, 88), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
)


def drive(frames: Sequence[Bytes], setup: Setup, faults: Values, at: int, other: Sequence[Bytes] = ()) -> Floats:
    """The tensor of a moment, [height, width, channels] as the network reads it.

    Args:
        frames: NV12 pictures, [height * 3 / 2, width].
        setup: sizes and numbers.
        faults: name -> numbers, of FAULTS.
        at: the moment.
        other: NV12 pictures of another camera.
    """
    shown = other if "camera" in faults else frames
    rgb = _colours(shown[_moment(faults, at)], setup, faults)
    rgb = _lens(rgb, setup, faults)
    if "gamma" in faults:
        rgb = _gamma(rgb, faults["gamma"])
    if "jpeg" in faults and faults["jpeg"]["early"]:
        rgb = _jpeg(rgb, faults["jpeg"]["quality"])
    small = _sized(rgb, setup, faults)
    if "jpeg" in faults and not faults["jpeg"]["early"]:
        small = _jpeg(small, faults["jpeg"]["quality"])
    if "flip" in faults:
        small = np.ascontiguousarray(_pil(small).transpose(faults["flip"]["how"]))
    return _tensor(small, setup, faults)


def _moment(faults: Values, at: int) -> int:
    if "stale" in faults:
        hold = faults["stale"]["hold"]
        return at - (at - faults["stale"]["phase"]) % hold
    return at - faults["lag"]["frames"] if "lag" in faults else at


def _colours(nv12: Bytes, setup: Setup, faults: Values) -> Bytes:
    wrong = {k: faults[k] for k in ("range", "matrix", "chroma") if k in faults}
    if not wrong:
        rgb = cv2.cvtColor(nv12, cv2.COLOR_YUV2RGB_NV12)
    elif set(wrong) == {"matrix"} and wrong["matrix"]["ffmpeg"]:
        rgb = _by_ffmpeg(nv12, wrong["matrix"]["read"])
    else:
        rgb = _by_hand(nv12, setup.source, wrong)
    if "channel_order" in faults:
        rgb = rgb[..., faults["channel_order"]["order"]]
    return np.ascontiguousarray(rgb, np.uint8)


def _by_ffmpeg(nv12: Bytes, matrix: str) -> Bytes:
    """swscale told another matrix."""
    import av
    from av.video.reformatter import Colorspace, VideoReformatter

    frame = av.VideoFrame.from_ndarray(nv12, format="nv12")
    space = {"bt709": Colorspace.ITU709, "bt2020": Colorspace.ITU709}[matrix]
    made = VideoReformatter().reformat(frame, format="rgb24", src_colorspace=space, dst_colorspace=space)
    return made.to_ndarray()


def _by_hand(nv12: Bytes, source: tuple[int, int], wrong: Values) -> Bytes:
    """The textbook's conversion, with torch enlarging chroma."""
    import torch
    import torch.nn.functional as F

    width, height = source
    luma = nv12[:height].astype(np.float64)
    chroma = torch.from_numpy(nv12[height:].reshape(height // 2, width // 2, 2).copy()).permute(2, 0, 1)[None].double()
    how = wrong.get("chroma", {"how": "nearest"})["how"]
    if how == "nearest":
        large = F.interpolate(chroma, (height, width), mode="nearest")
    else:
        right = {"center": 0.0, "left": 0.25}[how]
        x = (torch.arange(width).double() + 0.5) / 2 - 0.5 + right
        y = (torch.arange(height).double() + 0.5) / 2 - 0.5
        grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)
        grid = (grid * 2 + 1) / torch.tensor([width // 2, height // 2]) - 1
        large = F.grid_sample(chroma, grid[None], mode="bilinear", padding_mode="border", align_corners=False)
    cb, cr = (large[0, i].numpy() - 128 for i in (0, 1))
    kr, kb = COLOURS[wrong.get("matrix", {"read": "bt601"})["read"]]
    if "range" in wrong:
        y_, c_ = luma, 1.0
    else:
        y_, c_ = (luma - 16) * 255 / 219, 255 / 224
    red, blue = 2 * (1 - kr) * c_ * cr, 2 * (1 - kb) * c_ * cb
    green = -(kr * red + kb * blue) / (1 - kr - kb)
    return np.clip(np.rint(np.stack([y_ + red, y_ + green, y_ + blue], -1)), 0, 255).astype(np.uint8)


def _lens(rgb: Bytes, setup: Setup, faults: Values) -> Bytes:
    if not setup.lens or "undistort" in faults:
        return rgb
    return cv2.undistort(rgb, setup.camera, np.array(setup.lens))


def _gamma(rgb: Bytes, values: Values) -> Bytes:
    table = [min(255, int(255 * (i / 255) ** values["exponent"] + 0.5)) for i in range(256)]
    return np.asarray(_pil(rgb).point(table * 3))


def _pil(rgb: Bytes) -> Any:
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(rgb))


def _jpeg(rgb: Bytes, quality: int) -> Bytes:
    from PIL import Image

    file = io.BytesIO()
    _pil(rgb).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _sized(rgb: Bytes, setup: Setup, faults: Values) -> Floats | Bytes:
    """Crop and resize; floating point where it is to be cut off."""
    import torch
    import torch.nn.functional as F
    from PIL import Image

    left, top, width, height = setup.box
    if "crop" in faults:
        left, top = left + faults["crop"]["right"], top + faults["crop"]["down"]
    cut = rgb[top : top + height, left : left + width]
    size = setup.size
    if "shift" in faults or "zoom" in faults:
        return _moved(rgb, setup, faults)
    if "letterbox" in faults:
        factor = min(size[0] / width, size[1] / height)
        inner = round(width * factor), round(height * factor)
        page = Image.new("RGB", size, (faults["letterbox"]["pad"],) * 3)
        small = cv2.resize(cut, inner, interpolation=cv2.INTER_LINEAR)
        page.paste(_pil(small), ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
        return np.asarray(page)
    if "kernel" in faults:
        how = {"nearest": cv2.INTER_NEAREST, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}[faults["kernel"]["how"]]
        return cv2.resize(cut, size, interpolation=how)
    if "antialias" in faults:
        return np.asarray(_pil(cut).resize(size, Image.Resampling.BILINEAR))
    if "coordinates" in faults:
        pixels = torch.from_numpy(cut.copy()).permute(2, 0, 1)[None].float()
        if faults["coordinates"]["rule"] == "align-corners":
            small = F.interpolate(pixels, size[::-1], mode="bilinear", align_corners=True)
        else:
            small = _asymmetric(pixels, size)
        return np.rint(small[0].permute(1, 2, 0).numpy()).clip(0, 255).astype(np.uint8)
    if "rounding" in faults:
        pixels = torch.from_numpy(cut.copy()).permute(2, 0, 1)[None].double()
        small = F.interpolate(pixels, size[::-1], mode="bilinear", align_corners=False)
        return np.floor(small[0].permute(1, 2, 0).numpy() + 1e-9).clip(0, 255).astype(np.uint8)
    return cv2.resize(cut, size, interpolation=cv2.INTER_LINEAR)


def _asymmetric(pixels: Any, size: tuple[int, int]) -> Any:
    """Position i * ratio, by torch's own sampler."""
    import torch
    import torch.nn.functional as F

    height, width = pixels.shape[2:]
    x = torch.arange(size[0]).double() * width / size[0]
    y = torch.arange(size[1]).double() * height / size[1]
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)
    grid = (grid * 2 + 1) / torch.tensor([width, height]) - 1
    return F.grid_sample(
        pixels.double(), grid[None], mode="bilinear", padding_mode="border", align_corners=False
    ).float()


def _moved(rgb: Bytes, setup: Setup, faults: Values) -> Bytes:
    """A fraction of a pixel beside, or larger, by one warp from the recorded picture as a GPU's sampler does it."""
    left, top, width, height = setup.box
    values = faults.get("shift") or faults["zoom"]
    zx, zy = values.get("across", 1.0), values.get("along", 1.0)
    (w, h), rx, ry = setup.size, width / setup.size[0], height / setup.size[1]
    # output pixel i shows (i - c - move) / zoom + c of the picture that it should show
    cx, cy = (w - 1) / 2, (h - 1) / 2
    x = (np.arange(w) - cx - values["right"]) / zx + cx
    y = (np.arange(h) - cy - values["down"]) / zy + cy
    u, v = (x + 0.5) * rx - 0.5 + left, (y + 0.5) * ry - 0.5 + top
    map_u, map_v = np.meshgrid(u.astype(np.float32), v.astype(np.float32))
    return cv2.remap(rgb, map_u, map_v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _tensor(small: Floats | Bytes, setup: Setup, faults: Values) -> Floats:
    mean, std = np.array(setup.mean, np.float32), np.array(setup.std, np.float32)
    values = small.astype(np.float32) / 255
    if "scale" in faults:
        values = values * np.float32(faults["scale"]["factor"])
    if "normalisation" in faults:
        mean, std = np.float32(faults["normalisation"]["mean"]), np.float32(faults["normalisation"]["std"])
    tensor = (values - mean) / std
    if "layout" in faults:
        tensor = np.ascontiguousarray(tensor).reshape(3, *tensor.shape[:2]).transpose(1, 2, 0)
    return np.ascontiguousarray(tensor)


def _swapped(rng: Random, setup: Setup) -> Values:
    orders = ([2, 1, 0], [2, 1, 0], [2, 1, 0], [1, 0, 2], [1, 2, 0])
    return {"order": orders[rng.integers(len(orders))]}


def _other_normalisation(rng: Random, setup: Setup) -> Values:
    mean, std = np.array(setup.mean), np.array(setup.std)
    kind = rng.integers(3)
    if kind == 0:
        return {"mean": mean + rng.uniform(0.03, 0.12) * rng.choice([-1, 1]), "std": std * rng.uniform(1.05, 1.4)}
    if kind == 1 and setup.mean[0]:
        return {"mean": mean[::-1].copy(), "std": std[::-1].copy()}
    return {"mean": mean + rng.uniform(-0.1, 0.1, 3), "std": std * rng.uniform(0.7, 1.4, 3)}


def _signed(rng: Random, low: float, high: float) -> float:
    return float(rng.uniform(low, high) * rng.choice([-1, 1]))


def _crop(rng: Random, setup: Setup) -> Values:
    right, down = (int(rng.integers(-5, 6)) for _ in range(2))
    return {"right": right, "down": down or int(rng.choice([-2, -1, 1, 2]))}


def _zoomed(rng: Random, setup: Setup) -> Values:
    across, along = 1 + _signed(rng, 0.006, 0.04), 1 + _signed(rng, 0.006, 0.04)
    return {
        "right": float(rng.uniform(-0.5, 0.5)),
        "down": float(rng.uniform(-0.5, 0.5)),
        "across": across,
        "along": along,
    }


FAULTS: dict[str, Callable[[Random, Setup], Values]] = {
    "channel_order": _swapped,
    "layout": lambda rng, setup: {},
    "range": lambda rng, setup: {},
    "scale": lambda rng, setup: {"factor": [255.0, 1 / 255][rng.integers(2)]},
    "normalisation": _other_normalisation,
    "matrix": lambda rng, setup: {"read": ["bt709", "bt2020"][rng.integers(2)], "ffmpeg": False},
    "chroma": lambda rng, setup: {"how": ["center", "left"][rng.integers(2)]},
    "gamma": lambda rng, setup: {"exponent": float(np.exp(_signed(rng, 0.06, 0.4)))},
    "shift": lambda rng, setup: {"right": _signed(rng, 0.1, 2.3), "down": _signed(rng, 0.1, 1.7)},
    "coordinates": lambda rng, setup: {"rule": ["align-corners", "asymmetric"][rng.integers(2)]},
    "crop": _crop,
    "zoom": _zoomed,
    "letterbox": lambda rng, setup: {"pad": int(rng.integers(0, 256))},
    "kernel": lambda rng, setup: {"how": ["nearest", "cubic", "area"][rng.integers(3)]},
    "antialias": lambda rng, setup: {},
    "rounding": lambda rng, setup: {},
    "jpeg": lambda rng, setup: {"quality": int(rng.integers(35, 93)), "early": bool(rng.integers(2))},
    "stale": lambda rng, setup: {"hold": int(rng.integers(2, 6)), "phase": int(rng.integers(2))},
    "lag": lambda rng, setup: {"frames": int(rng.integers(1, 8))},
    "flip": lambda rng, setup: {"how": int(rng.integers(2))},
    "undistort": lambda rng, setup: {},
    "camera": lambda rng, setup: {},
}
"""Class of `harness.diagnosis.names` -> numbers of one fault of that class."""

SIZING = ("shift", "coordinates", "crop", "zoom", "letterbox", "kernel", "antialias", "rounding")
TIME = ("stale", "lag", "camera")
EXCLUSIVE = (SIZING, TIME, ("scale", "normalisation"), ("layout", "jpeg"))
"""Faults that the code above cannot do at once, or of which one hides the other."""
