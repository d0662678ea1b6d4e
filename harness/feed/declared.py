"""Where a recording contradicts a pipeline: it declares one colour matrix or range, a step is told another.

Only what somebody declared counts: a case whose colours are the customary guess (`color_assumed`) contradicts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cases.case import Case
from cases.errors import CaseError
from cases.picture import Picture
from harness.feed.preprocess.mixing import checked_steps
from harness.feed.preprocess.ops import OPS
from harness.model.card import Card

__all__ = ["Contradiction", "contradictions"]

RECORDING = "the recording"
_YCBCR = ("nv12", "yuv420p")
_READS = ("to_rgb", "to_bgr", "to_gray")  # ops that read YCbCr planes
_GUESS = {"matrix": "bt601", "range": "limited"}  # what an import assumes where nobody said


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A step is told something else than what the picture that reaches it is.

    Attributes:
        input: of the card.
        pipeline: `train` or `deploy`.
        step: name of the step.
        option: `matrix` or `range`.
        declared: what the picture is.
        told: what the step takes it for.
        by: who says what it is: RECORDING, or `step NAME` that encoded it.
        cases: ids of the cases in which it is so.
    """

    input: str
    pipeline: str
    step: str
    option: str
    declared: str
    told: str
    by: str
    cases: tuple[str, ...]

    @property
    def words(self) -> str:
        """`the recording declares bt709, deploy is told bt601`."""
        says = "declares" if self.by == RECORDING else "encodes"
        return f"{self.by} {says} {self.declared}, {self.pipeline} is told {self.told}"

    @property
    def warning(self) -> str:
        """The words with input, step and cases: one line of run.json's `warnings`."""
        more = f" and {len(self.cases) - 3} more" if len(self.cases) > 3 else ""
        where = f"input {self.input}, step {self.step}, option {self.option}; case {', '.join(self.cases[:3])}{more}"
        return f"{self.words} ({where})"


def contradictions(card: Card, cases: Sequence[Case]) -> tuple[Contradiction, ...]:
    """Every contradiction of the card's pipelines with the first picture of each case.

    A case whose first picture cannot be read is left out: its replay says what is wrong with it.

    Raises:
        PreprocessError: a step is wrong.
    """
    found: dict[tuple[str, str, str, str, str, str, str], list[str]] = {}
    for case in cases:
        for spec in card.inputs:
            kind, _, camera = spec.source.partition(".")
            if kind != "camera" or (picture := _first_picture(case, camera)) is None:
                continue
            for pipeline in ("train", "deploy"):
                steps = checked_steps(card.preprocess.steps_of(spec.name, pipeline), f"preprocess.{pipeline}")
                for one in _of_picture(steps, _declared(case, camera, picture)):
                    found.setdefault((spec.name, pipeline, *one), []).append(case.id)
    return tuple(Contradiction(*key, tuple(ids)) for key, ids in found.items())


def _first_picture(case: Case, camera: str) -> Picture | None:
    if camera not in case.cameras:
        return None
    with suppress(CaseError):
        return next((tick.pictures[camera] for tick in case.ticks([camera])), None)
    return None


def _declared(case: Case, camera: str, picture: Picture) -> dict[str, str]:
    """`matrix` and `range` of a YCbCr picture, those that somebody declared."""
    if picture.pixel_format not in _YCBCR:
        return {}
    seen = {"matrix": str(picture.color_matrix), "range": str(picture.color_range)}
    guessed = case.meta.cameras[camera].color_assumed
    return {key: value for key, value in seen.items() if not (guessed and value == _GUESS[key])}


def _of_picture(
    steps: Sequence[Mapping[str, Any]], declared: dict[str, str]
) -> Iterator[tuple[str, str, str, str, str]]:
    """(step, option, declared, told, by) down to the step that reads the planes; a step of the card's own ends it."""
    by = RECORDING
    for step in steps:
        if step["op"] not in OPS:
            return
        if step["op"] == "nv12":
            declared, by = {key: step[key] for key in _GUESS}, f"step {step['step']}"
        if step["op"] in _READS:
            for option, value in declared.items():
                if step[option] not in ("declared", value):
                    yield step["step"], option, value, step[option], by
            return
