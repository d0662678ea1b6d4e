"""Which frames of two recordings show the same, told by their content alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["by_content"]

SIDE = 48  # pixels of the small pictures that are compared
ALIKE = 0.6  # correlation of edges from which two frames may show the same
CLEARER = 0.03  # by which the best frame must be better than one that is no neighbour of it
MOST = 200  # frames of each that are compared


def by_content(ours: NDArray[Any], theirs: NDArray[Any]) -> dict[int, int]:
    """Our frame -> their frame that shows the same; empty where fewer than two pairs are clear and in one order.

    Args:
        ours: [frames, height, width, channels].
        theirs: likewise.
    """
    mine, other = (np.stack([_edges(p) for p in pictures[:MOST]]) for pictures in (ours, theirs))
    alike = mine @ other.T
    found: dict[int, int] = {}
    for i, row in enumerate(alike):
        best = int(row.argmax())
        apart = np.abs(np.arange(len(row)) - best) > 1
        second = float(row[apart].max()) if apart.any() else -1.0
        if row[best] >= ALIKE and row[best] - second >= CLEARER and int(alike[:, best].argmax()) == i:
            found[i] = best
    partners = list(found.values())
    return found if len(found) > 1 and partners == sorted(partners) else {}


def _edges(picture: NDArray[Any]) -> NDArray[np.float32]:
    """Strength of edges in a small gray picture, of zero mean and unit length, flat."""
    import cv2

    gray = np.ascontiguousarray(picture.astype(np.float32).mean(-1))
    gray = (gray - gray.mean()) / (gray.std() + 1e-6)
    small = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    down, right = np.gradient(small)
    flat = np.hypot(down, right).ravel()
    flat = flat - flat.mean()
    return np.asarray(flat / (np.linalg.norm(flat) + 1e-9), np.float32)
