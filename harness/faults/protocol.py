"""What a fault is, and what planting one gives a replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from engines.protocol import Tensors
from harness.model.card import Card
from harness.replay.hooks import Hooks

__all__ = ["Change", "Control", "Fault", "Plant", "Planted"]

Change = Callable[[Tensors, float, int], Tensors]
"""(outputs of one frame, seconds since the case's first frame, number of the frame) -> outputs."""


@dataclass(frozen=True)
class Planted:
    """A card and hooks that a replay runs instead of its own.

    Attributes:
        card: its deploy pipeline may differ.
        hooks: its engines may differ.
        step: name of the preprocessing step that was changed, None where none was.
        car: what happens to the outputs of each frame on their way into the car's recording, None where nothing does.
    """

    card: Card
    hooks: Hooks = field(default_factory=Hooks)
    step: str | None = None
    car: Change | None = None


Plant = Callable[[Card, Path], Planted]
"""Takes the card and a folder for files it makes. Raises FaultError where the model has no place for it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One deployment fault.

    Attributes:
        name: as reports and commands write it.
        stage: where it truly sits, one of `rungs.STAGES`.
        moves: the metric or the kind of event that must show it.
        summary: what went wrong on the car, in one line.
        plant: puts it into the chain.
    """

    name: str
    stage: str
    moves: str
    summary: str
    plant: Plant


@dataclass(frozen=True, slots=True)
class Control:
    """A change that is no fault: flagging it would be a false alarm."""

    name: str
    summary: str
    plant: Plant
