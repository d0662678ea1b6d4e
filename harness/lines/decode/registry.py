"""Which decoders there are: a table of names, other packages' entry points, and dotted paths."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from harness.errors import DecoderError
from harness.feed.preprocess.dotted import is_dotted, load_dotted
from harness.lines.decode.protocol import Decoder
from harness.model.card import Card

__all__ = ["ENTRY_POINTS", "TABLE", "build_decoder"]

ENTRY_POINTS = "trueline.decoders"

# name -> module with `build(card) -> Decoder`
TABLE: dict[str, str] = {
    "polyline": "harness.lines.decode.polyline",
    "polynomial": "harness.lines.decode.polynomial",
    "row-anchor": "harness.lines.decode.row_anchor",
    "mask": "harness.lines.decode.mask",
    "openpilot": "harness.lines.decode.openpilot",
    "recorded-lines": "harness.lines.decode.recorded",
}


def build_decoder(card: Card) -> Decoder:
    """The decoder of a card: built in, of another package, or the result of `function(card)` at a dotted path.

    Raises:
        DecoderError: no such decoder, wrong options, or something that is no decoder.
    """
    name, where = card.decoder.name, f"{card.path} [decoder]"
    decoder = _factory(name, card, where)(card)
    if not isinstance(decoder, Decoder):
        raise DecoderError(
            f"{name!r} gave a {type(decoder).__name__} without decode(outputs) or slots",
            where=where,
            remedy="return an object as harness.lines.decode.Decoder describes it",
        )
    return decoder


def _factory(name: str, card: Card, where: str) -> Callable[[Card], Any]:
    if name in TABLE:
        build: Callable[[Card], Any] = importlib.import_module(TABLE[name]).build
        return build
    if is_dotted(name):
        return load_dotted(name, card.root, error=DecoderError, where=where)
    others = _third_parties()
    if name not in others:
        raise DecoderError(
            f"no decoder {name!r}",
            where=where,
            remedy=f"use one of {', '.join([*TABLE, *sorted(others)])}, or a dotted path package.module:function",
        )
    try:
        loaded: Callable[[Card], Any] = others[name].load()
    except Exception as error:
        raise DecoderError(
            f"decoder {name!r} of {others[name].value} does not import: {type(error).__name__}: {error}",
            where=f"entry point {ENTRY_POINTS}",
            remedy="fix or uninstall the package that provides it",
        ) from error
    return loaded


def _third_parties() -> dict[str, Any]:
    """Entry points of other packages, by decoder name."""
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
