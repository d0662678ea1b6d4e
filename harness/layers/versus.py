"""Two engines made ready to be held against each other: the fp32 graph, and where the other one's tensors come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.layers.network import Network
from engines.layers.others import Rewritten
from engines.layers.walk import Other
from engines.registry import base_name, check_name, rewritten_pair
from harness.errors import UsageError
from harness.model.card import Card
from harness.replay.open import calibrated

if TYPE_CHECKING:
    from cases.case import Case

__all__ = ["REFERENCES", "Versus", "versus"]

REFERENCES = ("ort-fp32", "ort-fp32-none", "ort-fp32-basic", "ort-fp32-extended")


@dataclass(frozen=True)
class Versus:
    """What a look at a network needs.

    Attributes:
        network: the fp32 graph that is walked.
        other: the engine that is held against it.
        shown: tensors that both show; None for all.
        how: how the nodes of the other engine were had.
        precision: its format.
        file: that the graph was made from.
        kernels: node -> kernel of the compiled plan.
        facts: what was done, for provenance.
    """

    network: Network
    other: Other
    shown: frozenset[str] | None
    how: str
    precision: str
    file: Path
    kernels: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def versus(card: Card, cases: Sequence[Case], a: str, b: str, cache: Path) -> Versus:
    """Open both engines.

    Raises:
        UsageError: `a` computes no fp32 graph that nodes could be switched in.
        EngineError: one of them cannot be opened.
    """
    for name in (a, b):
        check_name(name)
    if base_name(a) not in REFERENCES:
        raise UsageError(
            f"nodes are not switched in {a}",
            where="--a",
            remedy=f"give one of {', '.join(REFERENCES)}; their nodes run by themselves, unoptimised",
        )
    source = calibrated(b, card.source(cache), card, cases)
    pair = rewritten_pair(b, source)
    if pair is None:
        raise UsageError(f"{b} shows no tensors of its nodes", where="--b", remedy="give an emulated-* engine")
    network = Network(pair.exact)
    how = "each node by itself, on exact inputs"
    return Versus(
        network, Rewritten(pair, source.plugins), None, how, pair.precision, pair.file, pair.kernels, pair.facts
    )
