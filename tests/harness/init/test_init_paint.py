"""Lines on paint: what bright stripes say of a crop that no shape tells."""

from __future__ import annotations

import numpy as np
import pytest

from harness.init import init_project
from harness.init.paint import Paint, paint_under
from harness.init.trials import best_crop
from harness.model.card import load_card
from tests.harness.init.init_models import write_network

WIDTH, HEIGHT = 640, 360
WHITE, YELLOW = (255, 255, 255), (230, 190, 60)


def road(lines, colour=WHITE) -> np.ndarray:
    """A gray road with stripes of eight pixels along lines of two points each, RGB."""
    import cv2

    drawn = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for start, end in lines:
        cv2.line(drawn, start, end, colour, 8, cv2.LINE_AA)
    return drawn


@pytest.mark.parametrize("colour", [WHITE, YELLOW])
@pytest.mark.parametrize("scale", [1, 2])
def test_a_line_on_paint_is_told_from_one_beside_it_at_any_size(colour, scale):
    rgb = road([((200, 350), (300, 100))], colour).repeat(scale, 0).repeat(scale, 1)
    along = np.array([[200.0, 350.0], [300.0, 100.0]]) * scale
    on = paint_under([(rgb, [along])])
    assert on.on > 0.95
    assert on.beside < 0.05
    assert on.tells
    off = paint_under([(rgb, [along + np.array([60.0 * scale, 0.0])])])
    assert (off.on, off.tells, off.more) == (0, False, 0)


def test_length_counts_and_not_how_many_points_a_line_has():
    rgb = road([((200, 350), (200, 226))])  # the nearer half of the line
    u = np.full(2, 200.0)
    few = np.stack([u, [350.0, 100.0]], axis=1)
    many = np.stack([np.full(60, 200.0), np.append(np.linspace(350, 330, 59), 100)], axis=1)
    assert paint_under([(rgb, [few])]).on == pytest.approx(0.5, abs=0.05)
    assert paint_under([(rgb, [many])]).on == pytest.approx(paint_under([(rgb, [few])]).on)


def test_a_bright_edge_is_no_stripe_and_no_line_is_no_number():
    rgb = road([])
    rgb[:, 300:] = 220  # another ground
    assert paint_under([(rgb, [np.array([[300.0, 350.0], [300.0, 100.0]])])]).on == 0
    nothing = paint_under([(rgb, [])])
    assert (str(nothing), nothing.more, nothing.tells) == ("no line", 0, False)


@pytest.mark.parametrize(
    ("on", "share"),
    [
        ((0.10, 0.12, 0.30, 0.50, 0.52), 0.7),  # about as much as the best, and more of the picture
        ((0.40, 0.45, 0.50, 0.60, 0.70), 1.0),  # the whole picture does half as well: nothing is told
        ((0.05, 0.05, 0.06, 0.06, 0.06), 1.0),  # hardly any paint
        ((float("nan"),) * 5, 1.0),
        ((float("nan"), float("nan"), float("nan"), 0.3, float("nan")), 0.7),
    ],
)
def test_less_than_the_picture_is_guessed_only_where_far_more_of_the_lines_lies_on_paint(on, share):
    paints = {s: Paint(o, 0.02) for s, o in zip((1.0, 0.9, 0.8, 0.7, 0.6), on, strict=True)}
    assert best_crop(paints)[0] == share


@pytest.mark.parametrize("share", [1.0, 0.8, 0.6])
def test_a_network_that_learned_one_camera_sees_the_part_that_puts_its_lines_on_the_paint(tmp_path, share):
    """Two curves that stand still; the road has its paint where they lie when the lower part is shown."""
    import cv2

    curves, logits = np.zeros((7, 8)), np.tile([4.0, -4.0], (7, 1))
    curves[:, :2], curves[:, 3] = (0.3, 1.0), 2.0  # from, to; away from the pole
    for slot, (start, slope) in enumerate(((0.6, -0.5), (0.4, 0.5))):
        curves[slot, 5:7], logits[slot] = (start, slope), (-4.0, 4.0)
    top = round((1 - share) * HEIGHT)
    rows = [0.3, 1.0]
    ends = [[(a + b * y, top + y * (HEIGHT - top)) for y in rows] for a, b in ((0.6, -0.5), (0.4, 0.5))]
    drawn = road([[(round(u * WIDTH), round(v)) for u, v in line] for line in ends])
    (tmp_path / "drive").mkdir()
    for k in range(3):
        cv2.imwrite(str(tmp_path / "drive" / f"{k}.png"), drawn)
    path = write_network(tmp_path / "n.onnx", {"a": logits, "b": curves}, size=(320, 180))
    project = init_project(str(path), [tmp_path / "drive"], tmp_path / "out", cache=tmp_path / "cache")
    crops = [s["box"] for s in load_card(project.card).preprocess.train if s["op"] == "crop"]
    assert crops == ([[0, top, WIDTH, HEIGHT - top]] if top else [])
    assert "crop" in project.unconfirmed
    assert project.paint is not None
    assert project.paint.on > 0.9
