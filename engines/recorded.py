"""`recorded`: outputs dumped on the car, replayed as if the model had run.

`recorded` takes the only dump of a case, `recorded:NAME` a certain one, `recorded:NAME@RUNNER` one runner of a
Polygraphy file. When a case begins, its frames are paired with the dumped ones by time (engines/alignment.py), and what
was found is in the provenance. Where too few pair, the case is refused with the reason: a recording that does not match
says nothing of the car. A frame that the recording lost has no outputs (`RecordingGap`); one that it never was to hold
counts for nothing (`NotRecorded`). A gap is never filled with a neighbour's lines, nor with zeros.

A dump may hold lines instead of tensors, as the car's own decoder drew them; they come as the arrays `line_points` and
so on (engines/formats/polylines.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.alignment import NONE, UNITS_NS, Alignment, align, estimate_shift
from engines.alignment_words import ESTIMATE, counts, explained, facts, remedy
from engines.base import FrameEngine, refuse_options
from engines.dumps import Dump, Wanted
from engines.errors import EngineCrashed, EngineError, EngineOptionError, NotRecorded, RecordingError, RecordingGap
from engines.protocol import Availability, CaseContext, DumpSpec, ModelSource, Tensors

__all__ = ["RecordedEngine", "availability", "open_engine"]

OPTIONS = ("rename", "runner", "time_offset_ms", "time_unit")


def open_engine(
    name: str,
    source: ModelSource,
    *,
    rename: Mapping[str, str] | None = None,
    runner: str | None = None,
    time_offset_ms: float | str | None = None,
    time_unit: str | None = None,
    **unknown: Any,
) -> RecordedEngine:
    """Open the engine; which files it reads is known when a case begins.

    Args:
        name: `recorded`, `recorded:DUMP`, `recorded:DUMP@RUNNER`.
        source: the model.
        rename: the dump's name of an output -> the card's; the case's own table is added to it.
        runner: of a Polygraphy file with several.
        time_offset_ms: how much later the dump's clock is, or `estimate`; the case's own is above it.
        time_unit: of the dump's times: ns, us, ms or s; the case's own is above it.
        unknown: refused.

    Raises:
        EngineOptionError: an option that it does not have, or a value it cannot take.
    """
    refuse_options(name, unknown, OPTIONS)
    where = f"options of {name}"
    if time_unit is not None and time_unit not in UNITS_NS:
        raise EngineOptionError(f"time_unit {time_unit!r}", where=where, remedy=f"must be in {list(UNITS_NS)}")
    if not _is_offset(time_offset_ms):
        raise EngineOptionError(
            f"time_offset_ms {time_offset_ms!r}", where=where, remedy="give milliseconds, or 'estimate'"
        )
    if rename is not None and not (
        isinstance(rename, Mapping) and all(isinstance(n, str) for pair in rename.items() for n in pair)
    ):
        raise EngineOptionError(f"rename {rename!r}", where=where, remedy='give a table { CAR_NAME = "CARD_NAME" }')
    said = {"runner": runner or name.partition("@")[2] or None, "time_offset_ms": time_offset_ms}
    return RecordedEngine(name, source, {**said, "time_unit": time_unit}, rename or {})


def availability(name: str) -> Availability:
    """Runs everywhere."""
    return Availability(
        name,
        True,
        "reads outputs/NAME of each case: npz, safetensors, Polygraphy, trtexec, lines; aligned by timestamp",
    )


def _is_offset(value: Any) -> bool:
    return (
        value is None
        or value == ESTIMATE
        or (isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value)))
    )


class RecordedEngine(FrameEngine):
    """Answers with dumped outputs of the moment that `seek` named.

    Args:
        name: of the engine.
        source: the model.
        said: fields of DumpSpec that hold where the case says nothing; None: nobody does.
        rename: the dump's names -> the card's, of every case.
    """

    uses_time = True
    needs_inputs = False

    def __init__(self, name: str, source: ModelSource, said: Mapping[str, Any], rename: Mapping[str, str]) -> None:
        which = name.partition("@")[0].partition(":")[2]
        super().__init__(name, {"device": "recorded", "dump": which or "the only one of each case", "alignment": {}})
        self._which, self._said, self._rename = which, said, rename
        state = tuple(output for output in source.outputs if output in source.state)
        needed = tuple(output for output in source.outputs if output not in source.state)
        self._wanted = Wanted(needed, state, source.shapes)
        self._dump: Dump | None = None
        self._pairs: Alignment | None = None
        self._frame_of: dict[int, int] = {}
        self._spec: DumpSpec | None = None
        self._shift_ns = 0
        self._now_ns = 0
        self._where = f"{source.name}, engine {name}"

    def start_case(self, context: CaseContext) -> None:
        """Index the case's dump, pair its frames with the case's, and read the first.

        Raises:
            RecordingError: the case has no such dump, or several and none was named, or it does not read, or too few
                of its frames match.
            EngineOutputMissing: it lacks an output.
        """
        self._dump = self._pairs = None
        self._where = f"case {context.case}, engine {self.name}"
        which = self._chosen(context)
        try:
            self._begin(self._spec_of(context.outputs[which]), context)
        except EngineError as error:
            error.remedy = error.remedy.replace("DUMP", which)  # who reads files knows no names
            raise

    def _begin(self, spec: DumpSpec, context: CaseContext) -> None:
        self._spec = spec
        dump = Dump(spec, self._wanted, context.timestamps_ns)
        if dump.precision:
            self._provenance["dump_precision"] = dump.precision
        if context.timestamps_ns:
            self._pair(dump, spec, context)
        else:
            self._shift_ns = self._given_ns(spec)
        self._dump = dump
        dump.read(0)

    def seek(self, timestamp_ns: int) -> None:
        """The next `infer` answers for this moment."""
        self._now_ns = timestamp_ns

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """The dumped outputs of this moment; the inputs play no part.

        Raises:
            RecordingGap: the recording lost this frame.
            NotRecorded: it never was to hold it.
            RecordingError, EngineOutputMissing: the file does not read, or lacks an output.
        """
        if self._dump is None or self._spec is None:
            raise EngineCrashed("no case was started", where=self._where, remedy="call start_case first")
        pairs, dump = self._pairs, self._dump
        if pairs is None or self._now_ns not in self._frame_of:
            now = np.array([self._now_ns])
            pairs, frame = align(now, dump.timestamps_ns - self._shift_ns, self._spec.tolerance_ns), 0
        else:
            frame = self._frame_of[self._now_ns]
        if (position := int(pairs.position[frame])) == NONE:
            raise self._gap(bool(pairs.dropped[frame]))
        return dump.read(position)

    def close(self) -> None:
        """Forget the dump."""
        self._dump = None

    def _gap(self, dropped: bool) -> RecordingGap:
        assert self._spec is not None  # infer has looked
        assert self._dump is not None  # as above
        gap_ns = int(np.abs(self._dump.timestamps_ns - self._shift_ns - self._now_ns).min())
        return (RecordingGap if dropped else NotRecorded)(
            f"the nearest dumped frame is {gap_ns / 1e6:.3f} ms away, tolerance {self._spec.tolerance_ns / 1e6:.3f} ms",
            where=f"{self._where}, timestamp_ns {self._now_ns}",
            remedy="dump every frame, or widen the tolerance if the clocks are known to differ",
        )

    def _chosen(self, context: CaseContext) -> str:
        """The dump of this case."""
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
        return self._which or known[0]

    def _spec_of(self, spec: DumpSpec) -> DumpSpec:
        """A dump with what card and caller say where the case says nothing."""
        unsaid = {key: value for key, value in self._said.items() if getattr(spec, key) is None}
        return replace(spec, **unsaid, rename={**self._rename, **spec.rename})

    def _given_ns(self, spec: DumpSpec) -> int:
        return 0 if spec.time_offset_ms in (None, ESTIMATE) else round(float(spec.time_offset_ms or 0) * 1e6)

    def _pair(self, dump: Dump, spec: DumpSpec, context: CaseContext) -> None:
        """Pair the frames, keep what was found, refuse what cannot be compared.

        Raises:
            RecordingError: too few pairs; it says how many, how far the nearest are, and what would explain it.
        """
        case_ns = np.array(context.timestamps_ns, np.int64)
        self._shift_ns = self._given_ns(spec)
        if spec.time_offset_ms == ESTIMATE:
            self._shift_ns = estimate_shift(case_ns, dump.timestamps_ns, spec.tolerance_ns).offset_ns
        pairs = align(case_ns, dump.timestamps_ns - self._shift_ns, spec.tolerance_ns)
        found = facts(pairs, spec, self._shift_ns)
        notes = [*dump.notes, *explained(case_ns, dump.timestamps_ns - self._shift_ns, pairs, spec)]
        self._provenance["alignment"] = {
            **self._provenance["alignment"],
            context.case: found | ({"notes": notes} if notes else {}),
        }
        if not pairs.comparable:
            raise RecordingError(
                f"{counts(pairs)}, so nothing is compared" + "".join(f"; {note}" for note in notes),
                where=f"{self._where}, {spec.path}",
                remedy=remedy(spec, notes),
            )
        self._pairs = pairs
        self._frame_of = {moment: frame for frame, moment in enumerate(context.timestamps_ns)}
