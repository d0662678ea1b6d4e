"""What a diagnosis with the recording names: laws on small scenes; benchmarks/diagnosis.py has the figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.diagnosis import encoded
from tests.harness.diagnosis.scenes import SMALL, diagnosed, pictures

SINGLES: dict[str, dict[str, Any]] = {
    "channel_order": {"order": [2, 1, 0]},
    "layout": {},
    "scale": {"factor": 255.0},
    "range": {},
    "shift": {"right": 0.62, "down": -0.37},
}


@pytest.mark.parametrize("name", SINGLES)
def test_a_single_fault_is_named_and_nothing_else(name: str) -> None:
    found = diagnosed({name: SINGLES[name]}, noise=0.8)
    assert found.status == "named"
    assert len(found.edits) == 1
    assert name in found.edits[0].names
    assert found.explained > 0.95


@pytest.mark.parametrize(
    ("name", "numbers", "crf"),
    [("matrix", {"read": "bt709", "ffmpeg": False}, 36), ("jpeg", {"quality": 50, "early": True}, 24)],
)
def test_what_no_codec_does_is_named_below_its_noise(name: str, numbers: dict[str, Any], crf: int) -> None:
    found = diagnosed({name: numbers}, shown=encoded(pictures(SMALL), SMALL.source, crf))
    assert [e.name for e in found.edits] == [name]
    assert found.explained < 0.3  # the rest is the codec's


@pytest.mark.parametrize(("quality", "early"), [(14, True), (21, False), (28, True)])
def test_coarse_jpeg_is_named_with_its_quality(quality: int, early: bool) -> None:
    (edit,) = diagnosed({"jpeg": {"quality": quality, "early": early}}, noise=0.3).edits
    assert edit.name == "jpeg"
    assert edit.numbers["quality"] == quality


def test_a_codec_alone_gets_no_name() -> None:
    found = diagnosed({}, shown=encoded(pictures(SMALL), SMALL.source, 32))
    assert found.edits == ()
    assert found.before > 5


def test_little_is_told_by_the_contrast_of_the_car() -> None:
    found = diagnosed({"scale": {"factor": 1 / 255}, "crop": {"right": 1, "down": -2}}, noise=0.5)
    assert {"scale", "crop"} <= {name for e in found.edits for name in e.names}
    assert len(found.edits) == 2


def test_a_misread_picture_is_not_taken_for_noise() -> None:
    found = diagnosed(
        {"layout": {}, "scale": {"factor": 1 / 255}}, setup=replace(SMALL, mean=(0,) * 3, std=(1,) * 3), noise=1.0
    )
    assert {"layout", "scale"} <= {name for e in found.edits for name in e.names}


def test_two_edits_are_found_of_which_each_alone_shows_nothing() -> None:
    found = diagnosed({"layout": {}, "flip": {"how": 0}}, noise=0.6)
    assert {e.name for e in found.edits} == {"layout", "flip"}


def test_a_clean_car_is_the_same() -> None:
    found = diagnosed({})
    assert (found.status, found.edits) == ("same", ())


def test_noise_alone_gets_no_name() -> None:
    found = diagnosed({}, noise=2.0)
    assert (found.status, found.edits) == ("noise", ())
    assert 1.0 < found.before < 5.0


def test_other_pictures_get_no_name() -> None:
    found = diagnosed({}, shown=pictures(SMALL, seed=99))
    assert (found.status, found.edits) == ("foreign", ())


def test_a_shift_is_measured_to_a_twentieth_of_a_pixel() -> None:
    numbers = diagnosed({"shift": SINGLES["shift"]}, noise=1.0).edits[0].numbers
    assert numbers["right"] == pytest.approx(0.62, abs=0.05)
    assert numbers["down"] == pytest.approx(-0.37, abs=0.05)


def test_two_faults_are_told_in_the_order_of_the_pipeline() -> None:
    found = diagnosed({"channel_order": SINGLES["channel_order"], "shift": SINGLES["shift"]}, noise=0.8)
    assert [e.name for e in found.edits] == ["channel_order", "shift"]
    assert "with R and B swapped, then shifted (+0.6" in found.sentence
    assert found.lines[0].startswith('{ op = "to_bgr"')


def test_a_shift_is_measured_behind_a_mirror_and_under_a_wrong_layout() -> None:
    mirrored = diagnosed({"crop": {"right": 3, "down": 2}, "flip": {"how": 0}}, noise=0.6)
    assert {"crop", "flip"} <= {name for e in mirrored.edits for name in e.names}
    misread = diagnosed({"shift": SINGLES["shift"], "layout": {}}, noise=0.6)
    assert {e.name for e in misread.edits} == {"shift", "layout"}


def test_equal_explanations_are_told_together() -> None:
    found = diagnosed({"crop": {"right": -2, "down": 1}}, noise=0.8)
    (edit,) = found.edits
    assert edit.name == "crop"
    assert edit.names == {"crop", "shift"}
    assert "the crop 2 px further left and 1 px lower (or shifted (+1.00, -0.48) px)" in found.sentence
