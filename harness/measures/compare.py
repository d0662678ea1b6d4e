"""Chunks of outputs and lines become rows of the run tables: every rung against the root of the ladder and its parent.

The root's lines are tracked; a line of another rung takes the track of the root's line it matches. One `RungMeter` a
rung, one `FloorMeter` a probe (an engine against itself); this module only hands each the lines it needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from cases.case import Case
from harness.lines.chunk import Chunk
from harness.measures.events import Event
from harness.measures.floor import FloorMeter
from harness.measures.measured import measured
from harness.measures.rung_meter import RungMeter
from harness.measures.scope import CaseScope
from harness.measures.sections import OVERLAP_S, SECTION_FRAMES
from harness.model.card import Card
from harness.run.folder import TakesRows
from harness.run.rungs import Probe, Rung

__all__ = ["Comparer"]


class Comparer:
    """Compares the rungs of one case chunk by chunk and writes its tables; use it with `with`.

    Args:
        card: the model.
        case: the case.
        rungs: the ladder, the root first.
        slots: of each rung's decoder, by rung.
        parts: takes the rows.
        probes: engines against themselves; chunks hold their outputs under the names of their rungs.
    """

    def __init__(
        self,
        card: Card,
        case: Case,
        rungs: Sequence[Rung],
        slots: Mapping[str, int],
        parts: TakesRows,
        probes: Sequence[Probe] = (),
    ) -> None:
        self._scope = CaseScope(case, card, rungs[0].name, parts)
        self._meters = [RungMeter(rung, self._scope, slots[rung.name]) for rung in rungs]
        self._floors = [FloorMeter(probe, self._scope.grid, self._scope.clock) for probe in probes]
        self.frames_done, self._section_frames = 0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for meter in self._meters:
            meter.close()
        for floor in self._floors:
            floor.close()

    def add(self, chunk: Chunk) -> None:
        """Measure one chunk; chunks come in the order of time, and none reaches over a multiple of SECTION_FRAMES."""
        self._scope.tick(chunk.frames, chunk.timestamps_ns)
        lines = {meter.name: meter.measure(chunk) for meter in self._meters}
        for meter in self._meters:
            meter.compare(chunk, lines, self.frames_done)
        for floor in self._floors:
            base, again = (chunk.outputs[rung.name] for rung in (floor.probe.base, floor.probe.rung))
            floor.add(base, again, lines[floor.probe.base.name], measured(again, self._scope.grid))
        self.frames_done += len(chunk.frames)
        self._section_frames += len(chunk.frames)
        if self._section_frames >= SECTION_FRAMES:
            self._end_section()

    def _end_section(self) -> None:
        """Measure over time what is there; what follows sees the last of it as context."""
        clock, self._section_frames = self._scope.clock, 0
        context = clock.since(OVERLAP_S)
        for meter in self._meters:
            meter.end_section(context)
        for floor in self._floors:
            floor.end_section(context)
        clock.forget(context)

    def note(self, events: Mapping[str, Sequence[Event]]) -> None:
        """Add events that are known already, of engines by name, to every rung that runs them."""
        for meter in self._meters:
            meter.note(events.get(meter.engine, ()))

    @property
    def frames(self) -> dict[str, int]:
        """Frames that each rung ran so far."""
        return {meter.name: meter.frames for meter in self._meters}

    @property
    def lines(self) -> dict[str, int]:
        """Lines that each rung drew so far."""
        return {meter.name: meter.lines for meter in self._meters}

    def finish(self) -> None:
        """Write what needs the whole case."""
        for meter in self._meters:
            meter.finish()
        for floor in self._floors:
            for row in floor.rows():
                self._scope.parts.add("floors", row)
