"""BlurPool: low-pass filtering before every subsampling, so that a shift by a pixel does not change what is sampled.

    MaxPool_s            ->  BlurPool_s . MaxPool_1
    act . norm . Conv_s  ->  BlurPool_s . act . norm . Conv_1            conv, norm and activation of one nn.Sequential
    Conv_s               ->  Conv_s . Blur                               any other convolution

BlurPool_s filters with the binomial [1, 2, 1] / 4 (or 5, 7 taps) along each dimension that is subsampled and keeps
every s-th value. Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019 (1904.11486), section 3.2. The
third line is the second without an activation in between: filtering and convolving commute.

No parameter and no stored buffer is added, and names stay: weights trained with and without it fit into each other, so
it can be put in and trained on (`[training] initial`). A convolution of the second line costs s^2 times as much on the
car; leave the first layers out by naming the others.

Departures: odd numbers of taps only. With 2 or 4 every filtered map moves by half a pixel, and lines with it; the
authors use 4 most. Average pooling is a low-pass filter already and stays. A dimension that is not subsampled is not
filtered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import comb
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from techniques.errors import TechniqueOptionError
from techniques.technique import Technique

__all__ = ["Blur", "BlurPool", "antialiased", "strided_layers"]

POOLS = (nn.MaxPool1d, nn.MaxPool2d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
BETWEEN = (_NormBase, nn.GroupNorm, nn.Identity)  # what may stand between a convolution and its activation
ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Hardswish, nn.Hardtanh, nn.Tanh, nn.Sigmoid, nn.Softplus),
)


class Blur(nn.Module):
    """Binomial filter along some dimensions of [batch, channel, ...], reflected at the borders, then every s-th value.

    Args:
        filtered: which of the one or two spatial dimensions.
        strides: s of each.
        taps: 3, 5, 7, ...
    """

    kernel: Tensor

    def __init__(self, filtered: Sequence[bool], strides: Sequence[int], taps: int = 3) -> None:
        super().__init__()
        self.filtered, self.strides, self.taps = tuple(filtered), tuple(strides), taps
        binomial = torch.tensor([float(comb(taps - 1, i)) for i in range(taps)])
        self.register_buffer("kernel", binomial / binomial.sum(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Filtered and subsampled; where dimension d is filtered, it needs at least (taps + 1) / 2 values."""
        count, channels, convolve = len(self.filtered), x.shape[1], F.conv1d if x.dim() == 3 else F.conv2d
        for d in range(count):
            if not self.filtered[d]:
                continue
            last = 2 * (count - 1 - d)  # F.pad counts from the last dimension
            margin = [self.taps // 2 if last <= i < last + 2 else 0 for i in range(2 * count)]
            shape = [self.taps if i == d else 1 for i in range(count)]
            stride = [self.strides[d] if i == d else 1 for i in range(count)]
            kernel = self.kernel.view(1, 1, *shape).expand(channels, 1, *shape).to(x.dtype)
            x = convolve(F.pad(x, margin, mode="reflect"), kernel, stride=stride, groups=channels)
        return x

    def extra_repr(self) -> str:
        """For people who print the network."""
        return f"filtered={self.filtered}, strides={self.strides}, taps={self.taps}"


class _BlurredConv1d(nn.Conv1d):
    """A convolution of a blurred input."""

    blur: Blur

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.blur(x))


class _BlurredConv2d(nn.Conv2d):
    """A convolution of a blurred input."""

    blur: Blur

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.blur(x))


def strided_layers(network: nn.Module) -> list[str]:
    """Names of the convolutions and maximum poolings that subsample, in the network's order."""
    return [name for name, m in network.named_modules() if isinstance(m, POOLS + CONVOLUTIONS) and max(_strides(m)) > 1]


def antialiased(network: nn.Module, *, taps: int = 3, layers: Sequence[str] = ()) -> nn.Module:
    """The network, changed in place, with a blur at the named layers or at all that subsample.

    Raises:
        TechniqueOptionError: taps that are even, a name that subsamples nothing, or nothing that does; a pooling with
            `ceil_mode` or `return_indices`.
    """
    if not isinstance(taps, int) or taps < 3 or taps % 2 == 0:
        raise _option("taps", f"must be 3, 5 or 7, got {taps!r}", "even numbers would move every map by half a pixel")
    there = strided_layers(network)
    wrong = [name for name in layers if name not in there]
    if wrong or not there:
        what = f"{wrong[0]!r} subsamples nothing" if wrong else "no layer of the network subsamples"
        raise _option("layers", what, f"there are {there}" if there else "train without blurpool")
    for name in list(layers) or there:
        _blur_at(network, name, taps)
    return network


def _blur_at(network: nn.Module, name: str, taps: int) -> None:
    path, _, own = name.rpartition(".")
    parent, layer = network.get_submodule(path), network.get_submodule(name)
    strides = _strides(layer)
    filtered = [s > 1 for s in strides]
    if isinstance(layer, POOLS):
        if layer.ceil_mode or layer.return_indices:
            raise _option("layers", f"{name!r} has ceil_mode or return_indices", "name the other layers")
        layer.stride = 1
        setattr(parent, own, nn.Sequential(layer, Blur(filtered, strides, taps)))
        return
    assert isinstance(layer, CONVOLUTIONS)
    activation = _activation_after(parent, own)
    if activation is None:
        setattr(parent, own, _blurred(layer, Blur(filtered, [1] * len(strides), taps)))
        return
    layer.stride = tuple(1 for _ in strides)
    number, module = activation
    setattr(parent, number, nn.Sequential(module, Blur(filtered, strides, taps)))


def _activation_after(parent: nn.Module, own: str) -> tuple[str, nn.Module] | None:
    """(name, module) of the activation that follows a layer of an nn.Sequential, through normalisation only."""
    if not isinstance(parent, nn.Sequential):
        return None
    names = list(parent._modules)  # named_children leaves out a module that stands there twice
    for name in names[names.index(own) + 1 :]:
        module = parent._modules[name]
        if isinstance(module, ACTIVATIONS):
            return name, module
        if not isinstance(module, BETWEEN):
            return None
    return None


def _blurred(layer: nn.Conv1d | nn.Conv2d, blur: Blur) -> nn.Module:
    """The same convolution, of the same parameters, behind a blur."""
    kind: Callable[..., Any] = _BlurredConv1d if isinstance(layer, nn.Conv1d) else _BlurredConv2d
    found: nn.Conv1d | nn.Conv2d = kind(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
        layer.bias is not None,
        layer.padding_mode,
        device="meta",
    )
    found.weight, found.bias = layer.weight, layer.bias
    found.blur = blur
    return found.train(layer.training)


def _strides(layer: nn.Module) -> tuple[int, ...]:
    count = 1 if isinstance(layer, nn.Conv1d | nn.MaxPool1d) else 2
    stride: Any = layer.stride
    return (stride,) * count if isinstance(stride, int) else tuple(stride)


def _option(option: str, what: str, remedy: str) -> TechniqueOptionError:
    return TechniqueOptionError(what, where=f"[technique.blurpool] {option}", remedy=remedy)


@dataclass
class BlurPool(Technique):
    """Low-pass filters before every subsampling of the network (BlurPool); the candidate has them too.

    Args:
        taps: of the filter: 3, 5 or 7.
        layers: dotted names of the strided layers to filter at; () for all.
    """

    name: ClassVar[str] = "blurpool"

    taps: int = 3
    layers: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        self.layers = tuple(self.layers)

    def architecture(self) -> tuple[Callable[..., nn.Module], dict[str, Any]]:
        """Blurs, put in before training."""
        return antialiased, {"taps": self.taps, "layers": self.layers}
