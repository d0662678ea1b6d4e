"""Faults of the exported file alone, for tests: PyTorch keeps the card's network, every other engine gets these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

import engines
from engines.dotted import load_dotted, modules_of
from engines.protocol import Engine, ModelSource
from engines.torch_model import build_module
from harness.model.card import Card
from harness.replay.hooks import Hooks

__all__ = ["darker_statistics", "first_row", "quantised"]


def quantised(card: Card, folder: Path, bits: int) -> Hooks:
    """Weights rounded to symmetric integers of so many bits, one scale for each tensor, as a careless tool does."""
    most = 2 ** (bits - 1) - 1
    state = load_file(_weights(card))
    for name, tensor in state.items():
        if tensor.is_floating_point() and tensor.ndim > 1:
            scale = tensor.abs().max().clamp(min=1e-12) / most
            state[name] = ((tensor / scale).round().clamp(-most, most) * scale).contiguous()
    return _other_weights(state, folder / f"int{bits}.safetensors")


def darker_statistics(card: Card, folder: Path, pictures: torch.Tensor, light: float) -> Hooks:
    """BatchNorm's statistics taken anew from the pictures with so much of their light; all else as trained.

    Args:
        card: the model.
        folder: for the weights.
        pictures: what the network sees, [n, ...], 0 for black once `black` is added.
        light: factor of the light.
    """
    module = build_module(card.source()).train()
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.reset_running_stats()
            part.momentum = None  # the plain mean of all that it sees
    black = (0 - 0.45) / 0.25  # the card's normalisation
    with torch.no_grad():
        module(black + (pictures - black) * light)
    state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    return _other_weights(state, folder / "darker.safetensors")


def first_row(card: Card) -> Hooks:
    """The file gives every row of a batch the lines of the first picture."""

    def faulty(source: ModelSource) -> ModelSource:
        args = {"factory": source.factory, "root": str(source.root.resolve()), "args": dict(source.factory_args)}
        return replace(source, factory=f"{__name__}:repeats_the_first", factory_args=args)

    return _exported(faulty)


def repeats_the_first(factory: str, root: str, args: dict[str, Any]) -> nn.Module:
    """The card's network on the first picture of a batch, whatever the others are."""
    build = load_dotted(factory, Path(root))
    with modules_of(Path(root)):
        module: nn.Module = build(**args)
    whole = module.forward
    module.forward = lambda image: whole(image[:1].expand_as(image))  # type: ignore[method-assign]  # the fault itself
    return module


def _weights(card: Card) -> Path:
    assert card.torch is not None
    assert card.torch.weights is not None
    return card.torch.weights


def _other_weights(state: dict[str, torch.Tensor], file: Path) -> Hooks:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, file)
    return _exported(lambda source: replace(source, weights=file, onnx=None))


def _exported(faulty: Callable[[ModelSource], ModelSource]) -> Hooks:
    def open_engine(name: str, source: ModelSource) -> Engine:
        return engines.open(name, source if name.startswith("torch") else faulty(source))

    return Hooks(open_engine=open_engine)
