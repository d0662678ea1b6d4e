"""One cell of a sweep: one disturbance on one case, measured against the case as it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cases.case import Case
from harness.errors import CannotTell
from harness.lines.table import LineTable, concat
from harness.model.card import Card
from harness.sweep.disturbance import Amount, Disturbance
from harness.sweep.expected import Displacement, displacement_of, drawn_range
from harness.sweep.input_change import InputChange, Steps, eight_bit_steps
from harness.sweep.measuring import CaseMeasure, follow, unmoved
from harness.sweep.running import Clip, Model, run_case
from trueline import TruelineError

__all__ = ["OneCase", "Undone", "measure_cell", "undo"]


@dataclass(frozen=True)
class OneCase:
    """A case with the lines of its undisturbed pictures, and what an 8-bit step is in its tensors."""

    case: Case
    clean: LineTable
    steps: Steps

    @classmethod
    def of(cls, model: Model, case: Case, ran: Callable[[], None] = lambda: None) -> OneCase:
        """Run the case as it is."""
        steps = eight_bit_steps(model.card, case, model.pipeline)
        return cls(case, concat([clip.outputs.lines for clip in run_case(model, case, ran=ran)]), steps)


def measure_cell(
    model: Model, one: OneCase, amounts: Sequence[Amount], seed: int, ran: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Every number of a cell (harness/sweep/measuring.py), and how it went.

    Returns:
        status: `ok`; `cannot tell`: it makes no sense here, or what the true line does is not known, and `reason` says
        why; `crashed`: the model failed on a disturbed picture.
    """
    try:
        return {"status": "ok", "reason": ""} | _measured(model, one, amounts, seed, ran)
    except CannotTell as error:
        return {"status": "cannot tell", "reason": error.what}
    except TruelineError as error:
        return {"status": "crashed", "reason": f"{error.what} ({error.where})"}


def _measured(
    model: Model, one: OneCase, amounts: Sequence[Amount], seed: int, ran: Callable[[], None]
) -> dict[str, Any]:
    card, case = model.card, one.case
    disturbance = Disturbance(card, case, amounts, seed)
    change = InputChange(card, case, model.pipeline, one.steps)
    clips = [_without_tensors(clip) for clip in run_case(model, case, disturbance, change.add, ran)]
    lines = concat([clip.outputs.lines for clip in clips])
    undone = undo(card, one, disturbance, lines)
    slots = model.runner().reading.decoder.decoder.slots
    with CaseMeasure(card, case, model.name, slots, undone.clean) as measure:
        for clip in clips:
            back = replace(clip.outputs, lines=undone.back(clip.outputs.lines))
            measure.add(clip.frames, clip.timestamps_ns, back)
        found = measure.numbers()
    found |= {"input_rms": _known(change.rms), "unmoved": unmoved(one.clean, lines, card.grid)}
    return found | {"follow": _known(undone.share)}


@dataclass(frozen=True)
class Undone:
    """A comparison without what truly moved.

    Attributes:
        clean: the undisturbed lines, cut to what can have been drawn of them.
        share: of the true movement that the lines made; NaN where nothing moves.
        back: takes lines of the disturbed picture back.
    """

    clean: LineTable
    share: float
    back: Callable[[LineTable], LineTable]


def undo(card: Card, one: OneCase, disturbance: Disturbance, lines: LineTable) -> Undone:
    """How lines of a disturbed picture are to be compared (harness/sweep/expected.py).

    Args:
        card: the model.
        one: the case.
        disturbance: of its pictures.
        lines: what the model drew of them.

    Raises:
        CannotTell: where the true line goes is not known.
    """
    whole = _way(card, one.case, disturbance, 1.0)
    if whole is None:
        return Undone(one.clean, math.nan, lambda lines: lines)
    share = follow(one.clean, whole.moved(one.clean), lines, card.grid)
    taken = float(np.clip(share, 0, 1)) if math.isfinite(share) else 1.0
    away, drawn = _way(card, one.case, disturbance, taken), drawn_range(one.clean, card.grid)
    assert away is not None  # as whole is not
    return Undone(away.cut(one.clean, drawn), share, lambda lines: away.taken_back(lines, drawn))


def _way(card: Card, case: Case, disturbance: Disturbance, share: float) -> Displacement | None:
    move = disturbance.moved_by(share)
    return displacement_of(card, case, move) if move is not None else None


def _without_tensors(clip: Clip) -> Clip:
    """What is measured of a clip; its tensors would fill the memory."""
    return clip._replace(outputs=replace(clip.outputs, stacked={}))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
