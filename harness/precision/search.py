"""A 1-minimal set that holds: from a ranking, by trying sets.

The first sets tried are the first 1, 2, 4, ... of the ranking, until one holds. Then parts of it are left out, halves
first and single items last, until none of its items can be left out: delta debugging (Zeller and Hildebrandt 2002) with
the parts taken in an order that sheds heavy items first. A set may hold while a larger one does not; those are told.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Answers", "smallest"]

Items = frozenset[str]


@dataclass
class Answers:
    """Every set that was tried, and whether it held; none is tried twice.

    Attributes:
        ask: whether a set holds.
        known: what was answered, in the order in which it was asked.
    """

    ask: Callable[[Items], bool]
    known: dict[Items, bool] = field(default_factory=dict)

    def __call__(self, items: Items) -> bool:
        """Whether this set holds."""
        if items not in self.known:
            self.known[items] = self.ask(items)
        return self.known[items]

    def setbacks(self) -> list[tuple[Items, Items]]:
        """(smaller set that holds, larger one that does not): where one more item in fp32 made it worse."""
        held = [items for items, holds in self.known.items() if holds]
        failed = [items for items, holds in self.known.items() if not holds]
        return [(small, large) for small in held for large in failed if small < large]


def smallest(ranking: Sequence[str], holds: Answers, weights: Mapping[str, float], seed: int = 0) -> Items:
    """A set that holds, none of whose items can be left out.

    Args:
        ranking: all items, the most likely ones first; all of them together hold, and none of them does not.
        holds: answers.
        weights: what an item costs; heavy ones are left out first.
        seed: of the order among items of equal weight, and of the parts; 0: that of the ranking.
    """
    shuffled = random.Random(seed)
    kept = _first_that_holds(ranking, holds)
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


def _first_that_holds(ranking: Sequence[str], holds: Answers) -> Items:
    """The first 1, 2, 4, ... of the ranking; all of it at the latest."""
    count = 1
    while count < len(ranking) and not holds(frozenset(ranking[:count])):
        count *= 2
    return frozenset(ranking[:count])
