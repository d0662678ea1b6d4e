"""REPORT.md from the cells, with what is there: picture, tables by stage, wall time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.papers.study import interval
from benchmarks.study import statistics as st
from benchmarks.study.arms import ARMS, CONFIRM_SEEDS, CONFIRMED_ARMS, CONTROL, RECIPE, order
from benchmarks.study.bench import UNSEEN
from benchmarks.study.cells import Cell, confirmation, screening

__all__ = ["Cells", "crossed", "judged", "ratio", "slope_of", "text", "verdict_of"]

Kept = Mapping[str, Any]
Cells = Mapping[Cell, Kept]


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
    ]
    for stage, title in (("confirm", "Confirmation: trained from scratch"), ("screen", "Screening: repair")):
        if any(c.stage == stage for c in cells):
            parts += ["", f"## {title}", "", *_stage(cells, stage)]
    return "\n".join(parts) + "\n"


def _left(cells: Cells, failed: Mapping[Cell, str]) -> int:
    """How many of the plan's cells are neither finished nor failed."""
    return len(_planned(cells, failed)) - len(cells) - len(failed)


def _planned(cells: Cells, failed: Mapping[Cell, str]) -> list[Cell]:
    return [*screening(), *confirmation(st.chosen(cells, failed) or ("?",) * CONFIRMED_ARMS)]


def _progress(cells: Cells, failed: Mapping[Cell, str]) -> list[str]:
    chosen = st.chosen(cells, failed)
    wall_h = sum(sum(kept["wall_s"].values()) for kept in cells.values()) / 3600
    count = len(_planned(cells, failed))
    found = [f"{len(cells)} of {count} cells are finished, {wall_h:.1f} h of one thread beside other load."]
    codes = sorted({kept["code"]["commit"] + ("*" if kept["code"]["changed"] else "") for kept in cells.values()})
    found += [f"Code: {', '.join(codes)}."]
    starts: dict[int, set[str]] = {}
    for cell, kept in cells.items():
        if "initial_sha256" in kept:
            starts.setdefault(cell.seed, set()).add(kept["initial_sha256"])
    alike = all(len(files) == 1 for files in starts.values())
    found += [f"All arms of a start began with the same weights: {'yes' if alike else 'NO'}."] if starts else []
    found += [f"Failed, and not repeated: `{cell.name}`, {why}." for cell, why in failed.items()]
    if chosen:
        found += [f"Chosen for confirmation by the plan's rule: {', '.join(f'`{c}`' for c in chosen)}."]
    else:
        found += ["Screening is not complete: nothing is chosen, nothing below claims anything."]
    return found


def _stage(cells: Cells, stage: str) -> list[str]:
    own = {c: k for c, k in cells.items() if c.stage == stage}
    if not any(c.arm == CONTROL for c in own):
        return ["No control is finished yet."]
    parts = _gap_table(own, stage)
    parts += [] if stage == "screen" else _tests(own)
    parts += _power(cells)
    for table in (_pipeline_table, _hard_table, _gate_table, _numeric_table, _real_table):
        parts += ["", *table(own)]
    return [*parts, "", *_cost_table(own)]


def _of(cells: Cells, arm: str) -> list[Kept]:
    return [kept for cell, kept in sorted(cells.items(), key=lambda item: item[0].seed) if cell.arm == arm]


def _gap_table(cells: Cells, stage: str) -> list[str]:
    rows = [
        "Gap as a ratio to `plain` of the same seed (geometric mean over clips and seeds, 95 % interval over seeds); "
        "0.50 is half of it.",
        "",
        "| arm | seeds | gap, declared | gap, unseen | clean error | slope | bounds |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in order({c.arm for c in cells}):
        values = [st.ratios(cells, stage, arm, what) for what in ("declared", "unseen", "clean")]
        if not values[0]:
            continue
        shown = " | ".join(ratio(v) for v in values)
        angle = slope_of(cells, arm)
        rows.append(f"| {arm} | {len(values[0])} | {shown} | {angle:.3f} | {verdict_of(values[2], angle, stage)} |")
    return rows


def slope_of(cells: Cells, arm: str) -> float:
    """Mean over seeds of the slope of the arm's answers on truth."""
    return float(np.mean([kept["measures"]["pictures"]["slope"] for kept in _of(cells, arm)]))


def verdict_of(clean: Sequence[float], angle: float, stage: str) -> str:
    """Which of the plan's bounds are met: of the mean in screening, of the one-sided 95 % interval in confirmation."""
    upper = float(np.mean(clean)) if stage == "screen" else interval(clean, 0.90)[2]
    broken = [] if upper <= st.CLEAN_BOUND else ["clean"]
    broken += [] if angle >= st.SLOPE_BOUND else ["slope"]
    return "met" if not broken else f"missed: {', '.join(broken)}"


def ratio(values: Sequence[float]) -> str:
    """Log ratios as `mean [low, high]` of the ratio, 95 % over seeds."""
    return _shown(interval(values))


def _shown(logs: tuple[float, float, float]) -> str:
    """(mean, low, high) of a log ratio as a ratio."""
    mean, low, high = (math.exp(v) for v in logs)
    return f"{mean:.2f}" if math.isnan(low) else f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def _power(cells: Cells) -> list[str]:
    """What 8 seeds will find, from the paired spreads over starts of the confirmable arms."""
    parts = []
    for what in ("declared", "unseen"):
        groups = [v for a in ARMS if a.confirmable and len(v := st.ratios(cells, "screen", a.name, what)) > 1]
        if groups:
            freedom = sum(len(v) - 1 for v in groups)
            spread = math.sqrt(sum((len(v) - 1) * float(np.var(v, ddof=1)) for v in groups) / freedom)
            least = st.detectable(spread, len(CONFIRM_SEEDS), 0.05 / (2 * CONFIRMED_ARMS))
            parts.append(
                f"{what}: paired sd {spread:.3f} ({freedom} degrees of freedom), so {len(CONFIRM_SEEDS)} seeds find a "
                f"ratio of {math.exp(-least):.2f} with 80 % at Holm's strictest level"
            )
    return ["", "Power, of the screening's spread: " + "; ".join(parts) + "."] if parts else []


def _tests(cells: Cells) -> list[str]:
    """The primary tests, and the same against the robust recipe."""
    hypotheses = [
        (arm, what, st.ratios(cells, "confirm", arm, what))
        for arm in order({c.arm for c in cells})
        if arm not in (CONTROL, RECIPE)
        for what in ("declared", "unseen")
    ]
    ready = [h for h in hypotheses if len(h[2]) > 1]
    if not ready:
        return []
    p_values = [st.p_value(values) for _, _, values in ready]
    rows = [
        "",
        "| arm | pipelines | ratio to plain | p | Holm | ratio to robust | mixed model: ratio | sd of seeds / clips |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (arm, what, values), p, rejected in zip(ready, p_values, st.holm(p_values), strict=True):
        other = st.ratios(cells, "confirm", arm, what, against=RECIPE)
        model = crossed(cells, arm, what)
        said = "rejected" if rejected else "not rejected"
        against = ratio(other) if other else ""
        mixed = f"{_shown(model.interval)} | {model.sd_seeds:.3f} / {model.sd_clips:.3f}"
        rows.append(f"| {arm} | {what} | {ratio(values)} | {p:.2g} | {said} | {against} | {mixed} |")
    if any(len(values) < len(CONFIRM_SEEDS) for _, _, values in ready):
        return [*rows, "", "Not all seeds are finished: these are no results yet."]
    verdicts = [f"`{arm}`: {judged(cells, arm)}." for arm in dict.fromkeys(h[0] for h in ready)]
    return [
        *rows,
        "",
        "By the plan's criterion: " + " ".join(verdicts) + " What is not shown may still be there: see power.",
    ]


def judged(cells: Cells, arm: str) -> str:
    """Whether a confirmed arm is a success by PLAN.md, or what it lacks; and whether it halves the gap."""
    tests = {
        (a, what): st.ratios(cells, "confirm", a, what)
        for a in order({c.arm for c in cells})
        if a not in (CONTROL, RECIPE)
        for what in ("declared", "unseen")
    }
    rejected = dict(zip(tests, st.holm([st.p_value(v) for v in tests.values()]), strict=True))
    clean = st.ratios(cells, "confirm", arm, "clean")
    angle = slope_of(cells, arm)
    lacks = []
    for what in ("declared", "unseen"):
        if not (interval(tests[arm, what])[2] < 0 and rejected[arm, what]):
            lacks.append(f"no smaller gap shown, {what}")
        if not interval(st.ratios(cells, "confirm", arm, what, against=RECIPE))[2] < 0:
            lacks.append(f"not shown better than robust, {what}")
    bounds = verdict_of(clean, angle, "confirm")
    lacks += [] if bounds == "met" else [f"bounds {bounds}"]
    halved = all(float(np.mean(tests[arm, what])) <= math.log(0.5) for what in ("declared", "unseen"))
    return ("no success: " + "; ".join(lacks)) if lacks else "success" + (", and half of the gap" if halved else "")


def crossed(cells: Cells, arm: str, what: str) -> st.Crossed:
    """The mixed model of the log ratio of a confirmed arm's gap to plain's, seeds crossed with clips."""
    pipelines = st.DECLARED if what == "declared" else UNSEEN
    table = []
    for cell, own in cells.items():
        control = cells.get(Cell(cell.stage, CONTROL, cell.seed))
        if cell.arm == arm and control is not None:
            table.append(np.mean([st.log_gaps(own, p) - st.log_gaps(control, p) for p in pipelines], axis=0))
    return st.crossed(np.array(table))


def _table(cells: Cells, title: str, head: Sequence[str], values: Callable[[Sequence[Kept]], list[str]]) -> list[str]:
    rows = [title, "", f"| arm | {' | '.join(head)} |", "|---|" + "---|" * len(head)]
    for arm in order({c.arm for c in cells}):
        found = values(_of(cells, arm))
        if found:
            rows.append(f"| {arm} | {' | '.join(found)} |")
    return rows


def _pipeline_table(cells: Cells) -> list[str]:
    names = ["deploy", *UNSEEN]

    def values(kept: Sequence[Kept]) -> list[str]:
        def mean(what: str, pipeline: str) -> float:
            return float(np.mean([np.mean(k["measures"]["pictures"][what][pipeline]) for k in kept]))

        gaps = [f"{mean('gap', p):.1f}" for p in names]
        return [*gaps, *(f"{mean('error', p):.1f}" for p in ("train", *names))]

    head = [*(f"gap {n}" for n in names), *(f"error {n}" for n in ("train", *names))]
    return _table(cells, "Gap and error against truth by pipeline, mm, mean over clips and seeds.", head, values)


def _hard_table(cells: Cells) -> list[str]:
    tags = list(dict.fromkeys(t for k in cells.values() for t in k["measures"].get("hard", {}).get("tags", [])))

    def values(kept: Sequence[Kept]) -> list[str]:
        found = []
        for tag in tags:
            hard = [k["measures"]["hard"] for k in kept if "hard" in k["measures"]]
            rows = [[i for i, t in enumerate(h["tags"]) if t == tag] for h in hard]
            gap, error = (
                np.mean([np.mean(np.array(h[what][p])[r]) for h, r in zip(hard, rows, strict=True)])
                for what, p in (("gap", "deploy"), ("error", "train"))
            )
            found.append(f"{gap:.1f} / {error:.0f}")
        return found

    return _table(cells, "Hard conditions: gap of the declared pipeline / clean error, mm.", tags, values)


def _gate_table(cells: Cells) -> list[str]:
    def values(kept: Sequence[Kept]) -> list[str]:
        gates = [k["measures"]["gate"] for k in kept if "gate" in k["measures"]]
        if not gates:
            return []
        passed = sum(g["verdict"] == "PASS" for g in gates)
        worst = [max(g[key] for g in gates) for key in ("bend_p99", "bias", "jitter")]
        swings = sum(g["swings"] for g in gates)
        share = float(np.mean([g["passed"] for g in gates]))
        return [f"{passed} of {len(gates)}", f"{100 * share:.0f} %", *(f"{w:.3f} m" for w in worst), str(swings)]

    head = ["PASS", "clips that pass", "worst bend p99", "worst bias", "worst jitter", "swings"]
    return _table(cells, "The release gate.", head, values)


def _numeric_table(cells: Cells) -> list[str]:
    control = {c.seed: k for c, k in cells.items() if c.arm == CONTROL}

    def moved(kept: Kept) -> dict[str, list[float]]:
        later = [part for name, part in kept["measures"].items() if name.startswith("emulated-")]
        return {k: v for part in (kept["measures"].get("gate", {}).get("numeric", {}), *later) for k, v in part.items()}

    names = list(dict.fromkeys(n for k in cells.values() for n in moved(k)))

    def values(kept: Sequence[Kept]) -> list[str]:
        if not any(moved(k) for k in kept):
            return []
        found = []
        for name in names:
            pairs = [(k, control.get(k["seed"], {"measures": {}})) for k in kept]
            pairs = [pair for pair in pairs if all(name in moved(k) for k in pair)]
            if not pairs:
                found.append("")
                continue
            means = [[float(np.mean(moved(k)[name])) for k in pair] for pair in pairs]
            more = [a - b for a, b in means]
            said = ("equivalent" if st.equivalent(more, st.EQUIVALENCE_MM) else "not shown") if len(more) > 1 else ""
            found.append(f"{np.mean([a for a, _ in means]):.2f} ({np.mean(more):+.2f}) {said}".strip())
        return found

    title = (
        "Numbers: mean |offset| to ort-fp32, mm (more than plain), and whether it is equivalent to plain within 1 mm."
    )
    return _table(cells, title, names, values)


def _real_table(cells: Cells) -> list[str]:
    def values(kept: Sequence[Kept]) -> list[str]:
        real = [k["measures"]["real"] for k in kept if "real" in k["measures"]]
        if not real:
            return []
        gaps = [f"{np.mean([r['gap'][p] for r in real]):.1f}" for p in ("deploy", *UNSEEN)]
        return [*gaps, f"{100 * np.mean([r['seen'] for r in real]):.0f} %"]

    head = [*(f"gap {p}" for p in ("deploy", *UNSEEN)), "lines on TwinLiteNet's"]
    return _table(cells, "Real frames, a sanity check only: gap of the ego lines, mm.", head, values)


def _cost_table(cells: Cells) -> list[str]:
    def values(kept: Sequence[Kept]) -> list[str]:
        passes = np.mean([k["passes"]["forward"] + k["passes"]["backward"] for k in kept])
        steps, wall = np.mean([k.get("steps", 0) for k in kept]), np.mean([k["wall_s"].get("make", 0) for k in kept])
        return [f"{passes:.0f}", f"{steps:.0f}", f"{wall:.0f} s"]

    return _table(
        cells,
        "What it cost: passes, steps, wall time of training beside other load.",
        ["passes", "steps", "wall"],
        values,
    )
