"""Where a replay may be watched and where a planted fault takes hold of it; the defaults do neither.

Faults that live in the preprocessing need no hook: they rewrite the card's deploy pipeline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engines.protocol import Engine, ModelSource

__all__ = ["Hooks", "Progress", "quiet"]

Progress = Callable[[str, int, int], None]
"""Called with (what, done, total): a case and its frames, for one."""


def quiet(what: str, done: int, total: int) -> None:
    """A progress that nobody watches."""


def _open(name: str, source: ModelSource) -> Engine:
    import engines

    return engines.open(name, source)


@dataclass(frozen=True)
class Hooks:
    """Replaceable parts of a replay.

    Attributes:
        open_engine: opens an engine by name; a fault gives it another checkpoint or a wrapped engine.
    """

    open_engine: Callable[[str, ModelSource], Engine] = _open
