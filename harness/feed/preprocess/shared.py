"""Work that pipelines have in common: their same first steps run once a picture.

The rungs that swap single steps give a case a dozen pipelines, and most begin alike.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

from numpy.typing import NDArray

from cases.picture import Picture

__all__ = ["SharedSteps", "prefixes_of"]

Prefix = tuple[str, ...]
"""The first steps of a pipeline, each written as its op and options."""
Value = Picture | NDArray[Any]


def prefixes_of(steps: Sequence[Mapping[str, Any]], ops: Collection[str]) -> tuple[Prefix, ...]:
    """One, two, three ... first steps of a pipeline, up to the first that is not of `ops`; steps are canonical."""
    written: list[str] = []
    for step in steps:
        if step["op"] not in ops:
            break
        written.append(json.dumps({k: v for k, v in step.items() if k != "step"}, sort_keys=True))
    return tuple(tuple(written[: i + 1]) for i in range(len(written)))


class SharedSteps:
    """What came of first steps that several pipelines of one camera of one case share, for one picture at a time.

    Kept is what comes before pipelines part, so at most as many values as there are pipelines. Nobody may write to it.
    Not for threads.
    """

    def __init__(self) -> None:
        self._pipelines: Counter[Prefix] = Counter()
        self._next: defaultdict[Prefix, Counter[Prefix]] = defaultdict(Counter)
        self._picture: Picture | None = None
        self._values: dict[Prefix, Value] = {}

    def join(self, prefixes: Sequence[Prefix]) -> None:
        """One more pipeline, with these first steps."""
        self._pipelines.update(prefixes)
        for shorter, longer in pairwise(prefixes):
            self._next[shorter][longer] += 1

    def begin(self, picture: Picture, prefixes: Sequence[Prefix]) -> tuple[int, Value]:
        """How many of a pipeline's first steps are done for this picture, and what came of them."""
        if picture is not self._picture:
            self._picture = picture
            self._values.clear()
        done = max((len(p) for p in prefixes if p in self._values), default=0)
        return done, self._values[prefixes[done - 1]] if done else picture

    def keep(self, prefix: Prefix, value: Value) -> None:
        """Take what came of first steps of the picture that `begin` was given last, if pipelines part there."""
        if self._pipelines[prefix] > max(self._next[prefix].values(), default=1):
            (value.data if isinstance(value, Picture) else value).setflags(write=False)
            self._values[prefix] = value
