"""YOPO: many first-layer steps per pass through the network (Zhang et al. 2019, 1905.00877, algorithm 1).

    for j = 1 .. m:                      one forward and one backward pass of the whole network
        g <- g + 1/m * grad_theta J(x + d, y),   p = dJ / d f_0(x + d)           the co-state, then frozen
        n times:  d <- P(d + step * sign(grad_d <p, f_0(x + d)>))                only the first layer f_0
    theta <- optimiser(theta, g)

YOPO-5-3 unless told otherwise: m = 5 passes, n = 3 first-layer steps after each, step = eps / 4 (the authors' CIFAR-10
code: 2/255 of 8/255, and .007 of .031 with TRADES; their MNIST code: .01 of .3), and a uniformly random d to begin
with. Steps of the first layer are not passes and are not counted in a budget.

Departures: gradients of the m passes are averaged, not added, so rates mean what they mean without it; the first
layer's own gradient is that of the passes (the authors' code adds one more, of the frozen problem), hence no
first-layer steps after the last pass; every layer that takes the input itself counts as first, their inner products
added; d in raw units and within the raw range; BatchNorm as techniques.adversarial says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from techniques.adversarial import gradient_in_shares, keep_clean_statistics, parameters, whole
from techniques.attack import Score, input_gradients
from techniques.ball import Ball, check_domains, moved, started, watched
from techniques.batchnorm import statistics_kept
from techniques.errors import ModelMismatch
from techniques.task import Batch, Domain, Tensors
from techniques.technique import Gradient, Run, Technique

__all__ = ["YOPO", "first_layers", "yopo_gradient"]


def first_layers(model: nn.Module, layer: str = "") -> list[nn.Module]:
    """Modules that may be the first layer: the named one, or every leaf module that has parameters.

    Raises:
        ModelMismatch: no module of that name, or none with parameters.
    """
    if layer:
        try:
            return [model.get_submodule(layer)]
        except AttributeError as error:
            close = [name for name, _ in model.named_modules() if name][:8]
            raise ModelMismatch(
                f"the network has no module {layer!r}",
                where="[technique.yopo] layer",
                remedy=f"it begins with {close}",
            ) from error
    leaves = [m for m in model.modules() if not list(m.children()) and list(m.parameters())]
    if not leaves:
        raise ModelMismatch(
            "no leaf module of the network has parameters", where="[technique.yopo] layer", remedy="name a module"
        )
    return leaves


def yopo_gradient(
    gradient: Gradient,
    trained: Sequence[nn.Parameter],
    batch: Batch,
    domains: Sequence[Domain | None],
    ball: Ball,
    layers: Sequence[nn.Module],
    passes: int = 5,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Add the mean of the gradients of `passes` passes to `.grad` of `trained`; returns the mean loss.

    Args:
        gradient: runs `backward` of the mean loss of a batch, returns that loss.
        trained: the parameters.
        batch: the clean batch, normalised.
        domains: of each input, None for one that stays.
        ball: radius, norm, first-layer steps after a pass and their length; raw units.
        layers: modules that may be the first layer (`first_layers`).
        generator: for the random start; on the CPU.

    Raises:
        ModelMismatch: an input that may change goes into none of the layers as it is.
        TechniqueOptionError: eps does not fit the raw range.
        NonFiniteLoss: a gradient of the input is not finite.
    """
    check_domains(batch.inputs, domains, ball)
    current = started(batch.inputs, domains, ball, generator)

    def one_pass(last: bool) -> Tensor:
        nonlocal current
        leaves = watched(current, domains)
        with _recorded(layers, leaves) as uses:
            loss = gradient(batch.with_inputs(leaves))
        score = _frozen_score(uses, domains)
        for _ in range(0 if last else ball.steps):
            gradients = input_gradients(score, watched(current, domains))
            current = moved(current, gradients, batch.inputs, domains, ball)
        return loss

    return gradient_in_shares(trained, [(1 / passes, partial(one_pass, j == passes - 1)) for j in range(passes)])


@dataclass
class YOPO(Technique):
    """Attack through the first layer alone, while what lies behind it is held as one backward pass left it.

    Args:
        eps: greatest change of a raw value, raw units.
        passes: m, whole passes on a batch.
        inner: n, first-layer steps after each.
        step: length of one, raw units; None for eps / 4.
        layer: dotted name of the module that takes the input itself; "" for every leaf module that does.
    """

    name: ClassVar[str] = "yopo"
    role: ClassVar[str | None] = "attack"

    eps: float = 8 / 255
    passes: int = 5
    inner: int = 3
    step: float | None = None
    layer: str = ""

    def __post_init__(self) -> None:
        whole(self.name, "passes", self.passes, 1)
        whole(self.name, "inner", self.inner, 1)
        self.ball()

    def ball(self) -> Ball:
        """n steps after a pass."""
        length = self.eps / 4 if self.step is None else self.step
        return Ball(self.eps, "linf", self.inner, length, random_start=True)

    def start(self, loop: Run) -> None:
        """Find the layer while nothing is trained yet."""
        first_layers(loop.model, self.layer)

    def gradient(self, loop: Run, batch: Batch, inner: Gradient) -> Tensor:
        """The mean over m attacked passes."""
        keep_clean_statistics(loop, batch)
        layers = first_layers(loop.model, self.layer)
        with statistics_kept(loop.model):
            return yopo_gradient(
                inner,
                parameters(loop),
                batch,
                loop.task.domains,
                self.ball(),
                layers,
                self.passes,
                loop.generator,
            )


@dataclass
class _Use:
    """One call of a layer on an input of the network, and dJ/d(its output)."""

    module: nn.Module
    number: int
    others: tuple[Any, ...]
    named: dict[str, Any]
    autocast: torch.autocast
    co_state: Tensor | None = None

    def keep(self, gradient: Tensor) -> None:
        self.co_state = gradient.detach()

    def product(self, x: Tensor) -> Tensor:
        """<p, f_0(x)> in fp32 at least."""
        assert self.co_state is not None
        with self.autocast:
            output = self.module(x, *self.others, **self.named)
        wide = torch.promote_types(output.dtype, torch.float32)
        product: Tensor = (self.co_state.to(wide) * output.to(wide)).sum()
        return product


@contextmanager
def _recorded(layers: Sequence[nn.Module], leaves: Tensors) -> Iterator[list[_Use]]:
    """Within, every call of a layer on one of `leaves` is recorded, and in the backward pass its co-state."""
    uses: list[_Use] = []

    def note(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        number = _which(args[0], leaves) if args else None
        if number is None or not isinstance(output, Tensor) or not output.requires_grad:
            return
        kind = output.device.type
        autocast = torch.autocast(
            kind, torch.get_autocast_dtype(kind), enabled=torch.is_autocast_enabled(kind), cache_enabled=False
        )
        use = _Use(module, number, args[1:], named, autocast)
        output.register_hook(use.keep)  # type: ignore[no-untyped-call]  # torch has no types there
        uses.append(use)

    hooks = [layer.register_forward_hook(note, with_kwargs=True) for layer in layers]
    try:
        yield uses
    finally:
        for hook in hooks:
            hook.remove()


def _which(x: Any, leaves: Tensors) -> int | None:
    """Number of the watched input that x is, in whatever memory format; None if it is none."""
    watching = [i for i, leaf in enumerate(leaves) if leaf.requires_grad]
    if not isinstance(x, Tensor):
        return None
    same = [i for i in watching if x is leaves[i]]
    alike = (i for i in watching if x.shape == leaves[i].shape and x.dtype == leaves[i].dtype)
    return same[0] if same else next((i for i in alike if torch.equal(x, leaves[i])), None)


def _frozen_score(uses: Sequence[_Use], domains: Sequence[Domain | None]) -> Score:
    """Sum of <p, f_0(x)> over the recorded uses.

    Raises:
        ModelMismatch: an input that may change has none.
    """
    effective = [use for use in uses if use.co_state is not None]
    unseen = [i for i, d in enumerate(domains) if d is not None and i not in {use.number for use in effective}]
    if unseen:
        raise ModelMismatch(
            f"input {unseen[0]} goes into no such layer as it is, so there is no first layer to attack through",
            where="[technique.yopo] layer",
            remedy="name the module that takes the input itself; if the network changes it first, use pgd or freeat",
        )
    return lambda inputs: torch.stack([use.product(inputs[use.number]) for use in effective])
