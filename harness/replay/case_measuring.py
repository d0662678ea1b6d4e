"""One case behind its engines: lines of their outputs, what they measure, and the part files of it all.

A case is finished when its parts are final, the last thing that happens here; without that nothing of it stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cases.case import Case
from harness.lines.chunk import Chunk, Ints, RungOutputs
from harness.measures.compare import Comparer
from harness.measures.sections import SECTION_FRAMES
from harness.replay.batches import RowCheck
from harness.replay.environment import give_back
from harness.replay.failure import Failure
from harness.replay.rung_decoders import decoder_of
from harness.replay.rung_loop import Runner
from harness.replay.rung_reading import Outputs, Reader, Reading
from harness.run.folder import CaseParts
from harness.run.json import read_json, write_json
from harness.run.rungs import LAB_DECODER
from trueline import TruelineError

if TYPE_CHECKING:
    from harness.replay.case_loop import Ladder

__all__ = ["CaseMeasuring", "Collected", "Outcome", "of_case", "outcome_of"]

STATUS = "status.json"


class Collected(NamedTuple):
    """A chunk of frames as the engines leave it: frame numbers, times, and the outputs of every runner."""

    frames: Ints
    timestamps_ns: Ints
    outputs: list[Outputs]


@contextmanager
def of_case(case: Case) -> Iterator[None]:
    """Errors say which case they are of."""
    try:
        yield
    except TruelineError as error:
        raise error.within(f"case {case.id}") from error.__cause__


class CaseMeasuring:
    """Measures one case; close it, which drops its parts unless `finish` made them final.

    Args:
        ladder: what runs.
        case: the case.
        runners: of the ladder, for this case.
        out: run folder.
    """

    def __init__(self, ladder: Ladder, case: Case, runners: Sequence[Runner], out: Path) -> None:
        self._case, self._runners = case, runners
        self._readers = _readers(ladder, [runner.reading for runner in runners])
        self._probes = len(ladder.probes)
        slots = {r.rung.name: r.decoder.decoder.slots for r in self._all}
        with ExitStack() as stack, of_case(case):
            self._parts = stack.enter_context(CaseParts(out / "parts", case.id))
            self._comparer = stack.enter_context(
                Comparer(ladder.card, case, ladder.rungs, slots, self._parts, ladder.probes)
            )
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Give files and buffers back; may be called twice."""
        self._stack.close()

    @property
    def _all(self) -> list[Reading | Reader]:
        return [*(runner.reading for runner in self._runners), *self._readers]

    def add(self, chunk: Collected) -> None:
        """Measure the next frames.

        Raises:
            TruelineError: the reference failed.
        """
        with of_case(self._case):
            self._comparer.add(Chunk(chunk.frames, chunk.timestamps_ns, self._taken(chunk)))
        if self._comparer.frames_done % SECTION_FRAMES == 0:
            give_back()

    def finish(self, checks: Sequence[RowCheck]) -> None:
        """Measure what needs the whole case, and make its parts final.

        Args:
            checks: of the rows of batches, where they were tried on this case.
        """
        comparer, parts = self._comparer, self._parts
        with of_case(self._case):
            if checks:
                comparer.note({check.engine: check.events for check in checks})
            comparer.finish()
        for row in _latency([runner.reading for runner in self._runners[: len(self._runners) - self._probes]]):
            parts.add("latency", row)
        failed = {name: _in_case(failure, self._case) for name, failure in self._failures()}
        write_json(parts.folder / STATUS, asdict(Outcome(self._case.id, failed, comparer.frames, comparer.lines)))
        parts.commit()
        self.close()
        self._case.forget()

    def _taken(self, chunk: Collected) -> dict[str, RungOutputs]:
        """What every rung gave, in the shapes of the reference's outputs; and what other decoders make of it."""
        frames, readings = chunk.frames, [runner.reading for runner in self._runners]
        root = readings[0].take(chunk.outputs[0], frames, {})
        shapes = {name: values.shape[1:] for name, values in root.stacked.items()}
        others = zip(readings[1:], chunk.outputs[1:], strict=True)
        taken = {readings[0].rung.name: root} | {r.rung.name: r.take(o, frames, shapes) for r, o in others}
        return taken | {r.rung.name: r.take(taken[r.of.rung.name], frames) for r in self._readers}

    def _failures(self) -> Iterator[tuple[str, Failure]]:
        """Rungs that ended early; one that ended before the first frame gave nothing to read."""
        ended = {runner.name: runner.failure for runner in self._runners}
        ended |= {reader.rung.name: ended.get(reader.of.rung.name) for reader in self._readers}
        for one in self._all:
            if failure := one.failure or ended[one.rung.name]:
                yield one.rung.name, failure


@dataclass(frozen=True)
class Outcome:
    """How the rungs of a finished case fared.

    Attributes:
        case: id.
        failed: rungs that ran no (more) frames, with the reason.
        frames: how many frames each rung ran, by rung.
        lines: how many lines it drew in them.
    """

    case: str
    failed: Mapping[str, Failure]
    frames: Mapping[str, int]
    lines: Mapping[str, int]


def outcome_of(out: Path, case: str) -> Outcome:
    """The outcome of a finished case, from its parts."""
    kept = read_json(out / "parts" / case / STATUS)
    failed = {rung: Failure(**failure) for rung, failure in kept["failed"].items()}
    return Outcome(case, failed, kept["frames"], kept["lines"])


def _readers(ladder: Ladder, readings: Sequence[Reading]) -> list[Reader]:
    """A fresh reader for every rung that reads another's outputs."""
    by_name = {reading.rung.name: reading for reading in readings}
    twins = [(rung, by_name.get(rung.name + LAB_DECODER)) for rung in ladder.rungs]
    return [Reader(rung, twin, decoder_of(ladder.card, rung)) for rung, twin in twins if twin]


def _in_case(failure: Failure, case: Case) -> Failure:
    return Failure(failure.status, f"case {case.id}, {failure.reason}")


def _latency(readings: Sequence[Reading]) -> Iterator[dict[str, Any]]:
    """Median and 99th percentile of `infer`, the first frame left out as warm-up where there are more."""
    for reading in readings:
        told = reading.latencies
        if told.calls:
            p50, p99 = told.quantile_ms(0.5), told.quantile_ms(0.99)
            yield {"rung": reading.rung.name, "p50_ms": p50, "p99_ms": p99, "frames": told.calls}
