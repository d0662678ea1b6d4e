"""The noise floor: differences an engine shows against itself, below which a difference between engines means nothing.

`trueline replay --floor` adds probes to every engine of the last pipeline. A probe is that engine again in a way that
changes nothing in real arithmetic, compared with the rung it belongs to:

    repeat      the same engine runs the same input again
    rebuild     the engine is made anew: export, graph optimisation, plan, all caches empty
    reorder     the same sums in another order (of engines that run our ONNX graph on the CPU)
    batch-row   the input as the middle row of a batch of three (of models with a dynamic batch)

Probes are no rungs: they stand in no ladder and in no table but `floors.parquet`, which keeps for every metric the
largest value any frame, line or track of the case showed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.lines.chunk import RungOutputs
from harness.measures.clock import Clock
from harness.measures.match import match
from harness.measures.measured import Measured
from harness.measures.pairs import pair_metrics
from harness.measures.series import SeriesStore
from harness.measures.series_table import SeriesTable
from harness.measures.tensor import tensor_metrics
from harness.model.grid import Grid
from harness.run.catalogue import measures
from harness.run.rungs import Probe
from harness.run.tables import BANDS

__all__ = ["FloorMeter"]


class FloorMeter:
    """Accumulates one probe's differences over a case.

    Args:
        probe: which.
        grid: stations and thresholds.
        clock: of the case.
    """

    def __init__(self, probe: Probe, grid: Grid, clock: Clock) -> None:
        self.probe = probe
        self._grid = grid
        self._series = SeriesStore(
            grid.series_stations, clock, scale=grid.series_scale, vehicle_frame=grid.frame == "vehicle"
        )
        self._table = SeriesTable(
            case="", rung=probe.rung.name, reference=probe.base.name, grid=grid, owned=False
        )  # fmt: skip
        self._largest: dict[tuple[str, str | None], float] = {}
        self._count: dict[tuple[str, str | None], int] = {}

    def close(self) -> None:
        """Give buffers back."""
        self._series.close()

    def add(self, base: RungOutputs, again: RungOutputs, base_lines: Measured, again_lines: Measured) -> None:
        """Take a chunk: outputs and lines of the rung, and of the probe."""
        both = base.valid & again.valid
        if not both.any():
            return
        self._lines(base_lines, again_lines)
        for output, values in again.stacked.items():
            found = tensor_metrics(base.stacked[output][both[base.valid]], values[both[again.valid]])
            for metric in _with_floor("tensor_metrics"):
                self._take(metric, None, found[metric])

    def _lines(self, base: Measured, again: Measured) -> None:
        found = match(base.lines, again.lines, self._grid, base.at_bands, again.at_bands)
        pairs = pair_metrics(base.lines, again.lines, found, self._grid, base.at_bands, again.at_bands)
        for metric in _with_floor("line_metrics"):
            if metric in pairs.bands:
                for k, band in enumerate(BANDS):
                    self._take(metric, band, pairs.bands[metric][:, k])
            else:
                self._take(metric, None, getattr(pairs, metric))
        offset = np.full(base.at_look_ahead.shape, np.nan)
        offset[found.reference] = again.at_look_ahead[found.candidate] - base.at_look_ahead[found.reference]
        matched = np.zeros(len(base.lines), bool)
        matched[found.reference] = True
        self._series.append(base.lines.frame, base.track, offset, base.at_look_ahead, matched=matched)
        missing, extra = base.lines.frame[found.missing], again.lines.frame[found.extra]
        for metric, unmatched in (("missing", missing), ("extra", extra)):
            self._take(metric, None, np.unique(unmatched, return_counts=True)[1].astype(float))

    def end_section(self, context: int) -> None:
        """Measure the series so far; those from frame `context` on are context of the next section."""
        self._table.add(self._series)
        self._series.forget(context)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rows of the floors table; a metric that never had a value has none."""
        self._table.add(self._series)
        table = self._table.table()
        for metric in _with_floor("series_metrics"):
            self._take(metric, None, table[metric].drop_nulls().to_numpy())
        for (metric, band), value in sorted(self._largest.items(), key=lambda item: (item[0][0], item[0][1] or "")):
            yield {
                "rung": self.probe.base.name,
                "probe": self.probe.kind,
                "metric": metric,
                "band": band,
                "value": value,
                "count": self._count[metric, band],
            }

    def _take(self, metric: str, band: str | None, values: NDArray[Any]) -> None:
        finite = np.abs(values[np.isfinite(values)])
        if len(finite) or metric in ("missing", "extra"):
            key = (metric, band)
            self._largest[key] = max(self._largest.get(key, 0.0), float(finite.max(initial=0.0)))
            self._count[key] = self._count.get(key, 0) + len(finite)


def _with_floor(table: str) -> tuple[str, ...]:
    """Columns of a table of which a noise floor is measured."""
    found = measures()
    return tuple(m.column for m in found.values() if m.table == table and m.has_floor)
