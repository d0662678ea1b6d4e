"""Pictures of a case and how lines fall onto them; what the page does with it: test_report_browser.py."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from cases.case import open_case
from cases.synth import write_synth_case
from harness.feed.preprocess.colour import to_rgb_u8
from harness.feed.window import Window
from harness.report.pictures import base64_size, pictures_of, projection_of, webp
from harness.run.facts import read_facts
from tests.harness.report.fixture_run import Shape, make_run


@pytest.fixture(scope="module")
def case_path(tmp_path_factory):
    return write_synth_case(3, 0.3, tmp_path_factory.mktemp("cases"))


def decoded(data: bytes) -> np.ndarray:
    import cv2

    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))[..., ::-1].astype(float)


def opened(tmp_path, case_path, shape=None):
    run = make_run(tmp_path / "run", shape or Shape(cases=1, rungs=2, frames=6), case_paths=[case_path])
    return open_case(case_path), read_facts(run.meta)


def test_a_picture_is_that_of_its_frame(tmp_path, case_path):
    case, facts = opened(tmp_path, case_path)
    found = pictures_of(case, facts, [4, 1], 10**6)
    ticks = {t.frame: to_rgb_u8(t.pictures["front"]).astype(float) for t in case.ticks()}
    assert sorted(found.encoded) == [1, 4]
    for frame, data in found.encoded.items():
        gaps = {other: np.abs(decoded(data) - rgb).mean() for other, rgb in ticks.items()}
        assert min(gaps, key=gaps.get) == frame
    assert (found.size, found.note, found.left_out) == ((640, 360), "", 0)


def test_what_does_not_fit_is_left_out_the_most_wanted_last(tmp_path, case_path):
    case, facts = opened(tmp_path, case_path)
    whole = pictures_of(case, facts, [4, 1, 2, 3], 10**6)
    one = max(base64_size(len(d)) for d in whole.encoded.values())
    few = pictures_of(case, facts, [4, 1, 2, 3], 2 * one)
    assert sorted(few.encoded) == [1, 4]
    assert few.left_out == 2
    assert sorted(pictures_of(case, facts, [4, 1], 0).encoded) == [4]  # the worst moment is always there


@pytest.mark.parametrize(
    ("model", "distortion"),
    [("none", []), ("opencv", [-0.2, 0.05, 0.001, -0.002, 0.01]), ("opencv", [0.1, -0.1, 0, 0, 0.01, 0.2, -0.1, 0.05]),
     ("opencv", [0.1, -0.1, 0, 0, 0.01, 0.2, -0.1, 0.05, 1e-3, 1e-4, -1e-3, 1e-4]),
     ("fisheye", [0.05, -0.01, 0.002, 0])],
)  # fmt: skip
def test_the_projection_handed_to_the_page_is_the_calibration(tmp_path, case_path, model, distortion):
    case, _ = opened(tmp_path, case_path)
    camera = replace(case.calibration("front"), distortion_model=model, distortion=np.array(distortion, np.float64))
    how = projection_of("vehicle", camera, Window(0, 0, 1, 1, (1, 1)))
    assert (how["model"], how["D"]) == (model, distortion)
    back = np.linalg.inv(np.vstack([np.reshape(how["camera"], (3, 4)), [0, 0, 0, 1]]))
    assert back == pytest.approx(camera.camera_to_vehicle)


def test_image_lines_are_scaled_from_the_model_s_pixels_to_the_picture_s(tmp_path, case_path):
    case, facts = opened(tmp_path, case_path, Shape(cases=1, rungs=2, frames=6, frame="image"))
    facts.meta["card"]["grid"] |= {"width": 320.0, "height": 180.0}
    how = pictures_of(case, read_facts(facts.meta), [2], 10**6).projection
    assert (how["scale"], how["shift"]) == ([2.0, 2.0], [0.5, 0.5])


def test_a_camera_without_calibration_keeps_its_picture_and_says_why_no_line_is_on_it(tmp_path, case_path):
    import shutil

    from cases.writer import seal_case

    bare = tmp_path / "bare"
    shutil.copytree(case_path, bare)
    text = (bare / "case.toml").read_text()
    (bare / "case.toml").write_text(re.sub(r"^(in|ex)trinsics = \[.*?^\]$", "", text, flags=re.M | re.S))
    seal_case(bare)
    found = pictures_of(*opened(tmp_path, bare), [0], 10**6)
    assert list(found.encoded) == [0]
    assert "no calibration" in found.note
    assert found.projection is None


def test_large_pictures_are_made_smaller():
    assert decoded(webp(np.zeros((1080, 1920, 3), np.uint8), 640, 60)).shape[:2] == (360, 640)
