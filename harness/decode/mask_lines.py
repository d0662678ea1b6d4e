"""From unbranched pieces of a mask to lines: trim the ends, join what lies on one curve, smooth.

Two pieces are joined where each, continued by the straight line of its end, meets the other: across the gaps of a
dashed marking, across a hole, and at a fork, where the better continuation goes on and the other line ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.decode.mask_runs import Piece

__all__ = ["Joining", "chained", "join", "smooth", "trimmed", "without_shadows"]

Floats = NDArray[np.float64]

TIP_ROWS = 15  # rows that say what width is usual near an end
NARROW, WIDE, WIDE_PX = 0.6, 1.25, 1.0  # an end narrower than NARROW or wider than WIDE times the usual, plus WIDE_PX
BLOB, BLOB_PX = 2.0, 2.0  # thicker than BLOB times the piece's usual thickness, plus BLOB_PX, is no stroke
SLOPE_ROWS = 3
SHADOW = 0.5


@dataclass(frozen=True, slots=True)
class Joining:
    """When two pieces are one line.

    Attributes:
        fit_rows: rows at an end that say where the piece goes.
        gap_rows: largest gap, rows.
        gap_of_length: largest gap as a multiple of the longer piece's rows.
        base_px, per_px: gate on the mismatch across the line, base_px + per_px * length of the gap, pixels.
        turn_rad: largest angle between the two ends.
        overlap_rows: rows by which pieces may overlap (at a fork).
    """

    fit_rows: int = 20
    gap_rows: float = 80
    gap_of_length: float = 4.0
    base_px: float = 1.5
    per_px: float = 0.08
    turn_rad: float = 0.35
    overlap_rows: int = 3


def trimmed(piece: Piece, least_rows: int) -> list[Piece]:
    """The stretches of a piece that are a stroke, each of at least `least_rows` rows.

    Rows much thicker across the line than the rest are a blob, or a fork that has begun: they are cut out. The tip of a
    slanted stroke is cut off square to its axis, so its runs shrink to one side: ends of unusual width are cut off.
    """
    thickness = piece.width * np.cos(np.arctan(_local_slope(piece.u)))
    stroke = thickness <= BLOB * np.sort(thickness)[len(thickness) // 2] + BLOB_PX
    stretches = []
    for rows in np.split(np.arange(len(piece.v)), np.flatnonzero(np.diff(stroke)) + 1):
        if not stroke[rows[0]]:
            continue
        start, stop = int(rows[0]), int(rows[-1]) + 1
        start += _unusual(piece.width[start:stop])
        stop -= _unusual(piece.width[start:stop][::-1])
        if stop - start >= least_rows:
            stretches.append(piece.cut(start, stop))
    return stretches


def _local_slope(u: Floats) -> Floats:
    """Change of u per row over SLOPE_ROWS rows to each side, fewer at the ends."""
    index = np.arange(len(u))
    low, high = np.maximum(index - SLOPE_ROWS, 0), np.minimum(index + SLOPE_ROWS, len(u) - 1)
    slope: Floats = (u[high] - u[low]) / np.maximum(high - low, 1)
    return slope


def _unusual(width: Floats) -> int:
    """How many rows at the beginning are too narrow or too wide."""
    if len(width) == 0:
        return 0
    usual = np.sort(width[: 2 * TIP_ROWS])[min(len(width), 2 * TIP_ROWS) // 2]
    bad = (width < NARROW * usual) | (width > WIDE * usual + WIDE_PX)
    return int(np.argmin(bad)) if not bad.all() else len(width)


def join(pieces: Sequence[Piece], rule: Joining) -> list[list[int]]:
    """Which pieces make one line, near to far.

    Every piece goes on in at most one other and is the continuation of at most one; the best matches are taken first.

    Args:
        pieces: in any order.
        rule: the gates.

    Returns:
        Positions of the pieces of each line.
    """
    count = len(pieces)
    ahead = [-1] * count
    taken = [False] * count
    for _, lower, upper in _candidates(pieces, rule):
        if ahead[lower] < 0 and not taken[upper]:
            ahead[lower], taken[upper] = upper, True
    chains = []
    for start in range(count):
        if not taken[start]:
            chain = [start]
            while ahead[chain[-1]] >= 0:
                chain.append(ahead[chain[-1]])
            chains.append(chain)
    return chains


def _candidates(pieces: Sequence[Piece], rule: Joining) -> list[tuple[float, int, int]]:
    """(rank, lower, upper) of every pair within the gates, best first."""
    if len(pieces) < 2:
        return []
    near, far = _ends(pieces, rule.fit_rows, first=True), _ends(pieces, rule.fit_rows, first=False)
    rows = np.array([len(p.v) for p in pieces], np.float64)
    down = far.v[:, None] - near.v[None, :]
    possible = (down > -rule.overlap_rows) & (near.v[:, None] > near.v[None, :]) & (far.v[:, None] > far.v[None, :])
    possible &= down <= 1 + np.minimum(rule.gap_rows, rule.gap_of_length * np.maximum(rows[:, None], rows[None, :]))
    angle, other = np.arctan(far.slope)[:, None], np.arctan(near.slope)[None, :]
    possible &= np.abs(angle - other) <= rule.turn_rad
    across = far.u[:, None] - near.u[None, :]
    mismatch = np.maximum(
        np.abs(across - far.slope[:, None] * down) * np.cos(angle),
        np.abs(across - near.slope[None, :] * down) * np.cos(other),
    )
    gap = np.hypot(across, down)
    lower, upper = np.nonzero(possible & (mismatch <= rule.base_px + rule.per_px * gap))
    rank = mismatch[lower, upper] + rule.per_px * gap[lower, upper]
    order = np.lexsort((upper, lower, rank))
    return [(float(rank[k]), int(lower[k]), int(upper[k])) for k in order]


@dataclass(frozen=True, slots=True)
class _Ends:
    """Straight lines at one end of every piece: through (u, v) with slope du/dv, [pieces] each."""

    v: Floats
    u: Floats
    slope: Floats


def _ends(pieces: Sequence[Piece], rows: int, *, first: bool) -> _Ends:
    """Least-squares lines through the first (near) or last (far) rows of every piece."""
    found = []
    for piece in pieces:
        part = piece.cut(0, rows) if first else piece.cut(max(0, len(piece.v) - rows), len(piece.v))
        at, middle = part.v[0 if first else -1], (part.v[0] + part.v[-1]) / 2
        v, mean = part.v - middle, part.u.sum() / len(part.u)
        slope = float(v @ part.u) / max(float(v @ v), 1e-9)
        found.append((at, mean + slope * (at - middle), slope))
    return _Ends(*np.array(found, np.float64).reshape(-1, 3).T)


def chained(pieces: Sequence[Piece], chain: Sequence[int]) -> Piece:
    """The pieces of one line in a row; where two overlap the nearer one stays."""
    v, u, width = [], [], []
    reached = np.inf
    for index in chain:
        piece = pieces[index]
        above = piece.v < reached
        v.append(piece.v[above])
        u.append(piece.u[above])
        width.append(piece.width[above])
        reached = min(reached, float(piece.v[-1]))
    return Piece(np.concatenate(v), np.concatenate(u), np.concatenate(width))


def without_shadows(lines: Sequence[Piece]) -> list[Piece]:
    """Longest lines first, without those that another one runs through: what is left of a crossing or a fork."""
    kept: list[Piece] = []
    for line in sorted(lines, key=lambda p: (-len(p.v), p.u[0])):
        if not any(_runs_through(longer, line) for longer in kept):
            kept.append(line)
    return kept


def _runs_through(longer: Piece, line: Piece) -> bool:
    """Whether the longer line, straight across its gaps, lies inside the runs of most rows of the other."""
    beside = np.interp(-line.v, -longer.v, longer.u, left=np.nan, right=np.nan) - line.u
    return bool((np.abs(beside) <= line.width / 2).mean() > SHADOW)


def smooth(line: Piece, half_rows: int) -> Piece:
    """Local straight lines: each centre becomes the least-squares line's value over the rows within `half_rows`.

    Straight lines stay as they are, also at their ends and across gaps.
    """
    if half_rows == 0:
        return line
    low = np.searchsorted(-line.v, -line.v - half_rows, side="left")
    high = np.searchsorted(-line.v, -line.v + half_rows, side="right")
    v, u = line.v - line.v.mean(), line.u - line.u.mean()
    sums = np.concatenate([np.zeros((1, 4)), np.cumsum(np.stack([v, u, v * v, v * u], axis=1), axis=0)])
    count = (high - low).astype(np.float64)
    mv, mu, mvv, mvu = ((sums[high] - sums[low]) / count[:, None]).T
    spread = mvv - mv**2
    slope = np.where(spread > 1e-6, (mvu - mv * mu) / np.maximum(spread, 1e-6), 0)
    return Piece(line.v, mu + slope * (v - mv) + line.u.mean(), line.width)
