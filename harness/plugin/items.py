"""Items of a policy file: one per rule x rung x case (population rules: per rule x rung).

A required item that is not PASS fails, whatever it is instead; nothing is ever skipped. An advisory one passes and is
told in the summary. Failures are told in lines, not in tracebacks.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from harness.gate.verdict import CaseOutcome, RuleOutcome, RungOutcome, Status
from harness.plugin.session import GateSession, Judged
from harness.plugin.suite import Suite, Wanted
from trueline import TruelineError
from trueline._text import shown

__all__ = ["RuleItem"]


class RuleBroken(Exception):
    """A required rule is not PASS; the text is what the user reads."""


class RuleItem(pytest.Item):
    """One rule on one rung, and for scope `each` on one case."""

    gate: GateSession
    suite: Suite
    wanted: Wanted
    line: int
    elsewhere_s: float = 0.0  # of this item's time, what other items bear

    @classmethod
    def of(cls, parent: pytest.File, gate: GateSession, suite: Suite, wanted: Wanted, lines: list[str]) -> RuleItem:
        """Make the item; `lines` of the file tell where its rule stands."""
        item: RuleItem = cls.from_parent(parent, name=wanted.name)
        item.gate, item.suite, item.wanted = gate, suite, wanted
        name = wanted.rule.id if wanted.rule is not None else ""
        item.line = next((i for i, text in enumerate(lines) if name and text.replace(" ", "") == f'id="{name}"'), 0)
        return item

    def runtest(self) -> None:
        """Judge the suite if nobody has, and look up this item.

        Raises:
            RuleBroken: it is required and not PASS.
        """
        start = time.perf_counter()
        judged = self.gate.judge(self.suite)
        waited_s = time.perf_counter() - start
        self.elsewhere_s = self.gate.elsewhere_s(self.suite.policy.path, self.wanted.case, waited_s)
        self.user_properties.append(("trueline_verdict", str(judged.folder / "verdict.json")))
        self.user_properties.append(("trueline_report", judged.report))
        if self.gate.is_first(self.suite):  # once a process: xdist's controller has no other way to know
            self.user_properties.append(("trueline_summary", judged.summary))
        rule = self.wanted.rule
        if rule is None:
            raise RuleBroken("NOT_RUN: no required rule is judged here, so nothing is shown to be right")
        found = judged.verdict.rule(rule.id)
        if left := next((r for r in judged.verdict.left_out if r.id == rule.id), None):
            self.user_properties.append(("trueline_advisory", f"{self.nodeid}\nleft out: {left.reason}"))
            return
        if found is None:
            raise RuleBroken(f"NOT_RUN: {rule.id} was not judged\n  report:  {judged.report}")
        self._settle(found, judged)

    def _settle(self, found: RuleOutcome, judged: Judged) -> None:
        rung = next((r for r in found.rungs if r.rung == self.wanted.rung), None)
        case = next((c for c in rung.cases if c.case == self.wanted.case), None) if rung is not None else None
        if case is None and rung is not None and rung.cases and self._has_case(judged):
            return  # the rule is not about this case, or the case has nothing that the rule could tell
        status = case.status if case is not None else rung.status if rung is not None else found.status
        if case is None and self.wanted.case is not None and status is Status.PASS:
            status = Status.NOT_RUN
        if status is Status.PASS:
            return
        key = "|".join((found.id, self.wanted.rung or "", self.wanted.case or ""))
        text = told(found, rung, case, status, judged.report, judged.blamed.get(key, ""), judged.inputs.get(key, ""))
        if found.required:
            raise RuleBroken(text)
        self.user_properties.append(("trueline_advisory", f"{self.nodeid}\n{text}"))

    def _has_case(self, judged: Judged) -> bool:
        return any(c["id"] == self.wanted.case for c in judged.verdict.run["meta"]["cases"])

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Lines for what a user can act on, a traceback only for a defect of ours."""
        if isinstance(excinfo.value, RuleBroken | TruelineError):
            return shown(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """The rule's line in the file."""
        return self.path, self.line, self.name


def told(
    rule: RuleOutcome, rung: RungOutcome | None, case: CaseOutcome | None, status: Status, report: str,
    step: str = "", inputs: str = "",
) -> str:  # fmt: skip
    """What a broken item says: what was found, the step that is blamed, what the input tensors differ in, where it is
    worst, the rule, where to look."""
    band = f" {'+'.join(rule.band)}" if rule.band else ""
    against = " worse than the baseline" if rule.compare == "baseline" else ""
    place = [p for p in (rung.rung if rung else rule.pattern, f"case {case.case}" if case else "") if p]
    lines = [f"{status.value} {rule.id}: {', '.join(place)}"]
    lines.append(f"  found:   {case.reason if case else rung.reason if rung else rule.reason}")
    if step:
        lines.append(f"  step:    {step}")
    if inputs:
        lines.append(f"  inputs:  {inputs}")
    if case is not None and case.worst is not None:
        lines.append(f"  worst:   {case.worst.value:.3g} {case.worst_unit}".rstrip() + f" at {case.worst}")
    if rung is not None and rung.statistics:
        lines.append("  numbers: " + ", ".join(f"{k} {v:.3g}" for k, v in rung.statistics.items()))
    lines.append(f"  rule:    {rule.statistic} {rule.metric}{band}, limit {rule.limit}{against}")
    if rung is not None and rung.reference:
        lines.append(f"  against: {rung.reference}")
    if rule.note:
        lines.append(f"  note:    {rule.note}")
    return "\n".join([*lines, f"  report:  {report}"])
