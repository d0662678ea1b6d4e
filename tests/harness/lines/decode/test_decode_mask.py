"""The mask decoder on strokes whose centre lines are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DecoderError
from harness.lines.decode import build_decoder
from harness.lines.decode.mask_lines import Joining, join
from harness.lines.decode.mask_runs import Piece
from harness.lines.table import CLOSED, NO_SLOT, OPEN, LineTable
from tests.harness.lines.decode.decoder_cards import card
from tests.harness.lines.decode.mask_strokes import (
    HEIGHT,
    WIDTH,
    across_px,
    decoded,
    error_px,
    logits,
    margin,
    straight,
    stroke,
    u,
    v,
)

LEFT, MIDDLE, RIGHT = straight(280, -1.2), straight(330, 0.1), straight(370, 1.4)
SHAPES = {"ll": (1, 2, HEIGHT, WIDTH)}
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def decode(ll: np.ndarray, **options: object) -> LineTable:
    return build_decoder(card("mask", SHAPES, frame="image", output="ll", **options)).decode({"ll": ll})


@settings(deadline=None, max_examples=60)
@given(
    st.floats(150, 480), st.floats(-3, 3), st.floats(-0.004, 0.004), st.floats(4, 14), st.integers(240, 359),
)  # fmt: skip
def test_a_curved_stroke_comes_back_within_a_pixel_across(
    at: float, slope: float, bow: float, width: float, near: int
) -> None:
    def curve(rows: np.ndarray) -> np.ndarray:
        return at + slope * (rows - 200) + bow * (rows - 200) ** 2

    width = width * np.hypot(1, slope)
    lines = decoded(margin(stroke(curve, width, near=near)))
    inside = curve(np.arange(200.0, 360))
    if inside.min() > width and inside.max() < WIDTH - width:
        assert len(lines) == 1
        assert (lines[0][0, 1], lines[0][-1, 1]) == (near, 205)
    for line in lines:
        assert error_px(line, curve) / np.hypot(1, slope) < 0.75


def test_parallel_lines_come_left_to_right_and_near_to_far() -> None:
    lines = decoded(margin(*(stroke(c, 8) for c in (RIGHT, LEFT, MIDDLE))))
    assert len(lines) == 3
    for line, curve in zip(lines, (LEFT, MIDDLE, RIGHT), strict=True):
        assert error_px(line, curve) < 0.5
        assert (np.diff(line[:, 1]) < 0).all()


def test_points_lie_on_the_same_rows_in_every_frame() -> None:
    one, other = (decoded(margin(stroke(MIDDLE, 8, near=near)), every=10)[0] for near in (350, 343))
    assert one[:, 1].tolist() == [350, *range(340, 200, -10), 205]
    assert other[:, 1].tolist() == [343, *range(340, 200, -10), 205]


def test_dashes_on_one_curve_are_one_line() -> None:
    def curve(rows: np.ndarray) -> np.ndarray:
        return 320 + 0.8 * (rows - 200) - 0.002 * (rows - 200) ** 2

    (line,) = decoded(margin(stroke(curve, 8, dash=(36, 12))))
    assert error_px(line, curve) < 0.75
    assert line[0, 1] > 300


def test_dashes_of_neighbouring_lines_are_not_mixed_up() -> None:
    lines = decoded(margin(stroke(LEFT, 7, dash=(30, 10)), stroke(MIDDLE, 7, dash=(40, 15)), stroke(RIGHT, 7)))
    assert len(lines) == 3
    for line, curve in zip(lines, (LEFT, MIDDLE, RIGHT), strict=True):
        assert error_px(line, curve) < 0.75


def test_a_dash_beside_the_continuation_is_another_line() -> None:
    apart = straight(330 + 15, 0.1)
    lines = decoded(margin(stroke(MIDDLE, 8, near=350, far=290), stroke(apart, 8, near=270, far=205)))
    assert len(lines) == 2


def test_a_gap_that_is_too_long_is_kept_open() -> None:
    pieces = margin(stroke(MIDDLE, 8, near=350, far=300), stroke(MIDDLE, 8, near=270, far=205))
    assert len(decoded(pieces)) == 1
    assert len(decoded(pieces, gap_rows=20)) == 2


@pytest.mark.parametrize("slope", [1.1, -1.3])
def test_at_a_fork_the_better_continuation_goes_on_and_the_other_ends(slope: float) -> None:
    trunk = straight(320, 0.3)

    def branch(rows: np.ndarray) -> np.ndarray:
        return np.where(rows > 250, trunk(np.float64(250)) + slope * (rows - 250), trunk(rows))

    lines = decoded(margin(stroke(trunk, 8, far=200), stroke(branch, 8, far=200)))
    through, ending = sorted(lines, key=len, reverse=True)
    assert len(lines) == 2
    assert error_px(through, trunk) < 2  # where the strokes part, the run is that of both
    assert np.abs(through[:, 0] - trunk(through[:, 1])).mean() < 0.2
    assert error_px(ending, branch) < 0.75
    assert 250 < ending[-1, 1] < 275


def test_two_crossing_lines_are_two_lines() -> None:
    first, second = straight(300, 1.0), straight(340, 0.2)
    lines = decoded(margin(stroke(first, 8), stroke(second, 8)))
    assert len(lines) == 2
    for curve in (first, second):
        assert min(error_px(line, curve) for line in lines) < 0.75


def test_lines_that_meet_at_the_horizon_stay_apart_below() -> None:
    curves = [straight(320, slope) for slope in (-1.2, 0.1, 1.5)]
    lines = decoded(margin(*(stroke(c, 6, far=195) for c in curves)))
    assert len(lines) == 3
    for line, curve in zip(lines, curves, strict=True):
        below = line[line[:, 1] > 215]
        assert error_px(below, curve) < 0.75
        assert below[0, 1] > 345


def test_a_stop_line_and_a_blob_bend_nothing() -> None:
    bar = (v > 300) & (v < 310) & (u > LEFT(v)) & (u < RIGHT(v))
    blob = (u - MIDDLE(v)) ** 2 + (v - 240) ** 2 < 25**2
    lines = decoded(margin(stroke(LEFT, 8), stroke(MIDDLE, 8), stroke(RIGHT, 8), bar, blob))
    assert len(lines) == 3
    for line, curve in zip(lines, (LEFT, MIDDLE, RIGHT), strict=True):
        assert error_px(line, curve) < 1


def test_a_wide_slab_is_no_line() -> None:
    assert decoded(margin((v > 10) & (v < 350) & (u > 200) & (u < 350))) == []


def test_a_line_that_runs_into_a_blob_ends_there_and_has_no_hook() -> None:
    curve = straight(300, -5.0)
    blob = (v >= 203) & (v <= 216) & (u > 200) & (u < 250)
    lines = decoded(margin(stroke(curve, 26, near=245, far=214), blob))
    assert len(lines) == 1
    assert error_px(lines[0], curve) / np.hypot(1, 5) < 1


def test_a_bulge_to_one_side_is_left_out() -> None:
    bulge = (u > MIDDLE(v)) & (u - MIDDLE(v) < 4 + 30 - 1.5 * np.abs(v - 270))
    (line,) = decoded(margin(stroke(MIDDLE, 8), bulge & (np.abs(v - 270) <= 20)))
    assert error_px(line, MIDDLE) < 6  # the whole bulge would be 15
    assert np.median(np.abs(line[:, 0] - MIDDLE(line[:, 1]))) < 0.3


def test_a_jump_to_the_side_is_a_new_line() -> None:
    beside = straight(330 + 7, 0.1)
    lines = decoded(margin(stroke(MIDDLE, 8, far=280), stroke(beside, 8, near=279)))
    assert len(lines) == 2
    assert min(error_px(line, MIDDLE) for line in lines) < 0.5


def test_a_thin_crack_along_a_stroke_does_not_split_it() -> None:
    crack = np.abs(u - MIDDLE(v)) < 1
    mask = margin(stroke(MIDDLE, 12) & ~crack)
    (line,) = decoded(mask, blur=0)
    assert error_px(line, MIDDLE) < 0.75
    assert len(decoded(mask, blur=0, bridge=0)) == 2


def test_a_line_that_leaves_at_the_side_is_straight_to_its_end() -> None:
    curve = straight(100, -1.5)
    (line,) = decoded(margin(stroke(curve, 20, near=359)))
    assert error_px(line, curve) < 0.75
    assert line[0, 0] >= 9


def noisy(mask: np.ndarray, kind: str, seed: int = 0) -> np.ndarray:
    pixels = mask.astype(np.uint8)
    if kind == "erosion":
        return cv2.erode(pixels, CROSS) > 0
    if kind == "dilation":
        return cv2.dilate(pixels, CROSS) > 0
    rng = np.random.default_rng(seed)
    border = cv2.dilate(pixels, np.ones((3, 3))) != cv2.erode(pixels, np.ones((3, 3)))
    flip = (border & (rng.random(mask.shape) < 0.15)) | (rng.random(mask.shape) < 0.001)
    return mask ^ flip


@pytest.mark.parametrize("kind", ["salt", "erosion", "dilation"])
@pytest.mark.parametrize("dash", [None, (36, 14)])
def test_one_pixel_of_noise_moves_lines_by_less_than_one(kind: str, dash: tuple[int, int] | None) -> None:
    mask = np.any([stroke(c, 8, dash=dash) for c in (LEFT, MIDDLE, RIGHT)], axis=0)
    clean = decoded(margin(mask))
    for seed in range(5 if kind == "salt" else 1):
        lines = decoded(margin(noisy(mask, kind, seed)))
        assert len(lines) == 3
        assert max(across_px(a, b) for a, b in zip(clean, lines, strict=True)) < 1


def test_salt_does_not_break_thin_shallow_lines() -> None:
    curve = straight(60, 6.0)  # three pixels thick
    whole = 0
    for seed in range(10):
        lines = decoded(margin(noisy(stroke(curve, 18, near=290), "salt", seed)))
        whole += len(lines) == 1 and np.ptp(lines[0][:, 1]) > 75
        assert all(error_px(line, curve) / np.hypot(1, 6) < 1 for line in lines)
    assert whole >= 8  # without the blur 3


def test_where_pieces_overlap_the_nearer_one_stays() -> None:
    rows = np.arange(300.0, 280, -1)
    lower, upper = Piece(rows, 0.5 * rows, np.full(20, 8.0)), Piece(rows - 18, 0.5 * (rows - 18) + 1, np.full(20, 8.0))
    (line,) = join([upper, lower], Joining())
    assert line.v.tolist() == list(range(300, 262, -1))
    np.testing.assert_array_equal(line.u[:20], lower.u)


def test_specks_are_no_lines() -> None:
    rng = np.random.default_rng(0)
    assert decoded(margin(rng.random((HEIGHT, WIDTH)) < 0.02)) == []


def test_a_line_moves_with_the_logits_and_not_in_steps() -> None:
    def at(shift: float) -> np.ndarray:
        return decoded((4 - np.abs(u - MIDDLE(v) - shift)).astype(np.float32) * (v > 204) - (v <= 204), blur=0)[0]

    still = at(0.0)
    for shift in (0.05, 0.1, 0.25, 0.37):
        moved = at(shift) - still
        np.testing.assert_allclose(moved[2:-2, 0], shift, atol=0.02)


def test_the_best_and_the_worst_masks_give_nothing() -> None:
    nothing, everything = np.full((2, HEIGHT, WIDTH), [[[-1.0]], [[1.0]]], np.float32)
    assert len(decode(logits([nothing, everything]))) == 0


def test_values_that_are_not_finite_are_not_on_the_mask() -> None:
    values = margin(stroke(MIDDLE, 8))
    values[:, :100], values[:, 600:], values[:, 500:510] = np.nan, np.inf, np.nan
    lines = decode(logits([values]))
    assert len(lines) == 1
    assert error_px(lines.points(0), MIDDLE) < 0.5


def test_frames_are_decoded_each_by_itself() -> None:
    frames = [margin(stroke(LEFT, 8), stroke(RIGHT, 8)), margin(), margin(stroke(MIDDLE, 8))]
    frames[1] = -np.ones((HEIGHT, WIDTH), np.float32)
    lines = decode(logits(frames))
    assert lines.frame.tolist() == [0, 0, 2]
    assert set(lines.slot.tolist()) == {NO_SLOT}
    alone = decode(logits(frames[2:]))
    np.testing.assert_array_equal(lines.points(2), alone.points(0))


def test_a_tie_is_background() -> None:
    values = logits([margin(stroke(MIDDLE, 8))])
    values[:] = np.maximum(values, 0)  # outside both channels are 0
    assert len(decode(values)) == 1
    values[:, :, 0] = values[:, :, 1]
    assert len(decode(values)) == 0


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_smaller_mask_is_scaled_to_the_image(scale: int) -> None:
    full = margin((u >= 300) & (u < 312) & (v >= 200) & (v < 340))
    small = full.reshape(HEIGHT // scale, scale, WIDTH // scale, scale).mean(axis=(1, 3), dtype=np.float32)
    points = decode(logits([small]), least_rows=10).points(0)
    np.testing.assert_allclose(points[:, 0], 305.5, atol=0.05)
    assert points[0, 1] == pytest.approx(339.5 - scale / 2)
    assert points[-1, 1] == pytest.approx(199.5 + scale / 2)


def test_pixels_become_metres_by_the_given_matrix() -> None:
    decoder = build_decoder(card("mask", SHAPES, output="ll", to_frame=[[0.0, -0.1, 36.0], [-0.1, 0.0, 32.0]]))
    points = decoder.decode({"ll": logits([margin(stroke(straight(320, 0), 8))])}).points(0)
    np.testing.assert_allclose(points[[0, -1]], [[1.0, 0.0], [15.5, 0.0]], atol=0.05)
    assert (np.diff(points[:, 0]) > 0).all()


def test_channels_have_classes_of_their_own() -> None:
    values = np.zeros((1, 1, 3, HEIGHT, WIDTH), np.float32)
    values[0, 0, 1] = 5 * stroke(LEFT, 8)
    values[0, 0, 2] = 9 * stroke(RIGHT, 8)
    lines = decode(values, classes=[7, 4], blur=0)
    assert lines.category.tolist() == [7, 4]
    assert error_px(lines.points(0), LEFT) < 0.75
    assert decode(values, channels=[2], blur=0).category.tolist() == [0]


def test_one_channel_of_probabilities_has_a_level() -> None:
    values = np.where(stroke(MIDDLE, 8), 0.7, 0.1).astype(np.float32)[None, None, None]
    options = {"rule": "threshold", "values": "probability"}
    lines = decode(values, level=0.4, **options)
    assert len(lines) == 1
    assert lines.score[0] == pytest.approx(0.7, abs=0.03)
    assert len(decode(values, level=0.8, **options)) == 0
    assert len(decode(values, level=0.4, threshold=0.75, **options)) == 0


def test_the_score_is_the_mean_probability() -> None:
    lines = decode(logits([3 * margin(stroke(MIDDLE, 12))]))
    assert lines.score[0] == pytest.approx(1 / (1 + np.exp(-3)), abs=0.01)


def test_closed_outlines_enclose_their_area_and_forget_holes() -> None:
    disc = (u - 300) ** 2 + (v - 200) ** 2 <= 40**2
    ring = disc & ((u - 300) ** 2 + (v - 200) ** 2 > 20**2)
    box = (u >= 500) & (u < 540) & (v >= 50) & (v < 80)
    lines = decode(logits([margin(ring, box, (u == 5) & (v == 5))]), topology="closed", every=1)
    assert lines.topology.tolist() == [CLOSED, CLOSED]
    np.testing.assert_allclose(np.ptp(lines.points(0), axis=0), [39, 29])
    radius = np.hypot(*(lines.points(1) - [300, 200]).T)
    assert np.abs(radius - 40).max() < 1
    assert decode(logits([margin(ring)])).topology.tolist() in ([], [OPEN], [OPEN, OPEN])


def test_far_lines_can_be_left_out() -> None:
    values = margin(stroke(LEFT, 8), stroke(RIGHT, 8, near=250))
    assert len(decoded(values)) == 2
    (line,) = decoded(values, near_row=260)
    assert error_px(line, LEFT) < 0.5


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        (
            (2, HEIGHT, WIDTH),
            {},
            r"'ll' is \[360, 640\] a frame, must be \[any, any, any\] = \[channels, height, width\]",
        ),
        ((2, 1, 1, 9, 9), {}, "one channel, which is always the largest.*threshold"),
        ((2, 1, 2, 9, 9), {"channels": [2]}, r"channels \[2\] with classes \[0\] of an output with 2 channels"),
        ((2, 1, 2, 9, 9), {"classes": [1, 2]}, r"channels \[1\] with classes \[1, 2\]"),
    ],
)
def test_an_output_that_is_no_mask_is_named(shape: tuple[int, ...], options: dict, message: str) -> None:
    with pytest.raises(DecoderError, match=message):
        decode(np.zeros(shape, np.float32), **options)


def test_metres_without_a_matrix_are_refused() -> None:
    with pytest.raises(DecoderError, match=r"a mask has pixels, the card's frame is 'vehicle'.*give to_frame"):
        build_decoder(card("mask", SHAPES, output="ll"))
