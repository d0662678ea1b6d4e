"""Which decoders there are: a table of names, other packages' entry points, and dotted paths."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from engines.foreign import outside
from harness.errors import DecoderError
from harness.feed.preprocess.dotted import is_dotted, load_dotted
from harness.lines.decode.guest import hosted
from harness.lines.decode.on_road import OnRoad
from harness.lines.decode.protocol import Decoder
from harness.model.card import Card

__all__ = ["ENTRY_POINTS", "TABLE", "build_decoder"]

ENTRY_POINTS = "trueline.decoders"

# name -> module with `build(card) -> Decoder`
TABLE: dict[str, str] = {
    "polyline": "harness.lines.decode.polyline",
    "polynomial": "harness.lines.decode.polynomial",
    "row-anchor": "harness.lines.decode.row_anchor",
    "row-column": "harness.lines.decode.row_column",
    "row-polynomial": "harness.lines.decode.row_polynomial",
    "curves": "harness.lines.decode.curves",
    "bezier": "harness.lines.decode.bezier",
    "proposals": "harness.lines.decode.proposals",
    "mask": "harness.lines.decode.mask",
    "openpilot": "harness.lines.decode.openpilot",
    "recorded-lines": "harness.lines.decode.recorded",
}


def build_decoder(card: Card) -> Decoder:
    """The decoder of a card: built in, of another package, or the result of `function(card)` at a dotted path.

    Where the card has a calibration of its image and metres, lines are drawn in pixels and laid on the road.

    Raises:
        DecoderError: no such decoder, wrong options, or something that is no decoder.
    """
    if card.on_road and card.image is not None:
        in_pixels = card.model_copy(update={"frame": "image", "length_unit": "px"})
        return OnRoad(build_decoder(in_pixels), card.image)
    name, where = card.decoder.name, f"{card.path} [decoder]"
    if name in TABLE:
        made: Decoder = importlib.import_module(TABLE[name]).build(card)
        return made
    factory = _factory(name, card, where)
    return hosted(lambda: factory(card), name, where)


def _factory(name: str, card: Card, where: str) -> Callable[[Card], Any]:
    """What makes a decoder that is not ours."""
    if is_dotted(name):
        return load_dotted(name, card.root, error=DecoderError, where=where)
    others = _third_parties()
    if name not in others:
        raise DecoderError(
            f"no decoder {name!r}",
            where=where,
            remedy=f"use one of {', '.join([*TABLE, *sorted(others)])}, or a dotted path package.module:function",
        )
    with outside(
        lambda cause: DecoderError(
            f"decoder {name!r} of {others[name].value} does not import: {cause}",
            where=f"entry point {ENTRY_POINTS}",
            remedy="fix or uninstall the package that provides it",
        )
    ):
        loaded: Callable[[Card], Any] = others[name].load()
    return loaded


def _third_parties() -> dict[str, Any]:
    """Entry points of other packages, by decoder name."""
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
