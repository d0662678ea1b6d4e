"""Preprocessing of a first card: colours, normalisation and crop settled, written as the lab's and a car's pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cases.schema import CameraMeta
from harness.init.families import Fit
from harness.init.guess import Guess, Settled
from harness.init.inputs import NORMALISATIONS, Picture, normalise_step
from harness.init.paint import Paint
from harness.init.trials import Tried, best_crop, ranked

__all__ = ["COLOURS", "settle_pipelines", "steps"]

COLOURS = ("rgb", "bgr")
TABLE = ("a table",)
ALIKE = 0.02  # proportions that differ less are one
LOWER = (1.0, 0.9, 0.8, 0.7, 0.6)  # of the picture's height: a network may have learned where one camera's horizon is
Try = Callable[[Sequence[tuple[str, Any]], Sequence[Mapping[str, Any]]], Sequence[Tried]]
"""Lines drawn under each (colour, normalisation), with these steps in between."""


Painted = Callable[[str, Any, Sequence[Mapping[str, Any]]], Paint]
"""How much of the lines lies on paint under a colour and a normalisation, with these steps in between."""


def settle_pipelines(
    fit: Fit, picture: Picture, camera: CameraMeta, settled: Settled, tried: Try, painted: Painted | None
) -> dict[str, Any]:
    """`preprocess` of the card, every question of it settled.

    Args:
        fit: the decoder.
        picture: the input.
        camera: of the recording.
        settled: takes the questions.
        tried: of colours, where no published network tells them.
        painted: of crops, where one tells the colours; None: lines are not in the picture.
    """
    if fit.published:
        colour, normalisation = _colours(fit, picture, settled, lambda pairs: ())
        paint = None if painted is None else lambda moves: painted(colour, normalisation, moves)
        before = _moves(fit, picture, camera, settled, paint)
    else:
        before = _moves(fit, picture, camera, settled, None)
        colour, normalisation = _colours(fit, picture, settled, lambda pairs: tried(pairs, before))
    evidence = f"the car's camera is taken for NV12 ({_matrix_of(camera)}) with the lab's resize; say what it does"
    deploy = settled.settle(Guess("deploy", "nv12", evidence, others=("lab",), words=("nv12", "lab")))
    pipelines = steps(picture, camera, colour, normalisation, before)
    return pipelines | {"deploy": pipelines["train"]} if deploy == "lab" else pipelines


def steps(
    picture: Picture, camera: CameraMeta, colour: str, normalisation: Any, before: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """`preprocess` of the card: the lab's pipeline, and one as a car has it.

    Args:
        picture: the input.
        camera: of the recording; NV12 has its matrix and range, so that a 4:2:0 recording is only repacked.
        colour: rgb, bgr or gray.
        normalisation: word or table (`harness.init.inputs.normalise_step`).
        before: steps between colours and normalisation.
    """
    moves = [dict(step) for step in before] or [_resize(picture)]
    convert = {"op": f"to_{colour}", "arithmetic": "fixed"}
    last = {"op": "round_u8"} if picture.port.dtype == "uint8" else normalise_step(normalisation, picture.channels)
    car = [last]
    if last["op"] != "round_u8":
        scaled = {"scale": 1 / 255} if last["op"] == "normalise" and "scale" not in last else {}
        car = [{"op": "round_u8"}, {**last, **scaled}]
    return {
        "train": [{**convert, "chroma": "bilinear"}, *moves, last],
        "deploy": [_nv12(camera), {**convert, "chroma": "nearest"}, *moves, *car],
    }


def _nv12(camera: CameraMeta) -> dict[str, Any]:
    """The step that gives NV12 of the recording's own matrix and range."""
    if camera.pixel_format not in ("yuv420p", "nv12"):
        return {"op": "nv12"}
    told = {"matrix": (camera.color_matrix, "bt601"), "range": (camera.color_range, "limited")}
    return {"op": "nv12", **{key: value for key, (value, default) in told.items() if value != default}}


def _matrix_of(camera: CameraMeta) -> str:
    named = _nv12(camera)
    return f"{named.get('matrix', 'bt601')}, {named.get('range', 'limited')}"


def _resize(picture: Picture) -> dict[str, Any]:
    return {"op": "resize", "size": [picture.width, picture.height], "arithmetic": "fixed"}


def _lower_part(share: float, picture: Picture, camera: CameraMeta) -> list[dict[str, Any]]:
    """The steps that show the network so much of the picture, from below."""
    top = round((1 - share) * camera.height)
    return [*([{"op": "crop", "box": [0, top, camera.width, camera.height - top]}] if top else []), _resize(picture)]


def _colours(
    fit: Fit, picture: Picture, settled: Settled, tried: Callable[[Sequence[tuple[str, Any]]], Sequence[Tried]]
) -> tuple[str, Any]:
    """Colour and normalisation: by the graph's first nodes, as published for such outputs, or as lines are drawn."""
    colour, normalisation = _colour_of(fit, picture), _normalisation_of(fit, picture)
    if not fit.published and not normalisation.sure and picture.channels > 1:
        open_ = not settled.answered("colour"), not settled.answered("normalisation")
        pairs = [
            (c, n)
            for n in (NORMALISATIONS if open_[1] and not picture.head.scaled else (normalisation.value,))
            for c in (COLOURS if open_[0] else (colour.value,))
        ]
        if any(open_) and len(pairs) > 1:
            (best_colour, best_normalisation), why = ranked(tried(pairs))
            colour = Guess("colour", best_colour, why, words=COLOURS)
            normalisation = Guess("normalisation", best_normalisation, why, words=tuple(NORMALISATIONS), forms=TABLE)
    return str(settled.settle(colour)), settled.settle(normalisation)


def _colour_of(fit: Fit, picture: Picture) -> Guess:
    if picture.channels == 1:
        return Guess("colour", "gray", "one channel", sure=True, words=("gray",))
    return Guess("colour", fit.published.get("colour", "rgb"), _source(fit), words=COLOURS)


def _normalisation_of(fit: Fit, picture: Picture) -> Guess:
    words = tuple(NORMALISATIONS)
    if picture.port.dtype == "uint8":
        return Guess("normalisation", "raw", "the input is uint8", sure=True, words=words, forms=TABLE)
    if picture.head.scaled:
        said, big = " ".join(picture.head.operators), picture.head.largest > 2
        why = f"the graph begins with {said}, constants up to {picture.head.largest:.3g}: it takes "
        return Guess(
            "normalisation",
            "raw" if big else "unit",
            why + ("0..255" if big else "0..1"),
            big,
            words=words,
            forms=TABLE,
        )
    return Guess("normalisation", fit.published.get("normalisation", "unit"), _source(fit), words=words, forms=TABLE)


def _source(fit: Fit) -> str:
    said = "as the published network of these shapes" if fit.published else "what most networks have"
    return f"{said}; no shape tells it"


def _moves(
    fit: Fit, picture: Picture, camera: CameraMeta, settled: Settled,
    painted: Callable[[Sequence[Mapping[str, Any]]], Paint] | None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Crop and resize: the whole picture, what the published network sees, or what puts its lines on paint."""
    size = [picture.width, picture.height]
    lower = fit.published.get("lower")
    if lower:
        whole = int(picture.height / lower)
        value = [
            {"op": "resize", "size": [picture.width, whole], "arithmetic": "fixed"},
            {"op": "crop", "box": [0, whole - picture.height, *size]},
        ]
        why = f"as published: resized to {picture.width}x{whole}, its lower {picture.height} rows"
    else:
        value, why = [_resize(picture)], f"the whole picture, resized to {picture.width}x{picture.height}"
        stretch = camera.width * picture.height / max(camera.height * picture.width, 1)
        if abs(stretch - 1) > ALIKE:
            why += f", {max(stretch, 1 / stretch):.2f} times as much in one direction; a crop or letterbox is as common"
        if painted is not None and not settled.answered("crop"):
            paints = {share: painted(_lower_part(share, picture, camera)) for share in LOWER}
            share, seen = best_crop(paints)
            if share < 1:
                value, why = _lower_part(share, picture, camera), f"the lower {share:.0%} of the picture, resized"
            why += f"; {seen}"
        why += "; no shape tells it"
    return [dict(step) for step in settled.settle(Guess("crop", value, why, forms=("a list of steps",)))]
