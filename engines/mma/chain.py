"""One matrix product as chains of MMA steps, or of fp32 fused multiply-adds.

The left operand is a matrix; the columns of the right one are gathered from a flat array while it runs, which serves
convolutions (no copy of every window is made) and matrix products alike.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.denormals import DenormalMode
from engines.emulated.formats import FORMATS
from engines.mma.arithmetic import SMALLEST_EXPONENT, Step
from engines.mma.order import PAD, Indices, padded, permuted

__all__ = ["Arithmetic", "Floats"]

Floats = NDArray[np.float32]
_TILE_BYTES = 1 << 19  # of gathered columns: half of a usual second-level cache
_WIDEST, _NARROWEST = 256, 32  # columns of a tile
_BYTES_A_NUMBER = 12  # a double and its exponent


@dataclass(frozen=True)
class Arithmetic:
    """How products are computed.

    Attributes:
        kind: fp16, bf16, tf32, or fp32 for fused multiply-adds.
        step: of the tensor core; None for fp32.
        rounding: of fp32 operands to TF32 before they are multiplied: rz, rna or rne.
        seed: of the order of K, None for the documented one.
        threads: how many share the columns.
    """

    kind: str
    step: Step | None
    rounding: str = "rz"
    seed: int | None = None
    threads: int = 1

    def operand(self, array: NDArray[Any]) -> Floats:
        """What the product reads of an operand; fp16 and bf16 ones hold numbers of their format already."""
        floats = np.ascontiguousarray(array, np.float32)
        if self.kind == "fp32":
            return floats
        return FORMATS[f"tf32-{self.rounding}" if self.kind == "tf32" else self.kind].array(floats)

    def multiply(self, left: Floats, order: Indices, flat: Floats, base: Indices, offsets: Indices) -> Floats:
        """sum over k of left[row, k] * flat[base[column] + offsets[k]], from accumulators of zero.

        Args:
            left: [row, k].
            order: in which k are added; PAD multiplies zeros.
            flat: where columns are gathered.
            base: [column].
            offsets: [k], none negative.

        Returns:
            [row, column]; an fp16 accumulator comes back as fp32, exactly widened.
        """
        order = permuted(order, self.seed)
        order = order[order != PAD] if self.step is None else padded(order, self.step.length)
        pad = order == PAD
        weights = left[:, order]
        weights[:, pad] = 0
        places = np.where(pad, PAD, offsets[order])
        return self.accumulate(weights, flat, base, places, np.zeros((len(left), base.size), np.float32))

    def accumulate(self, weights: Floats, flat: Floats, base: Indices, places: Indices, out: Floats) -> Floats:
        """`multiply` with K in order and padded, on accumulators that hold something; they are changed and returned."""
        from engines.mma.kernels import chain_kernel, exponents, fma_kernel

        # one layout, so that numba compiles once
        weights, flat = (np.require(array, requirements=("C", "W")) for array in (weights, flat))
        base, places = (np.require(array, requirements=("C", "W")) for array in (base, places))
        if self.step is None:
            self._share(base.size, fma_kernel(), weights, flat, base, places, out)
            return out
        smallest = SMALLEST_EXPONENT[self.kind]
        fitting = _TILE_BYTES // (_BYTES_A_NUMBER * max(places.size, 1))
        width = max(_NARROWEST, min(_WIDEST, fitting // 8 * 8))
        with DenormalMode(flush=False), np.errstate(invalid="ignore"):  # signalling NaN
            doubles = weights.astype(np.float64)
            arrays = (doubles, exponents(weights, smallest), flat, base, places, np.int32(smallest), out)
        self._share(base.size, chain_kernel(self.step), *arrays, width)
        return out

    def _share(self, columns: int, kernel: Any, *arguments: Any) -> None:
        """Columns are computed apart from each other, so threads change no bit; subnormals are kept."""
        bounds = np.linspace(0, columns, self.threads + 1).astype(np.int64) if columns >= 512 else [0, columns]
        spans = list(itertools.pairwise(bounds))

        def run(span: tuple[int, int]) -> None:
            with DenormalMode(flush=False):
                kernel(*arguments, *span)

        if len(spans) == 1:
            run(spans[0])
            return
        with ThreadPoolExecutor(len(spans)) as pool:
            list(pool.map(run, spans))
