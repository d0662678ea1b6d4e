"""Run folders that tests write by hand: tables as a test wants them, sealed as a replay would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from harness.run.folder import Run
from harness.run.json import read_json, write_json
from harness.run.manifest import record_of, with_manifest
from harness.run.tables import TABLES, empty


def finish_run(folder: Path, meta: Mapping[str, Any]) -> Run:
    """Give a folder the tables it lacks, without rows, and its run.json; open it."""
    for name in TABLES:
        if not (file := folder / f"{name}.parquet").exists():
            empty(name).write_parquet(file)
    records = {name: record_of(folder / f"{name}.parquet") for name in TABLES}
    write_json(folder / "run.json", with_manifest(meta, records))
    return Run.open(folder)


def put_table(run: Run, name: str, rows: pl.DataFrame) -> None:
    """Give a run another table, sealed like the first."""
    rows.write_parquet(run.path / f"{name}.parquet")
    finish_run(run.path, read_json(run.path / "run.json"))
    run.meta["tables"][name] = record_of(run.path / f"{name}.parquet")
