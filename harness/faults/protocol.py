"""What a fault is, and what planting one gives a replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from engines.protocol import Tensors
from harness.model.card import DEFAULT_CACHE, Card
from harness.replay.hooks import Hooks

__all__ = ["Change", "Control", "Fault", "Plant", "Planted", "Site"]

Change = Callable[[Tensors, float, int], Tensors]
"""(outputs of one frame, seconds since the case's first frame, number of the frame) -> outputs."""


@dataclass(frozen=True)
class Site:
    """Where a fault is planted.

    Attributes:
        card: the model.
        folder: for files that the fault makes.
        cases: case folders of the replay.
        cache: of prepared models.
    """

    card: Card
    folder: Path
    cases: tuple[Path, ...] = ()
    cache: Path = DEFAULT_CACHE


@dataclass(frozen=True)
class Planted:
    """What a replay runs instead of its own.

    Attributes:
        card: its deploy pipeline, or the decoder of the car's rung, may differ.
        hooks: its engines may differ.
        step: name of the preprocessing step that was changed, None where none was.
        car: what happens to the outputs of each frame on their way into the car's recording, None where nothing does.
        batch: frames an engine takes at once.
        cases: case folders in the place of those of the replay; None for those.
    """

    card: Card
    hooks: Hooks = field(default_factory=Hooks)
    step: str | None = None
    car: Change | None = None
    batch: int = 1
    cases: tuple[Path, ...] | None = None


Plant = Callable[[Site, float], Planted]
"""Takes where to plant, and a severity. Raises FaultError where the model has no place for it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One deployment fault.

    Attributes:
        name: as reports and commands write it.
        stage: where it truly sits, one of `rungs.STAGES`.
        summary: what went wrong, in one line.
        plant: puts it into the chain. Severity 1 is the fault as it is met; 0 leaves everything as it was.
        most: the largest severity that means something; 1 for what cannot be more than wholly wrong.
        diagnosis: what `trueline diagnose` must call it, names of harness/diagnosis that all mean it; empty for none.
    """

    name: str
    stage: str
    summary: str
    plant: Plant
    most: float = 1.0
    diagnosis: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Control:
    """A change that is no fault: flagging it would be a false alarm."""

    name: str
    summary: str
    plant: Callable[[Site], Planted]
