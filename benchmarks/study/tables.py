"""The report's secondary tables: levels in mm by pipeline, hard conditions, the gate, numbers, real frames, cost.

Levels are means over the seeds that every arm has, so that rows can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import spearmanr

from benchmarks.papers.study import interval
from benchmarks.study import statistics as st
from benchmarks.study.arms import BY_NAME, CONTROL, order
from benchmarks.study.bench import UNSEEN
from benchmarks.study.cells import ENSEMBLE, STARTS, Cell
from benchmarks.study.measure import GATE_CLIPS
from benchmarks.study.statistics import Cells, Kept

__all__ = ["of_arm", "secondary"]

MOVED = ("deploy", *UNSEEN)


def secondary(cells: Cells) -> list[str]:
    """All tables of one stage's cells."""
    seeds = _common(cells)
    own = {c: k for c, k in cells.items() if c.arm == ENSEMBLE or c.seed in seeds}
    what = "starts" if next(iter(cells)).stage == "screen" else "seeds"
    said = f"The following levels are means over {what} {', '.join(map(str, sorted(seeds)))}, which every arm has."
    parts = ["", said]
    for table in (_pipelines, _hard, _gate, _numbers, _real):
        parts += ["", *table(own)]
    return [*parts, "", *_cost(cells)]


def of_arm(cells: Cells, arm: str) -> list[Kept]:
    """By seed."""
    return [kept for cell, kept in sorted(cells.items(), key=lambda item: item[0].seed) if cell.arm == arm]


def _common(cells: Cells) -> set[int]:
    """Seeds that every arm has; the ensemble has none of its own."""
    return set.intersection(*({c.seed for c in cells if c.arm == arm} for arm in {c.arm for c in cells} - {ENSEMBLE}))


def _table(cells: Cells, title: str, head: Sequence[str], values: Callable[[Sequence[Kept]], list[str]]) -> list[str]:
    rows = [title, "", f"| arm | {' | '.join(head)} |", "|---|" + "---|" * len(head)]
    for arm in order({c.arm for c in cells}):
        found = values(of_arm(cells, arm))
        if found:
            rows.append(f"| {arm} | {' | '.join(found)} |")
    return rows


def _pipelines(cells: Cells) -> list[str]:
    def values(kept: Sequence[Kept]) -> list[str]:
        def mean(what: str, pipeline: str) -> float:
            return float(np.mean([np.mean(k["measures"]["pictures"][what][pipeline]) for k in kept]))

        return [f"{mean('gap', p):.1f}" for p in MOVED] + [f"{mean('error', p):.1f}" for p in ("train", *MOVED)]

    head = [*(f"gap {n}" for n in MOVED), *(f"error {n}" for n in ("train", *MOVED))]
    return _table(cells, "Gap and error against truth by pipeline, mm.", head, values)


def _hard(cells: Cells) -> list[str]:
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


def _gate(cells: Cells) -> list[str]:
    def values(kept: Sequence[Kept]) -> list[str]:
        gates = [k["measures"]["gate"] for k in kept if "gate" in k["measures"]]
        if not gates:
            return []
        passed = sum(g["verdict"] == "PASS" for g in gates)
        worst = [max(g[key] for g in gates) for key in ("bend_p99", "bias", "jitter")]
        swings = sum(g["swings"] for g in gates)
        share = float(np.mean([g["passed"] for g in gates]))
        return [f"{passed} of {len(gates)}", f"{100 * share:.0f} %", *(f"{w:.3f} m" for w in worst), str(swings)]

    codes = sorted({_judged_by(kept) for kept in cells.values() if "gate" in kept["measures"]})
    title = (
        f"The release gate (examples/roadlines/release.trueline.toml of {', '.join(codes)}), {_clips(cells)[0]} clips. "
        "A clip that is INCONCLUSIVE does not pass. Worst clip of each measure; swings of all clips together."
    )
    head = ["PASS", "clips that pass", "worst bend p99", "worst bias", "worst jitter", "swings"]
    return _table(cells, title, head, values)


def _judged_by(kept: Kept) -> str:
    return str(kept.get("measured_by", {}).get("gate", kept["code"]["commit"]))


def _clips(cells: Cells) -> tuple[int, int]:
    """How many clips the gate and the numeric rungs have."""
    _, gate, numeric = GATE_CLIPS[next(iter(cells)).stage]
    return gate, numeric


def _numbers(cells: Cells) -> list[str]:
    """Equivalence is tested in confirmation only, and never of plain with itself."""
    confirming = next(iter(cells)).stage == "confirm"
    control = {c.seed: k for c, k in cells.items() if c.arm == CONTROL}

    def moved(kept: Kept) -> dict[str, list[float]]:
        later = [part for name, part in kept["measures"].items() if name.startswith("emulated-")]
        return {k: v for part in (kept["measures"].get("gate", {}).get("numeric", {}), *later) for k, v in part.items()}

    names = list(dict.fromkeys(n for k in cells.values() for n in moved(k)))

    def told(kept: Sequence[Kept], name: str) -> str:
        pairs = [(k, control[k["seed"]]) for k in kept if k["seed"] in control]
        means = [
            [float(np.mean(moved(k)[name])) for k in pair] for pair in pairs if all(name in moved(k) for k in pair)
        ]
        if not means:
            return ""
        more = [a - b for a, b in means]
        shown = f"{np.mean([a for a, _ in means]):.2f} ({np.mean(more):+.2f})"
        if not confirming or kept[0]["arm"] == CONTROL or len(more) < 2:
            return shown
        _, low, high = interval(more, 0.90)
        said = "equivalent" if st.equivalent(more, st.EQUIVALENCE_MM) else "not shown"
        return f"{shown} [{low:+.2f}, {high:+.2f}] {said}"

    def values(kept: Sequence[Kept]) -> list[str]:
        return [told(kept, name) for name in names] if any(moved(k) for k in kept) else []

    title = (
        f"Numbers: mean |offset| to ort-fp32 through the declared pipeline on {_clips(cells)[1]} clips, mm "
        "(more than plain)"
        + (" [90 % interval] and whether that is equivalent to plain within 1 mm." if confirming else "; no test here.")
    )
    return _table(
        cells, title, [_of_seeds(name, [name in moved(k) for k in control.values()]) for name in names], values
    )


def _of_seeds(name: str, there: Sequence[bool]) -> str:
    """A column's head, with the number of seeds where not all have it."""
    return name if all(there) else f"{name}, {sum(there)} of {len(there)} seeds"


def _real(cells: Cells) -> list[str]:
    def values(kept: Sequence[Kept]) -> list[str]:
        real = [k["measures"]["real"] for k in kept if "real" in k["measures"]]
        if not real:
            return []
        gaps = [f"{np.mean([r['gap'][p] for r in real]):.1f}" for p in MOVED]
        pixels = [r["pixels"] for r in real if r["pixels"] is not None]
        return [*gaps, f"{np.mean(pixels):.1f}" if pixels else "", f"{100 * np.mean([r['seen'] for r in real]):.0f} %"]

    head = [*(f"gap {p}" for p in MOVED), "columns off TwinLiteNet's", "within 40 columns"]
    title = (
        "Real frames, a sanity check only: gap of the ego lines, mm; median distance from the nearest line that "
        "TwinLiteNet sees in that row, of 640 columns, and share of the ego lines' pixels that have one within 40."
    )
    rows = _table(cells, title, head, values)
    pairs = [
        [
            np.mean([np.mean(k["measures"][s]["gap"]["deploy"]) for k in of_arm(cells, arm)])
            for s in ("pictures", "real")
        ]
        for arm in {c.arm for c in cells}
        if all("real" in k["measures"] for k in of_arm(cells, arm))
    ]
    if len(pairs) > 3:
        rank = float(spearmanr(*zip(*pairs, strict=True)).statistic)
        rows += ["", f"Rank correlation over arms of the declared gap on synthetic and on real frames: {rank:.2f}."]
    return rows


def _cost(cells: Cells) -> list[str]:
    def passes(cell: Cell) -> float:
        """With those of the networks that a mean is made of, but for starts of a repair."""
        if cell.arm == ENSEMBLE:
            return sum(passes(Cell("screen", "start", s)) for s in range(STARTS))
        own = cells[cell]["passes"]["forward"] + cells[cell]["passes"]["backward"]
        mixed = BY_NAME[cell.arm].mixed if cell.arm in BY_NAME else ()
        return float(own + sum(passes(Cell(cell.stage, part, cell.seed)) for part in mixed if part != "start"))

    def values(kept: Sequence[Kept]) -> list[str]:
        spent = np.mean([passes(Cell(k["stage"], k["arm"], k["seed"])) for k in kept])
        steps = np.mean([k.get("steps", 0) for k in kept])
        seconds = [k["seconds"] for k in kept if k.get("seconds")]
        return [f"{spent:.0f}", f"{steps:.0f}", f"{min(seconds):.0f} s" if seconds else "-"]

    title = (
        "What it cost: passes, with those of the networks that a mean is made of; steps; least time of a seed, "
        "one thread, of the training itself, over all its sittings."
    )
    return _table(cells, title, ["passes", "steps", "time"], values)
