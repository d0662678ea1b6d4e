"""Faults of the car's own decoder, on sound tensors; and of recurrent states that engines feed back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from engines.base import FrameEngine
from engines.protocol import CaseContext, Engine, ModelSource, Tensors
from harness.errors import FaultError
from harness.faults.car import CAR
from harness.faults.openers import of_export
from harness.faults.protocol import Plant, Planted, Site
from harness.model.card import Card, RungPart
from harness.replay.hooks import Hooks

__all__ = ["decoding", "logits_for_probabilities", "other_axes", "other_rows", "other_threshold", "state_fault"]

Options = Callable[[Card, float], dict[str, Any] | None]


def decoding(name: str, options: Options) -> Plant:
    """Plants a decoder of the car's own that reads the same tensors by other options.

    Args:
        name: of the fault.
        options: what the car's decoder has otherwise; None where the card's decoder has nothing of the kind.
    """

    def plant(site: Site, severity: float = 1.0) -> Planted:
        card = site.card
        changed = options(card, severity)
        if changed is None:
            raise FaultError(
                f"{name} has no option to change in decoder {card.decoder.name!r}",
                where=f"{card.path} [decoder]",
                remedy=f"leave {name} out for this model",
            )
        rung = f"deploy/{CAR}"
        own = {"name": card.decoder.name, **card.decoder.options, **changed}
        return Planted(card.model_copy(update={"rungs": {**card.rungs, rung: RungPart(decoder=own)}}))

    return plant


def other_threshold(card: Card, severity: float) -> dict[str, Any] | None:
    """A higher least score: 0.9 of the way to 1."""
    if card.decoder.name not in ("polyline", "polynomial", "row-anchor", "mask"):
        return None
    own = float(card.decoder.options.get("threshold", 0.5))
    return {"threshold": own + 0.9 * severity * (1 - own)}


def logits_for_probabilities(card: Card, severity: float) -> dict[str, Any] | None:
    """A sigmoid where the score is a probability already, or none where it is a logit."""
    key = {"polyline": "score", "mask": "values"}.get(card.decoder.name)
    if key is None:
        return None
    own = card.decoder.options.get(key, "probability" if key == "score" else "logit")
    return {key: own if severity < 1 else {"logit": "probability", "probability": "logit"}[own]}


def other_axes(card: Card, severity: float) -> dict[str, Any] | None:
    """Forward and left exchanged."""
    if card.decoder.name != "polyline" or "stations" in card.decoder.options:
        return None
    own = card.decoder.options.get("axes", "xy")
    return {"axes": own if severity < 1 else {"xy": "yx", "yx": "xy"}[own]}


def other_rows(card: Card, severity: float) -> dict[str, Any] | None:
    """A mask read with a homography of its own: everything 3 % of the width to the right."""
    if card.decoder.name != "mask" or card.image is None or "to_frame" in card.decoder.options:
        return None
    shape = next((o.shape for o in card.outputs if o.name == card.decoder.options.get("output", "mask")), None)
    if shape is None or not all(isinstance(d, int) for d in shape[-2:]):
        return None
    down, across = (card.image.height / int(shape[-2]), card.image.width / int(shape[-1]))
    shift = (across - 1) / 2 + 0.03 * severity * card.image.width
    return {"to_frame": [[across, 0.0, shift], [0.0, down, (down - 1) / 2]]}


class _Fed(FrameEngine):
    """An engine that is fed another state than the one it should be."""

    keeps_state = True

    def __init__(self, inner: Engine, states: tuple[str, ...], kind: str, severity: float) -> None:
        super().__init__(inner.name, {**inner.provenance, "planted": {"fault": kind, "severity": severity}})
        self._inner, self._states, self._kind, self._severity = inner, states, kind, severity
        self._last: list[dict[str, NDArray[Any]]] = []
        self._first = True

    def start_case(self, context: CaseContext) -> None:
        """Nothing is forgotten where that is the fault."""
        self._inner.start_case(context)
        self._first = True
        if self._kind != "state_not_reset":
            self._last.clear()

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Run on a state that is mixed with the wrong one."""
        own = {name: inputs[name] for name in self._states}
        wrong = self._wrong(own)
        fed = {n: ((1 - self._severity) * v + self._severity * wrong[n]).astype(v.dtype) for n, v in own.items()}
        self._last = [*self._last, own][-3:]
        self._first = False
        return self._inner.infer({**inputs, **fed})

    def _wrong(self, own: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if self._kind == "state_not_reset":
            return self._last[-1] if self._first and self._last else own
        if self._kind == "state_lost":
            return {name: 0 * values for name, values in own.items()}
        return self._last[0] if self._last else own

    def close(self) -> None:
        """Free the engine."""
        self._inner.close()


def state_fault(kind: str) -> Plant:
    """Plants a fault of the fed-back state into every engine that runs the exported file.

    Args:
        kind: `state_not_reset` between cases, `state_lost` at every frame, `stale_state` of three frames ago.
    """

    def plant(site: Site, severity: float = 1.0) -> Planted:
        states = tuple(site.card.state.values())
        if not states:
            raise FaultError(
                "the model has no state", where=f"{site.card.path} [state]", remedy=f"leave {kind} out for this model"
            )

        def open_engine(name: str, source: ModelSource) -> Engine:
            import engines

            engine = engines.open(name, source)
            return _Fed(engine, states, kind, severity) if of_export(site.card, name) else engine

        return Planted(site.card, Hooks(open_engine))

    return plant
