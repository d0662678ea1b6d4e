import hashlib

import numpy as np
import pytest

from cases.case import open_case
from cases.check import check_case
from cases.errors import CaseError, ImportSourceError
from cases.picture import Picture
from cases.synth import camera_picture, render_clip, synth_cases, write_synth_case
from cases.synth.scene import TRUTH_X_M, draw_scene
from harness.feed.preprocess.colour import to_rgb

SEED = 77


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_synth_case(SEED, 0.3, tmp_path_factory.mktemp("cases"))


def test_a_synthetic_case_has_no_problems(folder):
    assert check_case(folder) == []


def test_stored_pictures_are_the_camera_s_bit_for_bit(folder):
    ticks = list(open_case(folder).ticks(["front"]))
    assert len(ticks) == 6
    for tick, (rgb, _, _) in zip(ticks, render_clip(SEED, 0.3), strict=True):
        stored, given = tick.pictures["front"], camera_picture(rgb)
        assert (stored.data == given.data).all()
        assert (stored.pixel_format, stored.color_matrix, stored.color_range) == ("yuv420p", "bt601", "limited")
        assert stored.chroma_siting == "left"


def test_truth_and_ego_are_those_of_the_renderer(folder):
    case = open_case(folder)
    truth = case.truth()
    assert truth is not None
    ticks = list(case.ticks(["front"]))
    for tick, (_, lines, ego) in zip(ticks, render_clip(SEED, 0.3), strict=True):
        assert tick.ego == ego
        rows = truth.filter(truth["frame"] == tick.frame)
        assert sorted(rows["slot"].to_list()) == np.flatnonzero(np.isfinite(lines[:, 0])).tolist()
        for slot, x, y in rows.select("slot", "x", "y").iter_rows():
            np.testing.assert_allclose(x, TRUTH_X_M)
            np.testing.assert_allclose(y, lines[slot], atol=1e-5)


def test_stored_calibration_projects_truth_where_the_renderer_does(folder):
    meta, camera = open_case(folder).meta.cameras["front"], draw_scene(SEED, 0.3).camera
    ground = np.array([[10.0, 1.7, 0.0], [40.0, -5.0, 0.0]])
    in_camera = (np.linalg.inv(np.array(meta.extrinsics)) @ np.column_stack([ground, np.ones(2)]).T)[:3]
    pixels = np.array(meta.intrinsics) @ in_camera
    np.testing.assert_allclose((pixels[:2] / pixels[2]).T, camera.project(ground), atol=1e-9)


def test_the_same_seed_writes_the_same_files(folder, tmp_path):
    again = write_synth_case(SEED, 0.3, tmp_path)
    names = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert [_sha(folder / n) for n in names] == [_sha(again / n) for n in names]


def _sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_pictures_can_be_stored_as_rgb_images(tmp_path):
    folder = write_synth_case(SEED, 0.1, tmp_path, fmt="images")
    assert check_case(folder) == []
    for tick, (rgb, _, _) in zip(open_case(folder).ticks(["front"]), render_clip(SEED, 0.1), strict=True):
        assert tick.pictures["front"].pixel_format == "rgb24"
        assert (tick.pictures["front"].data == rgb).all()


def test_cases_that_are_there_are_kept_and_progress_is_told(tmp_path):
    told = []
    first = synth_cases(5, 2, 0.1, tmp_path, progress=lambda *args: told.append(args))
    stamps = [(p / "case.toml").stat().st_mtime_ns for p in first]
    assert told == [("cases", 1, 2), ("cases", 2, 2)]
    assert synth_cases(5, 2, 0.1, tmp_path) == first
    assert stamps == [(p / "case.toml").stat().st_mtime_ns for p in first]


def test_several_processes_write_the_same_cases(folder, tmp_path):
    told = []
    folders = synth_cases(SEED, 2, 0.3, tmp_path, progress=lambda *args: told.append(args), jobs=2)
    assert told == [("cases", 1, 2), ("cases", 2, 2)]
    assert [f.name for f in folders] == ["synth_00077", "synth_00078"]
    assert (folders[0] / "case.toml").read_bytes() == (folder / "case.toml").read_bytes()


def test_a_folder_with_another_length_is_refused(tmp_path):
    synth_cases(5, 1, 0.1, tmp_path)
    with pytest.raises(CaseError, match="2 frames") as caught:
        synth_cases(5, 1, 0.2, tmp_path)
    assert "remove" in caught.value.remedy


def test_a_clip_without_a_frame_is_refused(tmp_path):
    with pytest.raises(ImportSourceError, match="no frame"):
        write_synth_case(1, 0.01, tmp_path)


def test_the_camera_s_colours_come_back():
    """Smooth colours survive the way to 4:2:0 and back within the rounding of 8 bits."""
    u, v = np.meshgrid(np.arange(64), np.arange(32))
    rgb = np.stack([60 + 2 * u, 200 - 3 * v, 80 + u + v], axis=-1).astype(np.uint8)
    picture = camera_picture(rgb)
    assert isinstance(picture, Picture)
    back = to_rgb(picture)
    assert np.abs(back[2:-2, 2:-2] - rgb[2:-2, 2:-2]).max() < 2.5


def test_chroma_is_sited_left():
    """A colour ramp across comes back without a shift: the mean error has no sign."""
    ramp = np.repeat(np.linspace(40, 210, 64)[None, :], 32, axis=0)
    rgb = np.stack([ramp, 128 + 0 * ramp, 250 - ramp], axis=-1).round().astype(np.uint8)
    difference = (to_rgb(camera_picture(rgb)) - rgb)[4:-4, 4:-4, 0]
    assert abs(difference.mean()) < 0.35
