"""The car prepares its pictures otherwise than the lab: reports 15, 16, 17, 23 and 33."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.reports.arithmetic import Array, Offsets, lateral, offsets, pooled
from tests.reports.cards import write_card
from tests.reports.networks import write_network
from tests.reports.rights import Blamed, Clean, Judged, Measured, Right, Silent, Told
from tests.reports.roads import road, road_pictures, write_pictures, write_video
from tests.reports.trial import Trial
from tests.reports.variant import Variant

__all__ = ["MAKERS"]

Steps = Sequence[Mapping[str, Any]]

ENGINES = ("torch-fp32", "ort-fp32-none", "ort-fp32")
LAB = "deploy/torch-fp32"  # where preprocessing shows
LEGACY = {"exporter": "legacy", "opset": 17}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
NORMALISE = {"op": "normalise", "mean": MEAN, "std": STD}
WEIGHTS = (0.7, 0.3, -0.4)  # a trained first layer: red counts most

COLOURED = """
class Net(nn.Module):
    def __init__(self, count, width, metres, weights, sharp):
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights).reshape(1, 3, 1, 1))
        self.head = Head(count, width, metres, sharp)

    def forward(self, image):
        return self.head(F.avg_pool2d((image * self.weights).sum(1, keepdim=True), (2, 1)))


def build(**args):
    return Net(**args).eval()
"""


def _coloured(folder: Path, v: Variant, train: Steps, deploy: Steps, sharp: float) -> None:
    write_network(folder, v.module, COLOURED)
    args = {"count": v.count, "width": v.width, "metres": v.metres, "weights": list(WEIGHTS), "sharp": sharp}
    pipelines = {"train": train, "deploy": deploy}
    write_card(folder, v, args=args, layout="NCHW", pipelines=pipelines, export=LEGACY)


def _lines(v: Variant, pixels: Array, sharp: float) -> Array:
    """The network on normalised pixels [frames, 3, height, width]."""
    mixed = np.einsum("c,fchw->fhw", np.array(WEIGHTS), pixels)
    return lateral(v, pooled(mixed[:, None]), sharp)


def _normalised(
    pixels: Array, mean: Sequence[float] = MEAN, std: Sequence[float] = STD, scale: float = 1 / 255
) -> Array:
    """RGB 0..255 [frames, height, width, 3] as the network takes it."""
    return ((pixels.astype(float) * scale - mean) / std).transpose(0, 3, 1, 2)


def _shrunk(pictures: Array, width: int, height: int, antialias: bool) -> Array:
    """Bilinear in float, by PyTorch."""
    import torch
    from torch.nn import functional as F

    planes = torch.from_numpy(pictures.transpose(0, 3, 1, 2).astype(np.float32))
    small = F.interpolate(planes, size=(height, width), mode="bilinear", align_corners=False, antialias=antialias)
    return small.numpy().transpose(0, 2, 3, 1)


def _blamed(step: str, sizes: Offsets, *words: str, tolerance: float = 0.03) -> tuple[Right, ...]:
    """Every rung ran, the lines moved so far, and this one step did it."""
    blamed = Blamed(LAB, "preprocess", (f"preprocess:{step}",), sizes=sizes, tolerance=tolerance, words=(step, *words))
    return (Clean(), Measured(LAB, sizes, tolerance), blamed, Silent(measure="lag"))


def resize_without_antialias(folder: Path, v: Variant) -> Trial:
    """15: PIL's resize in the lab, OpenCV's on the device."""
    import cv2

    pictures = road_pictures(v, 4 * v.height, 4 * v.width, thin=0.012)  # lines thinner than a pixel of the input
    write_pictures(folder / "drives", v, pictures)
    resize, sharp = {"op": "resize", "size": [v.width, v.height]}, 8.0
    train = [{"op": "to_rgb"}, resize | {"antialias": True}, NORMALISE]
    _coloured(folder, v, train, [{"op": "to_rgb"}, resize | {"arithmetic": "fixed"}, NORMALISE], sharp)
    lab = _shrunk(pictures, v.width, v.height, antialias=True)
    device = np.stack([cv2.resize(p, (v.width, v.height), interpolation=cv2.INTER_LINEAR) for p in pictures])
    sizes = offsets(v, _lines(v, _normalised(lab), sharp) - _lines(v, _normalised(device), sharp))
    rights = _blamed("resize", sizes, "antialias", "true", "false", "arithmetic", "fixed", tolerance=0.05)
    return Trial(folder, ENGINES, rights, preprocess="train,deploy")


def mean_and_std_missing(folder: Path, v: Variant) -> Trial:
    """17: the device divides by 255 and no more."""
    pictures = road_pictures(v, v.height, v.width)
    write_pictures(folder / "drives", v, pictures)
    sharp = 2.0
    _coloured(folder, v, [{"op": "to_rgb"}, NORMALISE], [{"op": "to_rgb"}, {"op": "normalise"}], sharp)
    plain = _normalised(pictures, (0, 0, 0), (1, 1, 1))
    sizes = offsets(v, _lines(v, _normalised(pictures), sharp) - _lines(v, plain, sharp))
    rights = _blamed("normalise", sizes, "mean", "std", "0.485")
    return Trial(folder, ENGINES, rights, preprocess="train,deploy")


def _letterboxed(v: Variant, pictures: Array) -> Array:
    """Fitted by one factor, the rest filled with 114."""
    height, width = pictures.shape[1:3]
    factor = min(v.width / width, v.height / height)
    inner_w, inner_h = round(width * factor), round(height * factor)
    inner = _shrunk(pictures, inner_w, inner_h, antialias=True)
    top, left = (v.height - inner_h) // 2, (v.width - inner_w) // 2
    whole = np.full((len(pictures), v.height, v.width, 3), 114.0)
    whole[:, top : top + inner_h, left : left + inner_w] = inner
    return whole


# lines at the edges move less in the smaller picture than in the lab's: what the lab's line does in the meantime is the
# lab's (decision 28), and the candidate keeps what lasts
_MOVES_LESS = 0.3


def _letterbox(folder: Path, v: Variant, named: Mapping[str, Any]) -> Offsets:
    """Writes the situation; returns how far lines move where the picture keeps its proportions."""
    pictures = road_pictures(v, 2 * v.height, 4 * v.width)  # twice as wide as the network's input
    write_pictures(folder / "drives", v, pictures)
    size, sharp = {"size": [v.width, v.height], "antialias": True}, 4.0
    train = [{"op": "to_rgb"}, {"op": "resize"} | size, NORMALISE]
    _coloured(folder, v, train, [{"op": "to_rgb"}, {"op": "letterbox"} | size | named, NORMALISE], sharp)
    lab, device = _shrunk(pictures, v.width, v.height, antialias=True), _letterboxed(v, pictures)
    return offsets(v, _lines(v, _normalised(lab), sharp) - _lines(v, _normalised(device), sharp))


def letterbox_for_stretch(folder: Path, v: Variant) -> Trial:
    """23: the device keeps the picture's proportions, the lab stretches; both call the step `resize`."""
    sizes = _letterbox(folder, v, {"step": "resize"})
    rights = _blamed("resize", sizes, "letterbox", tolerance=_MOVES_LESS)
    return Trial(folder, ENGINES, rights, preprocess="train,deploy")


def letterbox_instead_of_resize(folder: Path, v: Variant) -> Trial:
    """23, unnamed: one pipeline has `resize`, the other `letterbox`; neither can be swapped without the other."""
    sizes = _letterbox(folder, v, {})
    factors = (
        "preprocess:resize+letterbox",
        "preprocess:letterbox+resize",
        "preprocess:resize",
        "preprocess:letterbox",
    )
    blamed = Blamed(LAB, "preprocess", factors, sizes=sizes, tolerance=_MOVES_LESS, words=("resize", "letterbox"))
    rights = (Clean(), Measured(LAB, sizes, _MOVES_LESS), blamed, Silent(measure="lag"))
    return Trial(folder, ENGINES, rights, preprocess="train,deploy")


def another_colour_matrix(folder: Path, v: Variant) -> Trial:
    """16: a BT.709 stream that the device reads as BT.601: chroma that slopes across the picture moves the lines."""
    height, width = 2 * v.height, 2 * v.width  # shrunk by 2, so that chroma needs no interpolation
    gray = road(v, height=height, width=width, thin=0.3)[:, 0].mean(1)
    luma = np.round(110 + 45 * gray)
    part = width // v.count // 2
    slope = np.round(np.linspace(-45, 45, part))  # over a slice, in chroma pixels; up and down in turn, without a jump
    slope = np.concatenate([slope[:: (-1) ** k] for k in range(v.count)])
    plane = np.broadcast_to(slope, (v.frames, height // 2, width // 2))
    planes = np.concatenate(
        [luma.reshape(v.frames, -1), (128 - plane).reshape(v.frames, -1), (128 + plane).reshape(v.frames, -1)], 1
    )
    planes_u8 = planes.reshape(v.frames, height * 3 // 2, width).astype(np.uint8)
    write_video(folder / "drives", v, planes_u8, matrix=1)
    sharp = 8.0
    rest = [{"op": "resize", "size": [v.width, v.height], "kernel": "area"}, {"op": "normalise"}]
    _coloured(folder, v, [{"op": "to_rgb"}, *rest], [{"op": "to_rgb", "matrix": "bt601"}, *rest], sharp)
    small = luma.reshape(v.frames, v.height, 2, v.width, 2).mean((2, 4))
    lab, device = (_rgb(small, -plane, plane, kr, kb) for kr, kb in ((0.2126, 0.0722), (0.299, 0.114)))
    sizes = offsets(v, _lines(v, lab / 255, sharp) - _lines(v, device / 255, sharp))
    rights = (
        Clean(),
        Measured(LAB, sizes, tolerance=0.03),
        Blamed(LAB, "preprocess", ("preprocess:colour",), sizes=sizes, tolerance=0.03,
            words=("colour", "matrix", "bt601", "bt709", "declare"),
        ),
    )  # fmt: skip
    return Trial(folder, ENGINES, rights, preprocess="train,deploy")


def _rgb(luma: Array, blue: Array, red: Array, kr: float, kb: float) -> Array:
    """Limited range YCbCr (chroma about 0) to RGB 0..255, as ITU-R BT.601 and BT.709 define it."""
    y, cb, cr = (luma - 16) * 255 / 219, blue * 255 / 224, red * 255 / 224
    r, b = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    g = (y - kr * r - kb * b) / (1 - kr - kb)
    return np.clip(np.stack([r, g, b], 1), 0, 255)


SCORED = """
class Net(nn.Module):
    def __init__(self, count, width, metres, contrast):
        super().__init__()
        self.count, self.contrast, self.head = count, contrast, Head(count, width, metres, 4.0)

    def forward(self, image):
        rows = F.avg_pool2d(image.mean(1, keepdim=True), (2, 1))
        parts = rows.reshape(rows.shape[0], rows.shape[2], self.count, -1).transpose(1, 2).flatten(2)
        return self.head(rows), torch.sigmoid(8 - 16 * (parts.std(2) / self.contrast - 1).abs())


def build(**args):
    return Net(**args).eval()
"""


class _AllMissing:
    """Every line of every frame is missing on the device's pictures, and none on the lab's."""

    def __init__(self, lines: int) -> None:
        self.lines = lines

    def hold(self, answer: Any) -> None:
        import polars as pl

        assert answer.meta
        table = pl.read_parquet(answer.trial.folder / "run" / "frame_metrics.parquet")
        rows = table.filter((pl.col("rung") == LAB) & (pl.col("reference") == answer.meta["reference"]))
        assert rows["missing"].sum() == self.lines == rows["lines"].sum() + rows["missing"].sum()


def no_line_left(folder: Path, v: Variant) -> Trial:
    """33: the device does not divide by 255, and no line scores enough."""
    pictures = road_pictures(v, v.height, v.width)
    write_pictures(folder / "drives", v, pictures)
    write_network(folder, v.module, SCORED)
    rows = pooled(_normalised(pictures).mean(1, keepdims=True))[:, 0]
    contrast = rows.reshape(v.frames, v.rows, v.count, -1).transpose(0, 2, 1, 3).reshape(v.frames, v.count, -1).std(2)
    args = {"count": v.count, "width": v.width, "metres": v.metres, "contrast": float(contrast.mean())}
    wrong = {"op": "normalise", "scale": 1.0} | ({"mean": MEAN, "std": STD} if v.seed % 2 else {})
    pipelines = {"train": [{"op": "to_rgb"}, NORMALISE], "deploy": [{"op": "to_rgb"}, wrong]}
    write_card(folder, v, args=args, layout="NCHW", pipelines=pipelines, export=LEGACY, scores="scores")
    blamed = Blamed(LAB, "preprocess", ("preprocess:normalise",), measure="", words=("normalise", "scale"))
    rights = (Clean(), _AllMissing(v.frames * v.count), blamed, Told(("no line",)), Judged(("FAIL",)))
    return Trial(folder, ENGINES, rights, preprocess="train,deploy")


MAKERS = {
    "15-resize-without-antialias": resize_without_antialias,
    "16-another-colour-matrix": another_colour_matrix,
    "17-mean-and-std-missing": mean_and_std_missing,
    "23-letterbox-for-stretch": letterbox_for_stretch,
    "23-letterbox-instead-of-resize": letterbox_instead_of_resize,
    "33-no-line-left": no_line_left,
}
