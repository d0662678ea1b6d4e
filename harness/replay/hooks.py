"""Where a planted fault takes hold of a replay; the defaults plant nothing.

Faults that live in the preprocessing need no hook: they rewrite the card's deploy pipeline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.protocol import Engine, ModelSource, Tensors
from harness.run.rungs import Rung

__all__ = ["Hooks"]


def _open(name: str, source: ModelSource) -> Engine:
    import engines

    return engines.open(name, source)


def _same_outputs(rung: Rung, case: str, timestamps_ns: NDArray[np.int64], outputs: Tensors) -> Tensors:
    return outputs


@dataclass(frozen=True)
class Hooks:
    """Replaceable parts of a replay.

    Attributes:
        open_engine: opens an engine by name; a fault gives it another checkpoint or a wrapped engine.
        outputs: sees the stacked outputs [frames, ...] of one chunk before they are decoded, frames in time order.
    """

    open_engine: Callable[[str, ModelSource], Engine] = _open
    outputs: Callable[[Rung, str, NDArray[np.int64], Tensors], Tensors] = _same_outputs


Progress = Callable[[str, int, int], None]
"""Called with (case id, frames done in that case, frames of that case)."""
