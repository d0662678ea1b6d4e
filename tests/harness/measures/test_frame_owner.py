"""Whose a difference in single frames is: planted in the reference it is nobody's fault, in the candidate it fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from harness.gate import Status, judge
from harness.measures.frame_owner import _shared
from harness.run.folder import Run
from tests.harness.measures.station_blocks import noise
from tests.harness.planted import ROOT, RUNG, X_M, drawn, joined, planted_run

FPS, FRAMES = 20.0, 220
LANES_M = np.array([-5.4, -1.8, 1.8, 5.4])
SHAPE = {
    "bow": 0.8 * np.clip(1 - ((X_M - 10) / 10) ** 2, 0, None),
    "far bow": 1.2 * np.clip(1 - ((X_M - 60) / 20) ** 2, 0, None),
    "aside": np.full(len(X_M), 0.5),
    "turned": X_M * np.tan(np.radians(2)),
    "corner": 0.3 * np.maximum(X_M - 20, 0),
}


def lanes(rng: np.random.Generator, size_m: float = 0.01) -> np.ndarray:
    """Four lines of a car that moves in its lane, with the noise of a network, [frames, lines, points]."""
    t = np.arange(FRAMES) / FPS
    beside = 0.3 * np.sin(2 * np.pi * (0.15 * t + rng.random()))
    y = np.broadcast_to(LANES_M[:, None] - beside[:, None, None], (FRAMES, 4, len(X_M))).copy()
    parts = np.array([noise(rng, FRAMES, size_m, 0.4) for _ in range(8)]).reshape(2, 4, FRAMES).transpose(0, 2, 1)
    return y + parts[0][..., None] + parts[1][..., None] * X_M / 40


def planted(lines: np.ndarray, shape: str, first: int, last: int) -> np.ndarray:
    out = lines.copy()
    out[first:last, 1] += SHAPE[shape]
    return out


def fails(run: Run) -> set[str]:
    return {r.id for r in judge(run).rules if r.status is Status.FAIL}


def of_shape(rules: set[str]) -> set[str]:
    """Rules on single frames."""
    return {r for r in rules if r.startswith(("bend", "kink", "offset", "heading"))}


@pytest.mark.parametrize(
    ("shape", "frames"), [("bow", 30), ("far bow", 3), ("aside", 10), ("turned", 30), ("corner", 10)]
)
def test_what_flashes_up_in_the_reference_fails_nobody_and_in_the_candidate_it_fails(
    tmp_path: Path, shape: str, frames: int
) -> None:
    rng = np.random.default_rng([frames, len(shape)])
    honest, other = lanes(rng), 0.01 * rng.standard_normal((FRAMES, 4, 1))
    bowed = planted(honest, shape, 100, 100 + frames)
    theirs = planted_run(tmp_path / "a", drawn(bowed), drawn(honest + other), frames=FRAMES)
    assert not fails(theirs)
    owners = theirs.read("events").filter(pl.col("kind").is_in(["bend", "kink", "offset_max", "heading"]))["owner"]
    assert set(owners) == {"reference"}
    own = planted_run(tmp_path / "b", drawn(honest + other), drawn(bowed), frames=FRAMES)
    assert of_shape(fails(own))


@pytest.mark.parametrize("shape", ["bow", "aside"])
def test_a_bow_that_stays_is_the_candidate_s_unless_truth_clears_it(tmp_path: Path, shape: str) -> None:
    rng = np.random.default_rng(3)
    honest = lanes(rng)
    bowed = planted(honest, shape, 40, 200)
    truth = drawn(honest + 0.02)
    blamed = planted_run(tmp_path / "a", drawn(bowed), drawn(honest), frames=FRAMES)
    assert of_shape(fails(blamed))
    cleared = planted_run(tmp_path / "b", drawn(bowed), drawn(honest), frames=FRAMES, truth=truth)
    assert not fails(cleared)
    own = planted_run(tmp_path / "c", drawn(honest), drawn(bowed), frames=FRAMES, truth=truth)
    assert of_shape(fails(own))


def test_the_truth_convicts_a_candidate_that_misses_what_really_happened(tmp_path: Path) -> None:
    """The line is really bowed for half a second, the candidate does not see it."""
    rng = np.random.default_rng(4)
    honest = lanes(rng)
    bowed = planted(honest, "bow", 100, 110)
    run = planted_run(tmp_path, drawn(bowed), drawn(honest), frames=FRAMES, truth=drawn(bowed))
    assert of_shape(fails(run))


def test_two_engines_that_bow_against_each_other_excuse_nobody(tmp_path: Path) -> None:
    """The lab by 0.24 m one way, the car by 0.4 m the other."""
    rng = np.random.default_rng(5)
    honest = lanes(rng)
    lab, car = honest.copy(), honest.copy()
    lab[100:110, 1] -= 0.3 * SHAPE["bow"]
    car[100:110, 1] += 0.5 * SHAPE["bow"]
    run = planted_run(tmp_path, drawn(lab), drawn(car), frames=FRAMES)
    assert of_shape(fails(run))


@pytest.mark.parametrize("late", [3])
def test_a_candidate_that_follows_late_is_not_excused(tmp_path: Path, late: int) -> None:
    """Both lines jump to the side for half a second, in the candidate some frames later."""
    rng = np.random.default_rng(6)
    honest = lanes(rng)
    lab = planted(honest, "aside", 100, 110)
    car = planted(honest, "aside", 100 + late, 110 + late)
    run = planted_run(tmp_path, drawn(lab), drawn(car), frames=FRAMES)
    assert of_shape(fails(run))


@pytest.mark.parametrize("frames", [10, 20, 30])
def test_a_candidate_that_stands_still_while_the_vehicle_swerves_is_not_excused(tmp_path: Path, frames: int) -> None:
    """All lines of the reference move aside and back; the candidate's stay where they were, with noise of their own."""
    lab, car = lanes(np.random.default_rng(8)), lanes(np.random.default_rng(8))
    aside = 0.5 * np.sin(np.pi * np.arange(frames) / frames) ** 2
    lab[100 : 100 + frames] -= aside[:, None, None]
    car += np.random.default_rng(9).normal(0, 0.005, (FRAMES, 4, 1))
    run = planted_run(tmp_path, drawn(lab), drawn(car), frames=FRAMES)
    rows = run.read("line_metrics").filter(rung=RUNG, reference=ROOT, band="near", frame=100 + frames // 2)
    assert rows["offset_max"].abs().min() > 0.4
    assert of_shape(fails(run))


def flashing(first: int, last: int) -> np.ndarray:
    """A fifth line that is there in some frames only, [frames, 1, points]."""
    line = np.full((FRAMES, 1, len(X_M)), np.nan)
    line[first:last] = 9.0
    return line


def run_with_a_fifth(tmp_path: Path, before: np.ndarray, after: np.ndarray, truth: np.ndarray | None = None) -> Run:
    lines = drawn(lanes(np.random.default_rng(7)))
    labels = None if truth is None else joined(lines, drawn(truth))
    return planted_run(tmp_path, joined(lines, drawn(before)), joined(lines, drawn(after)), frames=FRAMES, truth=labels)


def missing(run: Run) -> int:
    return int(run.read("frame_metrics").filter(rung=RUNG, reference=ROOT)["missing"].sum())


@pytest.mark.parametrize("frames", [1, 30])
def test_a_line_that_flashes_up_in_the_reference_is_not_missing(tmp_path: Path, frames: int) -> None:
    run = run_with_a_fifth(tmp_path, flashing(100, 100 + frames), flashing(0, 0))
    assert not fails(run)
    assert missing(run) == 0
    assert run.read("events").filter(kind="missing")["owner"].to_list() == ["reference"]


@pytest.mark.parametrize(("first", "last"), [(100, 150), (0, 20), (FRAMES - 20, FRAMES)])
def test_a_line_that_is_there_for_longer_or_at_an_end_of_the_clip_is_missing(
    tmp_path: Path, first: int, last: int
) -> None:
    run = run_with_a_fifth(tmp_path, flashing(first, last), flashing(0, 0))
    assert missing(run) == last - first
    assert "missing" in fails(run)


def test_a_short_line_that_the_candidate_has_for_a_while_is_missing_in_the_rest(tmp_path: Path) -> None:
    run = run_with_a_fifth(tmp_path, flashing(100, 120), flashing(100, 110))
    assert missing(run) == 10


def test_the_truth_tells_which_lines_are_there(tmp_path: Path) -> None:
    short, none = flashing(100, 120), flashing(0, 0)
    assert missing(run_with_a_fifth(tmp_path / "a", short, none, short)) == 20
    assert missing(run_with_a_fifth(tmp_path / "b", flashing(0, FRAMES), none, none)) == 0
    extra = run_with_a_fifth(tmp_path / "c", none, flashing(0, FRAMES), flashing(0, FRAMES))
    assert extra.read("frame_metrics").filter(rung=RUNG, reference=ROOT)["extra"].sum() == 0
    phantom = run_with_a_fifth(tmp_path / "d", none, flashing(0, FRAMES), none)
    assert phantom.read("frame_metrics").filter(rung=RUNG, reference=ROOT)["extra"].sum() == FRAMES


def test_rows_are_the_same_however_the_clip_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bows of the reference all over a clip of 33 s."""
    rng = np.random.default_rng(8)
    honest = np.concatenate([lanes(rng) for _ in range(3)])
    bowed = honest.copy()
    for first in range(40, len(honest), 70):
        bowed = planted(bowed, "bow", first, first + 12)
    before, after = drawn(bowed), drawn(planted(honest, "far bow", 300, 310))
    monkeypatch.setattr("harness.measures.against._BATCH_NS", 0)
    tables = []
    for chunk in (16, len(honest)):
        monkeypatch.setattr("tests.harness.planted.CHUNK_FRAMES", chunk)
        run = planted_run(tmp_path / str(chunk), before, after, frames=len(honest))
        owners = run.read("events").filter(kind="bend", band="near")["owner"]
        assert (owners == "reference").sum() > 5
        tables.append([run.read(t) for t in ("line_metrics", "frame_metrics", "events")])
    for table, other in zip(*tables, strict=True):
        assert table.equals(other)


def test_what_the_others_do_alike_is_the_smaller_of_both_medians_where_both_go_the_same_way() -> None:
    rng = np.random.default_rng(4)
    lines_of_frame = rng.integers(1, 6, 40)
    time = np.repeat(np.arange(40), lines_of_frame)
    strays = rng.normal(size=(2, len(time), 7))
    strays[:, rng.random((len(time), 7)) < 0.3] = np.nan
    found, beside = _shared(strays, time)
    for line, at in np.ndindex(found.shape[1:]):
        others = (time == time[line]) & (np.arange(len(time)) != line)
        known = [x[np.isfinite(x)] for x in strays[:, others, at]]
        one, other = (float(np.median(x)) if len(x) else 0.0 for x in known)
        expected = min(one, other, key=abs) if one * other > 0 else 0.0
        np.testing.assert_array_equal(found[:, line, at], expected)
        assert beside[line, at] == (np.median(known[1]) if len(known[1]) > 1 else 0.0)
