"""Which channels carry a prediction, and where the path of a perturbed input leaves that of the clean one.

Gates z in [0, 1] multiply the channels of each layer, and are closed as far as the outputs allow:

    z* = argmin_z |f(x) - f(x; z)|^2 / |f(x)|^2 + lambda * mean(z),      0 <= z <= 1, every example by itself

by Adam from z = 1 (all channels), clipped to [0, 1] after each step, weights and BatchNorm untouched, evaluation mode.
The datapath is {z > 1/2}. Two are compared layer by layer with the Jaccard index |A and B| / |A or B|.

Source of the rule: the "distillation guided routing" of Wang, Su, Zhang, Hu, "Interpret Neural Networks by Identifying
Critical Data Routing Paths", CVPR 2018 (authors' code: gates from 1, clipped to 0..5, cross entropy to the network's
own prediction + 0.05 * sum(z), 30 steps of SGD at 0.1). The word datapath, and the comparison of normal and adversarial
examples' paths, are of Liu et al., "Analyzing the Noise Robustness of Deep Neural Networks" (AEVis, arXiv:1810.03913),
which does *not* learn gates: by its abstract it states a subset selection and solves it approximately by
back-propagation. Its successor (Cao et al., arXiv:2001.09395) trains a network for it. Of these two the abstracts alone
were read; this module is not their algorithm.

Departures: gates end at 1; the output's change is relative to |f(x)|^2 and the penalty is a mean over channels, so that
one lambda serves logits, metres, and networks of any width; f is all outputs that the objective calls judged, not one
class's probability; the last step's gates count, not the best that kept the class.

Fidelity means nothing without a control: random gates of equal sparsity, layer by layer (`shuffled`). Nor does the
divergence of an attack: random noise of the same size changes gates as well (`sign_noise`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from techniques.attack import Ball, ascend, label_score
from techniques.batchnorm import evaluating
from techniques.errors import TechniqueOptionError
from techniques.task import Batch, Domain, Objective, Tensors
from techniques.technique import Run, Technique

__all__ = [
    "Datapath",
    "Gates",
    "datapaths",
    "gated",
    "gated_layers",
    "infidelity",
    "jaccard",
    "shuffled",
    "sign_noise",
    "thresholded",
]

Gates = dict[str, Tensor]
ACTIVATIONS: tuple[type[nn.Module], ...] = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
)
ACTIVATIONS += (nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Hardtanh)
LINEAR = (nn.Linear, nn.modules.conv._ConvNd)


@contextmanager
def gated(model: nn.Module, gates: Mapping[str, Tensor]) -> Iterator[None]:
    """Within, channels (dimension 1) of the named layers are multiplied by their gates [batch, channel].

    A layer that is called again in the same pass (one ReLU module for all) is a layer of its own: `name#2`, `name#3`.
    """
    calls: dict[str, int] = {}

    def multiply(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Tensor) -> Tensor | None:
            calls[name] = calls.get(name, 0) + 1
            gate = gates.get(_call(name, calls[name]))
            return None if gate is None else output * gate.view(*gate.shape, *[1] * (output.dim() - 2)).to(output)

        return hook

    names = dict.fromkeys(key.split("#")[0] for key in gates)
    hooks = [model.get_submodule(name).register_forward_hook(multiply(name)) for name in names]
    hooks.append(model.register_forward_pre_hook(lambda *_: calls.clear()))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def gated_layers(model: nn.Module, objective: Objective, inputs: Tensors, names: Sequence[str] = ()) -> dict[str, int]:
    """Layers with gates -> channels, in the order they run.

    By default the activation modules; where there are none, convolutions and linear layers. Layers whose output is
    an output of the network are left out: closing them would be the penalty's cheapest way.

    Raises:
        TechniqueOptionError: no such layer, or none at all, or one without channels.
    """
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules:
            raise _option(f"the network has no layer {name!r}", f"it has {[n for n in modules if n][:8]} ...")
    chosen = list(names) or [n for n, m in modules.items() if isinstance(m, ACTIVATIONS)]
    chosen = chosen or [n for n, m in modules.items() if isinstance(m, LINEAR)]
    found: dict[str, Tensor] = {}

    def see(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            count = sum(key.split("#")[0] == name for key in found) + 1
            if not isinstance(output, Tensor) or output.dim() < 2 or len(output) != len(inputs[0]):
                raise _option(f"layer {name!r} has no channels: its output is no [batch, channel, ...]", "leave it out")
            found[_call(name, count)] = output

        return hook

    hooks = [modules[name].register_forward_hook(see(name)) for name in chosen]
    try:
        with evaluating(model), torch.no_grad():
            outputs = {o.untyped_storage().data_ptr() for o in objective.outputs(model, inputs)}
    finally:
        for hook in hooks:
            hook.remove()
    inner = {k: o.shape[1] for k, o in found.items() if o.untyped_storage().data_ptr() not in outputs}
    if not inner:
        raise _option("the network has no layer inside whose channels can be gated", "name some")
    return inner


def datapaths(
    model: nn.Module,
    objective: Objective,
    inputs: Tensors,
    *,
    weight: float = 0.1,
    steps: int = 100,
    rate: float = 0.05,
    layers: Sequence[str] = (),
) -> Gates:
    """Gates [batch, channel] of every layer, 0 closed to 1 open; the network and its gradients are not touched.

    Args:
        inputs: each [batch, ...]; examples do not influence one another.
        weight: lambda; the relative squared error that closing all channels would be worth.
        steps, rate: of Adam.
        layers: names; () for the choice of `gated_layers`.

    Raises:
        TechniqueOptionError: a number out of range, or no layer to gate.
    """
    if not weight >= 0 or steps < 1 or not rate > 0:
        raise _option(f"needs weight >= 0, steps >= 1 and rate > 0, got {weight}, {steps}, {rate}", "change it")
    widths = gated_layers(model, objective, inputs, layers)
    count, like = len(inputs[0]), inputs[0]
    gates = {n: torch.ones(count, w, device=like.device, requires_grad=True) for n, w in widths.items()}
    optimiser = torch.optim.Adam(gates.values(), rate)
    with evaluating(model):
        with torch.no_grad():
            reference = objective.judged(objective.outputs(model, inputs))
        for _ in range(steps):
            with torch.enable_grad(), gated(model, gates):
                change = _relative_change(objective.judged(objective.outputs(model, inputs)), reference)
                cost = change + weight * torch.cat(list(gates.values()), 1).mean(1)
                slopes = torch.autograd.grad(cost.sum(), list(gates.values()))
            for gate, slope in zip(gates.values(), slopes, strict=True):
                gate.grad = slope
            optimiser.step()
            with torch.no_grad():
                for gate in gates.values():
                    gate.clamp_(0, 1)
    return {n: g.detach() for n, g in gates.items()}


@torch.no_grad()
def infidelity(model: nn.Module, objective: Objective, inputs: Tensors, gates: Gates) -> Tensor:
    """[batch] relative squared change of the outputs under these gates: 0 is a faithful datapath, 1 says nothing."""
    with evaluating(model):
        reference = objective.judged(objective.outputs(model, inputs))
        with gated(model, gates):
            return _relative_change(objective.judged(objective.outputs(model, inputs)), reference)


def thresholded(gates: Gates, above: float = 0.5) -> Gates:
    """0 or 1: the datapath itself."""
    return {name: (gate > above).to(gate) for name, gate in gates.items()}


def shuffled(gates: Gates, generator: torch.Generator) -> Gates:
    """The same gate values on random channels of the same layer and example: a control of equal sparsity."""
    found = {}
    for name, gate in gates.items():
        order = torch.rand(gate.shape, generator=generator).argsort(1).to(gate.device)
        found[name] = gate.gather(1, order)
    return found


def jaccard(a: Gates, b: Gates) -> dict[str, Tensor]:
    """Layer -> [batch] sum(min) / sum(max): the Jaccard index for gates of 0 and 1; 1 where both are empty."""
    found = {}
    for name in a:
        either = torch.maximum(a[name], b[name]).sum(1)
        both = torch.minimum(a[name], b[name]).sum(1)
        found[name] = torch.where(either > 0, both / either.clamp(min=1e-12), torch.ones_like(both))
    return found


def sign_noise(inputs: Tensors, domains: Sequence[Domain | None], eps: float, generator: torch.Generator) -> Tensors:
    """Every value moved by eps raw units up or down at random: as large as FGSM's step, without its direction."""
    moved = []
    for x, domain in zip(inputs, domains, strict=True):
        if domain is None:
            moved.append(x)
            continue
        sign = torch.randint(0, 2, x.shape, generator=generator).to(x.device, x.dtype) * 2 - 1
        moved.append(domain.clip(x + eps * sign / domain.scale(x)))
    return tuple(moved)


def _relative_change(outputs: Tensors, reference: Tensors) -> Tensor:
    change = torch.stack([((a.float() - b.float()) ** 2).flatten(1).sum(1) for a, b in _pairs(outputs, reference)])
    size = torch.stack([(b.float() ** 2).flatten(1).sum(1) for b in reference])
    return change.sum(0) / size.sum(0).clamp(min=1e-12)


def _pairs(a: Tensors, b: Tensors) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(a, b, strict=True)


def _call(name: str, count: int) -> str:
    return name if count == 1 else f"{name}#{count}"


def _option(what: str, remedy: str) -> TechniqueOptionError:
    return TechniqueOptionError(what, where="[technique.datapath]", remedy=remedy)


@dataclass
class Datapath(Technique):
    """Probe: which channels carry the outputs, and in which layer attacked inputs leave the clean datapath.

    Changes nothing in training; draws from none of the run's generators. Inputs are the first of `Task.test`, their
    FGSM twins and their random-sign twins.

    Args:
        examples: how many.
        weight, steps, rate, layers: see `datapaths`.
        eps: of FGSM and of the noise, raw units.
    """

    name: ClassVar[str] = "datapath"

    examples: int = 32
    weight: float = 0.1
    steps: int = 100
    rate: float = 0.05
    eps: float = 8 / 255
    layers: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        self.layers = tuple(self.layers)
        Ball(self.eps)
        if self.examples < 1 or not self.weight >= 0 or self.steps < 1 or not self.rate > 0:
            raise _option(f"needs examples >= 1, weight >= 0, steps >= 1 and rate > 0, got {self}", "change the option")

    def start(self, loop: Run) -> None:
        """Refuse at once what could not be probed after hours of training."""
        batch = self._batch(loop)
        gated_layers(loop.model, loop.objective, batch.inputs, self.layers)
        self._inputs(loop, batch, torch.Generator())

    def finish(self, loop: Run) -> None:
        """Report fidelity against random gates, and by layer the Jaccard index of both perturbations."""
        batch, generator = self._batch(loop), torch.Generator().manual_seed(loop.settings.seed)
        paths = {name: self._paths(loop, inputs) for name, inputs in self._inputs(loop, batch, generator).items()}
        clean, random = thresholded(paths["clean"]), shuffled(thresholded(paths["clean"]), generator)
        compared = {name: jaccard(clean, thresholded(paths[name])) for name in ("fgsm", "noise")}
        loop.reports[self.name] = {
            "infidelity": self._infidelity(loop, batch, clean),
            "infidelity_random_gates": self._infidelity(loop, batch, random),
            "layers": [
                {"layer": name, "open": float(gate.mean())}
                | {f"jaccard_{kind}": float(found[name].mean()) for kind, found in compared.items()}
                for name, gate in clean.items()
            ],
        }

    def _batch(self, loop: Run) -> Batch:
        return next(iter(loop.batches(loop.task.test, self.examples, self.examples)))

    def _paths(self, loop: Run, inputs: Tensors) -> Gates:
        return datapaths(
            loop.model,
            loop.objective,
            inputs,
            weight=self.weight,
            steps=self.steps,
            rate=self.rate,
            layers=self.layers,
        )

    def _inputs(self, loop: Run, batch: Batch, generator: torch.Generator) -> dict[str, Tensors]:
        score = label_score(loop.model, loop.objective, batch.targets)
        with evaluating(loop.model):
            attacked = ascend(score, batch.inputs, loop.task.domains, Ball(self.eps))
        noisy = sign_noise(batch.inputs, loop.task.domains, self.eps, generator)
        return {"clean": batch.inputs, "fgsm": attacked, "noise": noisy}

    def _infidelity(self, loop: Run, batch: Batch, gates: Gates) -> float:
        return float(infidelity(loop.model, loop.objective, batch.inputs, gates).mean())
