from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.ego_path import GRID, drawn_by, skill_of
from benchmarks.road_drive import Drive, drive_on, moments_of
from harness.measures.ego_path import EgoPath, Steps, steps_of
from harness.measures.way import Way
from harness.run.folder import Run
from tests.harness.measures import slow_metrics
from tests.harness.planted import drawn, planted_run


def asked(drive: Drive, moments: pl.DataFrame | None = None) -> tuple[Steps, ...]:
    way = Way.of(moments_of(drive) if moments is None else moments)
    assert way is not None
    return steps_of(way, GRID)


@pytest.fixture(scope="module", params=[True, False], ids=["bends", "straight"])
def drive(request: pytest.FixtureRequest) -> Drive:
    return drive_on(np.random.default_rng(3), 15, curved=request.param, wander_m=0.4)


def rng() -> np.random.Generator:
    return np.random.default_rng(8)


def test_the_truth_is_consistent_and_constant_lines_are_not(drive: Drive) -> None:
    steps = asked(drive)
    error, skill, lag = skill_of(steps, drive.lines)
    assert error < 0.05
    assert skill > 0.95
    assert lag == 0
    constant = skill_of(steps, drawn_by("constant", drive, rng()))
    assert constant[1] < 0.36


def test_speed_and_yaw_rate_of_sensors_tell_nearly_what_the_pose_tells(drive: Drive) -> None:
    steps = asked(drive, moments_of(drive, rng()))
    assert abs(steps[0].constant_m - asked(drive)[0].constant_m) < 0.1
    assert skill_of(steps, drive.lines)[1] > 0.8


def test_an_honest_network_behind_a_pitching_camera_is_told_from_lines_that_never_move(drive: Drive) -> None:
    steps = asked(drive)
    assert skill_of(steps, drawn_by("honest", drive, rng()))[1] > 0.55


def test_dropping_lines_and_cutting_them_short_is_no_gain(drive: Drive) -> None:
    steps = asked(drive)
    honest = skill_of(steps, drawn_by("honest", drive, rng()))[1]
    assert skill_of(steps, drawn_by("blinking", drive, rng()))[1] < honest - 0.3
    assert skill_of(steps, drawn_by("short", drive, rng()))[1] < 0
    nothing = np.full_like(drive.lines, np.nan)
    assert skill_of(steps, nothing)[0] == GRID.thresholds.match_gate


def test_lines_of_half_a_second_ago_read_so(drive: Drive) -> None:
    late = np.concatenate([np.repeat(drive.lines[:1], 10, axis=0), drive.lines[:-10]])
    assert skill_of(asked(drive), late)[2] == 0.5
    assert skill_of(asked(drive), drawn_by("smoothed", drive, rng()))[2] in (0.35, 0.5)


def test_a_steady_mounting_error_costs_nothing(drive: Drive) -> None:
    turned = drive.lines + np.radians(0.5) * np.arange(0, 81, 2.5)
    assert skill_of(asked(drive), turned)[1] > 0.9


def test_without_motion_or_with_too_little_of_it_nothing_is_told() -> None:
    still = drive_on(np.random.default_rng(1), 15, curved=False, wander_m=0.0)
    assert np.isnan(asked(still)[0].constant_m)
    assert np.isnan(skill_of(asked(still), still.lines)[1])
    bare = moments_of(still).select("timestamp_ns")
    assert Way.of(bare) is None
    assert Way.of(bare.with_columns(speed_mps=pl.lit(20.0))) is None


def test_one_steady_curve_tells_nothing() -> None:
    frames = 300
    yaw = np.arange(frames) / 20 * 20 / 400
    moments = pl.DataFrame(
        {"timestamp_ns": (np.arange(frames) * 5e7).astype(np.int64), "speed_mps": 20.0, "yaw_rad": yaw}
    )
    way = Way.of(moments)
    assert way is not None
    assert np.isnan(steps_of(way, GRID)[0].constant_m)


def test_a_run_has_a_row_for_lab_and_car_and_nulls_without_motion(tmp_path, drive: Drive) -> None:
    def run_of(name: str, motion: dict[str, np.ndarray] | None) -> Run:
        lines = drawn(drive.lines)
        return planted_run(tmp_path / name, lines, lines, frames=drive.frames, fps=drive.fps, motion=motion)

    told = run_of("a", drive.motion).read("path_metrics")
    assert told["rung"].to_list() == ["deploy/ort-fp32", "train/torch-fp32"]
    assert (told["path_skill"] > 0.95).all()
    assert told["looks"].min() > 50  # type: ignore[operator]  # there are rows
    assert run_of("b", None).read("path_metrics")["path_skill"].null_count() == 2
    standing = {name: np.zeros(drive.frames) for name in ("x_m", "y_m", "yaw_rad")}
    assert run_of("c", standing).read("path_metrics")["path_skill"].null_count() == 2


def test_the_way_is_that_of_the_pose() -> None:
    """A circle of 100 m radius: driven by pose, by speed and heading, and by speed and yaw rate."""
    frames, rate = 400, 0.1
    t = np.arange(frames) / 20
    time = (t * 1e9).astype(np.int64)
    pose = {"x_m": 100 * np.sin(rate * t), "y_m": 100 * (1 - np.cos(rate * t)), "yaw_rad": rate * t}
    told = [
        pl.DataFrame({"timestamp_ns": time, **pose}),
        pl.DataFrame({"timestamp_ns": time, "speed_mps": 10.0, "yaw_rad": rate * t}),
        pl.DataFrame({"timestamp_ns": time, "speed_mps": 10.0, "yaw_rate_radps": rate}),
    ]
    for moments in told:
        way = Way.of(moments)
        assert way is not None
        forward, left, turn = way.between(np.array([100]), np.array([140]))
        assert forward[0] == pytest.approx(100 * np.sin(0.2), abs=0.01)
        assert left[0] == pytest.approx(100 * (1 - np.cos(0.2)), abs=0.01)
        assert turn[0] == pytest.approx(0.2, abs=1e-6)
        ago = way.delayed(1.0)
        assert ago.between(np.array([120]), np.array([160]))[0][0] == pytest.approx(forward[0], abs=0.01)
        assert np.isnan(ago.x_m[:20]).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_error_is_that_of_the_slow_way_however_the_frames_are_cut(drive: Drive, seed: int) -> None:
    """Lines that come and go, end early, change their tracks or have none, in frames that were not all run."""
    random, steps = np.random.default_rng(seed), asked(drive)
    stations = GRID.stations.ravel()
    frames, count = drawn_by("honest", drive, random).shape[:2]
    lines = drawn_by("honest", drive, random).reshape(frames * count, -1)
    lateral = np.array([np.interp(stations, np.arange(0, 81, 2.5), y) for y in lines])
    lateral[stations >= random.uniform(25, 90, (len(lateral), 1))] = np.nan
    frame, track = np.repeat(np.arange(frames), count), np.tile(np.arange(count), frames)
    track[random.random(len(track)) < 0.05] = random.choice([-1, 0, 2])
    has, ran = random.random(len(lateral)) > 0.1, np.flatnonzero(random.random(frames) > 0.05)
    lateral, frame, track = lateral[has], frame[has], track[has]

    found = []
    for parts in (1, 5, len(ran)):
        path = EgoPath(steps, GRID)
        for part in np.array_split(ran, parts):
            rows = np.isin(frame, part)
            path.add(part, part, frame[rows], lateral[rows], track[rows])
        found.append([path.error_m(d) for d in range(len(steps))])
    assert found[0] == found[1] == found[2]

    seen = {at: [(track[k], (stations, lateral[k])) for k in np.flatnonzero(frame == at)] for at in ran.tolist()}
    for told, one in zip(found[0], steps, strict=True):
        ways = zip(one.then.tolist(), one.now.tolist(), one.forward_m, one.left_m, one.turn_rad, strict=True)
        looks = [slow_metrics.ego_look(seen[b], seen[a], w, GRID.thresholds.match_gate) for a, b, *w in ways
                 if a in seen and b in seen]  # fmt: skip
        errors = np.concatenate([[], *looks])
        off = np.abs(errors - np.median(errors[np.isfinite(errors)]))
        assert told == pytest.approx(np.minimum(off, GRID.thresholds.match_gate).mean(), abs=0.01)
