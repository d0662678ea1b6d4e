"""What the meters of one case share."""

from __future__ import annotations

from dataclasses import dataclass, field

from cases.case import Case
from harness.lines.chunk import Ints
from harness.lines.table import LineTable
from harness.measures.clock import Clock
from harness.measures.ego_path import Steps, steps_of
from harness.measures.truth import TruthLines, truth_lines
from harness.measures.way import Way
from harness.model.card import Card
from harness.model.grid import Grid
from harness.run.folder import TakesRows

__all__ = ["CaseScope"]


@dataclass(frozen=True)
class CaseScope:
    """One case under measurement.

    Attributes:
        case: the case.
        card: the model.
        root: name of the reference rung.
        parts: takes the rows.
        grid: stations and thresholds of the card.
        clock: times and ego motion so far.
        truth: ground truth in the model's frame, followed over time; None where there is none.
        labelled: frames with ground truth.
        steps: moments at which lines are held against the way of the car, by delay; None where it is not known.
    """

    case: Case
    card: Card
    root: str
    parts: TakesRows
    grid: Grid = field(init=False)
    clock: Clock = field(init=False, default_factory=Clock)
    truth: TruthLines | None = field(init=False)
    labelled: Ints = field(init=False)
    steps: tuple[Steps, ...] | None = field(init=False)

    def __post_init__(self) -> None:
        same_frame = self.vehicle == (self.case.meta.truth_frame == "vehicle")
        truth = self.case.truth() if same_frame else None
        object.__setattr__(self, "grid", self.card.grid)
        lines = None if truth is None else truth_lines(LineTable.from_polars(truth), self.card.grid)
        object.__setattr__(self, "truth", lines)
        object.__setattr__(self, "labelled", self.case.labelled_frames())
        way = Way.of(self.case.moments) if self.vehicle else None
        object.__setattr__(self, "steps", None if way is None else steps_of(way, self.grid))

    @property
    def vehicle(self) -> bool:
        """Lines are in metres around the vehicle, not in pixels."""
        return self.card.frame == "vehicle"

    def tick(self, frames: Ints, timestamps_ns: Ints) -> None:
        """Tell the clock of the next frames, with the ego motion the case knows."""
        known = self.case.ego(frames)
        ego = {name: known[name] for name in ("speed_mps", "yaw_rate_radps", "yaw_rad") if name in known}
        self.clock.tick(frames, timestamps_ns, **ego)
