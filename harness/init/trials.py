"""A card that is no file yet, run on a few frames; which preprocessing draws more of the lines, and more on paint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import engines
from cases.case import Case
from harness.feed.inputs import spread_frames
from harness.init.paint import LEAST, Paint, paint_of
from harness.init.picture import first_lines
from harness.model.card import Card

__all__ = ["Tried", "best_crop", "draft_card", "outputs_on", "painted", "ranked", "tried"]

CLOSE = 0.9  # one that draws this share of the best draws as much: the earlier one is guessed
MUCH_PAINT = 2  # times as much on paint as with the whole picture


@dataclass(frozen=True, slots=True)
class Tried:
    """What one way of preprocessing draws.

    Attributes:
        colour, normalisation: the way.
        drawn: length of the lines along the picture's rows (px) or along x (m), over the trial frames.
    """

    colour: str
    normalisation: Any
    drawn: float


def ranked(ways: Sequence[Tried]) -> tuple[tuple[str, Any], str]:
    """((colour, normalisation), evidence) of the way that draws most; of those that draw as much the first.

    A network fed values or colours that it was not trained with mostly draws less. It need not be so, so this is a
    guess for a person to confirm, never more.
    """
    most = max(way.drawn for way in ways)
    best = next(way for way in ways if way.drawn >= CLOSE * most)
    told = ", ".join(
        f"{way.colour} {way.normalisation} {way.drawn:.0f}" for way in sorted(ways, key=lambda way: -way.drawn)[:4]
    )
    why = f"length of line drawn on the trial frames: {told}" if most else "no way tried draws a line"
    return (best.colour, best.normalisation), why


def tried(
    card_of: Callable[[str, Any], Card],
    ways: Sequence[tuple[str, Any]],
    cases: Sequence[Case],
    frames: int,
    cache: Path,
) -> list[Tried]:
    """Lines drawn under every way of preprocessing.

    Args:
        card_of: the card of a colour and a normalisation.
        ways: (colour, normalisation).
        cases: recordings.
        frames: how many of them.
        cache: of prepared artefacts.
    """
    found = []
    for colour, normalisation in ways:
        card = card_of(colour, normalisation)
        lines = first_lines(card, cases, outputs_on(card, cases, frames, cache))
        along = 1 if card.frame == "image" else 0
        drawn = sum(float(np.ptp(table.points(i)[:, along])) for table in lines.values() for i in range(len(table)))
        found.append(Tried(colour, normalisation, drawn))
    return found


def painted(card: Card, cases: Sequence[Case], frames: int, cache: Path) -> Paint:
    """How much of the lines that a card draws lies on paint; arguments as for `tried`."""
    return paint_of(card, cases, first_lines(card, cases, outputs_on(card, cases, frames, cache)))


def best_crop(paints: Mapping[float, Paint]) -> tuple[float, str]:
    """(share, evidence) of the lower part of the picture under which lines lie on paint.

    The whole picture, unless less of it puts twice as much of the lines on paint; then the largest part that puts there
    about as much as the best. A guess for a person to confirm, as in `ranked`.

    Args:
        paints: share of the picture's height -> what its lines do; 1 first, falling.
    """
    told = ", ".join(f"{'whole' if share == 1 else f'lower {share:.0%}'} {paint}" for share, paint in paints.items())
    why = f"share of the lines on bright stripes (of the same lines moved aside): {told}"
    most = max(paint.more for paint in paints.values())
    if most < max(LEAST, MUCH_PAINT * paints[1.0].more):
        return 1.0, why
    return next(share for share, paint in paints.items() if paint.more >= CLOSE * most), why


def outputs_on(card: Card, cases: Sequence[Case], frames: int, cache: Path) -> list[dict[str, Any]]:
    """Outputs of ONNX Runtime on frames spread over the cases, deploy pipeline; a state is zero in each."""
    engine = engines.open("ort-fp32", card.source(cache))
    try:
        return [dict(engine.infer(tensors)) for tensors in spread_frames(card, cases, frames)]
    finally:
        engine.close()


def draft_card(card: Mapping[str, Any], out: Path) -> Card:
    """A card that is no file yet, as if it lay in the folder."""
    root = out.resolve()
    raw = {key: value for key, value in card.items() if key != "unconfirmed"}
    for part, key in (("torch", "weights"), ("onnx", "file")):
        if key in raw.get(part, {}):
            raw[part] = {**raw[part], key: root / raw[part][key]}
    return Card(**raw, path=root / "model.toml")
