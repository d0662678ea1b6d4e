"""How a recurrent model's divergence from the reference grows over a case: rows of state_metrics.parquet.

Looked at are the tensors that are fed back ([state] of the card), and the lines: `lines.offset` and `lines.bend` pool
the largest offset and the bend of every matched line and band. What a growth is: harness/measures/growth.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.measures.growth import DivergenceLog
from harness.measures.resets import StateSteps

__all__ = ["LINE_SIGNALS", "StateMeter", "growth_in_words"]

LINE_SIGNALS = ("lines.offset", "lines.bend")


class StateMeter:
    """Accumulates one rung's divergence over a case; twelve bytes a step and output.

    Args:
        outputs: the outputs that are fed back.
    """

    def __init__(self, outputs: Sequence[str]) -> None:
        self._logs = {signal: DivergenceLog() for signal in (*outputs, *LINE_SIGNALS)}
        self._steps = {output: StateSteps() for output in outputs}
        self._when: list[NDArray[np.int64]] = []
        self._power = dict.fromkeys(outputs, (0.0, 0))  # of the reference: (sum of mean squares, frames)

    def tensor(self, output: str, step: NDArray[np.int64], reference: NDArray[Any], candidate: NDArray[Any]) -> None:
        """Take one output of some steps, [steps, ...]; outputs that are not fed back are passed over."""
        if output not in self._power:
            return
        before, after = (a.reshape(len(step), -1).astype(np.float64) for a in (reference, candidate))
        self._steps[output].add(before, after)
        if output == next(iter(self._steps)):
            self._when.append(step)
        with np.errstate(invalid="ignore", over="ignore"):
            self._logs[output].add(step, np.sqrt(np.mean((after - before) ** 2, axis=1)))
            power = np.mean(before**2, axis=1)
        total, frames = self._power[output]
        self._power[output] = total + float(power[np.isfinite(power)].sum()), frames + int(np.isfinite(power).sum())

    def lines(self, step: NDArray[np.int64], offset: NDArray[np.float64], bend: NDArray[np.float64]) -> None:
        """Take matched lines: the step of each, [n], its largest offset and its bend, both [n, bands]."""
        for signal, values in zip(LINE_SIGNALS, (offset, bend), strict=True):
            self._logs[signal].add(np.repeat(step, values.shape[1]), values.ravel())

    def resets(self) -> list[tuple[int, float]]:
        """(step counted from 1, size in units of the reference's RMS) of every jump of a state, one a step."""
        worst: dict[int, float] = {}
        for output, steps in self._steps.items():
            total, frames = self._power[output]
            for at, size in steps.resets(math.sqrt(total / frames) if frames else 0.0):
                step = int(np.concatenate(self._when)[at])
                worst[step] = max(worst.get(step, 0.0), size)
        return sorted(worst.items())

    def rows(self, fps: float) -> Iterator[dict[str, Any]]:
        """One row for each signal; tensors in units of the reference's RMS over the case, lines in the run's own."""
        for signal, log in self._logs.items():
            total, frames = self._power.get(signal, (1.0, 1))
            found = log.growth(fps, math.sqrt(total / frames) if frames else 0.0)
            known = {name: value if value == value else None for name, value in asdict(found).items()}  # NaN is null
            yield {"signal": signal, "fps": fps, **known}


def growth_in_words(rows: pl.DataFrame) -> list[str]:
    """The case in which each rung's states run away fastest, one line a rung; empty for a model without state.

    Args:
        rows: of state_metrics.
    """
    worst = rows.filter(~pl.col("signal").is_in(LINE_SIGNALS)).drop_nulls("growth").sort("growth", descending=True)
    return [_in_words(row) for row in worst.unique("rung", keep="first", maintain_order=True).iter_rows(named=True)]


def _in_words(row: dict[str, Any]) -> str:
    rate = f", doubling every {row['doubling_s']:.2g} s" if row["doubling_s"] is not None else ""
    place = f"{row['signal']} in case {row['case']}, {row['late']:.2g} of the reference late on"
    return f"{row['rung']}: state diverges like n^{row['growth']:.2f}{rate} ({place})"
