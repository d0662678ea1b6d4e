"""Tensors of a runtime that reads ONNX: the file with the values that are asked for marked as outputs.

A runtime fuses no kernel across an output, so that this is not to the bit what it computes with its usual outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray

from engines.layers.network import Network
from engines.layers.shown import floating
from engines.protocol import Engine, ModelSource, Tensors
from engines.registry import open_engine

__all__ = ["Marked"]

Array = NDArray[Any]
LARGEST_PROTO = 2**31 - 2**20


class Marked:
    """An engine that is opened once for every group of values.

    Args:
        name: of the engine; it reads `ModelSource.onnx`.
        source: the model.
        network: its graph.
        given: options of the engine.
    """

    def __init__(self, name: str, source: ModelSource, network: Network, **given: Any) -> None:
        self._name, self._source, self._network, self._given = name, source, network, given
        self._folder = TemporaryDirectory(prefix="trueline-marked-")
        self._engines: dict[tuple[str, ...], Engine] = {}
        self.names = floating(network)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Of the engine on the last file; empty before the first frame."""
        return next((engine.provenance for engine in reversed(self._engines.values())), {})

    def show(self, names: Sequence[str], feed: Tensors) -> Mapping[str, Array]:
        """Tensors of these values, by running the whole network.

        Raises:
            EngineError: the engine does not take the file so marked, or failed.
        """
        asked = tuple(names)
        if asked not in self._engines:
            self._engines[asked] = self._opened(asked)
        given = self._engines[asked].infer(feed)
        return {name: given[name] for name in asked}

    def close(self) -> None:
        """Close the engines, and remove their files."""
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()
        self._folder.cleanup()

    def _opened(self, names: tuple[str, ...]) -> Engine:
        path = Path(self._folder.name) / f"group-{len(self._engines)}" / "model.onnx"
        path.parent.mkdir()
        more = [name for name in names if name not in self._network.outputs]
        _save(self._network, more, path)
        outputs = (*self._source.outputs, *more)
        return open_engine(self._name, replace(self._source, onnx=path, outputs=outputs), **self._given)


def _save(network: Network, more: Sequence[str], path: Path) -> None:
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(network.proto)
    model.graph.output.extend(network.types[name] for name in more)
    large = model.ByteSize() > LARGEST_PROTO
    onnx.save(model, path, save_as_external_data=large, location="model.onnx.data" if large else None)
