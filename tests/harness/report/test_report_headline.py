"""What the first screen opens on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from harness.report.headline import worst_finding


def _finding(measure: str, track: int | None, factor: str, *, required: bool) -> Any:
    breaches = [SimpleNamespace(required=required)]
    return SimpleNamespace(measure=measure, track=track, stage="numerics", factor=factor, breaches=breaches)


def test_of_values_that_are_not_finite_a_line_that_the_same_step_bends_is_shown():
    none = _finding("nonfinite", None, "precision:fp16", required=True)
    other = _finding("bend", 1, "resize", required=False)
    bent = _finding("bend", 0, "precision:fp16", required=False)
    assert worst_finding(SimpleNamespace(findings=[none, other, bent])) is bent
    assert worst_finding(SimpleNamespace(findings=[none, other])) is none


def test_what_breaks_a_required_rule_comes_first():
    advisory, required = (_finding("bend", 0, "resize", required=r) for r in (False, True))
    assert worst_finding(SimpleNamespace(findings=[advisory, required])) is required
    assert worst_finding(SimpleNamespace(findings=[advisory])) is advisory
    assert worst_finding(SimpleNamespace(findings=[])) is None
