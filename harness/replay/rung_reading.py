"""Outputs of a rung to lines, a chunk of frames at a time: the stage behind the engines.

A frame that the decoder cannot take ends the rung there, as one that the engine cannot run does. The engine may have
run on by then: what it gave of later chunks is not read.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from engines.errors import EngineError
from engines.protocol import Tensors
from harness.lines.chunk import Ints, RungOutputs
from harness.lines.table import LineTable
from harness.replay.decoding import Decoded, decode_frames
from harness.replay.failure import Failure
from harness.replay.latencies import Latencies
from harness.replay.outputs import fitted
from harness.replay.rung_decoders import RungDecoder
from harness.run.rungs import Rung
from trueline import TruelineError

__all__ = ["Outputs", "Reader", "Reading"]


class Outputs(NamedTuple):
    """What one rung's engine gave of a chunk of frames.

    Attributes:
        collected: of every valid frame, in order.
        valid: of every frame, whether there are outputs.
        ran: of every frame, whether the rung ran.
        elapsed_ns: of `infer`, every frame that ran.
        failure: why the rung ended, by the end of the chunk.
    """

    collected: list[Tensors]
    valid: list[bool]
    ran: list[bool]
    elapsed_ns: array[int]
    failure: Failure | None


@dataclass
class Reading:
    """Reads the outputs of one rung during one case.

    Attributes:
        rung: the rung.
        decoder: makes lines of its outputs.
        required: it is the reference: a failure is raised.
        failure: why it has no (more) lines; None while it has.
        latencies: of the frames that it ran.
    """

    rung: Rung
    decoder: RungDecoder
    required: bool = False
    failure: Failure | None = None
    latencies: Latencies = field(default_factory=Latencies)

    def demand(self, error: TruelineError, place: str) -> None:
        """Raise an error of the reference; another rung's is its own affair."""
        if self.required:
            raise error.within(f"reference {self.rung.name}, {place}") from error.__cause__

    def take(self, given: Outputs, frames: Ints, shapes: Mapping[str, tuple[int, ...]]) -> RungOutputs:
        """Outputs and lines of a chunk.

        Args:
            given: by the engine.
            frames: of the chunk.
            shapes: of the reference's outputs, by name; axes of one are added or dropped to fit.
        """
        if self.failure:
            return _nothing(len(frames))
        self.failure = given.failure
        self.latencies.add(given.elapsed_ns)
        valid, ran = np.array(given.valid, bool), np.array(given.ran, bool)
        if not given.collected:
            return RungOutputs(valid, ran, {}, LineTable.empty())
        outputs = {name: np.stack([o[name] for o in given.collected]) for name in given.collected[0]}
        try:
            outputs = fitted(outputs, shapes, self.rung.name)
        except TruelineError as error:
            decoded = Decoded(LineTable.empty(), 0, error)
        else:
            decoded = decode_frames(self.decoder.reading(outputs), outputs, frames[valid])
        if decoded.error is not None:
            self._fail(decoded.error, f"frame {frames[valid][decoded.done]}")
        return _read(RungOutputs(valid, ran, outputs, LineTable.empty()), decoded)

    def _fail(self, error: TruelineError, place: str) -> None:
        self.demand(error, place)
        self.failure = Failure.of(error, error.rung_status if isinstance(error, EngineError) else "crashed", place)


@dataclass
class Reader:
    """A rung that reads the outputs of another by a decoder of its own; the engine runs once for both.

    Attributes:
        rung: the rung.
        of: reads the same outputs by the other decoder.
        decoder: makes lines of its outputs.
        failure: why it has no (more) lines; None while it has.
    """

    rung: Rung
    of: Reading
    decoder: RungDecoder
    failure: Failure | None = None

    def take(self, given: RungOutputs, frames: Ints) -> RungOutputs:
        """The chunk of these frames as the other rung had it, with lines of its own."""
        if self.failure:
            return _nothing(len(frames))
        self.failure = self.of.failure
        if not given.stacked:
            return RungOutputs(given.valid, given.ran, {}, LineTable.empty())
        decoded = decode_frames(self.decoder.reading(given.stacked), given.stacked, frames[given.valid])
        if decoded.error is not None:
            self.failure = Failure.of(decoded.error, "crashed", f"frame {frames[given.valid][decoded.done]}")
        return _read(given, decoded)


def _nothing(frames: int) -> RungOutputs:
    none = np.zeros(frames, bool)
    return RungOutputs(none, none, {}, LineTable.empty())


def _read(given: RungOutputs, decoded: Decoded) -> RungOutputs:
    """Outputs with the lines of them, up to the frame that could not be decoded."""
    if decoded.error is None:
        return RungOutputs(given.valid, given.ran, given.stacked, decoded.lines)
    valid, ran = given.valid.copy(), given.ran.copy()
    at = np.flatnonzero(valid)[decoded.done]
    valid[at:], ran[at:] = False, False
    outputs = {name: values[: decoded.done] for name, values in given.stacked.items()} if decoded.done else {}
    return RungOutputs(valid, ran, outputs, decoded.lines)
