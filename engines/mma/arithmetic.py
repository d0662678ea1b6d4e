"""What one MMA step of a tensor core computes, by architecture and type; facts only, no arrays.

    d = c + sum of a_i b_i over `length` products

Every product is exact. Products and c are aligned to the largest exponent among them and cut toward zero to
`fraction_bits` bits behind the point; the cut terms are added exactly. The sum is cut toward zero to 23 fractional bits
(fp32 accumulator) or rounded to nearest even at 10 (fp16 accumulator), and is the c of the next step.

The exponent of a product is the sum of its operands' exponents, so its significand lies in [1, 4). Subnormals have the
smallest exponent of their format and a significand below 1. A product with a zero takes no part in the alignment; an
accumulator of zero has the exponent -133. NaN is 0x7fffffff, 0x7fff in fp16; a sum of zero is +0, also where nothing is
left of a negative one.

What zeros do was read off an H200 (docs/hardware): 6,144,000 results of eight instructions are then bit-equal; with the
exponent -126 that MMA-Sim guesses for a zero operand, thousands are not. An accumulator of zero matters below 2^-126:
-132 to -134 fit what was seen, -131 and -135 do not.

Source: Xie et al., arXiv 2511.10909 (bit-exact against ten GPU architectures); Khattak and Mikaitis, arXiv 2512.07004.
"""

from __future__ import annotations

from dataclasses import dataclass

from engines.errors import EngineOptionError

__all__ = [
    "ARCHITECTURES",
    "DEFAULT_ARCHITECTURE",
    "LEAST_EXPONENT",
    "SMALLEST_EXPONENT",
    "TYPES",
    "ZERO_EXPONENT",
    "Step",
    "step_of",
]

ZERO_EXPONENT = -(1 << 12)  # with any other operand's still below LEAST_EXPONENT
LEAST_EXPONENT = -133  # of an accumulator of zero
SMALLEST_EXPONENT = {"fp16": -14, "bf16": -126, "tf32": -126}  # of a format's normal numbers
TYPES = tuple(SMALLEST_EXPONENT)
DEFAULT_ARCHITECTURE = "ampere"  # that of Orin


@dataclass(frozen=True, slots=True)
class Step:
    """One MMA step.

    Attributes:
        length: products added at once.
        fraction_bits: kept of every aligned term.
        half_accumulator: c and d are fp16, not fp32.
    """

    length: int
    fraction_bits: int
    half_accumulator: bool = False


# architecture -> (fraction bits, type -> products of a step); a type that is not there is refused
ARCHITECTURES: dict[str, tuple[int, dict[str, int]]] = {
    "volta": (23, {"fp16": 4}),
    "turing": (24, {"fp16": 8}),
    "ampere": (24, {"fp16": 8, "bf16": 8, "tf32": 4}),
    "ada": (24, {"fp16": 8, "bf16": 8, "tf32": 4}),
    "hopper": (25, {"fp16": 16, "bf16": 16, "tf32": 8}),
    "blackwell": (25, {"fp16": 16, "bf16": 16, "tf32": 8}),
}


def step_of(architecture: str, kind: str, *, half_accumulator: bool = False) -> Step:
    """The step of an architecture for operands of a type.

    Args:
        architecture: a key of ARCHITECTURES.
        kind: fp16, bf16 or tf32.
        half_accumulator: fp16 accumulators, which only fp16 operands have.

    Raises:
        EngineOptionError: no such architecture, or it has no such step.
    """
    if architecture not in ARCHITECTURES:
        raise EngineOptionError(
            f"no tensor cores of {architecture!r} are known", where="architecture", remedy=f"one of {[*ARCHITECTURES]}"
        )
    fraction_bits, lengths = ARCHITECTURES[architecture]
    if kind not in lengths:
        able = [name for name, (_, known) in ARCHITECTURES.items() if kind in known]
        raise EngineOptionError(
            f"tensor cores of {architecture} do not multiply {kind}",
            where=f"architecture {architecture}",
            remedy=f"choose one of {able}, or emulated-mma-fp16:{architecture}",
        )
    if half_accumulator and kind != "fp16":
        raise EngineOptionError(
            f"tensor cores have no fp16 accumulator for {kind} operands",
            where=f"architecture {architecture}",
            remedy="leave acc16 out, or choose emulated-mma-fp16",
        )
    return Step(lengths[kind], fraction_bits, half_accumulator)
