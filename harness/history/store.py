"""The file: `gates`, one row a verdict, and `numbers`, what each rule measured on each rung in its worst case.

SQLite locks the file while it is written, so gates of several machines may share one on a local disk. `user_version`
is the schema's version; an older file is migrated by small declared steps, a newer one is refused.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import RunError
from harness.gate.provenance import provenance_of
from harness.gate.verdict import CaseOutcome, RuleOutcome, RungOutcome, Verdict

__all__ = ["Gate", "History", "Number"]

VERSION = 1
_OF_POPULATION = (("share", "allowed_share", "of drives"), ("per_hour", "allowed_per_hour", "/h"))
WAIT_S = 30.0  # for another gate that is writing
_SCHEMA = """
CREATE TABLE gates (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, model TEXT NOT NULL, policy TEXT NOT NULL, profile TEXT NOT NULL,
    run_digest TEXT NOT NULL, run_path TEXT NOT NULL, verdict TEXT NOT NULL, provenance TEXT NOT NULL,
    UNIQUE (run_digest, policy, profile, model)
);
CREATE TABLE numbers (
    gate INTEGER NOT NULL REFERENCES gates (id) ON DELETE CASCADE, rule TEXT NOT NULL, rung TEXT NOT NULL,
    "case" TEXT NOT NULL, status TEXT NOT NULL, value REAL, limit_value REAL NOT NULL, unit TEXT NOT NULL,
    higher_is_worse INTEGER NOT NULL, required INTEGER NOT NULL, PRIMARY KEY (gate, rule, rung)
);
"""


@dataclass(frozen=True, slots=True)
class Number:
    """What a rule measured on a rung in its worst case.

    Attributes:
        value: in `unit`; NaN where there was none.
        limit: in `unit`.
        higher_is_worse: whether the limit is an upper bound.
    """

    rule: str
    rung: str
    case: str
    status: str
    value: float
    limit: float
    unit: str
    higher_is_worse: bool
    required: bool


@dataclass(frozen=True, slots=True)
class Gate:
    """One verdict; `at` is its time in UTC, ISO 8601."""

    id: int
    at: str
    model: str
    policy: str
    profile: str
    run: str
    path: str
    verdict: str
    numbers: tuple[Number, ...]


class History:
    """The file.

    Args:
        path: where it is; made at the first `add`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, verdict: Verdict, at: datetime | None = None) -> None:
        """Add a verdict; judging the same run by the same policy again replaces what was found.

        Args:
            verdict: what the gate found.
            at: when; None: now.

        Raises:
            RunError: the file cannot be written or is none of ours.
        """
        meta, policy = verdict.run["meta"], verdict.policy
        who = (str(meta.get("digest", "")), str(policy["name"]), str(policy.get("profile") or ""))
        model = str((meta.get("card") or {}).get("name", ""))
        row = (
            (at or datetime.now(UTC)).isoformat(timespec="seconds"), model, who[1], who[2], who[0],
            str(verdict.run.get("path", "")), verdict.status.value, json.dumps(provenance_of(meta)),
        )  # fmt: skip
        with self._open(write=True) as db:
            db.execute(
                "DELETE FROM gates WHERE run_digest = ? AND policy = ? AND profile = ? AND model = ?", (*who, model)
            )
            added = db.execute(
                "INSERT INTO gates (at, model, policy, profile, run_digest, run_path, verdict, provenance) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            values = [(added.lastrowid, *_row(number)) for number in _numbers(verdict)]
            db.executemany("INSERT INTO numbers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def gates(self, model: str | None = None, policy: str | None = None) -> list[Gate]:
        """Gates in the order of time.

        Args:
            model: only of this model.
            policy: only by this policy.

        Raises:
            RunError: there is no such file, or it is none of ours.
        """
        if not self.path.is_file():
            raise RunError(
                "no history here", where=str(self.path), remedy="`trueline gate RUN --history FILE` begins one"
            )
        with self._open() as db:
            rows = db.execute(
                "SELECT id, at, model, policy, profile, run_digest, run_path, verdict FROM gates "
                "WHERE (?1 IS NULL OR model = ?1) AND (?2 IS NULL OR policy = ?2) ORDER BY at, id",
                (model, policy),
            ).fetchall()
            return [_gate(row, tuple(self._of(db, row[0]))) for row in rows]

    def _of(self, db: sqlite3.Connection, gate: int) -> Iterator[Number]:
        rows = db.execute(
            'SELECT rule, rung, "case", status, value, limit_value, unit, higher_is_worse, required FROM numbers '
            "WHERE gate = ? ORDER BY rule, rung",
            (gate,),
        )
        for rule, rung, case, status, value, limit, unit, higher, required in rows:
            shown = math.nan if value is None else value
            yield Number(rule, rung, case, status, shown, limit, unit, bool(higher), bool(required))

    @contextmanager
    def _open(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        db = None
        try:
            db = sqlite3.connect(self.path, timeout=WAIT_S)
            db.execute("PRAGMA foreign_keys = ON")
            if write:
                db.execute("BEGIN IMMEDIATE")
            self._check(db, write)
            yield db
            db.commit()
        except sqlite3.Error as error:
            raise RunError(
                f"not a history that can be used: {error}", where=str(self.path), remedy="choose another file"
            ) from error
        finally:
            if db is not None:
                db.close()

    def _check(self, db: sqlite3.Connection, write: bool) -> None:
        """Make the tables of an empty file; refuse another schema."""
        version = db.execute("PRAGMA user_version").fetchone()[0]
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if write and not tables and version == 0:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")
        elif version != VERSION or not {"gates", "numbers"} <= tables:
            newer = "of a newer Trueline" if version > VERSION else "no history of Trueline"
            raise RunError(f"it is {newer}", where=str(self.path), remedy="choose another file")


def _gate(row: tuple[Any, ...], numbers: tuple[Number, ...]) -> Gate:
    id, at, model, policy, profile, run, path, verdict = row
    return Gate(id, at, model, policy, profile, run, path, verdict, numbers)


def _numbers(verdict: Verdict) -> Iterator[Number]:
    for rule in verdict.rules:
        for rung in rule.rungs:
            yield _decisive(rule, rung)


def _decisive(rule: RuleOutcome, rung: RungOutcome) -> Number:
    """What a rung's verdict rests on: the worst case, or the share or rate of a population rule."""
    status = rung.status.value
    for value, limit, unit in _OF_POPULATION if rule.scope == "population" else ():
        if value in rung.statistics:
            known = (float(rung.statistics[value]), float(rung.statistics[limit]))
            return Number(rule.id, rung.rung, "", status, *known, unit, True, rule.required)
    case, number = _worst_case(rule, rung) if rule.scope == "each" else ("", math.nan)
    return Number(
        rule.id, rung.rung, case, status, number, rule.limit_value, rule.unit, rule.higher_is_worse, rule.required
    )


def _worst_case(rule: RuleOutcome, rung: RungOutcome) -> tuple[str, float]:
    cases = [c for c in rung.cases if math.isfinite(_number(rule, c))]
    worst = max(cases, key=lambda c: _number(rule, c) * (1 if rule.higher_is_worse else -1), default=None)
    return ("", math.nan) if worst is None else (worst.case, _number(rule, worst))


def _number(rule: RuleOutcome, case: CaseOutcome) -> float:
    """What the limit is set against."""
    if rule.compare != "baseline":
        return case.value
    if case.baseline is None:
        return math.nan
    return (case.value - case.baseline) * (1 if rule.higher_is_worse else -1)


def _row(number: Number) -> tuple[object, ...]:
    value = number.value if math.isfinite(number.value) else None
    return (
        number.rule, number.rung, number.case, number.status, value, number.limit, number.unit, number.higher_is_worse,
        number.required,
    )  # fmt: skip
