"""Which decoder reads the outputs: each family looks at shapes first, at values where shapes leave a choice.

Names of tensors decide nothing alone; they break ties. What a published network is trained with (colour, normalisation,
anchors) is a guess that goes with its shape: anybody may have trained it otherwise, so it stays unconfirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import numpy as np

from harness.init.inputs import Picture
from harness.init.outputs import Seen

__all__ = ["FRAMES", "Fit", "fits_of", "unread_vector"]

LANES = range(2, 9)  # slots that lane networks have
CULANE_ROWS = (121, 131, 141, 150, 160, 170, 180, 189, 199, 209, 219, 228, 238, 248, 258, 267, 277, 287)
TUSIMPLE_ROWS = tuple(range(64, 285, 4))  # as those of CULane: v at a height of 288, UFLD
PAPER = {
    "row-anchor": "UFLD (2004.11757)",
    "row-column": "UFLD v2 (2206.07389)",
    "curves": "LSTR (2011.04233)",
    "bezier": "BézierLaneNet (2203.02431)",
    "row-polynomial": "PolyLaneNet (2004.10924)",
    "laneatt": "LaneATT (2010.12035)",
    "clrnet": "CLRNet (2203.10350)",
}
FRAMES = {"openpilot": "vehicle", "polynomial": "vehicle"}
"""Decoders whose lines are in metres; those of the others are mostly in pixels."""


@dataclass(frozen=True)
class Fit:
    """A decoder that can read the outputs.

    Attributes:
        decoder: its name.
        options: of the card's [decoder].
        distinct: how telling the shapes are: 3 nobody else has them, 2 few, 1 many.
        evidence: why it fits.
        frame: `image` or `vehicle`.
        guessed: option -> what it rests on, of options that shapes do not tell.
        published: colour, normalisation -> what the published network of this shape is trained with.
    """

    decoder: str
    options: dict[str, Any]
    distinct: int
    evidence: str
    frame: str = "image"
    guessed: dict[str, str] = field(default_factory=dict)
    published: dict[str, Any] = field(default_factory=dict)


def fits_of(outputs: Sequence[Seen], picture: Picture) -> list[Fit]:
    """Decoders that fit, the most telling first; none where no family does."""
    found = [fit for family in FAMILIES for fit in family(outputs, picture)]
    return sorted(found, key=lambda fit: -fit.distinct)


def unread_vector(outputs: Sequence[Seen]) -> str:
    """How to say what a long vector holds, as openpilot's networks give one; empty where there is none."""
    found = next((o for o in outputs if len(o.shape) == 1 and o.shape[0] > 528), None)
    if found is None:
        return ""
    return (
        f"{found.name} holds many things in one vector, and no shape says where the lines stand; of openpilot's "
        f'networks output_slices tells it: decoder = {{ name = "openpilot", lane_lines = "{found.name}[FROM:TO]", '
        f'probabilities = "{found.name}[FROM:TO]" }}'
    )


def _row_column(outputs: Sequence[Seen], picture: Picture) -> Iterator[Fit]:
    """[cells, anchors, lanes] with [2, anchors, lanes], twice."""
    cubes = [o for o in outputs if len(o.shape) == 3 and o.shape[2] in LANES]
    present = [o for o in cubes if o.shape[0] == 2]
    pairs = [
        (c, p) for p in present for c in cubes if c.shape[0] >= 10 and c.shape[1:] == p.shape[1:] and c is not p
    ]  # fmt: skip
    if len(present) != 2 or len(pairs) != 2:
        return
    rows = [pair for pair in pairs if pair[0].shape[1] in (56, 72)]
    named = [pair for pair in pairs if "row" in pair[0].name.lower() and "col" not in pair[0].name.lower()]
    (row,) = named if len(named) == 1 else rows if len(rows) == 1 else (None,)
    if row is None:
        return
    column = next(pair for pair in pairs if pair is not row)
    count, size = row[0].shape[1], (picture.width, picture.height)
    culane = count == 72
    shares = np.linspace(0.42, 1, count) if culane else np.linspace(160, 710, count) / 720
    whole = int(size[1] / (0.6 if culane else 0.8))  # as its loader resizes; the network sees the lower part
    above = whole - size[1]
    options = {
        "row_cells": row[0].name, "row_present": row[1].name,
        "column_cells": column[0].name, "column_present": column[1].name,
        "rows": [round(float(v), 2) for v in shares * whole - above],
        "columns": [round(float(u), 2) for u in np.linspace(0, size[0], column[0].shape[1])],
        "down": [float(-above), float(size[1])],
    }  # fmt: skip
    data = "CULane" if culane else "TuSimple"
    crop = f"the network sees the lower {0.6 if culane else 0.8:.0%} of the picture"
    yield Fit(
        "row-column", options, 3,
        f"{row[0].name} {list(row[0].shape)}, {column[0].name} {list(column[0].shape)} with [2, anchors, lanes] each:"
        f" {PAPER['row-column']}",
        guessed={"rows": f"{count} anchors: those of {data}, and {crop}"},
        published={"colour": "rgb", "normalisation": "imagenet", "lower": 0.6 if culane else 0.8},
    )  # fmt: skip


def _curves(outputs: Sequence[Seen], picture: Picture) -> Iterator[Fit]:
    """[queries, 8] with [queries, 2 or 3]."""
    for curves in outputs:
        for logits in outputs:
            if len(curves.shape) == len(logits.shape) == 2 and curves.shape[1] == 8 and logits.shape[1] in (2, 3):
                if curves.shape[0] != logits.shape[0] or curves.shape[0] > 100:
                    continue
                yield Fit(
                    "curves", {"logits": logits.name, "curves": curves.name}, 3,
                    f"{curves.name} {list(curves.shape)} with classes {logits.name} {list(logits.shape)}:"
                    f" {PAPER['curves']}",
                    guessed={"lane_class": "class 1 is the lane, as published"},
                    published={
                        "colour": "bgr",
                        "normalisation": {
                            "mean": [0.40789655, 0.44719303, 0.47026116], "std": [0.2886383, 0.27408165, 0.27809834],
                        },
                    },
                )  # fmt: skip


def _bezier(outputs: Sequence[Seen], picture: Picture) -> Iterator[Fit]:
    """[queries, 4, 2] control points in shares of the picture, with [queries] scores."""
    for seen in outputs:
        scores = _scores(outputs, seen.shape[0]) if len(seen.shape) == 3 and seen.shape[1:] == (4, 2) else None
        if scores is None or not seen.finite or _share_within(seen.values) < 0.6:
            continue
        kind = "probability" if scores.shares else "logit"
        yield Fit(
            "bezier", {"curves": seen.name, "scores": scores.name, "score": kind}, 3 if seen.shape[0] >= 20 else 2,
            f"{seen.name} {list(seen.shape)} are control points in shares of the picture, {scores.name} their scores:"
            f" {PAPER['bezier']}",
            guessed={"window": "of nine queries side by side the best, as published"},
            published={"colour": "rgb", "normalisation": "imagenet"},
        )  # fmt: skip


def _row_polynomial(outputs: Sequence[Seen], picture: Picture) -> Iterator[Fit]:
    """[lanes x 7], or [lanes, 7]: score, top, bottom, four coefficients."""
    for seen in outputs:
        flat = len(seen.shape) == 1 and seen.shape[0] % 7 == 0 and seen.shape[0] // 7 in LANES
        if not (flat or (len(seen.shape) == 2 and seen.shape[1] == 7 and seen.shape[0] in LANES)):
            continue
        if not seen.finite:
            continue
        lanes = seen.values.reshape(-1, 7)
        inside = _share_within(lanes[:, 1:3])
        if inside < 0.6 or float((lanes[:, 2] > lanes[:, 1]).mean()) < 0.9 or np.allclose(lanes.sum(axis=1), 1):
            continue  # no rows, none above the other, or the shares of seven classes
        yield Fit(
            "row-polynomial", {"output": seen.name}, 3 if len(outputs) == 1 else 1,
            f"{seen.name} {list(seen.shape)}: seven numbers a lane, of {inside:.0%} the second and third are rows in"
            f" shares of the picture: {PAPER['row-polynomial']}",
            guessed={"shared_top": "every lane by its own top row; some are trained to take the first one's"},
            published={"colour": "bgr", "normalisation": "imagenet"},
        )  # fmt: skip


def _share_within(values: Any) -> float:
    """Share of the numbers that may be shares of the picture, half of it around included."""
    return float(((values > -0.5) & (values < 1.5)).mean())


def _proposals(outputs: Sequence[Seen], picture: Picture) -> Iterator[Fit]:
    """[many, 5 or 6 + rows]."""
    for seen in outputs:
        if len(seen.shape) != 2 or seen.shape[0] < 50 or not 20 <= seen.shape[1] <= 200:
            continue
        columns = seen.shape[1]
        form = {77: "laneatt", 78: "clrnet"}.get(columns)
        why = f"{columns} columns: 72 rows behind {'5' if form == 'laneatt' else '6'}"
        if form is None:
            if not _starts_in_picture(seen):
                continue
            form = "clrnet" if float(np.median(np.abs(seen.values[..., 6:]))) < 4 else "laneatt"
            why = "its u are " + ("shares of the width" if form == "clrnet" else "pixels")
        yield Fit(
            "proposals", {"output": seen.name, "form": form}, 3 if columns in (77, 78) else 1,
            f"{seen.name} {list(seen.shape)}, {why}: {PAPER[form]}",
            guessed={"form": why} | ({"length": "the unit as published"}),
            published={"colour": "bgr", "normalisation": "unit"},
        )  # fmt: skip


def _starts_in_picture(seen: Seen) -> bool:
    """Whether the third column is mostly a share of the rows: the start of a line, not a class of an object."""
    start = seen.values[..., 2]
    return bool(((start >= -0.25) & (start <= 1.25)).mean() > 0.8)


def _row_anchor(outputs: Sequence[Seen], picture: Picture) -> Iterator[Fit]:
    """[cells + 1, rows, lanes] in any order; the only output that has three axes."""
    cubes = [o for o in outputs if len(o.shape) == 3 and min(o.shape) in LANES]
    if len(cubes) != 1:
        return
    shape = cubes[0].shape
    for order in permutations(range(3)):
        cells, rows, lanes = (shape[axis] for axis in order)
        if lanes not in LANES or rows not in (18, 56) or cells <= rows or cells % 50 != 1:
            continue
        anchors = CULANE_ROWS if rows == 18 else TUSIMPLE_ROWS
        cell = picture.width * 799 / 800 / (cells - 2)
        axes = "".join("crs"[order.index(axis)] for axis in range(3))
        yield Fit(
            "row-anchor",
            {
                "output": cubes[0].name, "axes": axes,
                "rows": [round(v * picture.height / 288, 2) for v in anchors],
                "cells": [round(cell, 3), round(cell * (cells - 1), 3)],
                "least_rows": 3,
            },
            3,
            f"{cubes[0].name} {list(shape)}: {lanes} lanes, {rows} rows, {cells - 1} cells and none:"
            f" {PAPER['row-anchor']}",
            guessed={"rows": f"{rows} rows: the anchors of {'CULane' if rows == 18 else 'TuSimple'}"},
            published={"colour": "rgb", "normalisation": "imagenet"},
        )  # fmt: skip


def _openpilot(outputs: Sequence[Seen], picture: Picture) -> Iterator[Fit]:
    """528 numbers of four lines, with two logits for each."""
    sizes = {o.name: int(np.prod(o.shape)) for o in outputs}
    lines, scores = ([n for n, size in sizes.items() if size in wanted] for wanted in ((528,), (8,)))
    if len(lines) == 1 and len(scores) == 1:
        yield Fit(
            "openpilot", {"lane_lines": lines[0], "probabilities": scores[0]}, 3,
            f"{lines[0]} has 528 numbers (4 lines x 33 points x 2 x 2), {scores[0]} their probabilities: openpilot",
            frame="vehicle",
        )  # fmt: skip


def _mask(outputs: Sequence[Seen], picture: Picture) -> Iterator[Fit]:
    """[channels, height, width] or [height, width] in the picture's proportions."""
    masks = [o for o in outputs if _is_mask(o.shape, picture)]
    line_like = {o.name: share for o in masks if 0 < (share := _share_on(o)) <= 0.12}
    for seen in masks:
        channels = seen.shape[0] if len(seen.shape) == 3 else 1
        values = "probability" if seen.shares else "logit"
        options: dict[str, Any] = {"output": seen.name, "values": values}
        if channels == 1:
            options |= {"rule": "threshold", "level": 0.5 if seen.shares else 0.0, "channels": [0]}
        share = _share_on(seen)
        told = len(masks) == 1 or line_like.keys() == {seen.name}
        guessed = {} if told else {"output": f"{len(masks)} outputs are masks, and no shape says which holds lines"}
        if channels > 2:
            guessed["channels"] = f"{channels - 1} channels behind the background: a line each, or a class each"
        distinct = (2 if told or line_like.keys() >= {seen.name} else 1) if share else 1
        yield Fit(
            "mask", options, distinct,
            f"{seen.name} {list(seen.shape)} is a mask; {share:.1%} of its pixels are set on the trial frames"
            + ("" if len(masks) == 1 else f", of {len(masks)} masks " + ("the thin one" if told else "one")),
            guessed=guessed,
        )  # fmt: skip


def _is_mask(shape: tuple[int, ...], picture: Picture) -> bool:
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] > 32):
        return False
    height, width = shape[-2:]
    alike = abs(height * picture.width - width * picture.height) <= max(picture.width, picture.height)
    return alike and 8 * height >= picture.height and height >= 16


def _share_on(seen: Seen) -> float:
    """Share of the pixels that are no background."""
    values = seen.values
    if values.ndim == 4 and values.shape[1] > 1:
        return float((values.argmax(axis=1) > 0).mean())
    return float((values > (0.5 if seen.shares else 0)).mean())


def _points(outputs: Sequence[Seen], picture: Picture) -> Iterator[Fit]:
    """[slots, points, 2] with [slots] scores, in metres or pixels by their values."""
    for seen in outputs:
        if len(seen.shape) != 3 or seen.shape[2] != 2 or seen.shape[1] < 4 or seen.shape[0] > 100:
            continue
        scores = _scores(outputs, seen.shape[0])
        told = _frame_of(seen, picture)
        if told is None:
            continue
        frame, why, order = told
        options: dict[str, Any] = {"lines": seen.name, "scores": scores.name if scores else "", "order": order}
        if scores is not None and not scores.shares:
            options["score"] = "logit"
        yield Fit(
            "polyline", options, 2 if scores else 1,
            f"{seen.name} {list(seen.shape)} are points{f', {scores.name} their scores' if scores else ''}; {why}",
            frame=frame, guessed={"frame": why},
        )  # fmt: skip


def _frame_of(seen: Seen, picture: Picture) -> tuple[str, str, str] | None:
    """(frame, why, order) by the range of the points; None where it fits neither."""
    if not seen.finite:
        return None
    first, second = seen.values[..., 0], seen.values[..., 1]
    along = np.median(first[..., -1] - first[..., 0])
    reach = float(np.quantile(first, 0.99))
    if 15 <= reach <= 300 and np.quantile(np.abs(second), 0.9) <= 30 and np.quantile(first, 0.01) >= -5:
        why = f"the first coordinate goes to {reach:.0f}, the second stays within {np.abs(second).max():.0f}: metres"
        return "vehicle", why, "near-to-far" if along >= 0 else "far-to-near"
    inside = (first >= -0.1 * picture.width) & (first <= 1.1 * picture.width)
    inside &= (second >= -0.1 * picture.height) & (second <= 1.1 * picture.height)
    if inside.mean() > 0.9 and max(first.max(), second.max()) > 32:
        down = np.median(second[..., -1] - second[..., 0])
        why = f"{inside.mean():.0%} of the points lie in the picture of {picture.width}x{picture.height}: pixels"
        return "image", why, "near-to-far" if down <= 0 else "far-to-near"
    return None


def _scores(outputs: Sequence[Seen], slots: int) -> Seen | None:
    """The one output that has a number for each slot."""
    found = [o for o in outputs if o.shape in ((slots,), (slots, 1), (1, slots))]
    return found[0] if len(found) == 1 else None


def _coefficients(outputs: Sequence[Seen], picture: Picture) -> Iterator[Fit]:
    """[slots, 3 to 5] with [slots] scores."""
    for seen in outputs:
        if len(seen.shape) != 2 or seen.shape[1] not in (3, 4, 5) or not 1 <= seen.shape[0] <= 32:
            continue
        scores = _scores(outputs, seen.shape[0])
        if scores is None:
            continue
        options = {"coefficients": seen.name, "scores": scores.name}
        if not scores.shares:
            options["score"] = "logit"
        sizes = np.median(np.abs(seen.values), axis=tuple(range(seen.values.ndim - 1)))
        rising = sizes[0] >= sizes[-1]
        yield Fit(
            "polynomial", options | {"powers": "rising" if rising else "falling"}, 1,
            f"{seen.name} {list(seen.shape)} may be coefficients, {scores.name} scores",
            frame="vehicle",
            guessed={"powers": "the larger coefficients are taken for the constants", "frame": "taken for metres"},
        )  # fmt: skip


FAMILIES: tuple[Callable[[Sequence[Seen], Picture], Iterator[Fit]], ...] = (
    _row_column, _curves, _bezier, _row_polynomial, _proposals, _row_anchor, _openpilot, _mask, _points, _coefficients,
)  # fmt: skip
