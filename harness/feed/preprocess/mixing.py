"""Which steps two pipelines differ in, and the pipeline that swaps a single one: the preprocessing rungs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import PreprocessError
from harness.feed.preprocess.ops import canonical

__all__ = ["checked_steps", "differing_steps", "mixed_steps"]

Step = Mapping[str, Any]


def checked_steps(steps: Sequence[Step], where: str) -> list[dict[str, Any]]:
    """Every step with its defaults filled in.

    Raises:
        PreprocessError: an unknown op or option, or one name for two steps.
    """
    checked = [canonical(step, f"{where}[{i}]") for i, step in enumerate(steps)]
    names = [s["step"] for s in checked]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise PreprocessError(
            f"step name {twice[0]!r} is used {names.count(twice[0])} times",
            where=where,
            remedy='give each its own name, as in {op = "resize", step = "resize-2"}',
        )
    return checked


def differing_steps(train: Sequence[Step], deploy: Sequence[Step]) -> tuple[str, ...]:
    """Names of the steps whose op or options differ, or that only one pipeline has; in the order they run.

    Raises:
        PreprocessError: a step is wrong, or both pipelines have the same steps in another order (no single swap
            expresses that).
    """
    ours, theirs = checked_steps(train, "train"), checked_steps(deploy, "deploy")
    by_name = {s["step"]: s for s in ours}, {s["step"]: s for s in theirs}
    shared = [
        [s["step"] for s in side if s["step"] in by_name[0] and s["step"] in by_name[1]] for side in (ours, theirs)
    ]
    if shared[0] != shared[1]:
        raise PreprocessError(
            f"train runs {shared[0]}, deploy {shared[1]}: the same steps in another order",
            where="preprocess",
            remedy="give the moved step two names, so that each pipeline has a step the other lacks",
        )
    differ = {name for name in {**by_name[0], **by_name[1]} if by_name[0].get(name) != by_name[1].get(name)}
    return tuple(name for name in _merged_names(ours, theirs) if name in differ)


def mixed_steps(base: Sequence[Step], other: Sequence[Step], step: str) -> list[dict[str, Any]]:
    """The base pipeline with the single step of that name taken from the other.

    A step only the base has is left out; one only the other has is put where the other runs it. A name that neither
    has leaves the base as it is (another input of the card may have it).
    """
    ours, theirs = checked_steps(base, "preprocess"), checked_steps(other, "preprocess")
    taken = [s for s in theirs if s["step"] == step]
    if any(s["step"] == step for s in ours):
        return [new for s in ours for new in (taken if s["step"] == step else [s])]
    if not taken:
        return ours
    order = _merged_names(ours, theirs)
    return sorted([*ours, *taken], key=lambda s: order.index(s["step"]))


def _merged_names(ours: Sequence[Step], theirs: Sequence[Step]) -> list[str]:
    """Names of both pipelines in one order: a step only theirs has follows the step it follows there."""
    order = [str(s["step"]) for s in ours]
    last = -1
    for name in (str(s["step"]) for s in theirs):
        if name in order:
            last = order.index(name)
        else:
            last += 1
            order.insert(last, name)
    return order
