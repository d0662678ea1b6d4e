"""In which order a product adds: which operand pairs make one MMA step, and which step comes first.

A convolution is a matrix product over K = taps x channels. Kernels for tensor cores read pictures with channels last,
so K runs over rows of the window, then its columns, then channels, channels fastest, and channels are padded with zeros
to a multiple of 4, as TensorRT for RTX plans it (3 to 4, 19 to 20, 131 to 132). Matrix products run over K as it
stands. A transposed convolution is one convolution for every phase of its stride, over the taps that meet there.

Which order the car's kernel takes, and whether it splits K, is chosen on the device and not known. A seed permutes K,
so the spread over orders can be measured.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["PAD", "channels_last", "padded", "permuted"]

PAD = -1  # an entry of K that multiplies zeros
_CHANNEL_MULTIPLE = 4

Indices = NDArray[np.int64]


def channels_last(channels: int, taps: int) -> Indices:
    """K of a convolution: indices into channels x taps (as ONNX lays weights out), PAD where channels are padded."""
    width = -(-channels // _CHANNEL_MULTIPLE) * _CHANNEL_MULTIPLE
    index = np.full((taps, width), PAD, np.int64)
    index[:, :channels] = np.arange(channels) * taps + np.arange(taps)[:, None]
    return index.reshape(-1)


def permuted(index: Indices, seed: int | None) -> Indices:
    """The entries in another order; the same ones for the same seed and length, and as they stand for None."""
    if seed is None:
        return index
    return np.random.default_rng([seed, index.size]).permutation(index)


def padded(index: Indices, length: int) -> Indices:
    """K filled up to whole steps."""
    return np.concatenate([index, np.full(-index.size % length, PAD, np.int64)])
