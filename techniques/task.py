"""What a technique needs to know of a task: batches, the raw range of each input, data sets, and the objective.

Inputs and targets are tuples of tensors whose first dimension is the example, so that networks of several inputs and
targets of several parts need nothing special. A network takes inputs as they are after preprocessing (normalised);
`Domain` says how they follow from raw values, because budgets of attacks are in raw units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from techniques.errors import EmptyData, TechniqueOptionError

__all__ = ["Batch", "Domain", "Examples", "Following", "Objective", "Task", "TensorExamples", "Tensors"]

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Following:
    """The frame after each example, and how the vehicle moved in between.

    Attributes:
        inputs: each [batch, ...], as the network takes them.
        motion: [batch, 3] forward and to the left, label units, and turned to the left, radians: the vehicle's place at
            the later frame in the vehicle frame of the earlier one.
    """

    inputs: Tensors
    motion: Tensor


@dataclass(frozen=True)
class Batch:
    """Some examples.

    Attributes:
        inputs: each [batch, ...], as the network takes them.
        targets: each [batch, ...]; () where unlabelled.
        variants: the same examples as other preprocessing pipelines would deliver them, row by row; may be empty.
        following: the next frame of each, row by row; None where examples are single pictures.
    """

    inputs: Tensors
    targets: Tensors = ()
    variants: tuple[Tensors, ...] = ()
    following: Following | None = None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def with_inputs(self, inputs: Tensors) -> Batch:
        """The same labels for other inputs."""
        return replace(self, inputs=inputs)


@dataclass(frozen=True)
class Domain:
    """Raw range of one input, and its normalisation: x = (raw - mean) / std, per channel of dimension 1.

    Args:
        low, high: least and greatest raw value, for instance 0 and 1.
        mean, std: one value, or one per channel; raw units.

    Raises:
        TechniqueOptionError: an empty range or a std that is not positive.
    """

    low: float = 0.0
    high: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.low < self.high or min(self.std) <= 0:
            raise TechniqueOptionError(
                f"a domain needs low < high and std > 0, got low {self.low}, high {self.high}, std {self.std}",
                where="Domain(low, high, std)",
                remedy="give the raw range of the input and its normalisation, as in the model card",
            )

    def scale(self, like: Tensor) -> Tensor:
        """Std as a tensor that broadcasts against `like` [batch, channel, ...]: one raw unit is 1 / scale."""
        return _per_channel(self.std, like)

    def clip(self, x: Tensor) -> Tensor:
        """Normalised values brought back into the raw range."""
        mean, std = _per_channel(self.mean, x), _per_channel(self.std, x)
        return torch.minimum(torch.maximum(x, (self.low - mean) / std), (self.high - mean) / std)

    def raw(self, x: Tensor) -> Tensor:
        """Raw values of normalised ones."""
        return x * _per_channel(self.std, x) + _per_channel(self.mean, x)

    def normalised(self, raw: Tensor) -> Tensor:
        """What the network takes, of raw values."""
        return (raw - _per_channel(self.mean, raw)) / _per_channel(self.std, raw)


def _per_channel(values: tuple[float, ...], like: Tensor) -> Tensor:
    tensor = torch.tensor(values, dtype=like.dtype, device=like.device)
    return tensor.view(1, -1, *[1] * (like.dim() - 2)) if len(values) > 1 else tensor


class Examples(Protocol):
    """A data set of known length; whatever is random in an example (mirroring, cropping) is drawn from `generator`."""

    def __len__(self) -> int: ...

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        """The examples of those row numbers (int64 [batch])."""
        ...


@dataclass(frozen=True)
class TensorExamples:
    """Examples that lie in memory as they are."""

    inputs: Tensors
    targets: Tensors = ()

    def __post_init__(self) -> None:
        if not self.inputs or not len(self.inputs[0]):
            raise EmptyData("a data set has no examples", where="TensorExamples(inputs)", remedy="give it data")

    def __len__(self) -> int:
        return len(self.inputs[0])

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        """Rows of the tensors; nothing is random."""
        return Batch(tuple(x[rows] for x in self.inputs), tuple(y[rows] for y in self.targets))


class Objective(Protocol):
    """What is learned: how a network's outputs are had, and what they are worth. All results are per example."""

    def outputs(self, model: nn.Module, inputs: Tensors) -> Tensors:
        """What loss and divergence are computed from, each [batch, ...]."""
        ...

    def judged(self, outputs: Tensors) -> Tensors:
        """Those of the outputs that the deployed network is judged by, each [batch, ...]: lines, class logits.

        Leaves out what only helps training, or says whether a line is there: techniques that ask how far "the output"
        moves (jacobian, datapath, lazy) would else measure whichever part has most numbers.
        """
        ...

    def loss(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """[batch] to be minimised."""
        ...

    def mixed_loss(self, outputs: Tensors, targets: Tensors, others: Tensors, share: Tensor) -> Tensor:
        """[batch] loss of inputs mixed as share * own + (1 - share) * other; share [batch] in 0..1."""
        ...

    def divergence(self, outputs: Tensors, reference: Tensors) -> Tensor:
        """[batch], 0 where both are equal, differentiable in `outputs`."""
        ...

    def together(self, several: Sequence[Tensors]) -> Tensors:
        """What the outputs of several networks for the same inputs say together, in the form of outputs."""
        ...

    def distance(self, targets: Tensors) -> Tensor:
        """[batch, batch] how far labels lie apart, in label units; inf where two must not be mixed."""
        ...

    def error(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """[batch] what a user would call the error (share wrong, metres); NaN where an example says nothing."""
        ...


@dataclass(frozen=True)
class Task:
    """A network to be trained, and on what.

    Attributes:
        network: a freshly initialised network; initialised from torch's global generator.
        objective: outputs, loss, error.
        domains: of each input; None for an input that is no measurement (a pose, a mask) and is never perturbed.
        train, unlabelled, selection, test: `selection` chooses (soups, interpolation), `test` only reports. Neither
            may overlap the gate's cases.
        unit: of `objective.error`, for people.
        feature_layer: dotted name of the module whose output [batch, channel, ...] describes a picture; for auxiliary
            heads.
        extra: anything a task's own scripts want to know.
    """

    network: Any
    objective: Objective
    domains: tuple[Domain | None, ...]
    train: Examples
    selection: Examples
    test: Examples
    unlabelled: Examples | None = None
    unit: str = ""
    feature_layer: str | None = None
    extra: Mapping[str, Any] | Sequence[Any] = ()
