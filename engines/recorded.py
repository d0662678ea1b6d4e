"""`recorded`: outputs dumped on the car, replayed as if the model had run.

`recorded` takes the only dump of a case, `recorded:NAME` a certain one. A frame gets the outputs of the dumped frame
nearest in time, if that is within the dump's tolerance; otherwise `infer` raises `RecordingGap` and the frame counts
as one without outputs: a gap is never filled with a neighbour's lines, nor with zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from engines.base import FrameEngine, refuse_options
from engines.dumps import Dump
from engines.errors import EngineCrashed, RecordingError, RecordingGap
from engines.protocol import Availability, CaseContext, ModelSource, Tensors

__all__ = ["RecordedEngine", "availability", "open_engine"]


def open_engine(name: str, source: ModelSource, **unknown: Any) -> RecordedEngine:
    """Open the engine; which files it reads is known when a case begins.

    Raises:
        EngineOptionError: any option, for it has none.
    """
    refuse_options(name, unknown, ())
    return RecordedEngine(name, source)


def availability(name: str) -> Availability:
    """Runs everywhere."""
    return Availability(
        name, True, "reads outputs/NAME of each case: npz, safetensors, Polygraphy, trtexec; aligned by timestamp"
    )


class RecordedEngine(FrameEngine):
    """Answers with dumped outputs of the moment that `seek` named."""

    uses_time = True

    def __init__(self, name: str, source: ModelSource) -> None:
        which = name.partition(":")[2]
        super().__init__(name, {"device": "recorded", "dump": which or "the only one of each case"})
        self._source, self._which = source, which
        self._dump: Dump | None = None
        self._tolerance_ns = 0
        self._now_ns = 0
        self._where = f"{source.name}, engine {name}"

    def start_case(self, context: CaseContext) -> None:
        """Index the case's dump.

        Raises:
            RecordingError: the case has no such dump, or several and none was named, or it does not read.
        """
        self._dump = None
        self._where = f"case {context.case}, engine {self.name}"
        known = sorted(context.outputs)
        if self._which and self._which not in context.outputs:
            raise RecordingError(
                f"no dump {self._which!r}", where=self._where, remedy=f"the case has {known}; name one of them"
            )
        if not self._which and len(known) != 1:
            raise RecordingError(
                f"{len(known)} dumps in the case" if known else "no dump in the case",
                where=self._where,
                remedy=f"name one, 'recorded:{known[0]}'" if known else "add outputs/NAME to the case folder",
            )
        place, self._tolerance_ns = context.outputs[self._which or known[0]]
        self._dump = Dump(place, self._source.outputs)
        if self._dump.precision:
            self._provenance["dump_precision"] = self._dump.precision

    def seek(self, timestamp_ns: int) -> None:
        """The next `infer` answers for this moment."""
        self._now_ns = timestamp_ns

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """The dumped outputs of this moment; the inputs play no part.

        Raises:
            RecordingGap: no dumped frame within the tolerance.
            RecordingError, EngineOutputMissing: the file does not read, or lacks an output.
        """
        if self._dump is None:
            raise EngineCrashed("no case was started", where=self._where, remedy="call start_case first")
        position, gap_ns = self._dump.nearest(self._now_ns)
        if gap_ns > self._tolerance_ns:
            raise RecordingGap(
                f"the nearest dumped frame is {gap_ns / 1e6:.3f} ms away, tolerance {self._tolerance_ns / 1e6:.3f} ms",
                where=f"{self._where}, timestamp_ns {self._now_ns}",
                remedy="dump every frame, or widen the tolerance if the clocks are known to differ",
            )
        return self._dump.read(position)

    def close(self) -> None:
        """Forget the dump."""
        self._dump = None
