"""FGM on hidden features: adversarial training where the network describes its input, not at the input.

    h' = h + eps * |h|_2 * g / |g|_2,   g = grad_h J,   h the output of one module, every example by itself
    loss = a * J + (1 - a) * J with h' in place of h,   a = 0.5

Miyato, Dai and Goodfellow (2016, 1605.07725, equation 5) move word embeddings so, because words themselves cannot be
moved; of a picture the nearest to an embedding are the features of a layer. They normalise embeddings, so that growing
them is no way out; here eps is a share of the features' own length, which does the same for any network.

The direction comes from the clean pass: 4 passes a step. Departures: the module is the task's feature layer unless one
is named; the two losses are averaged, not added; BatchNorm as techniques.adversarial says. A module that runs several
times in a pass is moved every time, along each call's own gradient; so are passes that techniques inside make.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from techniques.adversarial import check_clean_share, gradient_in_shares, parameters
from techniques.batchnorm import statistics_kept
from techniques.errors import ModelMismatch, NonFiniteLoss, TaskError, TechniqueOptionError
from techniques.task import Batch
from techniques.technique import Gradient, Run, Technique

__all__ = ["FeatureFGM", "Features", "added", "observed", "steps_up"]


@dataclass
class Features:
    """One call of a module: its output's length [batch, 1, ...], and the loss's gradient there, once there is one."""

    length: Tensor
    gradient: Tensor | None = None

    def keep(self, gradient: Tensor) -> None:
        """The gradient of the backward pass that came last."""
        self.gradient = gradient.detach()


@contextmanager
def observed(module: nn.Module) -> Iterator[list[Features]]:
    """Within, every call of the module that a gradient can reach is noted; backward passes add the gradients.

    Raises:
        ModelMismatch: the module returns something else than one floating tensor [batch, ...].
    """
    calls: list[Features] = []

    def note(_: nn.Module, __: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or not output.is_floating_point() or output.dim() < 2:
            raise ModelMismatch(
                f"its output is no floating tensor [batch, ...] but {type(output).__name__}",
                where="[technique.feature-fgm] layer",
                remedy="name a module that returns one tensor",
            )
        if output.requires_grad:
            calls.append(Features(_length(output)))
            output.register_hook(calls[-1].keep)  # type: ignore[no-untyped-call]  # torch has no types there

    handle = module.register_forward_hook(note)
    try:
        yield calls
    finally:
        handle.remove()


def steps_up(calls: Sequence[Features], eps: float) -> list[Tensor]:
    """For each call eps * |h| * g / |g|, zero where an example's gradient is zero.

    Raises:
        ModelMismatch: there was no call, or no gradient reached one.
        NonFiniteLoss: a gradient is not finite.
    """
    if not calls or any(call.gradient is None for call in calls):
        raise ModelMismatch(
            "no gradient of the loss reaches the module's output",
            where="[technique.feature-fgm] layer",
            remedy="name a module between input and output that takes part in every pass",
        )
    found = []
    for call in calls:
        assert call.gradient is not None
        gradient = call.gradient
        if not torch.isfinite(gradient).all():
            raise NonFiniteLoss(
                "the gradient of the features is not finite",
                where="steps_up(calls)",
                remedy="look for overflow in the network, or attack in fp32",
            )
        wide = gradient if gradient.dtype == torch.float64 else gradient.float()
        wide = wide / _like(wide.flatten(1).abs().amax(1), wide).clamp(min=1e-30)  # squares of tiny ones would vanish
        found.append((eps * call.length * wide / _length(wide).clamp(min=1e-30)).to(gradient.dtype))
    return found


@contextmanager
def added(module: nn.Module, changes: Sequence[Tensor]) -> Iterator[None]:
    """Within, the first call of the module that a gradient can reach returns its output plus `changes[0]`, and so on.

    Raises:
        ModelMismatch: it is called more often than there are changes, or with a batch of another shape.
    """
    remaining = iter(changes)

    def move(_: nn.Module, __: Any, output: Tensor) -> Tensor | None:
        if not output.requires_grad:
            return None
        change = next(remaining, None)
        if change is None or change.shape != output.shape:
            raise ModelMismatch(
                "the module is not called as it was in the clean pass",
                where="[technique.feature-fgm] layer",
                remedy="name another module, or feature-fgm after the techniques that change its calls",
            )
        return output + change.to(output.dtype)

    handle = module.register_forward_hook(move)
    try:
        yield
    finally:
        handle.remove()


@dataclass
class FeatureFGM(Technique):
    """Train on clean features and on features moved a fixed share of their length along the loss's gradient.

    Args:
        eps: length of the change, as a share of the features' own.
        clean_share: weight of the clean loss, 0 <= a < 1.
        layer: dotted name of the module whose output is moved; "" for the task's feature layer.
    """

    name: ClassVar[str] = "feature-fgm"
    role: ClassVar[str | None] = "attack"

    eps: float = 0.05
    clean_share: float = 0.5
    layer: str = ""

    def __post_init__(self) -> None:
        check_clean_share(self.name, self.clean_share)
        if not isinstance(self.eps, int | float) or not 0 < self.eps < 1:
            raise TechniqueOptionError(
                f"must be between 0 and 1, both excluded, got {self.eps!r}",
                where=f"[technique.{self.name}] eps",
                remedy="it is a share of the features' length: 0.05 moves them by a twentieth",
            )

    def start(self, loop: Run) -> None:
        """Find the module while nothing is trained yet."""
        self._module(loop)

    def gradient(self, loop: Run, batch: Batch, inner: Gradient) -> Tensor:
        """The clean pass gives the direction, a second one the gradient at moved features."""
        module = self._module(loop)
        calls: list[Features] = []

        def on_clean() -> Tensor:
            with observed(module) as seen:
                loss = inner(batch)
            calls.extend(seen)
            return loss

        def on_moved() -> Tensor:
            with added(module, steps_up(calls, self.eps)), statistics_kept(loop.model):
                return inner(batch)

        parts = [(self.clean_share, on_clean), (1 - self.clean_share, on_moved)]
        return gradient_in_shares(parameters(loop), parts)

    def _module(self, loop: Run) -> nn.Module:
        name = self.layer or loop.task.feature_layer or ""
        modules: dict[str, nn.Module] = dict(loop.model.named_modules())
        if name and name in modules:
            return modules[name]
        raise TaskError(
            f"there is no feature layer {name!r}" if name else "no layer is named, and the task has no feature layer",
            where="[technique.feature-fgm] layer",
            remedy=f"name one of {[n for n in modules if n][:8]}",
        )


def _length(x: Tensor) -> Tensor:
    """[batch, 1, ...] Euclidean norm of every example, fp32 at least."""
    x = x.detach()
    wide = x if x.dtype == torch.float64 else x.float()
    return _like(wide.flatten(1).norm(dim=1), wide)


def _like(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *[1] * (x.dim() - 1))
