"""What a run has to say of recordings: frames that nobody compared, clocks that were moved, times taken for granted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cases.case import Case
from engines.registry import family
from harness.model.card import Card
from harness.replay.open import Opened
from harness.run.rungs import LAB_DECODER, Rung
from harness.run.warning import RunWarning
from trueline._text import counted

__all__ = ["guessed_parts", "recording_warnings", "unasked_dumps"]


def recording_warnings(rungs: Sequence[Rung], opened: Opened) -> list[RunWarning]:
    """One warning for each case of a recording, from what its engine keeps of the times."""
    names = {rung.name for rung in rungs}
    recorded = [r for r in rungs if family(r.engine) == "recorded" and r.name + LAB_DECODER not in names]
    return [
        RunWarning("recording", f"{rung.name}, case {case}: {said}", rung.name, case)
        for rung in recorded
        for case, facts in opened.of(rung).provenance.get("alignment", {}).items()
        if (said := "; ".join(_remarks(facts)))
    ]


def _remarks(facts: Mapping[str, Any]) -> Iterator[str]:
    unpaired = facts["frames"] - facts["matched"]
    if unpaired:
        yield (
            f"{facts['matched']} of {facts['frames']} frames have a dumped frame, {facts['dropped']} were dropped, "
            f"{facts['not_recorded']} not recorded and not compared"
        )
    if facts["time_offset"] == "estimated":
        yield f"an estimated offset of {facts['time_offset_ms']:.6g} ms was taken from the dump's times"
    yield from facts.get("notes", ())


def unasked_dumps(cases: Sequence[Case], rungs: Sequence[Rung]) -> list[RunWarning]:
    """One warning for each dump that some cases have and no rung compares.

    A dump may hold inputs alone, for `trueline diagnose`; what it holds is not read here.
    """
    asked = {rung.engine.partition("@")[0] for rung in rungs if family(rung.engine) == "recorded"}
    having: dict[str, list[str]] = {}
    for case in cases:
        dumps = case.outputs()
        for name in dumps:
            if f"recorded:{name}" not in asked and not (len(dumps) == 1 and "recorded" in asked):
                having.setdefault(name, []).append(case.id)
    return [
        RunWarning(
            "recording",
            f"{counted(len(ids), 'case')} ({', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''}) "
            f"{'has' if len(ids) == 1 else 'have'} a dump {name!r} that no rung compares; add recorded:{name} to "
            "--engines where it holds what the car's engine gave",
        )
        for name, ids in having.items()
    ]


def guessed_parts(card: Card) -> list[RunWarning]:
    """One warning for all that the card says is a guess."""
    if not card.unconfirmed:
        return []
    parts = ", ".join(card.unconfirmed)
    return [RunWarning("unconfirmed", f"the card says that these are guesses which nobody has confirmed: {parts}")]
