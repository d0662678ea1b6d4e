"""Candidate edits of colour: order of channels, range, matrix, chroma, integer arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import permutations, product

import numpy as np

from harness.diagnosis.chain import OWN, READS_PLANES, WHOLE, Chain, Edit, Step
from harness.diagnosis.view import View

__all__ = ["colour_edits", "orders", "ranges"]

PLACE = 20
OTHER_RANGE = {"limited": "full", "full": "limited"}
LIMITED_AS_FULL = (219 / 255, 16.0)  # gain, offset: black at 16, white at 235
FULL_AS_LIMITED = (255 / 219, -16 * 255 / 219)
MATRICES = ("bt601", "bt709", "bt2020")
SITINGS = ("left", "center", "topleft")


def colour_edits(view: View) -> Iterator[Edit]:
    """Every edit of colour that the chain has a place for."""
    yield from orders(view)
    at = view.chain.index(READS_PLANES)
    if view.planes is not None and at is not None:
        yield from _of_planes(view, view.chain.steps[at])
    elif view.channels == 3:
        yield from _of_pixels(view)
    if at is not None:
        yield from _arithmetic(view.chain.steps[at])


def orders(view: View) -> Iterator[Edit]:
    """Every other order of three channels; red and blue swapped by the colour step where there is one."""
    if view.channels != 3:
        return
    for order in permutations(range(3)):
        if order == (0, 1, 2):
            continue
        if order == (2, 1, 0):
            yield Edit("channel_order", "order", "R and B swapped", _swapped, place=PLACE + 5, shows=WHOLE)
        else:
            told = ", ".join(("BGR" if view.bgr else "RGB")[c] for c in order)
            step = {"op": "channels", "step": "channel-order", "order": list(order)}
            words = f"the channels in the order {told}"
            yield Edit("channel_order", "order", words, partial(_put_late, step), place=PLACE + 5, shows=WHOLE)
        yield from _finished_orders(view, order)


def _finished_orders(view: View, order: tuple[int, ...]) -> Iterator[Edit]:
    """The same of the finished tensor, where the normalisation tells channels apart."""
    at = view.chain.last(("normalise",))
    if at is None or all(len({*np.atleast_1d(view.chain.steps[at][k]).tolist()}) == 1 for k in ("mean", "std")):
        return
    step = {"op": "channels", "step": "channel-order", "order": list(order)}
    told = "R and B" if order == (2, 1, 0) else f"the channels (to {', '.join('RGB'[c] for c in order)})"
    words = f"{told} swapped behind the normalisation"
    yield Edit("channel_order", "order", words, partial(_put_behind, at, step), place=PLACE + 50, shows=WHOLE)


def _put_behind(at: int, step: Step, chain: Chain) -> Chain | None:
    return chain.put(at + 1, step) if at < len(chain.steps) else None


def _swapped(chain: Chain) -> Chain | None:
    at = chain.index(("to_rgb", "to_bgr"))
    if at is None or any(s["op"] == "normalise" for s in chain.steps[:at]):
        return _put_late({"op": "channels", "step": "channel-order", "order": [2, 1, 0]}, chain)
    other = {"to_rgb": "to_bgr", "to_bgr": "to_rgb"}[str(chain.steps[at]["op"])]
    return chain.changed(at, op=other)


def _put_late(step: Step, chain: Chain) -> Chain | None:
    return chain.put(chain.after_geometry(), step)


def _put_early(step: Step, chain: Chain) -> Chain | None:
    return chain.put(chain.after_colour(), step)


def _of_planes(view: View, step: Step) -> Iterator[Edit]:
    picture = view.planes
    assert picture is not None
    name = str(step["step"])
    range_now = picture.color_range if step.get("range") == "declared" else str(step.get("range"))
    wrong = OTHER_RANGE[range_now]
    words = f"{range_now} range read as {wrong}"
    yield Edit("range", "range", words, _option(name, range=wrong), place=PLACE + 1, shows=WHOLE)
    matrix_now = picture.color_matrix if step.get("matrix") == "declared" else str(step.get("matrix"))
    for matrix in MATRICES:
        if matrix == matrix_now:
            continue
        words = f"{matrix_now} read as {matrix}"
        if matrix == "bt2020":
            own = {"op": f"{OWN}recoloured", "step": "matrix", "written": matrix_now, "read": matrix, "bgr": view.bgr}
            yield Edit("matrix", "matrix", words, partial(_put_early, own), place=PLACE + 2, shows=WHOLE)
        else:
            yield Edit("matrix", "matrix", words, _option(name, matrix=matrix), place=PLACE + 2, shows=WHOLE)
    yield from _chroma(view, step, picture.chroma_siting)


def _chroma(view: View, step: Step, siting: str) -> Iterator[Edit]:
    name = str(step["step"])
    now = step.get("chroma", "nearest")
    other = "nearest" if now == "bilinear" else "bilinear"
    words = f"chroma enlarged by {other}, not {now}"
    yield Edit("chroma", "chroma", words, _option(name, chroma=other), place=PLACE)
    for lies in SITINGS:
        if lies != siting:
            own = {"op": f"{OWN}sited", "step": "chroma-siting", "siting": lies}
            words = f"chroma samples taken to lie {lies}, not {siting}"
            yield Edit("chroma", "chroma", words, partial(_sited, own, now), place=PLACE)
            if now == "nearest":
                words = f"chroma enlarged by bilinear from {lies}, not nearest"
                yield Edit("chroma", "chroma", words, partial(_sited, own, "bilinear"), place=PLACE)
    at = view.chain.index(("nv12",))
    if at is not None:
        encoder = view.chain.steps[at]
        other = "first" if encoder["chroma"] == "mean" else "mean"
        words = f"each 2x2 block's chroma is its {other} pixel's" if other == "first" else "chroma is each block's mean"
        yield Edit("chroma", "subsampling", words, _option(str(encoder["step"]), chroma=other), place=PLACE - 1)
        words = "colours not halved in resolution: the NV12 step is missing"
        yield Edit("chroma", "subsampling", words, partial(_removed, str(encoder["step"])), place=PLACE - 1)


def _sited(own: Step, chroma: str, chain: Chain) -> Chain | None:
    at = chain.index(READS_PLANES)
    if at is None or chroma not in ("bilinear",):
        return None
    return chain.changed(at, chroma=chroma).put(at, own)


def _of_pixels(view: View) -> Iterator[Edit]:
    for words, step in ranges(view.bgr):
        yield Edit("range", "range", words, partial(_put_early, step), place=PLACE + 1, shows=WHOLE)
    for written, read in product(MATRICES, repeat=2):
        if written != read:
            step = {"op": f"{OWN}recoloured", "step": "matrix", "written": written, "read": read, "bgr": view.bgr}
            words = f"{written} read as {read}"
            yield Edit("matrix", "matrix", words, partial(_put_early, step), place=PLACE + 2, shows=WHOLE)
    at = view.chain.index(READS_PLANES)
    if at is not None and view.chain.steps[at]["op"] != "to_gray":
        for chroma in ("mean", "first"):
            step = {"op": "nv12", "step": "nv12", "matrix": "bt601", "range": "limited", "chroma": chroma}
            words = "colours halved in resolution: NV12 on the way"
            yield Edit("chroma", "subsampling", words, partial(_encoded, step), place=PLACE - 1)


def ranges(bgr: bool) -> Iterator[tuple[str, Step]]:
    """A wrong range as a step on pixels, in words: of YCbCr, whose colours have another gain than luma, and of RGB."""
    for read in ("full", "limited"):
        words = f"{OTHER_RANGE[read]} range read as {read}"
        yield words, {"op": f"{OWN}ranged", "step": "range", "read": read, "bgr": bgr}
    for words, (gain, offset) in (
        ("RGB of limited range read as full", LIMITED_AS_FULL),
        ("RGB of full range read as limited", FULL_AS_LIMITED),
    ):
        yield words, {"op": f"{OWN}levels", "step": "range", "gain": round(gain, 6), "offset": round(offset, 4)}


def _encoded(step: Step, chain: Chain) -> Chain | None:
    at = chain.index(READS_PLANES)
    return None if at is None else chain.put(at, step)


def _arithmetic(step: Step) -> Iterator[Edit]:
    now = step.get("arithmetic")
    if now is None:
        return
    other = {"float": "fixed", "fixed": "float"}[now]
    words = "colours rounded to whole levels" if other == "fixed" else "colours not rounded to whole levels"
    change = _option(str(step["step"]), arithmetic=other)
    yield Edit("rounding", "colour-arithmetic", words, change, place=PLACE + 4, softens=other == "float")


def _option(step: str, **options: object) -> partial[Chain | None]:
    return partial(_with_option, step, options)


def _with_option(step: str, options: dict[str, object], chain: Chain) -> Chain | None:
    at = chain.named(step)
    return None if at is None else chain.changed(at, **options)


def _removed(step: str, chain: Chain) -> Chain | None:
    at = chain.named(step)
    return None if at is None else chain.without(at)
