"""Run folders: `run.json`, the tables, and the immutable part files a replay leaves behind case by case.

A replay writes `parts/CASE/TABLE.N.parquet` into a temporary folder and renames it when the case is finished: that is
the unit of resume. Once every case has its parts, each table is written once from them, in order, as a stream.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from engines.sealed import damage, seal
from harness.errors import RunError
from harness.run.json import read_json
from harness.run.manifest import check_meta, check_table, record_of, unsummed
from harness.run.tables import SORT_KEYS, TABLES, empty
from trueline._drafts import remove_tree, replacing
from trueline._text import counted

__all__ = ["CaseParts", "Columns", "Run", "TakesRows", "height_of", "rows_of_table"]

ROWS_PER_GROUP = 50_000  # bounds what writing a table holds in memory
LINES_PER_GROUP = 20_000  # rows of lines.parquet are ten times as large; its writer keeps 50 kB for every group
ROWS_PER_PART = 16_384  # several parts are in memory while a table is written of them

Columns = Mapping[str, Any]
"""Column name -> NumPy array, polars series, or one value for every row."""


class TakesRows(Protocol):
    """What a comparison writes its rows to."""

    def add(self, table: str, rows: Columns) -> None:
        """Append rows; see `CaseParts.add`."""
        ...


class CaseParts:
    """Part files of one case while it is replayed; `commit` makes them final, without it they are dropped."""

    def __init__(self, parts: Path, case: str, flush_rows: int = ROWS_PER_PART) -> None:
        self._final = parts / case
        self._folder = parts / f".{case}.tmp"
        remove_tree(self._folder)
        self._folder.mkdir(parents=True)
        self._case = case
        self._flush_rows = flush_rows
        self._pending: dict[str, list[Columns]] = {name: [] for name in TABLES}
        self._rows = dict.fromkeys(TABLES, 0)
        self._files = dict.fromkeys(TABLES, 0)

    def __enter__(self) -> CaseParts:
        return self

    def __exit__(self, *_: object) -> None:
        remove_tree(self._folder)

    @property
    def folder(self) -> Path:
        """Where this case's files are written until `commit`."""
        return self._folder

    def add(self, table: str, rows: Columns) -> None:
        """Append rows; rows of one call belong to later frames than those of the call before.

        Args:
            table: name of the table.
            rows: column -> array or series of one length, or a single value for every row. Columns of the schema that
                are not given are null; NaN is null too.
        """
        height = height_of(rows)
        if height:
            self._pending[table].append(rows)
            self._rows[table] += height
            if self._rows[table] >= self._flush_rows:
                self._flush(table)

    def commit(self) -> None:
        """Write what is pending and make the case finished."""
        for table in TABLES:
            self._flush(table)
        seal(self._folder)
        self._folder.rename(self._final)

    def _flush(self, table: str) -> None:
        pending = self._pending[table]
        if not pending:
            return
        rows = rows_of_table(table, [{"case": self._case, **columns} for columns in pending])
        rows = rows.sort(*SORT_KEYS[table], maintain_order=True)
        file = self._folder / f"{table}.{self._files[table]:06d}.parquet"
        rows.write_parquet(file, compression="lz4", row_group_size=rows_per_group(table))
        self._files[table] += 1
        self._rows[table] = 0
        pending.clear()


class Run:
    """A run folder.

    Attributes:
        path: the folder.
        meta: what run.json says: `card`, `reference`, `rungs`, `cases`, `settings`, `provenance`, `finished`.
    """

    def __init__(self, path: Path, meta: dict[str, Any]) -> None:
        self.path = path
        self.meta = meta
        self._checked: dict[str, Path] = {}

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open a finished run.

        Raises:
            RunError: not a run folder, a replay that has not finished, or a run.json that was changed or knows no
                checksums.
        """
        path = Path(path)
        meta = read_json(path / "run.json")
        if not isinstance(meta, dict) or "rungs" not in meta:
            raise RunError("this is not a run", where=str(path), remedy="give a folder made by `trueline replay`")
        if not meta.get("finished"):
            done, total = len(finished_cases(path)), len(meta.get("cases") or ())
            raise RunError(
                f"the replay has not finished ({done} of {counted(total, 'case')})",
                where=str(path),
                remedy="run the same `trueline replay` again; it goes on where it stopped",
            )
        check_meta(meta, path)
        return cls(path, meta)

    @property
    def reference(self) -> str:
        """Name of the reference rung."""
        return str(self.meta["reference"])

    @property
    def unit(self) -> str:
        """Unit of lengths, `m` or `px`."""
        return str(self.meta["card"]["length_unit"])

    @property
    def rungs(self) -> list[dict[str, Any]]:
        """name, preprocess, engine, parent, factors, status (ok, not_run, crashed), reason, provenance of each rung."""
        return list(self.meta["rungs"])

    def table(self, name: str) -> pl.LazyFrame:
        """One table, lazily; its file is held against its checksum the first time.

        Raises:
            RunError: it is missing or damaged.
        """
        if name not in self._checked:
            self._checked[name] = check_table(self.path, name, self.meta)
            self._check_columns(name)
        return pl.scan_parquet(self._checked[name], glob=False)

    def _check_columns(self, name: str) -> None:
        """Refuse a table of a Trueline that knew other columns."""
        lacking = TABLES[name].keys() - pl.read_parquet_schema(self._checked[name]).keys()
        if lacking:
            raise RunError(
                f"{name}.parquet has no column {min(lacking)!r}: another version of Trueline wrote it",
                where=str(self.path),
                remedy="replay again into a new folder",
            )

    def read(self, name: str) -> pl.DataFrame:
        """One table, in memory.

        Raises:
            RunError: it is missing or damaged.
        """
        return self.table(name).collect()

    def floors(self) -> dict[str, float]:
        """Noise floor of each metric: the largest of every case, rung, probe and band; empty without `--floor`."""
        found = self.table("floors").group_by("metric").agg(pl.col("value").max()).collect()
        return dict(found.sort("metric").rows())

    def verdict(self) -> dict[str, Any] | None:
        """What the last gate wrote to verdict.json, None where none has judged this run."""
        file = self.path / "verdict.json"
        if not file.exists():
            return None
        told = unsummed(read_json(file))
        if told is None:
            remedy = f"judge the run again: trueline gate {self.path}"
            raise RunError("it is not what the gate wrote", where=str(file), remedy=remedy)
        return told


def finished_cases(path: Path) -> set[str]:
    """Cases whose parts are final."""
    with suppress(OSError):
        return {p.name for p in (path / "parts").iterdir() if p.is_dir() and not p.name.startswith(".")}
    return set()


def adopt_parts(parts: Path, case: str, files: Mapping[str, bytes]) -> None:
    """Make a case finished by part files that another machine wrote.

    Args:
        parts: folder `parts` of the run.
        case: id.
        files: name -> content of every file that `CaseParts.commit` left there.

    Raises:
        RunError: they are not what that machine wrote.
    """
    draft = parts / f".{case}.tmp"
    remove_tree(draft)
    draft.mkdir(parents=True)
    for name, content in files.items():
        (draft / Path(name).name).write_bytes(content)
    if wrong := damage(draft):
        shutil.rmtree(draft)
        raise RunError(f"parts of case {case} arrived damaged: {wrong}", where=str(parts), remedy="replay it again")
    draft.rename(parts / case)


def sweep(path: Path) -> None:
    """Remove what replays that were killed left in a run folder; only while no other process writes it."""
    for left in (*path.glob("*.tmp"), *(path / "parts").glob(".*.tmp")):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def drop_damaged(path: Path) -> dict[str, str]:
    """Remove cases whose parts are damaged, so that they are replayed again; what was wrong, by case."""
    found = {case: damage(path / "parts" / case) for case in sorted(finished_cases(path))}
    for case in (case for case, wrong in found.items() if wrong):
        shutil.rmtree(path / "parts" / case)
    return {case: wrong for case, wrong in found.items() if wrong}


def write_tables(path: Path, cases: Sequence[str], metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Write every final table from the part files of `cases`, sorted, as a stream.

    Args:
        path: run folder.
        cases: case ids; they are sorted here.
        metadata: key-value metadata of each Parquet file (length_unit and the like).

    Returns:
        Rows and SHA-256 of each table, for run.json.
    """
    records = {}
    for table in TABLES:
        files = [f for case in sorted(cases) for f in sorted((path / "parts" / case).glob(f"{table}.*.parquet"))]
        with replacing(path / f"{table}.parquet") as draft:
            size = rows_per_group(table)
            _scan(files, table).sink_parquet(draft, compression="zstd", row_group_size=size, metadata=dict(metadata))
            records[table] = record_of(draft)
    return records


def height_of(rows: Columns) -> int:
    """Length of the columns that are not single values; 1 where all are."""
    return next((len(v) for v in rows.values() if isinstance(v, np.ndarray | pl.Series)), 1)


def rows_of_table(table: str, blocks: Sequence[Columns]) -> pl.DataFrame:
    """One table from many blocks of columns; each column becomes one series, whatever the number of blocks."""
    heights = [height_of(block) for block in blocks]
    columns = []
    for name, kind in TABLES[table].items():
        values = [block.get(name) for block in blocks]
        columns.append(_column(name, values, heights).cast(kind))
    return pl.DataFrame(columns)


def _column(name: str, values: Sequence[Any], heights: Sequence[int]) -> pl.Series:
    if all(isinstance(v, np.ndarray) for v in values):
        return pl.Series(name, np.concatenate(values), nan_to_null=True)
    if any(isinstance(v, np.ndarray | pl.Series) for v in values):
        parts = [
            v if isinstance(v, pl.Series) else pl.Series(v if isinstance(v, np.ndarray) else [v] * n, nan_to_null=True)
            for v, n in zip(values, heights, strict=True)
        ]
        return pl.concat([p.rename(name) for p in parts])
    distinct = list(dict.fromkeys(values))
    place = {value: k for k, value in enumerate(distinct)}
    codes = np.repeat([place[v] for v in values], heights)
    return pl.Series(name, distinct).gather(codes)


def rows_per_group(table: str) -> int:
    """Rows of a row group of a table's files."""
    return LINES_PER_GROUP if table == "lines" else ROWS_PER_GROUP


def _scan(files: Sequence[Path], table: str) -> pl.LazyFrame:
    return pl.scan_parquet(list(files), glob=False) if files else empty(table).lazy()
