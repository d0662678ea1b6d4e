"""A verdict as the report shows it: one sentence, one row per rule, and what each case got.

Reads the words of verdict.json (harness.gate.verdict); a key that is missing costs its cell and nothing else.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.ladder.words import listed
from harness.report.plain import as_mapping, finite
from harness.run.catalogue import definition_of, find_measure, label_of
from harness.run.numbers import number
from harness.run.units import beside
from trueline._text import counted

__all__ = ["GLYPHS", "STATUSES", "judgement_view", "worst_status"]

STATUSES = ("CRASHED", "NONFINITE", "FAIL", "NOT_RUN", "INCONCLUSIVE", "PASS")
GLYPHS = {"CRASHED": "✕", "NONFINITE": "✕", "FAIL": "✕", "NOT_RUN": "–", "INCONCLUSIVE": "?", "PASS": "✓"}
_VERBS = {
    "CRASHED": "met a crash", "NONFINITE": "met values that are not finite", "FAIL": "failed",
    "NOT_RUN": "could not be judged", "INCONCLUSIVE": "stayed inconclusive", "PASS": "passed",
}  # fmt: skip


def worst_status(statuses: Iterable[str]) -> str:
    """The worst of them; NOT_RUN where there is none."""
    return min(statuses, key=lambda s: STATUSES.index(s) if s in STATUSES else 0, default="NOT_RUN")


def judgement_view(verdict: Any) -> dict[str, Any] | None:
    """The view of a verdict; None where there is none.

    Returns:
        `status`, `sentence`, `detail` (why, by the first of the worst rules; of a pass the number nearest its limit),
        `policy`, `profile`, `rules` (worst first, required before advisory), `remarks`, `cases`: case -> worst status
        over required rules, and `judged`: rung -> metric -> what the rules found there
        (`harness.report.summary.heat_table`).

    Raises:
        ReportError: not a verdict.
    """
    raw = as_mapping(verdict, "verdict")
    if raw is None:
        return None
    rules = [_rule(r) for r in raw.get("rules", ())]
    rules.sort(key=lambda r: (_place(r["status"]), not r["required"]))
    status = str(raw.get("verdict", worst_status(r["status"] for r in rules if r["required"])))
    policy = raw.get("policy") or {}
    return {
        "status": status,
        "glyph": GLYPHS.get(status, "?"),
        "sentence": _sentence(rules),
        "detail": _nearest(raw) if status == "PASS" else _first_of(rules, status),
        "policy": str(policy.get("name", "")),
        "profile": str(policy.get("profile") or ""),
        "rules": rules,
        "remarks": [str(remark) for remark in raw.get("remarks", ())],
        "cases": _cases(raw.get("rules", ())),
        "judged": _judged(raw.get("rules", ())),
        "basis": {
            "policy": policy,
            "baseline": {k: v for k, v in (raw.get("baseline") or {}).items() if k != "meta"},
            "noise floors": raw.get("floors") or {},
        },
    }


def _first_of(rules: Sequence[Mapping[str, Any]], status: str) -> str:
    return next((f"{r['id']}: {r['reason']}" for r in rules if r["required"] and r["status"] == status), "")


def _nearest(raw: Mapping[str, Any]) -> str:
    """The number that uses most of its limit; empty where no rule has both."""
    used = [
        (value / limit, rule, rung, case)
        for rule in raw.get("rules", ())
        if rule.get("required", True)
        and rule.get("higher_is_worse", True)
        and rule.get("compare") == "limit"
        and (limit := finite(rule.get("limit_value")))
        for rung in rule.get("rungs", ())
        for case in rung.get("cases", ())
        if (value := finite(case.get("value"))) is not None
    ]
    if not used:
        return ""
    share, rule, rung, case = max(used, key=lambda one: one[0])
    return (
        f"nothing is over a limit; nearest to one is {rule['id']}: {case.get('reason', '')}, {share:.0%} of it, "
        f"case {case.get('case')}, on {rung.get('rung')}"
    )


def _place(status: str) -> int:
    return STATUSES.index(status) if status in STATUSES else 0


def _sentence(rules: Sequence[Mapping[str, Any]]) -> str:
    """How the required rules ended, worst first."""
    required = Counter(str(r["status"]) for r in rules if r["required"])
    total = sum(required.values())
    if not total:
        return "No required rule was judged."
    parts = [f"{required[s]} {_VERBS[s]}" for s in STATUSES if required[s]]
    return f"Of {counted(total, 'required rule')}, {listed(parts)}."


def _rule(raw: Mapping[str, Any]) -> dict[str, Any]:
    unit = str(raw.get("unit") or "")
    status = str(raw.get("verdict", "NOT_RUN"))
    metric = str(raw.get("metric", ""))
    rungs = [_rung(r, unit) for r in raw.get("rungs", ())]
    rungs.sort(key=lambda r: (_place(r["status"]), -_badness(metric, r["number"])))
    first = rungs[0] if rungs else {}
    return {
        "id": str(raw.get("id", "")),
        "status": status,
        "glyph": GLYPHS.get(status, "?"),
        "required": bool(raw.get("required", True)),
        "metric": metric,
        "definition": definition_of(metric),
        "what": f"{_statistic(str(raw.get('statistic', '')))} {_measured(metric)}",
        "band": ", ".join(raw.get("band") or ()) or "all",
        "pattern": str(raw.get("pattern", "*")),
        "scope": str(raw.get("scope", "each")),
        "compare": str(raw.get("compare", "limit")),
        "limit": str(raw.get("limit", "")),
        "note": str(raw.get("note") or ""),
        "reason": f"{first['rung']}: {first['reason']}" if first else str(raw.get("reason") or ""),
        "rungs": rungs,
        "value": first.get("value", "–"),
        "at": first.get("at"),
    }


def _statistic(name: str) -> str:
    words = {"rate_per_min": "rate of", "count": "number of", "share": "share of", "seconds": "seconds of"}
    return {**words, "episodes_per_h": "episodes per hour of"}.get(name, name)


def _measured(metric: str) -> str:
    """A metric in words."""
    kind = metric.removeprefix("event.")
    return f"{label_of(kind)} events" if kind != metric else _label(metric)


def _label(metric: str) -> str:
    try:
        return find_measure(metric).label or metric
    except ValueError:
        return metric.replace("_", " ")


def _rung(raw: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """One rung under one rule; `value` and `at` are those of its worst case."""
    cases = list(raw.get("cases", ()))
    status = str(raw.get("verdict", "NOT_RUN"))
    same = [c for c in cases if c.get("verdict") == status and finite(c.get("value")) is not None]
    named = next((c for c in same if f"case {c.get('case')}:" in str(raw.get("reason", ""))), same[0] if same else None)
    worst = (named or {}).get("worst") or {}
    return {
        "rung": str(raw.get("rung", "")),
        "status": status,
        "glyph": GLYPHS.get(status, "?"),
        "reason": str(raw.get("reason") or ""),
        "value": _shown(finite(named.get("value")), unit) if named else "–",
        "number": finite(named.get("value")) if named else None,
        "failing": sum(c.get("verdict") not in ("PASS", None) for c in cases),
        "cases": len(cases),
        "statistics": dict(raw.get("statistics") or {}),
        "at": {"case": named["case"], "frame": worst.get("frame"), "band": worst.get("band"), "rung": raw.get("rung")}
        if named
        else None,
    }


def _badness(metric: str, value: float | None) -> float:
    """Grows with how bad a value of the metric is."""
    if value is None:
        return -math.inf
    try:
        higher_is_worse = find_measure(metric).higher_is_worse
    except ValueError:
        higher_is_worse = True
    return value if higher_is_worse else -value


def _shown(value: float | None, unit: str) -> str:
    """A number in the unit of the rule's limit."""
    if value is None:
        return "–"
    return beside(number(value, "number"), unit)


def _cases(rules: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for rule in rules:
        # a population rule may pass with cases in violation: only rules about each case judge a case
        if rule.get("required", True) and rule.get("scope", "each") == "each":
            for rung in rule.get("rungs", ()):
                for case in rung.get("cases", ()):
                    found.setdefault(str(case["case"]), []).append(str(case.get("verdict", "NOT_RUN")))
    return {case: worst_status(statuses) for case, statuses in found.items()}


def _judged(rules: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Rung -> metric -> rules that looked at it there: id, bands, status, what was found against which limit."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for rule in rules:
        for rung in rule.get("rungs", ()):
            status = str(rung.get("verdict", "NOT_RUN"))
            told = {
                "rule": str(rule.get("id", "")), "bands": list(rule.get("band") or ()), "status": status,
                "text": f"{rule.get('id', '')}: {GLYPHS.get(status, '?')} {status}, {rule.get('statistic', '')} limit "
                f"{rule.get('limit', '')}; {rung.get('reason') or ''}",
            }  # fmt: skip
            metric = str(rule.get("metric", "")).removeprefix("event.")
            found.setdefault(str(rung.get("rung", "")), {}).setdefault(metric, []).append(told)
    return found
