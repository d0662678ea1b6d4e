"""Outputs dumped on the car, as cars write them: reports 18, 19, 20 and 35."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.reports.arithmetic import Array, lateral, pooled, shift, softmax
from tests.reports.cards import write_card
from tests.reports.networks import write_network
from tests.reports.rights import Blamed, Clean, Measured, NobodyBlamed, Silent, Status
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
    def __init__(self, count, width, sharp):
        super().__init__()
        cell = torch.arange(width)[:, None, None]
        own = cell // (width // count) == torch.arange(count)  # every lane has its slice of the cells
        self.register_buffer("elsewhere", torch.where(own, 0.0, -30.0))
        self.sharp = sharp

    def forward(self, image):
        rows = F.avg_pool2d(image, (2, 1)).mean(1).transpose(1, 2) * self.sharp  # [1, cells, rows]
        lanes = rows[..., None] + self.elsewhere
        return torch.cat([lanes, torch.zeros_like(lanes[:, :1])], 1)  # the last class: no lane


def build(**args):
    return Net(**args).eval()
"""


def lanes_only(folder: Path, v: Variant) -> Trial:
    """18: the car logs nothing but its lanes, and its own post-processing put them aside."""
    frames = road(v)
    write_tensors(folder / "drives", v, frames)
    write_network(folder, v.module, ANCHORS)
    sharp = 12.0
    rows = [2.0 * k + 1 for k in range(v.rows)]
    decoder = {"name": "row-anchor", "output": v.lines, "rows": rows}
    more = f"[image]\nwidth = {v.width}\nheight = {v.height}\nrows = [{rows[-1]}, {rows[0]}]\n"
    args = {"count": v.count, "width": v.width, "sharp": sharp}
    head = 'frame = "image"\nlength_unit = "px"'
    write_card(folder, v, args=args, decoder=decoder, more=more, head=head, export=LEGACY)
    logits = pooled(frames[:, 0].astype(float)).mean(1) * sharp
    there = softmax(logits.reshape(v.frames, v.rows, v.count, -1))
    cell = (there * np.arange(v.width).reshape(v.count, -1)).sum(-1)  # the expectation, [frames, rows, count]
    aside = (-1) ** v.seed * 0.015 * v.width  # pixels: less than what still matches, more than a finding needs
    u = cell + aside
    place = _dump(folder, v)
    for moment, lanes in zip(moments_ns(v), u.transpose(0, 2, 1), strict=True):
        points = [[[float(x), y] for x, y in zip(lane, rows, strict=True)] for lane in lanes]
        (place / f"{moment}.json").write_text(json.dumps({"lanes": points}))
    factors = ("car:decoder",)
    blamed = Blamed(CAR, "car", factors, sizes=shift(v, abs(aside)), tolerance=0.05, words=("car", "decoder"))
    return Trial(folder, ENGINES, (Clean(), blamed), unit="px")


def one_runner(folder: Path, v: Variant) -> Trial:
    """19, the remedy: one of the runners is named, and its results are compared."""
    trial = two_runners(folder, v)
    rung = "deploy/recorded:car@trt"
    rights = (Clean(), Measured(rung, 0.0, atol=1e-4), Silent())
    return replace(trial, engines=(*ENGINES[:-1], "recorded:car@trt"), rights=rights)


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
    return Trial(
        folder,
        ENGINES,
        (NobodyBlamed(CAR, ("0 of", f"{v.frames} frames", f"{nearest_ms:.6g} ms", f"{late_ms} ms late")),),
    )


def lateness_given(folder: Path, v: Variant) -> Trial:
    """35, the remedy: the car's clock is said to be late."""
    trial = late_by_some_milliseconds(folder, v)
    _say(folder, v, f"time_offset_ms = {round(0.74 * 1000 / v.fps)}.0")
    return replace(trial, rights=(Clean(), Measured(CAR, 0.0, atol=1e-4), Silent()))


def unit_given(folder: Path, v: Variant) -> Trial:
    """35, the remedy: the unit of the dump's times is said."""
    trial = times_in_another_unit(folder, v)
    _say(folder, v, f'time_unit = "{_UNITS[v.seed % 2][0]}"')
    return replace(trial, rights=(Clean(), Measured(CAR, 0.0, atol=1e-4), Silent()))


def _say(folder: Path, v: Variant, line: str) -> None:
    """One more line under [outputs.car], the last table of case.toml."""
    with (folder / "drives" / v.case / "case.toml").open("a") as file:
        file.write(line + "\n")


_UNITS = (("ms", 10**6), ("us", 10**3))


def times_in_another_unit(folder: Path, v: Variant) -> Trial:
    """35: the dump counts milliseconds or microseconds where nanoseconds are meant."""
    unit, divisor = _UNITS[v.seed % 2]
    _timed(folder, v, lambda moment: moment // divisor)
    return Trial(folder, ENGINES, (NobodyBlamed(CAR, ("0 of", f"{v.frames} frames", "time_unit", f'"{unit}"')),))


MAKERS = {
    "18-lanes-only": lanes_only,
    "19-two-runners": two_runners,
    "19-one-runner": one_runner,
    "20-padded-output": padded_output,
    "35-late-by-some-milliseconds": late_by_some_milliseconds,
    "35-lateness-given": lateness_given,
    "35-times-in-another-unit": times_in_another_unit,
    "35-unit-given": unit_given,
}
