"""Decoders that evaluate numbers: polynomial, row polynomial, Bézier curves, row anchors, openpilot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DecoderError
from harness.lines.decode import build_decoder
from harness.lines.decode.openpilot import STATIONS_M
from tests.harness.lines.decode.decoder_cards import card

FLOATS = st.floats(-2, 2, width=32)


@settings(deadline=None)
@given(st.lists(FLOATS, min_size=4, max_size=4), st.sampled_from(["rising", "falling"]))
def test_a_polynomial_is_evaluated_as_numpy_does(coefficients: list[float], powers: str) -> None:
    stations = [0.0, 5, 10, 40]
    decoder = build_decoder(
        card("polynomial", {"c": (1, 1, 4)}, coefficients="c", scores=None, powers=powers, stations=stations, scale=40)
    )
    lines = decoder.decode({"c": np.array([[[coefficients]]], np.float32)})
    falling = coefficients[::-1] if powers == "rising" else coefficients
    np.testing.assert_allclose(lines.y, np.polyval(falling, np.array(stations) / 40), rtol=1e-5, atol=1e-5)
    assert lines.x.tolist() == stations
    assert decoder.slots == 1


def test_reach_and_start_cut_a_polynomial_in_either_frame() -> None:
    shapes = {"coefficients": (2, 2), "reach": (2, 1), "start": (2,)}
    outs = {
        "coefficients": np.array([[[1.0, 0], [2.0, 0]]]),
        "reach": np.array([[[20.0], [9.0]]]),
        "start": np.array([[5.0, 9.0]]),
    }
    options = {"scores": None, "reach": "reach", "start": "start", "stations": [0.0, 5, 10, 20, 30]}
    lines = build_decoder(card("polynomial", shapes, **options)).decode(outs)
    assert lines.slot.tolist() == [0]
    assert lines.x.tolist() == [5, 10, 20]
    rows = options | {"stations": [350.0, 300, 250, 200]}
    outs |= {"reach": np.array([[[250.0], [np.nan]]]), "start": np.array([[320.0, 350.0]])}
    lines = build_decoder(card("polynomial", shapes, frame="image", **rows)).decode(outs)
    assert lines.slot.tolist() == [0]
    assert lines.y.tolist() == [300, 250]


def test_polynomial_stations_default_to_the_cards_reach() -> None:
    lines = build_decoder(card("polynomial", {"coefficients": (1, 2)}, scores=None)).decode(
        {"coefficients": np.array([[[0.0, 0.5]]])}
    )
    assert (lines.x[0], lines.x[-1], len(lines.x)) == (0, 80, 81)
    np.testing.assert_allclose(lines.y, lines.x / 2)


def test_an_overflowing_polynomial_is_no_line() -> None:
    outs = {"coefficients": np.array([[[0.0, np.inf], [0.0, 1.0]]])}
    assert build_decoder(card("polynomial", {}, scores=None)).decode(outs).slot.tolist() == [1]


def test_a_row_polynomial_is_numpys_between_its_two_rows() -> None:
    """Seven numbers a lane in one vector, as PolyLaneNet gives them: logit, top, bottom, cubic, highest power first."""
    lane, unsure, upside_down = [3.0, 0.4, 0.95], [-3.0, 0.4, 0.9], [2.0, 0.9, 0.4]
    lanes = np.array([[[*lane, 0.1, -0.2, 0.3, 0.2], [*unsure, 0, 0, 0, 0.5], [*upside_down, 0, 0, 0, 0.5]]])
    decoder = build_decoder(card("row-polynomial", {"output": (1, 21)}, frame="image", points=12))
    lines = decoder.decode({"output": lanes.reshape(1, 1, 21).astype(np.float32)})
    assert len(lines.frame) == 1  # of the others one has no score, one ends above its top
    np.testing.assert_allclose(lines.y, np.linspace(0.95, 0.4, 12) * 360, rtol=1e-5)
    np.testing.assert_allclose(lines.x, np.polyval([0.1, -0.2, 0.3, 0.2], lines.y / 360) * 640, rtol=1e-4)
    assert lines.score[0] == pytest.approx(1 / (1 + np.exp(-3)))


def test_row_polynomials_may_share_the_first_ones_top_row() -> None:
    lanes = np.array([[[-9.0, 0.5, 0.9, 0, 0, 0, 0.2], [9.0, 0.3, 1.0, 0, 0, 0, 0.7]]], np.float32)
    tops = {}
    for shared in (False, True):
        decoder = build_decoder(card("row-polynomial", {}, frame="image", shared_top=shared))
        tops[shared] = decoder.decode({"output": lanes}).y.min() / 360
    assert tops == {False: pytest.approx(0.3), True: pytest.approx(0.5)}


def de_casteljau(control: np.ndarray, t: float) -> np.ndarray:
    """A point of a Bézier curve by repeated halving of the way, which is how it is defined."""
    while len(control) > 1:
        control = (1 - t) * control[:-1] + t * control[1:]
    return control[0]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("count", [3, 4, 6])
def test_a_bezier_curve_is_de_casteljaus(count: int, turned: bool) -> None:
    rng = np.random.default_rng(count)
    control = np.stack([rng.uniform(0.2, 0.8, count), np.linspace(0.9, 0.3, count)], axis=1)
    given = control[::-1] if turned else control
    decoder = build_decoder(card("bezier", {}, frame="image", points=15, scores=None, window=1))
    lines = decoder.decode({"curves": given[None, None].astype(np.float32)})
    true = np.array([de_casteljau(control, t) for t in np.linspace(0, 1, 15)]) * [640, 360]
    np.testing.assert_allclose(np.stack([lines.x, lines.y], axis=1), true, rtol=1e-4)


def test_of_queries_side_by_side_the_best_is_a_line() -> None:
    logits = np.full((1, 20), -6.0, np.float32)
    logits[0, [3, 5, 9, 16]] = [1.0, 2.0, 1.5, 0.5]
    curves = np.tile(np.linspace([0.3, 0.9], [0.5, 0.4], 4), (1, 20, 1, 1)).astype(np.float32)
    kept = {}
    for window in (1, 3, 9):
        decoder = build_decoder(card("bezier", {}, frame="image", window=window))
        kept[window] = np.sort(decoder.decode({"curves": curves, "logits": logits}).score).round(3).tolist()
    sure = (1 / (1 + np.exp(-np.array([0.5, 1.0, 1.5, 2.0])))).round(3).tolist()
    assert kept[1] == pytest.approx(sure)
    assert kept[3] == pytest.approx(sure)
    assert kept[9] == pytest.approx([sure[0], sure[3]])  # 3 and 9 lie within four queries of 5


def test_curves_leave_no_points_outside_the_picture_and_no_line_that_is_not_finite() -> None:
    curves = np.tile(np.linspace([0.3, 1.2], [0.5, 0.4], 4), (1, 2, 1, 1)).astype(np.float32)
    curves[0, 1, 0, 0] = np.nan
    lines = build_decoder(card("bezier", {}, frame="image", scores=None, window=1)).decode({"curves": curves})
    assert len(lines.frame) == 1
    assert lines.y.max() <= 360


def test_curves_of_the_picture_ask_for_the_image_frame() -> None:
    for name in ("bezier", "row-polynomial"):
        with pytest.raises(DecoderError, match="of the picture"):
            build_decoder(card(name, {}))
    with pytest.raises(DecoderError, match="window 4 is even"):
        build_decoder(card("bezier", {}, frame="image", window=4))
    decoder = build_decoder(card("row-polynomial", {"output": ("batch", 35)}, frame="image", slots=True))
    assert decoder.slots == 5
    for shape in ((1, 20), (1, 14, 8), (1, 1, 7, 10), (1, 0)):
        with pytest.raises(DecoderError, match=r"must be \[lanes x 7\] or \[lanes, 7\]"):
            decoder.decode({"output": np.zeros(shape)})
    assert len(decoder.decode({"output": np.zeros((2, 1, 5, 7))}).frame) == 0  # top and bottom are one row


ROWS = [200.0, 260, 320]


def anchors(cells: list[list[int | None]], sharp: float = 50.0) -> np.ndarray:
    """UFLD logits [frames=1, batch=1, cells + 1, rows, slots] with one sure cell each; None is absent."""
    logits = np.zeros((1, 1, 9, 3, len(cells)), np.float32)
    for slot, rows in enumerate(cells):
        for row, cell in enumerate(rows):
            logits[0, 0, 8 if cell is None else cell, row, slot] = sharp
    return logits


def row_card(**options: object) -> object:
    return build_decoder(card("row-anchor", {"logits": (1, 9, 3, 2)}, frame="image", rows=ROWS, **options))


def test_sure_cells_are_where_they_say_near_to_far() -> None:
    decoder = row_card(cells=(10, 80))
    lines = decoder.decode({"logits": anchors([[3, 2, 1], [None, 7, 0]])})
    assert decoder.slots == 2
    assert lines.slot.tolist() == [0, 1]
    np.testing.assert_allclose(lines.points(0), [[20, 320], [30, 260], [40, 200]], atol=1e-4)
    np.testing.assert_allclose(lines.points(1), [[10, 320], [80, 260]], atol=1e-4)
    np.testing.assert_allclose(lines.score, 1, atol=1e-6)


def test_the_expectation_lies_between_cells_and_argmax_on_one() -> None:
    logits = anchors([[3, 3, 3], [3, 3, 3]])
    logits[0, 0, 4] = 50 + np.log(3)
    expected = row_card(cells=(0, 7)).decode({"logits": logits})
    np.testing.assert_allclose(expected.x, 3.75, atol=1e-5)
    likeliest = row_card(cells=(0, 7), argmax=True).decode({"logits": logits})
    np.testing.assert_allclose(likeliest.x, 4)


@pytest.mark.parametrize("axes", ["crs", "csr", "rcs", "rsc", "scr", "src"])
def test_any_order_of_axes_is_the_same(axes: str) -> None:
    logits = np.random.default_rng(0).normal(size=(2, 1, 9, 3, 2)).astype(np.float32)
    turned = np.moveaxis(logits, [2, 3, 4], [2 + axes.index(a) for a in "crs"])
    one, other = row_card().decode({"logits": logits}), row_card(axes=axes).decode({"logits": turned})
    np.testing.assert_array_equal(one.x, other.x)
    np.testing.assert_array_equal(one.slot, other.slot)


def test_lanes_with_too_few_rows_or_broken_logits_are_dropped() -> None:
    logits = anchors([[3, 2, None], [1, 2, 3]])
    assert row_card(least_rows=3).decode({"logits": logits}).slot.tolist() == [1]
    logits[0, 0, 0, 0, 1] = np.nan
    assert row_card().decode({"logits": logits}).slot.tolist() == [0]


def mixture(lines: int, frames: int = 2) -> np.ndarray:
    """[frames, 1, lines * 132]: y of line k is k + x / 100 to the right, std e^-1, z noise."""
    raw = np.random.default_rng(0).normal(size=(frames, 2, lines, 33, 2)).astype(np.float32)
    raw[:, 0, :, :, 0] = np.arange(lines)[:, None] + STATIONS_M / 100
    raw[:, 1, :, :, 0] = -1
    return raw.reshape(frames, 1, -1)


def test_openpilots_stations_are_quadratic_and_its_y_is_turned_left() -> None:
    logits = np.tile(np.array([9.0, 3, -9, 3, 9, -3, 9, 3], np.float32), (2, 1))
    decoder = build_decoder(card("openpilot", {"lane_lines": (1, 528), "lane_lines_prob": (1, 8)}))
    lines = decoder.decode({"lane_lines": mixture(4), "lane_lines_prob": logits[:, None]})
    assert decoder.slots == 4
    assert lines.slot.tolist() == [0, 1, 3] * 2
    assert (lines.x[0], lines.x[1], lines.x[32]) == (0, 0.1875, 192)
    np.testing.assert_allclose(lines.points(1)[:, 1], -(1 + STATIONS_M / 100), rtol=1e-6)
    np.testing.assert_allclose(lines.score, 1 / (1 + np.exp(-3)), rtol=1e-6)


def test_road_edges_follow_the_lane_lines_and_reach_is_cut() -> None:
    outs = {"lane_lines": mixture(4), "lane_lines_prob": np.full((2, 8), 9.0), "edges": mixture(2)}
    options = {"road_edges": "edges", "reach_m": 80.0, "edge_std_m": float(np.exp(-1))}
    decoder = build_decoder(card("openpilot", {"lane_lines": (528,), "edges": (264,)}, **options))
    lines = decoder.decode(outs)
    assert decoder.slots == 6
    assert lines.category.tolist() == [0, 0, 0, 0, 1, 1] * 2
    np.testing.assert_allclose(lines.score[4:6], 0.5, rtol=1e-6)
    assert lines.x.max() <= 80
    assert len(lines.points(0)) == (STATIONS_M <= 80).sum()


def test_unsure_points_are_left_out() -> None:
    raw = mixture(1).reshape(2, 2, 1, 33, 2)
    raw[:, 1, :, 20:, 0] = 3
    outs = {"lane_lines": raw.reshape(2, -1), "lane_lines_prob": np.full((2, 2), 9.0)}
    lines = build_decoder(card("openpilot", {}, max_std_m=1.0)).decode(outs)
    assert len(lines.points(0)) == 20


def test_one_vector_is_read_as_openpilots_own_parser_reads_its_slices() -> None:
    """Its arithmetic written out: raw [n], mean = first half, std = exp(second half), then [lines, 33, (y, z)]."""
    rng = np.random.default_rng(7)
    at = {
        "plan": (0, 4955),
        "lane_lines": (4955, 5483),
        "prob": (5483, 5491),
        "edges": (5491, 5755),
        "more": (5755, 6108),
    }
    vector = rng.normal(size=(3, 6108)).astype(np.float32)
    part = {name: f"outputs[{a}:{b}]" for name, (a, b) in at.items()}
    decoder = build_decoder(
        card(
            "openpilot", {"outputs": (1, 6108)}, lane_lines=part["lane_lines"], probabilities=part["prob"],
            road_edges=part["edges"], threshold=0.0,
        )
    )  # fmt: skip
    assert decoder.slots == 6
    lines = decoder.decode({"outputs": vector[:, None]})
    for frame in range(3):
        raw = vector[frame, 4955:5483]
        mean, std = raw[:264].reshape(4, 33, 2), np.exp(raw[264:].reshape(4, 33, 2))
        own = np.flatnonzero((lines.frame == frame) & (lines.category == 0))
        assert len(own) == 4
        for k, i in enumerate(own):
            np.testing.assert_allclose(lines.points(i)[:, 0], [192 * (j / 32) ** 2 for j in range(33)])
            np.testing.assert_allclose(lines.points(i)[:, 1], -mean[k, :, 0], rtol=1e-6)
            logit = vector[frame, 5483 + 2 * k + 1]
            assert lines.score[i] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-5)
        edges = vector[frame, 5491:5755]
        widths = np.exp(edges[132:].reshape(2, 33, 2))[..., 0].mean(axis=1)
        there = np.flatnonzero((lines.frame == frame) & (lines.category == 1))
        np.testing.assert_allclose(lines.score[there], 1 / (1 + widths), rtol=1e-5)
        assert std.shape == (4, 33, 2)


@pytest.mark.parametrize(
    ("outs", "message"),
    [
        ({"lane_lines": np.zeros((2, 500)), "lane_lines_prob": np.zeros((2, 8))}, "has 500 numbers, must be n x 132"),
        ({"lane_lines": np.zeros((2, 528)), "lane_lines_prob": np.zeros((2, 4))}, "has 4 numbers for 4 lines"),
        ({"lane_lines": np.zeros((2, 528))}, "no output 'lane_lines_prob'"),
        ({"outputs": np.zeros((2, 100))}, r"no output 'lane_lines'"),
    ],
)
def test_openpilot_outputs_that_do_not_fit_are_named(outs: dict, message: str) -> None:
    with pytest.raises(DecoderError, match=message):
        build_decoder(card("openpilot", {})).decode(outs)


@pytest.mark.parametrize(("name", "frame"), [("row-anchor", "vehicle"), ("openpilot", "image")])
def test_a_frame_the_decoder_cannot_give_is_refused(name: str, frame: str) -> None:
    with pytest.raises(DecoderError, match=f"the card's frame is '{frame}'"):
        build_decoder(card(name, {}, frame=frame))
