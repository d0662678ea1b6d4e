"""A card that is no file yet, run on a few frames; and which preprocessing draws more of the lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import engines
from cases.case import Case
from harness.feed.inputs import spread_frames
from harness.init.picture import first_lines
from harness.model.card import Card

__all__ = ["Tried", "draft_card", "outputs_on", "ranked", "tried"]

CLOSE = 0.9  # one that draws this share of the best draws as much: the earlier one is guessed


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
