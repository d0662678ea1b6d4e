"""Whether a planted fault of the preprocessing is named rightly: its tensors against the declared pipeline's."""

from __future__ import annotations

from dataclasses import dataclass

from cases.case import open_case
from harness.diagnosis.model import Diagnosis
from harness.diagnosis.recorded import WINDOW, camera_inputs, diagnose_recorded
from harness.diagnosis.run import DECLARED
from harness.errors import DiagnosisError
from harness.faults.protocol import Fault, Planted, Site
from harness.feed.inputs import InputBuilder, cameras_of

__all__ = ["Diagnosed", "diagnosed"]


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """What `trueline diagnose` says of the tensors of a planted fault.

    Attributes:
        names: classes that it names, those it cannot tell apart among them.
        right: whether one of them is the fault's; a fault that changes nothing is right where nothing is named.
        sentence: what it says.
    """

    names: tuple[str, ...]
    right: bool
    sentence: str


def diagnosed(site: Site, fault: Fault, planted: Planted) -> Diagnosed | None:
    """The diagnosis of the first case; None for a fault that no class of harness/diagnosis/names.py means."""
    if not fault.diagnosis or fault.stage != "preprocess":
        return None
    case, spec = open_case(site.cases[0]), camera_inputs(site.card)[0]
    build = InputBuilder(planted.card, case, "deploy")
    ticks = case.ticks(cameras_of(planted.card), 0, min(WINDOW, case.length))
    tensors = {position: build(tick)[spec.name] for position, tick in enumerate(ticks)}
    try:
        found = diagnose_recorded(site.card, case, spec, tensors, expected=DECLARED).diagnosis
    except DiagnosisError as error:
        return Diagnosed((), False, error.what)
    names = tuple(sorted(frozenset().union(*(edit.names for edit in found.edits))))
    return Diagnosed(names, _is_right(found, fault, names), found.sentence)


def _is_right(found: Diagnosis, fault: Fault, names: tuple[str, ...]) -> bool:
    return found.status == "same" or bool(set(names) & set(fault.diagnosis))
