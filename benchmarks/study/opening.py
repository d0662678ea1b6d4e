"""What docs/techniques.md opens with: the study's picture and one table, written between two marks on that page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.study import statistics as st
from benchmarks.study.arms import BY_NAME, CONFIRM_SEEDS, CONFIRMED_ARMS, CONTROL, RECIPE, order
from benchmarks.study.cells import ENSEMBLE, STARTS, Cell
from benchmarks.study.report import Cells, judged, ratio, slope_of, verdict_of

__all__ = ["block", "write"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "techniques.md"
BEGIN, END = "<!-- made by `python -m benchmarks.study --report`; do not edit -->", "<!-- end -->"
DOES = {name: arm.does for name, arm in BY_NAME.items()} | {ENSEMBLE: f"mean outputs of {STARTS} networks"}
HEAD = ["training", "what it does", "gap, declared", "gap, unseen", "clean error", "verdict"]


def write(cells: Cells, failed: Mapping[Cell, str], page: Path = PAGE) -> None:
    """Replace what stands between the marks on the page.

    Raises:
        ValueError: the page lacks the marks.
    """
    text = page.read_text(encoding="utf-8")
    made, count = re.subn(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: block(cells, failed), text, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError(f"{page}: {count} places between {BEGIN} and {END}, 1 expected")
    page.write_text(made, encoding="utf-8")


def block(cells: Cells, failed: Mapping[Cell, str]) -> str:
    """The marks, the picture and the table of what is there."""
    scratch = {c: k for c, k in cells.items() if c.stage == "confirm"}
    repair = {c: k for c, k in cells.items() if c.stage == "screen" and c.arm in DOES}
    parts = [BEGIN, "", "![Error on clean pictures and gap to the other pipelines, by training](images/study.png)", ""]
    parts += [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    if complete(cells, failed):
        parts += [_title(f"from scratch, {len(CONFIRM_SEEDS)} seeds, clips that chose nothing")]
        parts += [
            _row(scratch, arm, judged(scratch, arm)) for arm in order({c.arm for c in scratch} - {CONTROL, RECIPE})
        ]
        parts += [_row(scratch, RECIPE, f"bounds {_bounds(scratch, RECIPE)}")]
    arms = order({c.arm for c in repair} - {CONTROL})
    kept = [arm for arm in arms if arm != ENSEMBLE and BY_NAME[arm].group != "ceiling"]
    fit = [arm for arm in kept if _bounds(repair, arm) == "met"]
    parts += [_title("repair of a trained network, mean of 2 or 3 starts: a direction, no claim")]
    parts += [_row(repair, arm, "bounds met") for arm in sorted(fit, key=lambda arm: _gap(repair, arm))]
    parts += [_title("repair that sees less: no gain")]
    rest = sorted(
        (arm for arm in kept if arm not in fit), key=lambda arm: float(np.mean(_ratios(repair, arm, "clean")))
    )
    parts += [_row(repair, arm, f"bounds {_bounds(repair, arm)}") for arm in rest]
    parts += [_title("for comparison: several networks, or training that knows the car's pipeline")]
    parts += [_row(repair, arm, f"bounds {_bounds(repair, arm)}") for arm in arms if arm not in kept]
    return "\n".join([*parts, "", END])


def complete(cells: Cells, failed: Mapping[Cell, str]) -> bool:
    """Whether all networks from scratch are there, or are known to have failed."""
    known = {c for c in [*cells, *failed] if c.stage == "confirm"}
    return len(known) == len(CONFIRM_SEEDS) * (2 + CONFIRMED_ARMS)


def _title(text: str) -> str:
    return f"| **{text}** |" + " |" * (len(HEAD) - 1)


def _row(cells: Cells, arm: str, said: str) -> str:
    values = [_ratios(cells, arm, what) for what in ("declared", "unseen", "clean")]
    few = len(values[0]) < len(CONFIRM_SEEDS)  # intervals of two or three are in the report
    shown = [f"{math.exp(float(np.mean(v))):.2f}" if few else ratio(v) for v in values]
    return f"| `{arm}` | {DOES[arm]} | {' | '.join(shown)} | {said} |"


def _ratios(cells: Cells, arm: str, what: str) -> Sequence[float]:
    return st.ratios(cells, next(iter(cells)).stage, arm, what)


def _gap(cells: Cells, arm: str) -> float:
    return float(np.mean([np.mean(_ratios(cells, arm, what)) for what in ("declared", "unseen")]))


def _bounds(cells: Cells, arm: str) -> str:
    return verdict_of(_ratios(cells, arm, "clean"), slope_of(cells, arm), next(iter(cells)).stage)
