"""Faults that a car has shown, on lines as networks draw them: each fails the default policy, clean candidates pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.gate import Status, judge
from harness.gate.verdict import RuleOutcome
from harness.lines.table import LineTable
from harness.run.folder import Run
from tests.harness.measures.station_blocks import noise
from tests.harness.planted import ROOT, RUNG, X_M, drawn, planted_run

FPS, FRAMES = 20.0, 400
LANES_M = np.array([-5.4, -1.8, 1.8, 5.4])
T = np.arange(FRAMES) / FPS
Lines = np.ndarray
Fault = Callable[[np.random.Generator, Lines], Lines]


def drive(rng: np.random.Generator) -> Lines:
    """What a car sees that moves in its lane on a road that bends, [frames, lines, points]."""
    phase = rng.random(3)
    beside = 0.3 * np.sin(2 * np.pi * (0.11 * T + phase[0])) + 0.1 * np.sin(2 * np.pi * (0.23 * T + phase[1]))
    curvature = 2e-3 * np.sin(2 * np.pi * (0.05 * T + phase[2]))
    return LANES_M[:, None] - beside[:, None, None] + curvature[:, None, None] * X_M**2 / 2


def wobble(rng: np.random.Generator, lines: Lines, size_m: float = 0.008) -> Lines:
    """Noise of an engine: correlated, heavy-tailed, a straight line that shifts and turns; three times as much far."""
    shape = lines.shape[:2]
    parts = np.array([noise(rng, FRAMES, size_m, 0.3) for _ in range(2 * shape[1])]).reshape(2, shape[1], FRAMES)
    shift, turn = parts.transpose(0, 2, 1)
    return lines + shift[..., None] + turn[..., None] * X_M / 40


def every_third_frame_far(rng: np.random.Generator, lines: Lines) -> Lines:
    """The far field jumps by 0.3 to 2 m to either side."""
    size = rng.uniform(0.3, 2, FRAMES) * rng.choice([-1, 1], FRAMES) * (np.arange(FRAMES) % 3 == 0)
    return lines + size[:, None, None] * np.clip((X_M - 40) / 40, 0, None)


def frozen(rng: np.random.Generator, lines: Lines) -> Lines:
    """Its last answer again for the last 2.5 s."""
    out = lines.copy()
    out[-50:] = out[-51]
    return out


def drifting(sign: int) -> Fault:
    return lambda rng, lines: lines + sign * 0.3 * np.interp(T, [3, 8, 14, 19], [0, 1, 1, 0])[:, None, None]


def slow_swing(rng: np.random.Generator, lines: Lines) -> Lines:
    return lines + 0.25 * np.sin(2 * np.pi * (0.25 * T + rng.random()))[:, None, None]


def tremble(rng: np.random.Generator, lines: Lines) -> Lines:
    return lines + 0.075 * np.sin(2 * np.pi * (3 * T + rng.random()))[:, None, None]


def lost_for_three_frames(rng: np.random.Generator, lines: Lines) -> Lines:
    out, first = lines.copy(), int(rng.integers(20, FRAMES - 20))
    out[first : first + 3, 1] = np.nan
    return out


def far_swing(rng: np.random.Generator, lines: Lines) -> Lines:
    """1.5 m at 80 m, still at 40 m, for four seconds."""
    size = 0.75 * np.sin(2 * np.pi * (1.0 * T + rng.random())) * ((T >= 8) & (T < 12))
    return lines + size[:, None, None] * np.clip((X_M - 40) / 40, 0, None)


def nearest_resize(rng: np.random.Generator, lines: Lines) -> Lines:
    """Rows read elsewhere: up to 0.17 m near and 0.46 m far, another amount in every frame."""
    size = rng.uniform(-1, 1, FRAMES)[:, None, None]
    return lines + size * np.interp(X_M, [0, 20, 80], [0.17, 0.17, 0.46])


def late_by_three_frames(rng: np.random.Generator, lines: Lines) -> Lines:
    return np.concatenate([np.repeat(lines[:1], 3, axis=0), lines[:-3]])


FAULTS: dict[str, tuple[Fault, set[str]]] = {
    "far field every third frame": (every_third_frame_far, {"offset_max-far"}),
    "frozen for 2.5 s": (frozen, {"frozen"}),
    "drift to the left": (drifting(1), {"drift"}),
    "drift to the right": (drifting(-1), {"drift"}),
    "0.5 m at 0.25 Hz": (slow_swing, {"wander"}),
    "0.15 m at 3 Hz": (tremble, {"tremble-near-mid"}),
    "lost for 3 frames": (lost_for_three_frames, {"missing", "missing-lines"}),
    "1.5 m at 80 m": (far_swing, {"swing"}),
    "nearest resize": (nearest_resize, {"jitter-near-mid", "offset_max-near-mid"}),
}


def failed(run: Run) -> dict[str, RuleOutcome]:
    """Rules of the default policy that fail, by id."""
    return {r.id: r for r in judge(run).rules if r.status is Status.FAIL}  # type: ignore[misc]  # no profile leaves out


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_a_car_has_shown_fails(tmp_path: Path, name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fault, told = FAULTS[name]
    seen = drive(rng)
    before, after = wobble(rng, seen), fault(rng, wobble(rng, seen))
    found = failed(planted_run(tmp_path, drawn(before), drawn(after), frames=FRAMES, fps=FPS))
    assert told <= found.keys(), sorted(found)


@pytest.mark.parametrize("seed", range(4))
def test_a_clean_candidate_passes(tmp_path: Path, seed: int) -> None:
    """As noisy as the reference, by noise of its own."""
    rng = np.random.default_rng([9, seed])
    seen = drive(rng)
    found = failed(planted_run(tmp_path, drawn(wobble(rng, seen)), drawn(wobble(rng, seen)), frames=FRAMES, fps=FPS))
    assert not found, {k: r.reason for k, r in found.items()}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["0.15 m at 3 Hz"])
def test_the_same_fault_of_the_reference_fails_nobody_over_time(tmp_path: Path, name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fault, told = FAULTS[name]
    seen = drive(rng)
    run = planted_run(tmp_path, drawn(fault(rng, wobble(rng, seen))), drawn(wobble(rng, seen)), frames=FRAMES, fps=FPS)
    assert not told & failed(run).keys()


def test_a_line_that_lives_five_frames_breaks_no_bias(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    before, after = np.full((2, FRAMES, 5, len(X_M)), np.nan)
    seen = drive(rng)
    before[:, :4], after[:, :4] = wobble(rng, seen), wobble(rng, seen)
    before[100:105, 4], after[100:105, 4] = 9.0, 9.12
    found = failed(planted_run(tmp_path, drawn(before), drawn(after), frames=FRAMES, fps=FPS))
    assert not {k for k in found if "bias" in k or "drift" in k or "jitter" in k}


@pytest.mark.parametrize("slots", [0, 4])
def test_a_reference_that_blinks_is_no_extra_line_and_one_that_lost_its_line_is(tmp_path: Path, slots: int) -> None:
    rng = np.random.default_rng(0)
    seen = drive(rng)
    before, after = wobble(rng, seen), wobble(rng, seen)
    for first in (55, 130, 200, 290):
        before[first : first + 4, 2] = np.nan
    columns = [slotted(lines, slots) for lines in (before, after)]
    assert not failed(planted_run(tmp_path / "a", *columns, frames=FRAMES, fps=FPS, slots=slots))
    found = failed(planted_run(tmp_path / "b", *columns[::-1], frames=FRAMES, fps=FPS, slots=slots))
    assert {"missing", "missing-lines"} <= found.keys()
    before[300:, 2] = np.nan
    lost = planted_run(tmp_path / "c", slotted(before, slots), columns[1], frames=FRAMES, fps=FPS, slots=slots)
    assert {"extra", "extra-lines"} <= failed(lost).keys()
    assert lost.read("frame_metrics").filter(rung=RUNG, reference=ROOT)["extra"].sum() == 100 - 40
    owners = lost.read("events").filter(kind="extra").select("owner", "frame_start", "frame_end").rows()
    assert ("reference", 55, 58) in owners
    assert ("candidate", 340, 399) in owners


def slotted(lines: Lines, slots: int) -> LineTable:
    """Lines with the slot that their place says, where there are slots."""
    there = np.isfinite(lines).sum(axis=2) >= 2
    return drawn(lines, slot=np.nonzero(there)[1]) if slots else drawn(lines)


def test_a_line_of_the_candidate_alone_is_extra_from_its_first_frame(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    before, after = np.full((2, FRAMES, 5, len(X_M)), np.nan)
    seen = drive(rng)
    before[:, :4], after[:, :4] = wobble(rng, seen), wobble(rng, seen)
    after[100:103, 4] = 9.0
    run = planted_run(tmp_path, drawn(before), drawn(after), frames=FRAMES, fps=FPS)
    assert run.read("frame_metrics").filter(rung=RUNG, reference=ROOT)["extra"].sum() == 3
