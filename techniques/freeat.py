"""FreeAT: adversarial training for free (Shafahi et al. 2019, 1904.12843, algorithm 1).

    m times on the same batch, d kept from replay to replay and from batch to batch:
        g_theta, g_d = gradients of J(clip(x + d), y), both from one backward pass
        theta <- optimiser(theta, g_theta)
        d <- clip(d + eps * sign(g_d), -eps, eps)

g_d is the gradient through the clip to the raw range: 0 where x + d left it, so that noise which has nowhere to go
stays (as in the authors' code, which differentiates with respect to d).

A replay costs one forward and one backward pass, as plain training does, and takes a step of the optimiser; the budget
therefore holds m times fewer batches. m = 4 unless told otherwise.

Departures: d is in raw units whatever the normalisation; BatchNorm as techniques.adversarial says; a batch of another
size or shape starts from d = 0. Hooks of other techniques that follow a step (`after_step`) come once a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from techniques.adversarial import keep_clean_statistics, whole
from techniques.attack import usable_gradients
from techniques.ball import Ball, check_domains, watched
from techniques.batchnorm import statistics_kept
from techniques.errors import NonFiniteLoss, TechniqueConflict
from techniques.task import Batch, Domain, Tensors
from techniques.technique import Gradient, Run, Technique

__all__ = ["FreeAT", "free_replay"]


def free_replay(
    gradient: Gradient, batch: Batch, domains: Sequence[Domain | None], noise: Tensors | None, eps: float
) -> tuple[Tensor, Tensors]:
    """One replay: fill the parameters' gradients at x + noise, and move the noise by the same backward pass.

        for _ in range(4):
            optimiser.zero_grad()
            loss, noise = free_replay(gradient, batch, domains, noise, 8 / 255)
            optimiser.step()

    Args:
        gradient: runs `backward` of the mean loss of a batch, returns that loss.
        batch: the clean batch, normalised.
        domains: of each input, None for one that stays.
        noise: of the replay before, normalised units, each like its input; None, or other shapes, for zero.
        eps: greatest change of a raw value.

    Returns:
        (loss at x + noise, the noise to go on with).

    Raises:
        TechniqueOptionError: eps does not fit the raw range, or no gradient reaches an input.
        NonFiniteLoss: the input's gradient is not finite.
    """
    check_domains(batch.inputs, domains, Ball(eps))
    if noise is None or [n.shape for n in noise] != [x.shape for x in batch.inputs]:
        noise = tuple(torch.zeros_like(x) for x in batch.inputs)
    noise = tuple(n.to(x.device) for n, x in zip(noise, batch.inputs, strict=True))  # a restored one is on the CPU
    pushed = tuple(x.detach() + n for x, n in zip(batch.inputs, noise, strict=True))
    clipped = tuple(p if d is None else d.clip(p) for p, d in zip(pushed, domains, strict=True))
    leaves = watched(clipped, domains)
    loss = gradient(batch.with_inputs(leaves))
    gradients = usable_gradients([x.grad for x in leaves], "free_replay(gradient)")
    through = tuple(None if g is None else g * (p == c) for g, p, c in zip(gradients, pushed, clipped, strict=True))
    return loss, tuple(_louder(n, g, d, eps) for n, g, d in zip(noise, through, domains, strict=True))


@dataclass
class FreeAT(Technique):
    """Replay every batch, each backward pass serving the attack and a step of the optimiser.

    Args:
        eps: greatest change of a raw value, raw units.
        replays: m, how often each batch is trained on.
    """

    name: ClassVar[str] = "freeat"
    role: ClassVar[str | None] = "attack"

    eps: float = 8 / 255
    replays: int = 4
    _noise: Tensors | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        Ball(self.eps)
        whole(self.name, "replays", self.replays, 1)

    def start(self, loop: Run) -> None:
        """Refuse to run inside a technique that expects the weights to stay during its gradient."""
        self._noise = None
        outer = list(loop.techniques)[: list(loop.techniques).index(self)]
        for other in outer:
            if type(other).gradient is not Technique.gradient:
                raise TechniqueConflict(
                    f"freeat takes steps of the optimiser of its own, which {other.name} around it cannot know",
                    where=f"--technique {other.name} --technique freeat",
                    remedy=f"name freeat before {other.name}",
                )

    def gradient(self, loop: Run, batch: Batch, inner: Gradient) -> Tensor:
        """All replays; the loop takes the last one's step."""
        keep_clean_statistics(loop, batch)
        losses: list[Tensor] = []
        for replay in range(self.replays):
            if replay:
                self._step(loop, losses[-1])
            with statistics_kept(loop.model):
                loss, self._noise = free_replay(inner, batch, loop.task.domains, self._noise, self.eps)
            losses.append(loss)
        return torch.stack(losses).mean()

    def state(self) -> Mapping[str, Any]:
        """The noise that goes from batch to batch."""
        return {"noise": self._noise}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with that noise."""
        self._noise = state["noise"]

    def _step(self, loop: Run, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise NonFiniteLoss(
                f"the loss is {float(loss)}",
                where=f"step {loop.step}, a replay of freeat",
                remedy="use a smaller rate, or a smaller eps",
            )
        loop.apply_gradients()
        loop.optimiser.zero_grad(set_to_none=True)


def _louder(noise: Tensor, gradient: Tensor | None, domain: Domain | None, eps: float) -> Tensor:
    if gradient is None or domain is None:
        return noise
    reach = (eps / domain.scale(noise)).expand_as(noise)
    return torch.clamp(noise + reach * gradient.sign(), -reach, reach)
