"""Pictures and the lines projected onto them."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from fixture_run import Shape, make_run

from cases.case import Calibration, open_case
from cases.synth import draw_scene, write_synth_case
from harness.preprocess.colour import to_rgb_u8
from harness.report.facts import read_facts
from harness.report.frames import lines_of_frames
from harness.report.pictures import MAX_WIDTH, add_pictures, jpeg_uri, project
from harness.report.select import WorstFrame


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


def test_lines_are_projected_as_the_renderer_projects_them(case_path):
    camera = draw_scene(3, 0.3).camera
    points = np.stack([np.linspace(4, 80, 30), np.linspace(-2, 5, 30)], axis=1)
    pixels = project(points, open_case(case_path).calibration("front"))
    assert pixels == pytest.approx(camera.project(np.column_stack([points, np.zeros(30)])), abs=1e-6)


def test_what_is_behind_the_camera_is_not_drawn(case_path):
    calibration = open_case(case_path).calibration("front")
    assert len(project(np.array([[-10.0, 0.0], [0.0, 0.0], [20.0, 0.0]]), calibration)) == 1
    assert len(project(np.array([[-10.0, 0.0]]), calibration)) == 0


@pytest.mark.parametrize("model", ["opencv", "fisheye"])
def test_a_distorting_lens_moves_points_off_the_axis_only(case_path, model):
    straight = open_case(case_path).calibration("front")
    bent = Calibration(
        straight.width, straight.height, straight.intrinsics, model, np.array([0.2, 0.05, 0.0, 0.0]),
        straight.camera_to_vehicle,
    )  # fmt: skip
    ahead, aside = np.array([[1e6, 0.0]]), np.array([[8.0, 4.0]])
    assert project(ahead, bent)[0, 0] == pytest.approx(project(ahead, straight)[0, 0], abs=0.01)
    assert np.abs(project(aside, bent) - project(aside, straight)).max() > 3


def test_the_picture_is_that_of_the_frame_with_its_lines_on_it(tmp_path, case_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=2, frames=6), case_paths=[case_path])
    facts, chosen = read_facts(run.meta), [shown(4), shown(1), shown(2, pictured=False)]
    lines = lines_of_frames(run, chosen, facts.ladder, facts.reference, facts.grid)
    frames = [{"lines": own} for own in lines]
    add_pictures(frames, chosen, facts)
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
    add_pictures([{"lines": lines}], chosen, facts)
    assert lines[0]["pixels"] == pytest.approx(lines[0]["points"] * 2 + 0.5)


def test_a_case_that_is_gone_costs_its_pictures_only(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=1, frames=2))
    frames = [{"lines": []}]
    add_pictures(frames, [shown(0)], read_facts(run.meta))
    assert frames[0]["picture"] is None
    assert frames[0]["note"].startswith("no picture: no case")


def test_a_damaged_recording_keeps_what_was_read(tmp_path, case_path):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(case_path, broken)
    video = next((broken / "cameras" / "front").glob("video.*"))
    video.write_bytes(video.read_bytes()[:2000])
    run = make_run(tmp_path / "run", Shape(cases=1, rungs=1, frames=2), case_paths=[broken])
    frames = [{"lines": []}]
    add_pictures(frames, [shown(0)], read_facts(run.meta))
    assert frames[0]["picture"] is None
    assert "no picture" in frames[0]["note"]


def test_large_pictures_are_made_smaller_and_keep_their_coordinates():
    picture = jpeg_uri(np.zeros((1080, 1920, 3), np.uint8))
    assert decoded(picture["src"]).shape[:2] == (540, MAX_WIDTH)
    assert (picture["width"], picture["height"]) == (1920, 1080)
