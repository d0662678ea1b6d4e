"""Batches: several frames in one call of an engine, for throughput. Off unless `--batch N` asks for it.

A network gives each row of a batch what it would give the frame alone only in real arithmetic: other shapes pick other
kernels and orders of sums, and a layer that looks across rows changes everything. So before a batch is used, every
engine gets the same frames alone, in a full batch, in the reverse order, and in a batch that is half as full; the
largest difference is kept in run.json, in numbers and in lines (row_lines.py). It is told where it is more than
rounding, and a finding of the engine's rungs where lines pass a threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from harness.lines.decode import Decoder, build_decoder
from harness.measures.events import Event
from harness.measures.tensor import tensor_metrics
from harness.model.card import Card, InputSpec
from harness.replay.failure import Failure
from harness.replay.row_lines import RowLines, row_lines
from harness.run.rungs import Rung
from harness.run.warning import RunWarning
from trueline import TruelineError

__all__ = ["RowCheck", "batched", "check_rows", "row_warnings", "rows_of", "stacked"]

BATCH = "batch"  # name of the dynamic dimension
ROUNDING = 2.0**-13  # of an output's RMS: a thousand roundings of fp32, the most that another order of sums explains
LITTLE = 0.01  # of a finding's threshold: lines that move less do not move


@dataclass(frozen=True, slots=True)
class RowCheck:
    """How far an engine's rows are from the frames alone.

    Attributes:
        engine: its name.
        bit_equal: no bit differs; false where nothing could be compared.
        max_abs, rel_rms: the largest of any frame, output and batch; rel_rms is 1 where the frame alone gives zeros.
        output: the output with the largest rel_rms; empty where no bit differs.
        reason: why there is no comparison; empty where there is one.
        lines: how far the lines move, and which frames have others; None where no decoder could tell.
        unit: of lengths.
        frames: numbers of the first and the last frame tried.
    """

    engine: str
    bit_equal: bool
    max_abs: float = 0.0
    rel_rms: float = 0.0
    output: str = ""
    reason: str = ""
    lines: RowLines | None = None
    unit: str = "m"
    frames: tuple[int, int] = (0, 0)

    @property
    def matters(self) -> bool:
        """Whether the rows differ by more than rounding, or could not be compared."""
        moved = self.lines is not None and (self.lines.share > LITTLE or bool(self.lines.changed))
        return bool(self.reason) or self.rel_rms > ROUNDING or moved

    @property
    def events(self) -> list[Event]:
        """What of it is a finding."""
        return self.lines.events(*self.frames) if self.lines is not None else []

    def __str__(self) -> str:
        if self.reason:
            return f"{self.engine}: rows of a batch were not checked: {self.reason}"
        return (
            f"{self.engine}: a row of a batch is not what the frame gives alone: {self.output} by {self.rel_rms:.2g} "
            f"of its RMS, {self.max_abs:.2g} at most{self._in_lines()}"
        )

    def _in_lines(self) -> str:
        if self.lines is None:
            return ""
        limit = f" (a finding above {self.lines.threshold:.2g} {self.unit})" if self.lines.size else ""
        said = [f"lines move by {self.lines.size:.2g} {self.unit}{limit}"]
        if self.lines.changed:
            said.append(f"{len(self.lines.changed)} frames have other lines")
        return "; " + ", ".join(said)


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
    frames: dict[str, dict[int, Tensors]] = {}
    reader = _Reader(card, build_decoder(card))
    checks, refused = [], {}
    for name, variant in sorted(variants.items()):
        if engines[name].uses_time or keeps_state(engines[name]):
            continue
        try:
            if variant not in frames:
                build = InputBuilder(card, case, variant)
                frames[variant] = {tick.frame: build(tick) for tick in islice(case.ticks(cameras_of(card)), size)}
            with guarded(lambda cause: EngineCrashed(cause, where="--batch", remedy="leave --batch out")):
                engines[name].start_case(context_of(case))
                checks.append(_check(name, engines[name], frames[variant], reader, size))
        except TruelineError as error:
            if name == rungs[0].engine:
                raise
            refused[name] = Failure.of(error, "not_run")
    return checks, refused


@dataclass(frozen=True)
class _Reader:
    """What reads lines of outputs."""

    card: Card
    decoder: Decoder

    def lines(self, frames: Sequence[int], alone: Sequence[Tensors], rows: Sequence[Tensors]) -> RowLines | None:
        """How far lines move; None where the decoder cannot tell: the replay says why."""
        kept = [o.name for o in self.card.outputs]
        one, other = ([{n: o[n] for n in kept if n in o} for o in outputs] for outputs in (alone, rows))
        try:
            return row_lines(self.decoder, self.card.grid, frames, one, other)
        except TruelineError:
            return None


def _check(name: str, engine: Engine, frames: Mapping[int, Tensors], reader: _Reader, size: int) -> RowCheck:
    try:
        alone = {frame: engine.infer(tensors) for frame, tensors in frames.items()}
    except EngineCrashed as error:
        return RowCheck(name, False, reason=error.what)
    found = RowCheck(name, True, unit=reader.card.length_unit, frames=(min(frames), max(frames)))
    try:
        for order in _orders(list(frames)):
            outputs = rows_of(engine.infer(stacked([frames[k] for k in order])), len(order), name)
            found = _against(found, alone, dict(zip(order, outputs, strict=True)), reader)
    except EngineError as error:
        raise UsageError(
            f"{name} cannot run a batch of {size}: {error.what}",
            where=f"{error.where}, --batch {size}",
            remedy="leave --batch out, or the engine",
        ) from error
    return found


def _against(found: RowCheck, alone: Mapping[int, Tensors], rows: Mapping[int, Tensors], reader: _Reader) -> RowCheck:
    """What was found so far, or worse by the rows of one batch."""
    for frame, row in rows.items():
        found = _worse(found, alone[frame], row)
    if found.bit_equal:
        return found
    numbers = sorted(rows)
    lines = reader.lines(numbers, [alone[k] for k in numbers], [rows[k] for k in numbers])
    return replace(found, lines=lines if found.lines is None or lines is None else found.lines.worse(lines))


def _orders(frames: Sequence[int]) -> Iterator[Sequence[int]]:
    """Which frames fill a batch: all, all in reverse, the first half."""
    yield frames
    yield frames[::-1]
    yield frames[: (len(frames) + 1) // 2]


def _worse(found: RowCheck, alone: Tensors, row: Tensors) -> RowCheck:
    for output, values in row.items():
        if np.array_equal(alone[output], values, equal_nan=values.dtype.kind == "f"):
            continue
        differing = tensor_metrics(alone[output], values)
        rel_rms, max_abs = (float(np.nan_to_num(differing[m][0], posinf=1.0)) for m in ("rel_rms", "max_abs"))
        worst = output if rel_rms >= found.rel_rms else found.output
        found = replace(
            found, bit_equal=False, max_abs=max(max_abs, found.max_abs), rel_rms=max(rel_rms, found.rel_rms),
            output=worst,
        )  # fmt: skip
    return found


def row_warnings(checks: Sequence[RowCheck]) -> list[RunWarning]:
    """One warning for each engine whose rows are not the frames alone by more than rounding."""
    return [RunWarning("batch-rows", str(check)) for check in checks if check.matters]
