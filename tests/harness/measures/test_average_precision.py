"""Average precision, and that of lines that keep their identities, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from harness.lines.table import LineTable
from harness.measures.accuracy import accuracy_sums, f1_limits
from harness.measures.average_precision import AveragePrecision
from harness.measures.tracks import NO_TRACK
from tests.strategies import VEHICLE

Drawn = Sequence[Sequence[tuple[float, float, int]]]  # of every frame: (lateral position, score, identity)
BOTH = (1.8, -1.8)


def lines_of(frames: Sequence[Sequence[float]], score: Sequence[float] = ()) -> LineTable:
    frame = [k for k, lines in enumerate(frames) for _ in lines]
    points = [np.array([[0.0, y], [80.0, y]]) for lines in frames for y in lines]
    return LineTable.from_points(frame, points, score=np.array(score, np.float32) if len(score) else None)


def precision_of(
    true: Sequence[Sequence[float]], drawn: Drawn, chunks: int = 1, tracks: Sequence[Sequence[int]] | None = None
) -> tuple[float, float]:
    """(average precision, the consistent one); a true line's track is its place in its frame."""
    meter = AveragePrecision(f1_limits(VEHICLE))
    tracks = [range(len(lines)) for lines in true] if tracks is None else tracks
    for part in np.array_split(np.arange(len(true)), chunks):
        truth = lines_of([true[k] for k in part])
        every = [line for k in part for line in drawn[k]]
        own = lines_of([[y for y, _, _ in drawn[k]] for k in part], [score for _, score, _ in every])
        near = accuracy_sums(truth, own, VEHICLE, len(part))[2]
        track = np.array([k for at in part for k in tracks[at]], np.int32)
        meter.add(near, own.score, np.array([k for _, _, k in every], np.int64), track)
    return meter.values()


SWAPPED: Drawn = [
    [(1.8, 0.9, 0), (-1.8, 0.8, 1)],
    [(1.8, 0.9, 0), (-1.8, 0.8, 1)],
    [(1.8, 0.9, 1), (-1.8, 0.8, 0)],  # the two identities change hands
    [(1.8, 0.7, 0), (9.0, 0.6, 2)],
]


@pytest.mark.parametrize("chunks", [1, 2, 4])
def test_lines_that_change_their_identities_are_false_though_they_are_there(chunks: int) -> None:
    """Of 8 true lines 3, 6, 7, 7 are found by 3, 6, 7, 8 lines; without the two that were swapped 2, 4, 5, 5."""
    plain, consistent = precision_of([BOTH] * 4, SWAPPED, chunks)
    assert plain == pytest.approx(7 / 8)
    assert consistent == pytest.approx(5 / 8 * 5 / 7)


def test_the_mean_is_over_the_three_limits() -> None:
    assert precision_of([[1.8]], [[(2.5, 0.5, 0)]])[0] == pytest.approx(2 / 3)  # 0.7 m: not within 0.5 m


def test_of_two_lines_at_one_true_line_that_of_the_higher_score_hits() -> None:
    """The other is false even where a true line farther off is free: first at half of the recall, then never."""
    low_first = precision_of([BOTH], [[(1.8, 0.3, 0), (1.9, 0.6, 1)]])
    assert low_first[0] == pytest.approx(1 / 2)
    kept = precision_of([BOTH] * 2, [[(1.8, 0.3, 0), (1.9, 0.6, 1)], [(1.8, 0.6, 0)]])
    assert kept[0] == pytest.approx(1 / 2)
    assert kept[1] == pytest.approx(1 / 4 * 1 / 2)  # line 1 had it first


def test_lines_without_scores_are_one_step() -> None:
    """Precision times recall."""
    assert precision_of([BOTH], [[(1.8, 1.0, 0), (9.0, 1.0, 1), (12.0, 1.0, 2)]])[0] == pytest.approx(1 / 2 * 1 / 3)


def test_lines_where_there_is_no_true_one_are_false_and_without_any_nothing_is_told() -> None:
    assert precision_of([[1.8], []], [[(1.8, 0.5, 0)], [(1.8, 0.9, 0)]])[0] == pytest.approx(1 / 2)
    assert np.isnan(precision_of([[]], [[(1.8, 0.5, 0)]])).all()
    assert precision_of([[1.8]], [[]]) == (0, 0)


def test_what_has_no_identity_or_no_track_cannot_be_inconsistent() -> None:
    anonymous = [[(y, score, -1) for y, score, _ in lines] for lines in SWAPPED]
    plain, consistent = precision_of([BOTH] * 4, anonymous)
    assert plain == consistent
    plain, consistent = precision_of([BOTH] * 4, SWAPPED, tracks=[[NO_TRACK, NO_TRACK]] * 4)
    assert plain == consistent


@pytest.mark.parametrize("seed", range(5))
def test_the_consistent_one_is_never_more_and_other_names_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = [
        [(float(y + rng.normal(0, 0.4)), float(rng.random()), int(rng.integers(3))) for y in BOTH] for _ in range(30)
    ]
    plain, consistent = precision_of([BOTH] * 30, drawn)
    assert 0 < consistent <= plain <= 1
    renamed = [[(y, score, 7 - 2 * k) for y, score, k in lines] for lines in drawn]
    assert precision_of([BOTH] * 30, renamed, 7) == pytest.approx((plain, consistent))
