"""Whether what is kept was measured by the definitions of today: a few drives are measured again and compared.

A measure that is made faster changes nothing; one that is defined otherwise makes all that was simulated worthless, and
nobody would see it in a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.calibration.drives import Version, draw
from benchmarks.calibration.faults import Fault
from benchmarks.calibration.noise import HELD_OUT
from benchmarks.calibration.numbers import Numbers, key_of, numbers_of
from harness.run.question import Question
from trueline._drafts import replacing

__all__ = ["changed"]

PLANTED = (None, Fault("swing 0.2 Hz", 0.5), Fault("frozen", 1.5))
SECONDS, CASES = 12.0, 2
PRECISION = 1e-4  # another processor rounds otherwise


def changed(work: Path, questions: Sequence[Question]) -> list[str]:
    """Questions that have another answer now than when the first number in this folder was kept; writes it if new."""
    path, now = work / "definitions.npz", _numbers(questions)
    keys = [key_of(q) for q in questions]
    known: dict[str, np.ndarray] = {}
    if path.exists():
        with np.load(path, allow_pickle=False) as found:
            known = dict(zip(found["keys"].tolist(), found["value"], strict=True))
    apart = [k for k, v in zip(keys, now, strict=True) if k in known and not _alike(v, known[k])]
    new = {k: v for k, v in zip(keys, now, strict=True) if k not in known}
    if new and not apart:
        work.mkdir(parents=True, exist_ok=True)
        every = known | new
        with replacing(path) as draft:
            np.savez_compressed(draft, keys=np.array([*every]), value=np.array([*every.values()], np.float32))
    return apart


def _numbers(questions: Sequence[Question]) -> np.ndarray:
    """Answers, numbers of values and what stays open of the few drives, [questions, answers]."""
    parts: list[Numbers] = []
    for place, (family, fault) in enumerate(zip(HELD_OUT, PLANTED, strict=True)):
        version = Version(family, (0, place), SECONDS, CASES, fault=fault)
        parts.append(numbers_of(version, draw(version), questions))
    return np.concatenate([x for p in parts for x in (p.value, p.compared, p.open)], axis=1).astype(np.float32)


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    return np.allclose(one, other, rtol=PRECISION, atol=1e-6, equal_nan=True)
