"""What a finished run knows of itself: rows and SHA-256 of every table, and the SHA-256 of run.json's own content.

    "tables": {"events": {"rows": 12, "sha256": "..."}, ...}, "sha256": "..."

A reader holds a table against it before the first row is read: a table that is lost, cut short or changed is an error
that names it, never an empty table. `trueline replay` makes it anew from the parts, which are sealed as well
(engines/sealed.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from engines.sealed import file_sha256
from harness.errors import RunError
from harness.run.tables import TABLES

__all__ = ["check_meta", "check_table", "damaged_tables", "record_of", "summed", "unsummed", "with_manifest"]

Records = dict[str, dict[str, Any]]
_REPLAY = "run the same `trueline replay` again: it makes it anew from the run's parts, or replays what it lacks"


def record_of(table: Path) -> dict[str, Any]:
    """Rows and SHA-256 of a table's file."""
    rows = pl.scan_parquet(table, glob=False).select(pl.len()).collect().item()
    return {"rows": rows, "sha256": file_sha256(table)}


def with_manifest(meta: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """run.json of a finished run, with the records of its tables and its own checksum.

    Args:
        meta: run.json so far.
        records: of every table, by name.
    """
    told = {**meta, "finished": True, "tables": {name: dict(record) for name, record in records.items()}}
    return summed(told)


def summed(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a JSON file says, with its own checksum."""
    whole = json.loads(json.dumps(told))  # as a reader will have it
    return {**whole, "sha256": _own_sum(whole)}


def unsummed(whole: Any) -> dict[str, Any] | None:
    """What `summed` was given; None where it was changed, or never was."""
    if not isinstance(whole, dict) or whole.get("sha256") != _own_sum(whole):
        return None
    return {key: value for key, value in whole.items() if key != "sha256"}


def check_meta(meta: Mapping[str, Any], folder: Path) -> None:
    """Refuse run.json of a finished run that lacks its checksums or does not fit them.

    Raises:
        RunError: it was changed, or written by a version that kept no checksums.
    """
    if wrong := _wrong_meta(meta):
        raise RunError(wrong, where=str(folder / "run.json"), remedy=_REPLAY)


def check_table(folder: Path, name: str, meta: Mapping[str, Any]) -> Path:
    """The file of a table, once it is what the replay wrote.

    Raises:
        RunError: it is missing or damaged.
    """
    file = folder / f"{name}.parquet"
    if wrong := _wrong_table(file, meta.get("tables", {}).get(name)):
        raise RunError(wrong, where=str(file), remedy=_REPLAY)
    return file


def damaged_tables(folder: Path, meta: Mapping[str, Any]) -> list[str]:
    """What is wrong with run.json and the tables of a finished run, one text each; none where all is as it was."""
    if wrong := _wrong_meta(meta):
        return [f"run.json: {wrong}"]
    found = {name: _wrong_table(folder / f"{name}.parquet", meta["tables"].get(name)) for name in TABLES}
    return [f"{name}.parquet: {wrong}" for name, wrong in found.items() if wrong]


def _wrong_meta(meta: Mapping[str, Any]) -> str:
    if not isinstance(meta.get("tables"), dict) or "sha256" not in meta:
        return "it keeps no checksums of the run's tables"
    return "" if _own_sum(meta) == meta["sha256"] else "it is not what the replay wrote"


def _wrong_table(file: Path, record: Mapping[str, Any] | None) -> str:
    if record is None:
        return "the run knows no such table"
    try:
        same = file_sha256(file) == record["sha256"]
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return "" if same else "it is damaged: its SHA-256 is not the one in run.json"


def _own_sum(meta: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in meta.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
