"""One case through every rung: the loop of a replay.

Frames stream in; each preprocessing variant makes its tensors once a frame and every rung of that variant runs on them.
Outputs are collected into chunks whose size in bytes is bounded, so everything after the engine (decoding, matching,
metrics) works on many frames at once and memory does not grow with the clip.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cases.case import Case
from cases.picture import Tick
from engines.errors import EngineCrashed, EngineOutputMissing, RecordingGap
from engines.protocol import CaseContext, Engine, Tensors
from harness.card import Card
from harness.compare import Chunk, Comparer, RungOutputs
from harness.decode import Decoder
from harness.floor import Probe
from harness.hooks import Hooks
from harness.inputs import InputBuilder, cameras_of, initial_state
from harness.run import CaseParts, write_json
from harness.rungs import Rung
from trueline import TruelineError

if TYPE_CHECKING:
    from harness.replay import Progress

__all__ = ["replay_case"]

CHUNK_BYTES = 192 * 2**20
CHUNK_FRAMES = 512


@dataclass
class _Runner:
    """One rung during one case."""

    rung: Rung
    engine: Engine
    state: Tensors
    feedback: Mapping[str, str]
    names: tuple[str, ...]
    collected: list[Tensors] = field(default_factory=list)
    valid: list[bool] = field(default_factory=list)
    ran: list[bool] = field(default_factory=list)
    elapsed_ns: array[int] = field(default_factory=lambda: array("q"))
    crash: str = ""

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
        except RecordingGap:
            self.valid.append(False)
            return
        except EngineCrashed as error:
            self.crash = f"frame {tick.frame}: {error.what}"
            self.valid.append(False)
            self.ran[-1] = False
            return
        self.elapsed_ns.append(perf_counter_ns() - start)
        if not self.collected:
            self._check(outputs)
        self.collected.append(outputs)
        self.valid.append(True)
        for out, into in self.feedback.items():
            self.state[into] = outputs[out]

    def _check(self, outputs: Tensors) -> None:
        missing = [n for n in self.names if n not in outputs]
        if missing:
            raise EngineOutputMissing(
                f"{self.rung.engine} has no output {missing[0]!r}",
                where=f"rung {self.rung.name}",
                remedy=f"it has {sorted(outputs)}; name one of them under [[outputs]] in the card",
            )

    def take(self) -> RungOutputs:
        """The outputs of the chunk, stacked; the next chunk starts empty."""
        valid, ran = np.array(self.valid, bool), np.array(self.ran, bool)
        stacked = {n: np.stack([o[n] for o in self.collected]) for n in self.names} if self.collected else {}
        self.collected, self.valid, self.ran = [], [], []
        return RungOutputs(valid, ran, stacked)


def replay_case(
    card: Card,
    case: Case,
    rungs: Sequence[Rung],
    engines: Mapping[str, Engine],
    decoder: Decoder,
    hooks: Hooks,
    out: Path,
    progress: Progress,
    probes: Sequence[Probe] = (),
) -> None:
    """Replay one case and leave its part files in `out`; nothing is left behind on an error."""
    runners = [_runner(card, rung, engines[rung.engine]) for rung in (*rungs, *(p.rung for p in probes))]
    context = CaseContext(case.id, case.root, case.outputs())
    total = len(case.timestamps_ns)
    with CaseParts(out / "parts", case.id) as parts, Comparer(card, case, rungs, decoder, parts, probes) as comparer:
        try:
            for engine in {id(r.engine): r.engine for r in runners}.values():
                engine.start_case(context)
            for frames, timestamps_ns in _chunks(card, case, runners):
                comparer.add(_chunk(case, runners, frames, timestamps_ns, hooks))
                progress(case.id, comparer.frames_done, total)
            comparer.finish()
        except TruelineError as error:
            raise error.within(f"case {case.id}") from error.__cause__
        for row in _latency(runners[: len(rungs)]):
            parts.add("latency", row)
        write_json(
            parts.folder / "status.json",
            {"crashed": {r.rung.name: f"case {case.id}, {r.crash}" for r in runners if r.crash}},
        )
        parts.commit()


def _runner(card: Card, rung: Rung, engine: Engine) -> _Runner:
    return _Runner(rung, engine, initial_state(card), card.state, tuple(o.name for o in card.outputs))


def _chunks(
    card: Card, case: Case, runners: Sequence[_Runner]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Run frames and yield (frame numbers, timestamps) whenever a chunk's outputs are complete in the runners."""
    by_variant: dict[str, list[_Runner]] = {}
    for runner in runners:
        by_variant.setdefault(runner.rung.preprocess, []).append(runner)
    builders = [(InputBuilder(card, case, variant), group) for variant, group in by_variant.items()]
    frames, times, limit = array("q"), array("q"), 0
    for tick in case.ticks(cameras_of(card)):
        try:
            for build, group in builders:
                tensors = build(tick)
                for runner in group:
                    runner.step(tensors, tick)
        except TruelineError as error:
            raise error.within(f"frame {tick.frame}") from error.__cause__
        frames.append(tick.frame)
        times.append(tick.timestamp_ns)
        limit = limit or _chunk_frames(runners)
        if len(frames) >= limit:
            yield np.array(frames), np.array(times)
            frames, times = array("q"), array("q")
    if frames:
        yield np.array(frames), np.array(times)


def _chunk_frames(runners: Sequence[_Runner]) -> int:
    """How many frames' outputs fit in the budget, from the outputs of the first frame."""
    frame_bytes = sum(a.nbytes for r in runners for o in r.collected[:1] for a in o.values())
    return int(np.clip(CHUNK_BYTES // max(frame_bytes, 1), 1, CHUNK_FRAMES))


def _chunk(
    case: Case, runners: Sequence[_Runner], frames: NDArray[np.int64], timestamps_ns: NDArray[np.int64], hooks: Hooks
) -> Chunk:
    outputs = {}
    for runner in runners:
        taken = runner.take()
        if taken.stacked:
            changed = hooks.outputs(runner.rung, case.id, timestamps_ns[taken.valid], taken.stacked)
            taken = RungOutputs(taken.valid, taken.ran, changed)
        outputs[runner.rung.name] = taken
    return Chunk(frames, timestamps_ns, outputs)


def _latency(runners: Sequence[_Runner]) -> Iterator[dict[str, Any]]:
    """Median and 99th percentile of `infer`, the first frame left out as warm-up where there are more."""
    for runner in runners:
        elapsed_ms = np.frombuffer(runner.elapsed_ns, np.int64) / 1e6
        elapsed_ms = elapsed_ms[1:] if len(elapsed_ms) > 1 else elapsed_ms
        if len(elapsed_ms):
            p50, p99 = np.percentile(elapsed_ms, [50, 99]).tolist()
            yield {"rung": runner.rung.name, "p50_ms": p50, "p99_ms": p99, "frames": len(elapsed_ms)}
