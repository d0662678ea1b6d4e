"""REPORT.md and its figures from the cells, with what is there: frontier, tables by stage, wall time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.papers.study import drawing, interval
from benchmarks.study import statistics as st
from benchmarks.study.arms import ARMS, CONFIRM_SEEDS, CONFIRMED_ARMS, CONTROL, RECIPE
from benchmarks.study.bench import UNSEEN
from benchmarks.study.cells import Cell, confirmation, screening

__all__ = ["crossed", "frontier", "judged", "verdict_of", "write"]

Kept = Mapping[str, Any]
Cells = Mapping[Cell, Kept]
ROOT = Path(__file__).resolve().parents[2]
SHOWN_CLEAN, LABEL = (0.95, 1.5), (0.09, 0.022)  # clean ratios in the picture; room of a label in its units
FIGURES = {stage: ROOT / "docs" / "images" / f"study_{stage}.png" for stage in ("screen", "confirm")}


def write(cells: Cells, failed: Mapping[Cell, str], path: Path) -> None:
    """Write the report and draw what can be drawn.

    Args:
        failed: cells whose loss was not finite, and what was said of them.
    """
    parts = [
        "# What the study found so far",
        "",
        "Made by `python -m benchmarks.study --report` from the cells in [results/](results/); [PLAN.md](PLAN.md) says "
        "what was asked, and how it is decided. Do not edit.",
        "",
        *_progress(cells, failed),
    ]
    for stage, title in (("confirm", "Confirmation: trained from scratch"), ("screen", "Screening: repair")):
        if any(c.stage == stage for c in cells):
            parts += ["", f"## {title}", "", *_stage(cells, stage)]
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")
    print(f"{path}: {len(cells)} cells")


def _progress(cells: Cells, failed: Mapping[Cell, str]) -> list[str]:
    chosen = st.chosen(cells, failed)
    planned = [*screening(), *confirmation(chosen or ("?",) * CONFIRMED_ARMS)]
    wall_h = sum(sum(kept["wall_s"].values()) for kept in cells.values()) / 3600
    found = [f"{len(cells)} of {len(planned)} cells are finished, {wall_h:.1f} h of one thread beside other load."]
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
    parts += _power(own) if stage == "screen" else _tests(own)
    for table in (_pipeline_table, _hard_table, _gate_table, _numeric_table, _real_table):
        parts += ["", *table(own)]
    if frontier(own, stage, FIGURES[stage]):
        parts += ["", f"![Clean error and gap against plain](../../{FIGURES[stage].relative_to(ROOT)})"]
    return [*parts, "", *_cost_table(own)]


def _order(cells: Cells) -> list[str]:
    """Arms that have cells: controls, then as the list of arms has them, then the rest."""
    have = {c.arm for c in cells}
    listed = [a.name for a in ARMS if a.name in have]
    return [*listed, *sorted(have - set(listed))]


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
    for arm in _order(cells):
        values = [st.ratios(cells, stage, arm, what) for what in ("declared", "unseen", "clean")]
        if not values[0]:
            continue
        shown = " | ".join(_ratio(v) for v in values)
        angle = float(np.mean([k["measures"]["pictures"]["slope"] for k in _of(cells, arm)]))
        rows.append(f"| {arm} | {len(values[0])} | {shown} | {angle:.3f} | {verdict_of(values[2], angle, stage)} |")
    return rows


def verdict_of(clean: Sequence[float], angle: float, stage: str) -> str:
    """Which of the plan's bounds are met: of the mean in screening, of the one-sided 95 % interval in confirmation."""
    upper = float(np.mean(clean)) if stage == "screen" else interval(clean, 0.90)[2]
    broken = [] if upper <= st.CLEAN_BOUND else ["clean"]
    broken += [] if angle >= st.SLOPE_BOUND else ["slope"]
    return "met" if not broken else f"missed: {', '.join(broken)}"


def _ratio(values: Sequence[float]) -> str:
    mean, low, high = (math.exp(v) for v in interval(values))
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
    return ["", "Power, " + "; ".join(parts) + "."] if parts else []


def _tests(cells: Cells) -> list[str]:
    """The primary tests, and the same against the robust recipe."""
    hypotheses = [
        (arm, what, st.ratios(cells, "confirm", arm, what))
        for arm in _order(cells)
        if arm not in (CONTROL, RECIPE)
        for what in ("declared", "unseen")
    ]
    ready = [h for h in hypotheses if len(h[2]) > 1]
    if not ready:
        return []
    p_values = [st.p_value(values) for _, _, values in ready]
    rows = [
        "",
        "| arm | pipelines | ratio to plain | p | Holm | ratio to robust | clips carry it? (sd seeds / sd clips) |",
        "|---|---|---|---|---|---|---|",
    ]
    for (arm, what, values), p, rejected in zip(ready, p_values, st.holm(p_values), strict=True):
        other = st.ratios(cells, "confirm", arm, what, against=RECIPE)
        seeds, clips = crossed(cells, arm, what)
        said = "rejected" if rejected else "not rejected"
        against = _ratio(other) if other else ""
        rows.append(f"| {arm} | {what} | {_ratio(values)} | {p:.2g} | {said} | {against} | {seeds:.3f} / {clips:.3f} |")
    if any(len(values) < len(CONFIRM_SEEDS) for _, _, values in ready):
        return [*rows, "", "Not all seeds are finished: these are no results yet."]
    said = [f"`{arm}`: {judged(cells, arm)}." for arm in dict.fromkeys(h[0] for h in ready)]
    return [*rows, "", "By the plan's criterion: " + " ".join(said)]


def judged(cells: Cells, arm: str) -> str:
    """Whether a confirmed arm is a success by PLAN.md, or what it lacks; and whether it halves the gap."""
    tests = {
        (a, what): st.ratios(cells, "confirm", a, what)
        for a in _order(cells)
        if a not in (CONTROL, RECIPE)
        for what in ("declared", "unseen")
    }
    rejected = dict(zip(tests, st.holm([st.p_value(v) for v in tests.values()]), strict=True))
    clean = st.ratios(cells, "confirm", arm, "clean")
    angle = float(np.mean([k["measures"]["pictures"]["slope"] for k in _of(cells, arm)]))
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


def crossed(cells: Cells, arm: str, what: str) -> tuple[float, float]:
    """Moments estimate of the sd of the log ratio between seeds and between clips (two-way random effects)."""
    pipelines = st.DECLARED if what == "declared" else UNSEEN
    table = []
    for cell, own in cells.items():
        control = cells.get(Cell(cell.stage, CONTROL, cell.seed))
        if cell.arm == arm and control is not None:
            gaps = [
                np.log(np.maximum(k["measures"]["pictures"]["gap"][p], st.LEAST_GAP_MM))
                for p in pipelines
                for k in (own, control)
            ]
            table.append(np.mean([a - b for a, b in zip(gaps[::2], gaps[1::2], strict=True)], axis=0))
    values = np.array(table)
    seeds, clips = values.shape
    rest = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    noise = float((rest**2).sum() / max((seeds - 1) * (clips - 1), 1))
    between = [float(np.var(values.mean(axis), ddof=1)) - noise / n for axis, n in ((1, clips), (0, seeds))]
    return tuple(math.sqrt(max(v, 0.0)) for v in between)  # type: ignore[return-value]


def _table(cells: Cells, title: str, head: Sequence[str], values: Callable[[Sequence[Kept]], list[str]]) -> list[str]:
    rows = [title, "", f"| arm | {' | '.join(head)} |", "|---|" + "---|" * len(head)]
    for arm in _order(cells):
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


def frontier(cells: Cells, stage: str, path: Path) -> bool:
    """Draw clean error against gap for every arm, with intervals over seeds; False where there is none."""
    points = {}
    for arm in _order(cells):
        values = [st.ratios(cells, stage, arm, what) for what in ("clean", "declared", "unseen")]
        if values[0] and arm != CONTROL:
            points[arm] = [interval(v) for v in values]
    if not points:
        return False
    with drawing(path) as axes:
        axes.axvline(1.05, color="0.6", linestyle="--", linewidth=1)
        axes.axhline(0.5, color="0.6", linestyle=":", linewidth=1)
        axes.plot(1, 1, "ks")
        axes.annotate(CONTROL, (1, 1), textcoords="offset points", xytext=(5, 5), fontsize=8)
        labels: list[tuple[float, float]] = []
        for arm, (clean, declared, unseen) in sorted(points.items(), key=lambda item: item[1][1][0]):
            x, y = math.exp(clean[0]), math.exp(declared[0])
            if x > SHOWN_CLEAN[1]:
                continue
            if len(st.ratios(cells, stage, arm, "declared")) > 2:  # of two starts it would fill the picture
                axes.plot([x, x], [math.exp(v) for v in declared[1:]], color="0.8", linewidth=1, zorder=1)
            (dot,) = axes.plot(x, y, "o", markersize=5)
            axes.plot(x, math.exp(unseen[0]), "o", markersize=5, markerfacecolor="none", color=dot.get_color())
            below = [v for u, v in labels if abs(u - x) < LABEL[0]]
            labels.append((x, max([y, *(v + LABEL[1] for v in below)])))
            axes.annotate(
                arm, (x, y), (x + 0.012, labels[-1][1]), fontsize=7, color=dot.get_color(), va="center",
                arrowprops={"arrowstyle": "-", "color": "0.85", "linewidth": 0.6},
            )  # fmt: skip
        beyond = [f"{a} {math.exp(c[0]):.2g}" for a, (c, _, _) in points.items() if math.exp(c[0]) > SHOWN_CLEAN[1]]
        axes.set_title(f"beyond the picture, clean error: {', '.join(beyond) or 'none'}", fontsize=8)
        axes.set_xlim(*SHOWN_CLEAN)
        axes.set_xlabel("clean error, ratio to plain (bound 1.05)")
        axes.set_ylabel("gap, ratio to plain: filled declared, hollow unseen")
        axes.set_ylim(0.4, 1.25)
    return True
