"""Parts of a graph that run in ONNX Runtime.

Nothing is optimised, so that a node computes the same bits by itself, in a suffix and in the whole graph.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from engines.base import whole_cause
from engines.cpu import usable_cores
from engines.denormals import DenormalMode
from engines.errors import EngineCrashed
from engines.layers.network import Network

__all__ = ["Part", "part_of"]

Array = NDArray[Any]


class Part:
    """Nodes between cut values.

    Attributes:
        inputs: what it is fed.
        outputs: what it gives.
    """

    def __init__(
        self, content: bytes, inputs: Sequence[str], outputs: Sequence[str], where: str, plugins: tuple[Any, ...]
    ) -> None:
        from engines.ort_engine import open_session

        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._where = where
        self._mode = DenormalMode(flush=True)
        session = open_session(content, level="none", threads=usable_cores(), mode=self._mode, plugins=plugins)
        self._run = session.run
        self._names = [output.name for output in session.get_outputs()]
        self._fed = [value.name for value in session.get_inputs()]

    def __call__(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name; `values` may hold more than is fed.

        Raises:
            EngineCrashed: ONNX Runtime failed.
        """
        try:
            with self._mode:
                found = self._run(self._names, {name: values[name] for name in self._fed})
        except Exception as error:
            raise EngineCrashed(
                f"ONNX Runtime failed: {whole_cause(error)}", where=self._where, remedy="run the ONNX file by hand"
            ) from error
        return dict(zip(self.outputs, found, strict=True))


def part_of(
    network: Network, outputs: Sequence[str], known: Collection[str], *, where: str, plugins: tuple[Any, ...] = ()
) -> Part:
    """What computes `outputs` from the `known` values.

    Raises:
        ModelLoadError: it cannot be cut there.
    """
    places = network.slice(outputs, known)
    inputs = network.fed(places, [name for name in outputs if name in known or name in network.inputs])
    return Part(network.model(places, inputs, outputs), inputs, outputs, where, plugins)
