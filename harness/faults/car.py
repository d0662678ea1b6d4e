"""Faults of what the car records: a virtual car runs the model as ort-fp32 does, and something happens to its outputs.

The car stands in for the engine `recorded`, so that its rung is the one that real dumps have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import FrameEngine
from engines.errors import RecordingGap
from engines.protocol import CaseContext, Engine, ModelSource, Tensors, keeps_state
from harness.faults.moving import By, moved
from harness.faults.protocol import Change, Plant, Planted, Site
from harness.model.grid import Grid

__all__ = [
    "CAR", "Car", "aside", "dropped", "far_bow", "late", "moving", "recording", "repeated", "shaken", "swing_1hz",
    "turned", "with_car",
]  # fmt: skip

CAR = "recorded"
RUNS_LIKE = "ort-fp32"

Open = Callable[[str, ModelSource], Engine]

DROPPED_EVERY, DROPPED_IN_A_ROW = 20, 3
BOW = 0.2
SWING_PP, SWING_HZ = 0.4, 1.0
ASIDE, TURNED_DEG, SHAKEN = 0.2, 1.0, 0.1


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

    shared: list[Engine] = []

    def open_engine(name: str, source: ModelSource) -> Engine:
        if name == CAR:
            inner = shared[0] if shared else opens(RUNS_LIKE, source)
            return Car(name, inner, change or (lambda outputs, seconds, frame: outputs))
        engine = opens(name, source)
        if name != RUNS_LIKE or keeps_state(engine):
            return engine
        shared[:] = [Remembering(engine)]
        return shared[0]

    return open_engine


class Remembering(FrameEngine):
    """An engine that two rungs ask for the same frame, one after the other: it runs once."""

    def __init__(self, inner: Engine) -> None:
        super().__init__(inner.name, inner.provenance)
        self._inner = inner
        self._inputs: dict[str, NDArray[Any]] = {}
        self._outputs: Tensors = {}

    def start_case(self, context: CaseContext) -> None:
        """Tell the engine."""
        self._inner.start_case(context)
        self._inputs = {}

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """The engine's outputs; those of before where the very same arrays are asked again."""
        if not self._inputs or any(self._inputs.get(name) is not array for name, array in inputs.items()):
            self._outputs = self._inner.infer(inputs)
            self._inputs = dict(inputs)
        return {name: array.copy() for name, array in self._outputs.items()}

    def close(self) -> None:
        """Free the engine."""
        self._inner.close()


def recording(change: Callable[[float], Change]) -> Plant:
    """Plants a fault of what the car records."""

    def plant(site: Site, severity: float = 1.0) -> Planted:
        return Planted(site.card, car=change(severity))

    return plant


def dropped(severity: float) -> Change:
    """The recording loses three frames in a row every second or so."""

    def change(outputs: Tensors, seconds: float, frame: int) -> Tensors:
        if frame % DROPPED_EVERY >= DROPPED_EVERY - round(DROPPED_IN_A_ROW * severity):
            raise RecordingGap("the frame was dropped", where=f"frame {frame}", remedy="none: the fault is planted")
        return outputs

    return change


def repeated(severity: float) -> Change:
    """Every result is sent for four frames: the network runs slower than the camera."""
    held: list[Tensors] = []

    def change(outputs: Tensors, seconds: float, frame: int) -> Tensors:
        if frame % (1 + round(3 * severity)) == 0:
            held[:] = [outputs]
        return {name: values.copy() for name, values in held[0].items()}

    return change


def late(severity: float) -> Change:
    """Every result is sent three frames late."""
    waiting: list[Tensors] = []

    def change(outputs: Tensors, seconds: float, frame: int) -> Tensors:
        if frame == 0:
            waiting.clear()
        waiting.append(outputs)
        del waiting[: -(1 + round(3 * severity))]
        return {name: values.copy() for name, values in waiting[0].items()}

    return change


def moving(name: str, by: Callable[[Grid, float], By]) -> Plant:
    """Plants a fault that moves every line sideways.

    Args:
        name: of the fault.
        by: takes the card's grid and the severity; gives metres or pixels to the left by (way ahead or row, seconds).
    """

    def plant(site: Site, severity: float = 1.0) -> Planted:
        return Planted(site.card, car=moved(site.card, name, by(site.card.grid, severity)))

    return plant


def far_bow(grid: Grid, severity: float) -> By:
    """A bow of 0.2 m (1 % of the image height) within the far band."""
    near, far = grid.edges[2]

    def bow(along: NDArray[Any], seconds: float) -> NDArray[Any]:
        u = np.clip((along - near) / (far - near), 0, 1)
        return severity * sized(grid, BOW) * 4 * u * (1 - u)

    return bow


def swing_1hz(grid: Grid, severity: float) -> By:
    """A swing of 0.4 m (2 % of the image height) peak to peak, once a second."""

    def swing(along: NDArray[Any], seconds: float) -> NDArray[Any]:
        return np.full_like(along, severity * sized(grid, SWING_PP) / 2 * np.sin(2 * np.pi * SWING_HZ * seconds))

    return swing


def aside(grid: Grid, severity: float) -> By:
    """0.2 m (1 % of the image height) aside: another mount of the camera."""
    return lambda along, seconds: np.full_like(along, severity * sized(grid, ASIDE))


def turned(grid: Grid, severity: float) -> By:
    """Turned by one degree about the nearest place: another yaw of the camera."""
    (nearest, _), _, _ = grid.edges

    def turn(along: NDArray[Any], seconds: float) -> NDArray[Any]:
        return np.asarray(severity * np.tan(np.radians(TURNED_DEG)) * np.abs(along - nearest))

    return turn


def shaken(grid: Grid, severity: float) -> By:
    """White noise of 0.1 m from frame to frame: a timestamp or a pose that trembles (drawn by the time)."""

    def shake(along: NDArray[Any], seconds: float) -> NDArray[Any]:
        drawn = np.random.default_rng(round(seconds * 1000)).standard_normal()
        return np.full_like(along, severity * sized(grid, SHAKEN) * drawn)

    return shake


def sized(grid: Grid, metres: float) -> float:
    """Metres, or in the image frame the share of its height that stands for them: 5 % for a metre."""
    return metres if grid.frame == "vehicle" else 0.05 * metres * grid.height
