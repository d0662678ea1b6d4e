"""`polyline`: the network gives the points of every line; nothing loops over frames."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.errors import DecoderError
from harness.lines.decode.protocol import Options, Outputs, line_table, read_options, read_output, read_scores
from harness.lines.table import CLOSED, OPEN, LineTable
from harness.model.card import Card

__all__ = ["PolylineDecoder", "PolylineOptions", "build", "per_slot"]

Array = NDArray[Any]
Topology = Literal["open", "closed"]


class PolylineOptions(Options):
    """Options of `polyline`.

    Attributes:
        lines: output with [slots, points, 2], or [slots, points] where `stations` are given.
        scores: output with [slots] (or [slots, 1]); None: every slot is a line.
        threshold: least score of a line.
        score: `probability`, or `logit` to apply a sigmoid.
        stations: x of the points, near to far, where the network gives y only; u of rows v in the image frame.
        visible: output with [slots, points] of probabilities that a point exists.
        visible_threshold: least probability of a point.
        classes: class of each slot, or one for all.
        topology: `open` or `closed`, of each slot or one for all.
        slots: whether line k is the same line in every frame.
        order: whether open lines come near to far; `far-to-near` turns them.
        axes: `xy`, or `yx` where the network gives y (or v) first.
    """

    lines: str = "lines"
    scores: str | None = "scores"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    score: Literal["probability", "logit"] = "probability"
    stations: tuple[float, ...] | None = None
    visible: str | None = None
    visible_threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    classes: int | tuple[int, ...] = 0
    topology: Topology | tuple[Topology, ...] = "open"
    slots: bool = True
    order: Literal["near-to-far", "far-to-near"] = "near-to-far"
    axes: Literal["xy", "yx"] = "xy"


class PolylineDecoder:
    """See `PolylineOptions`; `slots` is 0 where the card does not give the output's shape."""

    def __init__(self, options: PolylineOptions, frame: str, shape: tuple[int | str, ...] | None) -> None:
        self._options = options
        self._image = frame == "image"
        self._given = None if options.stations is None else np.asarray(options.stations, np.float32)
        slots = 0 if shape is None else shape[-3 if self._given is None else -2]
        self.slots = slots if options.slots and isinstance(slots, int) else 0

    def decode(self, outputs: Outputs) -> LineTable:
        """See `harness.lines.decode.Decoder`."""
        o = self._options
        points = self._points(outputs)
        frames, slots, length = points.shape[:3]
        scores = read_scores(outputs, o.scores, slots, o.score, frames)
        kept = None
        if o.visible is not None:
            kept = read_output(outputs, o.visible, (slots, length), "[slots, points]") >= o.visible_threshold
        if o.order == "far-to-near":
            points, kept = points[:, :, ::-1], kept if kept is None else kept[:, :, ::-1]
        names = (o.topology,) if isinstance(o.topology, str) else o.topology
        closed = np.array([CLOSED if name == "closed" else OPEN for name in names])
        return line_table(
            points,
            scores,
            o.threshold,
            category=per_slot(np.atleast_1d(o.classes), slots, "classes"),
            topology=per_slot(closed, slots, "topology"),
            kept=kept,
            slots=o.slots,
        )

    def _points(self, outputs: Outputs) -> Array:
        """[frames, slots, points, 2], x or u first."""
        o = self._options
        if self._given is None:
            points = read_output(outputs, o.lines, (None, None, 2), "[slots, points, 2]")
            return points[..., ::-1] if o.axes == "yx" else points
        across = read_output(outputs, o.lines, (None, len(self._given)), "[slots, stations]")
        along = np.broadcast_to(self._given.astype(across.dtype), across.shape)
        return np.stack([across, along] if self._image else [along, across], axis=-1)


def per_slot(values: Array, slots: int, option: str) -> Array:
    """One value for every slot.

    Raises:
        DecoderError: as many values as there are not slots.
    """
    if len(values) not in (1, slots):
        raise DecoderError(
            f"{len(values)} {option} for {slots} slots",
            where=f"[decoder] {option}",
            remedy="give one value, or one for each slot",
        )
    return np.broadcast_to(values, slots)


def build(card: Card) -> PolylineDecoder:
    """The decoder of a card."""
    options = read_options(card, PolylineOptions)
    shape = next((o.shape for o in card.outputs if o.name == options.lines), None)
    return PolylineDecoder(options, card.frame, shape)
