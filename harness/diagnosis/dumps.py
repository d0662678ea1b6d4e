"""The car's input tensors: dumped beside a case, or anywhere else, paired with the moments of the recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.case import Case
from cases.schema import TOLERANCE_MS
from engines.alignment import NONE, align, estimate_shift
from engines.dumps import Dump, Wanted
from engines.errors import EngineError, EngineOutputMissing
from engines.protocol import DumpSpec
from harness.errors import DiagnosisError
from harness.feed.inputs import context_of
from harness.model.card import InputSpec

__all__ = ["DumpedInput", "dumped_input"]

TOLERANCE_NS = round(TOLERANCE_MS * 1e6)  # of a dump outside a case; the case says its own
LEAST_PAIRS = 2


@dataclass
class DumpedInput(Mapping[int, NDArray[Any]]):
    """One input's tensors by position in the case's list of moments, read when asked for.

    Attributes:
        place: folder or file of the dump.
        notes: what was taken for granted about its times.
    """

    place: Path
    name: str
    dump: Dump
    position_of: Mapping[int, int]
    notes: list[str] = field(default_factory=list)

    def __getitem__(self, position: int) -> NDArray[Any]:
        return np.asarray(self.dump.read(self.position_of[position])[self.name])

    def __iter__(self) -> Iterator[int]:
        return iter(self.position_of)

    def __len__(self) -> int:
        return len(self.position_of)


def dumped_input(case: Case, spec: InputSpec, which: str | Path | None = None) -> DumpedInput | None:
    """What the car fed to one input in a case; None where no dump holds it.

    Args:
        case: the recording.
        spec: the input; its name is that of the array in the dump.
        which: a dump of the case by its name, or a folder or file; None: the first dump of the case that holds it.

    Raises:
        DiagnosisError: the dump asked for does not hold the input, or fewer than two of its frames belong to the case.
        RecordingError: a dump cannot be read.
    """
    known = context_of(case).outputs
    if which is not None and str(which) not in known:
        return _opened(case, spec, DumpSpec(Path(which), TOLERANCE_NS))
    for name, said in known.items():
        if which is None or str(which) == name:
            try:
                return _opened(case, spec, said)
            except EngineOutputMissing as error:
                if which is not None:
                    raise DiagnosisError(error.what, where=error.where, remedy=_REMEDY) from error
            except EngineError:
                if which is not None:
                    raise
    return None


_REMEDY = "dump the network's input under the name it has in the card, or name it so by `rename`"


def _opened(case: Case, spec: InputSpec, said: DumpSpec) -> DumpedInput:
    case_ns = np.asarray(case.timestamps_ns, np.int64)
    wanted = Wanted((spec.name,), shapes={spec.name: spec.shape})
    dump = Dump(said, wanted, case_ns.tolist())
    if spec.name not in dump.read(0):  # a dump of lines, which are no tensors of the network
        raise EngineOutputMissing(f"it has no input {spec.name!r}", where=str(said.path), remedy=_REMEDY)
    shift_ns = _shift_ns(said, case_ns, dump.timestamps_ns)
    pairs = align(case_ns, dump.timestamps_ns - shift_ns, said.tolerance_ns)
    position_of = {at: int(row) for at, row in enumerate(pairs.position) if row != NONE}
    if len(position_of) < LEAST_PAIRS:
        raise DiagnosisError(
            f"{len(position_of)} of {len(dump.timestamps_ns)} dumped frames belong to a moment of case {case.id}, the "
            f"nearest is {pairs.nearest_ns / 1e6:.3g} ms away",
            where=str(said.path),
            remedy="dump frames of this very case; time_unit and time_offset_ms are told in docs/recordings.md",
        )
    notes = [*dump.notes, *([dump.precision] if dump.precision else [])]
    return DumpedInput(said.path, spec.name, dump, position_of, notes)


def _shift_ns(said: DumpSpec, case_ns: NDArray[np.int64], dump_ns: NDArray[np.int64]) -> int:
    if said.time_offset_ms == "estimate":
        return estimate_shift(case_ns, dump_ns, said.tolerance_ns).offset_ns
    return round(float(said.time_offset_ms or 0) * 1e6)
