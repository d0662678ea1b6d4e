from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from recordings import truth_of

from cases.case import open_case
from cases.check import check_case
from cases.errors import CaseError, CaseSchemaError
from cases.frames import single_camera
from cases.schema import CameraMeta, read_meta
from cases.writer import CaseWriter, seal_case

TENSOR = CameraMeta(kind="tensors", pixel_format="tensor")


def _writer(out: Path, id: str = "a") -> CaseWriter:
    return CaseWriter(out, id=id, fps=20.0, lossy=False)


def _fill(case: CaseWriter) -> None:
    np.save(case.add_camera("front", TENSOR) / "tensors" / "x.npy", np.zeros((3, 2)))
    case.set_frames(single_camera([0, 1, 2], "front"))


def test_a_written_case_has_no_problems_and_every_file_is_hashed(tmp_path: Path) -> None:
    with _writer(tmp_path) as case:
        _fill(case)
        case.set_truth(truth_of(3))
    assert check_case(case.path) == []
    files = {p.relative_to(case.path).as_posix(): p for p in case.path.rglob("*") if p.is_file()}
    del files["case.toml"]
    assert read_meta(case.path).sha256 == {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in files.items()}


def test_nothing_is_visible_before_the_end(tmp_path: Path) -> None:
    with _writer(tmp_path) as case:
        _fill(case)
        assert not case.path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda case: case.set_frames(single_camera([0, 2, 1], "front")),
        lambda case: case.set_frames(single_camera([0, 1, 2], "rear")),
        lambda case: case.set_truth(truth_of(9)),
        lambda case: case.add_output("car", "", 1.0),
        lambda case: case.add_camera("../up", TENSOR),
        lambda case: 1 / 0,
    ],
    ids=["times", "camera", "truth", "output", "name", "crash"],
)
def test_an_error_leaves_nothing_behind(tmp_path: Path, spoil: Callable[[CaseWriter], object]) -> None:
    out = tmp_path / "out"
    out.mkdir()

    def write() -> None:
        with _writer(out) as case:
            _fill(case)
            spoil(case)

    with pytest.raises((CaseError, ZeroDivisionError)):
        write()
    assert list(out.iterdir()) == []


def test_frames_must_be_set(tmp_path: Path) -> None:
    with pytest.raises(CaseSchemaError, match="no frames were set"), _writer(tmp_path) as case:
        case.add_camera("front", TENSOR)


def test_a_case_that_exists_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "precious").touch()
    with pytest.raises(CaseError, match="exists already"):
        _writer(tmp_path)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["precious"]


def test_a_case_that_appeared_meanwhile_is_not_touched(tmp_path: Path) -> None:
    def write() -> None:
        with _writer(tmp_path) as case:
            _fill(case)
            case.path.mkdir()
            (case.path / "precious").touch()

    with pytest.raises(CaseError, match="cannot put the case in place"):
        write()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["precious"]
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("id", ["", "../a", "a/b", ".hidden", "a b"])
def test_an_id_is_a_plain_name(tmp_path: Path, id: str) -> None:
    with pytest.raises(CaseSchemaError, match="does not match"):
        _writer(tmp_path, id)


def test_an_out_that_cannot_hold_folders_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CaseError, match="cannot write here"), _writer(tmp_path / "file"):
        pass


def test_tables_are_stored_sorted_in_their_declared_types(tmp_path: Path) -> None:
    with _writer(tmp_path) as case:
        _fill(case)
        case.set_frames(single_camera([0, 1, 2], "front").reverse().cast({"index": pl.Int16}))
        case.set_truth(truth_of(3).reverse())
    case_read = open_case(case.path)
    assert pl.read_parquet(case.path / "frames.parquet").equals(single_camera([0, 1, 2], "front"))
    truth = case_read.truth()
    assert truth is not None
    assert truth["frame"].to_list() == [0, 1, 2]
    assert truth.schema["x"] == pl.List(pl.Float32)


def test_sealing_accepts_a_change_that_is_meant(tmp_path: Path) -> None:
    with _writer(tmp_path) as case:
        _fill(case)
    before = open_case(case.path).digest()
    single_camera([0, 5, 9], "front").write_parquet(case.path / "frames.parquet")
    assert [problem.what[:9] for problem in check_case(case.path)] == ["sha256 is"]
    seal_case(case.path)
    assert check_case(case.path) == []
    assert open_case(case.path).digest() != before
