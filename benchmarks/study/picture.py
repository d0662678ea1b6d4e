"""The study's picture: clean error against gap for every arm; repair on the left, from scratch on the right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.papers.study import drawings, interval
from benchmarks.study import statistics as st
from benchmarks.study.arms import CONFIRM_SEEDS, CONTROL, order
from benchmarks.study.cells import Cell

__all__ = ["PATH", "draw"]

PATH = Path(__file__).resolve().parents[2] / "docs" / "images" / "study.png"
Kept = Mapping[str, Any]
TITLES = {"screen": "repair: fine-tuned, 2 or 3 starts", "confirm": f"train: from scratch, {len(CONFIRM_SEEDS)} seeds"}
WIDTHS_IN = {"screen": 9.0, "confirm": 5.0}
CLEAN = {"screen": (0.8, 1.5), "confirm": (0.9, 1.25)}  # clean ratios that are shown
GAP = (0.4, 1.25)
LABEL = (0.09, 0.022)  # room of a label in the picture's units


def draw(cells: Mapping[Cell, Kept], path: Path) -> bool:
    """Draw what is there, with intervals over seeds; False where there is nothing.

    Clean error and gap are ratios to `plain` of the same seed. Intervals (Student's t, 95 %) are left out for two
    starts, where they would fill the picture.
    """
    points = {stage: _points(cells, stage) for stage in TITLES}
    stages = [stage for stage in TITLES if points[stage]]
    if not stages:
        return False
    with drawings(path, [WIDTHS_IN[stage] for stage in stages]) as panels:
        for axes, stage in zip(panels, stages, strict=True):
            _panel(axes, stage, points[stage])
        panels[0].set_ylabel("gap, ratio to plain: filled declared, hollow unseen")
    return True


def _points(cells: Mapping[Cell, Kept], stage: str) -> dict[str, list[list[float]]]:
    """Arm -> its log ratios, clean, declared and unseen; the control has none."""
    found = {}
    for arm in order({c.arm for c in cells if c.stage == stage} - {CONTROL}):
        values = [st.ratios(cells, stage, arm, what) for what in ("clean", "declared", "unseen")]
        if values[0]:
            found[arm] = values
    return found


def _panel(axes: Any, stage: str, points: Mapping[str, list[list[float]]]) -> None:
    """Arms as dots; those whose clean error lies beyond the picture are named below the title."""
    axes.axvline(math.exp(st.CLEAN_BOUND), color="0.6", linestyle="--", linewidth=1)
    axes.axhline(0.5, color="0.6", linestyle=":", linewidth=1)
    axes.plot(1, 1, "ks")
    axes.annotate(CONTROL, (1, 1), textcoords="offset points", xytext=(-24, -11), fontsize=8)
    labels: list[tuple[float, float]] = []
    means = {arm: [math.exp(interval(v)[0]) for v in values] for arm, values in points.items()}
    low, high = CLEAN[stage]
    for arm, (x, y, unseen) in sorted(means.items(), key=lambda item: item[1][1]):
        if not low <= x <= high:
            continue
        clean, declared, _ = points[arm]
        if len(declared) > 2:
            axes.plot([x, x], [math.exp(v) for v in interval(declared)[1:]], color="0.8", linewidth=1, zorder=1)
        if stage == "confirm" and len(clean) > 2:
            axes.plot([math.exp(v) for v in interval(clean)[1:]], [y, y], color="0.8", linewidth=1, zorder=1)
        (dot,) = axes.plot(x, y, "o", markersize=5)
        axes.plot(x, unseen, "o", markersize=5, markerfacecolor="none", color=dot.get_color())
        below = [v for u, v in labels if abs(u - x) < LABEL[0]]
        labels.append((x, max([y, *(v + LABEL[1] for v in below)])))
        axes.annotate(
            arm, (x, y), (x + 0.012, labels[-1][1]), fontsize=7, color=dot.get_color(), va="center",
            arrowprops={"arrowstyle": "-", "color": "0.85", "linewidth": 0.6},
        )  # fmt: skip
    beyond = [f"{arm} {x:.2g}" for arm, (x, _, _) in means.items() if not low <= x <= high]
    axes.set_title(TITLES[stage] + (f"\nbeyond, clean error: {', '.join(beyond)}" if beyond else ""), fontsize=9)
    axes.set_xlim(low, high)
    axes.set_ylim(*GAP)
    axes.set_xlabel("error on clean pictures, ratio to plain (bound 1.05)")
