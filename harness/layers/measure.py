"""Node by node: what each adds, what has come together before it, and how far it alone moves the lines.

A node is switched for real: fp32 computes all that lies before it, the other engine's form of the node computes its
tensor from that, and fp32 computes what follows up to the decoder's lines. Recurrent inputs are zero. One frame is in
memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cases.case import find_cases, open_case
from engines.layers.numbers import LIMITS, Tally
from engines.layers.origins import Origin, origins_of
from engines.layers.parts import part_of
from engines.layers.walk import Step, Unit, units_of, walk
from harness.errors import UsageError
from harness.feed.inputs import Moment, spread_moments
from harness.layers.suffixes import Reference, Suffixes
from harness.layers.table import LayerRow, LayerTable, Reason
from harness.layers.versus import Versus, versus
from harness.lines.decode import build_decoder
from harness.measures.movement import Movement, Moving
from harness.model.card import DEFAULT_CACHE, Card
from harness.replay.environment import roomy_heap
from harness.replay.hooks import Progress, quiet

if TYPE_CHECKING:
    from engines.protocol import Tensors

__all__ = ["FRAMES", "layers"]

FRAMES = 10


def layers(
    card: Card,
    cases: Iterable[Path],
    *,
    a: str = "ort-fp32",
    b: str = "emulated-fp16",
    frames: int = FRAMES,
    cache: Path = DEFAULT_CACHE,
    progress: Progress | None = None,
) -> LayerTable:
    """Look at every node of a network.

    Args:
        card: the model.
        cases: case folders, or folders of them; frames go through the deploy pipeline.
        a: the engine that is taken to be right.
        b: the engine whose nodes are looked at.
        frames: how many, spread evenly over the cases.
        cache: folder of prepared artefacts.
        progress: told ("nodes", done, total).

    Raises:
        UsageError: no frame, or engines that cannot be held against each other.
        TruelineError: the model, a case or the decoder cannot be used.
    """
    opened = [open_case(path) for path in find_cases(cases)]
    if not any(len(case.frame_numbers) for case in opened):
        raise UsageError("there are no frames", where="--cases", remedy="give cases that have frames")
    against = versus(card, opened, a, b, cache)
    try:
        moments = [moment for moment in spread_moments(card, opened, frames) if against.take(moment)]
        if not moments:
            raise UsageError(
                f"{b} has none of the frames",
                where="--b",
                remedy="give cases whose recording matches, or more --frames",
            )
        with roomy_heap():
            return _Look(card, against, moments, progress or quiet).table(a, b)
    finally:
        against.close()


@dataclass
class _Seen:
    """One unit over the frames so far."""

    unit: Unit
    tally: Tally
    moving: Moving
    reason: Reason = "adds nothing"
    switched: int = 0


class _Look:
    """One look at a network, frame after frame."""

    def __init__(self, card: Card, against: Versus, moments: Sequence[Moment], progress: Progress) -> None:
        network, plugins = against.network, card.source().plugins
        self._card, self._against, self._moments, self._progress = card, against, moments, progress
        self._decoder, self._plugins = build_decoder(card), plugins
        self._whole = part_of(network, network.outputs, network.inputs, where=card.name, plugins=plugins)
        self._suffixes = Suffixes(network, card.grid, self._decoder, self._reference(moments[0].tensors), plugins)
        units = units_of(network, against.shown)
        limits = LIMITS[against.precision]
        self._seen = [_Seen(unit, Tally(limits), self._suffixes.moving()) for unit in units]

    def table(self, a: str, b: str) -> LayerTable:
        """Walk every frame, and put the table together."""
        whole, floor = Moving(self._card.grid, self._decoder), self._suffixes.moving()
        total = len(self._seen) * len(self._moments)
        for frame, moment in enumerate(self._moments):
            feed = moment.tensors
            self._against.take(moment)
            outputs = self._reference(feed)
            reference = self._suffixes.on(outputs)
            self._rest(floor, reference, feed)
            given: dict[str, Any] = {}
            units = [seen.unit for seen in self._seen]
            steps = walk(self._against.network, units, self._against.other, feed, self._plugins)
            for place, (seen, step) in enumerate(zip(self._seen, steps, strict=True), start=1):
                seen.tally.add(step)
                self._switch(seen, step, reference)
                given |= {name: step.other[name][None] for name in seen.unit.outputs if name in outputs}
                self._progress("nodes", frame * len(self._seen) + place, total)
            whole.add(outputs, given)
        return self._told(a, b, whole.movement(), floor.movement().cost)

    def _reference(self, feed: Tensors) -> dict[str, Any]:
        return {name: array[None] for name, array in self._whole(feed).items()}

    def _rest(self, floor: Moving, reference: Reference, feed: Tensors) -> None:
        """The whole network as a suffix with nothing switched."""
        part = self._suffixes.behind(list(feed), list(feed))
        if part is not None:
            self._suffixes.add(floor, part, reference, feed, {})

    def _switch(self, seen: _Seen, step: Step, reference: Reference) -> None:
        """Switch one unit on one frame."""
        if not step.changes and seen.reason != "switched":
            return
        part = self._suffixes.behind(seen.unit.outputs, step.live.keys())
        if part is None:
            seen.reason = "not on the way to the lines"
            return
        seen.reason, seen.switched = "switched", seen.switched + 1
        self._suffixes.add(seen.moving, part, reference, step.live, step.switched)

    def _told(self, a: str, b: str, whole: Movement, floor: float) -> LayerTable:
        against = self._against
        origins = origins_of(against.network, against.file)
        rows = tuple(_row(seen, origins, against) for seen in self._seen)
        first = next((row.name for row in rows if row.numbers.nonfinite), None)
        return LayerTable(
            self._card.name, a, b, against.how, against.precision, len(self._moments), self._card.grid.unit, rows,
            whole, floor, first, {**against.facts, **against.told()},
        )  # fmt: skip


def _row(seen: _Seen, origins: Mapping[str, Origin], against: Versus) -> LayerRow:
    unit = seen.unit
    came = [origins[name] for name in unit.nodes if name in origins]
    return LayerRow(
        unit.name,
        unit.op,
        tuple(dict.fromkeys(name for origin in came for name in origin.nodes)),
        tuple(dict.fromkeys(name for origin in came for name in origin.modules)),
        against.kernels.get(unit.name, ""),
        seen.tally.numbers(),
        seen.moving.movement() if seen.reason == "switched" else None,
        seen.reason,
        seen.switched,
    )
