"""A 1-minimal set that holds: from a ranking, by trying sets on few cases.

The first sets tried are the first 1, 2, 4, ... of the ranking, until one holds. Then parts of it are left out, halves
first and single items last, until none of its items can be left out: delta debugging (Zeller and Hildebrandt 2002) with
the parts taken in an order that sheds heavy items first. A set may hold while a larger one does not; those are told.

What is found on the case that is hardest is tried on all of them. Where it fails, the case that tells is added, and the
search goes on with both. In the end the set holds on all cases, and without any of its items it fails on one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from threading import Lock

__all__ = ["Answers", "Asked", "Group", "Items", "smallest", "smallest_on_all"]

Items = frozenset[str]
Group = tuple[int, ...]
"""Cases that are replayed together, by place."""


@dataclass
class Answers:
    """Every set that was tried, and whether it held; none is tried twice, by several threads neither.

    Attributes:
        ask: whether a set holds.
        known: what was answered.
    """

    ask: Callable[[Items], bool]
    known: dict[Items, bool] = field(default_factory=dict)
    _running: dict[Items, Future[bool]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def __call__(self, items: Items) -> bool:
        """Whether this set holds."""
        with self._lock:
            if items in self.known:
                return self.known[items]
            first = items not in self._running
            answer = self._running.setdefault(items, Future())
        if first:
            try:
                self.known[items] = self.ask(items)
            except BaseException as error:
                answer.set_exception(error)
                raise
            answer.set_result(self.known[items])
        return answer.result()

    def setbacks(self) -> list[tuple[Items, Items]]:
        """(smaller set that holds, larger one that does not): where one more item in fp32 made it worse."""
        order = sorted(self.known, key=lambda items: (len(items), sorted(items)))
        held = [items for items in order if self.known[items]]
        failed = [items for items in order if not self.known[items]]
        return [(small, large) for small in held for large in failed if small < large]


class Asked:
    """Answers on every group of cases that was asked about.

    Args:
        hold: whether a set holds on a group.
    """

    def __init__(self, hold: Callable[[Items, Group], bool]) -> None:
        self._hold = hold
        self._answers: dict[Group, Answers] = {}
        self._lock = Lock()

    def __call__(self, items: Items, group: Group) -> bool:
        """Whether a set holds on a group."""
        with self._lock:
            answers = self._answers.setdefault(group, Answers(lambda kept: self._hold(kept, group)))
        return answers(items)

    def setbacks(self) -> list[tuple[Items, Items]]:
        """Those of `Answers`, each once; both sets were tried on the same cases."""
        found = [pair for group in sorted(self._answers) for pair in self._answers[group].setbacks()]
        return list(dict.fromkeys(found))


def smallest_on_all(
    ranking: Sequence[str],
    asked: Asked,
    failing: Callable[[Items, Sequence[Group]], Group | None],
    weights: Mapping[str, float],
    seed: int = 0,
) -> Items:
    """As `smallest`, on all cases.

    Args:
        ranking: as of `smallest`.
        asked: answers.
        failing: cases on which a set that holds on the groups given fails, no such group again; None where it holds on
            all cases.
        weights, seed: as of `smallest`.
    """
    groups: list[Group] = [(0,)]
    kept: Items = frozenset()
    while True:
        # what was needed so far comes first, and the case that told last is asked first
        order = [*(item for item in ranking if item in kept), *(item for item in ranking if item not in kept)]
        told = partial(_on_all_of, asked, tuple(reversed(groups)))
        kept = smallest(order, told, weights, seed, len(kept) + 1)
        more = failing(kept, groups)
        if more is None:
            return kept
        groups.append(more)


def _on_all_of(asked: Asked, groups: Sequence[Group], items: Items) -> bool:
    return all(asked(items, group) for group in groups)


def smallest(
    ranking: Sequence[str], holds: Callable[[Items], bool], weights: Mapping[str, float], seed: int = 0, first: int = 1
) -> Items:
    """A set that holds, none of whose items can be left out.

    Args:
        ranking: all items, the most likely ones first; all of them together hold, and none of them does not.
        holds: answers.
        weights: what an item costs; heavy ones are left out first.
        seed: of the order among items of equal weight, and of the parts; 0: that of the ranking.
        first: how many items of the ranking are tried first.
    """
    shuffled = random.Random(seed)
    kept = _first_that_holds(ranking, holds, first)
    places = {item: place for place, item in enumerate(ranking)}
    size = max(len(kept) // 2, 1)
    while True:
        order = sorted(kept, key=lambda item: (-weights[item], -places[item]))
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        if seed:
            shuffled.shuffle(parts)
        before = kept
        for part in parts:
            rest = kept - frozenset(part)
            if rest and rest != kept and holds(rest):
                kept = rest
        if size == 1 and kept == before:
            return kept
        size = max(min(size // 2, len(kept) // 2), 1)


def _first_that_holds(ranking: Sequence[str], holds: Callable[[Items], bool], count: int) -> Items:
    """The first `count` of the ranking, twice as many, ...; all of it at the latest."""
    while count < len(ranking) and not holds(frozenset(ranking[:count])):
        count *= 2
    return frozenset(ranking[:count])
