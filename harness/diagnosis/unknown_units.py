"""Candidate edits where nobody knows the lab's normalisation, so that levels are only a guess.

Swapped colours, another range and a gamma are then never found by the guess alone: what they do is fitted together
with the mean and std that the lab must have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.diagnosis.chain import OWN, WHOLE, Chain, Edit, Step
from harness.diagnosis.colour_edits import PLACE, ranges
from harness.diagnosis.fit import affine
from harness.diagnosis.steps import curved, levels, ranged
from harness.diagnosis.value_edits import STEEPEST, refitted
from harness.diagnosis.view import View

__all__ = ["unknown_units_edits"]

FITTED_PIXELS = 2_000
FARTHEST = 4.0  # black and white lie at most so many times the seen levels' span beyond them


def unknown_units_edits(view: View) -> Iterator[Edit]:
    """Factors of 255, orders of channels, ranges and a gamma, each with what it says about the lab's mean and std."""
    at = view.chain.last(("normalise",))
    if at is None:
        return
    if view.channels == 3:
        yield from _orders(view, view.chain.steps[at])
        yield from _ranges(view, view.chain.steps[at])
    yield from _scales(view, view.chain.steps[at])
    yield from _gamma(view)


def _scales(view: View, normalise: Step) -> Iterator[Edit]:
    """A factor of 255; where black lies in the lab's numbers is fitted."""
    for words, factor in (("not divided by 255", 255.0), ("divided by 255 twice", 1 / 255)):
        offset = (view.target - view.rendered * np.float32(factor)).mean((0, 1, 2), dtype=np.float64)
        change = partial(_renormalised, refitted(normalise, np.full(view.channels, factor), offset))
        yield Edit("scale", "normalise", words, change, view.channels, PLACE + 45)


def _orders(view: View, normalise: Step) -> Iterator[Edit]:
    for order in list(permutations(range(3)))[1:]:
        gain, offset = affine(view.rendered[..., order], view.target)
        step = {"op": "channels", "step": "channel-order", "order": list(order)}
        told = "R and B" if order == (2, 1, 0) else f"the channels (to {', '.join('RGB'[c] for c in order)})"
        change = partial(_with, step, refitted(normalise, gain, offset))
        yield Edit("channel_order", "order", f"{told} swapped", change, 6, PLACE + 5, shows=WHOLE)


def _ranges(view: View, normalise: Step) -> Iterator[Edit]:
    """The gains of a range are known; where black lies in the lab's numbers is not."""
    for words, step in ranges(view.bgr):
        shown = _shown(step, view.rendered)
        offset = (view.target - shown).mean((0, 1, 2), dtype=np.float64)
        change = partial(_with, step, refitted(normalise, np.ones(3), offset))
        yield Edit("range", "range", words, change, 3, PLACE + 1)


def _shown(step: Step, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    options = {k: v for k, v in step.items() if k not in ("op", "step")}
    return np.asarray((levels if step["op"] == f"{OWN}levels" else ranged)(pixels, **options), np.float32)


def _gamma(view: View) -> Iterator[Edit]:
    """One exponent; black and white of each channel, which stay where they are, are fitted with it."""
    found = _fit(view)
    if found is None:
        return
    exponent, black, white = found
    step = {
        "op": f"{OWN}curved",
        "step": "gamma",
        "exponent": round(exponent, 4),
        "black": [round(float(v), 3) for v in black],
        "white": [round(float(v), 3) for v in white],
    }
    numbers = {"exponent": exponent}
    change = partial(_put_late, step)
    yield Edit("gamma", "gamma", f"gamma {exponent:.3f}", change, 1 + 2 * view.channels, PLACE + 10, numbers)


def _fit(view: View) -> tuple[float, NDArray[np.float64], NDArray[np.float64]] | None:
    from scipy.optimize import least_squares

    channels = view.channels
    ours, theirs = (
        s.reshape(-1, channels)[:: max(1, s[..., 0].size // FITTED_PIXELS)] for s in (view.rendered, view.target)
    )
    low, high = ours.min(0).astype(np.float64), ours.max(0).astype(np.float64)
    span = np.maximum(high - low, 1.0)

    def read(numbers: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        beyond = np.exp(numbers[1:]) * np.tile(span, 2)
        return float(np.exp(numbers[0])), low - beyond[:channels], high + beyond[channels:]

    def off(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(curved(ours, *read(numbers)) - theirs, np.float64).ravel()

    steepest, farthest = np.log(STEEPEST), np.log(FARTHEST)
    bounds = [-steepest, *[-8.0] * 2 * channels], [steepest, *[farthest] * 2 * channels]
    found = least_squares(off, [0.05, *[-3.0] * 2 * channels], bounds=bounds, diff_step=1e-3, max_nfev=40)
    exponent, black, white = read(found.x)
    return (exponent, black, white) if abs(exponent - 1) >= 1e-3 else None


def _renormalised(options: Mapping[str, Any], chain: Chain) -> Chain | None:
    at = chain.last(("normalise",))
    return None if at is None else chain.changed(at, **options)


def _with(step: Step, options: Mapping[str, Any], chain: Chain) -> Chain | None:
    changed = _renormalised(options, chain)
    return None if changed is None else changed.put(chain.after_geometry(), step)


def _put_late(step: Step, chain: Chain) -> Chain | None:
    return chain.put(chain.after_geometry(), step)
