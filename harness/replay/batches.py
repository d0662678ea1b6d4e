"""Batches: several frames in one call of an engine, for throughput. Off unless `--batch N` asks for it.

A network gives each row of a batch what it would give the frame alone only in real arithmetic: other shapes pick other
kernels and orders of sums, and a layer that looks across rows changes everything. So before a batch is used, every
engine gets the same frames alone, in a full batch, in the reverse order, and in a batch that is half as full; the
largest difference is kept in run.json and told where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.case import Case
from engines.errors import EngineCrashed, EngineError
from engines.foreign import guarded
from engines.io_check import onnx_io
from engines.protocol import Engine, Tensors, keeps_state
from harness.errors import UsageError
from harness.feed.inputs import InputBuilder, cameras_of, context_of
from harness.measures.tensor import tensor_metrics
from harness.model.card import Card, InputSpec
from harness.replay.failure import Failure
from harness.run.rungs import Rung
from harness.run.warning import RunWarning
from trueline import TruelineError

__all__ = ["RowCheck", "batched", "check_rows", "row_warnings", "rows_of", "stacked"]

BATCH = "batch"  # name of the dynamic dimension


@dataclass(frozen=True, slots=True)
class RowCheck:
    """How far an engine's rows are from the frames alone.

    Attributes:
        engine: its name.
        bit_equal: no bit differs; false where nothing could be compared.
        max_abs, rel_rms: the largest of any frame, output and batch; rel_rms is 1 where the frame alone gives zeros.
        output: the output with the largest rel_rms; empty where no bit differs.
        reason: why there is no comparison; empty where there is one.
    """

    engine: str
    bit_equal: bool
    max_abs: float = 0.0
    rel_rms: float = 0.0
    output: str = ""
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return f"{self.engine}: rows of a batch were not checked: {self.reason}"
        return (
            f"{self.engine}: a row of a batch is not what the frame gives alone: {self.output} by {self.rel_rms:.2g} "
            f"of its RMS, {self.max_abs:.2g} at most"
        )


def batched(card: Card, size: int) -> Card:
    """The card as engines are to see it: the first dimension of every input is open.

    A PyTorch network is exported again with that; an ONNX file must have it.

    Raises:
        UsageError: the model is recurrent, an input has no batch dimension of one frame, or the ONNX file's is fixed.
    """
    if size == 1:
        return card
    if card.state:
        raise _refused(size, "a recurrent model takes its frames one by one", f"{card.path}, [state]")
    for spec in card.inputs:
        if not spec.shape or not (isinstance(spec.shape[0], str) or spec.shape[0] == 1):
            shape = list(spec.shape)
            raise _refused(size, f"input {spec.name!r} {shape} has no batch dimension", f"{card.path}, [[inputs]]")
    if card.onnx is not None:
        for tensor in onnx_io(card.onnx.file)[0]:
            if tensor.shape and isinstance(tensor.shape[0], int):
                what = f"input {tensor.name!r} has a fixed batch of {tensor.shape[0]}"
                remedy = "export the file with a dynamic batch dimension, or leave --batch out"
                raise UsageError(what, where=f"{card.onnx.file}, --batch {size}", remedy=remedy)
    return card.model_copy(update={"inputs": tuple(_opened(spec) for spec in card.inputs)})


def _opened(spec: InputSpec) -> InputSpec:
    first = spec.shape[0] if isinstance(spec.shape[0], str) else BATCH
    return spec.model_copy(update={"shape": (first, *spec.shape[1:])})


def _refused(size: int, what: str, where: str) -> UsageError:
    return UsageError(what, where=f"{where}, --batch {size}", remedy="leave --batch out")


def stacked(frames: Sequence[Tensors]) -> Tensors:
    """Inputs of several frames as one batch."""
    return {name: np.concatenate([frame[name] for frame in frames]) for name in frames[0]}


def rows_of(outputs: Mapping[str, NDArray[Any]], count: int, engine: str) -> list[Tensors]:
    """Outputs of a batch as those of its frames, each with a first dimension of 1.

    Raises:
        UsageError: an output does not have one row for each frame.
    """
    for name, values in outputs.items():
        if values.ndim == 0 or len(values) != count:
            raise UsageError(
                f"output {name!r} of {engine} is {list(values.shape)} for a batch of {count}",
                where="--batch",
                remedy="leave --batch out: the network does not keep the frames of a batch apart",
            )
    return [{name: values[k : k + 1] for name, values in outputs.items()} for k in range(count)]


def check_rows(
    card: Card, case: Case, rungs: Sequence[Rung], engines: Mapping[str, Engine], size: int
) -> tuple[list[RowCheck], dict[str, Failure]]:
    """Hold rows of batches against frames alone, for every engine that takes batches, on the first frames of a case.

    Args:
        card: the model.
        case: the first of the replay.
        rungs: the ladder, the reference first; an engine is checked under the first pipeline it runs under.
        engines: by name.
        size: of a full batch.

    Returns:
        What was found, and the engines that cannot run the batch or give no row for each frame, with the reason.

    Raises:
        TruelineError: the reference's engine is one of these.
    """
    variants = {rung.engine: rung.preprocess for rung in reversed(rungs)}
    frames: dict[str, list[Tensors]] = {}
    checks, refused = [], {}
    for name, variant in sorted(variants.items()):
        if engines[name].uses_time or keeps_state(engines[name]):
            continue
        try:
            if variant not in frames:
                build = InputBuilder(card, case, variant)
                frames[variant] = [build(tick) for tick in islice(case.ticks(cameras_of(card)), size)]
            with guarded(lambda cause: EngineCrashed(cause, where="--batch", remedy="leave --batch out")):
                engines[name].start_case(context_of(case))
                checks.append(_check(name, engines[name], frames[variant], size))
        except TruelineError as error:
            if name == rungs[0].engine:
                raise
            refused[name] = Failure.of(error, "not_run")
    return checks, refused


def _check(name: str, engine: Engine, frames: Sequence[Tensors], size: int) -> RowCheck:
    try:
        alone = [engine.infer(frame) for frame in frames]
    except EngineCrashed as error:
        return RowCheck(name, False, reason=error.what)
    found = RowCheck(name, True)
    try:
        for order in _orders(len(frames)):
            rows = rows_of(engine.infer(stacked([frames[k] for k in order])), len(order), name)
            for k, row in zip(order, rows, strict=True):
                found = _worse(found, alone[k], row)
    except EngineError as error:
        raise UsageError(
            f"{name} cannot run a batch of {size}: {error.what}",
            where=f"{error.where}, --batch {size}",
            remedy="leave --batch out, or the engine",
        ) from error
    return found


def _orders(count: int) -> Iterator[Sequence[int]]:
    """Which frames fill a batch: all, all in reverse, the first half."""
    yield range(count)
    yield range(count)[::-1]
    yield range((count + 1) // 2)


def _worse(found: RowCheck, alone: Tensors, row: Tensors) -> RowCheck:
    for output, values in row.items():
        if np.array_equal(alone[output], values, equal_nan=values.dtype.kind == "f"):
            continue
        differing = tensor_metrics(alone[output], values)
        rel_rms, max_abs = (float(np.nan_to_num(differing[m][0], posinf=1.0)) for m in ("rel_rms", "max_abs"))
        worst = output if rel_rms >= found.rel_rms else found.output
        found = RowCheck(found.engine, False, max(max_abs, found.max_abs), max(rel_rms, found.rel_rms), worst)
    return found


def row_warnings(checks: Sequence[RowCheck]) -> list[RunWarning]:
    """One warning for each engine whose rows are not the frames alone."""
    return [RunWarning("batch-rows", str(check)) for check in checks if not check.bit_equal]
