"""Where an engine hangs in the ladder: the engine it descends from, and the factors that separate the two.

Our engines say it in their row of `engines/table.py`. A module of another package says it in LADDER:

    LADDER = {"acme-fp16": ("acme-fp32", ("precision:fp16",)), "acme-fp32": ("ort-fp32", ("runtime:acme",))}

`@DEVICE` and `:WHICH` of a name count: `torch-fp16@cuda` descends from `torch-fp32@cuda`, that from `torch-fp32` by
`runtime:cuda`; `trt-fp32@1` differs from `ort-fp32` by `runtime:tensorrt:1`, and `emulated-fp16:unfolded` from its
parent by `precision:fp16:unfolded`.
"""

from __future__ import annotations

from contextlib import suppress

from engines.errors import EngineError
from engines.registry import declared_ladder, family
from engines.table import TABLE

__all__ = ["CAR", "ancestry", "parent_of"]

CAR = "car"  # whichever recording of the car it is, the factor is the car


def parent_of(name: str) -> tuple[str, tuple[str, ...]] | None:
    """(parent, factors) of an engine; None for the root, and for another package's engine that declares none."""
    head, at, device = name.partition("@")
    base, _, which = head.partition(":")
    declared = _declared(base)
    if declared is None:
        own = tuple(f"runtime:{suffix}" for suffix in (which, device) if suffix)
        return (base, own) if own else None
    parent, factors = declared
    stays = family(parent) == family(base)  # the parent runs on that device too
    suffixes = [s for s in (which, "" if stays else device) if s and factors[-1] != CAR]
    return (parent + at + device if stays else parent), (*factors[:-1], ":".join([factors[-1], *suffixes]))


def ancestry(name: str) -> list[tuple[str, tuple[str, ...]]]:
    """The engine, its parent, that one's parent, ...: each with the factors in which the one before differs from it.

    Engines that declare each other as parents begin an ancestry, as those that declare none.
    """
    chain: list[tuple[str, tuple[str, ...]]] = [(name, ())]
    while above := parent_of(chain[-1][0]):
        met = [engine for engine, _ in chain]
        if above[0] in met:
            return chain[: met.index(above[0]) + 1]
        chain.append(above)
    return chain


def _declared(base: str) -> tuple[str, tuple[str, ...]] | None:
    """What the engine's row, or its package, says."""
    if base in TABLE:
        entry = TABLE[base]
        return (entry.parent, entry.factors) if entry.parent else None
    with suppress(EngineError):  # whoever opens it says what is wrong with it
        return declared_ladder(base).get(base)
    return None
