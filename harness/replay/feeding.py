"""The first stage of a replay: pictures of a moment, and of them the tensors of every preprocessing variant, once each.

It runs ahead of the engines (stages.py). Preprocessing may be anybody's code: what it raises is handed on in the place
of the frame's tensors, for the rungs of the variant to end there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cases.picture import Tick
from engines.foreign import guarded
from engines.guest import read_only
from engines.protocol import Tensors
from harness.errors import PreprocessError
from trueline import TruelineError

__all__ = ["Fed", "Feed", "Refused", "bytes_of", "fed"]


class Refused(NamedTuple):
    """Why a variant has no tensors of a frame, and of no later one; and whether it had any before."""

    error: TruelineError
    began: bool


class Fed(NamedTuple):
    """One moment as engines need it: frame number, time, and what every feed made of it."""

    frame: int
    timestamp_ns: int
    tensors: tuple[Tensors | Refused | None, ...]


@dataclass
class Feed:
    """Makes the tensors of one preprocessing variant.

    Attributes:
        prepare: makes what makes the tensors of a moment.
        wanted: whether any rung still has to be fed.
        needed: whether they need any tensors; without that they get none, and nothing is prepared.
    """

    prepare: Callable[[], Callable[[Tick], Tensors]]
    wanted: Callable[[], bool]
    needed: bool = True
    _build: Callable[[Tick], Tensors] | None = field(init=False, default=None)
    _frames: int = field(init=False, default=0)
    _refused: bool = field(init=False, default=False)

    def __call__(self, tick: Tick) -> Tensors | Refused | None:
        """Tensors of a moment; why there are none; or None where nobody wants any."""
        if self._refused or not self.wanted():
            return None
        if not self.needed:
            return {}
        try:
            with guarded(_failed):
                self._build = self._build or self.prepare()
                tensors = read_only(self._build(tick))
        except TruelineError as error:
            self._refused = True
            return Refused(error, self._frames > 0)
        self._frames += 1
        return tensors


def _failed(cause: str) -> PreprocessError:
    return PreprocessError(
        f"preprocessing failed: {cause}", where="preprocess", remedy="make the pipeline take this picture"
    )


def fed(ticks: Iterable[Tick], feeds: Sequence[Feed]) -> Iterator[Fed]:
    """Every moment, fed."""
    for tick in ticks:
        yield Fed(tick.frame, tick.timestamp_ns, tuple(feed(tick) for feed in feeds))


def bytes_of(moment: Fed) -> int:
    """What its tensors hold in memory."""
    held = [tensors for tensors in moment.tensors if isinstance(tensors, dict)]
    return sum(array.nbytes for tensors in held for array in tensors.values())
