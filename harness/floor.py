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

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineUnavailable
from engines.protocol import CaseContext, Engine, Tensors
from harness.card import Card
from harness.grid import Grid
from harness.lines import LineTable
from harness.match import Matches
from harness.metrics.pairs import pair_metrics
from harness.metrics.series import Clock, SeriesStore
from harness.metrics.series_table import series_metrics_table
from harness.metrics.tensor import tensor_metrics
from harness.rungs import Rung
from harness.tables import BANDS

__all__ = ["PROBES", "BatchRow", "FloorMeter", "Probe", "open_probe", "probes_of"]

Floats = NDArray[np.float64]

PROBES = ("repeat", "rebuild", "reorder", "batch-row")
_REORDERED = ("ort-fp32",)
_TENSOR = ("max_abs", "rel_rms", "ulp_p99")
_SERIES = ("bias", "jitter", "sway_rms", "swing_pp")


@dataclass(frozen=True, slots=True)
class Probe:
    """One engine against itself: `kind` of PROBES on the rung `base`."""

    kind: str
    base: Rung

    @property
    def rung(self) -> Rung:
        """A rung to run it by, `deploy/ort-fp32~repeat`."""
        return Rung(self.base.preprocess, f"{self.base.engine}~{self.kind}", self.base.name, (f"noise:{self.kind}",))


def probes_of(rungs: Sequence[Rung]) -> tuple[Probe, ...]:
    """Every kind of probe on every engine under the pipeline of the last plain rung; dumps cannot be probed."""
    plain = [r for r in rungs if "+" not in r.preprocess and not r.engine.startswith("recorded")]
    last = plain[-1].preprocess
    return tuple(Probe(kind, r) for r in plain if r.preprocess == last for kind in PROBES)


def open_probe(probe: Probe, card: Card, engine: Engine, reopen: Callable[[str], Engine]) -> Engine:
    """The engine of a probe.

    Args:
        probe: which.
        card: the model.
        engine: the engine of the rung itself.
        reopen: opens an engine by name with empty caches.

    Raises:
        EngineUnavailable: this kind of probe says nothing about this engine or model.
    """
    if probe.kind == "repeat":
        return engine
    if probe.kind == "rebuild":
        return reopen(probe.base.engine)
    if probe.kind == "reorder" and probe.base.engine in _REORDERED:
        return reopen("emulated-reorder")
    if probe.kind == "batch-row" and all(i.shape and isinstance(i.shape[0], str) for i in card.inputs):
        return BatchRow(engine)
    why = {"reorder": "its graph is not ours to reorder", "batch-row": "the model's batch size is fixed"}[probe.kind]
    raise EngineUnavailable(
        f"no {probe.kind} probe of {probe.base.engine}: {why}", where=probe.rung.name, remedy="the other probes stand"
    )


class BatchRow:
    """An engine whose input is the middle row of a batch of three; the rows around it are the inputs before."""

    uses_time = False

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = f"{engine.name}~batch-row"
        self._before: Mapping[str, NDArray[Any]] | None = None

    @property
    def provenance(self) -> Mapping[str, Any]:
        """That of the engine."""
        return self._engine.provenance

    def start_case(self, context: CaseContext) -> None:
        """Forget the inputs before."""
        self._before = None

    def seek(self, timestamp_ns: int) -> None:
        """Inputs decide, not time."""

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Outputs of the middle row; inputs that are a batch of several rows themselves are the middle ones."""
        before = self._before or inputs
        batch = {k: np.concatenate([before[k], v, before[k][::-1]]) for k, v in inputs.items()}
        self._before = dict(inputs)
        first, rows = len(next(iter(before.values()))), len(next(iter(inputs.values())))
        return {k: v[first : first + rows] for k, v in self._engine.infer(batch).items()}

    def close(self) -> None:
        """The engine is closed by whoever opened it."""


class FloorMeter:
    """Accumulates one probe's differences over a case.

    Args:
        probe: which.
        grid: stations and thresholds.
        clock: of the case.
    """

    def __init__(self, probe: Probe, grid: Grid, clock: Clock) -> None:
        self._probe = probe
        self._grid = grid
        self._series = SeriesStore(grid.look_ahead, clock, vehicle_frame=grid.frame == "vehicle")
        self._largest: dict[tuple[str, str | None], float] = {}
        self._count: dict[tuple[str, str | None], int] = {}

    def close(self) -> None:
        """Give buffers back."""
        self._series.close()

    def lines(
        self,
        base: LineTable,
        again: LineTable,
        found: Matches,
        at_bands: tuple[Floats, Floats],
        at_look_ahead: tuple[Floats, Floats],
        track: NDArray[np.int32],
    ) -> None:
        """Take the lines of a chunk: those of the rung, those of the probe, and how they were matched.

        Args:
            base, again: lines.
            found: matches of the two.
            at_bands, at_look_ahead: lateral positions of both at the stations.
            track: of each line of the rung.
        """
        pairs = pair_metrics(base, again, found, self._grid, *at_bands)
        for metric, values in pairs.bands.items():
            if metric != "coverage":
                for k, band in enumerate(BANDS):
                    self._take(metric, band, values[:, k])
        self._take("chamfer", None, pairs.chamfer)
        self._take("score_gap", None, pairs.score_gap)
        offset = np.full(at_look_ahead[0].shape, np.nan)
        offset[found.reference] = at_look_ahead[1][found.candidate] - at_look_ahead[0][found.reference]
        matched = np.zeros(len(base), bool)
        matched[found.reference] = True
        self._series.append(base.frame, track, offset, at_look_ahead[0], matched=matched)
        for metric, unmatched in (("missing", base.frame[found.missing]), ("extra", again.frame[found.extra])):
            self._take(metric, None, np.unique(unmatched, return_counts=True)[1].astype(float))

    def tensors(self, base: Tensors, again: Tensors) -> None:
        """Take the stacked outputs of a chunk, the same frames of both."""
        for output, values in again.items():
            measured = tensor_metrics(base[output], values)
            for metric in _TENSOR:
                self._take(metric, None, measured[metric])

    def rows(self, case: str) -> Iterator[dict[str, Any]]:
        """Rows of the floors table; a metric that never had a value has none."""
        table = series_metrics_table(
            self._series,
            case=case,
            rung=self._probe.rung.name,
            reference=self._probe.base.name,
            swing_threshold=self._grid.thresholds.swing,
        )
        for metric in _SERIES:
            self._take(metric, None, table[metric].drop_nulls().to_numpy())
        for (metric, band), value in sorted(self._largest.items(), key=lambda item: (item[0][0], item[0][1] or "")):
            yield {
                "rung": self._probe.base.name,
                "probe": self._probe.kind,
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
