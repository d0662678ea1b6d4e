"""What is in a scene, drawn from a seed: road, lanes, paint, light, motion, traffic, trees.

Every part draws from its own random stream, so a longer clip of a seed begins with the shorter one. `Scene.state(t)` is
closed form: any moment can be rendered alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cases.picture import Ego
from cases.synth.camera import Camera
from cases.synth.geometry import Pose, Road, RoadView
from cases.synth.looks import Look, draw_look
from cases.synth.traffic import Tree, Vehicle, draw_traffic, draw_trees

__all__ = ["DASHED", "DOUBLE", "SLOTS", "SOLID", "Marking", "Motion", "Scene", "State", "Taper", "draw_scene"]

SOLID, DASHED, DOUBLE = 0, 1, 2
SLOTS = 4  # left-left, ego left, ego right, right-right
TRUTH_X_M = np.arange(0.0, 81.0)

# (painted, period) in metres: the dash patterns of several countries' roads
DASHES_M = ((3.0, 12.0), (6.0, 15.0), (6.0, 12.0), (4.0, 10.0), (3.0, 9.0))


@dataclass(frozen=True, slots=True)
class Taper:
    """Where a lane ends: its line moves shift_m to the left, smoothly, between two arc lengths."""

    start_m: float
    end_m: float
    shift_m: float

    def at(self, s_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far left of its first place the line is there, metres."""
        share = np.clip((s_m - self.start_m) / (self.end_m - self.start_m), 0, 1)
        return self.shift_m * share**2 * (3 - 2 * share)


@dataclass(frozen=True, slots=True)
class Marking:
    """One painted line, parallel to the road's reference curve but for a taper.

    offset_m: its middle, left of the reference. kind: SOLID, DASHED or DOUBLE. width_m: of one stripe; gap_m: between
    the stripes of a double line. dash_m, period_m, phase_m: painted length, repeat, start of the dashes (equal lengths
    where solid). yellow: else white. wear: 0 fresh to 1 gone where the wear texture is high. strength: opacity. taper:
    where it leaves its parallel.
    """

    offset_m: float
    kind: int
    width_m: float
    gap_m: float
    dash_m: float
    period_m: float
    phase_m: float
    yellow: bool
    wear: float
    strength: float
    taper: Taper | None = None

    def lateral_m(self, s_m: NDArray[np.float64]) -> float | NDArray[np.float64]:
        """Of its middle, left of the reference, at those arc lengths; one number where it is parallel."""
        return self.offset_m if self.taper is None else self.offset_m + self.taper.at(s_m)


@dataclass(frozen=True, slots=True)
class Wave:
    """amplitude * sin(2 pi hz t + phase)."""

    amplitude: float
    hz: float
    phase: float

    def at(self, t: float) -> float:
        """Value at t seconds."""
        return float(self.amplitude * np.sin(2 * np.pi * self.hz * t + self.phase))

    def rate(self, t: float) -> float:
        """Time derivative at t seconds."""
        turn = 2 * np.pi * self.hz
        return float(self.amplitude * turn * np.cos(turn * t + self.phase))


@dataclass(frozen=True, slots=True)
class Motion:
    """How the vehicle moves: sums of slow waves around a constant speed and a place in the lane."""

    speed_mps: float
    lane_m: float
    surge: tuple[Wave, ...]
    sway: tuple[Wave, ...]
    pitch: tuple[Wave, ...]


@dataclass(frozen=True, slots=True)
class State:
    """The vehicle at one moment: along and across the road, heading against the road, extra pitch and its rate."""

    t_s: float
    s_m: float
    lateral_m: float
    yaw_to_road_rad: float
    shake_rad: float
    shake_rate_radps: float
    pose: Pose
    ego: Ego


@dataclass(frozen=True)
class Scene:
    """A seed's world, and the vehicle that drives through it."""

    seed: int
    camera: Camera
    road: Road
    markings: tuple[Marking, ...]
    ego_left: int
    seams_m: tuple[float, ...]
    shoulder_m: tuple[float, float]
    motion: Motion
    look: Look
    vehicles: tuple[Vehicle, ...]
    trees: tuple[Tree, ...]

    def state(self, t_s: float) -> State:
        """The vehicle at t seconds."""
        move, (s, rate, lateral) = self.motion, self._track(t_s)
        yaw, speed = self._course(t_s)
        pose = self.road.pose(s, lateral, yaw)
        turning = (self._course(t_s + 0.001)[0] - self._course(t_s - 0.001)[0]) / 0.002
        ego = Ego(speed, self.road.curvature(s) * rate + turning, pose.x_m, pose.y_m, pose.yaw_rad)
        shake, shake_rate = sum(w.at(t_s) for w in move.pitch), sum(w.rate(t_s) for w in move.pitch)
        return State(t_s, s, lateral, yaw, shake, shake_rate, pose, ego)

    def view(self, state: State) -> RoadView:
        """The road in the vehicle frame."""
        return self.road.seen_from(state.pose, state.s_m)

    def truth(self, view: RoadView) -> NDArray[np.float64]:
        """Ground truth: y in metres at TRUTH_X_M, float64 [SLOTS, stations]; NaN rows for slots without a line."""
        lines = np.full((SLOTS, len(TRUTH_X_M)), np.nan)
        for slot, line in enumerate(self.slot_lines()):
            if line is not None:
                lines[slot] = view.parallel_at(self.markings[line].lateral_m(view.s_m), TRUTH_X_M)[0]
        return lines

    def slot_lines(self) -> tuple[int | None, ...]:
        """Marking of each slot, None where the road has no such line."""
        wanted = range(self.ego_left - 1, self.ego_left + 3)
        return tuple(i if 0 <= i < len(self.markings) else None for i in wanted)

    def _track(self, t_s: float) -> tuple[float, float, float]:
        """(arc length, its rate, lateral offset): m, m/s, m."""
        move = self.motion
        s = move.speed_mps * t_s + sum(w.at(t_s) - w.at(0.0) for w in move.surge)
        rate = move.speed_mps + sum(w.rate(t_s) for w in move.surge)
        return s, rate, move.lane_m + sum(w.at(t_s) for w in move.sway)

    def _course(self, t_s: float) -> tuple[float, float]:
        """(heading against the road, speed over ground): rad, m/s; the vehicle moves where it points."""
        s, rate, lateral = self._track(t_s)
        across = sum(w.rate(t_s) for w in self.motion.sway)
        along = rate * (1 - lateral * self.road.curvature(s))
        return float(np.arctan2(across, along)), float(np.hypot(across, along))


def draw_scene(seed: int, seconds: float, size: tuple[int, int] = (640, 360)) -> Scene:
    """The scene of a seed, with road enough for that many seconds."""
    stream = [np.random.default_rng([seed, part]) for part in range(6)]
    sharpest = float(stream[0].choice([0.0004, 0.001, 0.002, 0.004], p=[0.2, 0.3, 0.3, 0.2]))
    speed = float(min(stream[1].uniform(15, 33), np.sqrt(2.5 / sharpest)))
    lanes, lane_width = int(stream[2].integers(2, 5)), float(stream[2].uniform(3.25, 3.85))
    edges = lane_width * (np.arange(lanes, -1.0, -1.0) - lanes / 2).astype(np.float64)
    ego_left = int(stream[2].integers(lanes))
    lane_middle = float(edges[ego_left : ego_left + 2].mean())
    motion = _draw_motion(stream[1], speed, lane_middle)
    road = _draw_road(stream[0], sharpest, -40.0, speed * seconds + 340.0)
    return Scene(
        seed,
        Camera.of_size(size),
        road,
        _draw_markings(stream[2], edges),
        ego_left,
        tuple(stream[2].uniform(edges[-1], edges[0], stream[2].integers(0, 3)).tolist()),
        (float(edges[0] + stream[2].uniform(0.4, 2.5)), float(edges[-1] - stream[2].uniform(0.4, 2.8))),
        motion,
        draw_look(stream[3]),
        draw_traffic(stream[4], edges, ego_left, speed),
        draw_trees(stream[5], (float(edges[0]), float(edges[-1])), speed * seconds + 300.0),
    )


def _draw_road(rng: np.random.Generator, sharpest_per_m: float, start_m: float, end_m: float) -> Road:
    """Straights and arcs joined by clothoids at least 50 m long."""
    s, curvature = [start_m], [float(rng.uniform(-1, 1) * sharpest_per_m)]
    while s[-1] < end_m:
        target = 0.0 if rng.random() < 0.3 else float(rng.uniform(-1, 1) * sharpest_per_m)
        s += [s[-1] + float(rng.uniform(50, 140)), s[-1] + float(rng.uniform(160, 320))]
        curvature += [target, target]
    return Road.from_knots(s, curvature)


def _draw_motion(rng: np.random.Generator, speed_mps: float, lane_middle_m: float) -> Motion:
    """Slow surge, smooth sway within the lane, body pitch at 1 to 2.2 Hz and road shake at 5 to 9 Hz."""

    def waves(count: int, amplitude: tuple[float, float], hz: tuple[float, float]) -> tuple[Wave, ...]:
        draws = zip(rng.uniform(*amplitude, count), rng.uniform(*hz, count), rng.uniform(0, 6.28, count), strict=True)
        return tuple(Wave(float(a), float(f), float(p)) for a, f, p in draws)

    return Motion(
        speed_mps,
        lane_middle_m + float(rng.uniform(-0.3, 0.3)),
        waves(1, (0.0, 3.0), (0.02, 0.06)),
        waves(2, (0.02, 0.2), (0.03, 0.12)),
        waves(2, (0.0002, 0.0020), (1.0, 2.2)) + waves(1, (0.0, 0.0005), (5, 9)),
    )


def _draw_markings(rng: np.random.Generator, edges_m: NDArray[np.float64]) -> tuple[Marking, ...]:
    """One marking per lane edge, left to right: mostly dashed between lanes, mostly solid outside."""
    pattern = DASHES_M[int(rng.integers(len(DASHES_M)))]
    phase, width, gap = float(rng.uniform(0, 30)), float(rng.uniform(0.11, 0.20)), float(rng.uniform(0.10, 0.18))
    yellow_left, wear = bool(rng.random() < 0.4), float(rng.uniform(0.0, 0.9))
    markings = []
    for i, offset in enumerate(edges_m):
        outer = i in (0, len(edges_m) - 1)
        kind = int(rng.choice([SOLID, DASHED, DOUBLE], p=[0.72, 0.13, 0.15] if outer else [0.15, 0.73, 0.12]))
        dash, period = pattern if kind == DASHED else (1.0, 1.0)
        strength, own_wear = float(rng.uniform(0.6, 1.0)), wear * float(rng.uniform(0.5, 1.0))
        markings.append(
            Marking(float(offset), kind, width, gap, dash, period, phase, i == 0 and yellow_left, own_wear, strength)
        )
    return tuple(markings)
