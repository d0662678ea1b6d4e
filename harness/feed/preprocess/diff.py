"""The differences of two pipelines, step and option by name, as data and in words.

    resize: antialias true -> false          one option of a step
    colour: to_rgb -> to_bgr                 another op under the same name
    only in deploy: jpeg (quality 60)        a step that one of them lacks
    order: resize, crop -> crop, resize      the same steps in another order

Options are compared as they act, defaults filled in: one left out equals its default, and `mean = 0.5` equals
`mean = [0.5, 0.5, 0.5]`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.feed.preprocess.mixing import ORDER, by_name, checked_steps, merged_names, moved, same_value
from harness.feed.preprocess.ops import defaults_of

__all__ = ["Difference", "differences", "written"]

Step = Mapping[str, Any]
_IN = "train", "deploy"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which deploy differs from train.

    Attributes:
        step: name of the step; `order` where the same steps run in another order.
        option: the option that differs; `op` where the step does something else or only one pipeline has it; `order`.
        train, deploy: its value there; None for `op` where that pipeline lacks the step; names of steps for `order`.
        words: all of it in words.
    """

    step: str
    option: str
    train: Any
    deploy: Any
    words: str


def differences(train: Sequence[Step], deploy: Sequence[Step], root: Path | None = None) -> tuple[Difference, ...]:
    """Every difference of two pipelines, in the order the steps run.

    Args:
        train: `{op = "...", step = "...", option = ...}` each.
        deploy: likewise.
        root: folder of the card, for the defaults of dotted paths.

    Raises:
        PreprocessError: a step is wrong.
    """
    ours, theirs = (by_name(checked_steps(s, w, root)) for s, w in zip((train, deploy), _IN, strict=True))
    found: list[Difference] = []
    for name in merged_names(list(ours), list(theirs)):
        if name in ours and name in theirs:
            found += _of_step(name, ours[name], theirs[name])
        else:
            found.append(_only(name, ours.get(name), theirs.get(name)))
    before, after = moved(list(ours), list(theirs))
    if before:
        words = f"order: {', '.join(before)} -> {', '.join(after)}"
        found.append(Difference(ORDER, ORDER, before, after, words))
    return tuple(found)


def written(value: object, digits: int = 6) -> str:
    """A value of an option as a card writes it: `true`, `none`, `[0.485, 0.456]`; floats to so many digits."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(written(v, digits) for v in value)}]"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _of_step(name: str, ours: Step, theirs: Step) -> Iterator[Difference]:
    """Differences of a step that both have."""
    if ours["op"] != theirs["op"]:
        own = _told(theirs, theirs.keys() - ours.keys())
        yield Difference(name, "op", ours["op"], theirs["op"], f"{name}: {ours['op']} -> {theirs['op']}{_bracket(own)}")
    for option in (o for o in ours if o in theirs and o not in ("op", "step")):
        before, after = ours[option], theirs[option]
        if not same_value(ours["op"], before, after):
            yield Difference(name, option, before, after, f"{name}: {option} {_change(before, after)}")
    if ours["op"] == theirs["op"]:  # a function of the card's own may be given an option on one side only
        for option in sorted(ours.keys() ^ theirs.keys()):
            before, after = ours.get(option), theirs.get(option)
            yield Difference(name, option, before, after, f"{name}: {option} {_change(before, after)}")


def _only(name: str, ours: Step | None, theirs: Step | None) -> Difference:
    """A step that one pipeline lacks."""
    step = ours or theirs or {}
    what = [] if step["op"] == name else [str(step["op"])]
    words = f"only in {_IN[ours is None]}: {name}{_bracket(what + _told(step, step.keys()))}"
    return Difference(name, "op", ours and ours["op"], theirs and theirs["op"], words)


def _told(step: Step, options: Collection[str]) -> list[str]:
    """`quality 60`, for those of the options that are not our op's defaults, in the step's order."""
    usual = defaults_of(step["op"])
    own = {o: v for o, v in step.items() if o in options and o not in ("op", "step")}
    return [f"{o} {written(v)}" for o, v in own.items() if o not in usual or not same_value(step["op"], v, usual[o])]


def _bracket(parts: Sequence[str]) -> str:
    return f" ({', '.join(parts)})" if parts else ""


def _change(before: object, after: object) -> str:
    """`true -> false`, with as many digits as it takes to tell the two apart."""
    digits = next((d for d in (6, 9, 17) if written(before, d) != written(after, d)), 17)
    return f"{written(before, digits)} -> {written(after, digits)}"
