"""Decoders: from the stacked outputs of a chunk of frames to lines.

`build_decoder(card)` finds the card's decoder: built in, of another package (entry-point group `trueline.decoders`), or
by dotted path. docs/cards.md lists the options of each.
"""

from __future__ import annotations

from harness.lines.decode.protocol import Decoder
from harness.lines.decode.registry import build_decoder

__all__ = ["Decoder", "build_decoder"]
