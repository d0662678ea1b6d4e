"""What is the same in every trial: the tensors that engines are fed, and what the reference gives.

A trial replays the frames that the trials before it replayed. So both are kept, by rung, case and time, up to a number
of bytes; an engine that knows every frame of a case asks for no pictures, and a replay that nobody asks reads none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.protocol import CaseContext, Engine, Tensors, keeps_state

__all__ = ["Frames", "RecallsInputs", "RecallsOutputs"]

LIMIT_BYTES = 256 << 20


class Frames:
    """Tensors of the frames of cases; a case of which a frame is not there is as one that nothing is known of.

    Args:
        limit_bytes: of all tensors together; frames beyond it are not kept.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._known: dict[tuple[str, str], dict[int, Tensors]] = {}
        self._left = limit_bytes

    def whole(self, context: CaseContext) -> Mapping[int, Tensors] | None:
        """Time -> tensors of a case under a rung; None where a frame is missing."""
        known = self._known.get((context.rung, context.case), {})
        times = context.timestamps_ns
        return known if times and all(time in known for time in times) else None

    def keep(self, context: CaseContext, timestamp_ns: int, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Keep a copy."""
        known = self._known.setdefault((context.rung, context.case), {})
        size = sum(array.nbytes for array in tensors.values())
        if timestamp_ns in known or size > self._left:
            return
        self._left -= size
        known[timestamp_ns] = {name: np.array(array) for name, array in tensors.items()}


class _Recalls:
    """An engine in the place of another; what it knows of a case it takes from there."""

    uses_time = True
    keeps_state = True  # every rung has its own, and is told which it is

    def __init__(self, engine: Engine, frames: Frames) -> None:
        self._engine, self._frames = engine, frames
        self.name = engine.name
        self._context = CaseContext("", Path())
        self._whole: Mapping[int, Tensors] | None = None
        self._now_ns = 0

    @property
    def provenance(self) -> Mapping[str, Any]:
        """That of the engine."""
        return self._engine.provenance

    @property
    def needs_inputs(self) -> bool:
        """Whether frames of this case are missing."""
        return self._whole is None

    def start_case(self, context: CaseContext) -> None:
        """Look up what is known."""
        self._context, self._whole = context, self._frames.whole(context)
        self._engine.start_case(context)

    def seek(self, timestamp_ns: int) -> None:
        """The next `infer` is for this moment."""
        self._now_ns = timestamp_ns
        if self._engine.uses_time:
            self._engine.seek(timestamp_ns)


class RecallsOutputs(_Recalls):
    """The reference: known frames are not run.

    Args:
        engine: runs frames of cases that are not known whole; whoever opened it closes it, or its rung does where no
            other may use it.
        frames: what is known.
    """

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """What the engine gave, or gives now."""
        if self._whole is not None:
            return dict(self._whole[self._now_ns])
        given = self._engine.infer(inputs)
        self._frames.keep(self._context, self._now_ns, given)
        return given

    def close(self) -> None:
        """Free what no other rung uses."""
        if keeps_state(self._engine):
            self._engine.close()


class RecallsInputs(_Recalls):
    """The engine that is searched: it runs every frame, on known tensors.

    Args:
        engine: runs the frames.
        frames: what is known.
        fed_back: names of recurrent inputs, which differ from trial to trial.
    """

    def __init__(self, engine: Engine, frames: Frames, fed_back: frozenset[str] = frozenset()) -> None:
        super().__init__(engine, frames)
        self._fed_back = fed_back

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """What the engine gives."""
        if self._whole is not None:
            return self._engine.infer({**self._whole[self._now_ns], **inputs})
        fed = {name: array for name, array in inputs.items() if name not in self._fed_back}
        self._frames.keep(self._context, self._now_ns, fed)
        return self._engine.infer(inputs)

    def close(self) -> None:
        """Free what it holds."""
        self._engine.close()
