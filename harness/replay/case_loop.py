"""One case through every rung: the loop of a replay.

Frames stream in; each preprocessing variant makes its tensors once a frame and every rung of that variant runs on them.
Outputs are collected into chunks whose size in bytes is bounded, so everything after the engine (decoding, matching,
metrics) works on many frames at once and memory does not grow with the clip.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cases.case import Case
from engines.errors import ModelLoadError
from engines.foreign import guarded
from engines.protocol import keeps_state
from engines.registry import family
from harness.feed.inputs import InputBuilder, cameras_of, context_of, initial_state
from harness.lines.chunk import Chunk, Ints, RungOutputs
from harness.measures.compare import Comparer
from harness.model.card import Card
from harness.replay.batches import RowCheck
from harness.replay.failure import Failure
from harness.replay.open import Opened
from harness.replay.outputs import OutputCheck
from harness.replay.rung_decoders import decoder_of
from harness.replay.rung_loop import Group, Reader, Runner
from harness.run.folder import CaseParts
from harness.run.json import read_json, write_json
from harness.run.rungs import LAB_DECODER, Probe, Rung
from trueline import TruelineError

if TYPE_CHECKING:
    from harness.replay.hooks import Progress

__all__ = ["Ladder", "Outcome", "outcome_of", "replay_case"]

CHUNK_BYTES = 192 * 2**20
CHUNK_FRAMES = 512
STATUS = "status.json"


@dataclass(frozen=True)
class Ladder:
    """What runs in every case of a replay.

    Attributes:
        card: the model.
        rungs: the root first.
        opened: engines of the rungs, those of probes among them.
        probes: engines against themselves.
        batch: frames at once.
        refused: engines that cannot run after all, and why.
        checks: of the rows of batches.
    """

    card: Card
    rungs: Sequence[Rung]
    opened: Opened
    probes: Sequence[Probe] = ()
    batch: int = 1
    refused: Mapping[str, Failure] = field(default_factory=dict)
    checks: Sequence[RowCheck] = ()

    def runners(self) -> list[Runner]:
        """A fresh runner for every rung whose engine runs for it, those of probes last."""
        names = {rung.name for rung in self.rungs}
        run = [rung for rung in self.rungs if rung.name + LAB_DECODER not in names]
        return [self._runner(rung) for rung in (*run, *(probe.rung for probe in self.probes))]

    def readers(self, runners: Sequence[Runner]) -> list[Reader]:
        """A fresh reader for every other rung."""
        by_name = {runner.rung.name: runner for runner in runners}
        twins = [(rung, by_name.get(rung.name + LAB_DECODER)) for rung in self.rungs]
        return [Reader(rung, twin, decoder_of(self.card, rung)) for rung, twin in twins if twin]

    def _runner(self, rung: Rung) -> Runner:
        engine = self.opened.of(rung)
        optional = tuple(self.card.state) if family(rung.engine) == "recorded" else ()
        return Runner(
            rung,
            engine,
            decoder_of(self.card, rung),
            OutputCheck(self.card.outputs, rung.name, optional),
            initial_state(self.card),
            self.card.state,
            batch=1 if engine.uses_time or keeps_state(engine) else self.batch,
            required=rung == self.rungs[0],
            failure=self.refused.get(rung.engine) or self.opened.failed.get(rung.name),
        )


def replay_case(ladder: Ladder, case: Case, out: Path, progress: Progress, *, rows_tried: bool = False) -> None:
    """Replay one case and leave its part files in `out`; none are left behind on an error.

    Args:
        ladder: what runs.
        case: the case.
        out: run folder.
        progress: told of every frame.
        rows_tried: whether the rows of batches were tried on this case: what is wrong with them is told here.

    Raises:
        TruelineError: the case cannot be read, or the reference failed; another rung's failure is its own status.
    """
    runners, total = ladder.runners(), len(case.timestamps_ns)
    readers = ladder.readers(runners)
    read: list[Runner | Reader] = [*runners, *readers]
    slots = {r.rung.name: r.decoder.decoder.slots for r in read}
    with (
        CaseParts(out / "parts", case.id) as parts,
        Comparer(ladder.card, case, ladder.rungs, slots, parts, ladder.probes) as comparer,
    ):
        try:
            _start(case, runners)
            told = partial(progress, case.id)
            for frames, timestamps_ns in _chunks(ladder.card, case, runners, ladder.batch, lambda n: told(n, total)):
                comparer.add(Chunk(frames, timestamps_ns, _taken(runners, readers, frames)))
            if rows_tried:
                comparer.note({check.engine: check.events for check in ladder.checks})
            comparer.finish()
        except TruelineError as error:
            raise error.within(f"case {case.id}") from error.__cause__
        for row in _latency(runners[: len(runners) - len(ladder.probes)]):
            parts.add("latency", row)
        failed = {r.rung.name: _in_case(r.failure, case) for r in read if r.failure}
        write_json(parts.folder / STATUS, asdict(Outcome(case.id, failed, comparer.frames, comparer.lines)))
        parts.commit()


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


def _in_case(failure: Failure, case: Case) -> Failure:
    return Failure(failure.status, f"case {case.id}, {failure.reason}")


def _start(case: Case, runners: Sequence[Runner]) -> None:
    """Tell every engine of the case; the rungs of one that cannot begin are not run."""
    context = context_of(case)
    for engine, rung in {id(r.engine): (r.engine, r.rung.name) for r in runners}.values():
        told = replace(context, rung=rung) if keeps_state(engine) else context
        try:
            with guarded(
                lambda cause, name=engine.name: ModelLoadError(  # type: ignore[misc]  # a default binds the name now
                    f"{name} cannot begin a case: {cause}", where=f"engine {name}", remedy="see why"
                )
            ):
                engine.start_case(told)
        except TruelineError as error:
            for runner in runners:
                if runner.engine is engine and not runner.failure:
                    runner.fail(error, "at its start", began=False)


def _chunks(
    card: Card, case: Case, runners: Sequence[Runner], batch: int, ran: Callable[[int], None]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Run frames and yield (frame numbers, timestamps) whenever a chunk's outputs are complete in the runners.

    `ran` is told after every frame how many there were.
    """
    by_variant: dict[str, list[Runner]] = {}
    for runner in runners:
        by_variant.setdefault(runner.rung.preprocess, []).append(runner)
    groups = [Group(partial(InputBuilder, card, case, variant), group) for variant, group in by_variant.items()]
    frames, times, limit = array("q"), array("q"), 0
    for count, tick in enumerate(case.ticks(cameras_of(card)), start=1):
        for group in groups:
            group.step(tick)
        ran(count)
        frames.append(tick.frame)
        times.append(tick.timestamp_ns)
        if not limit and len(frames) >= batch:
            limit = _chunk_frames(runners, batch)
        if limit and len(frames) >= limit:
            yield np.array(frames), np.array(times)
            frames, times = array("q"), array("q")
    for group in groups:
        group.flush()
    if frames:
        yield np.array(frames), np.array(times)


def _taken(runners: Sequence[Runner], readers: Sequence[Reader], frames: Ints) -> dict[str, RungOutputs]:
    """What every runner has collected, in the shapes of the reference's outputs; and what the readers make of it."""
    root = runners[0].take(frames, {})
    shapes = {name: values.shape[1:] for name, values in root.stacked.items()}
    taken = {runners[0].rung.name: root} | {r.rung.name: r.take(frames, shapes) for r in runners[1:]}
    return taken | {r.rung.name: r.take(taken[r.of.rung.name], frames) for r in readers}


def _chunk_frames(runners: Sequence[Runner], batch: int) -> int:
    """How many frames' outputs fit in the budget, from the outputs of the first frame; whole batches."""
    frame_bytes = sum(a.nbytes for r in runners for o in r.collected[:1] for a in o.values())
    frames = int(np.clip(CHUNK_BYTES // max(frame_bytes, 1), 1, CHUNK_FRAMES))
    return max(frames // batch, 1) * batch


def _latency(runners: Sequence[Runner]) -> Iterator[dict[str, Any]]:
    """Median and 99th percentile of `infer`, the first frame left out as warm-up where there are more."""
    for runner in runners:
        elapsed_ms = np.frombuffer(runner.elapsed_ns, np.int64) / 1e6
        elapsed_ms = elapsed_ms[1:] if len(elapsed_ms) > 1 else elapsed_ms
        if len(elapsed_ms):
            p50, p99 = np.percentile(elapsed_ms, [50, 99]).tolist()
            yield {"rung": runner.rung.name, "p50_ms": p50, "p99_ms": p99, "frames": len(elapsed_ms)}
