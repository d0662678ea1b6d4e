"""One rung's frames through its engine: recurrent state, gaps and failures of one rung, and the rungs that share one
preprocessing variant.

Frames go to an engine one by one, or with `--batch N` N at a time (batches.py), or in batches of the rung's own where
that changes no bit (own_batches.py). What depends on time, as a recording of the car does, always takes them one by
one. Engines, decoders and preprocessing may be anybody's code: whatever they raise is the rung's own failure, and only
the reference's is raised further. Lines are made of the outputs a stage later (rung_reading.py).
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

from engines.errors import EngineCrashed, EngineError, NotRecorded, RecordingGap
from engines.foreign import guarded
from engines.protocol import Engine, Tensors
from harness.replay.batches import rows_of, stacked
from harness.replay.failure import Failure
from harness.replay.feeding import Refused
from harness.replay.outputs import OutputCheck
from harness.replay.own_batches import SIZE, OwnBatches
from harness.replay.rung_reading import Outputs, Reading
from trueline import TruelineError

__all__ = ["Group", "Runner"]


@dataclass
class Runner:
    """One rung during one case.

    Attributes:
        reading: makes lines of its outputs; it may end the rung too, a little later.
        engine: runs it.
        check: holds outputs against the card.
        state: recurrent inputs of the next frame, by input name.
        feedback: output -> input that are fed back.
        batch: frames it takes at once.
        failure: why it runs no (more) frames; None while it does.
        own: batches that it makes by itself; None where it makes none.
    """

    reading: Reading
    engine: Engine
    check: OutputCheck
    state: Tensors
    feedback: Mapping[str, str]
    batch: int = 1
    failure: Failure | None = None
    collected: list[Tensors] = field(default_factory=list)
    valid: list[bool] = field(default_factory=list)
    ran: list[bool] = field(default_factory=list)
    elapsed_ns: array[int] = field(default_factory=lambda: array("q"))
    own: OwnBatches | None = None

    @property
    def name(self) -> str:
        """Name of the rung."""
        return self.reading.rung.name

    @property
    def needs_inputs(self) -> bool:
        """Whether it runs on tensors; what gives kept outputs back needs none."""
        return bool(getattr(self.engine, "needs_inputs", True))

    @property
    def over(self) -> bool:
        """Whether it need not run: what it gives now is no longer read."""
        return self.failure is not None or self.reading.failure is not None

    def fail(self, error: TruelineError, place: str, *, began: bool = True) -> None:
        """Run no further frames of this case; the reference raises instead.

        Args:
            error: what happened.
            place: frame, or what was being done.
            began: whether the rung ran at all; without that it is not run, else it crashed.
        """
        self.reading.demand(error, place)
        status = error.rung_status if isinstance(error, EngineError) and not any(self.valid) else "crashed"
        if not began and not isinstance(error, EngineCrashed):
            status = "not_run"
        self.failure = Failure.of(error, status, place)

    def skip(self, count: int = 1) -> None:
        """Frames that are not run."""
        self.valid += [False] * count
        self.ran += [False] * count

    def step(self, tensors: Tensors, frame: int, timestamp_ns: int) -> None:
        """Run one frame and keep its outputs; or keep it, where it runs in a batch with those that follow."""
        own = self.own
        if own is None or not own.proven:
            return self._step_alone(tensors, frame, timestamp_ns)
        own.waiting.append((frame, timestamp_ns, tensors))
        if len(own.waiting) >= SIZE:
            self._step_own_batch(own.taken())
        return None

    def flush(self) -> None:
        """Run the frames that wait for a batch of its own to fill, alone."""
        for frame, timestamp_ns, tensors in self.own.taken() if self.own is not None else ():
            self._step_alone(tensors, frame, timestamp_ns)

    def _step_own_batch(self, frames: Sequence[tuple[int, int, Tensors]]) -> None:
        """Frames as one batch; each alone where that fails, so that a failure is of its own frame."""
        if self.over:
            return self.skip(len(frames))
        try:
            with guarded(self._crashed):
                given = self.engine.infer(stacked([tensors for _, _, tensors in frames]))
            rows = rows_of(given, len(frames), self.engine.name)
            first = self.check(rows[0])  # the others have its shapes and types
        except TruelineError:
            for frame, timestamp_ns, tensors in frames:
                self._step_alone(tensors, frame, timestamp_ns)
            return None
        return self._keep(rows if first.keys() == given.keys() else [{n: row[n] for n in first} for row in rows])

    def _step_alone(self, tensors: Tensors, frame: int, timestamp_ns: int) -> None:
        if self.over:
            return self.skip()
        try:
            outputs = self.check(self._infer(tensors | self.state if self.state else tensors, 1, timestamp_ns))
        except RecordingGap as gap:
            self.valid.append(False)
            self.ran.append(not isinstance(gap, NotRecorded))
            return None
        except TruelineError as error:
            self.fail(error, f"frame {frame}")
            return self.skip()
        self._keep([outputs])
        for out, into in self.feedback.items():
            if out in outputs:
                self.state[into] = outputs[out]
        if self.own is not None:
            self.own.ran_alone(tensors, self.elapsed_ns)
        return None

    def step_batch(self, tensors: Tensors, frames: Sequence[int]) -> None:
        """Run several frames at once, stacked on their first axis, and keep the outputs of each."""
        if self.over:
            return self.skip(len(frames))
        try:
            rows = rows_of(self._infer(tensors, len(frames)), len(frames), self.engine.name)
            outputs = [self.check(row) for row in rows]
        except TruelineError as error:
            self.fail(error, f"frames {frames[0]} to {frames[-1]}")
            return self.skip(len(frames))
        return self._keep(outputs)

    def _keep(self, outputs: list[Tensors]) -> None:
        self.collected += outputs
        self.valid += [True] * len(outputs)
        self.ran += [True] * len(outputs)

    def _infer(self, tensors: Tensors, count: int, now_ns: int = 0) -> Mapping[str, Any]:
        """What the engine gives for these frames; its time is kept for each."""
        with guarded(self._crashed):
            if self.engine.uses_time:
                self.engine.seek(now_ns)
            start = perf_counter_ns()
            outputs = self.engine.infer(tensors)
            elapsed_ns = getattr(self.engine, "told_elapsed_ns", perf_counter_ns() - start)
        self.elapsed_ns.extend([elapsed_ns // count] * count)
        return outputs

    def _crashed(self, cause: str) -> EngineCrashed:
        return EngineCrashed(f"{self.engine.name} failed: {cause}", where=self.name, remedy="see why")

    def taken(self) -> Outputs:
        """What it gave since this was asked last."""
        outputs = Outputs(self.collected, self.valid, self.ran, self.elapsed_ns, self.failure)
        self.collected, self.valid, self.ran, self.elapsed_ns = [], [], [], array("q")
        return outputs


@dataclass
class Group:
    """Rungs of one preprocessing variant, which run on the same tensors.

    Attributes:
        runners: the rungs.
    """

    runners: Sequence[Runner]
    _waiting: list[tuple[int, Tensors]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._single = [r for r in self.runners if r.batch == 1]
        self._batched = [r for r in self.runners if r.batch > 1]

    @property
    def wanted(self) -> bool:
        """Whether any rung still has to be fed."""
        return any(not runner.over for runner in self.runners)

    @property
    def needs_inputs(self) -> bool:
        """Whether any rung runs on tensors."""
        return any(runner.needs_inputs for runner in self.runners)

    def step(self, tensors: Tensors | Refused | None, frame: int, timestamp_ns: int) -> None:
        """Run one frame, or keep it until a batch is full; without tensors it is skipped."""
        if isinstance(tensors, Refused):
            self._refuse(tensors, frame)
            tensors = None
        if tensors is None:
            for runner in self.runners:
                runner.flush()
                runner.skip()
            return
        for runner in self._single:
            runner.step(tensors, frame, timestamp_ns)
        if self._batched:
            self._waiting.append((frame, tensors))
            if len(self._waiting) >= self._batched[0].batch:
                self.flush()

    def flush(self) -> None:
        """Run the frames that wait for their batch to fill."""
        for runner in self._single:
            runner.flush()
        if not self._waiting:
            return
        frames, tensors = [f for f, _ in self._waiting], stacked([t for _, t in self._waiting])
        self._waiting = []
        for runner in self._batched:
            runner.step_batch(tensors, frames)

    def _refuse(self, refused: Refused, frame: int) -> None:
        """The variant cannot make tensors of this frame: its rungs end here."""
        self.flush()
        for runner in self.runners:
            if not runner.failure:
                runner.fail(refused.error, f"frame {frame}", began=refused.began)
