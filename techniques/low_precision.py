"""Block floating point: numbers of few bits that share an exponent, and a training step that keeps to them.

Yang et al., "SWALP: Stochastic Weight Averaging in Low-Precision Training", 2019 (1904.11943), section 3.1 and
algorithm 2. For a block of numbers x, of b bits each, with stochastic rounding:

    E = floor(log2(max |x|)),   d = 2^(E - (b - 2)),   z = x / d
    Q(x) = d * (floor(z) + [u < z - floor(z)]),   u ~ U[0, 1)

so that the mean of Q(x) is x. A block is a row: all that lies behind one index of the first dimension (an output
channel of a weight, an example of an activation); a tensor of one dimension is one block.

    w <- Q_W(w - a * Q_G(gradient)),  Q_M after every step for momentum,  Q_A and Q_E forward and backward in between

`LowPrecision.install(model, optimiser)` brings that into any loop, by hooks that `remove` takes out again.

Departures: where the largest of a block would round beyond b bits (the paper clips it, which is a bias of up to one d)
the block's exponent is one larger; a block of zeros stays zero without a logarithm; activations are quantised where a
convolution or linear layer takes them in, so that neither the network's inputs nor its outputs are, and only while a
graph for a gradient is built: an evaluation sees low-precision weights, nothing else. Of AdamW's state the first moment
counts as momentum; its second moment stays as it is, because a rounding to zero would divide by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from techniques.errors import TechniqueOptionError

__all__ = ["ROUNDINGS", "LowPrecision", "Widths", "quantised"]

ROUNDINGS = ("stochastic", "nearest")
MOMENTA = ("momentum_buffer", "exp_avg")
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LEAST_EXPONENT = -100  # of d; keeps it a normal number in fp32


@dataclass(frozen=True)
class Widths:
    """Bits of each kind of number, sign included; 0 leaves that kind as it is.

    Raises:
        TechniqueOptionError: 1, less than 0, or more than 16 bits.
    """

    weight: int = 8
    activation: int = 8
    gradient: int = 8
    error: int = 8
    momentum: int = 8

    def __post_init__(self) -> None:
        for name, bits in vars(self).items():
            if bits != 0 and not 2 <= bits <= 16:
                raise TechniqueOptionError(
                    f"must be 2 to 16 bits, or 0 for full precision, got {bits!r}",
                    where=f"Widths({name})",
                    remedy="use 8",
                )


def quantised(
    x: Tensor, bits: int, *, rounding: str = "stochastic", generator: torch.Generator | None = None
) -> Tensor:
    """`x` in block floating point of `bits` bits, in its own dtype; a block with a NaN or infinity keeps one.

    Args:
        x: any shape; each x[i] is a block, a tensor of one dimension is one.
        bits: 2 to 16, sign included.
        rounding: "stochastic", or "nearest" (half to even).
        generator: on the device of `x`; None for torch's own.

    Raises:
        TechniqueOptionError: bits or rounding out of range.
    """
    if not 2 <= bits <= 16 or rounding not in ROUNDINGS:
        raise TechniqueOptionError(
            f"needs 2 to 16 bits and a rounding of {list(ROUNDINGS)}, got {bits!r} and {rounding!r}",
            where="quantised(x, bits, rounding)",
            remedy="use 8 bits and stochastic rounding",
        )
    if not x.numel():
        return x.clone()
    wide = x if x.dtype == torch.float64 else x.float()
    spacing = block_spacing(wide, bits)
    scaled = wide / spacing
    if rounding == "nearest":
        return (scaled.round() * spacing).to(x.dtype)
    below = scaled.floor()
    draw = torch.rand(x.shape, generator=generator, device=x.device, dtype=wide.dtype)
    return ((below + (draw < scaled - below)) * spacing).to(x.dtype)


def block_spacing(x: Tensor, bits: int) -> Tensor:
    """d of every block, a power of two, [rows, 1, ...] or [1]: the least with which max |x| fits into `bits` bits."""
    rows = x.flatten(1) if x.dim() > 1 else x.reshape(1, -1)
    largest = rows.abs().amax(1)
    exponent = torch.frexp(largest).exponent - 1 - (bits - 2)  # frexp: exact at powers of two, and of 0 it is 0
    spacing = torch.ldexp(torch.ones_like(largest), exponent.clamp(min=_LEAST_EXPONENT))
    spacing = torch.where(largest > (2 ** (bits - 1) - 1) * spacing, 2 * spacing, spacing)
    return spacing.view(-1, *[1] * (x.dim() - 1)) if x.dim() > 1 else spacing.view([1] * x.dim())


@dataclass
class LowPrecision:
    """Low-precision training of one network: what is rounded how, and the hooks that do it.

    Args:
        widths: bits of each kind of number.
        rounding: "stochastic" or "nearest".
        seed: of the rounding.
    """

    widths: Widths = field(default_factory=Widths)
    rounding: str = "stochastic"
    seed: int = 0
    _handles: list[RemovableHandle] = field(default_factory=list, init=False, repr=False)
    _generators: dict[str, torch.Generator] = field(default_factory=dict, init=False, repr=False)

    def reseed(self, seed: int) -> None:
        """Begin the rounding's random numbers anew, for instance at every step of a run that can be resumed."""
        self.seed = seed
        self._generators.clear()

    def install(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """From now on activations, errors, gradients, momentum and weights are rounded; once is enough."""
        if self._handles:
            return
        parameters = list(model.parameters())
        self._handles = [
            m.register_forward_pre_hook(self._before_layer) for m in model.modules() if isinstance(m, LAYERS)
        ]
        self._handles.append(optimiser.register_step_pre_hook(lambda *_: self._round_gradients(parameters)))
        self._handles.append(optimiser.register_step_post_hook(lambda o, *_: self._round_state(o, parameters)))

    def remove(self) -> None:
        """Take the hooks out: the network computes as it did; its weights stay as they are."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @torch.no_grad()
    def round_weights(self, parameters: Iterable[nn.Parameter]) -> None:
        """In place: once before training begins."""
        for parameter in parameters:
            parameter.copy_(self.rounded(parameter, self.widths.weight))

    def rounded(self, x: Tensor, bits: int) -> Tensor:
        """`x` in that many bits by this rounding; 0 bits: as it is."""
        if not bits:
            return x
        key = str(x.device)
        if key not in self._generators:
            self._generators[key] = torch.Generator(x.device).manual_seed(self.seed)
        return quantised(x.detach(), bits, rounding=self.rounding, generator=self._generators[key])

    def _before_layer(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(self._straight(x) if isinstance(x, Tensor) and x.grad_fn is not None else x for x in inputs)

    def _straight(self, x: Tensor) -> Tensor:
        rounded: Tensor = _Rounded.apply(x, self)  # type: ignore[no-untyped-call]  # torch's stub
        return rounded

    @torch.no_grad()
    def _round_gradients(self, parameters: list[nn.Parameter]) -> None:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.copy_(self.rounded(parameter.grad, self.widths.gradient))

    @torch.no_grad()
    def _round_state(self, optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
        for parameter in parameters:
            state = optimiser.state.get(parameter, {})
            for key in MOMENTA:
                if isinstance(state.get(key), Tensor):
                    state[key].copy_(self.rounded(state[key], self.widths.momentum))
        self.round_weights(p for p in parameters if p.grad is not None)


class _Rounded(torch.autograd.Function):
    """Activations forward, errors backward; straight through otherwise."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: LowPrecision) -> Tensor:
        ctx.low = low
        return low.rounded(x, low.widths.activation).view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        error = ctx.low.rounded(gradients[0], ctx.low.widths.error)
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted: straight through again
            error = gradients[0] + (error - gradients[0]).detach()
        return error, None
