"""A verdict in the terminal: what failed first, one block for one cause, then the rules, the verdict last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from harness.gate.verdict import RuleOutcome, RungOutcome, Status, Verdict
from harness.summary.again import again
from harness.summary.blocks import Block, blocks_of
from harness.terminal import TABLE_WIDTH, cell, show, table, table_console
from trueline._text import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from harness.ladder.model import Explanation

__all__ = ["engine_lines", "render", "summary_line"]

SHOWN = 8
_STYLE = {
    Status.PASS: "green",
    Status.INCONCLUSIVE: "yellow",
    Status.NOT_RUN: "yellow",
    Status.FAIL: "bold red",
    Status.NONFINITE: "bold red",
    Status.CRASHED: "bold red",
}


def render(verdict: Verdict, explanation: Explanation | None = None, console: Console | None = None) -> None:
    """Print what did not pass, the rules, and the verdict last.

    Args:
        verdict: what to print.
        explanation: of the same run: failures are gathered by the step they are blamed on.
        console: where to print it, standard output by default.
    """
    blocks = blocks_of(verdict, explanation)
    meta = verdict.run.get("meta", {})
    if verdict.blind:
        show(cell(verdict.blind, "bold yellow"), console=console)
    for block in blocks[:SHOWN]:
        head, *rest = _lines(block, meta)
        show(cell(head, _STYLE[block.status] if block.required else ""), *rest, console=console)
    if len(blocks) > SHOWN:
        show(f"{len(blocks) - SHOWN} more causes; verdict.json has them all.", console=console)
    remarks = [cell(remark, "yellow") for remark in verdict.remarks if remark != verdict.blind]
    judged = {rung.rung for rule in verdict.rules for rung in rule.rungs}
    remarks += [cell(line, "dim") for line in engine_lines(judged, meta.get("rungs", ()))]
    last = cell(f"{verdict.status.value} ", _STYLE[verdict.status]) + cell(summary_line(verdict))
    where = console or table_console()
    rules = [_table(verdict)] if where.width >= TABLE_WIDTH else _narrow(verdict, where.width)
    show(*rules, *remarks, last, console=console)


def _lines(block: Block, meta: Mapping[str, Any]) -> Iterator[str]:
    yield block.headline
    yield f"  worst:  {block.worst}"
    yield f"  breaks: {', '.join(block.rules)} ({block.extent})"
    if command := again(block, meta):
        yield f"  again:  {command}"


def _table(verdict: Verdict) -> Table:
    """One row for one rule; of one that does not pass the rung that decides."""
    rows = []
    for rule in verdict.rules:
        name = rule.id if rule.required else f"{rule.id} (advisory)"
        rung, reason = _decides(rule)
        rows.append((name, _limit(rule), rung, cell(rule.status.value, _STYLE[rule.status]), reason))
    return table(("rule", "limit", "rung", "verdict", "what was found"), rows)


def _narrow(verdict: Verdict, width: int) -> list[Text]:
    """One line for one rule, what did not pass first; what does not fit goes on below, indented."""
    lines = []
    for rule in sorted(verdict.rules, key=lambda rule: rule.status is Status.PASS):
        rung, reason = _decides(rule)
        name = rule.id if rule.required else f"{rule.id} (advisory)"
        found = reason if rule.status is Status.PASS else f"{rung}: {reason}, limit {_limit(rule)}"
        first, *rest = wrap(f"{rule.status.value:8} {name}: {found}", max(width, 40), subsequent_indent=" " * 9)
        lines += [cell(first, _STYLE[rule.status]), *map(cell, rest)]
    return lines


def _decides(rule: RuleOutcome) -> tuple[str, str]:
    own = [r for r in rule.rungs if r.status is rule.status]
    if rule.status is Status.PASS or not own:
        return rule.pattern, rule.reason
    more = f" and {len(own) - 1} more" if len(own) > 1 else ""
    return f"{own[0].rung}{more}", _with_note(rule, own[0])


def _with_note(rule: RuleOutcome, rung: RungOutcome) -> str:
    return f"{rung.reason} [{rule.note}]" if rule.note else rung.reason


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


def summary_line(verdict: Verdict) -> str:
    """How many required rules pass, of which policy and profile, in one line."""
    required = [r for r in verdict.rules if r.required]
    passed = sum(r.status is Status.PASS for r in required)
    text = f"{verdict.policy['name']}: {passed} of {len(required)} required rules pass"
    if profile := verdict.policy.get("profile"):
        text += f", profile {profile}"
    advisory = sum(r.status is not Status.PASS for r in verdict.rules if not r.required)
    text += f", {counted(advisory, 'advisory finding')}" if advisory else ""
    if count := len(verdict.unjudged):
        text += f", {counted(count, 'rung')} not judged"
    return text
