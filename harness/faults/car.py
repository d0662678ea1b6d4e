"""Faults of what the car records: a virtual car runs the model as ort-fp32 does, and something happens to its outputs.

The car stands in for the engine `recorded`, so that its rung is the one that real dumps have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import FrameEngine
from engines.errors import RecordingGap
from engines.protocol import CaseContext, Engine, ModelSource, Tensors
from harness.errors import FaultError
from harness.faults.protocol import Change, Planted
from harness.model.card import Card
from harness.model.grid import Grid

__all__ = ["CAR", "Car", "dropped_frames", "far_bow", "swing_1hz", "with_car"]

CAR = "recorded"
RUNS_LIKE = "ort-fp32"

Open = Callable[[str, ModelSource], Engine]

DROPPED_EVERY, DROPPED_IN_A_ROW = 20, 3
BOW = 0.2
SWING_PP, SWING_HZ = 0.4, 1.0


class Car(FrameEngine):
    """An engine whose outputs pass through `change` on their way into the recording."""

    uses_time = True

    def __init__(self, name: str, inner: Engine, change: Change) -> None:
        super().__init__(name, {**inner.provenance, "engine": name, "stands in for": "a recording of the car"})
        self._inner = inner
        self._change = change
        self._start_ns: int | None = None
        self._now_ns = 0
        self._frame = -1

    def start_case(self, context: CaseContext) -> None:
        """The next `seek` is the case's first moment."""
        self._inner.start_case(context)
        self._start_ns, self._frame = None, -1

    def seek(self, timestamp_ns: int) -> None:
        """The next `infer` is for this moment."""
        self._start_ns = timestamp_ns if self._start_ns is None else self._start_ns
        self._now_ns = timestamp_ns
        self._frame += 1
        self._inner.seek(timestamp_ns)

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """The model's outputs as the recording has them.

        Raises:
            RecordingGap: the recording lost this frame.
        """
        outputs = self._inner.infer(inputs)
        return self._change(outputs, (self._now_ns - (self._start_ns or 0)) / 1e9, self._frame)

    def close(self) -> None:
        """Free the inner engine."""
        self._inner.close()


def with_car(opens: Open, change: Change | None = None) -> Open:
    """`opens`, with a virtual car as the engine `recorded`; without `change` the car records what it computed."""

    def open_engine(name: str, source: ModelSource) -> Engine:
        if name != CAR:
            return opens(name, source)
        return Car(name, opens(RUNS_LIKE, source), change or (lambda outputs, seconds, frame: outputs))

    return open_engine


def dropped_frames(card: Card, folder: Path) -> Planted:
    """The recording loses three frames in a row every second or so."""

    def change(outputs: Tensors, seconds: float, frame: int) -> Tensors:
        if frame % DROPPED_EVERY >= DROPPED_EVERY - DROPPED_IN_A_ROW:
            raise RecordingGap("the frame was dropped", where=f"frame {frame}", remedy="none: the fault is planted")
        return outputs

    return Planted(card, car=change)


def far_bow(card: Card, folder: Path) -> Planted:
    """Every line bows to the left by 0.2 m (1 % of the image height) within the far band."""
    near, far = card.grid.edges[2]

    def bow(along: NDArray[Any], seconds: float) -> NDArray[Any]:
        u = np.clip((along - near) / (far - near), 0, 1)
        return _size(card.grid, BOW) * 4 * u * (1 - u)

    return Planted(card, car=_moved(card, "far_bow", bow))


def swing_1hz(card: Card, folder: Path) -> Planted:
    """Every line swings left and right, 0.4 m (2 % of the image height) peak to peak, once a second."""

    def swing(along: NDArray[Any], seconds: float) -> NDArray[Any]:
        return np.full_like(along, _size(card.grid, SWING_PP) / 2 * np.sin(2 * np.pi * SWING_HZ * seconds))

    return Planted(card, car=_moved(card, "swing_1hz", swing))


def _size(grid: Grid, metres: float) -> float:
    """Metres, or in the image frame the share of its height that stands for them: 5 % for a metre."""
    return metres if grid.frame == "vehicle" else 0.05 * metres * grid.height


def _moved(card: Card, fault: str, by: Callable[[NDArray[Any], float], NDArray[Any]]) -> Change:
    """Move every line sideways by `by(along, seconds)`, left positive, within the outputs a polyline decoder reads."""
    from harness.lines.decode.polyline import PolylineOptions
    from harness.lines.decode.protocol import read_options

    if card.decoder.name != "polyline":
        raise FaultError(
            f"{fault} moves points, and decoder {card.decoder.name!r} has none in the outputs",
            where=f"{card.path} [decoder]",
            remedy=f"leave {fault} out for this model",
        )
    return partial(_move_points, read_options(card, PolylineOptions), card.frame == "image", by)


def _move_points(
    options: Any,
    image: bool,
    by: Callable[[NDArray[Any], float], NDArray[Any]],
    outputs: Tensors,
    seconds: float,
    frame: int,
) -> Tensors:
    lines = outputs[options.lines].copy()
    if options.stations is not None:
        along = np.broadcast_to(np.asarray(options.stations, lines.dtype), lines.shape)
        across = lines
    else:
        forward = int(image) if options.axes == "xy" else 1 - int(image)
        along, across = lines[..., forward], lines[..., 1 - forward]
    left = by(np.array(along), seconds)
    across += (-left if image else left).astype(lines.dtype)
    return {**outputs, options.lines: lines}
