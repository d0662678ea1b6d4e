"""Outputs of an engine, held against the card in every frame: names, kinds and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engines.errors import EngineOutputMissing
from engines.formats.polylines import LINE_ARRAYS
from engines.protocol import Tensors
from harness.errors import OutputError
from harness.lines.decode.recorded import holds_lines
from harness.model.card import OutputSpec

__all__ = ["OutputCheck", "fitted"]

Shape = tuple[int | str, ...]


class OutputCheck:
    """Keeps what the card names of an engine's outputs, if it is what the card declares and keeps its shape.

    The first frame of a case fixes the dimensions that the card leaves open: outputs of a chunk are stacked.

    Args:
        outputs: of the card.
        rung: name of the rung, for messages.
        optional: outputs that may lack: those a recording is not fed back with.
    """

    def __init__(self, outputs: Sequence[OutputSpec], rung: str, optional: Sequence[str] = ()) -> None:
        self._names = tuple(o.name for o in outputs)
        self._optional = frozenset(optional)
        self._declared: dict[str, Shape] = {o.name: o.shape for o in outputs if o.shape is not None}
        self._seen: dict[str, tuple[int, ...]] = {}
        self._kept: tuple[str, ...] = ()
        self._before: list[tuple[str, tuple[int, ...], np.dtype[Any]]] = []
        self._rung = rung

    def __call__(self, outputs: Mapping[str, Any]) -> Tensors:
        """The outputs that the card names, of one frame; and lines where a device logged them.

        Raises:
            EngineOutputMissing: one is not there.
            OutputError: one is no array of numbers, or has another shape than the card, or the frame before, says.
        """
        if self._as_before(outputs):
            return dict(outputs)  # the engine may fill the same dict at the next frame
        if not isinstance(outputs, Mapping):
            raise self._error(f"the engine gave a {type(outputs).__name__}", "give outputs as a dict of NumPy arrays")
        found = {}
        logged = holds_lines(outputs)
        for name in (*self._names, *LINE_ARRAYS):
            if name in outputs:
                found[name] = self._checked(name, outputs[name])
            elif name in self._names and name not in self._optional and not logged:
                raise EngineOutputMissing(
                    f"there is no output {name!r}",
                    where=f"rung {self._rung}",
                    remedy=f"it has {sorted(outputs)}; name one of them under [[outputs]] in the card",
                )
        if self._kept and self._kept != tuple(found):
            raise self._error(
                f"there are outputs {list(found)}, in the frames before there were {list(self._kept)}",
                "give the same outputs for every frame",
            )
        self._kept = tuple(found)
        self._before = [(name, values.shape, values.dtype) for name, values in found.items()]
        return found

    def _as_before(self, outputs: Mapping[str, Any]) -> bool:
        """Whether these are the outputs of the frame before but for their values, and nothing else; quickly."""
        if type(outputs) is not dict or len(outputs) != len(self._before) or not self._before:
            return False
        for name, shape, dtype in self._before:
            values = outputs.get(name)
            if type(values) is not np.ndarray or values.shape != shape or values.dtype != dtype:
                return False
        return True

    def _checked(self, name: str, values: Any) -> np.ndarray[Any, Any]:
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
            kind = f"of {values.dtype}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
            raise self._error(f"output {name!r} is {kind}", "give a NumPy array of real numbers")
        if self._seen.get(name) != values.shape:
            self._hold(name, values.shape)
        return values

    def _hold(self, name: str, shape: tuple[int, ...]) -> None:
        declared = self._declared.get(name)
        if declared is not None and not _fits(shape, declared):
            raise self._error(
                f"output {name!r} is {list(shape)}, the card declares {list(declared)}",
                "correct the shape under [[outputs]] in the card, or give this engine the model that the card is about",
            )
        if name in self._seen:
            raise self._error(
                f"output {name!r} is {list(shape)}, in the frames before it was {list(self._seen[name])}",
                "pad it to one size inside the model: a rung's outputs keep their shape over a case",
            )
        self._seen[name] = shape

    def _error(self, what: str, remedy: str) -> OutputError:
        return OutputError(what, where=f"rung {self._rung}", remedy=remedy)


def fitted(stacked: Tensors, shapes: Mapping[str, tuple[int, ...]], rung: str) -> Tensors:
    """Outputs [frames, ...] in the shapes of the reference's, axes of one added or dropped.

    Args:
        stacked: of a chunk.
        shapes: of one frame of the reference, by name; outputs that it lacks stay as they are.
        rung: name of the rung, for the message.

    Raises:
        OutputError: an output has another size than the reference's.
    """
    found = {}
    for name, values in stacked.items():
        shape = shapes.get(name, values.shape[1:])
        if [n for n in shape if n != 1] != [n for n in values.shape[1:] if n != 1]:
            raise OutputError(
                f"output {name!r} is {list(values.shape[1:])}, the reference gives {list(shape)}",
                where=f"rung {rung}",
                remedy="see that both run the same model; give `shape` under [[outputs]] in model.toml",
            )
        found[name] = values.reshape(len(values), *shape)
    return found


def _fits(shape: tuple[int, ...], declared: Shape) -> bool:
    """Same rank and sizes; a named dimension takes any size."""
    return len(shape) == len(declared) and all(
        isinstance(wanted, str) or wanted == size for size, wanted in zip(shape, declared, strict=True)
    )
