"""Other vehicles and roadside trees: what they are and where they are at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tree", "Vehicle", "draw_traffic", "draw_trees"]

LOOP_M = 320.0  # traffic of a lane repeats at this length, out of sight at both ends
BEHIND_M = 60.0

# kind: length, width, height of the body, metres; share among vehicles
_KINDS = {"car": ((4.5, 1.82, 1.45), 0.65), "van": ((5.6, 2.0, 2.3), 0.2), "truck": ((11.0, 2.5, 3.5), 0.15)}
_PAINTS = ((225, 225, 228), (28, 28, 32), (130, 134, 140), (150, 30, 28), (36, 60, 120), (190, 184, 170), (70, 74, 80))


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A vehicle that keeps its lane.

    kind: car, van or truck. size_m: length, width, height. lateral_m: left of the road's reference. start_m: arc length
    of its rear at t = 0. speed_mps: its speed. lead_m: for a vehicle ahead in the ego lane the mean gap (its arc length
    then follows the ego vehicle), else None. colour: RGB albedo, 0-255.
    """

    kind: str
    size_m: tuple[float, float, float]
    lateral_m: float
    start_m: float
    speed_mps: float
    lead_m: float | None
    colour: tuple[int, int, int]

    def rear_s_m(self, t_s: float, ego_s_m: float) -> float:
        """Arc length of its rear; loops so that it stays between BEHIND_M behind and LOOP_M - BEHIND_M ahead."""
        if self.lead_m is not None:
            return ego_s_m + self.lead_m * (1 + 0.15 * float(np.sin(0.25 * t_s + self.start_m)))
        ahead = (self.start_m + self.speed_mps * t_s - ego_s_m + BEHIND_M) % LOOP_M
        return ego_s_m + ahead - BEHIND_M


@dataclass(frozen=True, slots=True)
class Tree:
    """A roadside tree: place by arc length and lateral offset, crown height and radius, metres; RGB albedo."""

    s_m: float
    lateral_m: float
    crown_m: float
    radius_m: float
    colour: tuple[int, int, int]


def draw_traffic(
    rng: np.random.Generator, edges_m: NDArray[np.float64], ego_left: int, ego_mps: float
) -> tuple[Vehicle, ...]:
    """Up to three vehicles in each other lane, and in half of the scenes one ahead in the ego lane."""
    vehicles = []
    for lane, (left, right) in enumerate(pairwise(edges_m.tolist())):
        middle, faster = float((left + right) / 2), float(rng.uniform(-4, 5))
        count, phase = int(rng.choice([0, 1, 2, 3], p=[0.35, 0.3, 0.2, 0.15])), float(rng.uniform(0, LOOP_M))
        lead = float(rng.uniform(14, 70)) if rng.random() < 0.5 else None
        for i in range(3):
            kind, size, colour = _draw_kind(rng)
            place = middle + float(rng.uniform(-0.25, 0.25))
            start = phase + (i + float(rng.uniform(-0.25, 0.25))) * LOOP_M / 3
            if lane == ego_left and lead is not None and i == 0:
                vehicles.append(Vehicle(kind, size, place, phase, ego_mps, lead, colour))
            elif lane != ego_left and i < count:
                vehicles.append(Vehicle(kind, size, place, start, ego_mps + faster, None, colour))
    return tuple(vehicles)


def draw_trees(rng: np.random.Generator, outer_m: tuple[float, float], end_m: float) -> tuple[Tree, ...]:
    """Trees on both sides, some scenes dense, some bare."""
    spacing = float(rng.choice([9.0, 22.0, 60.0]))
    trees, s = [], 0.0
    while s < end_m:
        s += spacing * float(rng.uniform(0.4, 1.6))
        left = bool(rng.random() < 0.5)
        away = 4.5 + float(rng.gamma(1.6, 6.0))
        green = float(rng.uniform(0.6, 1.1))
        colour = (int(62 * green), int(84 * green), int(48 * green))
        crown, radius = float(rng.uniform(3.0, 7.0)), float(rng.uniform(1.4, 3.4))
        trees.append(Tree(s, outer_m[0] + away if left else outer_m[1] - away, crown, radius, colour))
    return tuple(trees)


def _draw_kind(rng: np.random.Generator) -> tuple[str, tuple[float, float, float], tuple[int, int, int]]:
    kind = str(rng.choice(list(_KINDS), p=[share for _, share in _KINDS.values()]))
    size, _ = _KINDS[kind]
    scale = float(rng.uniform(0.94, 1.06))
    return kind, (size[0] * scale, size[1] * scale, size[2] * scale), _PAINTS[int(rng.integers(len(_PAINTS)))]
