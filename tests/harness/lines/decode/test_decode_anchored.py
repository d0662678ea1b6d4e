"""Decoders of published heads: row and column anchors, curves of queries, proposals; each against a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.errors import DecoderError
from harness.lines.decode import build_decoder
from tests.harness.lines.decode.decoder_cards import card

WIDTH, HEIGHT = 640, 360
ROWS, COLUMNS = [150.0, 200, 250, 300, 350], [0.0, 200, 400, 640]
UFLD = {"loc_row": (1, 20, 5, 4), "exist_row": (1, 2, 5, 4), "loc_col": (1, 10, 4, 4), "exist_col": (1, 2, 4, 4)}


def _row_column(**options):
    return build_decoder(card("row-column", UFLD, frame="image", rows=ROWS, columns=COLUMNS, **options))


def _cells(shape, sure, peak=30.0):
    """Logits [1, 1, cells, anchors, lanes], all mass on cell `sure`."""
    logits = np.zeros((1, *shape), np.float32)
    logits[:, :, sure] = peak
    return logits


def _there(shape, mask):
    logits = np.zeros((1, *shape), np.float32)
    logits[:, :, 1] = np.where(mask, 8.0, -8.0)
    return logits


def test_inner_lanes_are_read_by_rows_and_outer_ones_by_columns():
    outs = {
        "loc_row": _cells(UFLD["loc_row"], 7), "exist_row": _there(UFLD["exist_row"], True),
        "loc_col": _cells(UFLD["loc_col"], 4), "exist_col": _there(UFLD["exist_col"], True),
    }  # fmt: skip
    decoder = _row_column()
    lines = decoder.decode(outs)
    assert decoder.slots == 4
    assert lines.slot.tolist() == [0, 1, 2, 3]
    by_slot = {
        s: (lines.x[a:b], lines.y[a:b]) for s, a, b in zip(lines.slot, lines.start, lines.start[1:], strict=False)
    }
    np.testing.assert_allclose(by_slot[1][0], 7.5 / 19 * WIDTH, rtol=1e-6)
    assert by_slot[1][1].tolist() == ROWS[::-1]  # near to far
    np.testing.assert_allclose(by_slot[0][1], 4.5 / 9 * HEIGHT, rtol=1e-6)
    assert by_slot[0][0].tolist() == COLUMNS


def test_row_and_column_positions_are_the_papers_expectation():
    """Against a loop over anchors, on random logits."""
    rng = np.random.default_rng(3)
    outs = {name: rng.normal(0, 3, (2, *shape)).astype(np.float32) for name, shape in UFLD.items()}
    found = set()
    lines = _row_column(least_rows=0, least_columns=0).decode(outs)
    for k, (a, b) in enumerate(zip(lines.start, lines.start[1:], strict=False)):
        for u, v in zip(lines.x[a:b], lines.y[a:b], strict=True):
            found.add((int(lines.frame[k]), int(lines.slot[k]), round(float(u), 2), round(float(v), 2)))
    want = set()
    for frame in range(2):
        for lane, kind, anchors, extent in [
            (1, "row", ROWS, WIDTH), (2, "row", ROWS, WIDTH), (0, "col", COLUMNS, HEIGHT), (3, "col", COLUMNS, HEIGHT),
        ]:  # fmt: skip
            loc, exist = outs[f"loc_{kind}"][frame, 0], outs[f"exist_{kind}"][frame, 0]
            there = [k for k in range(len(anchors)) if exist[1, k, lane] > exist[0, k, lane]]
            for k in there if len(there) >= 2 else []:
                best = int(np.argmax(loc[:, k, lane]))
                cells = range(max(0, best - 1), min(len(loc) - 1, best + 1) + 1)
                weights = [math.exp(loc[c, k, lane]) for c in cells]
                cell = sum(w * c for w, c in zip(weights, cells, strict=True)) / sum(weights)
                along = (cell + 0.5) / (len(loc) - 1) * extent
                point = (along, anchors[k]) if kind == "row" else (anchors[k], along)
                want.add((frame, lane, round(point[0], 2), round(point[1], 2)))
    assert found == want
    assert want


def test_cells_may_lie_on_a_part_of_the_picture():
    outs = {
        "loc_row": _cells(UFLD["loc_row"], 7), "exist_row": _there(UFLD["exist_row"], True),
        "loc_col": _cells(UFLD["loc_col"], 4), "exist_col": _there(UFLD["exist_col"], True),
    }  # fmt: skip
    lines = _row_column(across=[-10, 90], down=[-200, 360]).decode(outs)
    np.testing.assert_allclose(lines.x[lines.start[1] : lines.start[2]], -10 + 7.5 / 19 * 100, rtol=1e-5)
    np.testing.assert_allclose(lines.y[: lines.start[1]], -200 + 4.5 / 9 * 560, rtol=1e-5)


def test_lanes_that_are_there_at_too_few_anchors_are_none():
    few = np.zeros((5, 4), bool)
    few[:2, 1], few[:, 2] = True, True
    outs = {
        "loc_row": _cells(UFLD["loc_row"], 7), "exist_row": _there(UFLD["exist_row"], few),
        "loc_col": _cells(UFLD["loc_col"], 4), "exist_col": _there(UFLD["exist_col"], False),
    }  # fmt: skip
    assert _row_column().decode(outs).slot.tolist() == [2]
    assert _row_column(least_rows=0.3).decode(outs).slot.tolist() == [1, 2]
    outs["loc_row"][0, 0, 3, 0, 2] = np.nan
    assert _row_column().decode(outs).slot.tolist() == []


def test_a_lane_read_by_columns_begins_at_its_lower_end():
    """On the right of the road a line sinks as u grows: its last column is its near end."""
    cells = np.zeros((1, *UFLD["loc_col"]), np.float32)
    for column, cell in enumerate((1, 3, 5, 7)):
        cells[0, 0, cell, column, 3] = 30
    outs = {
        "loc_row": _cells(UFLD["loc_row"], 7), "exist_row": _there(UFLD["exist_row"], False),
        "loc_col": cells, "exist_col": _there(UFLD["exist_col"], True),
    }  # fmt: skip
    lines = _row_column(by_columns=[3]).decode(outs)
    assert lines.x.tolist() == COLUMNS[::-1]
    assert (np.diff(lines.y) < 0).all()


def test_a_row_has_no_point_where_that_is_the_likeliest_of_all_classes():
    """Of the cells together 0.6, of "no lane" 0.4, of the best cell 0.2: the authors draw nothing there."""
    shares = np.full((1, 5, 4, 1), 0.001)  # [frames, cells + 1, rows, slots]
    shares[0, 1:4, :, 0] = 0.2
    shares[0, 4, :, 0] = 0.19
    shares[0, 4, 2, 0] = 0.4
    options = {"output": "y", "rows": (300.0, 280.0, 260.0, 240.0), "cells": (0.0, 300.0)}
    lines = build_decoder(card("row-anchor", {"y": (5, 4, 1)}, frame="image", **options)).decode({"y": np.log(shares)})
    assert lines.points(0)[:, 1].tolist() == [300, 280, 240]


def test_a_curve_is_the_papers_formula_between_its_ends():
    shapes = {"pred_logits": (1, 2, 2), "pred_curves": (1, 2, 8)}
    curve = [0.9, 0.5, 0.02, 0.2, -0.05, 0.4, 0.3, 0.1]
    outs = {
        "pred_logits": np.array([[[[0.0, 2.0], [2.0, 0.0]]]], np.float32),
        "pred_curves": np.array([[[curve, curve]]], np.float32),
    }
    lines = build_decoder(card("curves", shapes, frame="image", points=5)).decode(outs)
    assert lines.score.tolist() == pytest.approx([1 / (1 + math.exp(-2))])
    assert lines.y.tolist() == pytest.approx([0.9 * 360, 0.8 * 360, 0.7 * 360, 0.6 * 360, 0.5 * 360], rel=1e-6)
    _, _, k, f, m, n, b, c = curve
    for u, v in zip(lines.x / WIDTH, lines.y / HEIGHT, strict=True):
        assert u == pytest.approx(k / (v - f) ** 2 + m / (v - f) + n + b * v - c, rel=1e-5)
    turned = [0.5, 0.9, *curve[2:]]
    same = build_decoder(card("curves", shapes, frame="image", points=5)).decode(
        outs | {"pred_curves": np.array([[[turned, turned]]], np.float32)}
    )
    np.testing.assert_allclose(same.x, lines.x)


def test_a_curve_at_its_own_vanishing_row_and_points_outside_are_left_out():
    shapes = {"pred_logits": (1, 1, 2), "pred_curves": (1, 1, 8)}
    decoder = build_decoder(card("curves", shapes, frame="image", points=3))
    sure = {"pred_logits": np.array([[[[0.0, 9.0]]]], np.float32)}
    assert len(decoder.decode(sure | {"pred_curves": np.array([[[[0.9, 0.5, 1, 0.7, 0, 0, 0, 0]]]])})) == 0
    leaving = np.array([[[[1.0, 0.0, 0, -1, 0, 0.0, 1.5, 0.0]]]])  # u = 1.5 v: outside at v = 1
    lines = decoder.decode(sure | {"pred_curves": leaving})
    assert lines.x.tolist() == pytest.approx([0.75 * WIDTH, 0])
    with pytest.raises(DecoderError, match="lane_class 3"):
        build_decoder(card("curves", shapes, frame="image", lane_class=3)).decode(sure | {"pred_curves": leaving})


def _proposal(form, u, *, start=0.0, length=9.0, logit=3.0):
    """One proposal with u, in shares of the width, at its rows."""
    u = np.asarray(u, np.float64)
    head = (
        [0.0, logit, start, 0.5, length] if form == "laneatt" else [0.0, logit, start, 0.5, 0.3, length / (len(u) - 1)]
    )
    return np.array([*head, *(u * WIDTH if form == "laneatt" else u)])


def _proposals(form, *lines, **options):
    values = np.stack(lines)[None, None].astype(np.float32)
    decoder = build_decoder(
        card("proposals", {}, frame="image", form=form, width=WIDTH if form == "laneatt" else 1, **options)
    )
    return decoder.decode({"proposals": values})


@pytest.mark.parametrize("form", ["laneatt", "clrnet"])
def test_a_proposal_runs_from_its_start_over_its_length(form):
    lines = _proposals(form, _proposal(form, np.linspace(0.2, 0.6, 9), start=2 / 8, length=4))
    assert lines.y.tolist() == pytest.approx(np.linspace(360, 0, 9)[:6].tolist())  # inside below its start, then 4 rows
    np.testing.assert_allclose(lines.x, np.linspace(0.2, 0.6, 9)[:6] * WIDTH, rtol=1e-5)


@pytest.mark.parametrize("form", ["laneatt", "clrnet"])
def test_below_its_start_a_proposal_goes_on_until_it_leaves_the_picture(form):
    u = [0.3, -0.1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    lines = _proposals(form, _proposal(form, u, start=4 / 8, length=3))
    np.testing.assert_allclose(lines.x, np.array(u[2:7]) * WIDTH, rtol=1e-5)


@pytest.mark.parametrize("form", ["laneatt", "clrnet"])
def test_of_two_near_proposals_the_better_stays(form):
    base = np.full(9, 0.5)
    near, far = base + 40 / WIDTH, base + 60 / WIDTH
    found = _proposals(
        form, _proposal(form, near, logit=2), _proposal(form, base, logit=3), _proposal(form, far, logit=1)
    )
    assert sorted(np.unique(np.round(found.x)).tolist()) == [320, 380]
    assert len(_proposals(form, _proposal(form, near), _proposal(form, base), gate=30)) == 2
    assert len(_proposals(form, _proposal(form, base), _proposal(form, far), most=1)) == 1


def test_lines_without_common_rows_are_two_lines():
    low, high = (
        _proposal("laneatt", np.full(9, 0.5), length=4),
        _proposal("laneatt", np.full(9, 0.5), start=5 / 8, length=3),
    )
    assert len(_proposals("laneatt", low, high)) == 2


def test_proposals_with_numbers_that_are_not_finite_are_none():
    broken = _proposal("clrnet", np.full(9, 0.5))
    broken[8] = np.nan
    assert len(_proposals("clrnet", broken)) == 0
    with pytest.raises(DecoderError, match="at least 2 rows"):
        _proposals("clrnet", np.zeros(7))


def test_laneatts_width_is_the_networks():
    decoder = build_decoder(card("proposals", {}, frame="image", form="laneatt"))  # the card's network is 4 wide
    lines = decoder.decode(
        {"proposals": _proposal("laneatt", np.full(9, 2 / WIDTH))[None, None, None].astype(np.float32)}
    )
    np.testing.assert_allclose(lines.x, WIDTH / 2)


@pytest.mark.parametrize(("name", "options"), [
    ("row-column", {"rows": ROWS, "columns": COLUMNS}), ("curves", {}), ("proposals", {"form": "clrnet"}),
])  # fmt: skip
def test_these_heads_give_pixels(name, options):
    with pytest.raises(DecoderError, match="the card's frame is 'vehicle'"):
        build_decoder(card(name, {}, **options))
