"""Where lines fork, merge and cross: a candidate that draws the same lines has no event, whatever the scene."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.lines.table import LineTable
from tests.harness.planted import X_M, drawn, planted_run

FRAMES = 30


def branch(rng: np.random.Generator, parent_m: float) -> np.ndarray:
    """A line that leaves, joins or crosses the line at `parent_m` at a place that comes nearer, [frames, points]."""
    place_m = rng.uniform(-20, 90) - rng.uniform(0, 2) * np.arange(FRAMES)[:, None]
    beyond = X_M - place_m
    slope = rng.choice([-1, 1]) * rng.uniform(0.02, 0.3)
    kind = rng.integers(3)
    away = np.maximum(beyond, 0) if kind == 0 else np.maximum(-beyond, 0) if kind == 1 else beyond
    curved = rng.random() < 0.5
    return parent_m + slope * (away * np.abs(away) / 40 if curved else away)


def scene(seed: int) -> np.ndarray:
    """Lateral positions [frames, lines, points]: lanes, branches of them, lines that coincide, end early or blink."""
    rng = np.random.default_rng(seed)
    lanes = rng.choice([-5.4, -1.8, 1.8, 5.4, rng.uniform(-6, 6)], rng.integers(1, 4))
    lines = [np.full((FRAMES, len(X_M)), y) for y in lanes]
    lines += [branch(rng, rng.choice(lanes)) for _ in range(rng.integers(1, 4))]
    if rng.random() < 0.3:
        lines.append(lines[0].copy())
    lateral = np.stack(lines, axis=1)
    lateral += 0.05 * rng.standard_normal((FRAMES, lateral.shape[1], 1)) * rng.integers(2)
    for line in range(lateral.shape[1]):
        first, last = rng.uniform(-20, 30), rng.uniform(30, 100)
        lateral[:, line, (first > X_M) | (last < X_M)] = np.nan
        lateral[rng.random(FRAMES) < rng.choice([0, 0, 0.2]), line] = np.nan
    return np.where(np.abs(lateral) < 30, lateral, np.nan)


def events(before: LineTable, after: LineTable, frames: int = FRAMES) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        return planted_run(Path(folder), before, after, frames=frames).read("events").to_dicts()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_identical_candidates_never_have_an_event(seed):
    lines = drawn(scene(seed))
    assert events(lines, lines) == []


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([-0.001, 0.001, 0.02]))
@example(2710, 0.001)  # what float32 rounds off was told as a delay
def test_lines_moved_as_one_by_less_than_a_threshold_have_no_event(seed, aside_m):
    lateral = scene(seed)
    assert events(drawn(lateral), drawn(lateral + aside_m)) == []


def test_a_millimetre_at_a_fork_is_no_kink():
    """The planted example: two lines share the near band and part ahead, 30 s."""
    frames = 600
    lateral = np.zeros((frames, 3, len(X_M)))
    lateral[:, 0], lateral[:, 1], lateral[:, 2] = 1.8, -1.8, -1.8 - 0.1 * np.maximum(X_M - 30, 0)
    assert events(drawn(lateral), drawn(lateral + 0.001), frames) == []


@pytest.mark.parametrize("bow_m", [0.3, 3.0])
def test_a_line_of_a_fork_that_bends_away_ahead_is_still_one_bend(bow_m):
    lateral = np.zeros((FRAMES, 2, len(X_M)))
    lateral[:, 1] = -0.2 * np.maximum(X_M - 30, 0)
    after = lateral.copy()
    after[:, 0] += bow_m * np.clip((X_M - 40) / 40, 0, 1) ** 2
    found = {e["kind"] for e in events(drawn(lateral), drawn(after))}
    assert found & {"offset_max", "bend"}
    assert not found & {"missing", "extra", "id_swap"}
