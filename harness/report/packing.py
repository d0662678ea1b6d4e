"""Whole numbers as few bytes, and lines as whole numbers: what a report holds of thousands of frames.

A line is rounded to a quantum, less the line it is most like (the reference's of the same frame and track; of the
reference its own of the frame before), and written as second differences, so that what is smooth and alike is nearly
all zeros. Numbers are zigzag varints (small ones of either sign take one byte), and all of a case is deflated once. The
page reads it in templates/clip.js.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MISSING", "Lines", "packed", "quantum_of", "second_differences", "series", "undone", "unpacked", "varints"]

MISSING = -(2**20)
"""Stands for no value in a series."""

Ints = NDArray[np.int64]

_LEVEL = 9


@dataclass(frozen=True)
class Lines:
    """Lines of one case in whole quanta, the reference's first in every frame.

    Attributes:
        frame: position of the frame in the clip, int64 [lines], not decreasing.
        rung: position in the ladder, [lines].
        track: [lines], -1 where the line has none.
        count: points of each, [lines].
        x, y: quanta, int64 [points].
        facts: other columns, whole numbers, [lines] each.
    """

    frame: Ints
    rung: Ints
    track: Ints
    count: Ints
    x: Ints
    y: Ints
    facts: Mapping[str, Ints]

    def streams(self, reference: int) -> dict[str, Ints]:
        """The columns as they are written; `reference` is the reference's position in the ladder."""
        like = self._alike(reference)
        columns = {"frame": np.diff(self.frame, prepend=0), "rung": self.rung, "track": self.track, "count": self.count}
        return {
            **columns,
            **self.facts,
            "x": second_differences(self.x, self.count, like),
            "y": second_differences(self.y, self.count, like),
        }

    def _alike(self, reference: int) -> Ints:
        """The line that each is told against, [lines]; -1 where it is told by itself."""
        like = np.full(len(self.frame), -1, np.int64)
        last: dict[int, int] = {}
        rows = zip(self.frame.tolist(), self.rung.tolist(), self.track.tolist(), self.count.tolist(), strict=True)
        for line, (frame, rung, track, count) in enumerate(rows):
            other = last.get(track, -1) if track >= 0 else -1
            same_moment = rung == reference or (other >= 0 and self.frame[other] == frame)
            if other >= 0 and same_moment and self.count[other] == count:
                like[line] = other
            if rung == reference and track >= 0:
                last[track] = line
        return like


def quantum_of(unit: str) -> float:
    """What coordinates are rounded to: a millimetre, or a fiftieth of a pixel."""
    return 0.001 if unit == "m" else 0.02


def second_differences(values: Ints, count: Ints, like: Ints) -> Ints:
    """Values less those of the line each is like; then the first, the first step, and how the step changes.

    Args:
        values: [points], line after line.
        count: points of each line.
        like: line that each is told against, -1 for none; it has as many points.
    """
    start = np.concatenate([[0], np.cumsum(count)])[:-1]
    place = np.arange(len(values)) - np.repeat(start, count)
    against = np.repeat(like, count)
    other = values[np.where(against >= 0, start[np.maximum(against, 0)] + place, 0)] if len(values) else values
    rest = values - np.where(against >= 0, other, 0)
    once = rest - np.where(place >= 1, np.roll(rest, 1), 0)
    return once - np.where(place >= 2, np.roll(once, 1), 0)


def undone(coded: Ints, count: Ints, like: Ints) -> Ints:
    """The values of `second_differences`, as the page gets them back."""
    values = np.zeros(len(coded), np.int64)
    start = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    for line, other in enumerate(like.tolist()):
        span = slice(start[line], start[line + 1])
        own = coded[span].copy()
        own[1:] = np.cumsum(own[1:])
        values[span] = np.cumsum(own) + (values[start[other] : start[other + 1]] if other >= 0 else 0)
    return values


def series(values: NDArray[np.floating[Any]], quantum: float) -> Ints:
    """Values over time as differences of whole quanta; MISSING stands for NaN."""
    finite = np.isfinite(values)
    whole = np.full(len(values), MISSING, np.int64)
    whole[finite] = np.clip(np.round(np.asarray(values)[finite] / quantum), MISSING + 1, -MISSING)
    return np.diff(whole, prepend=0)


def varints(values: Ints) -> bytes:
    """Zigzag LEB128: 0, -1, 1, -2 are 0, 1, 2, 3; seven bits a byte, the highest bit set where more follow."""
    zigzag = (np.asarray(values, np.int64) << 1 ^ np.asarray(values, np.int64) >> 63).astype(np.uint64)
    groups = np.maximum(1, -(-_bits(zigzag) // 7))
    at = np.concatenate([[0], np.cumsum(groups)])
    out = np.zeros(int(at[-1]), np.uint8)
    for k in range(int(groups.max(initial=0))):
        more = groups > k
        byte = (zigzag[more] >> np.uint64(7 * k) & np.uint64(127)).astype(np.uint8)
        out[at[:-1][more] + k] = byte | np.where(groups[more] > k + 1, 128, 0).astype(np.uint8)
    return out.tobytes()


def _bits(values: NDArray[np.uint64]) -> Ints:
    """Binary digits of each."""
    bits = np.zeros(len(values), np.int64)
    left = values.copy()
    while left.any():
        bits += left > 0
        left >>= np.uint64(1)
    return bits


def packed(head: Mapping[str, Any], streams: Mapping[str, Ints]) -> str:
    """A head and its streams, deflated, as base64; `unpacked` and the page read it.

    Args:
        head: JSON-able; gets `streams`, name and length of each.
        streams: whole numbers that fit into 53 bits.
    """
    text = json.dumps({**head, "streams": [[n, len(v)] for n, v in streams.items()]}, separators=(",", ":")).encode()
    body = b"".join([len(text).to_bytes(4, "little"), text, *map(varints, streams.values())])
    return base64.b64encode(zlib.compress(body, _LEVEL)).decode("ascii")


def unpacked(data: str) -> tuple[dict[str, Any], dict[str, Ints]]:
    """(head, streams) of what `packed` wrote."""
    body = zlib.decompress(base64.b64decode(data))
    size = int.from_bytes(body[:4], "little")
    head = json.loads(body[4 : 4 + size])
    numbers = _numbers(np.frombuffer(body, np.uint8)[4 + size :])
    ends = np.cumsum([0, *(n for _, n in head["streams"])])
    return head, {name: numbers[ends[i] : ends[i + 1]] for i, (name, _) in enumerate(head["streams"])}


def _numbers(data: NDArray[np.uint8]) -> Ints:
    last = np.flatnonzero(data < 128)
    first = np.concatenate([[0], last[:-1] + 1]) if len(last) else last
    shift = (np.arange(len(data)) - np.repeat(first, last - first + 1)) * 7
    parts = (data & 127).astype(np.uint64) << shift.astype(np.uint64)
    zigzag = np.add.reduceat(parts, first) if len(first) else parts
    return (zigzag >> np.uint64(1)).astype(np.int64) ^ -(zigzag & np.uint64(1)).astype(np.int64)


def thinned_places(count: Sequence[int] | Ints, most: int) -> tuple[Ints, Ints]:
    """Which points of ragged lines to keep: at most `most` of each, evenly picked, both ends kept.

    Returns:
        (places among all points, points kept of each line).
    """
    count = np.asarray(count, np.int64)
    kept = np.minimum(count, most)
    start = np.concatenate([[0], np.cumsum(count)])[:-1]
    begin = np.concatenate([[0], np.cumsum(kept)])[:-1]
    j = np.arange(int(kept.sum())) - np.repeat(begin, kept)
    step = (count - 1) / np.maximum(kept - 1, 1)
    return np.repeat(start, kept) + np.rint(j * np.repeat(step, kept)).astype(np.int64), kept
