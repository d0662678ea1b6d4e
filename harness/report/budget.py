"""How many bytes a report may take, and which case gets how many: the worst first, and none starves the rest."""

from __future__ import annotations

__all__ = ["FEW", "MANY", "Budget", "most_bytes"]

FEW, FEW_BYTES = 3, 3_000_000
MANY, MANY_BYTES = 100, 25_000_000
"""With more cases than that each has a page of its own."""


def most_bytes(cases: int) -> int:
    """Bytes of one file of so many cases: 3 MB for three, 25 MB for a hundred, in proportion between."""
    share = min(max(cases - FEW, 0), MANY - FEW) / (MANY - FEW)
    return round(FEW_BYTES + share * (MANY_BYTES - FEW_BYTES))


class Budget:
    """Bytes left for the cases still to come, the worst first.

    Args:
        bytes: for all of them.
        cases: how many.
    """

    def __init__(self, bytes: int, cases: int) -> None:
        self._left = max(0, bytes)
        self._cases = cases

    def share(self) -> int:
        """What the next case may take: of n still to come 2 / (n + 1) of what is left, all of it for the last."""
        return round(2 * self._left / (self._cases + 1)) if self._cases else 0

    def spend(self, bytes: int) -> None:
        """The next case took so many."""
        self._left -= bytes
        self._cases -= 1
