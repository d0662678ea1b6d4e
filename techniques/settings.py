"""How to train, whatever the techniques: the keys of a task file's [training], and what follows from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from techniques.errors import TaskError, TechniqueOptionError

__all__ = ["OPTIMISERS", "SCHEDULES", "Settings", "device_of", "optimiser_of", "share_of_rate"]

SCHEDULES = ("one-cycle", "cosine", "constant")
OPTIMISERS = ("adamw", "sgd")


@dataclass(frozen=True)
class Settings:
    """How to train, whatever the techniques.

    Args:
        budget_passes: forward plus backward passes of one batch.
        batch: examples a step.
        optimiser: "adamw" or "sgd" (Nesterov, momentum 0.9).
        rate: greatest learning rate.
        schedule: of the rate over the budget: "one-cycle" rises over 15 %, then falls as a cosine.
        clip: greatest norm of the whole gradient; 0 for no limit.
        precision: "fp32", "bf16" for autocast, or "auto": bf16 on a GPU, fp32 elsewhere.
        checkpoint_s: seconds between two states written to the folder.
        initial: safetensors file of the weights to begin with, see techniques.warm_start; "" for fresh ones.

    Raises:
        TechniqueOptionError: a value out of range.
    """

    budget_passes: int = 2000
    batch: int = 32
    optimiser: str = "adamw"
    rate: float = 4e-3
    weight_decay: float = 0.01
    schedule: str = "one-cycle"
    clip: float = 5.0
    seed: int = 0
    device: str = "cpu"
    precision: str = "auto"
    checkpoint_s: float = 30.0
    initial: str = ""

    def __post_init__(self) -> None:
        for name in ("budget_passes", "batch", "rate", "checkpoint_s"):
            if not getattr(self, name) > 0:
                raise _option(name, getattr(self, name), "a positive number")
        for name in ("weight_decay", "clip"):
            if not getattr(self, name) >= 0:
                raise _option(name, getattr(self, name), "zero or a positive number")
        choices = {"optimiser": OPTIMISERS, "schedule": SCHEDULES, "precision": ("auto", "fp32", "bf16")}
        for name, accepted in choices.items():
            if getattr(self, name) not in accepted:
                raise _option(name, getattr(self, name), f"one of {list(accepted)}")


def device_of(settings: Settings) -> torch.device:
    """The device that the settings name.

    Raises:
        TechniqueOptionError: PyTorch does not have it here.
    """
    try:
        device = torch.device(settings.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        reason = str(error).splitlines()[0]
        raise _option("device", settings.device, f"a device that PyTorch has here ({reason})") from error
    return device


def share_of_rate(schedule: str, progress: float) -> float:
    """Share of the greatest rate that a schedule has at a progress of 0 to 1."""
    if schedule == "constant":
        return 1.0
    if schedule == "one-cycle" and progress < 0.15:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * progress / 0.15)) / 2
    start = 0.15 if schedule == "one-cycle" else 0.0
    return max((1 + math.cos(math.pi * (progress - start) / (1 - start))) / 2, 1e-4)


def optimiser_of(settings: Settings, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser that the settings name, over those parameters.

    Raises:
        TaskError: there are no parameters.
    """
    if not parameters:
        raise TaskError("the network has no parameters", where="Task.network", remedy="give a network to train")
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(parameters, settings.rate, weight_decay=settings.weight_decay)
    return torch.optim.SGD(parameters, settings.rate, momentum=0.9, nesterov=True, weight_decay=settings.weight_decay)


def _option(name: str, value: object, accepted: str) -> TechniqueOptionError:
    return TechniqueOptionError(f"must be {accepted}, got {value!r}", where=f"[training] {name}", remedy="change it")
