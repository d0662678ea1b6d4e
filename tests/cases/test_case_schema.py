from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from cases.errors import CaseSchemaError
from cases.schema import CameraMeta, CaseMeta, Distortion, Output, meta_or_problems, read_meta, write_meta

K = ((500.0, 0.0, 320.0), (0.0, 500.0, 180.0), (0.0, 0.0, 1.0))
FORWARD = ((0.0, 0.0, 1.0, 1.5), (-1.0, 0.0, 0.0, 0.0), (0.0, -1.0, 0.0, 1.3), (0.0, 0.0, 0.0, 1.0))
FRONT = CameraMeta(
    kind="video",
    pixel_format="nv12",
    width=640,
    height=360,
    color_matrix="bt709",
    intrinsics=K,
    extrinsics=FORWARD,
    distortion=Distortion(model="opencv", coefficients=(0.1, -0.2, 0.0, 1e-3, 0.03)),
)
FULL = CaseMeta(
    id="bend_01",
    source="a drive",
    licence="MIT",
    fps=29.97,
    tags=("day", "弯道"),
    lossy=True,
    truth_frame="image",
    cameras={"front": FRONT, "features": CameraMeta(kind="tensors", pixel_format="tensor")},
    outputs={"car": Output(path="/dumps/bend 01", tolerance_ms=2.5)},
    sha256={"cameras/front/video.mp4": "ab" * 32},
)

MINIMAL = """
schema_version = 1
id = "a"
fps = 20
lossy = false
[cameras.front]
kind = "images"
pixel_format = "rgb24"
width = 64
height = 48
"""


def _read(root: Path, text: str) -> CaseMeta:
    (root / "case.toml").write_text(text)
    return read_meta(root)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_meta(tmp_path, FULL)
    assert read_meta(tmp_path) == FULL


def test_a_written_camera_describes_its_pixels_in_full(tmp_path: Path) -> None:
    write_meta(tmp_path, _read(tmp_path, MINIMAL))
    text = (tmp_path / "case.toml").read_text()
    assert all(key in text for key in ("pixel_format", "color_matrix", "color_range", "chroma_siting"))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("colour = 1", "unknown key | where: .*cameras.front.colour"),
        ("intrinsics = [[500, 0, 1], [0, 500, 1], [0, 0, 2]]", "last row"),
        ("intrinsics = [[0, 0, 1], [0, 500, 1], [0, 0, 1]]", "positive focal lengths"),
        ("intrinsics = [[500, 0, nan], [0, 500, 1], [0, 0, 1]]", "finite number"),
        ("extrinsics = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]]", "a rotation and a translation"),
        ("extrinsics = [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]", "a rotation and a translation"),
        ("extrinsics = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 2, 3, 1]]", "a rotation and a translation"),
        (
            'distortion = { model = "opencv", coefficients = [0.1] }',
            r"takes \(4, 5, 8, 12, 14\) coefficients \(got 1\)",
        ),
        ('distortion = { model = "fisheye" }', "takes"),
        ('color_matrix = "bt2020"', "'bt601' or 'bt709'.*got 'bt2020'"),
    ],
)
def test_a_camera_that_cannot_be_is_refused_with_its_key(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(CaseSchemaError) as error:
        _read(tmp_path, MINIMAL + line)
    assert error.match(told.split(" | ", maxsplit=1)[0])
    assert "cameras.front" in error.value.where
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"rgb24"', '"tensor"', "pixel_format of kind 'images' must be in"),
        ("height = 48", "", "needs width and height"),
        ('"images"\npixel_format = "rgb24"\nwidth = 64', '"video"\npixel_format = "nv12"\nwidth = 63', "even size"),
        ('id = "a"', 'id = "../a"', "pattern"),
        ("fps = 20", "fps = 0", "greater than 0"),
        ("lossy = false", "", "key is missing"),
        ("[cameras.front]", '[cameras."front left"]', "pattern"),
        ("fps = 20", "fps = = 20", "not TOML"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(CaseSchemaError, match=told):
        _read(tmp_path, MINIMAL.replace(old, new))


def test_every_wrong_key_is_found_in_one_pass(tmp_path: Path) -> None:
    text = MINIMAL.replace("fps = 20", "fps = -1\nspeed = 3").replace("width = 64", 'width = "wide"')
    (tmp_path / "case.toml").write_text(text)
    _, problems = meta_or_problems(tmp_path)
    assert {p.where.rsplit(", ")[-1] for p in problems} == {"fps", "speed", "cameras.front.width"}


def test_a_folder_without_case_toml_is_no_case(tmp_path: Path) -> None:
    with pytest.raises(CaseSchemaError, match="no case"):
        read_meta(tmp_path)


@pytest.mark.parametrize("turn", [0.0, 0.3, -1.2, math.pi])
def test_every_rotation_is_rigid(turn: float) -> None:
    c, s = math.cos(turn), math.sin(turn)
    rows = ((c, -s, 0.0, 1.0), (s, c, 0.0, 2.0), (0.0, 0.0, 1.0, 3.0), (0.0, 0.0, 0.0, 1.0))
    assert CameraMeta(kind="tensors", pixel_format="tensor", extrinsics=rows).extrinsics == rows


def test_the_example_in_the_guide_is_a_case_with_every_key(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "cases.md").read_text()
    example = re.search(r"```toml\n(.*?)```", guide, re.DOTALL)
    assert example is not None
    meta = _read(tmp_path, example[1])
    assert meta.model_fields_set == set(CaseMeta.model_fields)
    assert meta.cameras["front"].model_fields_set == set(CameraMeta.model_fields)
