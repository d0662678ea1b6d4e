"""Who owns what changes: told from what each engine's line does by itself, not from their difference.

The difference of two lines is as large where the reference shakes as where the candidate does. What changes within
two seconds is therefore held against each engine's own series: the candidate owns what it does more than the
reference, never more than the difference. A lasting difference has no such witness and is the candidate's
(docs/decisions/0014), unless ground truth clears it (frame_owner.py).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Owner", "excess", "owner_of_change"]

Floats = NDArray[np.float64]
Owner = Literal["candidate", "reference", "both"]


def excess(offset: Floats, candidate: Floats, reference: Floats) -> Floats:
    """The candidate's own part of an RMS-like size in each window, [n].

    Args:
        offset: size of the difference, [n].
        candidate: size of the candidate's own series in the same windows.
        reference: of the reference's own; where it is below what nine windows in ten stay below, that stands for it, so
            that a window in which a noisy reference happens to be quiet blames nobody.

    Returns:
        sqrt(candidate^2 - reference^2), between 0 and `offset`; `offset` where the own sizes are not known.
    """
    known = reference[np.isfinite(reference)]
    usual = float(np.quantile(known, 0.9)) if len(known) else np.nan
    more = np.sqrt(np.maximum(candidate**2 - np.fmax(reference, usual) ** 2, 0))
    return np.where(np.isfinite(more), np.minimum(offset, more), offset)


def owner_of_change(candidate: float, reference: float, threshold: float) -> Owner:
    """Who made a change: the one that moved more; the candidate too where its own move alone passes the threshold.

    Args:
        candidate: how far its own line moved; NaN where not known.
        reference: how far the reference's own line moved.
        threshold: of a change.
    """
    moved, other = abs(candidate), abs(reference)
    return "reference" if moved < other and not moved > threshold else "candidate"
