"""What an NVIDIA H200 gave for single mma.sync instructions: the emulation gives the same bits.

h200_steps.npz holds, for each of INSTRUCTIONS in its order, bits of the operands, of the accumulators and of the
results: random matrices, those with zeros among the results, and those that tell exponents of a zero apart. NaN is
compared as NaN. All 6,144,000 results of that run are equal; docs/hardware says how they were made.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu_mma import INSTRUCTIONS, compare, emulated
from engines.mma.arithmetic import step_of

pytest.importorskip("numba", reason="pip install 'trueline[mma]'")

RECORD = Path(__file__).with_name("h200_steps.npz")


def operands(kind: str, bits: np.ndarray) -> np.ndarray:
    if kind == "fp16":
        return bits.view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << np.uint32(16) if kind == "bf16" else bits).view(np.float32)


@pytest.mark.parametrize("number", range(len(INSTRUCTIONS)), ids=lambda number: INSTRUCTIONS[number].name)
def test_the_emulation_has_the_bits_of_an_h200(number: int) -> None:
    instruction = INSTRUCTIONS[number]
    with np.load(RECORD) as record:
        a, b = (operands(instruction.kind, record[f"{number}.{name}"]) for name in "ab")
        c, d = (record[f"{number}.{name}"].view(np.float32) for name in "cd")
    step = step_of("hopper", instruction.kind, half_accumulator=instruction.half)
    found = compare(emulated(instruction, step, a, b, c), d)
    assert found["bit_equal"] == found["results"] >= 1000
    assert (d == 0).any()
    assert np.isnan(d).any()
