"""A case through the pipeline, the engine and the decoder, chunk by chunk, whatever was made of its pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cases.case import Case
from cases.picture import Tick
from engines.guest import read_only
from engines.protocol import Engine, Tensors
from harness.feed.inputs import InputBuilder, cameras_of, context_of, initial_state
from harness.lines.chunk import Ints, RungOutputs
from harness.model.card import Card
from harness.replay.outputs import OutputCheck
from harness.replay.rung_decoders import decoder_of
from harness.replay.rung_loop import Runner
from harness.replay.rung_reading import Reading
from harness.run.rungs import Rung
from harness.sweep.disturbance import Disturbance

__all__ = ["Clip", "Model", "run_case"]

CHUNK_BYTES, CHUNK_FRAMES = 64 * 2**20, 256

Watch = Callable[[Tick, Tensors], None]


@dataclass(frozen=True)
class Model:
    """What runs: a card's model on one engine behind one pipeline."""

    card: Card
    engine: Engine
    name: str
    pipeline: str = "deploy"

    @property
    def rung(self) -> Rung:
        """As a replay would call it."""
        return Rung(self.pipeline, self.name)

    def runner(self) -> Runner:
        """A fresh one, for one case; what goes wrong is raised."""
        rung, card = self.rung, self.card
        return Runner(
            Reading(rung, decoder_of(card, rung), required=True),
            self.engine,
            OutputCheck(card.outputs, rung.name, ()),
            initial_state(card),
            card.state,
        )


class Clip(NamedTuple):
    """Consecutive frames: numbers, times, outputs and lines."""

    frames: Ints
    timestamps_ns: Ints
    outputs: RungOutputs


def run_case(
    model: Model,
    case: Case,
    disturbance: Disturbance | None = None,
    watch: Watch | None = None,
    ran: Callable[[], None] = lambda: None,
) -> Iterator[Clip]:
    """Run a case from its first frame on.

    Args:
        model: what runs.
        case: the case.
        disturbance: of its pictures; None: as they are.
        watch: told every moment as it is, and the tensors that the network got instead.
        ran: called after every frame.

    Raises:
        TruelineError: a picture, the pipeline, the engine or the decoder failed.
    """
    runner, build = model.runner(), InputBuilder(model.card, case, model.pipeline)
    model.engine.start_case(context_of(case))
    frames: list[int] = []
    times: list[int] = []
    held: Tensors = {}
    originals = _Remembered(case.ticks(cameras_of(model.card)))
    moments = disturbance.moments(originals) if disturbance else ((tick, True) for tick in originals)
    for tick, fed in moments:
        if fed:
            tensors = read_only(build(tick))
            runner.step(tensors, tick.frame, tick.timestamp_ns)
            held = runner.collected[-1]
            if watch:
                watch(originals.last, tensors)
        else:
            _hold(runner, held)
        ran()
        frames.append(tick.frame)
        times.append(tick.timestamp_ns)
        if len(frames) >= CHUNK_FRAMES or len(frames) * sum(v.nbytes for v in held.values()) >= CHUNK_BYTES:
            yield _clip(runner, frames, times)
            frames, times = [], []
    if frames:
        yield _clip(runner, frames, times)


class _Remembered:
    """Ticks, of which the last one is remembered."""

    def __init__(self, ticks: Iterator[Tick]) -> None:
        self._ticks = ticks
        self.last: Tick

    def __iter__(self) -> Iterator[Tick]:
        for tick in self._ticks:
            self.last = tick
            yield tick


def _hold(runner: Runner, held: Tensors) -> None:
    """A frame without a run: what was given last stands."""
    runner.collected.append(held)
    runner.valid.append(True)
    runner.ran.append(True)


def _clip(runner: Runner, frames: list[int], times: list[int]) -> Clip:
    numbers = np.array(frames, np.int64)
    return Clip(numbers, np.array(times, np.int64), runner.reading.take(runner.taken(), numbers, {}))
