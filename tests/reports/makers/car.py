"""Outputs dumped on the car, as cars write them: reports 18, 19, 20 and 35."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.reports.arithmetic import Array, lateral, pooled, shift, softmax
from tests.reports.cards import write_card
from tests.reports.networks import write_network
from tests.reports.rights import Blamed, Clean, NobodyBlamed, Silent, Status
from tests.reports.roads import moments_ns, road, write_tensors
from tests.reports.trial import Trial
from tests.reports.variant import Variant

__all__ = ["MAKERS"]

ENGINES = ("torch-fp32", "ort-fp32-none", "ort-fp32", "recorded:car")
LEGACY = {"exporter": "legacy", "opset": 17}
CAR = "deploy/recorded:car"

PLAIN = """
class Net(nn.Module):
    def __init__(self, count, width, metres):
        super().__init__()
        self.head = Head(count, width, metres, 8.0)

    def forward(self, image):
        return self.head(F.avg_pool2d(image, (2, 1)))


def build(**args):
    return Net(**args).eval()
"""


def _plain(folder: Path, v: Variant) -> Array:
    """Recording, network and card; returns the network's outputs [frames, count, rows]."""
    frames = road(v)
    write_tensors(folder / "drives", v, frames)
    write_network(folder, v.module, PLAIN)
    write_card(folder, v, args={"count": v.count, "width": v.width, "metres": v.metres}, export=LEGACY)
    return lateral(v, pooled(frames[:, 0].astype(float)), 8.0)


def _dump(folder: Path, v: Variant) -> Path:
    """The folder of the dump `car`, declared in case.toml."""
    place = folder / "drives" / v.case / "outputs" / "car"
    place.mkdir(parents=True)
    meta = folder / "drives" / v.case / "case.toml"
    said = '\n[outputs.car]\npath = "outputs/car"\ntolerance_ms = 5.0\n'
    meta.write_text(meta.read_text().replace("[outputs]\n", "") + said)
    return place


ANCHORS = """
class Net(nn.Module):
    def __init__(self, count, rows, cells, sharp):
        super().__init__()
        self.count, self.rows, self.cells, self.sharp = count, rows, cells, sharp

    def forward(self, image):
        logits = F.adaptive_avg_pool2d(image.mean(1, keepdim=True), (self.rows, image.shape[3]))[:, 0] * self.sharp
        parts = logits.reshape(-1, self.rows, self.count, self.cells).permute(0, 3, 1, 2)
        return torch.cat([parts, parts.new_zeros(parts.shape[0], 1, self.rows, self.count)], 1)


def build(**args):
    return Net(**args).eval()
"""


def lanes_only(folder: Path, v: Variant) -> Trial:
    """18: the car logs nothing but its lanes, and its own post-processing put them aside."""
    frames = road(v)
    write_tensors(folder / "drives", v, frames)
    write_network(folder, v.module, ANCHORS)
    cells, sharp = v.width // v.count, 12.0
    rows = [2.0 * k + 1 for k in range(v.rows)]
    decoder = {"name": "row-anchor", "output": v.lines, "rows": rows}
    more = f"[image]\nwidth = {v.width}\nheight = {v.height}\nrows = [{rows[-1]}, {rows[0]}]\n"
    args = {"count": v.count, "rows": v.rows, "cells": cells, "sharp": sharp}
    head = 'frame = "image"\nlength_unit = "px"'
    write_card(folder, v, args=args, decoder=decoder, more=more, head=head, export=LEGACY)
    logits = pooled(frames[:, 0].astype(float)).mean(1) * sharp
    there = softmax(logits.reshape(v.frames, v.rows, v.count, cells))
    cell = (there * np.arange(cells)).sum(-1)  # the expectation, [frames, rows, count]
    pitch = (v.width - 1) / (cells - 1)
    aside = (-1) ** v.seed * 0.015 * v.width  # pixels: less than what still matches, more than a finding needs
    u = cell * pitch + aside
    place = _dump(folder, v)
    for moment, lanes in zip(moments_ns(v), u.transpose(0, 2, 1), strict=True):
        points = [[[float(x), y] for x, y in zip(lane, rows, strict=True)] for lane in lanes]
        (place / f"{moment}.json").write_text(json.dumps({"lanes": points}))
    factors = ("car", "decoder", "car:decoder")
    blamed = Blamed(CAR, "car", factors, sizes=shift(v, abs(aside)), tolerance=0.05, words=("car", "decoder"))
    return Trial(folder, ENGINES, (Clean(), blamed), unit="px")


def two_runners(folder: Path, v: Variant) -> Trial:
    """19: one Polygraphy file with the results of two runners: whose results they are must be said."""
    lines = _plain(folder, v)
    place = _dump(folder, v)
    names = ("onnxrt-runner-N0-01/01/26-10:00:00", f"trt-runner-N{v.seed}-01/01/26-10:00:09")
    runs = [[name, [_iteration(v, frame, name) for frame in lines]] for name in names]
    (place / "out.json").write_text(json.dumps({"lst": runs, "polygraphy_class": "RunResults"}))
    (place / "out.timestamps").write_text("\n".join(map(str, moments_ns(v))))
    return Trial(folder, ENGINES, (Status(CAR, ("not_run", "crashed"), ("2 runners", *names)),))


def _iteration(v: Variant, lines: Array, runner: str) -> dict[str, object]:
    """Outputs of one frame as Polygraphy's JSON has them."""
    buffer = io.BytesIO()
    np.save(buffer, lines[None].astype(np.float32))
    array = {"array": base64.b64encode(buffer.getvalue()).decode(), "polygraphy_class": "ndarray"}
    output = {v.lines: {"values": array, "polygraphy_class": "LazyArray"}}
    return {"outputs": output, "runtime": 0.0004, "runner_name": runner, "polygraphy_class": "IterationResult"}


def padded_output(folder: Path, v: Variant) -> Trial:
    """20: trtexec wrote the padded binding: more values than its dimensions have."""
    lines = _plain(folder, v)
    place = _dump(folder, v)
    many = v.count * v.rows
    extra = 8 + 4 * v.seed
    for moment, frame in zip(moments_ns(v), lines, strict=True):
        values = [float(f"{y:.6g}") for y in frame.ravel()] + [0.0] * extra
        tensor = {"name": v.lines, "dimensions": f"1x{v.count}x{v.rows}", "values": values}
        (place / f"{moment}.json").write_text(json.dumps([tensor]))
    return Trial(folder, ENGINES, (Status(CAR, ("not_run", "crashed"), (str(many + extra), str(many))), Silent()))


def _timed(folder: Path, v: Variant, change: Callable[[int], int]) -> None:
    """The network's own outputs, dumped under changed times."""
    lines = _plain(folder, v)
    place = _dump(folder, v)
    for moment, frame in zip(moments_ns(v), lines, strict=True):
        np.savez(place / f"{change(moment)}.npz", **{v.lines: frame[None].astype(np.float32)})


def late_by_some_milliseconds(folder: Path, v: Variant) -> Trial:
    """35: every dumped frame is stamped some milliseconds late, beyond the tolerance: none matches."""
    step_ms = 1000 / v.fps
    late_ms = round(0.74 * step_ms)
    _timed(folder, v, lambda moment: moment + late_ms * 1_000_000)
    nearest_ms = min(late_ms, step_ms - late_ms)  # the frame before the next one is nearer
    return Trial(folder, ENGINES, (NobodyBlamed(CAR, (f"0 of {v.frames}", f"{nearest_ms:.3g}")),))


def times_in_another_unit(folder: Path, v: Variant) -> Trial:
    """35: the dump counts milliseconds or microseconds where nanoseconds are meant."""
    unit, divisor = (("milliseconds", 10**6), ("microseconds", 10**3))[v.seed % 2]
    _timed(folder, v, lambda moment: moment // divisor)
    return Trial(folder, ENGINES, (NobodyBlamed(CAR, (f"0 of {v.frames}", unit)),))


MAKERS = {
    "18-lanes-only": lanes_only,
    "19-two-runners": two_runners,
    "20-padded-output": padded_output,
    "35-late-by-some-milliseconds": late_by_some_milliseconds,
    "35-times-in-another-unit": times_in_another_unit,
}
