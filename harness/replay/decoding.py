"""Outputs to lines through a decoder that may be anybody's: it is asked for a chunk, and for frames where that fails.

The frames before the first that it cannot decode keep their lines.
"""

from __future__ import annotations

from typing import NamedTuple

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
    with guarded(
        lambda cause: DecoderError(
            f"the decoder failed: {cause}",
            where=f"{kind.__module__}.{kind.__qualname__}.decode",
            remedy="make it decode every output of this model, also where there is no line",
        )
    ):
        lines = decoder.decode(stacked)
    return lines.at_frames(frames[lines.frame])


def _rows(stacked: Tensors, first: int, stop: int) -> Tensors:
    return {name: values[first:stop] for name, values in stacked.items()}
