"""An engine of somebody else's: it is lent copies, what it gives is copied, and what it raises is one line.

So it may write into its inputs, hand out one buffer again and again, or call `sys.exit`: no other rung notices. Ours
get arrays that nobody can write to (`read_only`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineCrashed, ModelLoadError
from engines.foreign import is_ours, outside
from engines.protocol import CaseContext, Engine, Tensors, keeps_state

__all__ = ["GuestEngine", "hosted", "read_only"]


_PARTS = ("name", "uses_time", "provenance", "start_case", "seek", "infer", "close")


def hosted(engine: Engine, name: str) -> Engine:
    """The engine opened under this name; one that is not ours with a wall around it.

    Raises:
        ModelLoadError: it is no engine.
    """
    if is_ours(engine):
        return engine
    told = partial(ModelLoadError, where=f"engine {name}", remedy="see docs/engines.md, or tell whoever made it")
    with outside(lambda cause: told(f"{name} says of itself: {cause}")):
        if absent := [part for part in _PARTS if not hasattr(engine, part)]:
            raise told(f"{name} gave a {type(engine).__name__} without {absent[0]}")
        return GuestEngine(engine)


def read_only(tensors: Mapping[str, NDArray[Any]]) -> Tensors:
    """The same arrays, not to be written to; whoever shares them may rely on it."""
    found = {name: array.view() for name, array in tensors.items()}
    for array in found.values():
        array.flags.writeable = False
    return found


class GuestEngine:
    """See the module; `Engine` says what the methods do."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = str(engine.name)
        self._learn()

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What it says of itself."""
        return self._engine.provenance

    def start_case(self, context: CaseContext) -> None:
        """A new case begins."""
        told = partial(ModelLoadError, where=f"engine {self.name}", remedy="see why")
        with outside(lambda cause: told(f"{self.name} cannot begin a case: {cause}")):
            self._engine.start_case(context)
            self._learn()

    def seek(self, timestamp_ns: int) -> None:
        """The next `infer` is for this moment."""
        with outside(lambda cause: self._crashed("failed", cause)):
            self._engine.seek(timestamp_ns)

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Run it once on copies.

        Raises:
            EngineCrashed: it raised something, or gave something else than arrays by name.
        """
        with outside(lambda cause: self._crashed("failed", cause)):
            given: Any = self._engine.infer({name: array.copy() for name, array in inputs.items()})
            return self._copied(dict(given) if isinstance(given, Mapping) else given)

    def close(self) -> None:
        """Free what it holds."""
        with outside(lambda cause: self._crashed("does not close", cause)):
            self._engine.close()

    def _learn(self) -> None:
        self.uses_time, self.keeps_state = bool(self._engine.uses_time), keeps_state(self._engine)

    def _copied(self, given: Any) -> Tensors:
        """Plain arrays by name; masked arrays, matrices and other kinds of array lose what is special of them."""
        if not isinstance(given, dict):
            raise self._crashed("failed", f"it gave a {type(given).__name__}, not outputs by name")
        for name, values in given.items():
            if not isinstance(name, str) or not isinstance(values, np.ndarray):
                raise self._crashed("failed", f"output {name!r} is a {type(values).__name__}, not a NumPy array")
        return {name: np.array(values, subok=False) for name, values in given.items()}

    def _crashed(self, how: str, cause: str) -> EngineCrashed:
        return EngineCrashed(f"{self.name} {how}: {cause}", where=f"engine {self.name}", remedy="see why it does")
