"""Outputs to lines through a decoder that may be anybody's: it is asked for a chunk, and for frames where that fails.

A user's decoder may raise, end the program, give something that is no line table, or write into what it is given. The
frames before the first that it cannot decode keep their lines.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engines.foreign import guarded
from engines.protocol import Tensors
from harness.errors import DecoderError
from harness.lines.chunk import Ints
from harness.lines.decode import Decoder
from harness.lines.table import LineTable
from trueline import TruelineError

__all__ = ["Decoded", "decode_frames"]


class Decoded(NamedTuple):
    """Lines of the first `done` frames, and what stopped the decoder at the next; None where nothing did."""

    lines: LineTable
    done: int
    error: TruelineError | None


def decode_frames(decoder: Decoder, stacked: Tensors, frames: Ints) -> Decoded:
    """Decode consecutive frames as far as the decoder can.

    Args:
        decoder: of the card.
        stacked: outputs [n, ...].
        frames: the case's frame numbers, [n].

    Returns:
        Lines with the case's frame numbers.
    """
    try:
        return Decoded(_decoded(decoder, stacked, frames), len(frames), None)
    except TruelineError as error:
        whole = error
    for k in range(len(frames)):
        try:
            _decoded(decoder, _rows(stacked, k, k + 1), frames[k : k + 1])
        except TruelineError as error:
            return _until(k, decoder, stacked, frames, error)
    return Decoded(LineTable.empty(), 0, whole)  # each frame alone is fine: it is all of them that are not


def _until(count: int, decoder: Decoder, stacked: Tensors, frames: Ints, error: TruelineError) -> Decoded:
    """The lines of the first frames, which the decoder took one by one."""
    if count == 0:
        return Decoded(LineTable.empty(), 0, error)
    try:
        return Decoded(_decoded(decoder, _rows(stacked, 0, count), frames[:count]), count, error)
    except TruelineError as other:
        return Decoded(LineTable.empty(), 0, other)


def _decoded(decoder: Decoder, stacked: Tensors, frames: Ints) -> LineTable:
    kind = type(decoder)
    if not kind.__module__.startswith("harness."):  # it may write into what it is given
        stacked = {name: values.copy() for name, values in stacked.items()}
    with guarded(
        lambda cause: DecoderError(
            f"the decoder failed: {cause}",
            where=f"{kind.__module__}.{kind.__qualname__}.decode",
            remedy="make it decode every output of this model, also where there is no line",
        )
    ):
        lines = decoder.decode(stacked)
    if trouble := _trouble(lines, len(frames)):
        raise DecoderError(
            f"the decoder gave {trouble}",
            where=f"{kind.__module__}.{kind.__qualname__}.decode",
            remedy="return a LineTable with frame numbers from 0, in frame order, as LineTable.from_points makes it",
        )
    return lines.at_frames(frames[lines.frame])


def _trouble(lines: object, frames: int) -> str:
    """What is wrong with a decoder's answer; empty where nothing is."""
    if not isinstance(lines, LineTable):
        return f"a {type(lines).__name__}"
    columns = {name: getattr(lines, name) for name in LineTable.__slots__}
    if strange := [name for name, values in columns.items() if not isinstance(values, np.ndarray)]:
        return f"a LineTable whose {strange[0]} is a {type(columns[strange[0]]).__name__}"
    sizes = {name: len(columns[name]) for name in ("frame", "slot", "category", "score", "topology")}
    if len(set(sizes.values())) > 1:
        return f"columns of different lengths: {sizes}"
    start = lines.start
    if len(start) != len(lines) + 1 or start[0] != 0 or np.any(np.diff(start) < 0):
        return f"{len(lines)} lines with offsets {start[:8].tolist()} into the points"
    if not start[-1] == len(lines.x) == len(lines.y):
        return f"{start[-1]} points with {len(lines.x)} x and {len(lines.y)} y"
    if len(lines) and (lines.frame.min() < 0 or lines.frame.max() >= frames or np.any(np.diff(lines.frame) < 0)):
        return f"lines of frames {lines.frame.min()} to {lines.frame.max()} out of order or beyond the {frames} given"
    return ""


def _rows(stacked: Tensors, first: int, stop: int) -> Tensors:
    return {name: values[first:stop] for name, values in stacked.items()}
