"""Faults of the exported model: every engine but PyTorch gets another network or other weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engines.protocol import Engine, ModelSource
from harness.errors import FaultError
from harness.faults.protocol import Planted
from harness.model.card import Card
from harness.replay.hooks import Hooks

if TYPE_CHECKING:
    import torch

__all__ = ["batchnorm_training", "wrong_checkpoint"]

CHECKPOINT_NOISE = 0.1  # of each tensor's spread: a checkpoint from some epochs before


def batchnorm_training(card: Card, folder: Path) -> Planted:
    """The model was exported in training mode: BatchNorm normalises by the picture it sees."""
    _require_torch(card, "batchnorm_training", "[torch] with a network that has BatchNorm")
    if not _has_batchnorm(card):
        raise FaultError(
            "the network has no BatchNorm",
            where=f"{card.path} [torch]",
            remedy="leave batchnorm_training out for this model",
        )

    def faulty(source: ModelSource) -> ModelSource:
        args = {"factory": source.factory, "root": str(source.root.resolve()), "args": dict(source.factory_args)}
        return replace(source, factory="harness.faults.modules:batch_statistics", factory_args=args, onnx=None)

    return Planted(card, Hooks(open_engine=_exported_from(faulty)))


def wrong_checkpoint(card: Card, folder: Path) -> Planted:
    """The model was exported from another checkpoint of the same training.

    A neighbouring checkpoint is made of the card's weights: every tensor but BatchNorm's statistics gets noise of 10 %
    of its own spread, drawn from seed 0.
    """
    _require_torch(card, "wrong_checkpoint", "[torch] with weights")
    if card.torch is None or card.torch.weights is None:
        raise FaultError("the card has no weights", where=f"{card.path} [torch]", remedy="name them under [torch]")
    other = _neighbouring(card.torch.weights, folder / "other_checkpoint.safetensors")
    return Planted(card, Hooks(open_engine=_exported_from(lambda source: replace(source, weights=other, onnx=None))))


def _exported_from(faulty: Callable[[ModelSource], ModelSource]) -> Callable[[str, ModelSource], Engine]:
    def open_engine(name: str, source: ModelSource) -> Engine:
        import engines

        return engines.open(name, source if name.startswith("torch") else faulty(source))

    return open_engine


def _require_torch(card: Card, fault: str, what: str) -> None:
    if card.torch is None:
        raise FaultError(
            f"{fault} changes what is exported, and the card has only an ONNX file",
            where=str(card.path),
            remedy=f"add {what} to the card",
        )


def _has_batchnorm(card: Card) -> bool:
    from torch import nn

    from engines.torch_model import build_module

    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in build_module(card.source()).modules())


def _neighbouring(weights: Path, out: Path) -> Path:
    import torch
    from safetensors.torch import save_file

    from engines.torch_model import read_state

    generator = torch.Generator().manual_seed(0)
    state = {name: _shaken(name, tensor, generator) for name, tensor in read_state(weights).items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, out)
    return out


def _shaken(name: str, tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The tensor with noise; BatchNorm's statistics and integers as they are."""
    import torch

    if not tensor.is_floating_point() or name.rpartition(".")[2].startswith("running_"):
        return tensor.contiguous()
    spread = tensor.std() if tensor.numel() > 1 else tensor.abs().mean()
    noise = torch.randn(tensor.shape, generator=generator) * CHECKPOINT_NOISE * spread
    return (tensor + noise.to(tensor.dtype)).contiguous()
