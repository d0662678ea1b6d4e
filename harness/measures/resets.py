"""Resets of a recurrent state: steps in the divergence of what is fed back, from one frame to the next.

A car that forgets its state every few seconds moves its lines by a few centimetres, which no limit on lines sees; the
state itself jumps by a good part of its size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.measures.own import owner_of_change
from harness.measures.windows import running_median

__all__ = ["RESET", "StateSteps"]

Floats = NDArray[np.float64]

RESET = 0.1  # of the reference's RMS: what a state's divergence may jump by from one step to the next
_MEDIAN = 11  # steps before
_SPREADS = 10.0  # of the usual change from step to step
_QUIET, _SHARP = 6, 3.0  # it changes by three times as much as in any of the six steps before: growth does not
_FEWEST = 20  # steps


@dataclass
class StateSteps:
    """Divergence and own change of one signal, step by step; twelve bytes a step.

    Attributes:
        divergence: RMS of candidate minus reference.
        candidate: RMS of the candidate's change since the step before; NaN at the first.
        reference: of the reference's.
    """

    divergence: list[NDArray[np.float32]] = field(default_factory=list)
    candidate: list[NDArray[np.float32]] = field(default_factory=list)
    reference: list[NDArray[np.float32]] = field(default_factory=list)
    _last: tuple[Floats, Floats] | None = None

    def add(self, before: Floats, after: Floats) -> None:
        """The next steps: the reference's values and the candidate's, [steps, numbers]."""
        with np.errstate(invalid="ignore", over="ignore"):
            self.divergence.append(_rms(after - before))
            for changes, values, last in zip(
                (self.reference, self.candidate), (before, after), self._both(), strict=True
            ):
                changes.append(_rms(np.diff(values, axis=0, prepend=last)))
        self._last = before[-1:].copy(), after[-1:].copy()

    def _both(self) -> tuple[Any, Any]:
        return self._last or (np.nan, np.nan)

    def resets(self, scale: float) -> list[tuple[int, float]]:
        """(position, size in units of `scale`) of every step at which the candidate's state jumps.

        The divergence jumps by RESET or more above its median of the 11 steps before, by ten times what it usually
        changes from step to step and three times what it did in the steps before; and the candidate's own state changes
        more than the reference's there.
        """
        u = np.concatenate(self.divergence).astype(np.float64) / scale if self.divergence and scale > 0 else np.zeros(0)
        if len(u) < _FEWEST:
            return []
        usual = np.full(len(u), np.nan)  # of the 11 steps before each
        usual[_MEDIAN // 2 + 1 :] = running_median(u, _MEDIAN)[: -_MEDIAN // 2]
        change = np.diff(u, prepend=np.nan)
        before = np.lib.stride_tricks.sliding_window_view(np.abs(change), _QUIET).max(axis=1)  # NaN at the first
        jump = np.fmin(u - usual, change)
        jump[: _QUIET + 1] = 0.0
        jump[_QUIET:] = np.where(change[_QUIET:] > _SHARP * before[:-1], jump[_QUIET:], 0.0)
        least = max(RESET, _SPREADS * float(np.nanmedian(np.abs(change))))
        own = [np.concatenate(x) for x in (self.candidate, self.reference)]
        found = np.flatnonzero(jump > least)
        return [(int(k), float(jump[k])) for k in found if owner_of_change(own[0][k], own[1][k], np.inf) == "candidate"]


def _rms(values: Floats) -> NDArray[np.float32]:
    return np.asarray(np.sqrt(np.mean(values**2, axis=1)), np.float32)
