"""How many bytes a report may take, and which case gets how many: the worst first, and none starves the rest."""

from __future__ import annotations

__all__ = ["MANY", "Budget", "most_bytes"]

FEW, FEW_BYTES = 3, 3_000_000
MANY, MANY_BYTES = 100, 25_000_000
"""With more cases than that each has a page of its own."""

WORST_FIRST = 2.0  # times the even share that the next case may take


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
        """What the next case may take: twice the even share, all of it for the last."""
        return round(self._left * min(1.0, WORST_FIRST / max(self._cases, 1)))

    def spend(self, bytes: int) -> None:
        """The next case took so many."""
        self._left -= bytes
        self._cases -= 1
