"""Lazy or feature-learning: how far training moved the weights, the tangent kernel, and the network from its line.

Chizat, Oyallon and Bach (2019) call training lazy where the network stays near its linearisation at the first weights;
Wang, Ullah, Mianjy and Arora, "Adversarial Robustness is at Odds with Lazy Training" (arXiv:2207.00411), show that such
networks have adversarial examples close to most inputs. With theta_0 the first and theta the final weights,
d = theta - theta_0, J the Jacobian of the outputs that are judged (lines, class logits),

    movement               |d|_2 / |theta_0|_2
    kernel                 K_theta(x, x') = mean over outputs k of <J_k(x), J_k(x')>
    kernel change          |K_theta - K_theta0|_F / |K_theta0|_F
    kernel cosine          <K_theta, K_theta0>_F / (|K_theta|_F |K_theta0|_F)
    linearisation error    |f(theta) - f(theta_0) - J(theta_0) d| / |f(theta) - f(theta_0)|

All near 0 (the cosine near 1) in lazy training. Report, never gate: robustness need not follow laziness.

Departures: the kernel is averaged over a few outputs, evenly spaced among all, instead of a matrix over outputs.
Buffers are no weights: BatchNorm runs in evaluation mode with the *final* running statistics at both ends, so that f is
a function of theta alone. `torch.func` differentiates: vmap of grad for J, jvp for J d.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap

from techniques.batchnorm import evaluating
from techniques.errors import EmptyData, ModelMismatch, TechniqueOptionError
from techniques.task import Objective, Tensors
from techniques.technique import Run, Technique

__all__ = ["Laziness", "Lazy", "kernel", "kernel_change", "laziness", "linearisation_error", "movement"]

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Laziness:
    """The four measures, see the formulas above; NaN where a denominator is 0 (nothing moved)."""

    movement: float
    kernel_change: float
    kernel_cosine: float
    linearisation_error: float


def movement(weights: State, start: State) -> float:
    """|theta - theta_0| / |theta_0| over all tensors of `weights`; NaN if all began at 0.

    Raises:
        ModelMismatch: the two are not of one network.
    """
    _check(weights, start)
    apart = sum(float((weights[k].double() - start[k].double()).square().sum()) for k in weights)
    length = sum(float(start[k].double().square().sum()) for k in weights)
    return math.sqrt(apart / length) if length > 0 else math.nan


def kernel(model: nn.Module, objective: Objective, weights: State, inputs: Tensors, outputs: int = 4) -> Tensor:
    """Empirical tangent kernel at `weights`, float64 [example, example], in evaluation mode.

    Args:
        weights: of every parameter, by name.
        inputs: each [example, ...]; memory grows with examples * parameters.
        outputs: how many of an example's outputs are averaged over, evenly spaced among all.
    """
    if not len(inputs[0]):
        raise EmptyData("a kernel needs inputs", where="kernel(inputs)", remedy="give it examples")
    network, named = _functional(model, objective, weights)
    with evaluating(model):
        with torch.no_grad():
            width = _flat(functional_call(network, named, inputs)).shape[1]

        def one_output(parameters: dict[str, Tensor], index: Tensor, *example: Tensor) -> Tensor:
            found = _flat(functional_call(network, parameters, tuple(x[None] for x in example)))
            return found[0].gather(0, index[None])[0]

        chosen = torch.linspace(0, width - 1, min(outputs, width)).round().long().to(inputs[0].device)
        total = torch.zeros(len(inputs[0]), len(inputs[0]), dtype=torch.float64)
        for index in chosen:
            slopes = vmap(grad(one_output), in_dims=(None, None, *[0] * len(inputs)))(named, index, *inputs)
            for slope in slopes.values():
                rows = slope.detach().flatten(1).double()
                total += (rows @ rows.T).cpu()
    return total / len(chosen)


def kernel_change(now: Tensor, then: Tensor) -> tuple[float, float]:
    """(relative change, cosine) of two kernels, by the Frobenius norm; NaN where one is 0."""
    length, old = float(now.norm()), float(then.norm())
    change = float((now - then).norm()) / old if old > 0 else math.nan
    return change, float((now * then).sum()) / (length * old) if length * old > 0 else math.nan


def linearisation_error(model: nn.Module, objective: Objective, weights: State, start: State, inputs: Tensors) -> float:
    """Share of the outputs' change that the linearisation at `start` misses; NaN where they did not change."""
    network, then = _functional(model, objective, start)
    _, now = _functional(model, objective, weights)
    direction = {k: now[k] - then[k] for k in now}

    def outputs(parameters: dict[str, Tensor]) -> Tensor:
        return _flat(functional_call(network, parameters, inputs)).double()

    with evaluating(model), torch.no_grad():
        first, slope = jvp(outputs, (then,), (direction,))[:2]
        moved = outputs(now) - first
    return float((moved - slope).norm() / moved.norm()) if moved.norm() > 0 else math.nan


def laziness(model: nn.Module, objective: Objective, start: State, inputs: Tensors, *, outputs: int = 4) -> Laziness:
    """All measures of a trained network; it is not changed.

    Args:
        start: parameters of step 0 of the same run, by name; other entries are left out.
        inputs: about 60 examples, each [example, ...].

    Raises:
        ModelMismatch: `start` is of another network.
        EmptyData: no example.
    """
    now = {k: p.detach() for k, p in model.named_parameters()}
    _check(now, start)
    then = {k: start[k].to(now[k]) for k in now}
    kernels = (kernel(model, objective, w, inputs, outputs) for w in (now, then))
    change = kernel_change(*kernels)
    return Laziness(movement(now, then), *change, linearisation_error(model, objective, now, then, inputs))


class _Judged(nn.Module):
    """A network and those of its outputs that are judged, as one module for `functional_call`."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, *inputs: Tensor) -> Tensors:
        return self.objective.judged(self.objective.outputs(self.model, inputs))


def _functional(model: nn.Module, objective: Objective, weights: State) -> tuple[_Judged, dict[str, Tensor]]:
    return _Judged(model, objective), {f"model.{k}": weights[k].detach() for k, _ in model.named_parameters()}


def _flat(outputs: Tensors) -> Tensor:
    """[batch, all outputs]."""
    return torch.cat([o.flatten(1) for o in outputs], 1)


def _check(weights: State, start: State) -> None:
    for key, tensor in weights.items():
        if key not in start or start[key].shape != tensor.shape:
            raise ModelMismatch(
                f"{key} is missing from the first weights, or has another shape there",
                where="laziness(start)",
                remedy="keep the weights of step 0 of the same run",
            )


@dataclass
class Lazy(Technique):
    """Probe: how lazy the training was (weight movement, tangent kernel, linearisation error).

    Changes nothing in training. The kernels need examples * parameters numbers of memory.

    Args:
        examples: how many of `Task.test` the kernel and the linearisation are taken on.
        outputs: how many outputs of each the kernel is averaged over.
    """

    name: ClassVar[str] = "lazy"

    examples: int = 60
    outputs: int = 4
    _start: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.examples < 2 or self.outputs < 1:
            raise TechniqueOptionError(
                f"needs examples >= 2 and outputs >= 1, got {self}",
                where="[technique.lazy]",
                remedy="change the option",
            )

    def start(self, loop: Run) -> None:
        """Keep the weights of step 0."""
        self._start = {k: p.detach().to("cpu", copy=True) for k, p in loop.model.named_parameters()}

    def finish(self, loop: Run) -> None:
        """Report the four measures."""
        inputs = next(iter(loop.batches(loop.task.test, self.examples, self.examples))).inputs
        found = laziness(loop.model, loop.objective, self._start, inputs, outputs=self.outputs)
        loop.reports[self.name] = {**asdict(found), "examples": len(inputs[0])}

    def state(self) -> Mapping[str, Any]:
        """The first weights."""
        return {"start": self._start}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with the weights of the run's own beginning."""
        self._start = dict(state["start"])
