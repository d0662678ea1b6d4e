"""`polynomial`: the network gives coefficients of y(x), or u(v), for every slot; they are evaluated on stations."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.lines.decode.polyline import per_slot
from harness.lines.decode.protocol import Options, Outputs, line_table, read_options, read_output, read_scores
from harness.lines.table import LineTable
from harness.model.card import Card

__all__ = ["PolynomialDecoder", "PolynomialOptions", "build"]

Array = NDArray[Any]


class PolynomialOptions(Options):
    """Options of `polynomial`.

    Attributes:
        coefficients: output with [slots, coefficients].
        scores: output with [slots] (or [slots, 1]); None: every slot is a line.
        threshold: least score of a line.
        score: `probability`, or `logit` to apply a sigmoid.
        powers: `rising`: c0 + c1 s + c2 s^2 ...; `falling`: the constant comes last.
        stations: s = x in metres, or rows v in the image frame, near to far; None: 0 to the far band's end (or the
            card's image rows) in 81 steps.
        origin: subtracted from the station before the polynomial, in the station's unit.
        scale: what the station is then divided by.
        gain: what the polynomial's value is multiplied by.
        reach: output with [slots] (or [slots, 1]): farthest station of each line; None: all.
        start: output with [slots] (or [slots, 1]): nearest station of each line; None: all.
        classes: class of each slot, or one for all.
        slots: whether line k is the same line in every frame.
    """

    coefficients: str = "coefficients"
    scores: str | None = "scores"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    score: Literal["probability", "logit"] = "probability"
    powers: Literal["rising", "falling"] = "rising"
    stations: Annotated[tuple[float, ...] | None, Field(min_length=2)] = None
    origin: float = 0.0
    scale: Annotated[float, Field(gt=0)] = 1.0
    gain: float = 1.0
    reach: str | None = None
    start: str | None = None
    classes: int | tuple[int, ...] = 0
    slots: bool = True


class PolynomialDecoder:
    """See `PolynomialOptions`; powers are summed in float64."""

    def __init__(self, options: PolynomialOptions, card: Card) -> None:
        self._options = options
        self._image = card.frame == "image"
        near, far = card.grid.edges[0][0], card.grid.edges[2][1]
        stations = np.linspace(near, far, 81) if options.stations is None else np.asarray(options.stations)
        self._stations = stations.astype(np.float64)
        self._position = (self._stations - options.origin) / options.scale
        shape = next((o.shape for o in card.outputs if o.name == options.coefficients), None)
        slots = 0 if shape is None else shape[-2]
        self.slots = slots if options.slots and isinstance(slots, int) else 0

    def decode(self, outputs: Outputs) -> LineTable:
        """See `harness.lines.decode.Decoder`."""
        o = self._options
        coefficients = read_output(outputs, o.coefficients, (None, None), "[slots, coefficients]").astype(np.float64)
        frames, slots = coefficients.shape[:2]
        rising = coefficients if o.powers == "rising" else coefficients[..., ::-1]
        with np.errstate(invalid="ignore", over="ignore"):
            value = rising @ np.power.outer(self._position, np.arange(rising.shape[2])).T * o.gain
        along = np.broadcast_to(self._stations, value.shape)
        points = np.stack([value, along] if self._image else [along, value], axis=-1)
        return line_table(
            points,
            read_scores(outputs, o.scores, slots, o.score, frames),
            o.threshold,
            category=per_slot(np.atleast_1d(o.classes), slots, "classes"),
            topology=np.zeros(slots, np.uint8),
            kept=self._kept(outputs, frames, slots),
            slots=o.slots,
        )

    def _kept(self, outputs: Outputs, frames: int, slots: int) -> NDArray[np.bool_] | None:
        """[frames, slots, stations] between start and reach; a limit that is not finite leaves no line."""
        o = self._options
        if o.reach is None and o.start is None:
            return None
        far_is_up = -1.0 if self._stations[-1] < self._stations[0] else 1.0
        order = self._stations * far_is_up
        kept = np.ones((frames, slots, len(order)), bool)
        if o.reach is not None:
            kept &= order <= far_is_up * self._limit(outputs, o.reach, slots)
        if o.start is not None:
            kept &= order >= far_is_up * self._limit(outputs, o.start, slots)
        return kept

    def _limit(self, outputs: Outputs, name: str, slots: int) -> Array:
        limit = outputs.get(name)
        if limit is not None and limit.shape[-2:] == (slots, 1):
            outputs = {name: limit[..., 0]}
        return read_output(outputs, name, (slots,), "[slots]")[..., None]


def build(card: Card) -> PolynomialDecoder:
    """The decoder of a card."""
    return PolynomialDecoder(read_options(card, PolynomialOptions), card)
