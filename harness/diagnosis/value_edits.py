"""Candidate edits of values: normalisation, scale, rounding, gamma, JPEG, layout in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.diagnosis.chain import OWN, Chain, Edit, Step
from harness.diagnosis.fit import affine, best_gamma
from harness.diagnosis.view import View

__all__ = ["KNOWN", "STEEPEST", "normalisation_edits", "refitted", "value_edits"]

PLACE = 60
Put = Callable[[Step, Chain], Chain | None]
STEEPEST = 4.0  # gamma beyond which no camera has one
JPEG_SHOWS = 0.55  # noise moves values over the steps of the quantisation: a good part of what it does is elsewhere
FINEST = 100  # halves the colours' resolution and little else, as every codec does
QUALITIES = (10, 12, 14, 17, 20, 24, 29, 35, 42, 50, 59, 66, 71, 76, 80, 83, 86, 88, 90, 92)
"""JPEG's, with steps of quantisation in a ratio of 1.2: pictures of qualities further apart differ like noise."""
KNOWN: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    "ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "0.5 and 0.5": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Means and stds of pictures in 0..1 that training code commonly has."""


def value_edits(view: View) -> Iterator[Edit]:
    """Every edit of values that the chain has a place for."""
    yield from normalisation_edits(view)
    yield from _roundings(view)
    yield from _gammas(view)
    yield from _jpegs(view)
    for order in ("NHWC as NCHW", "NCHW as NHWC"):
        words = f"{order.split()[0]} memory read as {order.split()[-1]}"
        step = {"op": f"{OWN}misread", "step": "misread", "order": order}
        yield Edit("layout", "layout", words, partial(_put_last, step), place=PLACE + 9)


def _put_last(step: Step, chain: Chain) -> Chain | None:
    at = chain.index(("layout",))
    return chain.put(len(chain.steps) if at is None else at, step)


def normalisation_edits(view: View) -> Iterator[Edit]:
    """Scale, mean and std: a factor of 255, known mistakes, and a free fit of gain and offset."""
    at = view.chain.last(("normalise",))
    if at is None:
        yield from _without_normalise(view)
        return
    step = view.chain.steps[at]
    name, scale = str(step["step"]), 1 / 255 if step["scale"] is None else float(step["scale"])
    for words, factor in (("not divided by 255", 255.0), ("divided by 255 twice", 1 / 255)):
        yield Edit("scale", "normalise", words, _options(name, scale=scale * factor), place=PLACE + 5)
    yield from _mistakes(view, step)
    yield _fitted(view, step)


def _without_normalise(view: View) -> Iterator[Edit]:
    for words, scale in (("divided by 255", 1 / 255), ("multiplied by 255", 255.0)):
        step = {"op": "normalise", "step": "normalise", "scale": scale, "mean": 0.0, "std": 1.0}
        yield Edit("scale", "normalise", words, partial(_put_last, step), place=PLACE + 5)
    gain, offset = affine(view.rendered, view.target)
    step = {"op": "normalise", "step": "normalise", "scale": 1.0, **_mean_std(-offset / gain, 1 / gain)}
    words = f"another mean and std: {_written(step['mean'])} and {_written(step['std'])}"
    yield Edit("normalisation", "normalise", words, partial(_put_last, step), 2 * view.channels, PLACE + 5)


def _mistakes(view: View, step: Step) -> Iterator[Edit]:
    """Mistakes with the card's own numbers."""
    name = str(step["step"])
    mean, std = (np.broadcast_to(np.asarray(step[k], float), view.channels).tolist() for k in ("mean", "std"))
    told: list[tuple[str, dict[str, Any]]] = [
        ("the mean not taken off", {"mean": 0.0}),
        ("not divided by std", {"std": 1.0}),
        ("neither mean nor std", {"mean": 0.0, "std": 1.0}),
        ("mean and std exchanged", {"mean": std, "std": mean}),
        ("multiplied by std instead of divided", {"std": [1 / s if s else 1.0 for s in std]}),
    ]
    for order in list(permutations(range(view.channels)))[1:]:
        for keys, words in (((0, 1), "mean and std"), ((0,), "mean"), ((1,), "std")):
            values = {k: [v[c] for c in order] for i, (k, v) in enumerate((("mean", mean), ("std", std))) if i in keys}
            told.append((f"{words} in another order of channels", values))
    for words, (means, stds) in KNOWN.items() if view.channels == 3 else ():
        told.append((f"{words} mean and std", {"mean": list(means), "std": list(stds)}))
    for words, options in told:
        changes = any(not np.allclose(step[k], v) for k, v in options.items())
        if changes and np.all(options.get("std", 1.0)):
            yield Edit("normalisation", "normalise", words, _options(name, **options), place=PLACE + 5)


def _fitted(view: View, step: Step) -> Edit:
    gain, offset = affine(view.rendered, view.target)
    found = refitted(step, gain, offset)
    words = f"mean {_written(found['mean'])} and std {_written(found['std'])}"
    change = _options(str(step["step"]), **found)
    numbers = {f"gain{i}": float(g) for i, g in enumerate(gain)} | {
        f"offset{i}": float(o) for i, o in enumerate(offset)
    }
    return Edit("normalisation", "normalise", words, change, 2 * view.channels, PLACE + 5, numbers)


def refitted(step: Step, gain: NDArray[np.float64], offset: NDArray[np.float64]) -> dict[str, list[float]]:
    """Mean and std with which a `normalise` step gives what it gave of levels of this gain and offset, by channel."""
    scale = 1 / 255 if step["scale"] is None else float(step["scale"])
    gain = np.where(np.abs(gain) < 1e-6, 1e-6, gain)
    # tensor = ((gain level + offset) scale - mean) / std
    mean, std = np.asarray(step["mean"], float), np.asarray(step["std"], float)
    return _mean_std((mean - offset * scale) / gain, std / gain)


def _mean_std(mean: Any, std: Any) -> dict[str, list[float]]:
    return {"mean": [float(f"{v:.6g}") for v in mean], "std": [float(f"{v:.6g}") for v in std]}


def _written(values: Any) -> str:
    return "[" + ", ".join(f"{v:.3g}" for v in values) + "]"


def _options(step: str, **options: Any) -> partial[Chain | None]:
    return partial(_changed, step, options)


def _changed(step: str, options: dict[str, Any], chain: Chain) -> Chain | None:
    at = chain.named(step)
    return None if at is None else chain.changed(at, **options)


def _roundings(view: View) -> Iterator[Edit]:
    at = view.chain.index(("round_u8",))
    if at is None:
        for rounding in ("nearest", "truncate"):
            step = {"op": "round_u8", "step": "round", "rounding": rounding}
            words = "rounded to whole levels" if rounding == "nearest" else "cut off to whole levels"
            yield Edit("rounding", "round", words, partial(_put_late, step), place=PLACE + 3)
        return
    name, now = str(view.chain.steps[at]["step"]), view.chain.steps[at]["rounding"]
    other = "truncate" if now == "nearest" else "nearest"
    words = "cut off to whole levels, not rounded" if other == "truncate" else "rounded to whole levels, not cut off"
    yield Edit("rounding", "round", words, _options(name, rounding=other), place=PLACE + 3)
    yield Edit("rounding", "round", words, partial(_rounded_everywhere, other), place=PLACE + 3)
    change, words = partial(_unrounded, name), "not rounded to whole levels"
    yield Edit("rounding", "round", words, change, place=PLACE + 3, softens=True)


def _put_late(step: Step, chain: Chain) -> Chain | None:
    return chain.put(chain.after_geometry(), step)


def _put_early(step: Step, chain: Chain) -> Chain | None:
    return chain.put(chain.after_colour(), step)


def _rounded_everywhere(rounding: str, chain: Chain) -> Chain | None:
    """Rounded this way behind a resize in floating point: an integer resize has rounded before."""
    at, resize = chain.index(("round_u8",)), chain.last(("resize", "letterbox", f"{OWN}resized"))
    if at is None or resize is None or chain.steps[resize]["arithmetic"] == "float":
        return None
    return chain.changed(resize, arithmetic="float").changed(at, rounding=rounding)


def _unrounded(name: str, chain: Chain) -> Chain | None:
    at, resize = chain.named(name), chain.last(("resize", "letterbox", f"{OWN}resized"))
    if at is None:
        return None
    chain = chain.without(at)
    return chain if resize is None else chain.changed(resize, arithmetic="float")


def _gammas(view: View) -> Iterator[Edit]:
    exponent = best_gamma(view.rendered, view.target)
    if abs(exponent - 1) >= 1e-3:
        yield from (_gamma(exponent, put) for put in (_put_early, _put_late))


def _gamma(exponent: float, put: Put) -> Edit:
    step = {"op": f"{OWN}gamma", "step": "gamma", "exponent": round(exponent, 4)}
    closer = partial(_more_gamma, exponent, put)
    words, numbers = f"gamma {exponent:.3f}", {"exponent": exponent}
    return Edit("gamma", "gamma", words, partial(put, step), 1, PLACE - 30, numbers, closer=closer)


def _more_gamma(before: float, put: Put, view: View) -> list[Edit]:
    exponent = before * best_gamma(view.rendered, view.target)
    return [_gamma(exponent, put)] if 1 / STEEPEST < exponent < STEEPEST else []


def _jpegs(view: View) -> Iterator[Edit]:
    for quality in QUALITIES:
        yield from (_jpeg(quality, put, view.bgr) for put in (_put_early, _put_late))


def _jpeg(quality: int, put: Put, bgr: bool) -> Edit:
    step = {"op": f"{OWN}jpeg", "step": "jpeg", "quality": quality, "bgr": bgr}
    words = f"JPEG of the {'whole' if put is _put_early else 'network' + chr(39) + 's'} picture, quality {quality}"
    closer = partial(_other_qualities, quality, put)
    edit = Edit("jpeg", "jpeg", words, partial(put, step), 1, PLACE - 35, {"quality": quality}, closer=closer)
    return edit if quality == FINEST else replace(edit, shows=JPEG_SHOWS, rival=_jpeg(FINEST, put, bgr))


def _other_qualities(quality: int, put: Put, view: View) -> list[Edit]:
    near = {quality + d for d in (-12, -7, -4, -2, -1, 1, 2, 4, 7, 12)}
    return [_jpeg(q, put, view.bgr) for q in sorted(near) if 1 <= q <= 100]
