"""How far BatchNorm's running statistics lie from what its layers meet: another pipeline, camera or set of weights.

A BatchNorm layer that drives normalises by (mu, var), averages of training batches. On other inputs its channels have
(m, v). Per channel,

    shift = (m - mu) / sqrt(var + eps)        in units of the sigma that the layer divides by
    ratio = (v + eps) / (var + eps)           1 where the spread is what the layer expects

Source: ours. m and v are taken of what reaches the layer in the network *as it drives* (evaluation mode throughout, the
layers before it using their running statistics), pooled exactly over all batches in double precision, v unbiased as
running variances are. Recomputing BatchNorm in training mode would hide the drift of every layer behind the first.

Running statistics lag a little behind the final weights even on the very pictures they were trained on. To see what a
pipeline does, and nothing else, compare with the statistics of the training pipeline's inputs (`reference`):

    measured = bn_statistics(model, objective, training_inputs)
    drift = bn_drift(model, objective, deployed_inputs, reference=measured)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from techniques.batchnorm import evaluating
from techniques.errors import EmptyData, ModelMismatch, NonFiniteLoss
from techniques.task import Objective, Tensors

__all__ = ["LayerDrift", "Statistics", "bn_drift", "bn_statistics"]


@dataclass(frozen=True)
class Statistics:
    """Of one layer's input: mean and unbiased variance, float64 [channel], over `count` values a channel."""

    mean: Tensor
    variance: Tensor
    count: int


@dataclass(frozen=True)
class LayerDrift:
    """One BatchNorm layer's drift over its channels.

    Attributes:
        shift_sigma: [channel], signed; positive where the inputs' mean lies above the expected one.
        variance_ratio: [channel], of measured to expected.
        shift_rms, shift_max: root mean square and greatest absolute shift, sigma.
        worst_channel: where the greatest shift is.
        ratio_low, ratio_high: least and greatest variance ratio.
    """

    layer: str
    shift_sigma: Tensor
    variance_ratio: Tensor
    shift_rms: float
    shift_max: float
    worst_channel: int
    ratio_low: float
    ratio_high: float


def bn_statistics(model: nn.Module, objective: Objective, batches: Iterable[Tensors]) -> dict[str, Statistics]:
    """What reaches every BatchNorm layer that keeps running statistics; layer name -> statistics. Changes nothing.

    Raises:
        EmptyData: no batch, or a layer that no batch reached.
        NonFiniteLoss: a layer's input is not finite.
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, _BatchNorm) and m.track_running_stats}
    pooled: dict[str, Statistics] = {}
    hooks = [m.register_forward_pre_hook(partial(_pool, pooled, n)) for n, m in layers.items()]
    try:
        with evaluating(model), torch.no_grad():
            for inputs in batches:
                objective.outputs(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    missing = [name for name in layers if name not in pooled]
    if missing:
        raise EmptyData(
            f"no input reached {missing[:4]}",
            where="bn_statistics(batches)",
            remedy="give batches of inputs that pass through every BatchNorm layer",
        )
    return {name: _unbiased(pooled[name]) for name in layers}


def bn_drift(
    model: nn.Module,
    objective: Objective,
    batches: Iterable[Tensors],
    *,
    reference: Mapping[str, Statistics] | None = None,
) -> list[LayerDrift]:
    """Drift of every BatchNorm layer, in the network's order; empty where there is none.

    Args:
        batches: inputs of the pipeline in question.
        reference: statistics of another pipeline's inputs, from `bn_statistics`; None for the running statistics.

    Raises:
        EmptyData: no batch, or a layer that no batch reached.
        ModelMismatch: `reference` is of another network.
    """
    return [
        _drift(name, model.get_submodule(name), found, reference)
        for name, found in bn_statistics(model, objective, batches).items()
    ]


def _drift(name: str, layer: nn.Module, found: Statistics, reference: Mapping[str, Statistics] | None) -> LayerDrift:
    assert isinstance(layer, _BatchNorm)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    mean, running_variance = layer.running_mean.double().cpu(), layer.running_var.double().cpu()
    variance = running_variance
    if reference is not None:
        if name not in reference or reference[name].mean.shape != found.mean.shape:
            raise ModelMismatch(
                f"the reference does not know layer {name}, or has it in another width",
                where="bn_drift(reference)",
                remedy="measure it with bn_statistics on the same network",
            )
        mean, variance = reference[name].mean, reference[name].variance
    shift = (found.mean - mean) / (running_variance + layer.eps).sqrt()
    return _summary(name, shift, (found.variance + layer.eps) / (variance + layer.eps))


def _summary(name: str, shift: Tensor, ratio: Tensor) -> LayerDrift:
    worst = int(shift.abs().argmax())
    rms, largest = math.sqrt(float((shift**2).mean())), float(shift[worst].abs())
    return LayerDrift(name, shift, ratio, rms, largest, worst, float(ratio.min()), float(ratio.max()))


def _pool(pooled: dict[str, Statistics], name: str, module: nn.Module, args: tuple[Tensor, ...]) -> None:
    """Add a batch: parallel means and sums of squares (Chan, Golub and LeVeque 1979); variance still biased."""
    x = args[0].detach().double().transpose(0, 1).flatten(1).cpu()
    if not torch.isfinite(x).all():
        raise NonFiniteLoss(
            "what reaches BatchNorm is not finite",
            where=f"layer {name}",
            remedy="look for overflow before it, with techniques.headroom",
        )
    mean, variance, count = x.mean(1), x.var(1, correction=0), x.shape[1]
    if name in pooled:
        old = pooled[name]
        total, apart = old.count + count, mean - old.mean
        square = old.variance * old.count + variance * count + apart**2 * old.count * count / total
        mean, variance, count = old.mean + apart * count / total, square / total, total
    pooled[name] = Statistics(mean, variance, count)


def _unbiased(s: Statistics) -> Statistics:
    return Statistics(s.mean, s.variance * s.count / max(s.count - 1, 1), s.count)
