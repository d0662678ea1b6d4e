"""`mask`: a segmentation output becomes ordered polylines, or closed outlines.

Row by row the mask is cut into runs (mask_runs.py), runs that touch become unbranched pieces, and pieces that lie on
one curve become lines (mask_lines.py). Every step is deterministic, and a pixel more or less moves a line by a fraction
of a pixel.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.errors import DecoderError
from harness.lines.decode.mask_lines import Joining, join, smooth, trimmed, without_shadows
from harness.lines.decode.mask_runs import Piece, find_runs, pieces_of
from harness.lines.decode.protocol import Options, Outputs, read_options, read_output
from harness.lines.table import CLOSED, OPEN, LineTable
from harness.model.card import Card

__all__ = ["MaskDecoder", "MaskOptions", "build", "lines_of_margin", "outlines_of_margin"]

Array = NDArray[Any]
Margin = NDArray[np.float32]
Found = list[tuple[Array, float]]


class MaskOptions(Options):
    """Options of `mask`; lengths in pixels and rows of the mask.

    Attributes:
        output: output with [channels, height, width].
        channels: channels that hold lines, in the order of `classes`; None: all but the first, or the only one.
        rule: `argmax`: a pixel is a line's where its channel is above all others (a tie is not); `threshold`: where the
            value is above `level`.
        level: for `threshold`; a probability, or a logit.
        values: whether the output holds `logit`s or `probability`s; for scores.
        classes: class of each channel; None: 0, 1, ...
        threshold: least score of a line; the score is the mean probability along it.
        topology: `open` lines, or `closed` outlines.
        least_rows: rows an open line must span.
        least_area: pixels a closed outline must enclose.
        speck_rows: shorter pieces of a line are ignored.
        widest: wider runs (stop lines, blobs) are ignored, as a share of the mask's width.
        blur: the margin is smoothed by a 3x3 Gaussian of this sigma, so that single pixels count little; 0: not at all,
            for strokes one pixel wide.
        bridge: holes of at most so many pixels in a row are filled.
        gap_rows: largest gap over which dashes are joined.
        gap_gate: how far a dash may lie beside the other's continuation, as a share of the gap's length.
        smooth_rows: a point is the local straight line's value over so many rows to each side; 0: none.
        every: rows between points; the ends are always points. For `closed`: pixels between points.
        near_row: lines whose nearest point lies above (farther than) this row of the mask are dropped; None: none.
        to_frame: 2x3, from mask pixels (u, v, 1) to the frame's x, y; None: scale the mask to the card's image.
    """

    output: str = "mask"
    channels: tuple[int, ...] | None = None
    rule: Literal["argmax", "threshold"] = "argmax"
    level: float = 0.5
    values: Literal["logit", "probability"] = "logit"
    classes: tuple[int, ...] | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    topology: Literal["open", "closed"] = "open"
    least_rows: Annotated[int, Field(ge=2)] = 18
    least_area: Annotated[float, Field(ge=0)] = 30.0
    speck_rows: Annotated[int, Field(ge=1)] = 3
    widest: Annotated[float, Field(gt=0, le=1)] = 0.2
    blur: Annotated[float, Field(ge=0, le=2)] = 0.8
    bridge: Annotated[int, Field(ge=0)] = 2
    gap_rows: Annotated[float, Field(ge=0)] = 80.0
    gap_gate: Annotated[float, Field(ge=0)] = 0.05
    smooth_rows: Annotated[int, Field(ge=0)] = 4
    every: Annotated[int, Field(ge=1)] = 2
    near_row: float | None = None
    to_frame: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None


class MaskDecoder:
    """See `MaskOptions`; lines have no slots and come left to right by their nearest point."""

    slots = 0

    def __init__(self, options: MaskOptions, card: Card) -> None:
        self._options = options
        self._size = None if card.image is None else (card.image.width, card.image.height)

    def decode(self, outputs: Outputs) -> LineTable:
        """See `harness.lines.decode.Decoder`."""
        o = self._options
        values = read_output(outputs, o.output, (None, None, None), "[channels, height, width]")
        channels = self._channels(values.shape[1])
        matrix = self._matrix(values.shape[3], values.shape[2])
        find = lines_of_margin if o.topology == "open" else outlines_of_margin
        frame, points, category, score = [], [], [], []
        for number, picture in enumerate(values):
            for channel, name in channels:
                for line, margin in find(self._margin(picture, channel), o):
                    frame.append(number)
                    points.append(line @ matrix[:, :2].T + matrix[:, 2])
                    category.append(name)
                    score.append(margin)
        topology = OPEN if o.topology == "open" else CLOSED
        table = LineTable.from_points(frame, points, category=category, score=score, topology=topology)
        return table.take(table.score >= o.threshold)

    def _channels(self, count: int) -> list[tuple[int, int]]:
        """(channel, class) of every channel that holds lines."""
        o = self._options
        channels = o.channels if o.channels is not None else tuple(range(min(1, count - 1), count))
        classes = o.classes if o.classes is not None else tuple(range(len(channels)))
        if len(classes) != len(channels) or max(channels) >= count or min(channels) < 0:
            raise DecoderError(
                f"channels {list(channels)} with classes {list(classes)} of an output with {count} channels",
                where="[decoder] channels",
                remedy=f"use channels 0..{count - 1}, and one class for each",
            )
        if o.rule == "argmax" and count == 1:
            raise DecoderError(
                f"output {o.output!r} has one channel, which is always the largest",
                where="[decoder] rule",
                remedy='set rule = "threshold" and level',
            )
        return list(zip(channels, classes, strict=True))

    def _margin(self, picture: Array, channel: int) -> Margin:
        """How far each pixel is above the decision, [height, width]; what is not finite is not above."""
        own = picture[channel].astype(np.float32, copy=False)
        if self._options.rule == "threshold":
            margin = own - np.float32(self._options.level)
        else:
            others = [picture[c] for c in range(len(picture)) if c != channel]
            highest = others[0] if len(others) == 1 else np.max(others, axis=0)
            margin = own - highest.astype(np.float32, copy=False)
        return margin if np.isfinite(margin).all() else np.where(np.isfinite(margin), margin, -1)

    def _matrix(self, width: int, height: int) -> Array:
        """From mask pixels to the card's frame, [2, 3]; pixel centres are whole numbers on both sides."""
        if self._options.to_frame is not None:
            return np.array(self._options.to_frame)
        if self._size is None:
            return np.array([[1.0, 0, 0], [0, 1.0, 0]])
        across, down = self._size[0] / width, self._size[1] / height
        return np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2]])


def lines_of_margin(margin: Margin, options: MaskOptions) -> Found:
    """Open lines of one mask.

    Args:
        margin: [height, width], positive on the mask.
        options: of the decoder.

    Returns:
        (points [n, 2] near to far in mask pixels, score) of each line, left to right by the nearest point.
    """
    import cv2

    if options.blur:
        margin = np.asarray(cv2.GaussianBlur(margin, (3, 3), options.blur), np.float32)
    runs = find_runs(margin, bridge=options.bridge, widest=options.widest * margin.shape[1])
    pieces = pieces_of(runs, least_rows=options.speck_rows)
    pieces = [stretch for piece in pieces for stretch in trimmed(piece, options.speck_rows)]
    rule = Joining(gap_rows=options.gap_rows, per_px=options.gap_gate)
    lines = [line for line in join(pieces, rule) if _long_enough(line, options)]
    found = [
        (_sampled(smooth(line, options.smooth_rows), options.every), _score(margin, line, options))
        for line in without_shadows(lines)
    ]
    return sorted(found, key=lambda item: (item[0][0, 0], item[0][0, 1]))


def _long_enough(line: Piece, options: MaskOptions) -> bool:
    """Whether a line spans enough rows, is there on enough of them, and begins near enough."""
    near_enough = options.near_row is None or line.v[0] >= options.near_row
    span = line.v[0] - line.v[-1] + 1
    return bool(near_enough and span >= options.least_rows and 3 * len(line.v) >= 2 * options.least_rows)


def _sampled(line: Piece, every: int) -> Array:
    """Points on rows that are multiples of `every`, the same ones in every frame, and both ends: [n, 2]."""
    kept = line.v % every == 0
    kept[[0, -1]] = True
    return np.stack([line.u[kept], line.v[kept]], axis=1)


def _score(margin: Margin, line: Piece, options: MaskOptions) -> float:
    """Mean probability at the centres of the line's runs."""
    u = np.clip(np.rint(line.u).astype(np.int64), 0, margin.shape[1] - 1)
    return _mean_probability(margin[line.v.astype(np.int64), u], options)


def _mean_probability(margin: Array, options: MaskOptions) -> float:
    level = options.level if options.rule == "threshold" else 0.0
    if options.values == "logit":
        return float((1 / (1 + np.exp(-np.clip(margin + level, -80, 80)))).mean())
    shares = margin + level if options.rule == "threshold" else (1 + margin) / 2
    return float(np.clip(shares, 0, 1).mean())


def outlines_of_margin(margin: Margin, options: MaskOptions) -> Found:
    """Closed outlines of one mask: outer borders, clockwise on the screen from OpenCV's first point.

    Returns:
        (points [n, 2] in mask pixels, score) of each outline, by the top, then the left of its box.
    """
    import cv2

    mask = (margin > 0).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    found = []
    for outline in outlines:
        points = outline.reshape(-1, 2)
        if len(points) < 3 or cv2.contourArea(outline) < options.least_area:
            continue
        inside = np.zeros_like(mask)
        cv2.drawContours(inside, [outline], 0, 1, cv2.FILLED)
        score = _mean_probability(margin[(inside & mask) > 0], options)
        found.append((points[:: options.every].astype(np.float64), score))
    return sorted(found, key=lambda item: (item[0][:, 1].min(), item[0][:, 0].min()))


def build(card: Card) -> MaskDecoder:
    """The decoder of a card.

    Raises:
        DecoderError: the card's lines are metres and nothing says how pixels become metres.
    """
    options = read_options(card, MaskOptions)
    if card.frame == "vehicle" and options.to_frame is None:
        raise DecoderError(
            "a mask has pixels, the card's frame is 'vehicle'",
            where=f"{card.path} [decoder]",
            remedy='give to_frame, or set frame = "image" and length_unit = "px"',
        )
    return MaskDecoder(options, card)
