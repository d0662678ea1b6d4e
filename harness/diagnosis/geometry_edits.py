"""Candidate edits of geometry: crop, resize and its rules, letterbox, motion, mirror, lens, camera."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from harness.diagnosis.chain import GEOMETRY, OWN, Chain, Edit, Step
from harness.diagnosis.fit import Motion
from harness.diagnosis.view import View

__all__ = ["geometry_edits", "mirrors"]

PLACE = 40
KERNELS = ("bilinear", "nearest", "cubic", "area")
RULES = ("half-pixel", "align-corners", "asymmetric")
LEAST_PX = 0.02  # of a motion that is worth a candidate
MOTION = "motion"  # the slot of all that moves or scales the picture: one of them does what two would
PADS = (114.0, 0.0, 128.0)
RESIZES = ("resize", "letterbox", f"{OWN}resized")


def geometry_edits(view: View) -> Iterator[Edit]:
    """Every edit of geometry that the chain has a place for."""
    for step in view.chain.steps:
        if step["op"] in RESIZES:
            yield from _resampling(step)
    yield from _letterboxes(view)
    yield from _crops(view)
    yield from _motions(view)
    yield from mirrors(view)
    yield from _lens(view)
    for camera in view.scene.cameras:
        if camera != view.chain.camera:
            yield Edit("camera", "camera", f"the picture of camera {camera}", partial(_of_camera, camera), place=0)


def mirrors(view: View) -> Iterator[Edit]:
    """The picture mirrored, upside down, or turned by half a turn."""
    for axis, words in (
        ("horizontal", "mirrored left to right"),
        ("vertical", "upside down"),
        ("both", "turned by half a turn"),
    ):
        step = {"op": f"{OWN}flipped", "step": "flip", "axis": axis}
        yield Edit("flip", "flip", words, partial(_put_late, step), place=PLACE + 6)


def _put_late(step: Step, chain: Chain) -> Chain | None:
    return chain.put(chain.after_geometry(), step)


def _of_camera(camera: str, chain: Chain) -> Chain | None:
    return replace(chain, camera=camera)


def _with(step: str, options: dict[str, Any], chain: Chain) -> Chain | None:
    at = chain.named(step)
    return None if at is None else chain.changed(at, **options)


def _resampling(step: Step) -> Iterator[Edit]:
    name = str(step["step"])
    for kernel in KERNELS:
        if kernel != step["kernel"]:
            words = f"resized by {kernel}, not {step['kernel']}"
            yield Edit("kernel", f"{name}.kernel", words, partial(_with, name, {"kernel": kernel}), place=PLACE)
    if step["kernel"] != "nearest":
        corners = {"kernel": "nearest", "coordinates": "asymmetric"}
        words = f"resized by nearest from corners (cv2.INTER_NEAREST), not {step['kernel']}"
        yield Edit("kernel", f"{name}.kernel", words, partial(_with, name, corners), place=PLACE)
    words = (
        "smoothed when shrinking (antialias)" if not step["antialias"] else "not smoothed when shrinking (antialias)"
    )
    other: dict[str, Any] = {"antialias": not step["antialias"]}
    yield Edit("antialias", f"{name}.antialias", words, partial(_with, name, other), place=PLACE)
    if step["kernel"] not in ("cubic",):
        both = {"kernel": "cubic", "antialias": not step["antialias"]}
        kind = "antialiased" if both["antialias"] else "plain"
        words = f"resized by {kind} cubic, not {step['kernel']}"
        yield Edit("kernel", f"{name}.kernel", words, partial(_with, name, both), place=PLACE)
    for rule in RULES:
        if rule != step["coordinates"]:
            words = f"{rule} coordinates, not {step['coordinates']}"
            change = partial(_with, name, {"coordinates": rule})
            yield Edit("coordinates", MOTION, words, change, place=PLACE + 1)
    arithmetic = {"float": "fixed", "fixed": "float"}[str(step["arithmetic"])]
    words = f"resized in {'whole numbers' if arithmetic == 'fixed' else 'floating point'}"
    change = partial(_with, name, {"arithmetic": arithmetic})
    yield Edit("rounding", f"{name}.arithmetic", words, change, place=PLACE + 2, softens=arithmetic == "float")


def _letterboxes(view: View) -> Iterator[Edit]:
    for step in view.chain.steps:
        name = str(step["step"])
        if step["op"] == "resize":
            for pad, anchor in product((*PADS, _pad_of(view)), ("center", "topleft")):
                words = f"letterboxed ({anchor}, padding {pad:g}), not stretched"
                change = partial(_with, name, {"op": "letterbox", "pad": pad, "anchor": anchor})
                yield Edit("letterbox", "letterbox", words, change, place=PLACE + 1)
        elif step["op"] == "letterbox":
            yield Edit("letterbox", "letterbox", "stretched, not letterboxed", partial(_stretched, name), place=41)
            other = "topleft" if step["anchor"] == "center" else "center"
            change = partial(_with, name, {"anchor": other})
            yield Edit("letterbox", "letterbox", f"letterboxed {other}", change, place=PLACE + 1)
            for pad in {*PADS, _pad_of(view)} - {step["pad"]}:
                change = partial(_with, name, {"pad": pad})
                yield Edit("letterbox", f"{name}.pad", f"padded with {pad:g}, not {step['pad']:g}", change, place=42)


def _pad_of(view: View) -> float:
    """The level of the target's corners."""
    corners = view.target[:, :: view.target.shape[1] - 1, :: view.target.shape[2] - 1]
    return float(np.clip(np.round(np.median(corners)), 0, 255))


def _stretched(name: str, chain: Chain) -> Chain | None:
    at = chain.named(name)
    if at is None:
        return None
    step = {k: v for k, v in chain.steps[at].items() if k not in ("pad", "anchor")}
    return replace(chain, steps=(*chain.steps[:at], {**step, "op": "resize"}, *chain.steps[at + 1 :]))


def _crops(view: View) -> Iterator[Edit]:
    chain = view.chain
    for at, step in enumerate(chain.steps):
        if step["op"] != "crop":
            continue
        name, box = str(step["step"]), [int(v) for v in step["box"]]
        yield Edit("crop", MOTION, "not cropped", partial(_without, name), place=30)
        if any(s["op"] in ("letterbox", "warp") for s in chain.steps[at + 1 :]):
            continue
        ratio = box[2] / view.size[0], box[3] / view.size[1]
        facing = _facing(chain)
        for moved in _boxes(_faced(view.still, facing), box, ratio):
            words = f"the crop {_directions(moved[0] - box[0], moved[1] - box[1])}"
            yield Edit("crop", MOTION, words, partial(_with, name, {"box": moved}), place=30)
        scaled = _scaled_box(_faced(view.zooming, facing), box, ratio)
        if scaled[2:] != box[2:] and min(scaled[2:]) > 0:
            words = f"cropped to {scaled}, not {box}"
            yield Edit("crop", MOTION, words, partial(_with, name, {"box": scaled}), free=2, place=30)


def _faced(motion: Motion, facing: tuple[int, int]) -> Motion:
    """A motion of the result as one of what is not mirrored yet."""
    return replace(motion, right=facing[0] * motion.right, down=facing[1] * motion.down)


def _without(name: str, chain: Chain) -> Chain | None:
    at = chain.named(name)
    return None if at is None else chain.without(at)


def _boxes(motion: Motion, box: list[int], ratio: tuple[float, float]) -> Iterator[list[int]]:
    """Boxes of whole pixels around the measured motion."""
    right, down = -motion.right * ratio[0], -motion.down * ratio[1]
    if max(abs(right), abs(down)) > 2 * max(box[2:]):
        return
    columns, rows = ({math.floor(v), math.ceil(v), round(v)} for v in (right, down))
    for dx, dy in product(columns, rows):
        if (dx, dy) != (0, 0):
            yield [box[0] + dx, box[1] + dy, *box[2:]]


def _scaled_box(motion: Motion, box: list[int], ratio: tuple[float, float]) -> list[int]:
    """The box that shows what the measured motion and scale show."""
    width, height = box[2] / motion.across, box[3] / motion.along
    cx = box[0] + box[2] / 2 - motion.right * ratio[0] / motion.across
    cy = box[1] + box[3] / 2 - motion.down * ratio[1] / motion.along
    return [round(cx - width / 2), round(cy - height / 2), round(width), round(height)]


def _directions(right: int, down: int) -> str:
    parts = []
    if right:
        parts.append(f"{abs(right)} px further {'right' if right > 0 else 'left'}")
    if down:
        parts.append(f"{abs(down)} px {'lower' if down > 0 else 'higher'}")
    return " and ".join(parts)


@dataclass(frozen=True)
class _Where:
    """Where a motion takes place: behind all geometry, in a resize, or in a resize and the crop before it.

    Attributes:
        resize: name of the step; None: behind all geometry.
        crop: name of the step whose box moves by whole pixels.
        box: of that crop.
        picture: width and height of what reaches it.
        ratio: its pixels for one of the result, across and down.
    """

    resize: str | None = None
    crop: str | None = None
    box: tuple[int, ...] = ()
    picture: tuple[int, int] = (0, 0)
    ratio: tuple[float, float] = (1.0, 1.0)


def _facing(chain: Chain) -> tuple[int, int]:
    """-1 for each axis, across and down, along which the chain mirrors its picture."""
    axes = {str(s["axis"]) for s in chain.steps if s["op"] == f"{OWN}flipped"}
    return -1 if axes & {"horizontal", "both"} else 1, -1 if axes & {"vertical", "both"} else 1


def _places(view: View) -> list[_Where]:
    last = view.chain.last(("resize",))
    if last is None:
        return [_Where()]
    resize = str(view.chain.steps[last]["step"])
    found = [_Where(resize), _Where()]
    if last and view.chain.steps[last - 1]["op"] == "crop":
        crop = view.chain.steps[last - 1]
        box, shape = tuple(int(v) for v in crop["box"]), np.shape(view.reaches(last - 1))
        ratio = box[2] / view.size[0], box[3] / view.size[1]
        found.append(_Where(resize, str(crop["step"]), box, (shape[1], shape[0]), ratio))
    return found


def _motions(view: View) -> Iterator[Edit]:
    """Sub-pixel motion inside the resize, with the crop before it, and behind it."""
    for name, found in (("shift", view.still), ("zoom", view.zooming)):
        if _worth(found, view.size):
            for where in _places(view):
                yield _moving(name, found, where)


def _moving(name: str, motion: Motion, where: _Where) -> Edit:
    numbers = {"right": motion.right, "down": motion.down, "across": motion.across, "along": motion.along}
    values = {k: round(v, 4) for k, v in numbers.items()}
    words = f"shifted ({motion.right:+.2f}, {motion.down:+.2f}) px"
    if name == "zoom":
        words = f"scaled by {motion.across:.4f} across and {motion.along:.4f} down, {words}"
    step = {"op": f"{OWN}moved", "step": "motion", **values}
    change = partial(_put_late, step) if where.resize is None else partial(_moved_resize, where, values)
    closer = partial(_moved_on, name, motion, where)
    free, place = 2 if name == "shift" else 4, PLACE + (5 if where.resize is None else 1)
    return Edit(name, MOTION, words, change, free, place, numbers, closer=closer)


def _moved_on(name: str, before: Motion, where: _Where, view: View) -> list[Edit]:
    """With the motion that is left added."""
    left = view.still if name == "shift" else view.zooming
    whole = Motion(
        before.right * left.across + left.right,
        before.down * left.along + left.down,
        before.across * left.across,
        before.along * left.along,
    )
    return [_moving(name, whole, where)]


def _worth(motion: Motion, size: tuple[int, int]) -> bool:
    scale = max(abs(motion.across - 1) * size[0], abs(motion.along - 1) * size[1]) / 2
    return max(abs(motion.right), abs(motion.down), scale) > LEAST_PX


def _moved_resize(where: _Where, values: dict[str, float], chain: Chain) -> Chain | None:
    at = chain.named(where.resize or "")
    if at is None or chain.steps[at]["op"] != "resize":
        return None
    across, down = _facing(chain)
    values = {**values, "right": across * values["right"], "down": down * values["down"]}
    crop = chain.named(where.crop or "")
    if where.crop is not None:
        if crop is None or list(chain.steps[crop]["box"]) != list(where.box):
            return None
        box = [
            int(np.clip(where.box[i] - round(values[k] * where.ratio[i]), 0, where.picture[i] - where.box[i + 2]))
            for i, k in enumerate(("right", "down"))
        ]
        taken = {k: (where.box[i] - box[i]) / where.ratio[i] for i, k in enumerate(("right", "down"))}
        values = {k: round(v - taken.get(k, 0.0), 6) for k, v in values.items()}
        chain = chain.changed(crop, box=[*box, *where.box[2:]])
    return chain.changed(at, op=f"{OWN}resized", **values)


def _lens(view: View) -> Iterator[Edit]:
    at = view.chain.index(("undistort",))
    if at is not None:
        name = str(view.chain.steps[at]["step"])
        yield Edit("undistort", "lens", "lens distortion not removed", partial(_without, name), place=PLACE - 10)
        return
    calibration = view.scene.calibration.get(view.chain.camera)
    if calibration is None or calibration.intrinsics is None or not np.any(calibration.distortion):
        return
    first = view.chain.index((*GEOMETRY, *RESIZES))
    if first is None or view.chain.after_colour() <= first:
        step = {"op": "undistort", "step": "undistort", "kernel": "bilinear"}
        yield Edit("undistort", "lens", "lens distortion removed", partial(_put_first, step), place=PLACE - 10)


def _put_first(step: Step, chain: Chain) -> Chain | None:
    return chain.put(chain.after_colour(), step)
