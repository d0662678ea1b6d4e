"""Batches that a replay makes by itself, of small models whose rows are, to the bit, what each frame gives alone.

The call of a model of a tenth of a millisecond costs more than its arithmetic. So in every case, and for every rung:

    the first ALONE frames run alone; latency is of frames that ran alone
    the last SIZE of them, half of them replaced by noise, run as one batch, in two orders
    where every bit is what the row gives alone, the frames that follow run in batches of SIZE, and what is left alone

Tables are then those of a replay without batches. The noise is for a clip that stands still: of rows that are all alike
a network that mixes them shows nothing. Only engines of ours take part whose arithmetic does not depend on
values (`rows_apart`), and only where every input of the card has a named first dimension: nothing is exported or opened
in another way for this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from engines.protocol import Engine, Tensors
from harness.model.card import Card
from harness.replay.batches import rows_of, stacked
from trueline import TruelineError

__all__ = ["ALONE", "SIZE", "OwnBatches", "may_batch"]

ALONE = 64
SIZE = 16
SMALL_NS = 1_000_000  # of one frame; a larger model gains nothing


def may_batch(card: Card, engine: Engine) -> bool:
    """Whether frames of this engine may run in batches that nobody asked for."""
    opened = all(spec.shape and isinstance(spec.shape[0], str) for spec in card.inputs)
    return opened and not card.state and bool(getattr(engine, "rows_apart", False))


@dataclass
class OwnBatches:
    """The batches of one rung in one case.

    Attributes:
        engine: runs them.
        waiting: frames that wait for their batch to fill: number, time, tensors.
        proven: whether rows are what the frames give alone.
    """

    engine: Engine
    waiting: list[tuple[int, int, Tensors]] = field(default_factory=list)
    proven: bool = False
    _alone: int = 0
    _tried: list[Tensors] = field(default_factory=list)
    _told: bool = False

    def ran_alone(self, tensors: Tensors, elapsed_ns: Sequence[int]) -> None:
        """Tell of a frame that ran alone; after enough of them rows are tried.

        Args:
            tensors: its inputs.
            elapsed_ns: of the frames that ran alone so far.
        """
        if self._told:
            return
        self._alone += 1
        if self._alone > ALONE - SIZE:
            self._tried.append(tensors)
        if self._alone >= ALONE:
            self._told = True
            self.proven = median(elapsed_ns[-SIZE:]) <= SMALL_NS and self._same()
            self._tried = []

    def taken(self) -> list[tuple[int, int, Tensors]]:
        """The frames that wait; none wait after that."""
        frames, self.waiting = self.waiting, []
        return frames

    def _same(self) -> bool:
        """Whether a batch gives every bit that its rows give alone, in this order and in reverse."""
        draw = np.random.default_rng(0)
        tried = [_noise(t, draw) if k % 2 else t for k, t in enumerate(self._tried)]
        try:
            alone = [self.engine.infer(tensors) for tensors in tried]
            for step in (1, -1):
                given = self.engine.infer(stacked(tried[::step]))
                rows = rows_of(given, len(tried), self.engine.name)
                if not all(_equal(row, one) for row, one in zip(rows, alone[::step], strict=True)):
                    return False
        except TruelineError:  # it takes no batch
            return False
        return True


def _noise(tensors: Tensors, draw: np.random.Generator) -> Tensors:
    """Tensors of the same shapes and kinds with other values: floats of the same spread, others in another order."""
    return {
        name: draw.normal(values.mean(), values.std() or 1.0, values.shape).astype(values.dtype)
        if values.dtype.kind == "f"
        else draw.permutation(values.ravel()).reshape(values.shape)
        for name, values in tensors.items()
    }


def _equal(row: Tensors, alone: Tensors) -> bool:
    return row.keys() == alone.keys() and all(
        values.shape == alone[name].shape and values.dtype == alone[name].dtype
        and np.ascontiguousarray(values).tobytes() == np.ascontiguousarray(alone[name]).tobytes()
        for name, values in row.items()
    )  # fmt: skip
