"""Ways to damage a file, each drawn from a generator: bits, ends, blocks, and what a text may be made to say."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

__all__ = ["damaged"]

_NUMBERS = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_TOKENS = re.compile(rb'"[^"\n]*"|\w+')
_ODD = (
    b"-1", b"0", b"1e999", b"-1e999", b"NaN", b"nan", b"inf", b"null", b"true", b'""', b"[]", b"{}", b"9" * 25,
    b"9" * 5000, b"18446744073709551615", b"-9223372036854775809", b"1e-400", b"[[[]]]", b'"\\u0000\\u001b[31m"',
    b'"\\ud800"', b"../../x",
)  # fmt: skip


def damaged(data: bytes, seed: str) -> bytes:
    """The data, damaged in one to three ways."""
    draw = random.Random(seed)
    ways = BINARY if b"\0" in data[:4096] else (*BINARY, *TEXT, *TEXT)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        data = draw.choice(ways)(data, draw)
    return data


def _bits(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[_place(draw, len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _place(draw: random.Random, length: int) -> int:
    """Anywhere, and as often near the start or the end, where headers are."""
    near = min(length, 256)
    return draw.choice((draw.randrange(length), draw.randrange(near), length - 1 - draw.randrange(near)))


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _block(data: bytes, draw: random.Random) -> tuple[int, int]:
    first = draw.randrange(len(data) + 1)
    return first, min(len(data), first + draw.choice((1, 8, 64, 4096)))


def _removed(data: bytes, draw: random.Random) -> bytes:
    first, stop = _block(data, draw)
    return data[:first] + data[stop:]


def _filled(data: bytes, draw: random.Random) -> bytes:
    first, stop = _block(data, draw)
    return data[:first] + bytes([draw.choice((0, 255))]) * (stop - first) + data[stop:]


def _again(data: bytes, draw: random.Random) -> bytes:
    first, stop = _block(data, draw)
    return data[:stop] + data[first:stop] * draw.choice((1, 3)) + data[stop:]


def _added(data: bytes, draw: random.Random) -> bytes:
    first, _ = _block(data, draw)
    return data[:first] + draw.randbytes(draw.choice((1, 8, 512))) + data[first:]


def _nothing_of_it(data: bytes, draw: random.Random) -> bytes:
    return draw.choice(
        (b"", draw.randbytes(64), b"\x80\x04cos\nsystem\n.", b"PK\x03\x04", b"[" * 100_000, b'{"a":' * 50_000)
    )


def _replaced(pattern: re.Pattern[bytes]) -> Callable[[bytes, random.Random], bytes]:
    def replace(data: bytes, draw: random.Random) -> bytes:
        found = list(pattern.finditer(data))
        if not found:
            return data
        match = draw.choice(found)
        return data[: match.start()] + draw.choice(_ODD) + data[match.end() :]

    return replace


def _nested(data: bytes, draw: random.Random) -> bytes:
    found = list(_NUMBERS.finditer(data))
    if not found:
        return data
    match, depth = draw.choice(found), draw.choice((20, 2_000, 50_000))
    return data[: match.start()] + b"[" * depth + match[0] + b"]" * depth + data[match.end() :]


def _lines(data: bytes, draw: random.Random) -> bytes:
    lines = data.split(b"\n")
    draw.shuffle(lines) if draw.random() < 0.3 else lines.insert(draw.randrange(len(lines) + 1), draw.choice(lines))
    return b"\n".join(lines)


BINARY = (_bits, _bits, _bits, _cut, _removed, _filled, _again, _added, _nothing_of_it)
TEXT = (_replaced(_NUMBERS), _replaced(_TOKENS), _nested, _lines)
