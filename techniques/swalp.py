"""SWALP: training in low precision, and the mean of those weights in high precision.

Yang et al., "SWALP: Stochastic Weight Averaging in Low-Precision Training", 2019 (1904.11943), algorithm 1 and 2:

    w <- Q(w - a * gradient)                    every step, weights kept in few bits, stochastic rounding
    w_mean <- (w_mean * m + w) / (m + 1)        every c steps of the last part, in fp32

Low-precision training ends on the grid of its weights; the mean of many is between the points of the grid. The network
is evaluated and exported with the mean, and without quantisers. techniques.low_precision has Q and what is quantised;
rates, cycles and averaging are those of techniques.swa. 8 bits for weights, activations, gradients, errors, momentum.

Departures: those of the two modules. The paper averages once an epoch after 200 of 300; options here as for SWA.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from techniques.low_precision import ROUNDINGS, LowPrecision, Widths
from techniques.swa import SWA, option_in
from techniques.task import Batch
from techniques.technique import Run

__all__ = ["SWALP"]


@dataclass
class SWALP(SWA):
    """Training with numbers of few bits; the mean of its weights, in full precision, is the candidate.

    Args (besides those of SWA):
        weight_bits, activation_bits, gradient_bits, error_bits, momentum_bits: of each kind of number; 0 for full.
        rounding: "stochastic"; "nearest" only to see that it stalls.

    Raises:
        TechniqueOptionError: a value out of range.
    """

    name: ClassVar[str] = "swalp"

    weight_bits: int = 8
    activation_bits: int = 8
    gradient_bits: int = 8
    error_bits: int = 8
    momentum_bits: int = 8
    rounding: str = "stochastic"
    _low: LowPrecision = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for kind in ("weight", "activation", "gradient", "error", "momentum"):
            bits = getattr(self, f"{kind}_bits")
            option_in(self.name, f"{kind}_bits", bits, bits == 0 or 2 <= bits <= 16, "2 to 16, or 0 for full precision")
        option_in(self.name, "rounding", self.rounding, self.rounding in ROUNDINGS, f"one of {list(ROUNDINGS)}")

    def start(self, loop: Run) -> None:
        """First weights in low precision; an average of nothing yet, whose network has no hooks."""
        super().start(loop)
        widths = Widths(self.weight_bits, self.activation_bits, self.gradient_bits, self.error_bits, self.momentum_bits)
        self._low = LowPrecision(widths, self.rounding, _seed(loop))
        self._low.round_weights(loop.model.parameters())

    def before_step(self, loop: Run, batch: Batch) -> Batch:
        """Quantisers in place, their random numbers from the run's; the rate."""
        self._low.install(loop.model, loop.optimiser)
        self._low.reseed(_seed(loop))
        return super().before_step(loop, batch)

    def finish(self, loop: Run) -> None:
        """Quantisers out, the average into the network, BatchNorm anew."""
        self._low.remove()
        super().finish(loop)


def _seed(loop: Run) -> int:
    return int(torch.randint(2**62, (), generator=loop.generator))
