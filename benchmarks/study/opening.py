"""What docs/techniques.md opens with: the study's picture and one table, written between two marks on that page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.study import statistics as st
from benchmarks.study.arms import BY_NAME, CONFIRM_SEEDS, CONTROL, RECIPE, order
from benchmarks.study.cells import ENSEMBLE, STARTS, Cell
from benchmarks.study.report import ratio
from benchmarks.study.statistics import Cells
from benchmarks.study.verdicts import MET, bounds, complete, confirmed_arms, judged

__all__ = ["PAGE", "block", "write"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "techniques.md"
BEGIN, END = "<!-- made by `python -m benchmarks.study --report`; do not edit -->", "<!-- end -->"
HEAD = ["training", "what it does", "gap, declared", "gap, unseen", "clean error", "car's error", "verdict"]
WHAT = ("declared", "unseen", "clean", "car")
DOES = {name: arm.does for name, arm in BY_NAME.items()} | {
    "start": "no further training",
    ENSEMBLE: f"mean outputs of {STARTS} networks, against those alone",
}
COMPARISONS = {
    "deploy-only": "knows the declared pipeline",
    "exact-pairs": "knows the declared pipeline",
    ENSEMBLE: "costs the car five networks",
}


def write(cells: Cells, failed: Mapping[Cell, str], page: Path = PAGE) -> None:
    """Replace what stands between the marks on the page.

    Raises:
        ValueError: the page lacks the marks.
    """
    text = page.read_text(encoding="utf-8")
    between = f"{re.escape(BEGIN)}.*?{re.escape(END)}"
    made, count = re.subn(between, lambda _: block(cells, failed), text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{page}: {count} places between {BEGIN} and {END}, 1 expected")
    page.write_text(made, encoding="utf-8")


def block(cells: Cells, failed: Mapping[Cell, str]) -> str:
    """The marks, the picture and the table of what is there."""
    parts = [BEGIN, "", "![Error on clean pictures and gap to the other pipelines, by training](images/study.png)", ""]
    parts += [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    parts += _from_scratch(cells, failed) if complete(cells, failed) else []
    return "\n".join([*parts, *_repair(cells), "", END])


def _from_scratch(cells: Cells, failed: Mapping[Cell, str]) -> list[str]:
    rows = [_title(f"from scratch, {len(CONFIRM_SEEDS)} seeds, on clips that no training or choice used")]
    for arm in confirmed_arms(cells, failed):
        rows.append(_row(cells, "confirm", arm, judged(cells, failed, arm)))
    return [*rows, _row(cells, "confirm", RECIPE, bounds(cells, "confirm", RECIPE))]


def _repair(cells: Cells) -> list[str]:
    arms = order({c.arm for c in cells if c.stage == "screen"} - {CONTROL})
    said = {arm: bounds(cells, "screen", arm) for arm in arms}
    rest = [arm for arm in arms if arm not in COMPARISONS]
    fit = sorted((arm for arm in rest if said[arm] == MET), key=lambda arm: _mean(cells, arm, "declared", "unseen"))
    out = sorted((arm for arm in rest if said[arm] != MET), key=lambda arm: _mean(cells, arm, "clean"))
    rows = [_title("repair of a trained network, mean of 2 or 3 starts: a direction, no claim")]
    rows += [_row(cells, "screen", arm, said[arm]) for arm in fit]
    rows += [_title("repair with a mean clean error above 1.05: no gain by the plan")]
    rows += [_row(cells, "screen", arm, said[arm]) for arm in out]
    rows += [_title("for comparison: several networks, or training that knows the declared pipeline")]
    return rows + [_row(cells, "screen", arm, COMPARISONS[arm]) for arm in arms if arm in COMPARISONS]


def _title(text: str) -> str:
    return f"| **{text}** |" + " |" * (len(HEAD) - 1)


def _row(cells: Cells, stage: str, arm: str, said: str) -> str:
    values = [st.ratios(cells, stage, arm, what) for what in WHAT]
    shown = [_told(v, 3 if what == "clean" else 2) for v, what in zip(values, WHAT, strict=True)]
    return f"| `{arm}` | {DOES[arm]} | {' | '.join(shown)} | {said} |"


def _told(values: Sequence[float], digits: int) -> str:
    """With an interval in confirmation; those of two or three starts are in the report."""
    few = len(values) < len(CONFIRM_SEEDS)
    return f"{math.exp(float(np.mean(values))):.{digits}f}" if few else ratio(values, digits)


def _mean(cells: Cells, arm: str, *what: str) -> float:
    return float(np.mean([np.mean(st.ratios(cells, "screen", arm, w)) for w in what]))
