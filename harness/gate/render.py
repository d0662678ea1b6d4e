"""A verdict as a table in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from harness.gate.verdict import RuleOutcome, RungOutcome, Status, Verdict
from harness.terminal import cell, show, table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["engine_lines", "render"]

_STYLE = {
    Status.PASS: "green",
    Status.INCONCLUSIVE: "yellow",
    Status.NOT_RUN: "yellow",
    Status.FAIL: "bold red",
    Status.NONFINITE: "bold red",
    Status.CRASHED: "bold red",
}


def render(verdict: Verdict, console: Console | None = None) -> None:
    """Print the rules, what they found, and the verdict last; a rule that passes is one row, others one for each rung.

    Args:
        verdict: what to print.
        console: where to print it, standard output by default.
    """
    left_out = [cell(f"left out: {r.id}: {r.reason}", "yellow" if r.required else "") for r in verdict.left_out]
    judged = {rung.rung for rule in verdict.rules for rung in rule.rungs}
    engines = [cell(line, "dim") for line in engine_lines(judged, verdict.run.get("meta", {}).get("rungs", ()))]
    last = cell(f"{verdict.status.value} ", _STYLE[verdict.status]) + cell(_summary(verdict))
    show(_table(verdict), *left_out, *engines, last, console=console)


def _table(verdict: Verdict) -> Table:
    rows: list[tuple[object, ...]] = []
    for rule in verdict.rules:
        name = rule.id if rule.required else f"{rule.id} (advisory)"
        for status, rung, reason in _rows(rule):
            rows.append((name, _limit(rule), rung, cell(status.value, _STYLE[status]), reason))
            name = ""
    return table(("rule", "limit", "rung", "verdict", "what was found"), rows)


def _rows(rule: RuleOutcome) -> list[tuple[Status, str, str]]:
    if not rule.rungs or rule.status is Status.PASS:
        return [(rule.status, rule.pattern, rule.reason)]
    return [(r.status, r.rung, _with_note(rule, r)) for r in rule.rungs]


def _with_note(rule: RuleOutcome, rung: RungOutcome) -> str:
    return f"{rung.reason} [{rule.note}]" if rule.note and rung.status is not Status.PASS else rung.reason


def _limit(rule: RuleOutcome) -> str:
    band = f" {'+'.join(rule.band)}" if rule.band else ""
    against = " worse than baseline" if rule.compare == "baseline" else ""
    return f"{rule.statistic} {rule.metric}{band}: {rule.limit}{against}"


def engine_lines(judged: Iterable[str], rungs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Which engines a verdict is about, rungs of one engine together: without them it cannot be repeated.

    Args:
        judged: names of the rungs that rules looked at.
        rungs: rungs of run.json.
    """
    wanted = set(judged)
    lines: dict[str, list[str]] = {}
    for rung in rungs:
        facts = rung.get("provenance") or {}
        told = [f"{k} {_short(k, v)}" for k, v in facts.items() if isinstance(v, str | int | float)]
        if told and rung["name"] in wanted:
            lines.setdefault(", ".join(told), []).append(rung["name"])
    return [f"{', '.join(names)}: {told}" for told, names in lines.items()]


def _short(key: str, value: object) -> str:
    """Hashes by their beginning; verdict.json has them whole."""
    return str(value)[:12] if key.endswith("sha256") else str(value)


def _summary(verdict: Verdict) -> str:
    required = [r for r in verdict.rules if r.required]
    passed = sum(r.status is Status.PASS for r in required)
    text = f"{verdict.policy['name']}: {passed} of {len(required)} required rules pass"
    if profile := verdict.policy.get("profile"):
        text += f", profile {profile}"
    advisory = sum(r.status is not Status.PASS for r in verdict.rules if not r.required)
    return text + (f", {advisory} advisory findings" if advisory else "")
