"""The measures again, as slow and obvious as they can be: one line, one station, one pair at a time.

Nothing here is imported from the code it checks.
"""

from __future__ import annotations

import math
import struct
from itertools import combinations, pairwise, permutations

import numpy as np

Points = list[tuple[float, float]]
Followed = tuple[int, tuple[np.ndarray, np.ndarray]]  # track, (stations, lateral positions)


def usable(points: np.ndarray, frame: str) -> Points:
    """(forward, left) of the finite, advancing points, near to far."""
    walk = []
    for x, y in points.tolist():
        if math.isfinite(x) and math.isfinite(y):
            walk.append((x, y) if frame == "vehicle" else (-y, -x))
    if walk and walk[-1][0] < walk[0][0]:
        walk.reverse()
    kept: Points = []
    for point in walk:
        if not kept or point[0] > kept[-1][0]:
            kept.append(point)
    return kept


def lateral_at(points: np.ndarray, station: float, frame: str) -> float:
    walk = usable(points, frame)
    forward = station if frame == "vehicle" else -station
    for (s0, d0), (s1, d1) in pairwise(walk):
        if s0 <= forward <= s1:
            return d0 + (forward - s0) / (s1 - s0) * (d1 - d0)
    return math.nan


def there(stations: np.ndarray, offset: np.ndarray) -> tuple[list[float], list[float]]:
    pairs = [(float(s), float(d)) for s, d in zip(stations, offset, strict=True) if math.isfinite(d)]
    return [s for s, _ in pairs], [d for _, d in pairs]


def bend(stations: np.ndarray, offset: np.ndarray) -> float:
    s, d = there(stations, offset)
    if len(s) < 3:
        return math.nan
    widest = 0.0
    for i, j, k in combinations(range(len(s)), 3):
        chord = d[i] + (s[j] - s[i]) / (s[k] - s[i]) * (d[k] - d[i])
        widest = max(widest, abs(d[j] - chord))
    return widest


def bend_with_edge(band: int, stations: np.ndarray, offset: np.ndarray) -> float:
    """Bend of a band and of the stretch across its nearer edge; stations, offset: of all bands."""
    own = bend(stations[band], offset[band])
    if band == 0:
        return own
    ends = [(row[0] + row[-1]) / 2 for row in stations[band - 1 : band + 1]]
    places = np.linspace(*ends, stations.shape[1])
    flat = stations.ravel().tolist(), offset.ravel().tolist()
    across = np.array([value_between(*flat, place) for place in places])
    return max(own, bend(places, across)) if np.isfinite(across).mean() >= 0.8 else own


def bend_rms(stations: np.ndarray, offset: np.ndarray) -> float:
    s, d = there(stations, offset)
    residual = np.array(d) - np.polyval(np.polyfit(s, d, 1), s)
    return float(np.sqrt((residual**2).mean()))


def heading(stations: np.ndarray, offset: np.ndarray) -> float:
    return float(np.polyfit(*there(stations, offset), 1)[0])


def curvature_of_halves(stations: np.ndarray, offset: np.ndarray) -> float:
    """The largest over three overlapping halves with five stations or more."""
    halves = [slice(0, 9), slice(4, 13), slice(8, 17)]
    found = [curvature_gap(stations[h], offset[h]) for h in halves if np.isfinite(offset[h]).sum() >= 5]
    return max(found, default=math.nan)


def curvature_gap(stations: np.ndarray, offset: np.ndarray) -> float:
    return abs(2 * float(np.polyfit(*there(stations, offset), 2)[0]))


def value_between(stations: list[float], offset: list[float], place: float) -> float:
    """Linear between the two stations around `place`; NaN outside or where one of them is missing."""
    for s, d in zip(stations, offset, strict=True):
        if abs(s - place) < 1e-9:
            return d
    around = sorted(zip(stations, offset, strict=True))
    for (s0, d0), (s1, d1) in pairwise(around):
        if s0 < place < s1:
            return d0 + (place - s0) / (s1 - s0) * (d1 - d0)
    return math.nan


def kink(band: np.ndarray, stations: np.ndarray, offset: np.ndarray, length: float) -> float:
    """band: the stations to look at; stations, offset: those of the whole line."""
    all_s, all_d = stations.ravel().tolist(), offset.ravel().tolist()
    sharpest = math.nan
    for s in band.tolist():
        before, here, after = (value_between(all_s, all_d, s + step) for step in (-length, 0, length))
        angle = abs(after - 2 * here + before) / length
        if math.isfinite(angle):
            sharpest = angle if math.isnan(sharpest) else max(sharpest, angle)
    return sharpest


def corners_of(points: np.ndarray, closed: bool) -> Points:
    kept = [(x, y) for x, y in points.astype(float).tolist() if math.isfinite(x) and math.isfinite(y)]
    return [*kept, kept[0]] if closed and kept else kept


def point_along(corners: Points, share: float) -> tuple[float, float]:
    edges = list(pairwise(corners))
    left = share * sum(math.dist(a, b) for a, b in edges)
    for a, b in edges:
        length = math.dist(a, b)
        if length > 0 and left <= length:
            return (a[0] + left / length * (b[0] - a[0]), a[1] + left / length * (b[1] - a[1]))
        left -= length
    return corners[-1]


def distance_to_edge(p: tuple[float, float], a: tuple[float, float], b: tuple[float, float]) -> float:
    length2 = math.dist(a, b) ** 2
    share = 0.0 if length2 == 0 else ((p[0] - a[0]) * (b[0] - a[0]) + (p[1] - a[1]) * (b[1] - a[1])) / length2
    share = min(1.0, max(0.0, share))
    return math.dist(p, (a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])))


def directed_chamfer(a: Points, b: Points, samples: int) -> float:
    edges = list(pairwise(b)) or [(b[0], b[0])]
    total = 0.0
    for i in range(samples):
        p = point_along(a, (i + 0.5) / samples)
        total += min(distance_to_edge(p, *edge) for edge in edges)
    return total / samples


def chamfer(a: np.ndarray, a_closed: bool, b: np.ndarray, b_closed: bool, samples: int = 32) -> float:
    one, other = corners_of(a, a_closed), corners_of(b, b_closed)
    if not one or not other:
        return math.nan
    return (directed_chamfer(one, other, samples) + directed_chamfer(other, one, samples)) / 2


def best_pairs(cost: dict[tuple[int, int], float]) -> tuple[int, float]:
    """(how many pairs, their smallest sum) over every way to pair rows with columns; only pairs in `cost` may be."""
    rows, columns = sorted({r for r, _ in cost}), sorted({c for _, c in cost})
    best = (0, 0.0)
    short, long, flip = (rows, columns, False) if len(rows) <= len(columns) else (columns, rows, True)
    for picked in permutations(long, len(short)):
        pairs = [(b, a) if flip else (a, b) for a, b in zip(short, picked, strict=True)]
        chosen = [cost[p] for p in pairs if p in cost]
        if len(chosen) > best[0] or (len(chosen) == best[0] and sum(chosen) < best[1]):
            best = (len(chosen), sum(chosen))
    return best


def least_cost(cost: dict[tuple[int, int], float], alone: float) -> float:
    """The smallest sum of (cost - alone) over every way to pair rows with columns; only pairs in `cost` may be."""
    rows, columns = sorted({r for r, _ in cost}), sorted({c for _, c in cost})
    best = 0.0
    short, long, flip = (rows, columns, False) if len(rows) <= len(columns) else (columns, rows, True)
    for picked in permutations(long, len(short)):
        pairs = [(b, a) if flip else (a, b) for a, b in zip(short, picked, strict=True)]
        best = min(best, sum(min(cost.get(p, alone) - alone, 0.0) for p in pairs))
    return best


def float32_rank(value: float) -> int:
    """Which float32 this is, counted from zero."""
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    return -(bits & 0x7FFFFFFF) if bits >> 31 else bits


def tensor_row(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Measures of one frame, [elements] each."""
    is_float = before.dtype.kind == "f"
    pairs = [(float(a), float(b)) for a, b in zip(before, after, strict=True)]
    bad = sum(not math.isfinite(b) for _, b in pairs)
    pairs = [(a, b) for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
    names = ("max_abs", "mean_abs", "p99_abs", "rel_rms", "cosine", "snr_db", "ulp_p99")
    if not pairs:
        return dict.fromkeys(names, math.nan) | {"nonfinite": bad}
    gaps = [abs(b - a) for a, b in pairs]
    power, energy = math.fsum(a * a for a, _ in pairs), math.fsum(g * g for g in gaps)
    other = math.fsum(b * b for _, b in pairs)
    ratio = 0.0 if energy == 0 else math.inf if power == 0 else energy / power
    if energy == 0:
        cosine = 1.0
    elif power == 0 or other == 0:
        cosine = 0.0
    else:
        cosine = math.fsum(a * b for a, b in pairs) / math.sqrt(power * other)
    steps = [abs(float32_rank(np.float32(b)) - float32_rank(np.float32(a))) for a, b in pairs]
    snr = 150.0 if ratio == 0 else -math.inf if ratio == math.inf else min(150.0, -10 * math.log10(ratio))
    return {
        "max_abs": max(gaps),
        "mean_abs": math.fsum(gaps) / len(gaps),
        "p99_abs": float(np.quantile(gaps, 0.99)),
        "rel_rms": math.sqrt(ratio),
        "cosine": cosine,
        "snr_db": snr,
        "ulp_p99": float(np.quantile(steps, 0.99)) if is_float else math.nan,
        "nonfinite": bad,
    }


def ego_look(now: list[Followed], then: list[Followed], way: tuple[float, float, float], gate: float) -> list[float]:
    """Errors of one pair of moments, ego_path.py's definition word by word; infinity where only one has the line."""
    forward, left, turn = way
    found, scaled = [], []
    for side in (1, -1):
        here, there = ego_boundary(now, side), ego_boundary(then, side)
        if here is None:
            if there is not None and np.isfinite(at_x(there[1], 40.0)):
                found.append(np.inf)
            continue
        y = at_x(here[1], 20.0)
        x = forward + 20 * math.cos(turn) - y * math.sin(turn)
        aside = left + 20 * math.sin(turn) + y * math.cos(turn)
        said, before = [next((at_x(p, k) for t, p in then if t == here[0] >= 0), math.nan) for k in (x, x - 2.5)]
        if not abs(said - aside) < gate:
            found.append(np.inf)
            continue
        found.append(said - aside)
        scaled.append(said - x * ((said - before) / 2.5 if np.isfinite(before) else 0.0))
    if len(scaled) < 2:
        return found
    errors, u = np.array(found), np.array(scaled)
    inverse = np.linalg.inv(0.1**2 * np.eye(2) + 0.5**2)
    return list(errors - u * (u @ inverse @ errors) / (u @ inverse @ u + 0.12**-2))


def ego_boundary(lines: list[Followed], side: int) -> Followed | None:
    """The nearest line on one side, at most 4 m aside 20 m ahead."""
    fits = [line for line in lines if 0 < side * at_x(line[1], 20.0) <= 4]
    return min(fits, key=lambda line: side * at_x(line[1], 20.0), default=None)


def at_x(line: tuple[np.ndarray, np.ndarray], x: float) -> float:
    """Lateral position of a line of (stations, positions); NaN beside a missing one."""
    stations, y = line
    k = int(np.searchsorted(stations, x, side="right")) - 1
    if k < 0 or x > stations[-1]:
        return math.nan
    if x == stations[k]:
        return float(y[k])
    return float(y[k] + (y[k + 1] - y[k]) * (x - stations[k]) / (stations[k + 1] - stations[k]))
