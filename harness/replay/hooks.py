"""Where a replay may be watched and where a planted fault takes hold of it; the defaults do neither.

Faults that live in the preprocessing need no hook: they rewrite the card's deploy pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from engines.protocol import Engine, ModelSource

__all__ = ["Hooks", "Progress", "over_all", "quiet"]

Progress = Callable[[str, int, int], None]
"""Called with (what, done, total): what is worked on, and how much of the whole job is done."""


def quiet(what: str, done: int, total: int) -> None:
    """A progress that nobody watches."""


def over_all(progress: Progress, frames: Mapping[str, int]) -> Progress:
    """A progress for one case after the other, told as frames of all of them.

    Args:
        progress: told (case, frames done in all, frames in all).
        frames: of every case that is still to do, in that order.
    """
    before = dict(zip(frames, accumulate(frames.values(), initial=0), strict=False))
    total = sum(frames.values())
    return lambda case, done, _: progress(case, before[case] + done, total)


def _open(name: str, source: ModelSource) -> Engine:
    import engines

    return engines.open(name, source)


@dataclass(frozen=True)
class Hooks:
    """Replaceable parts of a replay.

    Attributes:
        open_engine: opens an engine by name; a fault gives it another checkpoint or a wrapped engine.
        results: what may be done with kept results (harness/replay/results.py): `leave` them; `take` tensors of rungs,
            because whatever the hooks change is told by the provenance of the engine; or `keep` new ones, too.
    """

    open_engine: Callable[[str, ModelSource], Engine] = _open
    results: Literal["leave", "take", "keep"] = "leave"
