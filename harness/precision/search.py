"""A 1-minimal set that holds on all cases: from a ranking, by trying sets.

The first sets tried are stretches of the network, from the first to the last of the best 1, 2, 4, ... of the ranking,
until one holds: errors that cancel do so at the edges of what is kept, and a stretch has two. Then items are left out,
heavy ones and the last of the ranking first: several at once, twice as many after two successes, half as many after a
failure, down to single ones. It ends where every item has been left out of the set by itself in vain: delta debugging
(Zeller and Hildebrandt 2002), its parts in the order of a ranking. Nowhere is it taken for granted that a set holds
because a smaller one did, or fails because a larger one did; where that is not so is told.

A set fails where one case fails. So a set is tried on the cases that told before, one by one, and on all of them
together only now and then, the more rarely the longer that went well. Where it fails there, the case that tells is one
more to ask, and the search goes back to the last of its sets that holds on that case. What it ends at was tried on all
cases.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock

__all__ = ["Answers", "Group", "Items", "OnCases", "Tried", "smallest"]

Items = frozenset[str]
Group = tuple[int, ...]
"""Cases that are replayed together, by place."""

MOST_UNCHECKED = 8  # sets that are taken before one is tried on all cases
MOVED = 0.25  # of the ranking's length, by which seeds other than 0 move an item at most


@dataclass(frozen=True)
class Tried:
    """What came of a set on some cases.

    Attributes:
        held: whether the rules hold.
        failing: cases that make them fail by themselves, the worst first.
    """

    held: bool
    failing: Group = ()


@dataclass
class Answers:
    """Every set that was tried, and what came of it; none is tried twice on the same cases, by several threads neither.

    Attributes:
        ask: tries a set on some cases.
        known: what was answered.
    """

    ask: Callable[[Items, Group], Tried]
    known: dict[tuple[Items, Group], Tried] = field(default_factory=dict)
    _running: dict[tuple[Items, Group], Future[Tried]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def __call__(self, items: Items, group: Group) -> Tried:
        """What came of this set on these cases."""
        key = items, group
        with self._lock:
            if key in self.known:
                return self.known[key]
            first = key not in self._running
            answer = self._running.setdefault(key, Future())
        if first:
            try:
                self.known[key] = self.ask(items, group)
            except BaseException as error:
                answer.set_exception(error)
                raise
            answer.set_result(self.known[key])
        return answer.result()

    def setbacks(self) -> list[tuple[Items, Items]]:
        """(smaller set that holds, larger one that does not) on the same cases, each once: where one more item in fp32
        made it worse."""
        order = sorted(self.known, key=lambda key: (key[1], len(key[0]), sorted(key[0])))
        held = [key for key in order if self.known[key].held]
        failed = [key for key in order if not self.known[key].held]
        pairs = [(small, large) for small, a in held for large, b in failed if a == b and small < large]
        return list(dict.fromkeys(pairs))


class OnCases:
    """Whether a set holds; asks of few cases first.

    Args:
        answers: what is known, and who tries.
        count: how many cases there are; the first is the hardest.
    """

    def __init__(self, answers: Answers, count: int) -> None:
        self._answers, self._all = answers, tuple(range(count))
        self._telling: list[Group] = [(0,)]

    def likely(self, items: Items) -> bool:
        """Whether this set holds on the cases that told of another one; the one that told last is asked first."""
        told = next((group for group in self._telling if not self.on(items, group)), None)
        if told is not None:
            self._telling.remove(told)
            self._telling.insert(0, told)
        return told is None

    def fails_on(self, items: Items) -> Group | None:
        """Cases on which this set fails, from now on among those that tell; None where it holds on all."""
        tried = self._answers(items, self._all)
        if tried.held:
            return None
        told = next(((place,) for place in tried.failing if not self.on(items, (place,))), self._all)
        self._telling = [told, *(group for group in self._telling if group != told)]
        return told

    def on(self, items: Items, group: Group) -> bool:
        """Whether this set holds on these cases."""
        return self._answers(items, group).held


def smallest(
    ranking: Sequence[str], sequence: Sequence[str], cases: OnCases, weights: Mapping[str, float], seed: int = 0
) -> Items:
    """A set that holds, none of whose items can be left out.

    Args:
        ranking: all items, the most likely ones first; all of them together hold, and none of them does not.
        sequence: the same items in the network's order.
        cases: answers.
        weights: what an item costs; heavy ones are left out first.
        seed: 0: items of equal weight are left out from the end of the ranking; else in an order near that.
    """
    order = _shedding(ranking, weights, seed)
    kept = _first_that_holds(ranking, sequence, cases)
    size = max(len(kept) // 2, 1)
    while True:
        before = kept
        kept = _shed(kept, [item for item in order if item in kept], cases, size)
        if kept == before:
            return kept
        size = 1


def _first_that_holds(ranking: Sequence[str], sequence: Sequence[str], cases: OnCases) -> Items:
    """All from the first to the last of the best 1, 2, 4, ... of a ranking, in the network; all items at the latest."""
    places = {item: place for place, item in enumerate(sequence)}
    count = 1
    while count < len(ranking):
        best = [places[item] for item in ranking[:count]]
        stretch = frozenset(sequence[min(best) : max(best) + 1])
        if cases.likely(stretch) and cases.fails_on(stretch) is None:
            return stretch
        count *= 2
    return frozenset(sequence)


def _shedding(ranking: Sequence[str], weights: Mapping[str, float], seed: int) -> list[str]:
    """Items in the order in which they are left out."""
    moved = random.Random(seed)
    spread = MOVED * len(ranking) if seed else 0.0
    places = {item: place + moved.uniform(-spread, spread) for place, item in enumerate(ranking)}
    return sorted(ranking, key=lambda item: (-weights[item], -places[item]))


def _shed(kept: Items, order: Sequence[str], cases: OnCases, size: int) -> Items:
    """What is left of a set that holds when each item has been left out once, by itself or with others.

    Args:
        kept: the set.
        order: its items.
        cases: answers.
        size: how many are left out at first.
    """
    place, well, unchecked = 0, False, 1
    steps = [(kept, place)]  # the first holds on all cases
    while place < len(order) or len(steps) > 1:
        part = order[place : place + size]
        rest = kept - frozenset(part)
        if part and rest and cases.likely(rest):
            kept, place, size, well = rest, place + len(part), len(part) * (1 + well), True
            steps.append((kept, place))
        elif len(part) > 1:
            size, well = len(part) // 2, False
        else:
            place, well = place + len(part), False
        if len(steps) > unchecked or (place >= len(order) and len(steps) > 1):
            steps = _back_to_what_holds(steps, cases)
            unchecked = min(2 * unchecked, MOST_UNCHECKED)
            if steps[-1][0] != kept:
                (kept, place), size, unchecked = steps[-1], 1, 1
            steps = steps[-1:]
    return kept


def _back_to_what_holds(steps: list[tuple[Items, int]], cases: OnCases) -> list[tuple[Items, int]]:
    """The steps up to the last one that holds on all cases, as far as can be told; the first one does."""
    while len(steps) > 1 and (told := cases.fails_on(steps[-1][0])) is not None:
        holds, fails = 0, len(steps) - 1
        while fails - holds > 1:
            middle = (holds + fails) // 2
            if cases.on(steps[middle][0], told):
                holds = middle
            else:
                fails = middle
        steps = steps[: holds + 1]
    return steps
