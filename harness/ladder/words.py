"""Factors, places and findings in words: one sentence for explain, report, pytest and JUnit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.run.catalogue import label_of
from harness.run.numbers import quantity_of_unit, with_unit
from harness.run.units import beside

__all__ = [
    "Pipelines",
    "blamed",
    "broken_by",
    "cause_of",
    "differences_of",
    "listed",
    "place_of",
    "sentence",
    "size_of",
]

_FACTORS = {
    "export": "the export to ONNX",
    "graph-optimisation": "ONNX Runtime's graph optimisation",
    "runtime": "another runtime",
    "precision": "arithmetic in",
    "accumulation": "another order of sums",
    "car": "the car itself: pictures, preprocessing, engine",
    "car:decoder": "the car and its own decoder, which logged lines do not tell apart",
    "decoder": "the rung's own decoder, on the same tensors",
    "preprocess": "preprocessing",
}

Pipelines = Mapping[str, Sequence[str]]
"""Step of the preprocessing -> what differs in it, in words; the key is empty for what is of no single step."""


def differences_of(meta: Mapping[str, Any]) -> Pipelines:
    """What the train and deploy pipelines of a run differ in, by step, from `pipelines` of run.json."""
    found: dict[str, list[str]] = {}
    for pipeline in (meta.get("pipelines") or {}).values():
        for difference in pipeline.get("differences", ()):
            words = found.setdefault(str(difference.get("step") or ""), [])
            if difference["words"] not in words:
                words.append(str(difference["words"]))
    return found


def cause_of(factor: str | None, pipelines: Pipelines) -> str:
    """A factor in words: `resize: antialias true -> false`, `arithmetic in fp16`."""
    if factor is None:
        return ""
    kind, _, which = factor.partition(":")
    if kind == "preprocess":
        steps = which.split("+") if which else list(pipelines)
        told = [words for step in steps for words in pipelines.get(step, ())]
        return "; ".join(told) or (f"preprocessing step {which}" if which else _FACTORS[kind])
    if factor in _FACTORS:
        return _FACTORS[factor]
    words = _FACTORS.get(kind, kind)
    return f"{words} {which.replace(':', ', ')}" if which else words


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def size_of(value: float | None, unit: str) -> str:
    """A number of a base unit as readers see it."""
    if value is None or math.isnan(value):
        return "not measured"
    return with_unit(value, quantity_of_unit(unit), unit if unit in ("m", "px") else unit.removeprefix("1/") or "m")


def broken_by(breach: Any) -> str:
    """`bend-near: sustained 0.21 m`: a limit and the number that breaks it."""
    if math.isnan(breach.number):
        return f"{breach.rule}: values that are not finite"
    return f"{breach.rule}: {breach.statistic} {beside(f'{breach.number:.3g}', breach.unit)}"


def place_of(finding: Any) -> str:
    """`line 2, far, frames 10-39`; empty for a number of the whole case."""
    parts = [
        "" if finding.track is None else f"line {finding.track}",
        finding.band or "",
        "" if finding.frame_start is None else _frames(finding.frame_start, finding.frame_end),
    ]
    return ", ".join(p for p in parts if p)


def _frames(first: int, last: int) -> str:
    return f"frame {first}" if first == last else f"frames {first}-{last}"


def sentence(finding: Any) -> str:
    """What, how much, where, and which step: the finding in one line."""
    what = f"{finding.statistic} {label_of(finding.measure)}".strip()
    place = place_of(finding)
    size = size_of(finding.value, finding.unit)
    limit = f"limit {size_of(finding.threshold, finding.unit)}"
    where = f"case {finding.case}" + (f", {place}" if place else "")
    return f"{what} {size} ({limit}) in {where} on {finding.rung}; {blamed(finding)}"


def blamed(finding: Any) -> str:
    """Where a finding begins and which factor is blamed, in words."""
    if finding.stage is None:
        return f"begins at {finding.first}; {finding.note or 'no single step to blame'}"
    cause = f" ({finding.cause})" if finding.cause else ""
    note = f"; {finding.note}" if finding.note else ""
    return f"begins at {finding.first}: {finding.factor}{cause}{note}"
