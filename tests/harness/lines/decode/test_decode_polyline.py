"""The polyline decoder against a slow loop, and its options one by one."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DecoderError
from harness.lines.decode import build_decoder
from harness.lines.table import CLOSED, OPEN, LineTable
from tests.harness.lines.decode.decoder_cards import card

SHAPES = {"lines": (1, 3, 5, 2), "scores": (1, 3)}


def outputs(frames: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    lines = rng.normal(size=(frames, 1, 3, 5, 2)).astype(np.float32)
    return {"lines": lines, "scores": rng.random((frames, 1, 3)).astype(np.float32)}


def slowly(outs: dict[str, np.ndarray], threshold: float) -> LineTable:
    frame, points, slot, score = [], [], [], []
    for f, (lines, scores) in enumerate(zip(outs["lines"][:, 0], outs["scores"][:, 0], strict=True)):
        for k in range(len(lines)):
            if scores[k] >= threshold and np.isfinite(lines[k]).all():
                frame.append(f), points.append(lines[k]), slot.append(k), score.append(scores[k])
    return LineTable.from_points(frame, points, slot=slot, score=score)


def assert_same(one: LineTable, other: LineTable) -> None:
    for name in ("frame", "slot", "category", "score", "topology", "start", "x", "y"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert getattr(one, name).dtype == getattr(other, name).dtype, name


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(0, 1), st.sets(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=4))
def test_a_slow_loop_gives_the_same_lines(seed: int, threshold: float, broken: set[tuple[int, int]]) -> None:
    outs = outputs(seed=seed)
    for k, (frame, slot) in enumerate(broken):
        outs["lines"][frame, 0, slot, 2, 1] = [np.nan, np.inf, -np.inf][k % 3]
    decoder = build_decoder(card("polyline", SHAPES, threshold=threshold))
    assert decoder.slots == 3
    assert_same(decoder.decode(outs), slowly(outs, threshold))


def test_the_batch_axis_may_be_missing() -> None:
    outs = outputs()
    decoder = build_decoder(card("polyline", SHAPES))
    assert_same(decoder.decode({k: v[:, 0] for k, v in outs.items()}), decoder.decode(outs))


def test_a_score_that_is_not_a_number_is_no_line() -> None:
    outs = outputs(frames=1) | {"scores": np.array([[[np.nan, 0.9, 0.1]]], np.float32)}
    assert build_decoder(card("polyline", SHAPES)).decode(outs).slot.tolist() == [1]


def test_logits_go_through_a_sigmoid() -> None:
    outs = outputs(frames=1) | {"scores": np.array([[[-1000.0, 0.1, 2.0]]], np.float32)}
    lines = build_decoder(card("polyline", SHAPES, score="logit")).decode(outs)
    assert lines.slot.tolist() == [1, 2]
    np.testing.assert_allclose(lines.score, 1 / (1 + np.exp([-0.1, -2.0])), rtol=1e-6)


@pytest.mark.parametrize(("frame", "along"), [("vehicle", "x"), ("image", "y")])
def test_given_stations_are_the_other_coordinate(frame: str, along: str) -> None:
    stations = [350.0, 300, 250, 220, 200]
    outs = {"lines": np.arange(30, dtype=np.float32).reshape(2, 3, 5)}
    shapes = {"lines": (3, 5)}
    decoder = build_decoder(card("polyline", shapes, frame=frame, scores=None, stations=stations))
    lines = decoder.decode(outs)
    assert decoder.slots == 3
    assert len(lines) == 6
    assert getattr(lines, along)[5:10].tolist() == stations
    assert getattr(lines, "y" if along == "x" else "x")[5:10].tolist() == [5, 6, 7, 8, 9]


def test_invisible_points_are_cut_and_single_points_are_no_line() -> None:
    outs = outputs(frames=1) | {"scores": np.ones((1, 1, 3), np.float32)}
    outs["seen"] = np.array([[[[1, 1, 1, 0, 0], [0, 0, 1, 0, 0], [0, 1, 1, 1, 1]]]], np.float32)
    outs["lines"][0, 0, 0, 4] = np.nan  # where nothing is seen, anything may stand
    lines = build_decoder(card("polyline", SHAPES, visible="seen")).decode(outs)
    assert lines.slot.tolist() == [0, 2]
    np.testing.assert_array_equal(lines.points(0), outs["lines"][0, 0, 0, :3])
    np.testing.assert_array_equal(lines.points(1), outs["lines"][0, 0, 2, 1:])


def test_far_to_near_and_yx_are_turned() -> None:
    outs = outputs(frames=1) | {"scores": np.ones((1, 1, 3), np.float32)}
    lines = build_decoder(card("polyline", SHAPES, order="far-to-near", axes="yx")).decode(outs)
    np.testing.assert_array_equal(lines.points(1), outs["lines"][0, 0, 1, ::-1, ::-1])


def test_classes_and_topology_belong_to_slots() -> None:
    options = {"classes": [4, 5, 6], "topology": ["open", "closed", "open"], "threshold": 0.0}
    lines = build_decoder(card("polyline", SHAPES, **options)).decode(outputs(frames=2))
    assert lines.category.tolist() == [4, 5, 6] * 2
    assert lines.topology.tolist() == [OPEN, CLOSED, OPEN] * 2


def test_without_slots_position_means_nothing() -> None:
    decoder = build_decoder(card("polyline", SHAPES, slots=False, threshold=0.0))
    assert decoder.slots == 0
    assert set(decoder.decode(outputs()).slot.tolist()) == {-1}


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"lines": None}, {}, r"no output 'lines'.*the model gives \['scores'\]"),
        ({"lines": np.zeros((4, 1, 3, 5, 3))}, {}, r"'lines' is \[1, 3, 5, 3\] a frame, must be \[any, any, 2\]"),
        ({"scores": np.zeros((4, 1, 4))}, {}, r"'scores' is \[1, 4\] a frame, must be \[3\] = \[slots\]"),
        ({}, {"classes": [1, 2]}, "2 classes for 3 slots"),
        ({}, {"visible": "lines"}, r"must be \[3, 5\]"),
    ],
)
def test_outputs_that_do_not_fit_are_named(changes: dict, options: dict, message: str) -> None:
    outs = {k: v for k, v in (outputs() | changes).items() if v is not None}
    with pytest.raises(DecoderError, match=message):
        build_decoder(card("polyline", SHAPES, **options)).decode(outs)


def test_an_empty_name_means_that_the_model_has_no_scores() -> None:
    lines = build_decoder(card("polyline", SHAPES, scores="")).decode({"lines": outputs()["lines"]})
    assert (lines.score == 1).all()
    assert len(lines) == 12


def test_nothing_found_is_an_empty_table() -> None:
    assert len(build_decoder(card("polyline", SHAPES, threshold=1.0)).decode(outputs())) == 0


def test_many_frames_cost_microseconds_each() -> None:
    outs = outputs(frames=512)
    decoder = build_decoder(card("polyline", SHAPES))
    best = np.inf
    for _ in range(5):
        start = time.process_time()
        decoder.decode(outs)
        best = min(best, time.process_time() - start)
    assert best / 512 < 50e-6  # a loop per frame costs more than ten times this
