"""Pictures and the lines projected onto them."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest

from cases.case import open_case
from cases.synth import draw_scene, write_synth_case
from harness.feed.preprocess.colour import to_rgb_u8
from harness.report.finding import WorstFrame
from harness.report.frames import lines_of_frames
from harness.report.pictures import MAX_WIDTH, add_pictures, jpeg_uri
from harness.run.facts import read_facts
from harness.run.recordings import Recordings
from tests.harness.report.fixture_run import Shape, make_run


@pytest.fixture(scope="module")
def case_path(tmp_path_factory):
    return write_synth_case(3, 0.3, tmp_path_factory.mktemp("cases"))


def shown(frame: int, pictured: bool = True, case: str = "highway_curve") -> WorstFrame:
    nan = float("nan")
    return WorstFrame(case, frame, "", "bend", 0, "far", nan, nan, "m", "candidate", frame, frame, pictured=pictured)


def decoded(uri: str) -> np.ndarray:
    import cv2

    data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1].astype(float)


def test_the_picture_is_that_of_the_frame_with_its_lines_on_it(tmp_path, case_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=2, frames=6), case_paths=[case_path])
    facts, chosen = read_facts(run.meta), [shown(4), shown(1), shown(2, pictured=False)]
    lines = lines_of_frames(run, chosen, facts.ladder, facts.reference, facts.grid)
    frames = [{"lines": own} for own in lines]
    add_pictures(frames, chosen, facts, Recordings(run.meta, run.path))
    ticks = {t.frame: to_rgb_u8(t.pictures["front"]).astype(float) for t in open_case(case_path).ticks()}
    for finding, frame in zip(chosen[:2], frames, strict=False):
        assert np.abs(decoded(frame["picture"]["src"]) - ticks[finding.frame]).mean() < 4
        assert np.abs(decoded(frame["picture"]["src"]) - ticks[3]).mean() > 4  # another frame is another picture
        assert frame["note"] == ""
        line = frame["lines"][0]
        far = draw_scene(3, 0.3).camera.project([*line["points"][-1], 0.0])
        assert line["pixels"][-1] == pytest.approx(far, abs=0.01)
    assert frames[2]["picture"] is None
    assert "left out" in frames[2]["note"]


def test_image_lines_are_scaled_from_the_model_s_pixels_to_the_picture_s(tmp_path, case_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=2, frames=6, frame="image"), case_paths=[case_path])
    meta = run.meta | {}
    meta["card"]["grid"] |= {"width": 320.0, "height": 180.0}
    facts, chosen = read_facts(meta), [shown(2)]
    (lines,) = lines_of_frames(run, chosen, facts.ladder, facts.reference, facts.grid)
    add_pictures([{"lines": lines}], chosen, facts, Recordings(run.meta, run.path))
    assert lines[0]["pixels"] == pytest.approx(lines[0]["points"] * 2 + 0.5)


def test_a_camera_without_calibration_keeps_its_picture_and_says_why_no_line_is_on_it(tmp_path, case_path):
    import shutil

    from cases.writer import seal_case

    bare = tmp_path / "bare"
    shutil.copytree(case_path, bare)
    text = (bare / "case.toml").read_text()
    (bare / "case.toml").write_text(re.sub(r"^(in|ex)trinsics = \[.*?^\]$", "", text, flags=re.M | re.S))
    seal_case(bare)
    run = make_run(tmp_path / "run", Shape(cases=1, rungs=1, frames=2), case_paths=[bare])
    frames = [{"lines": [{"points": np.zeros((2, 2), np.float32)}]}]
    add_pictures(frames, [shown(0)], read_facts(run.meta), Recordings(run.meta, run.path))
    assert frames[0]["picture"]["src"].startswith("data:image/jpeg")
    assert "no calibration" in frames[0]["note"]
    assert "pixels" not in frames[0]["lines"][0]


def test_a_case_that_is_gone_costs_its_pictures_only(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=1, frames=2))
    frames = [{"lines": []}]
    add_pictures(frames, [shown(0)], read_facts(run.meta), Recordings(run.meta, run.path))
    assert frames[0]["picture"] is None
    assert frames[0]["note"].startswith("no picture: no such case folder")


def test_a_damaged_recording_keeps_what_was_read(tmp_path, case_path):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(case_path, broken)
    video = next((broken / "cameras" / "front").glob("video.*"))
    video.write_bytes(video.read_bytes()[:2000])
    run = make_run(tmp_path / "run", Shape(cases=1, rungs=1, frames=2), case_paths=[broken])
    frames = [{"lines": []}]
    add_pictures(frames, [shown(0)], read_facts(run.meta), Recordings(run.meta, run.path))
    assert frames[0]["picture"] is None
    assert "no picture" in frames[0]["note"]


def test_large_pictures_are_made_smaller_and_keep_their_coordinates():
    picture = jpeg_uri(np.zeros((1080, 1920, 3), np.uint8))
    assert decoded(picture["src"]).shape[:2] == (540, MAX_WIDTH)
    assert (picture["width"], picture["height"]) == (1920, 1080)
