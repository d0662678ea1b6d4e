from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cases.case import Calibration, open_case
from cases.synth import synth_cases
from harness.errors import ReportError, UsageError
from harness.feed.window import window_of
from harness.lines.table import LineTable
from harness.model.grid import image_grid, vehicle_grid
from harness.report.contact_sheet import BELOW, Layer, contact_sheet, draw_sheet, rungs_shown
from harness.report.draw import draw_lines, place, project
from tests.harness.report.fixture_run import LADDER, Shape, make_run

K = np.array([[500.0, 0, 320], [0, 500, 180], [0, 0, 1]])
# camera x right, y down, z forward; vehicle x forward, y left, z up; 1.5 m above the road
LEVEL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])
LEVEL_CAMERA = Calibration(640, 360, K, "none", np.zeros(0), LEVEL)


def test_a_ground_point_lands_where_the_pinhole_puts_it() -> None:
    x, y = 20.0, 3.0
    assert project(np.array([[x, y]]), LEVEL_CAMERA)[0] == pytest.approx([320 - 500 * y / x, 180 + 500 * 1.5 / x])


def test_what_is_behind_the_camera_is_not_drawn() -> None:
    assert len(project(np.array([[-5.0, 0], [0.2, 0], [10, 0]]), LEVEL_CAMERA)) == 1


def test_image_points_scale_with_the_picture_about_pixel_centres() -> None:
    grid = image_grid(640, 360, (359, 150))
    double, same = (window_of((), size, (640, 360)) for size in ((1280, 720), (640, 360)))
    assert place(np.array([[0.0, 0.0]]), grid, LEVEL_CAMERA, double)[0] == pytest.approx([0.5, 0.5])
    assert place(np.array([[10.0, 20.0]]), grid, LEVEL_CAMERA, same)[0] == pytest.approx([10, 20])


def test_metres_on_an_uncalibrated_camera_are_refused() -> None:
    bare = Calibration(640, 360, None, "none", np.zeros(0), None)
    with pytest.raises(ReportError, match="uncalibrated"):
        place(np.zeros((2, 2)), vehicle_grid(), bare, window_of((), (640, 360), (0, 0)))


def test_a_line_is_drawn_where_it_is() -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    draw_lines(picture, [np.array([[10.0, 0], [10, 39]])], (255, 0, 0), width=1)
    assert picture[20].argmax(axis=0)[0] == 10


@pytest.fixture(scope="module")
def case_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synth_cases(3, 1, 0.4, tmp_path_factory.mktemp("cases"))[0]


def test_a_sheet_shows_the_frames_asked_for(case_folder: Path, tmp_path: Path) -> None:
    import cv2

    contact_sheet(open_case(case_folder), tmp_path / "sheet.png", count=5, columns=3)
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet.shape == (2 * 270, 3 * 480, 3)
    assert sheet[:, :480].std() > 10
    assert sheet[270:, 960:].max() == 0  # the sixth cell is empty


def test_an_unwritable_sheet_is_said_so(case_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="cannot write"):
        contact_sheet(open_case(case_folder), tmp_path / "none" / "sheet.png", count=1)


def test_tensors_cannot_be_shown(tmp_path: Path) -> None:
    import polars as pl

    from cases.schema import CameraMeta
    from cases.writer import CaseWriter

    with CaseWriter(tmp_path, id="t", fps=10, lossy=False) as writer:
        folder = writer.add_camera("front", CameraMeta(kind="tensors", pixel_format="tensor"))
        (folder / "tensors").mkdir(exist_ok=True)
        np.save(folder / "tensors" / "t.npy", np.zeros((1, 3), np.float32))
        writer.set_frames(pl.DataFrame({"frame": [0], "timestamp_ns": [0], "camera": ["front"], "index": [0]}))
    with pytest.raises(UsageError, match="tensors, not pictures"):
        contact_sheet(open_case(tmp_path / "t"), tmp_path / "x.png")


def test_equal_lines_of_two_layers_are_both_seen(case_folder: Path, tmp_path: Path) -> None:
    """The lower one is wider: its colour shows on both sides of the upper one's."""
    import cv2

    case = open_case(case_folder)
    points = np.array([[320.0, 100.0], [320.0, 340.0]], np.float32)
    line = LineTable.from_polars(
        pl.DataFrame({"frame": [0], "line": [0], "slot": [0], "class": [0], "score": [1.0], "topology": [0],
                      "x": [points[:, 0].tolist()], "y": [points[:, 1].tolist()]})
    )  # fmt: skip
    grid = image_grid(640, 360, (359, 150))
    layers = [Layer("reference", (255, 255, 255), grid, line, width=BELOW), Layer("rung", (255, 0, 255), grid, line)]
    draw_sheet(case, case.cameras[0], layers, [0], tmp_path / "sheet.png")
    row = cv2.imread(str(tmp_path / "sheet.png"))[150, 230:250].astype(int)
    magenta = (np.abs(row - (255, 0, 255)).sum(axis=1) < 60).nonzero()[0]
    white = (np.abs(row - 255).sum(axis=1) < 130).nonzero()[0]
    assert len(magenta)
    assert white.min() < magenta.min()
    assert white.max() > magenta.max()


def test_a_sheet_of_a_run_shows_the_reference_and_no_probes(tmp_path: Path) -> None:
    """The names on a picture stay few: probes are drawn where they are asked for."""
    run = make_run(tmp_path / "run", Shape(cases=1, rungs=len(LADDER), frames=12))
    names = [name for name, _, _ in LADDER]
    assert rungs_shown(run)[0] == run.reference
    assert sorted(rungs_shown(run)) == sorted(name for name in names if not name.startswith("train+"))
