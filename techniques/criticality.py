"""Which layers matter: put one layer's first weights back, or draw it anew, and see how far the error rises.

Zhang, Bengio and Singer, "Are All Layers Created Equal?" (arXiv:1902.01996; JMLR 23, 2022), section 3. With theta_t the
weights after epoch t and l one layer,

    re-initialisation to epoch t:  theta^(l) <- theta_t^(l)       (t = 0: the weights that this very run began with)
    re-randomisation:              theta^(l) <- a fresh draw from the distribution that theta_0^(l) came from

all other layers stay as trained, nothing is trained again, and the error is measured. A layer whose re-initialisation
costs nothing is robust, others are critical. Resetting a layer by `reset_parameters()` is re-randomisation: the draw is
another one than the run's own.

Departures: a layer is every module that owns tensors (weight, bias, BatchNorm's affine part *and* running statistics),
where the paper groups BatchNorm with its convolution in residual blocks; a fresh draw is the same layer of a freshly
built network, so that whatever the network's constructor does is the distribution drawn from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from techniques.batchnorm import evaluating
from techniques.errors import EmptyData, ModelMismatch, TechniqueOptionError
from techniques.technique import Run, Technique

__all__ = [
    "Criticality",
    "Layer",
    "LayerCriticality",
    "distances",
    "fresh_states",
    "layer_criticality",
    "layers",
    "snapshot",
    "swapped",
]

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Layer:
    """One module's own tensors.

    Attributes:
        name: dotted; "(root)" for tensors that the network holds itself.
        keys: state-dict keys of everything it owns, and their other names where weights are shared.
        parameters: those of `keys` that are trained.
    """

    name: str
    keys: tuple[str, ...]
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class LayerCriticality:
    """What resetting one layer costs.

    Attributes:
        trained: error with nothing reset.
        re_initialised: epoch -> error with the layer's weights of that epoch.
        re_randomised: error of every fresh draw.
        l2_relative: |theta - theta_0|_2 / |theta_0|_2 of its parameters; NaN for none, inf if all began at 0.
        l2_rms: |theta - theta_0|_2 / sqrt(number of them).
        linf: greatest |theta - theta_0|.
    """

    layer: str
    trained: float
    re_initialised: dict[int, float]
    re_randomised: list[float]
    l2_relative: float
    l2_rms: float
    linf: float


def layers(model: nn.Module) -> list[Layer]:
    """Every module that owns parameters or stored buffers, in the network's order."""
    stored = model.state_dict(keep_vars=True)
    aliases: dict[int, list[str]] = {}
    for key, tensor in stored.items():
        aliases.setdefault(id(tensor), []).append(key)
    found = []
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        own = [prefix + n for n, _ in (*module.named_parameters("", False), *module.named_buffers("", False))]
        keys = tuple(dict.fromkeys(alias for key in own if key in stored for alias in aliases[id(stored[key])]))
        if keys:
            trained = tuple(k for k in keys if isinstance(stored[k], nn.Parameter))
            found.append(Layer(name or "(root)", keys, trained))
    return found


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights and buffers, on the CPU."""
    return {k: v.detach().to("cpu", copy=True) for k, v in model.state_dict().items()}


def swapped(state: State, other: State, layer: Layer) -> dict[str, Tensor]:
    """`state` with that layer of `other`: re-initialisation and re-randomisation alike.

    Raises:
        ModelMismatch: `other` lacks the layer, or has it in another shape.
    """
    for key in layer.keys:
        if key not in other or key not in state or other[key].shape != state[key].shape:
            raise ModelMismatch(
                f"layer {layer.name} does not fit: {key} is {_shape(other, key)} there and {_shape(state, key)} here",
                where="swapped(state, other)",
                remedy="take both states from the same network, at different times",
            )
    return {**state, **{key: other[key] for key in layer.keys}}


def fresh_states(build: Callable[[], nn.Module], draws: int, seed: int = 0) -> Iterator[dict[str, Tensor]]:
    """Weights of `draws` freshly built networks; torch's global generator is left as it was.

    Raises:
        ModelMismatch: every network is the same, as where the constructor loads trained weights.
    """
    first: dict[str, Tensor] | None = None
    for draw in range(draws):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed((seed + 1) * 7919 + draw)
            fresh = snapshot(build())
        if draw == 1 and first is not None and all(torch.equal(first[k], fresh[k]) for k in first):
            raise ModelMismatch(
                "two freshly built networks have the same weights: nothing was drawn",
                where="fresh_states(build)",
                remedy="build the network with random weights, not with trained ones",
            )
        first = fresh if first is None else first
        yield fresh


def distances(state: State, start: State, layer: Layer) -> tuple[float, float, float]:
    """(relative L2, RMS, greatest) change of a layer's parameters; see `LayerCriticality`."""
    if not layer.parameters:
        return math.nan, math.nan, math.nan
    now, then = (torch.cat([s[k].detach().double().flatten().cpu() for k in layer.parameters]) for s in (state, start))
    moved, length = (now - then).norm(), then.norm()
    relative = float(moved / length) if length > 0 else (math.inf if moved > 0 else math.nan)
    return relative, float(moved) / math.sqrt(len(now)), float((now - then).abs().max())


def layer_criticality(
    model: nn.Module,
    evaluate: Callable[[nn.Module], float],
    start: State,
    *,
    fresh: Sequence[State] = (),
    checkpoints: Mapping[int, State] | None = None,
) -> list[LayerCriticality]:
    """Every layer's errors; the network is afterwards what it was, bit for bit.

    Args:
        model: the trained network.
        evaluate: error of a network; must not train it. Called in evaluation mode.
        start: all weights and buffers of step 0 of the same run.
        fresh: weights of freshly initialised networks, from `fresh_states`.
        checkpoints: epoch -> weights of the same run.

    Raises:
        ModelMismatch: a state that is not of this network.
    """
    times = {0: start, **(checkpoints or {})}
    trained = snapshot(model)
    rows = []
    with evaluating(model), _put_back(model, trained):
        error = evaluate(model)

        def with_layer(layer: Layer, other: State) -> float:
            model.load_state_dict(swapped(trained, other, layer))
            return evaluate(model)

        for layer in layers(model):
            early = {epoch: with_layer(layer, state) for epoch, state in times.items()}
            drawn = [with_layer(layer, state) for state in fresh]
            rows.append(LayerCriticality(layer.name, error, early, drawn, *distances(trained, start, layer)))
    return rows


@contextmanager
def _put_back(model: nn.Module, state: State) -> Iterator[None]:
    try:
        yield
    finally:
        model.load_state_dict(dict(state))


def _shape(state: State, key: str) -> str:
    return str(list(state[key].shape)) if key in state else "missing"


@dataclass
class Criticality(Technique):
    """Probe: how much the error rises when one layer gets its first weights back, or new random ones.

    Changes nothing in training, draws from none of the run's generators, and looks at the network as it is when its
    turn to finish comes: name it after techniques that replace the weights. Errors are of `Task.test`.

    Args:
        draws: fresh draws of each layer; at least 2, and 5 for a spread worth showing.
        epochs: whose weights are put back too, besides those of step 0; kept in memory.
        examples: how many of `Task.test` are evaluated each time.
    """

    name: ClassVar[str] = "criticality"

    draws: int = 5
    epochs: tuple[int, ...] = (1, 2, 3, 8, 40)
    examples: int = 256
    _kept: dict[int, dict[str, Tensor]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.epochs = tuple(self.epochs)
        if self.draws < 2 or self.examples < 1 or any(e < 1 for e in self.epochs):
            raise TechniqueOptionError(
                f"needs draws >= 2, examples >= 1 and epochs >= 1, got {self}",
                where="[technique.criticality]",
                remedy="change the option; epoch 0 is always there",
            )

    def start(self, loop: Run) -> None:
        """Keep the weights of step 0."""
        self._kept = {0: snapshot(loop.model)}

    def after_epoch(self, loop: Run) -> None:
        """Keep the weights of the epochs asked for."""
        if loop.epoch in self.epochs:
            self._kept[loop.epoch] = snapshot(loop.model)

    def finish(self, loop: Run) -> None:
        """Reset layer by layer, and report {"unit", "trained_error", "layers": [...]}."""
        rows = layer_criticality(
            loop.model,
            lambda model: _mean_error(loop, model, self.examples),
            self._kept[0],
            fresh=list(fresh_states(loop.task.network, self.draws, loop.settings.seed)),
            checkpoints=self._kept,
        )
        trained = rows[0].trained if rows else math.nan
        found = [{k: v for k, v in asdict(row).items() if k != "trained"} for row in rows]
        for row in found:
            row["re_initialised"] = {str(epoch): error for epoch, error in row["re_initialised"].items()}
        loop.reports[self.name] = {"unit": loop.task.unit, "trained_error": trained, "layers": found}

    def state(self) -> Mapping[str, Any]:
        """The weights kept so far."""
        return {"kept": self._kept}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with the weights of the run's own beginning."""
        self._kept = {int(epoch): dict(weights) for epoch, weights in state["kept"].items()}


@torch.no_grad()
def _mean_error(loop: Run, model: nn.Module, limit: int) -> float:
    errors = [
        loop.objective.error(loop.objective.outputs(model, batch.inputs), batch.targets)
        for batch in loop.batches(loop.task.test, limit=limit)
    ]
    if not errors:
        raise EmptyData("there is nothing to measure the error on", where="Task.test", remedy="give it examples")
    return float(torch.cat(errors).nanmean())
