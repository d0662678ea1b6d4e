from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from cases.errors import CaseSchemaError
from cases.migrate import MIGRATIONS, SCHEMA_VERSION, migrate
from cases.schema import read_meta

VERSION_0 = """
schema_version = 0
id = "old"
license = "MIT"
fps = 20.0
lossy = false

[camera]
kind = "video"
pixel_format = "yuv420p"
width = 640
height = 360
color = "bt709-full"

[files]
"frames.parquet" = "0000000000000000000000000000000000000000000000000000000000000000"
"""

VERSION_1 = """
schema_version = 1
id = "old"
licence = "MIT"
fps = 20.0
lossy = false

[cameras.front]
kind = "video"
pixel_format = "yuv420p"
width = 640
height = 360
color_matrix = "bt709"
color_range = "full"

[sha256]
"frames.parquet" = "0000000000000000000000000000000000000000000000000000000000000000"
"""


def _meta(root: Path, text: str) -> object:
    (root / "case.toml").write_text(text)
    return read_meta(root)


def test_version_0_reads_as_the_same_case_written_in_version_1(tmp_path: Path) -> None:
    assert _meta(tmp_path, VERSION_0) == _meta(tmp_path, VERSION_1)


def test_the_current_version_is_left_as_it_is() -> None:
    table = tomllib.loads(VERSION_1)
    assert migrate(table) == table


def test_a_migration_takes_what_it_reads_and_gives_what_it_declares() -> None:
    table = tomllib.loads(VERSION_0)
    for step in MIGRATIONS:
        produced = step.apply({key: table[key] for key in step.reads})
        assert set(produced) == set(step.produces)
    assert not set(migrate(table)) & {key for step in MIGRATIONS for key in step.reads}


def test_keys_of_an_older_version_are_unknown_in_the_current_one(tmp_path: Path) -> None:
    with pytest.raises(CaseSchemaError, match="unknown key"):
        _meta(tmp_path, VERSION_1.replace("licence", "license"))


@pytest.mark.parametrize("version", ["2", "-1", '"1"', "true", "1.0"])
def test_a_version_that_is_not_known_is_refused(tmp_path: Path, version: str) -> None:
    with pytest.raises(CaseSchemaError, match=f"must be 0 to {SCHEMA_VERSION}"):
        _meta(tmp_path, VERSION_1.replace("schema_version = 1", f"schema_version = {version}"))


def test_a_file_without_a_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseSchemaError, match="schema_version None"):
        _meta(tmp_path, VERSION_1.replace("schema_version = 1", ""))


def test_old_keys_of_the_wrong_shape_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CaseSchemaError, match="cannot be migrated"):
        _meta(tmp_path, VERSION_0.replace("[camera]", "[[camera]]"))
