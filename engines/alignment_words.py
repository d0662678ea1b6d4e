"""What is said of a recording's times: numbers for the provenance, and what would explain frames that do not match."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.alignment import Alignment, estimate_shift, likely_unit
from engines.protocol import DumpSpec

__all__ = ["ESTIMATE", "counts", "explained", "facts", "remedy"]

ESTIMATE = "estimate"


def counts(pairs: Alignment) -> str:
    """How many frames match, and how far the nearest are, in words."""
    return (
        f"{pairs.matched} of the case's {len(pairs.position)} frames have a dumped frame ({pairs.dumped} in the dump), "
        f"the nearest is {pairs.nearest_ns / 1e6:.6g} ms away"
    )


def facts(pairs: Alignment, spec: DumpSpec, shift_ns: int) -> dict[str, Any]:
    """The pairs in numbers, JSON values."""
    return {
        "frames": len(pairs.position),
        "dumped": pairs.dumped,
        "matched": pairs.matched,
        "dropped": int(pairs.dropped.sum()),
        "not_recorded": len(pairs.position) - pairs.matched - int(pairs.dropped.sum()),
        "nearest_ms": pairs.nearest_ns / 1e6,
        "tolerance_ms": spec.tolerance_ns / 1e6,
        "median_offset_ms": pairs.offset_ns / 1e6,
        "time_offset_ms": shift_ns / 1e6,
        "time_offset": "estimated" if spec.time_offset_ms == ESTIMATE else "given" if shift_ns else "none",
        "time_unit": spec.time_unit or "ns",
    }


def explained(case_ns: NDArray[np.int64], dump_ns: NDArray[np.int64], pairs: Alignment, spec: DumpSpec) -> list[str]:
    """What would explain frames that do not match: another unit, or a constant offset."""
    least = min(len(case_ns), len(dump_ns))
    if pairs.matched >= least or spec.time_offset_ms == ESTIMATE:
        return []
    if not pairs.comparable and (unit := likely_unit(case_ns, dump_ns, spec.tolerance_ns)):
        return [f'the times look like {unit}: say time_unit = "{unit}"']
    shift = estimate_shift(case_ns, dump_ns, spec.tolerance_ns)
    if shift.matched > max(pairs.matched, 0.9 * least):
        late = "late" if shift.offset_ns > 0 else "early"
        return [
            f"a clock {abs(shift.offset_ns) / 1e6:.6g} ms {late} would explain it, {shift.matched} frames would match"
        ]
    return []


def remedy(spec: DumpSpec, notes: list[str]) -> str:
    """What to do where too few frames match, by what would explain it."""
    if any("time_unit" in note for note in notes):
        return "set time_unit under [outputs.DUMP] of case.toml, or write nanoseconds"
    if any("clock" in note for note in notes):
        return 'if it is known to be so, give time_offset_ms, or "estimate", under [outputs.DUMP] of case.toml'
    return f"dump frames of this case with its own timestamps, or widen tolerance_ms (now {spec.tolerance_ns / 1e6:g})"
