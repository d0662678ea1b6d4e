"""A hypothesis of what the car does: the steps of its pipeline, the camera, and which picture is shown when."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from harness.feed.preprocess.mixing import same_step

__all__ = ["GEOMETRY", "OWN", "READS_PLANES", "WHOLE", "Chain", "Edit", "Step", "Timing", "changed_steps"]

Step = Mapping[str, Any]

READS_PLANES = ("to_rgb", "to_bgr", "to_gray")
GEOMETRY = ("undistort", "crop", "resize", "letterbox", "warp")
WHOLE = 0.75  # for `Edit.shows`: a swap, a matrix or a range is there or not
OWN = "harness.diagnosis.steps:"  # ops that only a diagnosis has, and that a card may name


@dataclass(frozen=True)
class Timing:
    """Which picture stands for the moment at a position: the one `lag` moments ago, held for `hold` moments.

    Attributes:
        lag: moments, negative where the picture is of a later one.
        hold: every picture is shown so many times; 1 shows each once.
        phase: position, modulo `hold`, at which a new picture comes.
        stuck: position after which no new picture comes; None: never.
    """

    lag: int = 0
    hold: int = 1
    phase: int = 0
    stuck: int | None = None

    def source(self, position: int) -> int:
        """Position of the picture that is shown."""
        at = position if self.stuck is None else min(position, self.stuck)
        return at - (at - self.phase) % self.hold - self.lag


@dataclass(frozen=True)
class Chain:
    """A pipeline that may be what the car runs.

    Attributes:
        steps: checked steps, every default filled in.
        camera: whose pictures.
        timing: which of them.
    """

    steps: tuple[Step, ...]
    camera: str
    timing: Timing = field(default_factory=Timing)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Every step as text, for caches and comparisons."""
        return tuple(json.dumps(step, sort_keys=True) for step in self.steps)

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells two chains apart."""
        return (self.keys, self.camera, self.timing)

    def index(self, ops: Iterable[str]) -> int | None:
        """Position of the first step with one of these ops."""
        wanted = tuple(ops)
        return next((i for i, step in enumerate(self.steps) if step["op"] in wanted), None)

    def last(self, ops: Iterable[str]) -> int | None:
        """Position of the last step with one of these ops."""
        wanted = tuple(ops)
        return next((i for i in reversed(range(len(self.steps))) if self.steps[i]["op"] in wanted), None)

    def named(self, step: str) -> int | None:
        """Position of the step of a name."""
        return next((i for i, s in enumerate(self.steps) if s["step"] == step), None)

    def after_geometry(self) -> int:
        """Where a step of the network's own size stands: behind all that reads, moves and resizes pixels."""
        own = (i + 1 for i, s in enumerate(self.steps) if s["op"] in (*READS_PLANES, *GEOMETRY) or _moves(s))
        return max(own, default=0)

    def after_colour(self) -> int:
        """Where a step of the recorded picture's size stands: behind what reads the planes."""
        at = self.last(READS_PLANES)
        return 0 if at is None else at + 1

    def put(self, at: int, step: Step) -> Chain:
        """With one more step; None of its name may be there."""
        return replace(self, steps=(*self.steps[:at], step, *self.steps[at:]))

    def without(self, at: int) -> Chain:
        """With one step less."""
        return replace(self, steps=(*self.steps[:at], *self.steps[at + 1 :]))

    def changed(self, at: int, **options: Any) -> Chain:
        """With other options, or another op, of one step."""
        return replace(self, steps=(*self.steps[:at], {**self.steps[at], **options}, *self.steps[at + 1 :]))


def _moves(step: Step) -> bool:
    return step["op"] in (f"{OWN}resized", f"{OWN}moved", f"{OWN}flipped")


@dataclass(frozen=True)
class Edit:
    """One thing that the car may do otherwise than declared.

    Attributes:
        name: its class, a key of `CLASSES`.
        slot: what it changes; a hypothesis changes no slot twice.
        words: in words, with its numbers.
        change: puts it into a chain; None where the chain has no place for it.
        free: numbers that were fitted to the car's tensors.
        place: where it stands along the pipeline, for the order in which edits are told.
        numbers: what was fitted, by name.
        softens: whether it takes a rounding away: that alone brings the picture closer to any noisy one.
        shows: share of what it changes that must be in the car's pictures for it to be believed below the noise; 0:
            it never is, because a codec or a sensor does much the same.
        rival: what a codec does of it: below the noise that must be beaten too.
        closer: edits of the same kind with better numbers, of what the chain with this edit renders; None where there
            are no numbers to better.
    """

    name: str
    slot: str
    words: str
    change: Callable[[Chain], Chain | None]
    free: int = 0
    place: int = 0
    numbers: Mapping[str, float] = field(default_factory=dict)
    softens: bool = False
    shows: float = 0.0
    rival: Edit | None = None
    closer: Callable[[Any], Sequence[Edit]] | None = None


def changed_steps(declared: Chain, found: Chain) -> tuple[list[Step], list[str]]:
    """Steps of `found` that the declared chain lacks or has otherwise, and names of those it has no more."""
    before = {str(s["step"]): s for s in declared.steps}
    new = [s for s in found.steps if not same_step(before.get(str(s["step"])), s)]
    names = {str(s["step"]) for s in found.steps}
    return new, [name for name in before if name not in names]
