"""Rungs while they run: outputs, gaps and failures of one rung, and the rungs that share one preprocessing variant.

Frames go to an engine one by one, or with `--batch N` N at a time (batches.py). What depends on time, as a recording of
the car does, always takes them one by one. Engines, decoders and preprocessing may be anybody's code: whatever they
raise is the rung's own failure, and only the reference's is raised further.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns

import numpy as np

from cases.picture import Tick
from engines.errors import EngineCrashed, EngineError, NotRecorded, RecordingGap
from engines.foreign import guarded
from engines.guest import read_only
from engines.protocol import Engine, Tensors
from harness.errors import PreprocessError
from harness.lines.chunk import Ints, RungOutputs
from harness.lines.table import LineTable
from harness.replay.batches import rows_of, stacked
from harness.replay.decoding import Decoded, decode_frames
from harness.replay.failure import Failure
from harness.replay.outputs import OutputCheck, fitted
from harness.replay.rung_decoders import RungDecoder
from harness.run.rungs import Rung
from trueline import TruelineError

__all__ = ["Group", "Reader", "Runner"]


@dataclass
class Runner:
    """One rung during one case.

    Attributes:
        rung: the rung.
        engine: runs it.
        decoder: makes lines of its outputs.
        check: holds outputs against the card.
        state: recurrent inputs of the next frame, by input name.
        feedback: output -> input that are fed back.
        batch: frames it takes at once.
        required: it is the reference: a failure is raised.
        failure: why it runs no (more) frames; None while it does.
    """

    rung: Rung
    engine: Engine
    decoder: RungDecoder
    check: OutputCheck
    state: Tensors
    feedback: Mapping[str, str]
    batch: int = 1
    required: bool = False
    failure: Failure | None = None
    collected: list[Tensors] = field(default_factory=list)
    valid: list[bool] = field(default_factory=list)
    ran: list[bool] = field(default_factory=list)
    elapsed_ns: array[int] = field(default_factory=lambda: array("q"))

    def fail(self, error: TruelineError, place: str, *, began: bool = True) -> None:
        """Run no further frames of this case; the reference raises instead.

        Args:
            error: what happened.
            place: frame, or what was being done.
            began: whether the rung ran at all; without that it is not run, else it crashed.
        """
        if self.required:
            raise error.within(f"reference {self.rung.name}, {place}") from error.__cause__
        status = error.rung_status if isinstance(error, EngineError) and not any(self.valid) else "crashed"
        if not began and not isinstance(error, EngineCrashed):
            status = "not_run"
        self.failure = Failure.of(error, status, place)

    def skip(self, count: int = 1) -> None:
        """Frames that are not run."""
        self.valid += [False] * count
        self.ran += [False] * count

    def step(self, tensors: Tensors, tick: Tick) -> None:
        """Run one frame and keep its outputs."""
        if self.failure:
            return self.skip()
        try:
            outputs = self._infer(tensors | self.state, 1, tick.timestamp_ns)[0]
        except RecordingGap as gap:
            self.valid.append(False)
            self.ran.append(not isinstance(gap, NotRecorded))
            return None
        except TruelineError as error:
            self.fail(error, f"frame {tick.frame}")
            return self.skip()
        self._keep([outputs])
        for out, into in self.feedback.items():
            if out in outputs:
                self.state[into] = outputs[out]
        return None

    def step_batch(self, tensors: Tensors, frames: Sequence[int]) -> None:
        """Run several frames at once, stacked on their first axis, and keep the outputs of each."""
        if self.failure:
            return self.skip(len(frames))
        try:
            self._keep(self._infer(tensors, len(frames)))
        except TruelineError as error:
            self.fail(error, f"frames {frames[0]} to {frames[-1]}")
            self.skip(len(frames))
        return None

    def _infer(self, tensors: Tensors, count: int, now_ns: int = 0) -> list[Tensors]:
        """Outputs of each frame, as the card declares them."""
        with guarded(
            lambda cause: EngineCrashed(f"{self.engine.name} failed: {cause}", where=self.rung.name, remedy="see why")
        ):
            if self.engine.uses_time:
                self.engine.seek(now_ns)
            start = perf_counter_ns()
            outputs = self.engine.infer(tensors)
            elapsed_ns = getattr(self.engine, "told_elapsed_ns", perf_counter_ns() - start)
        frames = [
            self.check(frame) for frame in (rows_of(outputs, count, self.engine.name) if count > 1 else [outputs])
        ]
        self.elapsed_ns.extend([elapsed_ns // count] * count)
        return frames

    def _keep(self, frames: Sequence[Tensors]) -> None:
        self.collected += frames
        self.valid += [True] * len(frames)
        self.ran += [True] * len(frames)

    def take(self, frames: Ints, shapes: Mapping[str, tuple[int, ...]]) -> RungOutputs:
        """Outputs and lines of the chunk of these frames; the next chunk starts empty.

        A frame that the decoder cannot take ends the rung there, as one that the engine cannot run does.

        Args:
            frames: of the chunk.
            shapes: of the reference's outputs, by name; axes of one are added or dropped to fit.
        """
        valid, ran = np.array(self.valid, bool), np.array(self.ran, bool)
        collected, self.collected, self.valid, self.ran = self.collected, [], [], []
        if not collected:
            return RungOutputs(valid, ran, {}, LineTable.empty())
        outputs = {n: np.stack([o[n] for o in collected]) for n in collected[0]}
        try:
            outputs = fitted(outputs, shapes, self.rung.name)
        except TruelineError as error:
            decoded = Decoded(LineTable.empty(), 0, error)
        else:
            decoded = decode_frames(self.decoder.reading(outputs), outputs, frames[valid])
        if decoded.error is not None:
            self.fail(decoded.error, f"frame {frames[valid][decoded.done]}")
        return _read(RungOutputs(valid, ran, outputs, LineTable.empty()), decoded)


@dataclass
class Reader:
    """A rung that reads the outputs of another by a decoder of its own; the engine runs once for both.

    Attributes:
        rung: the rung.
        of: runs the engine.
        decoder: makes lines of its outputs.
        failure: why it has no (more) lines; None while it has.
    """

    rung: Rung
    of: Runner
    decoder: RungDecoder
    failure: Failure | None = None

    def take(self, given: RungOutputs, frames: Ints) -> RungOutputs:
        """The chunk of these frames as the other rung had it, with lines of its own."""
        if self.failure:
            nothing = np.zeros(len(frames), bool)
            return RungOutputs(nothing, nothing, {}, LineTable.empty())
        self.failure = self.of.failure
        if not given.stacked:
            return RungOutputs(given.valid, given.ran, {}, LineTable.empty())
        decoded = decode_frames(self.decoder.reading(given.stacked), given.stacked, frames[given.valid])
        if decoded.error is not None:
            self.failure = Failure.of(decoded.error, "crashed", f"frame {frames[given.valid][decoded.done]}")
        return _read(given, decoded)


def _read(given: RungOutputs, decoded: Decoded) -> RungOutputs:
    """Outputs with the lines of them, up to the frame that could not be decoded."""
    if decoded.error is None:
        return RungOutputs(given.valid, given.ran, given.stacked, decoded.lines)
    valid, ran = given.valid.copy(), given.ran.copy()
    at = np.flatnonzero(valid)[decoded.done]
    valid[at:], ran[at:] = False, False
    outputs = {name: values[: decoded.done] for name, values in given.stacked.items()} if decoded.done else {}
    return RungOutputs(valid, ran, outputs, decoded.lines)


@dataclass
class Group:
    """Rungs of one preprocessing variant, which run on the same tensors.

    Attributes:
        prepare: makes what makes the tensors of a tick.
        runners: the rungs.
    """

    prepare: Callable[[], Callable[[Tick], Tensors]]
    runners: Sequence[Runner]
    _build: Callable[[Tick], Tensors] | None = field(init=False, default=None)
    _frames: int = field(init=False, default=0)
    _waiting: list[tuple[int, Tensors]] = field(init=False, default_factory=list)

    def step(self, tick: Tick) -> None:
        """Run one frame, or keep it until a batch is full."""
        tensors = self._tensors(tick)
        for runner in self._of_batch(single=True):
            runner.skip() if tensors is None else runner.step(tensors, tick)
        if batched := self._of_batch(single=False):
            if tensors is None:
                for runner in batched:
                    runner.skip()
                return
            self._waiting.append((tick.frame, tensors))
            if len(self._waiting) >= batched[0].batch:
                self.flush()

    def flush(self) -> None:
        """Run the frames that wait for their batch to fill."""
        if not self._waiting:
            return
        frames, tensors = [f for f, _ in self._waiting], stacked([t for _, t in self._waiting])
        self._waiting = []
        for runner in self._of_batch(single=False):
            runner.step_batch(tensors, frames)

    def _of_batch(self, *, single: bool) -> list[Runner]:
        return [r for r in self.runners if (r.batch == 1) == single]

    def _tensors(self, tick: Tick) -> Tensors | None:
        """Tensors of a tick; None once no rung is left to feed, or where this variant cannot make them."""
        if all(runner.failure for runner in self.runners):
            return None
        try:
            with guarded(
                lambda cause: PreprocessError(
                    f"preprocessing failed: {cause}", where="preprocess", remedy="make the pipeline take this picture"
                )
            ):
                self._build = self._build or self.prepare()
                tensors = read_only(self._build(tick))
        except TruelineError as error:
            self.flush()
            for runner in self.runners:
                if not runner.failure:
                    runner.fail(error, f"frame {tick.frame}", began=self._frames > 0)
            return None
        self._frames += 1
        return tensors
