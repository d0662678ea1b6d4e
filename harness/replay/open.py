"""Opening what a replay runs: the engines of the rungs, and the probes of their noise.

TensorRT's strong fp16 and bf16 keep nodes in fp32 whose values would not fit, and which those are depends on the
pictures. So a replay hands such an engine at most eight frames of its own cases, through the deploy pipeline, unless
the card gives it a plan or calibration data. Recurrent inputs are zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.case import Case
from engines.cache import folder_of
from engines.errors import EngineUnavailable, ModelLoadError, UnknownEngine
from engines.foreign import guarded
from engines.guest import hosted
from engines.protocol import CaseContext, Engine, ModelSource, Tensors, keeps_state
from engines.sealed import file_sha256
from engines.tensorrt import wants_calibration
from harness.feed.inputs import spread_frames
from harness.model.card import Card
from harness.replay.failure import Failure
from harness.replay.hooks import Hooks
from harness.run.rungs import LAB_DECODER, Probe, Rung, probes_of
from trueline import TruelineError
from trueline._drafts import draft_in

__all__ = ["BatchRow", "Opened", "calibrated", "open_engine", "open_engines", "open_own", "open_probe", "open_probes"]

_REMEDY = "see whether the engine runs this model by itself; the other rungs go on without it"
FRAMES = 8  # AutoCast keeps every activation of every frame in memory


def calibrated(name: str, source: ModelSource, card: Card, cases: Sequence[Case]) -> ModelSource:
    """The model with calibration data for this engine, where it wants some; else as it was.

    Args:
        name: of the engine.
        source: the model.
        card: its card, for the deploy pipeline.
        cases: of the replay.

    Raises:
        CaseError, PreprocessError: a case that cannot be read, or lacks what the card needs.
    """
    if not wants_calibration(name, source):
        return source
    frames = list(spread_frames(card, cases, FRAMES))
    options = {**source.options.get(name, {}), "calibration": str(_written(source.cache, frames).resolve())}
    return replace(source, options={**source.options, name: options})


def _written(cache: Path, frames: Sequence[Tensors]) -> Path:
    """An npz of arrays (frames, *shape), named by its content; frames of another size than the first are left out."""
    shapes = {name: array.shape for name, array in frames[0].items()}
    alike = [frame for frame in frames if {name: array.shape for name, array in frame.items()} == shapes]
    folder = folder_of(cache, "calibration")
    stacked = {name: np.stack([frame[name] for frame in alike]) for name in shapes}
    draft = draft_in(folder, ".npz")
    try:
        np.savez(draft, **stacked)  # type: ignore[arg-type]  # arrays by name; allow_pickle is another argument
        return draft.replace(folder / f"{file_sha256(draft)[:20]}.npz")
    finally:
        draft.unlink(missing_ok=True)


_REORDERED = ("ort-fp32",)


def open_probe(
    probe: Probe, card: Card, engine: Engine, again: Callable[[str], Engine], reopen: Callable[[str], Engine]
) -> Engine:
    """The engine of a probe.

    Args:
        probe: which.
        card: the model.
        engine: the engine of the rung itself.
        again: opens an engine by name once more.
        reopen: opens an engine by name with empty caches.

    Raises:
        EngineUnavailable: this kind of probe says nothing about this engine or model.
    """
    if probe.kind == "repeat":
        return again(probe.base.engine) if keeps_state(engine) else engine
    if probe.kind == "rebuild":
        return reopen(probe.base.engine)
    if probe.kind == "reorder" and probe.base.engine in _REORDERED:
        return reopen("emulated-reorder")
    if probe.kind == "batch-row" and keeps_state(engine):
        why = f"{probe.base.engine} may remember frames, and a row of a batch is one"
        raise EngineUnavailable(f"no batch-row probe: {why}", where=probe.rung.name, remedy="the other probes stand")
    if probe.kind == "batch-row" and all(i.shape and isinstance(i.shape[0], str) for i in card.inputs):
        return BatchRow(engine)
    why = {"reorder": "its graph is not ours to reorder", "batch-row": "the model's batch size is fixed"}[probe.kind]
    raise EngineUnavailable(
        f"no {probe.kind} probe of {probe.base.engine}: {why}", where=probe.rung.name, remedy="the other probes stand"
    )


class BatchRow:
    """An engine whose input is the middle row of a batch of three; the rows around it are the inputs before."""

    uses_time = False
    keeps_state = False

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = f"{engine.name}~batch-row"
        self._before: Mapping[str, NDArray[Any]] | None = None

    @property
    def provenance(self) -> Mapping[str, Any]:
        """That of the engine."""
        return self._engine.provenance

    def start_case(self, context: CaseContext) -> None:
        """Forget the inputs before."""
        self._before = None

    def seek(self, timestamp_ns: int) -> None:
        """Inputs decide, not time."""

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Outputs of the middle row; inputs that are a batch of several rows themselves are the middle ones."""
        before = self._before or inputs
        batch = {k: np.concatenate([before[k], v, before[k][::-1]]) for k, v in inputs.items()}
        self._before = dict(inputs)
        first, rows = len(next(iter(before.values()))), len(next(iter(inputs.values())))
        return {k: v[first : first + rows] for k, v in self._engine.infer(batch).items()}

    def close(self) -> None:
        """The engine is closed by whoever opened it."""


@dataclass(frozen=True)
class Opened:
    """The engines of a replay.

    Attributes:
        engines: by name.
        missing: engines that could not be opened, and why.
        own: by rung, where a rung has an instance to itself.
        failed: rungs whose own instance could not be opened, and why.
    """

    engines: dict[str, Engine]
    missing: dict[str, Failure]
    own: dict[str, Engine] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)

    def of(self, rung: Rung) -> Engine:
        """The engine that runs a rung."""
        return self.own.get(rung.name) or self.engines[rung.engine]


def open_engines(
    names: Iterable[str], card: Card, cases: Sequence[Case], hooks: Hooks, cache: Path, stack: ExitStack
) -> Opened:
    """Open the engines of a replay; `stack` closes them.

    Raises:
        UnknownEngine: a name that no engine has.
        TruelineError: the reference's engine cannot be opened; any other that cannot is missing.
    """
    opened = Opened({}, {})
    for name in names:
        try:
            opened.engines[name] = open_engine(name, card, cases, hooks, cache, stack)
        except TruelineError as error:
            if isinstance(error, UnknownEngine) or name == card.reference_rung.partition("/")[2]:
                raise error.within(f"engine {name}") from error.__cause__
            opened.missing[name] = Failure.of(error, "not_run")
    return opened


def open_engine(name: str, card: Card, cases: Sequence[Case], hooks: Hooks, cache: Path, stack: ExitStack) -> Engine:
    """An engine on the card's model; `stack` closes it, whatever its `close` does.

    Raises:
        TruelineError: it cannot be opened; exceptions that are not ours say so as ModelLoadError.
    """
    where = f"{card.name}, engine {name}"
    with guarded(lambda cause: ModelLoadError(f"{name} does not open: {cause}", where=where, remedy=_REMEDY)):
        engine = hosted(hooks.open_engine(name, calibrated(name, card.source(cache), card, cases)), name)
    stack.callback(_close, engine)
    return engine


def open_own(opened: Opened, rungs: Sequence[Rung], again: Callable[[str], Engine]) -> None:
    """Give every rung of an engine that may remember frames an instance to itself; the first has the open one.

    Args:
        opened: gets the instances.
        rungs: of the ladder; two that read the same tensors by two decoders share one.
        again: opens an engine by name once more, and sees to its end.
    """
    taken: set[str] = set()
    for rung in rungs:
        if rung.decoder == "own" and f"{rung.name}{LAB_DECODER}" in {other.name for other in rungs}:
            continue
        if keeps_state(opened.engines[rung.engine]) and rung.engine in taken:
            try:
                opened.own[rung.name] = again(rung.engine)
            except TruelineError as error:
                opened.failed[rung.name] = Failure.of(error, "not_run")
        taken.add(rung.engine)


def _close(engine: Engine) -> None:
    """A run is complete by now: what fails here costs nothing."""
    with suppress(TruelineError), guarded(lambda cause: ModelLoadError(cause, where="close", remedy="none")):
        engine.close()


def open_probes(
    rungs: Sequence[Rung],
    card: Card,
    opened: Opened,
    again: Callable[[str], Engine],
    reopen: Callable[[str], Engine],
) -> tuple[tuple[Probe, ...], list[dict[str, str]]]:
    """Probes that can run, their engines added to the opened ones; and what run.json says of all of them.

    Args:
        rungs: the ladder.
        card: the model.
        opened: engines of the rungs.
        again: opens an engine by name once more, and sees to its end.
        reopen: opens an engine by name with empty caches, and sees to its end.
    """
    probes, said = [], []
    for probe in probes_of(rungs):
        status, reason = "ok", ""
        try:
            engine = opened.engines[probe.base.engine]
            opened.engines[probe.rung.engine] = open_probe(probe, card, engine, again, reopen)
        except TruelineError as error:
            status, reason = "not_run", Failure.of(error, "not_run").reason
        else:
            probes.append(probe)
        said.append({"rung": probe.base.name, "probe": probe.kind, "status": status, "reason": reason})
    return tuple(probes), said
