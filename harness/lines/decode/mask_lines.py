"""From unbranched pieces of a mask to lines: trim the ends, join what lies on one curve, smooth.

Two pieces are joined where each, continued by the straight line of its end, meets the other or both miss to the same
side, as on a curve: across the gaps of a dashed marking, across a hole, and at a fork, where the better continuation
goes on and the other line ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.lines.decode.mask_runs import Piece

__all__ = ["Joining", "join", "smooth", "trimmed", "without_shadows"]

Floats = NDArray[np.float64]

TIP_ROWS = 15  # rows that say what width is usual near an end
NARROW, WIDE, WIDE_PX = 0.6, 1.25, 1.0  # an end narrower than NARROW or wider than WIDE times the usual, plus WIDE_PX
BLOB, BLOB_PX = 2.0, 2.0  # thicker than BLOB times the piece's usual thickness, plus BLOB_PX, is no stroke
SLOPE_ROWS = 3
SHADOW = 0.5
CURVED = 0.5  # two misses to the same side are a curve and count this much; to opposite sides, two lines side by side
STROKE = 1.5  # a piece shorter than this times its thickness has no direction


@dataclass(frozen=True, slots=True)
class Joining:
    """When two pieces are one line.

    Attributes:
        fit_px: length of the end that says where a piece goes, pixels along it.
        gap_rows: largest gap, rows.
        gap_of_length: largest gap as a multiple of the longer piece's rows.
        base_px, per_px: gate on the mismatch across the line, base_px + per_px * length of the gap, pixels.
        turn_rad: largest angle between the two ends.
        overlap_rows: rows by which pieces may overlap (at a fork).
        trust: the end of a piece shorter than this share of the gap does not say where it goes; the longer one does.
    """

    fit_px: float = 45
    gap_rows: float = 80
    gap_of_length: float = 3.0
    base_px: float = 1.5
    per_px: float = 0.05
    turn_rad: float = 0.35
    overlap_rows: int = 3
    trust: float = 0.4


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
        length = np.hypot(piece.u[stop - 1] - piece.u[start], stop - start) if stop > start else 0
        if stop - start >= least_rows and length >= STROKE * thickness[start:stop].min():
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


def join(pieces: Sequence[Piece], rule: Joining) -> list[Piece]:
    """Lines of pieces that continue one another.

    The best pair is joined first, and what it has become is compared anew, so that the direction of a long dash decides
    about the short ones.

    Args:
        pieces: of one mask, in any order.
        rule: the gates.
    """
    lines = list(pieces)
    ends = [_both_ends(p, rule.fit_px) for p in lines]
    while len(lines) > 1 and (pair := _best_pair(np.array(ends), rule)) is not None:
        lower, upper = pair
        lines[lower] = joined(lines[lower], lines[upper])
        ends[lower] = _both_ends(lines[lower], rule.fit_px)
        del lines[upper], ends[upper]
    return lines


def _best_pair(ends: Floats, rule: Joining) -> tuple[int, int] | None:
    """(lower, upper) of the best pair within the gates, or None.

    Args:
        ends: rows of `_both_ends`, [pieces, 8].
        rule: the gates.
    """
    v_near, u_near, slope_near, v_far, u_far, slope_far, rows, length = ends.T
    down = v_far[:, None] - v_near[None, :]
    possible = (down > -rule.overlap_rows) & (v_near[:, None] > v_near[None, :]) & (v_far[:, None] > v_far[None, :])
    possible &= down <= 1 + np.minimum(rule.gap_rows, rule.gap_of_length * np.maximum(rows[:, None], rows[None, :]))
    angle_far, angle_near = np.arctan(slope_far)[:, None], np.arctan(slope_near)[None, :]
    possible &= np.abs(angle_far - angle_near) <= rule.turn_rad
    if not possible.any():
        return None
    across = u_far[:, None] - u_near[None, :]
    gap = np.hypot(across, down)
    trusted = np.minimum(np.maximum(length[:, None], length[None, :]), rule.trust * gap)
    ahead = (slope_far[:, None] * down - across) * np.cos(angle_far)
    back = (across - slope_near[None, :] * down) * np.cos(angle_near)
    mismatch = np.maximum(np.abs(ahead - back), CURVED * np.abs(ahead + back)) / 2
    mismatch = np.where(length[:, None] < trusted, np.abs(back), mismatch)
    mismatch = np.where(length[None, :] < trusted, np.abs(ahead), mismatch)
    possible &= mismatch <= rule.base_px + rule.per_px * gap
    rank = np.where(possible, mismatch + rule.per_px * gap, np.inf)
    best = int(rank.argmin())
    return divmod(best, len(ends)) if possible.flat[best] else None


def _both_ends(piece: Piece, fit_px: float) -> list[float]:
    """v, u, slope of the near end and of the far end, rows, length: straight lines through `fit_px` of each end."""
    length = float(np.hypot(piece.u[-1] - piece.u[0], piece.v[-1] - piece.v[0]))
    rows = max(3, int(len(piece.v) * min(1.0, fit_px / max(length, 1.0))))
    near, far = _end(piece.v[:rows], piece.u[:rows], 0), _end(piece.v[-rows:], piece.u[-rows:], -1)
    return [*near, *far, float(len(piece.v)), length]


def _end(v: Floats, u: Floats, at: int) -> tuple[float, float, float]:
    """v, and u and du/dv there of the least-squares line through the rows."""
    mean_v, mean_u = v.sum() / len(v), u.sum() / len(u)
    off = v - mean_v
    slope = float(off @ u) / max(float(off @ off), 1e-9)
    return float(v[at]), float(mean_u + slope * (v[at] - mean_v)), slope


def joined(lower: Piece, upper: Piece) -> Piece:
    """Two pieces as one; where they overlap the nearer one stays."""
    above = upper.v < lower.v[-1]
    return Piece(
        np.concatenate([lower.v, upper.v[above]]),
        np.concatenate([lower.u, upper.u[above]]),
        np.concatenate([lower.width, upper.width[above]]),
    )


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
