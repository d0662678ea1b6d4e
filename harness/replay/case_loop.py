"""One case through every rung: the loop of a replay.

Frames stream in; each preprocessing variant makes its tensors once a frame and every rung of that variant runs on them.
Outputs are collected into chunks whose size in bytes is bounded, so everything after the engine (decoding, matching,
metrics) works on many frames at once and memory does not grow with the clip.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cases.case import Case
from engines.errors import EngineCrashed, EngineError
from engines.protocol import CaseContext, Engine
from harness.feed.inputs import InputBuilder, cameras_of, context_of, initial_state
from harness.lines.chunk import Chunk, RungOutputs
from harness.lines.decode import Decoder
from harness.measures.compare import Comparer
from harness.model.card import Card
from harness.replay.hooks import Hooks
from harness.replay.rung_loop import Group, Runner
from harness.run.folder import CaseParts
from harness.run.json import write_json
from harness.run.rungs import Probe, Rung
from trueline import TruelineError

if TYPE_CHECKING:
    from harness.replay.hooks import Progress

__all__ = ["replay_case"]

CHUNK_BYTES = 192 * 2**20
CHUNK_FRAMES = 512


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
    batch: int = 1,
) -> None:
    """Replay one case, `batch` frames at once, and leave its part files in `out`; none are left behind on an error."""
    runners = [_runner(card, rung, engines[rung.engine], batch) for rung in (*rungs, *(p.rung for p in probes))]
    context = context_of(case)
    total = len(case.timestamps_ns)
    with CaseParts(out / "parts", case.id) as parts, Comparer(card, case, rungs, decoder, parts, probes) as comparer:
        try:
            _start(runners, context)
            for frames, timestamps_ns in _chunks(card, case, runners, batch):
                comparer.add(_chunk(case, runners, frames, timestamps_ns, hooks))
                progress(case.id, comparer.frames_done, total)
            comparer.finish()
        except TruelineError as error:
            raise error.within(f"case {case.id}") from error.__cause__
        for row in _latency(runners[: len(rungs)]):
            parts.add("latency", row)
        write_json(
            parts.folder / "status.json",
            {r.rung.name: {"status": r.status, "reason": f"case {case.id}, {r.crash}"} for r in runners if r.crash},
        )
        parts.commit()


def _start(runners: Sequence[Runner], context: CaseContext) -> None:
    """Begin the case with every engine; one that cannot costs its rungs, unless it is the reference's.

    Raises:
        EngineError: the reference's engine cannot.
    """
    failed: dict[int, EngineError | None] = {}
    for runner in runners:
        key = id(runner.engine)
        if key not in failed:
            failed[key] = _failure(runner.engine, context)
        if (error := failed[key]) is None:
            continue
        if runner is runners[0]:
            raise error
        runner.lose(error, "")


def _failure(engine: Engine, context: CaseContext) -> EngineError | None:
    try:
        engine.start_case(context)
    except EngineError as error:
        return error
    return None


def _runner(card: Card, rung: Rung, engine: Engine, batch: int) -> Runner:
    names = tuple(o.name for o in card.outputs)
    return Runner(rung, engine, initial_state(card), card.state, names, 1 if engine.uses_time else batch)


def _chunks(
    card: Card, case: Case, runners: Sequence[Runner], batch: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Run frames and yield (frame numbers, timestamps) whenever a chunk's outputs are complete in the runners."""
    by_variant: dict[str, list[Runner]] = {}
    for runner in runners:
        by_variant.setdefault(runner.rung.preprocess, []).append(runner)
    groups = [Group(InputBuilder(card, case, variant), group) for variant, group in by_variant.items()]
    frames, times, limit = array("q"), array("q"), 0
    for tick in case.ticks(cameras_of(card)):
        try:
            for group in groups:
                group.step(tick)
        except TruelineError as error:
            raise error.within(f"frame {tick.frame}") from error.__cause__
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


def _chunk_frames(runners: Sequence[Runner], batch: int) -> int:
    """How many frames' outputs fit in the budget, from the outputs of the first frame; whole batches."""
    frame_bytes = sum(a.nbytes for r in runners for o in r.collected[:1] for a in o.values())
    frames = int(np.clip(CHUNK_BYTES // max(frame_bytes, 1), 1, CHUNK_FRAMES))
    return max(frames // batch, 1) * batch


def _chunk(
    case: Case, runners: Sequence[Runner], frames: NDArray[np.int64], timestamps_ns: NDArray[np.int64], hooks: Hooks
) -> Chunk:
    outputs: dict[str, RungOutputs] = {}
    for runner in runners:
        taken = runner.take()
        if taken.stacked:
            taken = _shaped(runner, taken, next(iter(outputs.values()), taken))
        if taken.stacked:
            changed = hooks.outputs(runner.rung, case.id, timestamps_ns[taken.valid], taken.stacked)
            taken = RungOutputs(taken.valid, taken.ran, changed)
        outputs[runner.rung.name] = taken
    return Chunk(frames, timestamps_ns, outputs)


def _shaped(runner: Runner, taken: RungOutputs, reference: RungOutputs) -> RungOutputs:
    """Outputs in the shapes of the reference's, axes of one added or dropped; another shape loses the rung."""
    shapes = {name: values.shape[1:] for name, values in reference.stacked.items() if name in taken.stacked}
    given = {name: taken.stacked[name].shape[1:] for name in shapes}
    for name, shape in shapes.items():
        if [n for n in shape if n != 1] != [n for n in given[name] if n != 1]:
            what = f"output {name!r} is {list(given[name])}, the reference gives {list(shape)}"
            remedy = "see that both run the same model; give `shape` under [[outputs]] in model.toml"
            runner.lose(EngineCrashed(what, where=runner.rung.name, remedy=remedy), "")
            nothing = np.zeros(len(taken.valid), bool)
            return RungOutputs(nothing, nothing, {})
    fitted = {name: values.reshape(-1, *shapes.get(name, values.shape[1:])) for name, values in taken.stacked.items()}
    return RungOutputs(taken.valid, taken.ran, fitted)


def _latency(runners: Sequence[Runner]) -> Iterator[dict[str, Any]]:
    """Median and 99th percentile of `infer`, the first frame left out as warm-up where there are more."""
    for runner in runners:
        elapsed_ms = np.frombuffer(runner.elapsed_ns, np.int64) / 1e6
        elapsed_ms = elapsed_ms[1:] if len(elapsed_ms) > 1 else elapsed_ms
        if len(elapsed_ms):
            p50, p99 = np.percentile(elapsed_ms, [50, 99]).tolist()
            yield {"rung": runner.rung.name, "p50_ms": p50, "p99_ms": p99, "frames": len(elapsed_ms)}
