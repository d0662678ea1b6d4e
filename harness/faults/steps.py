"""Preprocessing steps that only faults have."""

from __future__ import annotations

from collections import deque

from harness.feed.preprocess.ops import Value

__all__ = ["Stale"]


class Stale:
    """Pass on the picture of `frames` moments ago; the first pictures of a case repeat the first one."""

    def __init__(self, frames: int = 1) -> None:
        self._waiting: deque[Value] = deque(maxlen=frames + 1)

    def __call__(self, value: Value) -> Value:
        """The picture of `frames` moments ago."""
        self._waiting.append(value)
        return self._waiting[0]
