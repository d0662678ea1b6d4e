"""Candidate edits of time: every frame late, pictures held for several frames, pictures that stop coming."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from harness.diagnosis.chain import OWN, Chain, Edit, Timing
from harness.diagnosis.fit import mix_error
from harness.diagnosis.view import View
from trueline._text import counted

__all__ = ["EARLIEST", "HOLDS", "LATEST", "time_edits"]

LATEST, EARLIEST = 10, -3  # moments that a picture may be late
HOLDS = range(2, 7)  # how many times a picture may be shown
_PLAIN = (
    *("nv12", "to_rgb", "to_bgr", "to_gray", "channels", "round_u8", "normalise", "dtype"),
    *(f"{OWN}{name}" for name in ("curved", "gamma", "jpeg", "levels", "ranged", "recoloured", "sited")),
)  # ops that leave every pixel in its place
CLEAR = 0.9  # of the error at rest: another moment must be better than that to be looked at


def time_edits(view: View) -> Iterator[Edit]:
    """Timings that fit the moment that each of the car's frames looks most like."""
    if view.chain.timing != Timing():
        return
    best = {at: _likeliest(view, at) for at in view.positions}
    for lag in sorted({k for k in best.values() if k}):
        words = f"{counted(abs(lag), 'frame')} {'late' if lag > 0 else 'early'}"
        yield _edit("lag", words, Timing(lag=lag))
    if len(set(best.values())) > 1 and min(best.values()) >= 0:
        for hold in HOLDS:
            for phase in range(hold):
                if sum((at - phase) % hold == k for at, k in best.items()) >= len(best) - 1:
                    words = f"every picture shown {hold} times"
                    yield _edit("stale", words, Timing(hold=hold, phase=phase))
        for stuck in {at - k for at, k in best.items() if k}:
            yield _edit("stale", f"no new picture after frame {stuck}", Timing(stuck=stuck))


def _edit(name: str, words: str, timing: Timing) -> Edit:
    return Edit(name, "time", words, partial(_timed, timing), place=1)


def _timed(timing: Timing, chain: Chain) -> Chain | None:
    return replace(chain, timing=timing)


def _likeliest(view: View, at: int) -> int:
    """How many moments ago the picture was taken that the car's frame looks most like, colours left aside.

    Colours and values play no part, so that chains which show the same pixels in the same places share the answer.
    """
    places = tuple(k for k, s in zip(view.chain.keys, view.chain.steps, strict=True) if s["op"] not in _PLAIN)
    key = (at, view.chain.camera, places)
    known = view.scene.likeliest
    if key not in known:
        known[key] = _compared(view, at)
    return known[key]


def _compared(view: View, at: int) -> int:
    target = view.scene.targets[at][None]
    errors = {}
    for lag in range(EARLIEST, LATEST + 1):
        shown = view.scene.render(replace(view.chain, timing=Timing(lag=lag)), at)
        if shown is not None:
            errors[lag] = mix_error(shown[None], target)
    if not errors:
        return 0
    found = min(errors, key=lambda k: (errors[k], abs(k)))
    at_rest = errors.get(0, np.inf)
    return found if errors[found] < CLEAR * at_rest else 0
