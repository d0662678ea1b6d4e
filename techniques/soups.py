"""Model soups: one network from several that were fine-tuned from one start (Wortsman et al., 2203.05482).

    uniform   th = mean_i th_i                                                                  (section 2)
    greedy    best first by error on the selection set; one is added to the mean if the mean's error there is not
              larger with it (recipe 1): never worse, on that set, than the best single network
    learned   th = sum_i softmax(a)_i th_i, a learned by gradient descent on the loss of the selection set (appendix I)

Departures: scores are errors, so that lanes in metres serve as well as accuracy; the learned soup has one mix per
parameter tensor (the paper: per layer) and no temperature, which a regression has no use for; BatchNorm statistics of
a mean are computed anew, while a single network keeps its own. The selection set chooses: it must not be the set on
which the soup is judged.

    state = uniform_soup([torch.load(p, weights_only=True) for p in paths])
    soup = greedy_soup(states, error, repaired=recompute)    # error(state) -> float
    soup = learned_soup(model, states, Classification(), batches)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from techniques.batchnorm import batchnorms, evaluating
from techniques.branches import Branched
from techniques.errors import EmptyData, ModelMismatch, NonFiniteLoss, TechniqueOptionError
from techniques.task import Batch, Examples, Objective, Tensors
from techniques.technique import Run
from techniques.weights import State, average, check_alike, cloned, least_cosine

__all__ = [
    "GreedySoup",
    "LearnedSoup",
    "LoopSoup",
    "Measure",
    "Repair",
    "Soup",
    "UniformSoup",
    "check_selection",
    "greedy_soup",
    "learned_soup",
    "mixed",
    "uniform_soup",
]

Measure = Callable[[State], float]
Repair = Callable[[State], State]


@dataclass(frozen=True)
class Soup:
    """What greedy selection found.

    Attributes:
        state: weights of the soup; `error` was measured on exactly these.
        chosen: numbers of the ingredients in it, in the order in which they were added.
        errors: of each ingredient alone.
    """

    state: dict[str, Tensor]
    chosen: tuple[int, ...]
    error: float
    errors: tuple[float, ...]


def uniform_soup(states: Sequence[State]) -> dict[str, Tensor]:
    """Mean of all; of one state, that state bit for bit. BatchNorm is still to be recomputed.

    Raises:
        ModelMismatch: the states differ in keys, shapes or dtypes, or there are none.
    """
    return average(states)


def greedy_soup(states: Sequence[State], error: Measure, *, repaired: Repair | None = None) -> Soup:
    """The soup of those ingredients that do not make it worse.

    Args:
        error: of weights on the selection set; smaller is better.
        repaired: weights with BatchNorm statistics of their own; called for every mean, never for a single ingredient.

    Raises:
        ModelMismatch: the states differ in keys, shapes or dtypes, or there are none.
        NonFiniteLoss: the error of an ingredient is not finite.
    """
    check_alike(states)
    errors = [_finite(error(state), f"states[{i}]") for i, state in enumerate(states)]
    first, *others = sorted(range(len(states)), key=errors.__getitem__)
    chosen, best, best_error = [first], cloned(states[first]), errors[first]
    for number in others:
        candidate: State = average([states[i] for i in (*chosen, number)])
        if repaired is not None:
            candidate = repaired(candidate)
        value = error(candidate)
        if value <= best_error:
            chosen, best, best_error = [*chosen, number], cloned(candidate), value
    return Soup(best, tuple(chosen), best_error, tuple(errors))


def learned_soup(
    model: nn.Module, states: Sequence[State], objective: Objective, batches: Iterable[Batch], *, rate: float = 0.05
) -> dict[str, Tensor]:
    """Softmax mix [ingredient] of every parameter, by AdamW without decay, one step a batch; pass it to `mixed`.

    Args:
        model: of the states' architecture; only its structure and modes are used, its weights stay as they are. Layers
            run in evaluation mode but for BatchNorm, which normalises by the batch: a mix has no statistics yet.
        batches: labelled, of the selection set, all epochs one after another (the paper: 5).

    Raises:
        ModelMismatch: the states differ from one another or from the model, or there are none.
        EmptyData: there is no batch.
        NonFiniteLoss: the loss is not finite.
    """
    check_alike([model.state_dict(), *states])
    if not states:
        raise ModelMismatch("there are no weights to combine", where="learned_soup(states)", remedy="give some")
    names = [name for name, p in model.named_parameters() if p.is_floating_point()]
    stacked = {name: torch.stack([state[name].detach() for state in states]) for name in names}
    first = stacked[names[0]]
    logits = torch.zeros(len(names), len(states), device=first.device, requires_grad=True)
    optimiser = torch.optim.AdamW([logits], rate, weight_decay=0.0)
    network, buffers = _Outputs(model, objective), cloned(dict(model.named_buffers()))
    count = 0
    with _learning(model):
        for count, batch in enumerate(batches, 1):
            shares = torch.softmax(logits, 1)
            weights = {n: _mix(shares[i], stacked[n]) for i, n in enumerate(names)}
            outputs = network.functional({**buffers, **weights}, batch.inputs)
            loss = objective.loss(outputs, batch.targets).mean()
            _finite(float(loss.detach()), f"learned_soup, batch {count}")
            (logits.grad,) = torch.autograd.grad(loss, [logits])
            optimiser.step()
    if not count:
        raise EmptyData(
            "a learned soup needs the selection set", where="learned_soup(batches)", remedy="give it batches"
        )
    return dict(zip(names, torch.softmax(logits.detach().double(), 1).cpu().unbind(), strict=True))


def mixed(model: nn.Module, states: Sequence[State], shares: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a learned soup: each parameter by its own shares, tied ones alike, buffers as in the uniform soup."""
    check_alike(states)
    by_identity = {id(p): shares[name] for name, p in model.named_parameters() if name in shares}
    per_key = {n: by_identity[id(p)] for n, p in model.named_parameters(remove_duplicate=False) if id(p) in by_identity}
    soup = average(states)
    for key, share in per_key.items():
        soup[key] = average([{key: state[key]} for state in states], share.tolist())[key]
    return soup


class _Outputs(nn.Module):
    """The objective's outputs as a module, so that other weights can be put under it."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, *inputs: Tensor) -> Tensors:
        return self.objective.outputs(self.model, inputs)

    def functional(self, weights: Mapping[str, Tensor], inputs: Tensors) -> Tensors:
        prefixed = {f"model.{key}": value for key, value in weights.items()}
        outputs: Tensors = torch.func.functional_call(self, prefixed, inputs)
        return outputs


@contextmanager
def _learning(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, but BatchNorm layers that are not frozen normalise by the batch."""
    whole = not any(m.training for m in model.modules())
    layers = [m for m in batchnorms(model) if whole or m.training]
    with evaluating(model):
        for layer in layers:
            layer.training = True
        yield


def _mix(shares: Tensor, stacked: Tensor) -> Tensor:
    total: Tensor = torch.tensordot(shares, stacked.to(shares.dtype), 1)
    return total.to(stacked.dtype)


def _finite(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise NonFiniteLoss(f"its error is {value}", where=where, remedy="leave it out, or train it again")
    return value


@dataclass
class LoopSoup(Branched, ABC):
    """A soup of the run's branches becomes the final network."""

    role: ClassVar[str | None] = "final weights"

    def finish(self, loop: Run) -> None:
        """Load the soup; report the errors of the ingredients and of the soup on the selection set."""
        self.check_complete(loop)
        errors = [self.error(loop, state) for state in self.ingredients]
        state, details = self.cooked(loop)
        loop.reports[self.name] = {
            "rates": [loop.settings.rate * share for share in self.rates],
            "ingredient_errors": errors,
            "soup_error": self.error(loop, state),
            "least_cosine": least_cosine(self.ingredients),
            **details,
        }

    @abstractmethod
    def cooked(self, loop: Run) -> tuple[State, dict[str, Any]]:
        """The soup's weights, BatchNorm included, and what to report besides."""

    def repaired(self, loop: Run, state: State) -> State:
        """The same weights with BatchNorm statistics of their own, or as they are if one ingredient is all there is."""
        if self.branches == 1:
            return state
        loop.model.load_state_dict(state)
        loop.recompute_batchnorm(loop.model)
        return cloned(loop.model.state_dict())

    def error(self, loop: Run, state: State) -> float:
        """Of weights, on the selection set."""
        loop.model.load_state_dict(state)
        return loop.mean_error(loop.model, loop.task.selection)


@dataclass
class UniformSoup(LoopSoup):
    """The mean of several branches' weights (model soups, uniform)."""

    name: ClassVar[str] = "uniform-soup"

    def cooked(self, loop: Run) -> tuple[State, dict[str, Any]]:
        """The mean."""
        return self.repaired(loop, uniform_soup(self.ingredients)), {}


@dataclass
class GreedySoup(LoopSoup):
    """The mean of those branches that do not make it worse on the selection set (model soups, greedy)."""

    name: ClassVar[str] = "greedy-soup"

    def start(self, loop: Run) -> None:
        """Refuse a selection set that also judges."""
        super().start(loop)
        check_selection(loop, self.name)

    def cooked(self, loop: Run) -> tuple[State, dict[str, Any]]:
        """What greedy selection finds, on weights with BatchNorm recomputed."""
        soup = greedy_soup(self.ingredients, lambda s: self.error(loop, s), repaired=lambda s: self.repaired(loop, s))
        return soup.state, {"chosen": list(soup.chosen)}


@dataclass
class LearnedSoup(LoopSoup):
    """A mix of several branches' weights, learned tensor by tensor on the selection set (model soups, learned).

    Args:
        learning_rate: of the mix.
        epochs: through the selection set.
        share: greatest part of the budget that learning the mix may take; fewer epochs if they do not fit.
    """

    learning_rate: float = 0.05
    epochs: int = 5
    share: float = 0.2

    name: ClassVar[str] = "learned-soup"
    _shares: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.learning_rate > 0 and self.epochs >= 1 and 0 < self.share < 1):
            raise TechniqueOptionError(
                f"needs learning_rate > 0, epochs >= 1, 0 < share < 1, got {self}",
                where=f"[technique.{self.name}]",
                remedy="change it",
            )

    def start(self, loop: Run) -> None:
        """Refuse a selection set that also judges."""
        super().start(loop)
        check_selection(loop, self.name)

    def training_passes(self, loop: Run) -> int:
        """The budget less what learning the mix takes."""
        return loop.settings.budget_passes - 2 * self._steps(loop)

    def branched(self, loop: Run) -> None:
        """Learn the mix; its passes count."""
        with loop.autocast():
            self._shares = learned_soup(
                loop.model, self.ingredients, loop.objective, self._batches(loop), rate=self.learning_rate
            )

    def cooked(self, loop: Run) -> tuple[State, dict[str, Any]]:
        """The learned mix."""
        soup = self.repaired(loop, mixed(loop.model, self.ingredients, self._shares))
        return soup, {
            "uniform_error": self.error(loop, self.repaired(loop, uniform_soup(self.ingredients))),
            "shares": {name: share.tolist() for name, share in self._shares.items()},
        }

    def state(self) -> Mapping[str, Any]:
        """As any soup's, and the mix."""
        return {**super().state(), "shares": self._shares}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        super().restore(state)
        self._shares = dict(state["shares"])

    def _steps(self, loop: Run) -> int:
        whole = max(len(loop.task.selection) // loop.settings.batch, 1)  # a last short batch is left out
        return max(min(self.epochs * whole, int(self.share * loop.settings.budget_passes / 2)), 1)

    def _batches(self, loop: Run) -> Iterator[Batch]:
        size, left = min(loop.settings.batch, len(loop.task.selection)), self._steps(loop)
        while left:
            for batch in loop.batches(_Shuffled(loop.task.selection, loop.generator), size):
                if left and len(batch) == size:
                    left -= 1
                    yield batch


class _Shuffled:
    """The same examples in another order."""

    def __init__(self, examples: Examples, generator: torch.Generator) -> None:
        self.examples, self.order = examples, torch.randperm(len(examples), generator=generator)

    def __len__(self) -> int:
        return len(self.order)

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        return self.examples.batch(self.order[rows], generator)


def check_selection(loop: Run, name: str) -> None:
    """Nothing if the task has a selection set of its own.

    Raises:
        EmptyData: it is empty.
        TechniqueOptionError: it is the set that judges.
    """
    if not len(loop.task.selection):
        raise EmptyData("there is nothing to select by", where="Task.selection", remedy="give it examples")
    if loop.task.selection is loop.task.test:
        raise TechniqueOptionError(
            "the set that selects is also the set that judges",
            where=f"[technique.{name}] Task.selection",
            remedy="give the task a selection set of its own",
        )
