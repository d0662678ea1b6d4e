"""Rows of a batch in lines: how far a row's lines are from those of the same frame alone.

Both are decoded and matched as two rungs are. What passes a finding's threshold is an event of the engine's rungs:
`batch_rows` where lines move, `batch_lines` where a frame has other lines in a batch than alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from engines.protocol import Tensors
from harness.lines.chunk import Ints, RungOutputs
from harness.lines.decode import Decoder
from harness.measures.events import Event
from harness.measures.match import match
from harness.measures.measured import Measured, measured
from harness.measures.pairs import PairMetrics, pair_metrics
from harness.model.grid import Grid
from harness.replay.decoding import decode_frames
from harness.run.catalogue import Measure, events_of
from harness.run.units import ROUNDING

__all__ = ["RowLines", "row_lines"]


@dataclass(frozen=True, slots=True)
class RowLines:
    """Lines of rows against those of the frames alone.

    Attributes:
        size: of the largest movement against its threshold, in the card's length unit; 0 where nothing moves. Lengths
            alone: what turns a line without moving it has its size below.
        share: that size as a share of its threshold: more than one is a finding.
        threshold: of it.
        frame: where it is; -1 where nothing moves.
        changed: frames that have other lines in a batch than alone.
        sizes: measure -> largest size in each band, in base units.
    """

    size: float = 0.0
    share: float = 0.0
    threshold: float = 0.0
    frame: int = -1
    changed: tuple[int, ...] = ()
    sizes: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def worse(self, other: RowLines) -> RowLines:
        """The larger movement of two, and the changed frames and sizes of both."""
        largest = other if other.share > self.share else self
        changed = tuple(sorted({*self.changed, *other.changed}))
        sizes = dict(self.sizes)
        for name, own in other.sizes.items():
            sizes[name] = tuple(map(max, sizes[name], own)) if name in sizes else own
        return replace(largest, changed=changed, sizes=sizes)

    def events(self, first: int, last: int) -> list[Event]:
        """What is a finding, over the frames that were tried, both included."""
        found = []
        if self.share > 1 + ROUNDING:
            found.append(Event("batch_rows", first, last, -1, -1, self.size, self.threshold, frame=self.frame))
        if self.changed:
            count = float(len(self.changed))
            found.append(Event("batch_lines", first, last, -1, -1, count, 1.0, frame=self.changed[0]))
        return found


def row_lines(
    decoder: Decoder, grid: Grid, frames: Sequence[int], alone: Sequence[Tensors], rows: Sequence[Tensors]
) -> RowLines:
    """Compare frames alone with their rows.

    Args:
        decoder: of the card.
        grid: stations and thresholds.
        frames: numbers of the frames, ascending, [n].
        alone: outputs of each frame by itself.
        rows: outputs of the same frames in one batch.

    Raises:
        DecoderError: the decoder takes neither.
    """
    numbers = np.asarray(frames, np.int64)
    one, other = (_lines(decoder, grid, numbers, outputs) for outputs in (alone, rows))
    found = match(one.lines, other.lines, grid, one.at_bands, other.at_bands)
    lost = {*one.lines.frame[found.missing].tolist(), *other.lines.frame[found.extra].tolist()}
    pairs = pair_metrics(one.lines, other.lines, found, grid, one.at_bands, other.at_bands)
    worst = RowLines(changed=tuple(sorted(lost)))
    for measure in events_of("line_metrics"):
        if measure.column in pairs.bands or measure.column == "chamfer":
            largest = _largest(measure, pairs, one.lines.frame[found.reference], grid)
            worst = worst.worse(largest if measure.quantity == "length" else RowLines(sizes=largest.sizes))
    return worst


def _lines(decoder: Decoder, grid: Grid, frames: Ints, outputs: Sequence[Tensors]) -> Measured:
    stacked = {name: np.stack([o[name] for o in outputs]) for name in outputs[0]}
    decoded = decode_frames(decoder, stacked, frames)
    if decoded.error is not None:
        raise decoded.error
    ran = np.ones(len(frames), bool)
    return measured(RungOutputs(ran, ran, {}, decoded.lines), grid)


def _largest(measure: Measure, pairs: PairMetrics, frame: Ints, grid: Grid) -> RowLines:
    """The value that is the largest share of its threshold."""
    assert measure.threshold is not None  # events_of chose it so
    values = np.abs(pairs.bands[measure.column] if measure.column in pairs.bands else pairs.chamfer[:, None])
    limits = np.broadcast_to(np.array(measure.threshold.of(grid))[: values.shape[1]], values.shape)
    share = np.nan_to_num(values / limits, nan=0.0)
    if not share.size or not share.any():
        return RowLines()
    sizes = tuple(np.nan_to_num(values, nan=0.0).max(axis=0).tolist())
    pair, band = np.unravel_index(share.argmax(), share.shape)
    return RowLines(
        float(values[pair, band]), float(share[pair, band]), float(limits[pair, band]), int(frame[pair]),
        sizes={measure.name: sizes},
    )  # fmt: skip
