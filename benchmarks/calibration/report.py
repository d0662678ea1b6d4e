"""From numbers to what is told: shares of failing suites, what faults of given size do, limits that would hold."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from benchmarks.calibration.cells import SECONDS, SUITES, Unit, kept, units
from benchmarks.calibration.drives import Version, as_measured, draw
from benchmarks.calibration.faults import KINDS
from benchmarks.calibration.numbers import key_of
from benchmarks.calibration.plot import draw_plot
from benchmarks.calibration.suites import Judged, JudgedVersion, questions_of, simulated_rules
from harness.calibrate.limits import suggested_limits
from harness.calibrate.scores import Scores, score_of
from harness.gate import Policy
from harness.gate.verdict import Status

__all__ = ["clustered_interval", "name_of", "tables", "write"]

SLEPT_M = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, float("inf"))


def write(policies: Sequence[Policy], work: Path, results: Path, picture: Path) -> None:
    """Judge everything that was simulated by every policy; one JSON file each, and a picture of the first."""
    results.mkdir(parents=True, exist_ok=True)
    for policy in policies:
        found = _judged(policy, work)
        told = {
            "policy": {"name": name_of(policy), "sha256": [s.sha256 for s in policy.sources]},
            "not_simulated": simulated_rules(policy)[1],
            "good": {f"{s:g}": _of_part(found, "good", s) for s in SECONDS},
            "as_measured": {f"{s:g}": _of_part(found, "good", s, held=True) for s in SECONDS},
            "unbounded": {f"{s:g}": _of_part(found, "unbounded", s) for s in SECONDS[:2]},
            "clustered": {"15": _of_part(found, "clustered", 15.0)},
            "choosing": {f"{s:g}": _of_part(found, "choosing", s) for s in SECONDS},
            "limits": {f"{s:g}": _limits(found, policy, s) for s in SECONDS},
            "faults": _faults(found),
            "frozen": _frozen(found),
        }
        text = json.dumps(told, indent=1, allow_nan=False) + "\n"
        (results / f"{name_of(policy)}.json").write_text(text, encoding="utf-8")
        print("\n".join(tables(told)))
        if policy is policies[0]:
            draw_plot(told, picture)


def name_of(policy: Policy) -> str:
    """Its name; of one that an example has, with the example's."""
    folder = policy.path.parent.name
    return policy.name if folder == "policies" else f"{folder}-{policy.name}"


def _judged(policy: Policy, work: Path) -> list[tuple[Unit, JudgedVersion]]:
    wanted = [key_of(q) for q in questions_of([policy])]
    found = ((unit, kept(unit, work, wanted)) for unit in units())
    return [(u, JudgedVersion.of(u.version, numbers, policy)) for u, numbers in found if numbers is not None]


def _of_part(
    found: Iterable[tuple[Unit, JudgedVersion]], part: str, seconds: float, held: bool = False
) -> dict[str, Any]:
    """Suites of every size of the versions of one part and length; `held`: of cases no stretch of which is too wide."""
    own = [(u, j) for u, j in found if u.part == part and u.version.seconds == seconds]
    among = [_held(u.version) if held else np.ones(u.version.cases, bool) for u, _ in own]
    told: dict[str, Any] = {"versions": len(own), "cases": int(sum(map(np.sum, among))), "suites": {}}
    if not own:
        return told
    for size in SUITES:
        judged = [(u.version.family, j.suites(size, among=a)) for (u, j), a in zip(own, among, strict=True)]
        told["suites"][str(size)] = _shares([j for _, j in judged], size) | {
            "families": {f: _mean(j.failed / j.suites for g, j in judged if g == f) for f, _ in judged}
        }
    if not held:
        told["cases_by_rule"] = _cases_by_rule([j for _, j in own])
    return told


@cache
def _held(version: Version) -> NDArray[np.bool_]:
    """Cases no stretch of which is wider than measured, bool [cases]; drawn once for all policies."""
    return as_measured(draw(version), version.fps)


def _shares(judged: Sequence[Judged], size: int) -> dict[str, Any]:
    failed = [j.failed / j.suites for j in judged]
    low, high = clustered_interval(failed, max(1, 100 // size))
    rules, open_rules = Counter[str](), Counter[str]()
    for j in judged:
        rules.update({name: count / j.suites / len(judged) for name, count in j.by_rule.items()})  # type: ignore[arg-type]  # shares
        open_rules.update({name: count / j.suites / len(judged) for name, count in j.open_by_rule.items()})  # type: ignore[arg-type]  # shares
    return {
        "fails": _mean(failed), "low": low, "high": high, "open": _mean(j.open / j.suites for j in judged),
        "by_rule": _rounded(rules), "open_by_rule": _rounded(open_rules),
    }  # fmt: skip


def clustered_interval(shares: Sequence[float], each: int, confidence: float = 0.9) -> tuple[float, float]:
    """Two-sided interval of the mean of shares of versions, of `each` suites every one.

    Clopper and Pearson's with as many suites as would vary as much if all were independent, and never fewer than there
    are versions (Korn and Graubard, Survey Methodology 24, 1998).
    """
    count = len(shares) * each
    mean = float(np.mean(shares))
    if count == 0:
        return 0.0, 1.0
    simple = mean * (1 - mean) / count
    own = float(np.var(shares, ddof=1)) / len(shares) if len(shares) > 1 else 0.0
    effective = max(float(len(shares)), min(float(count), count * simple / own if own > 0 else float(count)))
    tail, hits = (1 - confidence) / 2, mean * effective
    low = float(beta.ppf(tail, hits, effective - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, effective - hits)) if hits < effective else 1.0
    return low, high


def _cases_by_rule(judged: Sequence[JudgedVersion]) -> dict[str, float]:
    """Share of their cases that each rule fails by itself."""
    total = sum(j.version.cases for j in judged)
    failed = Counter[str]()
    for j in judged:
        failed.update({name: every.count(Status.FAIL) for name, every in j.statuses().items()})
    return _rounded({name: count / total for name, count in failed.items() if count})


def _limits(found: Iterable[tuple[Unit, JudgedVersion]], policy: Policy, seconds: float) -> list[dict[str, Any]]:
    """Limits that would hold 95 % of suites of 100 drives, by the families that limits may be chosen by."""
    own = [j for u, j in found if u.part == "choosing" and u.version.seconds == seconds]
    if len(own) < 3:
        return []
    rules = [r for r in simulated_rules(policy)[0] if r.scope == "each"]
    of_rule = np.array([[[score_of(r, v) for v in j.values()[r.id]] for r in rules] for j in own])
    drives = tuple(str(k) for k in range(of_rule.shape[2]))
    scores = Scores(tuple(rules), drives, tuple(str(k) for k in range(len(own))), of_rule, (Status.PASS,) * len(own))
    return [
        {"rule": s.rule, "unit": s.unit, "limit": s.limit, "typical": _three(s.typical), "holds": _three(s.holds)}
        for s in suggested_limits(scores)
    ]


def _faults(found: Iterable[tuple[Unit, JudgedVersion]]) -> dict[str, dict[str, dict[str, float]]]:
    """Kind -> seconds -> size -> share of cases with it that fail."""
    told: dict[str, dict[str, dict[str, float]]] = {}
    for unit, judged in found:
        if (fault := unit.version.fault) is None:
            continue
        share = _mean(_failing(judged))
        told.setdefault(fault.kind, {}).setdefault(f"{unit.version.seconds:g}", {})[f"{fault.size:g}"] = share
    return {kind: told[kind] for kind in KINDS if kind in told}


def _failing(judged: JudgedVersion) -> list[bool]:
    return [Status.FAIL in case for case in zip(*judged.statuses().values(), strict=True)]


def _frozen(found: Iterable[tuple[Unit, JudgedVersion]]) -> list[dict[str, Any]]:
    """What is frozen by how far the true lines move meanwhile: that is what the car would feel, and not the seconds."""
    own = [(draw(u.version).slept_through_m, _failing(j)) for u, j in found if _is_frozen(u)]
    if not own:
        return []
    moved, fails = (np.concatenate(x) for x in zip(*own, strict=True))
    bins = [(moved >= low) & (moved < high) for low, high in pairwise(SLEPT_M)]
    return [
        {"from_m": low, "to_m": min(high, 1e9), "cases": int(b.sum()), "fails": _mean(fails[b]) if b.any() else None}
        for (low, high), b in zip(pairwise(SLEPT_M), bins, strict=True)
    ]


def _is_frozen(unit: Unit) -> bool:
    return unit.version.fault is not None and unit.version.fault.kind == "frozen"


def tables(told: Mapping[str, Any]) -> Iterator[str]:
    """Markdown of one policy's results."""
    yield f"\n{told['policy']['name']}: suites of a good candidate that fail (90 % interval), that stay open\n"
    yield "| clip | cases simulated | " + " | ".join(f"{size} cases" for size in SUITES) + " | open |"
    yield "|---|---|" + "---|" * (len(SUITES) + 1)
    for name, part in [
        *((f"{s} s", p) for s, p in told["good"].items()),
        *((f"{s} s, no stretch wider than measured", p) for s, p in told["as_measured"].items()),
        *((f"{s} s, wider than measured", p) for s, p in told["unbounded"].items()),
        ("15 s, ten clips a drive", told["clustered"]["15"]),
    ]:
        if part["suites"]:
            cells = [_cell(part["suites"][str(size)]) for size in SUITES]
            still = max(part["suites"][str(size)]["open"] for size in SUITES)
            yield f"| {name} | {part['cases']:,} | " + " | ".join(cells) + f" | {still:.0%} |"
    yield "\nshare of cases that fail a rule, held-out families / families that limits may be chosen by\n"
    for seconds in map("{:g}".format, SECONDS):
        held, own = (told[part][seconds].get("cases_by_rule", {}) for part in ("good", "choosing"))
        for rule in sorted({*held, *own}, key=lambda r: -held.get(r, 0)):
            yield f"- {seconds} s {rule}: {held.get(rule, 0):.2%} / {own.get(rule, 0):.2%}"
    yield "\nshare of cases that a fault makes fail\n"
    for kind, lengths in told["faults"].items():
        for seconds, sizes in lengths.items():
            yield f"- {kind}, {seconds} s: " + ", ".join(f"{size}: {share:.0%}" for size, share in sizes.items())
    for cell in told["frozen"]:
        if cell["cases"]:
            moved = f"{cell['from_m']:g} to {cell['to_m']:g} m"
            yield f"- frozen while lines move {moved}: {cell['fails']:.0%} of {cell['cases']}"


def _cell(cell: Mapping[str, float]) -> str:
    return f"{cell['fails']:.1%} ({cell['low']:.1%} to {cell['high']:.1%})"


def _mean(values: Iterable[float]) -> float:
    return round(float(np.mean(list(values))), 5)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in sorted(values.items(), key=lambda kv: -kv[1]) if value}


def _three(value: float) -> float:
    return float(f"{value:.3g}")
