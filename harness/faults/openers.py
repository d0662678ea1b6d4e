"""Which engines a fault takes hold of, and how it gets between them and the replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from engines.base import FrameEngine
from engines.ladder import ancestry
from engines.protocol import CaseContext, Engine, ModelSource, Tensors
from harness.errors import FaultError
from harness.faults.graphs import Editor, edited
from harness.faults.protocol import Change, Plant, Planted, Site
from harness.model.card import Card
from harness.replay.hooks import Hooks

__all__ = [
    "Applies",
    "Changed",
    "engines_of",
    "hooks_of",
    "in_file",
    "of_export",
    "of_numerics",
    "of_runtime",
    "require_network",
]

Applies = Callable[[Card, str], bool]
EXPORT, OPTIMISED = "ort-fp32-none", "ort-fp32"


def of_export(card: Card, engine: str) -> bool:
    """Every engine that runs the exported file."""
    return not engine.startswith("torch")


def of_runtime(card: Card, engine: str) -> bool:
    """Every engine below the unoptimised export, but for the reference's own: what optimises and runs the file."""
    reference = card.reference_rung.partition("/")[2]
    return of_export(card, engine) and engine not in (EXPORT, reference)


def of_numerics(card: Card, engine: str) -> bool:
    """Engines that differ from their ancestors by a precision."""
    return any(f.startswith("precision:") for _, factors in ancestry(engine) for f in factors)


def engines_of(stage: str) -> Applies:
    """Engines that a fault of this stage takes hold of."""
    return {"export": of_export, "engine": of_runtime, "numerics": of_numerics}[stage]


def hooks_of(
    card: Card,
    applies: Applies,
    *,
    source: Callable[[ModelSource], ModelSource] | None = None,
    change: Change | None = None,
    options: Mapping[str, Any] | None = None,
    told: Mapping[str, Any] | None = None,
) -> Hooks:
    """Hooks that open the faulty engines.

    Args:
        card: the model.
        applies: which engines are faulty.
        source: another model for these.
        change: what happens to their outputs.
        options: of these engines.
        told: what their provenance says of the fault.
    """

    def open_engine(name: str, given: ModelSource) -> Engine:
        import engines

        if not applies(card, name):
            return engines.open(name, given)
        engine = engines.open(name, source(given) if source else given, **(options or {}))
        return Changed(engine, change, told or {}) if change else engine

    return Hooks(open_engine)


class Changed(FrameEngine):
    """An engine whose outputs are changed on their way out; it counts frames from the start of a case."""

    keeps_state = True

    def __init__(self, inner: Engine, change: Change, told: Mapping[str, Any]) -> None:
        super().__init__(inner.name, {**inner.provenance, "planted": dict(told)})
        self._inner, self._change, self._frame = inner, change, -1

    def start_case(self, context: CaseContext) -> None:
        """The next frame is the case's first."""
        self._inner.start_case(context)
        self._frame = -1

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """The engine's outputs, changed."""
        self._frame += 1
        return self._change(self._inner.infer(inputs), 0.0, self._frame)

    def close(self) -> None:
        """Free the engine."""
        self._inner.close()


def in_file(name: str, stage: str, edit: Editor) -> Plant:
    """Plants a fault into the ONNX file of the engines of a stage.

    Args:
        name: of the fault.
        stage: export, engine or numerics.
        edit: changes the graph.
    """

    def plant(site: Site, severity: float = 1.0) -> Planted:
        if stage == "export":
            require_network(site.card, name)

        def faulty(source: ModelSource) -> ModelSource:
            return edited(source, site.folder, name, edit, severity)

        faulty(site.card.source(site.cache))  # whether the graph has a place is known before a replay begins
        return Planted(site.card, hooks_of(site.card, engines_of(stage), source=faulty))

    return plant


def require_network(card: Card, name: str) -> None:
    """A fault of the export needs something to export.

    Raises:
        FaultError: the card has only an ONNX file.
    """
    if card.torch is None:
        raise FaultError(
            f"{name} changes what is exported, and the card has only an ONNX file",
            where=str(card.path),
            remedy="add [torch] with the network to the card",
        )
