"""REPORT.md from the cells that are there: progress, ratios, primary tests, power; other tables are in tables.py."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.papers.study import interval
from benchmarks.study import statistics as st
from benchmarks.study.arms import CONFIRM_SEEDS, CONFIRMED_ARMS, CONTROL, RECIPE, order
from benchmarks.study.bench import UNSEEN
from benchmarks.study.cells import Cell, confirmation, screening
from benchmarks.study.statistics import Cells
from benchmarks.study.tables import of_arm, secondary
from benchmarks.study.verdicts import (
    bounds,
    complete,
    confirmed_arms,
    detectable_ratios,
    halved,
    judged,
    recipe,
    tests,
)

__all__ = ["crossed", "ratio", "text"]

WHAT = ("declared", "unseen", "clean", "car")


def text(cells: Cells, failed: Mapping[Cell, str]) -> str:
    """The whole report.

    Args:
        failed: cells whose loss was not finite, and what was said of them.
    """
    parts = [
        "# What the study found so far" if _left(cells, failed) else "# What the study found",
        "",
        "Made by `python -m benchmarks.study --report` from the cells in [results/](results/); [PLAN.md](PLAN.md) says "
        "what was asked, and how it is decided. Do not edit.",
        "",
        *_progress(cells, failed),
        "",
        "![Clean error and gap against plain](../../docs/images/study.png)",
        "",
        "Dots are means over seeds, filled for the declared pipeline, hollow for the unseen ones; bars are 95 % "
        "intervals of the declared gap (from scratch of the clean error too), left out for two starts.",
    ]
    for stage, title in (("confirm", "Confirmation: trained from scratch"), ("screen", "Screening: repair")):
        if any(c.stage == stage for c in cells):
            parts += ["", f"## {title}", "", *_stage(cells, failed, stage)]
    return "\n".join(parts) + "\n"


def _planned(cells: Cells, failed: Mapping[Cell, str]) -> list[Cell]:
    return [*screening(), *confirmation(st.chosen(cells, failed) or ("?",) * CONFIRMED_ARMS)]


def _left(cells: Cells, failed: Mapping[Cell, str]) -> int:
    """How many of the plan's cells are neither finished nor failed."""
    return len(_planned(cells, failed)) - len(cells) - len(failed)


def _progress(cells: Cells, failed: Mapping[Cell, str]) -> list[str]:
    chosen, count = st.chosen(cells, failed), len(_planned(cells, failed))
    wall_h = sum(sum(kept["wall_s"].values()) for kept in cells.values()) / 3600
    found = [f"{len(cells)} of {count} cells are finished, {wall_h:.1f} h of one thread beside other load."]
    codes = sorted({kept["code"]["commit"] + ("*" if kept["code"]["changed"] else "") for kept in cells.values()})
    machines = sorted({kept["machine"] for kept in cells.values()})
    found += [f"Code: {', '.join(codes)} (`*`: with changes that were not committed). Machines: {'; '.join(machines)}."]
    starts: dict[int, set[str]] = {}
    for cell, kept in cells.items():
        if "initial_sha256" in kept:
            starts.setdefault(cell.seed, set()).add(kept["initial_sha256"])
        elif cell.arm == "start" and "weights_sha256" in kept:
            starts.setdefault(cell.seed, set()).add(kept["weights_sha256"])
    alike = all(len(files) == 1 for files in starts.values())
    found += [f"All repairs of a start began with the same weights: {'yes' if alike else 'NO'}."] if starts else []
    found += [f"Failed, and not repeated: `{cell.name}`, {why}." for cell, why in failed.items()]
    if chosen:
        found += [f"Chosen for confirmation by the plan's rule: {', '.join(f'`{c}`' for c in chosen)}."]
    else:
        found += ["Screening is not complete: nothing is chosen, nothing below claims anything."]
    return found


def _stage(cells: Cells, failed: Mapping[Cell, str], stage: str) -> list[str]:
    own = {c: k for c, k in cells.items() if c.stage == stage}
    if not any(c.arm == CONTROL for c in own):
        return ["No control is finished yet."]
    parts = _gap_table(own, stage)
    parts += _against_start(own) if stage == "screen" else _tests(own, failed)
    return [*parts, *_power(cells), *secondary(own)]


def _gap_table(cells: Cells, stage: str) -> list[str]:
    rows = [
        "Ratios to `plain` of the same seed with 95 % intervals over seeds; 0.50 is half of it. Gap: how far another "
        "pipeline moves the lines (geometric mean over clips). Errors against truth: clean through the training "
        "pipeline, car's through the declared one (ratio of means over clips). Slope of answers on truth; presence: "
        "share of slots rightly called present or absent.",
        "",
        "| arm | seeds | gap, declared | gap, unseen | clean error | car's error | slope | presence | verdict |",
        "|---" * 9 + "|",
    ]
    for arm in order({c.arm for c in cells}):
        values = [st.ratios(cells, stage, arm, what) for what in WHAT]
        if not values[0]:
            continue
        kept = [k["measures"]["pictures"] for k in of_arm(cells, arm)]
        shown = " | ".join(ratio(v, 3 if what == "clean" else 2) for v, what in zip(values, WHAT, strict=True))
        present = float(np.mean([k["present"] for k in kept]))
        said = "" if arm == CONTROL else bounds(cells, stage, arm)
        angle = st.slope_of(cells, stage, arm)
        rows.append(f"| {arm} | {len(values[0])} | {shown} | {angle:.3f} | {100 * present:.1f} % | {said} |")
    if stage == "screen":
        rows += [
            "",
            "`deploy-only` and `exact-pairs` know the declared pipeline: the plan's ceilings for the car's error and "
            "for what consistency can do about the gap. "
            "`ensemble` is held against the five starts that it averages, not against `plain`; it costs the car five "
            "networks.",
        ]
    return rows


def _against_start(cells: Cells) -> list[str]:
    """What a repair is worth to who has the start already."""
    rows = [
        "",
        "The same as ratios to the start itself, which is what a team has before a repair; `plain` is worse than its "
        "start in everything.",
        "",
        "| arm | seeds | gap, declared | gap, unseen | clean error | car's error |",
        "|---" * 6 + "|",
    ]
    for arm in order({c.arm for c in cells} - {"start"}):
        values = [st.ratios(cells, "screen", arm, what, against="start") for what in WHAT]
        shown = [
            f"{math.exp(float(np.mean(v))):.{3 if w == 'clean' else 2}f}" for v, w in zip(values, WHAT, strict=True)
        ]
        rows.append(f"| {arm} | {len(values[0])} | {' | '.join(shown)} |")
    return rows


def ratio(values: Sequence[float], digits: int = 2) -> str:
    """Log ratios as `mean [low, high]` of the ratio, 95 % over seeds."""
    return _shown(interval(values), digits)


def _shown(logs: tuple[float, float, float], digits: int = 2) -> str:
    """(mean, low, high) of a log ratio as a ratio."""
    mean, low, high = (math.exp(v) for v in logs)
    shown = f"{mean:.{digits}f}"
    return shown if math.isnan(low) else f"{shown} [{low:.{digits}f}, {high:.{digits}f}]"


def _power(cells: Cells) -> list[str]:
    """What 8 seeds will find, as the screening foretold it."""
    parts = [
        f"{what}: a ratio of {paired:.2f} by the paired sd of repair ({sd:.3f}; seven arms, but all against `plain` "
        f"of three starts: some 2 degrees of freedom), {alone:.2f} by that of five starts from scratch ({own:.3f})"
        for what, (sd, paired, own, alone) in detectable_ratios(cells).items()
    ]
    if not parts:
        return []
    head = f"Power, from screening: {len(CONFIRM_SEEDS)} seeds find with 80 % at Holm's strictest level, "
    return ["", head + "; ".join(parts) + ". What is not shown may still be there; the intervals say how large."]


def _tests(cells: Cells, failed: Mapping[Cell, str]) -> list[str]:
    """The primary tests, and the same against the robust recipe."""
    found = {key: test for key, test in tests(cells, failed).items() if len(test.values) > 1}
    if not found:
        return []
    rows = [
        "",
        "Primary tests: paired t over seeds, Holm over all hypotheses of the plan; a ratio below 1 is a smaller gap. "
        "The mixed model has seeds crossed with clips: where its interval is much the same, no few clips carry the "
        "result.",
        "",
        "| arm | pipelines | ratio to plain | p | Holm | ratio to robust | mixed model: ratio | sd of seeds / clips |",
        "|---" * 8 + "|",
    ]
    for (arm, what), test in found.items():
        other = st.ratios(cells, "confirm", arm, what, against=RECIPE)
        model = crossed(cells, arm, what)
        said = "rejected" if test.rejected else "not rejected"
        mixed = f"{_shown(model.interval)} | {model.sd_seeds:.3f} / {model.sd_clips:.3f}"
        against = ratio(other) if other else ""
        rows.append(f"| {arm} | {what} | {ratio(test.values)} | {test.p:.2g} | {said} | {against} | {mixed} |")
    if not complete(cells, failed):
        return [*rows, "", "Not all seeds are finished: these are no results yet."]
    return [*rows, "", *_conclusion(cells, failed)]


def _conclusion(cells: Cells, failed: Mapping[Cell, str]) -> list[str]:
    """Success and goal by the plan, and the recipe that follows."""
    arms = confirmed_arms(cells, failed)
    verdicts = {arm: judged(cells, failed, arm) for arm in arms}
    lines = ["By the plan's criterion:", "", *(f"- `{arm}`: {said}." for arm, said in verdicts.items())]
    if "success" not in verdicts.values():
        lines.append("- Nothing succeeded: no arm was shown to be better than plain and `robust` within the bounds.")
    reached = [arm for arm in arms if halved(cells, arm)]
    said = f"reached by {', '.join(reached)}" if reached else "not reached"
    lines.append(f"- The goal, half of the gap within the bounds, was {said}.")
    name, fit = recipe(cells, failed)
    why = "the smallest mean gap of those within the bounds" if fit else "none is within the bounds, so it stays"
    lines.append(f"- `--recipe deployable` is `{name}`: {why}.")
    return lines


def crossed(cells: Cells, arm: str, what: str) -> st.Crossed:
    """The mixed model of the log ratio of a confirmed arm's gap to plain's, seeds crossed with clips."""
    pipelines = st.DECLARED if what == "declared" else UNSEEN
    table = []
    for cell, own in cells.items():
        control = cells.get(Cell(cell.stage, CONTROL, cell.seed))
        if cell.arm == arm and control is not None:
            table.append(np.mean([st.log_gaps(own, p) - st.log_gaps(control, p) for p in pipelines], axis=0))
    return st.crossed(np.array(table))
