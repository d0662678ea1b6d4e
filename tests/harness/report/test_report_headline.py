"""What the first screen opens on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from harness.report.headline import _of_noise, broken_by, worst_finding


def _finding(measure: str, track: int | None, factor: str, *, required: bool) -> Any:
    breaches = [SimpleNamespace(required=required)]
    return SimpleNamespace(measure=measure, track=track, stage="numerics", factor=factor, breaches=breaches)


def test_of_values_that_are_not_finite_a_line_that_the_same_step_bends_is_shown():
    none = _finding("nonfinite", None, "precision:fp16", required=True)
    other = _finding("bend", 1, "resize", required=False)
    bent = _finding("bend", 0, "precision:fp16", required=False)
    assert worst_finding(SimpleNamespace(findings=[none, other, bent])) is bent
    assert worst_finding(SimpleNamespace(findings=[none, other])) is none


def test_the_rule_that_is_named_is_one_of_the_measure_that_is_told():
    """A finding is told by the worst measure of a family; the first rule it breaks may be another's."""
    offset, heading = (
        SimpleNamespace(rule=rule, measure=measure, required=True)
        for rule, measure in (("offset-near", "offset_mean"), ("heading", "heading"))
    )
    told = SimpleNamespace(measure="heading", breaches=[offset, heading])
    assert broken_by(told) == ", breaks rule heading"
    told.breaches = [offset]
    assert broken_by(told) == ", rule offset-near is broken with it"
    told.breaches = []
    assert broken_by(told) == ""


def test_a_finding_is_held_against_the_floor_of_its_engine_under_any_pipeline():
    worst = SimpleNamespace(measure="bend", rung="deploy/ort-fp32", value=0.2, unit="m")
    raw = {"floors": {"train/ort-fp32": {"bend": 0.001}, "deploy/torch-fp32": {"bend": 0.1}}}
    assert _of_noise(worst, raw) == "noise floor of ort-fp32: 0.001 m, 200 times smaller"
    raw["floors"]["deploy/ort-fp32"] = {"bend": 0.002, "swing_pp": 0.01}
    assert "100 times smaller" in _of_noise(worst, raw)
    worst.measure = "swing"  # an event has the floor of its measure
    assert "20 times smaller" in _of_noise(worst, raw)
    worst.rung = "deploy/emulated-fp16"
    assert _of_noise(worst, raw) == "the engine's noise floor was not measured (trueline replay --floor)"
    assert _of_noise(worst, None) == "the engine's noise floor was not measured (trueline replay --floor)"


def test_what_breaks_a_required_rule_comes_first():
    advisory, required = (_finding("bend", 0, "resize", required=r) for r in (False, True))
    assert worst_finding(SimpleNamespace(findings=[advisory, required])) is required
    assert worst_finding(SimpleNamespace(findings=[advisory])) is advisory
    assert worst_finding(SimpleNamespace(findings=[])) is None
