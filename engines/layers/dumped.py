"""Tensors that were dumped where the engine ran: TensorRT's debug tensors, those that Polygraphy marked as outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from engines.dumps import tensors_of
from engines.errors import NotRecorded, RecordingError, RecordingGap
from engines.layers.network import Network
from engines.protocol import CaseContext, ModelSource, Tensors
from engines.registry import open_engine

__all__ = ["Dumped"]

Array = NDArray[Any]


class Dumped:
    """A `recorded` engine that answers with all tensors of its dump that the network has.

    Args:
        name: of the engine, `recorded:DUMP`.
        source: the model.
        network: its graph; tensors are known by the names of its values.
        cases: that frames are taken of; every one must have the dump.

    Raises:
        RecordingError: no case has such a dump, or its first holds no tensor of the network.
    """

    def __init__(self, name: str, source: ModelSource, network: Network, cases: Sequence[CaseContext]) -> None:
        which = name.partition("@")[0].partition(":")[2]
        specs = [spec for case in cases for dump, spec in case.outputs.items() if not which or dump == which]
        values = {value: shape for value in network.types if (shape := network.shape(value)) is not None}
        held = tensors_of(specs[0], values) if specs else frozenset()
        self.names = held & values.keys()
        if not self.names:
            raise RecordingError(
                f"{name} holds no tensor that the network has" if specs else f"no case has a dump {which!r}",
                where=f"{source.name}, engine {name}",
                remedy=f"dump tensors by the names of the ONNX file; it has {sorted(held)[:4]}"
                if held
                else "add outputs/NAME to the case folder, see docs/dumping.md",
            )
        outputs = tuple(sorted(self.names))
        shapes = {value: values[value] for value in outputs}
        self._engine = open_engine(name, replace(source, outputs=outputs, shapes=shapes, state={}))
        self._case = ""
        self._tensors: Tensors = {}

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Of the engine."""
        return self._engine.provenance

    def take(self, case: CaseContext, timestamp_ns: int) -> bool:
        """Go to a frame; False where the recording does not have it.

        Raises:
            RecordingError: the case has no such dump, or it does not match.
        """
        if case.case != self._case:
            self._engine.start_case(case)
            self._case = case.case
        self._engine.seek(timestamp_ns)
        try:
            self._tensors = self._engine.infer({})
        except (RecordingGap, NotRecorded):
            return False
        return True

    def show(self, names: Sequence[str], feed: Tensors) -> Mapping[str, Array]:
        """Tensors of the frame that was taken."""
        return {name: self._tensors[name] for name in names}

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()
