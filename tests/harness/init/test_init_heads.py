"""Which decoder `trueline init` takes for which outputs, and which outputs it takes for none."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import UsageError
from tests.harness.init.init_models import FAMILIES, random_outputs

DECODERS = {"laneatt": "proposals", "clrnet": "proposals"}


@pytest.mark.parametrize("size", [(128, 64), (160, 96)])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_published_head_is_known_by_its_shapes_whatever_its_names_and_order(made, family, size):
    outputs = random_outputs(family)
    renamed = {f"out_{k}": outputs[name] for k, name in enumerate(reversed(outputs))}
    names = dict(zip(reversed(outputs), renamed, strict=True))
    _, card = made(renamed, size=size)
    assert card.decoder.name == DECODERS.get(family, family)
    told = card.decoder.options
    if family == "row-column":
        assert {k: told[k] for k in ("row_cells", "row_present", "column_cells", "column_present")} == {
            "row_cells": names["loc_row"], "row_present": names["exist_row"],
            "column_cells": names["loc_col"], "column_present": names["exist_col"],
        }  # fmt: skip
        assert [s["op"] for s in card.preprocess.train] == ["to_rgb", "resize", "crop", "normalise"]
        assert told["rows"][-1] == size[1]
    if family == "curves":
        assert (told["logits"], told["curves"]) == (names["pred_logits"], names["pred_curves"])
    if DECODERS.get(family) == "proposals":
        assert told["form"] == family
    if family == "row-anchor":
        assert (told["axes"], len(told["rows"])) == ("crs", 56)
        assert told["rows"][0] == pytest.approx(64 / 288 * size[1], abs=0.01)


@pytest.mark.parametrize(("anchors", "whole"), [(72, 533), (56, 400)])
def test_row_anchors_of_a_cropped_picture_lie_where_its_loader_puts_them(made, anchors, whole):
    """UFLD v2 at its own size: resized to a whole number of rows, of which the network sees the lower 320."""
    columns = {72: 81, 56: 41}[anchors]
    shapes = {"loc_row": (100, anchors, 4), "loc_col": (100, columns, 4), "exist_row": (2, anchors, 4),
              "exist_col": (2, columns, 4)}  # fmt: skip
    _, card = made({name: np.zeros(shape) for name, shape in shapes.items()}, size=(800, 320))
    first = 0.42 if anchors == 72 else 160 / 720
    assert card.decoder.options["rows"][0] == pytest.approx(first * whole - (whole - 320), abs=0.006)
    assert card.preprocess.train[1]["size"] == [800, whole]
    assert card.preprocess.train[2]["box"] == [0, whole - 320, 800, 320]


def test_axes_of_row_anchors_are_told_by_their_sizes(made):
    _, card = made({"y": np.zeros((4, 18, 201))})
    assert card.decoder.options["axes"] == "src"
    assert len(card.decoder.options["rows"]) == 18


def test_points_in_metres_are_told_from_points_in_pixels(made):
    stations = np.linspace(0, 80, 33)
    metres = np.stack([np.stack([stations, np.full(33, y)], -1) for y in (1.8, -1.8, 5.4)])
    _, card = made({"pts": metres, "conf": np.array([0.9, 0.8, 0.1])})
    assert (card.decoder.name, card.frame) == ("polyline", "vehicle")
    assert card.decoder.options == {"lines": "pts", "scores": "conf", "order": "near-to-far"}


def test_points_in_pixels_that_come_from_afar_are_turned(made):
    rows = np.linspace(30, 62, 12)
    pixels = np.stack([np.stack([np.full(12, u), rows], -1) for u in (20.0, 100.0)])
    _, card = made({"pts": pixels, "conf": np.array([3.0, -2.0])})
    assert (card.decoder.name, card.frame) == ("polyline", "image")
    assert card.decoder.options["order"] == "far-to-near"
    assert card.decoder.options["score"] == "logit"


def test_of_two_masks_the_thin_one_holds_lines_whatever_its_name(made):
    lines, area = np.full((2, 64, 128), -4.0), np.full((2, 64, 128), -4.0)
    lines[1, 20:, 60:63], area[1, 30:] = 4, 4
    _, card = made({"alpha": area, "beta": lines})
    assert (card.decoder.name, card.decoder.options["output"]) == ("mask", "beta")
    both = {"alpha": lines, "beta": lines}
    with pytest.raises(UsageError, match="several decoders read"):
        made(both, out="other")


def test_a_head_that_nothing_reads_is_not_named(made, tmp_path):
    with pytest.raises(UsageError, match=r"no decoder reads y \[5, 7, 11, 13\]") as caught:
        made({"y": np.zeros((5, 7, 11, 13))})
    assert "--answers" in caught.value.remedy
    assert not (tmp_path / "out" / "model.toml").exists()


@pytest.mark.parametrize(
    "outputs",
    [
        {"pred_logits": (100, 92), "pred_boxes": (100, 4)},  # boxes of objects
        {"cls": (192, 2), "lines": (192, 76)},  # scores apart from the lines
        {"out": (35,)},  # as many numbers as five lanes have, and no rows among them
        {"logits": (1, 40), "curves": (40, 4, 2)},  # as many as control points have, far outside the picture
        {"hm": (1, 40, 100), "offsets": (134, 40, 100), "mask": (1, 80, 200)},
    ],
)
def test_a_head_of_another_kind_is_not_taken_for_one_that_is_known(made, outputs):
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="decoder"):
        made({name: rng.normal(0, 2, shape) for name, shape in outputs.items()}, size=(800, 320))


def test_bezier_curves_and_row_polynomials_are_known_by_shapes_and_range(made):
    rng = np.random.default_rng(1)
    curves = np.linspace([0.3, 0.95], [0.5, 0.4], 4) + rng.normal(0, 0.01, (50, 1, 2))
    project, card = made({"a": rng.normal(-3, 3, (1, 50)), "b": curves})
    assert (card.decoder.name, card.decoder.options["curves"], card.decoder.options["scores"]) == ("bezier", "b", "a")
    assert card.decoder.options["window"] == 9
    assert project.lines > 0
    lanes = np.array([[2.0, 0.4, 0.95, 0, 0, -0.3, 0.2 + 0.15 * k] for k in range(5)])
    project, card = made({"out": lanes.reshape(35)}, out="flat")
    assert (card.decoder.name, card.frame) == ("row-polynomial", "image")
    assert project.lines > 0


def test_seven_classes_beside_lines_are_no_row_polynomials(made):
    """Shares of seven classes, and a short vector: nothing that takes the place of the lines."""
    rng = np.random.default_rng(2)
    x = np.broadcast_to(np.linspace(2, 60, 20), (6, 20))
    lines = np.stack([x, rng.normal(0, 2, (6, 1)) + 0 * x], axis=-1)
    shares = np.exp(rng.normal(0, 1, (6, 7)))
    beside = {"types": shares / shares.sum(axis=1, keepdims=True), "pose": rng.normal(0, 0.3, 14)}
    _, card = made({"points": lines, "there": rng.uniform(0.6, 1, 6), **beside})
    assert (card.decoder.name, card.decoder.options["lines"]) == ("polyline", "points")
