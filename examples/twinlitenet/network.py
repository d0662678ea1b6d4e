"""TwinLiteNet (Che et al. 2023, arXiv 2307.10705) in PyTorch: one encoder, two decoders.

The encoder is ESPNet-C (Mehta et al. 2018, arXiv 1803.06815): pyramids of dilated convolutions whose sums grow the
field of view, with the picture itself, averaged, fed in again at each scale. Two kinds of attention (Fu et al. 2019,
arXiv 1809.02983) follow side by side: between positions and between channels. Each decoder is three transposed
convolutions: `da` is the drivable area, `ll` the lane lines; channel 1 above channel 0 means yes.

Names of modules are those of the authors' checkpoint. Written from the paper and from shapes; departures: none known,
and the outputs are compared with the published ONNX file in tests/examples/test_twinlitenet.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["DataParallelNames", "TwinLiteNet", "build"]

EPSILON = 1e-3  # of every BatchNorm, as in ESPNet
DILATIONS = (1, 2, 4, 8, 16)


def build() -> nn.Module:
    """What the model card names: the network under the names that the checkpoint was saved with."""
    return DataParallelNames(TwinLiteNet())


class DataParallelNames(nn.Module):
    """The checkpoint was saved from `nn.DataParallel`, so that every key begins with `module.`; here it does too."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See TwinLiteNet."""
        drivable, lanes = self.module(images)
        return drivable, lanes


class TwinLiteNet(nn.Module):
    """Drivable area and lane lines of RGB pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.up_1_1, self.up_2_1, self.classifier_1 = UpSample(32, 16), UpSample(16, 8), UpSample(8, 2)
        self.up_1_2, self.up_2_2, self.classifier_2 = UpSample(32, 16), UpSample(16, 8), UpSample(8, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of drivable area and lane lines.

        Args:
            images: [batch, 3, height, width] in 0..1, RGB, both sizes multiples of 8.

        Returns:
            two tensors [batch, 2, height, width].
        """
        features = self.encoder(images)
        drivable = self.classifier_1(self.up_2_1(self.up_1_1(features)))
        lanes = self.classifier_2(self.up_2_2(self.up_1_2(features)))
        return drivable, lanes


class Encoder(nn.Module):
    """Pictures [batch, 3, H, W] to features [batch, 32, H/8, W/8]."""

    def __init__(self) -> None:
        super().__init__()
        self.level1 = ConvNormAct(3, 16, 3, stride=2)
        self.sample1, self.sample2 = AverageDown(1), AverageDown(2)
        self.b1 = ConvNormAct(16 + 3, 19, 3)
        self.level2_0 = DownSampler(19, 64)
        self.level2 = nn.ModuleList(DilatedResidual(64) for _ in range(2))
        self.b2 = ConvNormAct(64 + 64 + 3, 131, 3)
        self.level3_0 = DownSampler(131, 128)
        self.level3 = nn.ModuleList(DilatedResidual(128) for _ in range(3))
        self.b3 = ConvNormAct(128 + 128, 32, 3)
        self.sa, self.sc = PositionAttention(32), ChannelAttention()
        self.conv_sa, self.conv_sc = ConvNormAct(32, 32, 3), ConvNormAct(32, 32, 3)
        self.classifier = ConvNormAct(32, 32, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Three scales, then both attentions added."""
        half = self.b1(torch.cat([self.level1(images), self.sample1(images)], 1))
        first = quarter = self.level2_0(half)
        for block in self.level2:
            quarter = block(quarter)
        quarter = self.b2(torch.cat([quarter, first, self.sample2(images)], 1))
        first = eighth = self.level3_0(quarter)
        for block in self.level3:
            eighth = block(eighth)
        eighth = self.b3(torch.cat([first, eighth], 1))
        attended: Tensor = self.conv_sa(self.sa(eighth)) + self.conv_sc(self.sc(eighth))
        return self.classifier(attended)


class ConvNormAct(nn.Module):
    """Convolution without bias, BatchNorm, PReLU with a slope per channel; the size is kept but for the stride."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=EPSILON)
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, H, W] to [batch, outputs, H/stride, W/stride]."""
        return self.act(self.bn(self.conv(x)))


class NormAct(nn.Module):
    """BatchNorm and PReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps=EPSILON)
        self.act = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return self.act(self.bn(x))


class Conv(nn.Module):
    """A convolution without bias that keeps the size but for the stride; a module of its own for the names."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        padding = kernel // 2 * dilation
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, H, W] to [batch, outputs, H/stride, W/stride]."""
        return self.conv(x)


class DilatedPyramid(nn.Module):
    """ESPNet's efficient spatial pyramid: reduce, five dilated convolutions side by side, running sums, concatenate.

    The running sums (its "hierarchical feature fusion") take away the grid pattern that dilation leaves.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        narrow = outputs // 5
        self.c1 = Conv(inputs, narrow, kernel, stride)
        for dilation in DILATIONS:
            width = outputs - 4 * narrow if dilation == 1 else narrow
            self.add_module(f"d{dilation}", Conv(narrow, width, 3, dilation=dilation))

    def pyramid(self, x: Tensor) -> Tensor:
        """[batch, inputs, H, W] to [batch, outputs, H/stride, W/stride]."""
        reduced = self.c1(x)
        plain, *dilated = (self.get_submodule(f"d{dilation}")(reduced) for dilation in DILATIONS)
        parts = [plain, dilated[0]]
        for branch in dilated[1:]:
            parts.append(parts[-1] + branch)
        return torch.cat(parts, 1)


class DownSampler(DilatedPyramid):
    """A pyramid at half the size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel=3, stride=2)
        self.bn = nn.BatchNorm2d(outputs, eps=EPSILON)
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, H, W] to [batch, outputs, H/2, W/2]."""
        return self.act(self.bn(self.pyramid(x)))


class DilatedResidual(DilatedPyramid):
    """A pyramid added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, kernel=1, stride=1)
        self.bn = NormAct(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return self.bn(x + self.pyramid(x))


class AverageDown(nn.Module):
    """The picture, averaged over 3x3 and halved, `times` times; zeros beyond the border count."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.pool = nn.ModuleList(nn.AvgPool2d(3, stride=2, padding=1) for _ in range(times))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, C, H, W] to [batch, C, H / 2**times, W / 2**times]."""
        for pool in self.pool:
            x = pool(x)
        return x


class PositionAttention(nn.Module):
    """Every position looks at every other: softmax(Q^T K) mixes the values, added with weight gamma."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_conv = nn.Conv2d(channels, channels // 8, 1)
        self.key_conv = nn.Conv2d(channels, channels // 8, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape; the attention itself is [batch, H*W, H*W]."""
        query, key, value = (conv(x).flatten(2) for conv in (self.query_conv, self.key_conv, self.value_conv))
        attention = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
        return self.gamma * (value @ attention.transpose(1, 2)).view_as(x) + x


class ChannelAttention(nn.Module):
    """Every channel looks at those unlike it: softmax(max - X X^T) mixes the channels, added with weight gamma."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape; the attention itself is [batch, C, C]."""
        flat = x.flatten(2)
        energy = flat @ flat.transpose(1, 2)
        attention = torch.softmax(energy.amax(-1, keepdim=True) - energy, dim=-1)
        return self.gamma * (attention @ flat).view_as(x) + x


class UpSample(nn.Module):
    """Transposed convolution to twice the size, BatchNorm, PReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=EPSILON)
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, H, W] to [batch, outputs, 2H, 2W]."""
        return self.act(self.bn(self.deconv(x)))
