"""A decoder of somebody else's: it is lent copies, its answer is a table of lines as ours are, or one line says why.

Its answer is copied too, since it may fill the same arrays again at the next call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.foreign import is_ours, outside
from harness.errors import DecoderError
from harness.lines.decode.protocol import Decoder, Outputs
from harness.lines.table import CLOSED, NO_SLOT, LineTable

__all__ = ["GuestDecoder", "hosted"]

# column -> type, and what it may hold
_COLUMNS = {
    "frame": np.int64, "slot": np.int16, "category": np.int16, "topology": np.uint8, "start": np.int64,
    "score": np.float32, "x": np.float32, "y": np.float32,
}  # fmt: skip
_OF_LINES = ("frame", "slot", "category", "topology", "score")
_HOW = "return a LineTable with frame numbers from 0, in frame order, as LineTable.from_points makes it"


def hosted(build: Callable[[], Any], name: str, where: str) -> Decoder:
    """The decoder that a factory makes; one that is not ours with a wall around it.

    Args:
        build: makes it.
        name: of the decoder.
        where: file and key, for messages.

    Raises:
        DecoderError: the factory fails, or gives something that is no decoder.
    """
    with outside(lambda cause: DecoderError(f"{name!r} cannot be made: {cause}", where=where, remedy="see why")):
        made = build()
        if isinstance(made, Decoder):
            return made if is_ours(made) else GuestDecoder(made)
    raise DecoderError(
        f"{name!r} gave a {type(made).__name__} without decode(outputs) or slots",
        where=where,
        remedy="return an object as harness.lines.decode.Decoder describes it",
    )


class GuestDecoder:
    """See the module; `Decoder` says what it does.

    Attributes:
        inner: the other's.
        slots: as it says.
    """

    def __init__(self, inner: Decoder) -> None:
        self.inner = inner
        self.slots = int(inner.slots)
        self._where = f"{type(inner).__module__}.{type(inner).__qualname__}.decode"

    def decode(self, outputs: Outputs) -> LineTable:
        """Lines of the outputs of some frames.

        Raises:
            DecoderError: it raised something, or its answer is no table of lines of these frames.
        """
        frames = len(next(iter(outputs.values()), ()))
        with outside(
            lambda cause: self._error(
                f"failed: {cause}", "make it decode every output of this model, also where there is no line"
            )
        ):
            given = self.inner.decode({name: values.copy() for name, values in outputs.items()})
        lines = self._plain(given)
        if trouble := _trouble(lines, frames):
            raise self._error(f"gave {trouble}", _HOW)
        return lines

    def _plain(self, given: Any) -> LineTable:
        """Its columns in our types, copied."""
        if not isinstance(given, LineTable):
            raise self._error(f"gave a {type(given).__name__}", _HOW)
        return LineTable(**{name: self._column(name, getattr(given, name)) for name in _COLUMNS})

    def _column(self, name: str, values: Any) -> NDArray[Any]:
        if not isinstance(values, np.ndarray):
            raise self._error(f"gave a LineTable whose {name} is a {type(values).__name__}", _HOW)
        kind = np.dtype(_COLUMNS[name])
        if values.ndim != 1 or values.dtype.kind not in ("iu" if kind.kind in "iu" else "iuf"):
            raise self._error(f"gave a LineTable whose {name} is {values.dtype} {list(values.shape)}", _HOW)
        with np.errstate(over="ignore", invalid="ignore"):
            found = np.array(values, kind, subok=False)
        if kind.kind in "iu" and (strange := values[found != values]).size:
            raise self._error(f"gave a LineTable with {name} {strange[0]}, which {kind} cannot hold", _HOW)
        return found

    def _error(self, what: str, remedy: str) -> DecoderError:
        return DecoderError(f"the decoder {what}", where=self._where, remedy=remedy)


def _trouble(lines: LineTable, frames: int) -> str:
    """What is wrong with the lines of so many frames; empty where nothing is."""
    sizes = {name: len(getattr(lines, name)) for name in _OF_LINES}
    if len(set(sizes.values())) > 1:
        return f"columns of different lengths: {sizes}"
    start = lines.start
    if len(start) != len(lines) + 1 or start[0] != 0 or np.any(np.diff(start) < 0):
        return f"{len(lines)} lines with offsets {start[:8].tolist()} into the points"
    if not start[-1] == len(lines.x) == len(lines.y):
        return f"{start[-1]} points with {len(lines.x)} x and {len(lines.y)} y"
    if len(lines) and (lines.frame.min() < 0 or lines.frame.max() >= frames or np.any(np.diff(lines.frame) < 0)):
        return f"lines of frames {lines.frame.min()} to {lines.frame.max()} out of order or beyond the {frames} given"
    if len(lines) and (lines.slot.min() < NO_SLOT or lines.topology.max() > CLOSED):
        return f"slots from {lines.slot.min()} on and topologies up to {lines.topology.max()}"
    return ""
