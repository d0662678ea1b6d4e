"""Seamless textures of the ground, the same for every scene; scenes shift them by their own offsets.

Made from white noise filtered in the Fourier domain, so they wrap without a seam. Values have mean 0 and standard
deviation 1 where nothing else is said.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["COARSE_M", "FINE_M", "SIZE", "coarse", "fine", "noise_bank"]

SIZE = 512
FINE_M = 0.04  # metres per texel: asphalt grain, grass
COARSE_M = 0.25  # metres per texel: stains, wear, tree shadows

Image = NDArray[np.float32]


@lru_cache(maxsize=1)
def fine() -> Image:
    """Asphalt grain and grass, float32 [SIZE, SIZE, 2]."""
    rng = np.random.default_rng(20_011)
    grain = _filtered(rng, 1.2) * 0.8 + _filtered(rng, 6) * 0.5
    grass = _filtered(rng, 1.5) * 0.6 + _filtered(rng, 9) * 0.8
    return np.stack([grain, grass], axis=-1).astype(np.float32)


@lru_cache(maxsize=1)
def coarse() -> Image:
    """Stains, paint wear (0 none to 1 bare), tree shadow (0 lit to 1 dark), verge patches: float32 [SIZE, SIZE, 4]."""
    rng = np.random.default_rng(20_012)
    stains = _filtered(rng, 4) * 0.7 + _filtered(rng, 16) * 0.7
    wear = _rise(_filtered(rng, 2.5) * 0.8 + _filtered(rng, 10) * 0.8, 0.1, 1.4)
    canopy = _rise(_filtered(rng, 14) + 0.45 * _filtered(rng, 3), 0.5, 0.8)
    patches = _filtered(rng, 10)
    return np.stack([stains, wear, canopy, patches], axis=-1).astype(np.float32)


@lru_cache(maxsize=4)
def noise_bank(height: int, width: int) -> Image:
    """Sensor noise of standard deviation 1 to cut frames from, float32 [height + 64, width + 64, 3].

    Luma noise with a weaker colour part, as a sensor's picture has after demosaicing.
    """
    rng = np.random.default_rng(20_013)
    shape = (height + 64, width + 64)
    luma = rng.standard_normal((*shape, 1), np.float32)
    return np.asarray(0.85 * luma + 0.53 * rng.standard_normal((*shape, 3), np.float32), np.float32)


def _filtered(rng: np.random.Generator, texels: float) -> NDArray[np.float64]:
    """Periodic Gaussian-filtered noise with features of about that size."""
    frequency = np.fft.fftfreq(SIZE)
    squared = frequency[:, None] ** 2 + frequency[None, :] ** 2
    spectrum = np.fft.fft2(rng.standard_normal((SIZE, SIZE))) * np.exp(-2 * (np.pi * texels / 2) ** 2 * squared)
    field = np.fft.ifft2(spectrum).real
    return np.asarray((field - field.mean()) / field.std())


def _rise(value: NDArray[np.float64], start: float, end: float) -> NDArray[np.float64]:
    """0 below start, 1 above end, smooth between."""
    t = np.clip((value - start) / (end - start), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))
