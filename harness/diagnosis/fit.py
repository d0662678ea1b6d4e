"""Closed-form and least-squares fits of a rendered picture to the car's: gain and offset, colours, gamma, motion.

All take pictures in levels, [frames, height, width, channels], and minimise the squared difference over all frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Motion",
    "affine",
    "best_gamma",
    "colour_mix",
    "gradient_correlation",
    "mix_error",
    "motion",
    "noise_variance",
    "predictable_share",
]

Stack = NDArray[np.float32]

SMOOTH_PX = 1.0  # blur of both before motion is fitted: kernels and noise weigh less then
ROUNDS = 8
MIXED_PIXELS = 6_000  # that a mix of colours is judged by: it only decides what is looked at next


def affine(rendered: Stack, target: Stack) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gain and offset of each channel, [channels] each: target = gain rendered + offset."""
    axes = (0, 1, 2)
    x, y = rendered.mean(axes, dtype=np.float64), target.mean(axes, dtype=np.float64)
    dx = rendered - x.astype(np.float32)
    var = np.square(dx).mean(axes, dtype=np.float64)
    gain = (dx * (target - y.astype(np.float32))).mean(axes, dtype=np.float64) / np.maximum(var, 1e-9)
    return gain, y - gain * x


def colour_mix(rendered: Stack, target: Stack) -> NDArray[np.float64]:
    """Rows [channels + 1, channels]: target = [rendered, 1] @ rows."""
    flat = rendered.reshape(-1, rendered.shape[-1]).astype(np.float64)
    design = np.column_stack([flat, np.ones(len(flat))])
    gram = design.T @ design + 1e-6 * np.eye(design.shape[1])
    return np.asarray(np.linalg.solve(gram, design.T @ target.reshape(-1, target.shape[-1]).astype(np.float64)))


def mix_error(rendered: Stack, target: Stack) -> float:
    """Mean squared difference that is left under the best mix of colours."""
    step = max(1, rendered[..., 0].size // MIXED_PIXELS)
    ours, theirs = (stack.reshape(-1, stack.shape[-1])[::step] for stack in (rendered, target))
    rows = colour_mix(ours, theirs).astype(np.float32)
    return float(np.square(ours @ rows[:-1] + rows[-1] - theirs).mean())


def best_gamma(rendered: Stack, target: Stack) -> float:
    """Exponent e for which 255 (rendered / 255) ** e comes closest to the target."""
    from scipy.optimize import minimize_scalar

    step = max(1, rendered.size // 200_000)
    x = np.clip(rendered.ravel()[::step], 0, 255).astype(np.float64) / 255
    y = target.ravel()[::step].astype(np.float64) / 255
    found = minimize_scalar(
        lambda log: float(np.square(x ** np.exp(log) - y).mean()), bounds=(-1.2, 1.2), method="bounded"
    )
    return float(np.exp(found.x))


@dataclass(frozen=True)
class Motion:
    """How the content of the rendered picture must move to be the target's.

    Attributes:
        right, down: pixels.
        across, along: scale about the centre, 1 where there is none.
    """

    right: float = 0.0
    down: float = 0.0
    across: float = 1.0
    along: float = 1.0


def motion(rendered: Stack, target: Stack, *, zoom: bool = False, frames: int = 2) -> Motion:
    """Motion by Gauss-Newton on gradients, from rest and from the peak of the phase correlation; the better of both.

    Colours may differ: the target's mean channel is fitted by a mix of the rendered channels along the way.

    Args:
        rendered: of a hypothesis.
        target: the car's.
        zoom: whether scales are fitted too.
        frames: at most so many are looked at.
    """
    ours, theirs = rendered[:frames], target[:frames].mean(-1)
    starts = [Motion(), _phase_peak(ours.mean(-1), theirs)]
    tries = [_refined(ours, theirs, start, zoom) for start in starts[: 1 + (starts[0] != starts[1])]]
    return min(tries, key=lambda t: t[1])[0]


def _phase_peak(ours: Stack, theirs: Stack) -> Motion:
    import cv2

    height, width = ours.shape[1:]
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    found = [cv2.phaseCorrelate(_edges(a), _edges(b), window)[0] for a, b in zip(ours, theirs, strict=True)]
    right, down = np.median(np.array(found), axis=0)
    far = abs(right) > width / 4 or abs(down) > height / 4
    return Motion() if far else Motion(float(right), float(down))


def _edges(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    down, right = np.gradient(gray)
    return np.asarray(np.hypot(down, right), np.float32)


def _refined(ours: Stack, theirs: Stack, start: Motion, zoom: bool) -> tuple[Motion, float]:
    """The motion, and the squared difference that it leaves."""
    from scipy.ndimage import gaussian_filter

    from harness.diagnosis.steps import moved

    target = np.stack([gaussian_filter(t, SMOOTH_PX) for t in theirs])
    smooth = np.stack([gaussian_filter(o, (SMOOTH_PX, SMOOTH_PX, 0)) for o in ours])
    height, width = target.shape[1:]
    x = (np.arange(width) - (width - 1) / 2).astype(np.float32)[None, None, :]
    y = (np.arange(height) - (height - 1) / 2).astype(np.float32)[None, :, None]
    now, left = start, np.inf
    for _ in range(ROUNDS):
        shown = np.stack([moved(s, now.right, now.down, now.across, now.along) for s in smooth])
        m = _margin(now, width, height)
        inner = (slice(None), slice(m[1], height - m[1]), slice(m[0], width - m[0]))
        mix = colour_mix(shown[inner], target[inner][..., None])[:, 0].astype(np.float32)
        gray = shown @ mix[:-1] + mix[-1]
        gy, gx = (np.gradient(gray, axis=a) for a in (1, 2))
        parts = [*(shown[..., c] for c in range(shown.shape[-1])), np.ones_like(gray), -gx, -gy]
        parts += [-gx * x, -gy * y] if zoom else []
        design = np.stack([p[inner].ravel() for p in parts], 1).astype(np.float64)
        wanted = target[inner].ravel().astype(np.float64)
        gram = design.T @ design
        gram[np.diag_indices_from(gram)] *= 1 + 1e-9
        got = np.linalg.lstsq(gram, design.T @ wanted, rcond=None)[0][shown.shape[-1] + 1 :]
        left = float(np.square(target[inner] - gray[inner]).mean())
        step = np.clip(got[:2], -2, 2)
        scale = np.clip(got[2:], -0.05, 0.05) if zoom else np.zeros(2)
        now = Motion(
            now.right + float(step[0]),
            now.down + float(step[1]),
            now.across * (1 + float(scale[0])),
            now.along * (1 + float(scale[1])),
        )
        if np.abs(step).max() < 1e-3 and np.abs(scale).max() * width < 1e-3:
            break
    sane = abs(now.right) < width / 3 and abs(now.down) < height / 3 and 0.5 < now.across < 2 and 0.5 < now.along < 2
    return (now, left) if sane else (Motion(), np.inf)


def _margin(now: Motion, width: int, height: int) -> tuple[int, int]:
    """Columns and rows at the edge that are not looked at."""
    across = abs(now.right) + abs(now.across - 1) * width / 2
    along = abs(now.down) + abs(now.along - 1) * height / 2
    return min(width // 4, 3 + round(across)), min(height // 4, 3 + round(along))


def gradient_correlation(rendered: Stack, target: Stack) -> float:
    """Correlation of the gradients under the best mix of colours: near 0 where the two show different scenes."""
    rows = colour_mix(rendered, target).astype(np.float32)
    mixed = rendered @ rows[:-1] + rows[-1]
    pairs = [(np.diff(mixed, axis=a).ravel(), np.diff(target, axis=a).ravel()) for a in (1, 2)]
    cross = sum(float(a @ b) for a, b in pairs)
    size = np.prod([np.sqrt(sum(float(v @ v) for v in side)) for side in zip(*pairs, strict=True)])
    return cross / float(size) if size else 0.0


def predictable_share(
    shown: Stack, residual: Stack, shown_later: Stack, residual_later: Stack, most: int = 40_000
) -> float:
    """Share of later residuals that a 3 x 3 linear filter of the picture predicts, fitted on the first; 0 for noise.

    Args:
        shown, residual: rendered pictures and what the car's differ by, [frames, height, width, channels].
        shown_later, residual_later: the same of other frames.
        most: pixels that are fitted on and judged by.
    """
    x, y = _neighbourhoods(shown, residual, most)
    rows = np.linalg.solve(x.T @ x + 1e-3 * np.eye(x.shape[1]), x.T @ y)
    x, y = _neighbourhoods(shown_later, residual_later, most)
    whole = float(np.square(y).sum())
    return 1 - float(np.square(y - x @ rows).sum()) / whole if whole else 0.0


def _neighbourhoods(shown: Stack, residual: Stack, most: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    height, width, channels = shown.shape[1:]
    parts = [shown[:, i : height - 2 + i, j : width - 2 + j] for i in range(3) for j in range(3)]
    features = np.concatenate([*parts, np.ones_like(parts[0][..., :1])], -1).reshape(-1, 9 * channels + 1)
    wanted = residual[:, 1:-1, 1:-1].reshape(-1, residual.shape[3])
    step = max(1, len(wanted) // most)
    return features[::step].astype(np.float64) / 255, wanted[::step].astype(np.float64)


def noise_variance(residuals: NDArray[np.floating]) -> float:
    """Variance of white noise in residuals [frames, height, width, channels], by the median of a second difference.

    Source: Immerkaer, Fast Noise Variance Estimation, CVIU 1996; the median leaves out edges.
    """
    r = residuals
    if min(r.shape[1:3]) < 3:
        return 0.0
    rows = r[:, :-2] - 2 * r[:, 1:-1] + r[:, 2:]
    both = rows[:, :, :-2] - 2 * rows[:, :, 1:-1] + rows[:, :, 2:]
    sigma = np.median(np.abs(both), axis=(1, 2)) / 0.6745 / 6
    return float(np.square(sigma).mean())
