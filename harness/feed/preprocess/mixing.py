"""Which steps two pipelines differ in, and the pipeline that swaps some of them: the preprocessing rungs.

Steps of one name are the same step. Where both pipelines run shared steps in another order, that order is one more
thing to swap, under the name `order`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import PreprocessError
from harness.feed.preprocess.ops import OPS, canonical

__all__ = [
    "ORDER",
    "by_name",
    "checked_steps",
    "differing_steps",
    "merged_names",
    "mixed_steps",
    "moved",
    "same_step",
    "same_value",
]

ORDER = "order"

Step = Mapping[str, Any]


def checked_steps(steps: Sequence[Step], where: str, root: Path | None = None) -> list[dict[str, Any]]:
    """Every step with its defaults filled in (those of dotted paths where `root`, the card's folder, is given).

    Raises:
        PreprocessError: an unknown op or option, one name for two steps, or a name that rungs cannot be called by.
    """
    checked = [canonical(step, f"{where}[{i}]", root) for i, step in enumerate(steps)]
    names = [str(s["step"]) for s in checked]
    for name in names:
        if name == ORDER or not set(name).isdisjoint("+/"):
            raise PreprocessError(
                f"no step can have the name {name!r}",
                where=where,
                remedy=f"choose one without + and / that is not {ORDER!r}: rungs are named after it",
            )
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise PreprocessError(
            f"step name {twice[0]!r} is used {names.count(twice[0])} times",
            where=where,
            remedy='give each its own name, as in {op = "resize", step = "resize-2"}',
        )
    return checked


def differing_steps(train: Sequence[Step], deploy: Sequence[Step], root: Path | None = None) -> tuple[str, ...]:
    """Names of the steps whose op or options differ, or that only one pipeline has; in the order they run.

    `order` comes last, where both have the same steps in another order.

    Raises:
        PreprocessError: a step is wrong.
    """
    ours, theirs = (by_name(checked_steps(s, w, root)) for s, w in ((train, "train"), (deploy, "deploy")))
    differ = [n for n in merged_names(list(ours), list(theirs)) if not same_step(ours.get(n), theirs.get(n))]
    return (*differ, *([ORDER] if any(moved(list(ours), list(theirs))) else []))


def mixed_steps(
    base: Sequence[Step], other: Sequence[Step], *steps: str, root: Path | None = None
) -> list[dict[str, Any]]:
    """The base pipeline with the steps of those names taken from the other.

    A step only the base has is left out; one only the other has is put where the other runs it; `order` runs the steps
    of both in the other's order. A name that neither has changes nothing (another input of the card may have it).

    Raises:
        PreprocessError: a step is wrong.
    """
    ours, theirs = (by_name(checked_steps(s, "preprocess", root)) for s in (base, other))
    names = [list(ours), list(theirs)]
    if ORDER in steps and any(moved(*names)):
        names.reverse()
    taken = {name: theirs if name in steps else ours for name in merged_names(*names)}
    return [side[name] for name, side in taken.items() if name in side]


def by_name(checked: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Checked steps by their name, in their order."""
    return {str(step["step"]): step for step in checked}


def moved(ours: Sequence[str], theirs: Sequence[str]) -> tuple[list[str], list[str]]:
    """The stretch of shared names that the two run in another order, as each runs it; empty where they agree."""
    mine, other = [n for n in ours if n in theirs], [n for n in theirs if n in ours]
    differ = [i for i, pair in enumerate(zip(mine, other, strict=True)) if pair[0] != pair[1]]
    stretch = slice(differ[0], differ[-1] + 1) if differ else slice(0, 0)
    return mine[stretch], other[stretch]


def merged_names(ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Names of both pipelines in our order: a step only theirs has follows the step it follows there."""
    order, last = list(ours), -1
    for name in theirs:
        if name in order:
            last = order.index(name)
        else:
            last += 1
            order.insert(last, name)
    return order


def same_value(op: object, a: object, b: object) -> bool:
    """Whether two values of an option do the same: a list of equal numbers is that number to every op of ours."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same_value(op, x, y) for x, y in zip(a, b, strict=True))
    if isinstance(b, list | tuple):
        a, b = b, a
    if isinstance(a, list | tuple):
        return op in OPS and bool(a) and all(same_value(op, x, b) for x in a)
    return a == b or (a != a and b != b)


def same_step(ours: Step | None, theirs: Step | None) -> bool:
    """Whether two checked steps of one name do the same; not where one pipeline lacks it."""
    if ours is None or theirs is None:
        return False
    return ours.keys() == theirs.keys() and all(same_value(ours["op"], ours[k], theirs[k]) for k in ours)
