"""`--only CASE[:FIRST-LAST]`: some cases of those given, or some frames of them, to look at one failure again."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cases.case import Case
from harness.errors import UsageError

__all__ = ["only_these"]

_FRAMES = re.compile(r"(?P<case>.+?):(?P<first>-?\d+)-(?P<last>-?\d+)")


def only_these(cases: Sequence[Case], only: Sequence[str], *, stateful: bool) -> list[Case]:
    """The cases that are named, cut to the frames that are named.

    Args:
        cases: all that were given.
        only: `CASE`, or `CASE:FIRST-LAST` with numbers of frames, both included; empty: all cases whole.
        stateful: the model feeds its state back, so frames before FIRST are replayed too.

    Raises:
        UsageError: no such case, no such frame, or a case is named twice.
    """
    if not only:
        return list(cases)
    known = {case.id: case for case in cases}
    found: dict[str, Case] = {}
    for text in only:
        name, frames = _parsed(text, known)
        if name in found:
            raise UsageError(f"case {name} is named twice", where="--only", remedy="name one range of frames")
        found[name] = _cut(known[name], frames, stateful)
    return [found[name] for name in sorted(found)]


def _parsed(text: str, known: dict[str, Case]) -> tuple[str, tuple[int, int] | None]:
    if text in known:
        return text, None
    match = _FRAMES.fullmatch(text)
    if match is None or match["case"] not in known:
        shown = ", ".join(sorted(known)[:6]) + (", ..." if len(known) > 6 else "")
        raise UsageError(f"no case {text!r}", where="--only", remedy=f"write CASE or CASE:FIRST-LAST; CASE is {shown}")
    return match["case"], (int(match["first"]), int(match["last"]))


def _cut(case: Case, frames: tuple[int, int] | None, stateful: bool) -> Case:
    if frames is None:
        return case
    first, last = frames
    inside = [n for n in case.frame_numbers.tolist() if first <= n <= last]
    if not inside:
        has = f"{case.frame_numbers[0]} to {case.frame_numbers[-1]}"
        raise UsageError(f"case {case.id} has no frame in {first}-{last}", where="--only", remedy=f"it has {has}")
    return case.clip(int(case.frame_numbers[0]) if stateful else first, last)
