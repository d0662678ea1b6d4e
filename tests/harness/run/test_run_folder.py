from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from harness.errors import RunError
from harness.run.folder import CaseParts, Run, finished_cases, write_tables
from harness.run.json import write_json
from harness.run.tables import SORT_KEYS, TABLES
from tests.run_folders import finish_run


def _frames(first: int, count: int) -> dict[str, object]:
    return {
            "frame": np.arange(first, first + count), "rung": "b", "reference": "a",
            "lines": 2, "matched": 2, "missing": 0, "extra": 0, "nonfinite": 0,
    }  # fmt: skip


def _write(run: Path, case: str, counts: list[int], flush_rows: int) -> None:
    with CaseParts(run / "parts", case, flush_rows) as parts:
        first = 0
        for count in counts:
            parts.add("frame_metrics", _frames(first, count))
            first += count
        parts.commit()


@pytest.mark.parametrize("flush_rows", [1, 5, 1000])
def test_tables_do_not_depend_on_how_often_parts_were_flushed(tmp_path: Path, flush_rows: int) -> None:
    _write(tmp_path, "two", [3, 4], flush_rows)
    _write(tmp_path, "one", [5], flush_rows)
    write_tables(tmp_path, ["two", "one"], {"length_unit": "m"})
    table = pl.read_parquet(tmp_path / "frame_metrics.parquet")
    assert table.select("case", "frame").rows() == [("one", f) for f in range(5)] + [("two", f) for f in range(7)]
    assert table.equals(table.sort(*SORT_KEYS["frame_metrics"]))
    assert dict(table.schema) == {k: (v() if isinstance(v, type) else v) for k, v in TABLES["frame_metrics"].items()}


def test_a_case_that_was_not_committed_leaves_nothing(tmp_path: Path) -> None:
    with CaseParts(tmp_path / "parts", "half") as parts:
        parts.add("frame_metrics", _frames(0, 3))
    assert finished_cases(tmp_path) == set()
    assert list((tmp_path / "parts").iterdir()) == []


def test_tables_without_rows_exist_with_their_schema(tmp_path: Path) -> None:
    write_tables(tmp_path, [], {})
    for name, schema in TABLES.items():
        assert list(pl.read_parquet(tmp_path / f"{name}.parquet").schema) == list(schema)


def test_the_unit_stands_in_the_parquet_metadata(tmp_path: Path) -> None:
    write_tables(tmp_path, [], {"length_unit": "px"})
    assert pl.read_parquet_metadata(tmp_path / "events.parquet")["length_unit"] == "px"


def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"rungs": [], "cases": [{}, {}], "finished": False})
    with pytest.raises(RunError, match=r"0 of 2 cases.*trueline replay"):
        Run.open(tmp_path)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError) as caught:
        Run.open(tmp_path)
    assert "\n" not in str(caught.value)
    assert "remedy" in str(caught.value)


def test_a_folder_whose_name_is_a_pattern_reads_its_own_tables(tmp_path: Path) -> None:
    for name, frames in (("rc1", 1), ("rc[1]", 2)):
        folder = tmp_path / name
        folder.mkdir()
        rows = {"case": ["a"] * frames, "rung": ["deploy/x"] * frames, "p50_ms": [1.0] * frames}
        rows |= {"p99_ms": [1.0] * frames, "frames": [1] * frames}
        pl.DataFrame(rows).write_parquet(folder / "latency.parquet")
        finish_run(folder, {"rungs": []})
    assert Run.open(tmp_path / "rc[1]").read("latency").height == 2
