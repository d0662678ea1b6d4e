"""Faults of the exported model: every engine but PyTorch gets another file, other weights or another network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engines.protocol import ModelSource
from harness.errors import FaultError
from harness.faults.graphs import (
    after,
    constant,
    lerp,
    no_place,
    node,
    place_of,
    producers,
    set_weight,
    weight,
    weighted,
)
from harness.faults.openers import hooks_of, of_export, require_network
from harness.faults.protocol import Planted, Site

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

    from harness.model.card import Card

__all__ = [
    "batchnorm_training", "dropout_left_on", "flipped_kernels", "missing_activation", "missing_sigmoid",
    "normalised_twice", "pruned", "shifted_padding", "swapped_axes", "wrong_checkpoint",
]  # fmt: skip

CHECKPOINT_NOISE = 0.1  # of each tensor's spread: a checkpoint from some epochs before
SQUASHING = ("Sigmoid", "Softmax", "Tanh")
RECTIFIERS = ("Relu", "LeakyRelu", "PRelu", "Clip", "Elu", "HardSwish", "Sigmoid")


def batchnorm_training(site: Site, severity: float = 1.0) -> Planted:
    """The model was exported in training mode: BatchNorm normalises by the picture it sees."""
    card = site.card
    require_network(card, "batchnorm_training")
    if not _has_batchnorm(card):
        raise FaultError(
            "the network has no BatchNorm",
            where=f"{card.path} [torch]",
            remedy="leave batchnorm_training out for this model",
        )

    def faulty(source: ModelSource) -> ModelSource:
        args = {
            "factory": source.factory, "root": str(source.root.resolve()), "args": dict(source.factory_args),
            "share": severity,
        }  # fmt: skip
        return replace(source, factory="harness.faults.modules:batch_statistics", factory_args=args, onnx=None)

    return _exported_from(site, faulty)


def wrong_checkpoint(site: Site, severity: float = 1.0) -> Planted:
    """The model was exported from another checkpoint of the same training.

    A neighbouring checkpoint is made of the card's weights: every tensor but BatchNorm's statistics gets noise of 10 %
    of its own spread, drawn from seed 0.
    """
    card = site.card
    require_network(card, "wrong_checkpoint")
    if card.torch is None or card.torch.weights is None:
        raise FaultError("the card has no weights", where=f"{card.path} [torch]", remedy="name them under [torch]")
    out = site.folder / f"other_checkpoint-{severity:.4g}.safetensors"
    other = _neighbouring(card.torch.weights, out, CHECKPOINT_NOISE * severity)
    return _exported_from(site, lambda source: replace(source, weights=other, onnx=None))


def _exported_from(site: Site, faulty: Callable[[ModelSource], ModelSource]) -> Planted:
    return Planted(site.card, hooks_of(site.card, of_export, source=faulty))


def _has_batchnorm(card: Card) -> bool:
    from torch import nn

    from engines.torch_model import build_module

    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in build_module(card.source()).modules())


def _neighbouring(weights: Path, out: Path, noise: float) -> Path:
    import torch
    from safetensors.torch import save_file

    from engines.torch_model import read_state

    generator = torch.Generator().manual_seed(0)
    state = {name: _shaken(name, tensor, generator, noise) for name, tensor in read_state(weights).items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, out)
    return out


def _shaken(name: str, tensor: torch.Tensor, generator: torch.Generator, noise: float) -> torch.Tensor:
    """The tensor with noise; BatchNorm's statistics and integers as they are."""
    import torch

    if not tensor.is_floating_point() or name.rpartition(".")[2].startswith("running_"):
        return tensor.contiguous()
    spread = tensor.std() if tensor.numel() > 1 else tensor.abs().mean()
    drawn = torch.randn(tensor.shape, generator=generator) * noise * spread
    return (tensor + drawn.to(tensor.dtype)).contiguous()


def missing_sigmoid(model: ModelProto, severity: float) -> None:
    """The last squashing function of an output is left out: logits where probabilities are read."""
    for made, name in producers(model):
        if made.op_type in SQUASHING:
            logits = made.input[0]
            after(model, name, lambda right, out, logits=logits: lerp(model, right, logits, out, severity))  # type: ignore[misc]  # a default binds now
            return
    no_place(model, "output that is squashed by a sigmoid or softmax")


def missing_activation(model: ModelProto, severity: float) -> None:
    """One activation in the middle of the network is left out."""
    lost = place_of(model, *RECTIFIERS, what="activation")
    after(model, lost.output[0], lambda right, out: lerp(model, right, lost.input[0], out, severity))


def dropout_left_on(model: ModelProto, severity: float) -> None:
    """Dropout of 30 % of the channels of one layer, frozen into the file as the exporter met it (seed 0)."""
    at = place_of(model, "Conv", "ConvTranspose", share=0.6, what="convolution")
    channels = weight(model, at.input[1]).shape[0 if at.op_type == "Conv" else 1]
    kept = np.greater_equal(np.random.default_rng(0).random(channels), 0.3 * severity)
    scale = (kept / max(1 - 0.3 * severity, 0.1)).astype(np.float32)
    rank = weight(model, at.input[1]).ndim
    mask = constant(model, scale.reshape(1, -1, *[1] * (rank - 2)), "dropout_mask")
    after(model, at.output[0], lambda right, out: [node("Mul", [right, mask], out)])


def flipped_kernels(model: ModelProto, severity: float) -> None:
    """Kernels of one layer written back to front: a convolution where the network learned a correlation."""
    at = _spatial(model, share=0.3)
    values = weight(model, at)
    wrong = np.flip(values, axis=tuple(range(2, values.ndim)))
    set_weight(model, at, (1 - severity) * values + severity * wrong)


def swapped_axes(model: ModelProto, severity: float) -> None:
    """Height and width of one layer's kernels exchanged."""
    at = _spatial(model, share=0.5)
    values = weight(model, at)
    set_weight(model, at, (1 - severity) * values + severity * values.swapaxes(-1, -2))


def _spatial(model: ModelProto, share: float) -> str:
    """Name of the weight of a square convolution larger than 1x1."""
    names = [n.input[1] for n in weighted(model, "Conv") if _is_square(weight(model, n.input[1]).shape)]
    if not names:
        no_place(model, "square convolution larger than 1x1")
    return str(names[min(int(share * len(names)), len(names) - 1)])


def _is_square(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[-1] == shape[-2] > 1


def pruned(model: ModelProto, severity: float) -> None:
    """The smallest half of every layer's weights set to zero."""
    for at in weighted(model):
        values = weight(model, at.input[1])
        bound = np.quantile(np.abs(values), min(0.5 * severity, 1.0))
        set_weight(model, at.input[1], np.where(np.abs(values) < bound, 0, values))


def normalised_twice(model: ModelProto, severity: float) -> None:
    """(x - 0.45) / 0.25 baked into the file though the pipeline does it as well."""
    name = model.graph.input[0].name
    mean = constant(model, np.float32(0.45), "baked_mean")
    std = constant(model, np.float32(0.25), "baked_std")

    def made(right: str, out: str) -> list[object]:
        again = [node("Sub", [right, mean], f"{out}_less"), node("Div", [f"{out}_less", std], f"{out}_again")]
        return [*again, *lerp(model, right, f"{out}_again", out, severity)]

    after(model, name, made)  # type: ignore[arg-type]  # nodes


def shifted_padding(model: ModelProto, severity: float) -> None:
    """The first padded convolution pads one side only, as another framework's SAME does: pictures shift by its pad."""
    padded = [n for n in model.graph.node if n.op_type == "Conv" and any(_pads(n))]
    if not padded:
        no_place(model, "padded convolution")
    at = padded[0]
    pads = _pads(at)
    half = len(pads) // 2
    moved = [0] * half + [a + b for a, b in zip(pads[:half], pads[half:], strict=True)]
    wrong = type(at)()
    wrong.CopyFrom(at)
    wrong.output[0], wrong.name = f"{at.output[0]}_padded", f"{at.name}_padded"
    next(a for a in wrong.attribute if a.name == "pads").ints[:] = moved
    after(model, at.output[0], lambda right, out: [wrong, *lerp(model, right, wrong.output[0], out, severity)])


def _pads(at: object) -> list[int]:
    return next((list(a.ints) for a in at.attribute if a.name == "pads"), [])  # type: ignore[attr-defined]  # a node
