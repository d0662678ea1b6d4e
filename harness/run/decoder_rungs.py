"""Rungs with a decoder of their own: the car's post-processing beside the lab's.

A rung whose card gives it a decoder is read twice: with the card's decoder, as the rung `NAME+lab-decoder`, which takes
its place in the ladder, and with its own, as NAME, which hangs under the other by the factor `decoder` alone, on the
very same tensors. A recording of lines has no tensors to read again: it differs from its parent by `car:decoder`, the
car and its decoder in one, unless the card names the rung whose tensors the lines were made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from engines.ladder import CAR
from harness.errors import UsageError
from harness.run.rungs import LAB_DECODER, Rung

__all__ = ["DECODER", "Holds", "with_decoders"]

DECODER = "decoder"  # the factor
Holds = Literal["tensors", "lines", "both"]


def with_decoders(
    rungs: Sequence[Rung], own: Mapping[str, Holds], tensors_of: Mapping[str, str] | None = None
) -> tuple[Rung, ...]:
    """The ladder with a rung for every decoder; every parent still comes before its children.

    Args:
        rungs: the root first, every parent before its children.
        own: names of rungs that have a decoder of their own, and what their engine gives: tensors that a second decoder
            can read, or (recordings only, from which no rung descends) lines that a device has decoded, or both.
        tensors_of: rung of lines -> the rung of tensors that these were made of.

    Raises:
        UsageError: the reference has one: its decoder is the card's.
    """
    if rungs[0].name in own:
        raise UsageError(
            f"the reference {rungs[0].name} has a decoder of its own",
            where="[rungs] or [engines] of the model card",
            remedy="make it the card's [decoder], and give the other rungs theirs",
        )
    names = {rung.name: _read_by_lab(rung.name, own) for rung in rungs}
    found, last = [], []
    for rung in rungs:
        at = replace(rung, parent=names.get(rung.parent, rung.parent) if rung.parent else None)
        above = (tensors_of or {}).get(rung.name, "")
        if rung.name not in own:
            found.append(at)
        elif own[rung.name] != "lines":
            found.append(replace(at, decoder="lab"))
            found.append(replace(at, parent=names[rung.name], factors=(DECODER,), decoder="own"))
        elif above in names and own.get(above) != "lines":
            last.append(replace(at, parent=names[above], factors=(DECODER,), decoder="own"))
        else:
            found.append(replace(at, factors=_with_decoder(at.factors), decoder="own"))
    return (*found, *last)


def _with_decoder(factors: Sequence[str]) -> tuple[str, ...]:
    """Factors that cannot be told from the decoder's: the car's own is one with it."""
    if CAR not in factors:
        return (*factors, DECODER)
    return tuple(f"{CAR}:{DECODER}" if factor == CAR else factor for factor in factors)


def _read_by_lab(name: str, own: Mapping[str, Holds]) -> str:
    """The rung of an engine that the card's decoder reads."""
    return f"{name}{LAB_DECODER}" if own.get(name, "lines") != "lines" else name
