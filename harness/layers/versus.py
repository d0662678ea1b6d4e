"""Two engines made ready to be held against each other: the fp32 graph, and where the other one's tensors come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.emulated.pair import named_graph
from engines.export import exported, inlined
from engines.layers.dumped import Dumped
from engines.layers.hooked import Hooked, calls_of
from engines.layers.marked import Marked
from engines.layers.network import Network
from engines.layers.numbers import LIMITS
from engines.layers.others import Rewritten
from engines.layers.shown import Shown
from engines.layers.walk import Other
from engines.registry import base_name, check_name, family, rewritten_pair
from harness.errors import UsageError
from harness.feed.inputs import context_of, spread_frames
from harness.model.card import Card
from harness.replay.open import calibrated

if TYPE_CHECKING:
    from cases.case import Case
    from engines.protocol import ModelSource
    from harness.feed.inputs import Moment

__all__ = ["REFERENCES", "Versus", "versus"]

HOW: Mapping[type, str] = {
    Marked: "tensors marked as outputs (kernels may be fused otherwise)",
    Hooked: "what PyTorch's modules give",
    Dumped: "the dump's tensors",
}
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
        take: makes a frame the one that is looked at; False where the other engine does not have it.
        told: what the other engine says of itself once it has run.
        close: frees what is open.
    """

    network: Network
    other: Other
    shown: frozenset[str] | None
    how: str
    precision: str
    file: Path
    kernels: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    take: Callable[[Moment], bool] = lambda moment: True
    told: Callable[[], Mapping[str, Any]] = dict
    close: Callable[[], None] = lambda: None


def versus(card: Card, cases: Sequence[Case], a: str, b: str, cache: Path) -> Versus:
    """Open both engines.

    Raises:
        UsageError: `a` computes no fp32 graph that nodes could be switched in, or `b` is a program of the card.
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
        return _shown(card, cases, b, source)
    network = Network(pair.exact)
    how = "each node by itself, on exact inputs"
    return Versus(
        network, Rewritten(pair, source.plugins), None, how, pair.precision, pair.file, pair.kernels, pair.facts
    )


def _shown(card: Card, cases: Sequence[Case], b: str, source: ModelSource) -> Versus:
    """An engine that only shows tensors."""
    if family(b) == "command":
        raise UsageError(
            f"{b} runs a model of its own",
            where="--b",
            remedy="dump its tensors by the names of the ONNX file, and name the dump: --b recorded:NAME",
        )
    file = exported(source, "ort")
    network = Network(named_graph(inlined(file, source.cache)))
    precision = next((word for word in LIMITS if word in base_name(b).split("-")), "fp32")
    shows, take = _opened(card, cases, b, source, network)
    how = f"their own errors told of {HOW[type(shows)]}"
    facts = {"tensors_shown": len(shows.names)}
    other, told = Shown(network, shows), lambda: shows.provenance
    return Versus(network, other, shows.names, how, precision, file, {}, facts, take, told, shows.close)


def _opened(
    card: Card, cases: Sequence[Case], b: str, source: ModelSource, network: Network
) -> tuple[Marked | Hooked | Dumped, Callable[[Moment], bool]]:
    if family(b) == "recorded":
        dumped = Dumped(b, source, network, [context_of(case) for case in cases])
        return dumped, lambda moment: dumped.take(context_of(moment.case), moment.timestamp_ns)
    if family(b) == "torch":
        feed = next(spread_frames(card, cases, 1))
        return Hooked(b, source, calls_of(source, network, feed)), lambda moment: True
    return Marked(b, source, network), lambda moment: True
