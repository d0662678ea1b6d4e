"""What Trueline has to answer, as data. Every `Right` looks at one answer and fails with what was said instead."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl
import pytest

from tests.reports.arithmetic import MEASURES, Offsets
from tests.reports.trial import Answer

__all__ = [
    "Blamed",
    "Checked",
    "Clean",
    "Judged",
    "Measured",
    "NobodyBlamed",
    "OnlyCase",
    "Right",
    "RowsDiffer",
    "Silent",
    "Status",
    "Told",
    "Unchecked",
]


class Right(Protocol):
    """One thing that must hold of an answer."""

    def hold(self, answer: Answer) -> None:
        """Raise AssertionError where it does not."""


@dataclass(frozen=True)
class Blamed:
    """Every finding begins at this rung and is blamed on this factor; the worst is told with its size, in these words.

    Attributes:
        rung: where the findings first appear.
        stage, factor: that are blamed; one of several names of the factor.
        measure: findings of it are among them: `offset` (with mean and bias), or a name that begins so.
        sizes: right sizes of all offsets among them, on that rung; None where any will do.
        tolerance: share of them.
        words: all of them are in what a person reads.
        also: rungs at which other findings may begin, each for a reason of its own.
    """

    rung: str
    stage: str
    factor: tuple[str, ...]
    measure: str = "offset"
    sizes: Offsets | None = None
    tolerance: float = 0.02
    words: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    def hold(self, answer: Answer) -> None:
        found = [f for f in answer.findings if f["first"] not in self.also]
        assert found, f"nothing found; explain says: {answer.words}"
        wrong = [
            (f["measure"], f["value"], f["first"], f["stage"], f["factor"], f["note"])
            for f in found
            if (f["first"], f["stage"]) != (self.rung, self.stage) or f["factor"] not in self.factor
        ]
        assert not wrong, wrong
        measures = MEASURES if self.measure == "offset" else (self.measure,)
        own = [f for f in found if f["measure"].startswith(measures)]
        assert own, f"no {self.measure} among {[(f['measure'], f['first']) for f in found]}"
        if self.sizes is not None:
            for f in own:
                right = self.sizes.of[f["measure"], f["track"], f["band"]]
                there = next(step["value"] for step in f["steps"] if step["rung"] == self.rung)
                assert abs(there) == pytest.approx(right, rel=self.tolerance), (f, right)
        _said((self.rung, *self.words), answer.words)
        if self.sizes is not None:
            _sized(own[0], answer.words)


@dataclass(frozen=True)
class Measured:
    """The largest offset of a rung from the reference, whoever is blamed for it.

    Attributes:
        rung: of deploy.
        size: in the card's unit; NaN: nothing may be measured there.
        tolerance: share of the size.
        atol: added to it.
        parent: a rung to hold it against in place of the reference.
        case: of this case only.
    """

    rung: str
    size: float | Offsets
    tolerance: float = 0.02
    atol: float = 1e-4
    parent: str = ""
    case: str = ""

    def hold(self, answer: Answer) -> None:
        assert answer.meta
        size = self.size.largest if isinstance(self.size, Offsets) else self.size
        table = pl.read_parquet(answer.trial.folder / "run" / "line_metrics.parquet")
        reference = self.parent or answer.meta["reference"]
        rows = table.filter((pl.col("rung") == self.rung) & (pl.col("reference") == reference))
        if self.case:
            rows = rows.filter(pl.col("case") == self.case)
        found = rows["offset_max"].abs().max()
        if math.isnan(size):
            assert found is None or math.isnan(found), f"{self.rung}: {found}"
            return
        assert found is not None, f"no rows for {self.rung} against {reference}"
        assert found == pytest.approx(size, rel=self.tolerance, abs=self.atol)


@dataclass(frozen=True)
class Silent:
    """No finding at all, or none that begins at one of these rungs, or none of a kind."""

    rungs: tuple[str, ...] = ()
    measure: str = ""

    def hold(self, answer: Answer) -> None:
        found = [
            (f["measure"], f["first"], f["value"], f["unit"])
            for f in answer.findings
            if (not self.rungs or f["first"] in self.rungs) and f["measure"].startswith(self.measure)
        ]
        assert not found, found


@dataclass(frozen=True)
class Status:
    """A rung's own status, and words of its reason; every other rung ran."""

    rung: str
    status: tuple[str, ...]
    words: tuple[str, ...] = ()
    others: bool = True

    def hold(self, answer: Answer) -> None:
        rung = answer.rung(self.rung)
        assert rung["status"] in self.status, (rung["status"], rung["reason"])
        _said(self.words, rung["reason"])
        if self.others:
            bad = _failed(answer, self.rung)
            assert not bad, bad


@dataclass(frozen=True)
class Clean:
    """Every rung ran."""

    def hold(self, answer: Answer) -> None:
        bad = _failed(answer)
        assert not bad, bad


@dataclass(frozen=True)
class Told:
    """Words that a person reads in `explain`, or in what `replay` prints."""

    words: tuple[str, ...]
    of: str = "explain"

    def hold(self, answer: Answer) -> None:
        _said(self.words, answer.words if self.of == "explain" else answer.replay.text)


@dataclass(frozen=True)
class OnlyCase:
    """Every finding is of one case."""

    case: str

    def hold(self, answer: Answer) -> None:
        cases = {f["case"] for f in answer.findings}
        assert cases == {self.case}, cases


@dataclass(frozen=True)
class RowsDiffer:
    """run.json, `replay` and `explain` say by how much rows of a batch differ from the frames alone.

    Attributes:
        size: largest difference, in the lines' unit.
        engines: every one of them has it.
        tolerance: share of the size.
    """

    size: float
    engines: tuple[str, ...]
    tolerance: float = 0.02

    def hold(self, answer: Answer) -> None:
        checks = answer.meta["batch"]["rows"]
        assert {c["engine"] for c in checks} == set(self.engines), checks
        for check in checks:
            assert check["max_abs"] == pytest.approx(self.size, rel=self.tolerance), (check, self.size)
        words = ("batch", f"{checks[0]['max_abs']:.2g}")
        _said(words, answer.replay.text)
        _said(words, answer.words)


@dataclass(frozen=True)
class NobodyBlamed:
    """The frames of a rung were never compared, so nothing is found against it, and that is said in these words."""

    rung: str
    words: tuple[str, ...]

    def hold(self, answer: Answer) -> None:
        assert answer.rung(self.rung)["status"] != "ok", answer.rung(self.rung)
        Silent().hold(answer)
        _said((*self.words, self.rung), answer.words)


@dataclass(frozen=True)
class Judged:
    """The gate's verdict, and words of it."""

    verdict: tuple[str, ...]
    words: tuple[str, ...] = ()

    def hold(self, answer: Answer) -> None:
        assert answer.verdict["verdict"] in self.verdict, answer.verdict["verdict"]
        _said(self.words, str(answer.verdict))


@dataclass(frozen=True)
class Checked:
    """One finding of `model check` above `ok` has all these words."""

    words: tuple[str, ...]

    def hold(self, answer: Answer) -> None:
        same = [_line(f) for f in answer.checked if f["level"] != "ok"]
        assert any(all(w.lower() in line.lower() for w in self.words) for line in same), (self.words, same)


@dataclass(frozen=True)
class Unchecked:
    """No finding of `model check` above `ok` has all these words."""

    words: tuple[str, ...]

    def hold(self, answer: Answer) -> None:
        same = [_line(f) for f in answer.checked if f["level"] != "ok"]
        assert not any(all(w.lower() in line.lower() for w in self.words) for line in same), (self.words, same)


def _failed(answer: Answer, but: str = "") -> list[tuple[str, str, str]]:
    """Rungs that did not run, without one of them and without probes, of which some cannot be."""
    rungs = [r for r in answer.meta["rungs"] if r["preprocess"] in ("train", "deploy") and r["name"] != but]
    return [(r["name"], r["status"], r["reason"]) for r in rungs if r["status"] != "ok"]


def _sized(finding: Mapping[str, Any], text: str) -> None:
    """The finding's size is in the text, in its unit."""
    numbers = [float(n) for n in re.findall(rf"([0-9]+(?:\.[0-9]+)?) {finding['unit']}\b", text)]
    size = abs(finding["value"])
    assert any(n == pytest.approx(size, rel=0.005) for n in numbers), (
        f"{size} {finding['unit']} not said in {text[:2000]}"
    )


def _line(finding: Mapping[str, Any]) -> str:
    return f"{finding['what']} | {finding['where']} | {finding['remedy']}"


def _said(words: Sequence[str], text: str) -> None:
    absent = [w for w in words if w.lower() not in text.lower()]
    assert not absent, f"not said: {absent}; said: {text[:3000]}"
