"""Pictures of the measures and of the ladder for the guide: `python -m docs.drawings` writes them to docs/images.

Every picture of a measure is drawn from lines that are planted here, and its number is what a run of them has in its
tables. A test makes them again and holds the files to it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.run.catalogue import find_measure
from harness.run.numbers import with_unit
from harness.run.rungs import Rung, build_tree
from tests.harness.planted import RUNG, X_M, Drawn, drawn, planted_suite

__all__ = ["draw_all"]

OUT = Path(__file__).parent / "images"
Floats = NDArray[np.float64]

FPS = 20.0
BESIDE_M = 1.8  # where the reference's line lies, left of the middle
WIDE, TALL = 300, 156  # of a panel, px
STYLE = """<style>text{font:12px sans-serif;fill:#333}.t{font-weight:600}.n{fill:#b01657;font-weight:600}
.g{stroke:#ddd}.lab{stroke:#555;stroke-dasharray:5 4}.car{stroke:#c8500a;stroke-width:1.8}path{fill:none}
.box{fill:#f4f5f7;stroke:#888}.way{stroke:#888}</style>"""


@dataclass(frozen=True)
class Planted:
    """A measure and what is planted for it.

    Attributes:
        column: of the run tables; `swing_pp` and the like.
        words: what it sees.
        gap: candidate less reference, metres: of x [points] for a measure of a frame, of t [frames] for one over time;
            NaN where the candidate has no line.
        lab: the reference's own movement over time.
        seconds: of a measure over time.
        both: the lane's other line moves too.
    """

    column: str
    words: str
    gap: Callable[[Floats], Floats]
    lab: Callable[[Floats], Floats] = lambda t: np.zeros_like(t)
    seconds: float = 10.0
    both: bool = False


def _turned(x: Floats) -> Floats:
    return np.tan(np.radians(1.0)) * x


def _noise(t: Floats, sigma: float) -> Floats:
    return np.random.default_rng(3).normal(0, sigma, len(t))


def _weave(t: Floats) -> Floats:
    return 0.4 * np.sin(2 * np.pi * 0.12 * t) + 0.2 * np.sin(2 * np.pi * 0.31 * t + 1)


def _standing(t: Floats) -> Floats:
    return np.where(t > 4, _weave(np.full_like(t, 4.0)) - _weave(t), 0.0)


FRAME = (
    Planted("offset_max", "the largest gap to the reference", lambda x: np.full_like(x, 0.5)),
    Planted("heading", "the gap's slope: the line is turned", _turned),
    Planted("bend", "the gap is bowed: no shift, no turn", lambda x: 0.6 * np.exp(-(((x - 60) / 9) ** 2))),
    Planted(
        "kink", "the gap changes its direction in one place", lambda x: np.tan(np.radians(4)) * np.maximum(x - 60, 0)
    ),
    Planted("reach_gap", "it ends sooner, or goes on farther", lambda x: np.where(x > 55, np.nan, 0.05)),
    Planted("curvature_gap", "the gap is curved", lambda x: 0.0006 * x**2),
)
TIME = (
    Planted("bias", "aside all the time", lambda t: 0.2 + _noise(t, 0.01)),
    Planted("drift", "aside for seconds", lambda t: 0.4 * np.exp(-(((t - 6) / 2) ** 4))),
    Planted("swing_pp", "left and right, as one sees", lambda t: 0.25 * np.sin(2 * np.pi * 0.7 * t) * (abs(t - 5) < 3)),
    Planted("wander", "left and right, too slow for a swing", lambda t: 0.4 * np.sin(0.3 * np.pi * t), seconds=30.0),
    Planted("jitter", "from frame to frame", lambda t: _noise(t, 0.1) * (abs(t - 5) < 2)),
    Planted("tremble", "between swing and jitter", lambda t: 0.12 * np.sin(2 * np.pi * 5 * t) * (abs(t - 5) < 2)),
    Planted("glitch", "one frame far off", lambda t: np.where(np.arange(len(t)) == 97, 0.5, 0.0)),
    Planted("step", "a jump that stays", lambda t: np.where(t > 4.5, 0.35, 0.0)),
    Planted("frozen", "it stands still while the reference moves", _standing, _weave),
    Planted("lag_frames", "the reference, frames later", lambda t: _weave(t - 4 / FPS) - _weave(t), _weave, both=True),
    Planted("toggles_per_min", "the line comes and goes", lambda t: np.where((t > 3) & (t % 1.2 < 0.5), np.nan, 0.0)),
)  # fmt: skip


def draw_all(out: Path) -> None:
    """Write measures.svg, measures_time.svg and ladder.svg."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        numbers = _measured(Path(name))
    (out / "measures.svg").write_text(_sheet([_frame_panel(p, numbers[p.column]) for p in FRAME], 3), encoding="utf-8")
    (out / "measures_time.svg").write_text(
        _sheet([_time_panel(p, numbers[p.column]) for p in TIME], 3), encoding="utf-8"
    )
    (out / "ladder.svg").write_text(_ladder(), encoding="utf-8")


def _measured(folder: Path) -> dict[str, float]:
    """Column -> the number that a run of its planted lines has."""
    cases = {p.column: _case(p, over_time=p in TIME) for p in (*FRAME, *TIME)}
    run = planted_suite(folder, cases, fps=FPS)
    found = {}
    for planted in (*FRAME, *TIME):
        measure = find_measure(planted.column)
        rows = run.read(measure.table).filter(pl.col("case") == planted.column, pl.col("rung") == RUNG)
        if planted in TIME:
            rows = rows.filter(pl.col("station") == 20.0) if "station" in rows.columns else rows
        values = rows[measure.column].drop_nulls().drop_nans().to_numpy()
        found[planted.column] = float(values[np.abs(values).argmax()])
    return found


def _case(planted: Planted, *, over_time: bool) -> Drawn:
    """Two lines of a lane; the left one is moved."""
    frames = round(planted.seconds * FPS) if over_time else 4
    t = np.arange(frames) / FPS
    lab = np.repeat(planted.lab(t)[:, None], len(X_M), axis=1) if over_time else np.zeros((frames, len(X_M)))
    gap = np.repeat(planted.gap(t)[:, None], len(X_M), axis=1) if over_time else np.tile(planted.gap(X_M), (frames, 1))
    right = lab - BESIDE_M
    before = np.stack([lab + BESIDE_M, right], axis=1)
    after = np.stack([lab + gap + BESIDE_M, right + gap if planted.both else right], axis=1)
    return Drawn(drawn(before, X_M), drawn(after, X_M), frames)


def _frame_panel(planted: Planted, number: float) -> str:
    x = np.linspace(0, 80, 161)
    gap = planted.gap(x)
    across = 46 / max(float(np.nanmax(np.abs(gap))), 0.4)
    parts = [
        f'<path class="g" d="M{10 + 3.5 * edge:g} 30V120"/>'
        f'<text x="{10 + 3.5 * middle:g}" y="136" text-anchor="middle">{band}</text>'
        for edge, middle, band in ((20, 10, "near"), (40, 30, "mid"), (80, 60, "far"))
    ]
    parts += [_path("lab", 10 + 3.5 * x, np.full_like(x, 90.0)), _path("car", 10 + 3.5 * x, 90 - across * gap)]
    return _panel(planted, number, parts)


def _time_panel(planted: Planted, number: float) -> str:
    t = np.arange(round(planted.seconds * FPS)) / FPS
    lab, gap = planted.lab(t), planted.gap(t)
    across = 34 / max(float(np.nanmax(np.abs(np.stack([lab, lab + gap])))), 0.15)
    u = 10 + 280 * t / planted.seconds
    parts = [_path("lab", u, 78 - across * lab), _path("car", u, 78 - across * (lab + gap))]
    parts += [f'<text x="10" y="136">0 s</text><text x="290" y="136" text-anchor="end">{planted.seconds:g} s</text>']
    return _panel(planted, number, parts)


def _panel(planted: Planted, number: float, parts: Sequence[str]) -> str:
    measure = find_measure(planted.column)
    told = with_unit(number, measure.quantity, "m")
    head = f'<text class="t" x="10" y="15">{escape(measure.label)}<tspan class="n" dx="8">{escape(told)}</tspan></text>'
    return f'{head}<text x="10" y="151">{escape(planted.words)}</text>{"".join(parts)}'


def _path(kind: str, u: Floats, v: Floats) -> str:
    """A curve, broken where it has no value."""
    text, pen = [], "M"
    for a, b in zip(u, v, strict=True):
        if np.isfinite(b):
            text.append(f"{pen}{a:.1f} {b:.1f}")
        pen = "L" if np.isfinite(b) else "M"
    return f'<path class="{kind}" d="{"".join(text)}"/>'


def _sheet(panels: Sequence[str], columns: int) -> str:
    rows = -(-len(panels) // columns)
    placed = [
        f'<g transform="translate({WIDE * (i % columns)} {(TALL + 14) * (i // columns) + 4})">{panel}</g>'
        for i, panel in enumerate(panels)
    ]
    return _svg(WIDE * columns, (TALL + 14) * rows + 4, placed)


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    ground = f'<rect width="{width}" height="{height}" rx="8" fill="#fff"/>'
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{STYLE}{ground}\n' + "\n".join(parts) + "\n</svg>\n"


ENGINES = (
    "torch-fp32", "ort-fp32-none", "ort-fp32", "emulated-fp16", "openvino-fp32", "trt-fp32", "trt-fp16", "recorded",
)  # fmt: skip
STEPS = ("colour", "resize")


def _ladder() -> str:
    """The rungs of a card whose pipelines differ in two steps, each under its parent, with the factors between them."""
    tree = build_tree("train/torch-fp32", ENGINES, ("train", "deploy"), STEPS)
    shown = [r for r in tree if r.preprocess != "train" or r.parent is None]
    parts, below = [], list(_depth_first(shown, None, 0))
    rows = {rung.name: (16 + 38 * i, 20 + 44 * depth) for i, (rung, depth) in enumerate(below)}
    for rung, _ in below:
        v, u = rows[rung.name]
        box = f'<rect class="box" x="{u}" y="{v}" width="190" height="26" rx="5"/>'
        parts.append(f'{box}<text x="{u + 10}" y="{v + 17}">{escape(rung.name)}</text>')
        if rung.parent is not None:
            above, left = rows[rung.parent]
            parts.append(f'<path class="way" d="M{left + 14} {above + 26}V{v + 13}H{u}"/>')
            parts.append(f'<text class="n" x="{u + 200}" y="{v + 17}">{escape(", ".join(rung.factors))}</text>')
    return _svg(640, 38 * len(below) + 20, parts)


def _depth_first(rungs: Sequence[Rung], parent: str | None, depth: int) -> Iterator[tuple[Rung, int]]:
    """Rungs with their depth, each before those that hang under it."""
    for rung in rungs:
        if rung.parent == parent:
            yield rung, depth
            yield from _depth_first(rungs, rung.name, depth + 1)


if __name__ == "__main__":
    draw_all(OUT)
