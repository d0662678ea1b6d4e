"""One case through every rung: the loop of a replay.

Frames stream in; each preprocessing variant makes its tensors once a frame and every rung of that variant runs on them.
Outputs are collected into chunks whose size in bytes is bounded, so everything after the engine (decoding, matching,
metrics) works on many frames at once and memory does not grow with the clip. Pictures and tensors are made ahead of the
engines, chunks are measured behind them (stages.py).
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cases.case import Case
from engines.errors import ModelLoadError
from engines.foreign import guarded
from engines.protocol import keeps_state
from engines.registry import family
from harness.feed.inputs import InputBuilder, cameras_of, context_of, initial_state
from harness.feed.preprocess import SharedSteps
from harness.measures.sections import SECTION_FRAMES
from harness.model.card import Card
from harness.replay.batches import RowCheck
from harness.replay.case_measuring import CaseMeasuring, Collected, of_case
from harness.replay.failure import Failure
from harness.replay.feeding import Feed, bytes_of, fed
from harness.replay.open import Opened
from harness.replay.outputs import OutputCheck
from harness.replay.own_batches import OwnBatches, may_batch
from harness.replay.rung_decoders import decoder_of
from harness.replay.rung_loop import Group, Runner
from harness.replay.rung_reading import Reading
from harness.replay.stages import Behind, ahead
from harness.run.rungs import LAB_DECODER, Probe, Rung
from trueline import TruelineError

if TYPE_CHECKING:
    from harness.replay.hooks import Progress

__all__ = ["Ladder", "replay_case"]

CHUNK_BYTES = 96 * 2**20  # one chunk is collected while another is measured
CHUNK_FRAMES = 512


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

    def _runner(self, rung: Rung) -> Runner:
        engine = self.opened.of(rung)
        optional = tuple(self.card.state) if family(rung.engine) == "recorded" else ()
        return Runner(
            Reading(rung, decoder_of(self.card, rung), required=rung == self.rungs[0]),
            engine,
            OutputCheck(self.card.outputs, rung.name, optional),
            initial_state(self.card),
            self.card.state,
            batch=1 if engine.uses_time or keeps_state(engine) else self.batch,
            failure=self.refused.get(rung.engine) or self.opened.failed.get(rung.name),
            own=OwnBatches(engine) if self.batch == 1 and not self.probes and may_batch(self.card, engine) else None,
        )


def replay_case(
    ladder: Ladder, case: Case, out: Path, progress: Progress, later: Behind, *, rows_tried: bool = False
) -> None:
    """Run the engines on one case; its lines and measures follow in `later`, and its part files at the end of that.

    Args:
        ladder: what runs.
        case: the case.
        out: run folder.
        progress: told of every frame.
        later: the stage behind; an error there, of this case or the one before, is raised here.
        rows_tried: whether the rows of batches were tried on this case: what is wrong with them is told here.

    Raises:
        TruelineError: the case cannot be read, or the reference failed; another rung's failure is its own status.
    """
    runners, total = ladder.runners(), case.length
    measuring = CaseMeasuring(ladder, case, runners, out)
    later.hold(measuring)
    told = partial(progress, case.id)
    try:
        with of_case(case):
            _start(case, runners)
        for chunk in _chunks(ladder.card, case, runners, ladder.batch, lambda n: told(n, total)):
            later.submit(partial(measuring.add, chunk))
            del chunk
        later.submit(partial(measuring.finish, ladder.checks if rows_tried else ()))
    except TruelineError:
        later.drain()  # an error of a frame before this one comes first
        raise


def _start(case: Case, runners: Sequence[Runner]) -> None:
    """Tell every engine of the case; the rungs of one that cannot begin are not run."""
    context = context_of(case)
    for engine, rung in {id(r.engine): (r.engine, r.name) for r in runners}.values():
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
) -> Iterator[Collected]:
    """Run frames; a chunk is handed on whenever its outputs are complete. `ran` is told how many frames there were."""
    groups = _groups(runners)
    shared: defaultdict[str, SharedSteps] = defaultdict(SharedSteps)
    feeds = [
        Feed(partial(InputBuilder, card, case, variant, shared), partial(_wanted, group), group.needs_inputs)
        for variant, group in groups.items()
    ]
    ticks = case.ticks(cameras_of(card), pictures=any(feed.needed for feed in feeds))
    frames, times, limit = array("q"), array("q"), 0
    with of_case(case), ahead(fed(ticks, feeds), bytes_of) as moments:
        for count, moment in enumerate(moments, start=1):
            for group, tensors in zip(groups.values(), moment.tensors, strict=True):
                group.step(tensors, moment.frame, moment.timestamp_ns)
            ran(count)
            frames.append(moment.frame)
            times.append(moment.timestamp_ns)
            if not limit and len(frames) >= batch:
                limit = _chunk_frames(runners, batch)
            if limit and (len(frames) >= limit or count % SECTION_FRAMES == 0):
                for group in groups.values():
                    group.flush()
                yield _collected(frames, times, runners)
                frames, times = array("q"), array("q")
        for group in groups.values():
            group.flush()
        if frames:
            yield _collected(frames, times, runners)


def _groups(runners: Sequence[Runner]) -> dict[str, Group]:
    """Runners by preprocessing variant."""
    by_variant: dict[str, list[Runner]] = {}
    for runner in runners:
        by_variant.setdefault(runner.reading.rung.preprocess, []).append(runner)
    return {variant: Group(group) for variant, group in by_variant.items()}


def _wanted(group: Group) -> bool:
    return group.wanted


def _collected(frames: array[int], times: array[int], runners: Sequence[Runner]) -> Collected:
    return Collected(np.array(frames), np.array(times), [runner.taken() for runner in runners])


def _chunk_frames(runners: Sequence[Runner], batch: int) -> int:
    """How many frames' outputs fit in the budget, from the outputs of the first frame; whole batches."""
    frame_bytes = sum(a.nbytes for r in runners for o in r.collected[:1] for a in o.values())
    frames = int(np.clip(CHUNK_BYTES // max(frame_bytes, 1), 1, CHUNK_FRAMES))
    return max(frames // batch, 1) * batch
