"""Drives needed to see a defect, before anything is replayed."""

from __future__ import annotations

import math

__all__ = ["drives_needed"]


def drives_needed(share: float, power: float = 0.9) -> int:
    """Drives of which one at least shows a defect that is in a share of all drives: 22 for a tenth at power 0.9.

    Args:
        share: of all drives, in (0, 1].
        power: chance to meet one, in (0, 1).
    """
    return 1 if share >= 1 else math.ceil(math.log(1 - power) / math.log(1 - share) - 1e-9)
