"""Rungs: which (preprocessing, engine) pairs a replay runs, and from which rung each one descends.

A rung is written `PREPROCESS/ENGINE`: `train/torch-fp32`, `deploy/ort-fp32`; `train+resize/torch-fp32` is the train
pipeline with the step `resize` of deploy, `deploy-resize/torch-fp32` the deploy pipeline with that of train. Every rung
but the root names its parent and the factors in which it differs from it (docs/DESIGN.md section 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engines.ladder import ancestry
from engines.registry import family
from harness.errors import UsageError
from harness.feed.swaps import PIPELINES, Swap, other_pipeline, single_swaps

__all__ = ["LAB_DECODER", "Rung", "build_tree", "engine_of", "stage_of", "swap_rung"]

LAB_DECODER = "+lab-decoder"  # of a rung's name, where the rung without it has a decoder of its own
STAGES = ("preprocess", "export", "numerics", "engine", "car", "decoder")


@dataclass(frozen=True, slots=True)
class Rung:
    """One (preprocessing, engine) pair and where it hangs in the ladder.

    factors are `preprocess` (all steps at once), `preprocess:STEP` (one step, or several joined by `+` that go
    together), or those that the engine declares
    (engines/ladder.py), or `decoder`. A rung with several factors gets no single-factor blame. `decoder` is whose
    decoder reads the tensors: the card's, the rung's own, or the card's where another rung has its own (`lab`); see
    harness/run/decoder_rungs.py.
    """

    preprocess: str
    engine: str
    parent: str | None = None
    factors: tuple[str, ...] = ()
    decoder: Literal["card", "own", "lab"] = "card"

    @property
    def name(self) -> str:
        """`PREPROCESS/ENGINE`, with `+lab-decoder` where the rung of that name has a decoder of its own."""
        return f"{self.preprocess}/{self.engine}{LAB_DECODER if self.decoder == 'lab' else ''}"


def engine_of(rung: str) -> str:
    """The engine of a rung, from the rung's name."""
    return rung.partition("/")[2].removesuffix(LAB_DECODER)


def stage_of(factor: str) -> str:
    """The stage of the deployment chain a factor belongs to: one of STAGES."""
    kind = factor.partition(":")[0]
    return {
        "preprocess": "preprocess",
        "export": "export",
        "graph-optimisation": "engine",
        "runtime": "engine",
        "precision": "numerics",
        "accumulation": "numerics",
        "car": "car",
        "decoder": "decoder",
    }.get(kind, "engine")


def build_tree(
    reference: str,
    engines: Sequence[str],
    preprocess: Sequence[str],
    steps: Sequence[str] = (),
    swaps: Sequence[Swap] | None = None,
) -> tuple[Rung, ...]:
    """The ladder: the reference first, every parent before its children.

    Args:
        reference: the root, `PREPROCESS/ENGINE`; always part of the ladder.
        engines: engines to run under every pipeline.
        preprocess: pipelines to run, of `train` and `deploy`.
        steps: names of the steps in which deploy differs from train; where it is one, it is the factor between them.
            Steps that cannot be swapped one by one are one name, joined by `+`.
        swaps: rungs that swap some steps, on the reference's engine, where both pipelines run; None: each of several
            steps put into the reference's pipeline, and each taken out of the other one.

    Raises:
        UsageError: the reference is not written PREPROCESS/ENGINE, or is a recording through the lab's pipeline.
    """
    root_preprocess, slash, root_engine = reference.partition("/")
    if not slash:
        raise UsageError(
            f"reference {reference!r} is not PREPROCESS/ENGINE",
            where="reference",
            remedy="write it like 'train/torch-fp32'",
        )
    if not can_run(root_preprocess, root_engine):
        raise UsageError(
            f"reference {reference!r} is never run: a recording comes from the car's own pipeline",
            where="reference",
            remedy=f"write 'deploy/{root_engine}'",
        )
    pipelines = list(dict.fromkeys([root_preprocess, *preprocess]))
    names = list(dict.fromkeys([root_engine, *engines]))
    names.sort(key=lambda n: len(ancestry(n)))
    present = [
        (p, e) for p in pipelines for e in names if (p == root_preprocess and e == root_engine) or p in preprocess
    ]
    present = [(p, e) for p, e in present if can_run(p, e)]
    # the reference's engine under every pipeline is the hinge between preprocessing and engine steps
    for p in preprocess:
        if (p, root_engine) not in present:
            present.append((p, root_engine))
    rungs = [Rung(root_preprocess, root_engine)]
    ordered = sorted(present, key=lambda pair: (pipelines.index(pair[0]), pair[1] != root_engine, names.index(pair[1])))
    for p, e in ordered:
        if (p, e) != (root_preprocess, root_engine):
            rungs.append(_placed(p, e, root_preprocess, root_engine, set(present), steps))
    if other_pipeline(root_preprocess) in preprocess:
        chosen = single_swaps(root_preprocess, steps) if swaps is None else swaps
        rungs += [swap_rung(swap, reference) for swap in chosen]
    return tuple(rungs)


def can_run(preprocess: str, engine: str) -> bool:
    """Whether there is such a rung: what a car recorded came from its own pipeline, so it is never `train`."""
    return not (preprocess == "train" and family(engine) == "recorded")


def swap_rung(swap: Swap, reference: str) -> Rung:
    """The rung of a swap on the reference's engine; its parent is the pipeline that it changes."""
    root_preprocess, _, engine = reference.partition("/")
    parent = reference if swap.base == root_preprocess else f"{swap.base}/{engine}"
    return Rung(swap.name, engine, parent, (swap.factor,))


def _placed(p: str, e: str, root_p: str, root_e: str, present: set[tuple[str, str]], steps: Sequence[str]) -> Rung:
    """Find the nearest ancestor that runs, and the factors on the way to it."""
    if e == root_e:
        return Rung(p, e, f"{root_p}/{root_e}", (f"preprocess:{steps[0]}" if len(steps) == 1 else "preprocess",))
    factors: list[str] = []
    for parent, between in ancestry(e)[1:]:
        factors += between
        if (p, parent) in present:
            return Rung(p, e, f"{p}/{parent}", tuple(factors))
    return Rung(p, e, f"{p}/{root_e}", _between(e, root_e))


def _between(engine: str, reference: str) -> tuple[str, ...]:
    """Factors that separate an engine from the reference's, neither of which descends from the other.

    Down from a common ancestor they are those that only one of the two has. Without one, the engine's own and the
    runtime that its ancestry begins with.
    """
    own, up = ancestry(engine), ancestry(reference)
    mine, other = ([f for _, factors in chain for f in factors] for chain in (own, up))
    if own[-1][0] != up[-1][0]:
        return (*mine, f"runtime:{own[-1][0]}")
    differ = dict.fromkeys([f for f in mine if f not in other] + [f for f in other if f not in mine])
    return tuple(differ) or (f"runtime:{engine}",)


PROBES = ("repeat", "rebuild", "reorder", "batch-row")


@dataclass(frozen=True, slots=True)
class Probe:
    """One engine against itself: `kind` of PROBES on the rung `base`."""

    kind: str
    base: Rung

    @property
    def rung(self) -> Rung:
        """A rung to run it by, `deploy/ort-fp32~repeat`."""
        return Rung(self.base.preprocess, f"{self.base.engine}~{self.kind}", self.base.name, (f"noise:{self.kind}",))


def probes_of(rungs: Sequence[Rung]) -> tuple[Probe, ...]:
    """Every kind of probe on every engine under the pipeline of the last plain rung; dumps cannot be probed."""
    plain = [r for r in rungs if r.preprocess in PIPELINES and family(r.engine) != "recorded" and r.decoder != "own"]
    last = plain[-1].preprocess
    return tuple(Probe(kind, r) for r in plain if r.preprocess == last for kind in PROBES)
