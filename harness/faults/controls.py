"""Changes that are no faults: the clean runs that must not be flagged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from engines.protocol import Engine, ExportTarget, ModelSource
from harness.errors import FaultError
from harness.faults.preprocess import with_deploy
from harness.faults.protocol import Control, Planted
from harness.model.card import Card
from harness.replay.hooks import Hooks

__all__ = ["CONTROLS"]

THREADS = 2


def as_it_is(card: Card, folder: Path) -> Planted:
    """The chain as the card has it."""
    return Planted(card)


def other_threads(card: Card, folder: Path) -> Planted:
    """Every runtime but PyTorch with two threads: sums may be taken in another order."""

    def open_engine(name: str, source: ModelSource) -> Engine:
        import engines

        return engines.open(name, source, threads=THREADS) if name.startswith("ort") else engines.open(name, source)

    return Planted(card, Hooks(open_engine=open_engine))


def other_exporter(card: Card, folder: Path) -> Planted:
    """Exported by the other exporter of PyTorch."""
    if card.torch is None:
        raise FaultError("the card has no network to export", where=str(card.path), remedy="leave other_exporter out")

    def open_engine(name: str, source: ModelSource) -> Engine:
        import engines

        how = source.export["default"]
        legacy = how.exporter == "legacy" or (how.opset or 18) < 18
        other = ExportTarget("dynamo", None) if legacy else ExportTarget("legacy", 17)
        return engines.open(name, replace(source, export={"default": other}))

    return Planted(card, Hooks(open_engine=open_engine))


def spelled_out(card: Card, folder: Path) -> Planted:
    """The deploy pipeline with one more step that changes nothing: channels in the order they have."""

    def edit(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        at = next((i + 1 for i, s in enumerate(steps) if s["op"] in ("to_rgb", "to_bgr")), None)
        if at is None:
            return steps
        return [*steps[:at], {"op": "channels", "step": "spelled-out", "order": [0, 1, 2]}, *steps[at:]]

    return Planted(with_deploy(card, edit), step="spelled-out")


def aligned(card: Card, folder: Path) -> Planted:
    """The reference pipeline on the car too, so that only the engines differ."""
    part = card.preprocess
    inputs = {n: p.model_copy(update={"deploy": p.train}) for n, p in part.inputs.items()}
    same = part.model_copy(update={"deploy": part.train, "inputs": inputs})
    return Planted(card.model_copy(update={"preprocess": same}))


CONTROLS: dict[str, Control] = {
    c.name: c
    for c in (
        Control("as_it_is", "the chain as the card has it", as_it_is),
        Control("other_threads", "ONNX Runtime with two threads", other_threads),
        Control("other_exporter", "exported by PyTorch's other exporter", other_exporter),
        Control("spelled_out", "a preprocessing step that changes nothing", spelled_out),
        Control("aligned", "the train pipeline on the car too", aligned),
    )
}
