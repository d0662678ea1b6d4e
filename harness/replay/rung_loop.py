"""Rungs while they run: outputs, gaps and crashes of one rung, and the rungs that share one preprocessing variant.

Frames go to an engine one by one, or with `--batch N` N at a time (batches.py). What depends on time, as a recording of
the car does, always takes them one by one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns

import numpy as np

from cases.picture import Tick
from engines.errors import EngineError, EngineOutputMissing, NotRecorded, RecordingGap
from engines.formats.polylines import LINE_ARRAYS
from engines.protocol import Engine, Tensors
from engines.registry import family
from harness.lines.chunk import RungOutputs
from harness.lines.decode.recorded import holds_lines
from harness.replay.batches import rows_of, stacked
from harness.run.rungs import Rung

__all__ = ["Group", "Runner"]


@dataclass
class Runner:
    """One rung during one case.

    Attributes:
        rung: the rung.
        engine: runs it.
        state: recurrent inputs of the next frame, by input name.
        feedback: output -> input that are fed back.
        names: outputs to keep.
        batch: frames it takes at once.
    """

    rung: Rung
    engine: Engine
    state: Tensors
    feedback: Mapping[str, str]
    names: tuple[str, ...]
    batch: int = 1
    collected: list[Tensors] = field(default_factory=list)
    valid: list[bool] = field(default_factory=list)
    ran: list[bool] = field(default_factory=list)
    elapsed_ns: array[int] = field(default_factory=lambda: array("q"))
    crash: str = ""
    status: str = "ok"
    kept: tuple[str, ...] = ()

    def lose(self, error: EngineError, doing: str) -> None:
        """The engine failed: the rung gives nothing more in this case."""
        rest = f" ({error.where}); {error.remedy}" if error.rung_status == "not_run" else ""
        self.status, self.crash = error.rung_status, f"{doing}{error.what}{rest}"

    def step(self, tensors: Tensors, tick: Tick) -> None:
        """Run one frame and keep its outputs."""
        self.ran.append(not self.crash)
        if self.crash:
            self.valid.append(False)
            return
        if self.state:
            tensors = tensors | self.state
        if self.engine.uses_time:
            self.engine.seek(tick.timestamp_ns)
        start = perf_counter_ns()
        try:
            outputs = self.engine.infer(tensors)
        except RecordingGap as gap:
            self.valid.append(False)
            self.ran[-1] = not isinstance(gap, NotRecorded)
            return
        except EngineError as error:
            self.lose(error, f"frame {tick.frame}: ")
            self.valid.append(False)
            self.ran[-1] = False
            return
        self.elapsed_ns.append(perf_counter_ns() - start)
        if not self.collected:
            self._check(outputs)
        self.collected.append(outputs)
        self.valid.append(True)
        for out, into in self.feedback.items():
            if out in outputs:
                self.state[into] = outputs[out]

    def step_batch(self, tensors: Tensors, frames: Sequence[int]) -> None:
        """Run several frames at once, stacked on their first axis, and keep the outputs of each."""
        count = len(frames)
        ran = not self.crash
        if ran:
            start = perf_counter_ns()
            try:
                outputs = rows_of(self.engine.infer(tensors), count, self.engine.name)
            except EngineError as error:
                self.lose(error, f"frames {frames[0]} to {frames[-1]}: ")
                ran = False
            else:
                self.elapsed_ns.extend([(perf_counter_ns() - start) // count] * count)
                if not self.collected:
                    self._check(outputs[0])
                self.collected += outputs
        self.ran += [ran] * count
        self.valid += [ran] * count

    def _check(self, outputs: Tensors) -> None:
        """Keep the card's outputs, and lines where a device logged them; what a recording feeds back it may lack."""
        self.kept = tuple(name for name in (*self.names, *LINE_ARRAYS) if name in outputs)
        optional = self.feedback if family(self.rung.engine) == "recorded" else ()
        missing = [n for n in self.names if n not in outputs and n not in optional]
        if missing and not holds_lines(outputs):
            raise EngineOutputMissing(
                f"{self.rung.engine} has no output {missing[0]!r}",
                where=f"rung {self.rung.name}",
                remedy=f"it has {sorted(outputs)}; name one of them under [[outputs]] in the card",
            )

    def take(self) -> RungOutputs:
        """The outputs of the chunk, stacked; the next chunk starts empty."""
        valid, ran = np.array(self.valid, bool), np.array(self.ran, bool)
        stacked = {n: np.stack([o[n] for o in self.collected]) for n in self.kept} if self.collected else {}
        self.collected, self.valid, self.ran = [], [], []
        return RungOutputs(valid, ran, stacked)


@dataclass
class Group:
    """Rungs of one preprocessing variant, which run on the same tensors.

    Attributes:
        build: makes the tensors of a tick.
        runners: the rungs.
    """

    build: Callable[[Tick], Tensors]
    runners: Sequence[Runner]
    _single: list[Runner] = field(init=False)
    _batched: list[Runner] = field(init=False)
    _waiting: list[tuple[int, Tensors]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._single = [r for r in self.runners if r.batch == 1]
        self._batched = [r for r in self.runners if r.batch > 1]

    def step(self, tick: Tick) -> None:
        """Run one frame, or keep it until a batch is full."""
        tensors = self.build(tick)
        for runner in self._single:
            runner.step(tensors, tick)
        if self._batched:
            self._waiting.append((tick.frame, tensors))
            if len(self._waiting) >= self._batched[0].batch:
                self.flush()

    def flush(self) -> None:
        """Run the frames that wait for their batch to fill."""
        if not self._waiting:
            return
        frames, tensors = [f for f, _ in self._waiting], stacked([t for _, t in self._waiting])
        self._waiting = []
        for runner in self._batched:
            runner.step_batch(tensors, frames)
