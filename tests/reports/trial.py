"""A report's situation in files, what Trueline is asked about it through its command line, and what it answers."""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli import main

if TYPE_CHECKING:
    from tests.reports.rights import Right

__all__ = ["Answer", "Said", "Trial", "ask"]

WIDE = "1000"  # columns: no sentence is cut in two

POLICY = """
[[rules]]
id = "offset"
metric = "offset_max"
rung = "deploy/*"
statistic = "max"
limit = "0.10 {unit}"

[[rules]]
id = "missing"
metric = "missing"
rung = "deploy/*"
statistic = "share"
limit = "5 %"

[[rules]]
id = "extra"
metric = "extra"
rung = "deploy/*"
statistic = "share"
limit = "5 %"

[[rules]]
id = "coverage"
metric = "coverage"
rung = "deploy/*"
statistic = "p1"
limit = "80 %"
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both streams."""
        return self.out + "\n" + self.err

    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


def ask(*words: str | Path) -> Said:
    """Run `trueline WORDS` in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings(), _columns(WIDE):
        warnings.simplefilter("ignore")  # as a user's shell has it; what matters is in the answer
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            code = int(end.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _columns(count: str) -> Iterator[None]:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = count
    try:
        yield
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)


@dataclass(frozen=True)
class Trial:
    """A situation in files.

    Attributes:
        folder: of the card; commands run in it.
        engines: of the replay; empty: there is no replay, only `model check`.
        rights: what Trueline has to answer.
        preprocess: pipelines of the replay.
        options: further words of `trueline replay`.
        unit: of lengths.
        card, cases: relative to the folder.
        gated: `explain` is asked after `gate`: what is wrong is too small to be a finding without a limit.
    """

    folder: Path
    engines: tuple[str, ...]
    rights: tuple[Right, ...]
    preprocess: str = "deploy"
    options: tuple[str, ...] = ()
    unit: str = "m"
    card: str = "card.toml"
    cases: str = "drives"
    gated: bool = False


@dataclass
class Answer:
    """What Trueline says of a trial; every command runs once, when its answer is first looked at."""

    trial: Trial
    _code: int = field(default=0, init=False)

    def _ask(self, *words: str | Path) -> Said:
        with contextlib.chdir(self.trial.folder):
            return ask(*words)

    @cached_property
    def replay(self) -> Said:
        """`trueline replay`."""
        return self._ask("replay", *self._job("run"))

    @cached_property
    def whole(self) -> dict[str, Any]:
        """`trueline run --json`: everything in one command, judged by the finding thresholds."""
        said = self._ask("run", *self._job("whole"), "--json")
        assert said.code in (0, 1, 3), said.err
        found: dict[str, Any] = said.json()
        return found

    def _job(self, out: str) -> tuple[str, ...]:
        t = self.trial
        words = ("--cases", t.cases, "--preprocess", t.preprocess, "--engines", ",".join(t.engines), "--out", out)
        return (t.card, *words, *t.options)

    @cached_property
    def meta(self) -> dict[str, Any]:
        """run.json; a replay that ended with an error is an AssertionError with what it said."""
        assert self.replay.code == 0, f"replay ended with {self.replay.code}: {self.replay.err.strip()[-2000:]}"
        found: dict[str, Any] = json.loads((self.trial.folder / "run" / "run.json").read_text())
        return found

    @cached_property
    def explained(self) -> dict[str, Any]:
        """`trueline explain run --json`, before any gate unless the trial says otherwise."""
        assert self.verdict if self.trial.gated else self.meta
        said = self._ask("explain", "run", "--json")
        assert said.code == 0, said.err
        found: dict[str, Any] = said.json()
        return found

    @cached_property
    def words(self) -> str:
        """`trueline explain run`: what a person reads."""
        assert self.explained
        return " ".join(self._ask("explain", "run").text.split())

    @property
    def findings(self) -> list[dict[str, Any]]:
        """What `explain` found, worst first."""
        found: list[dict[str, Any]] = self.explained["findings"]
        return found

    @cached_property
    def verdict(self) -> dict[str, Any]:
        """`trueline gate run --policy ... --json`; comes after `explain`, which must not need it (see `gated`)."""
        assert self.meta if self.trial.gated else self.words
        (self.trial.folder / "gate.trueline.toml").write_text(POLICY.format(unit=self.trial.unit))
        said = self._ask("gate", "run", "--policy", "gate.trueline.toml", "--json")
        assert said.code in (0, 1, 3), said.err
        found: dict[str, Any] = said.json()
        return found

    @cached_property
    def judged(self) -> str:
        """`trueline gate run --policy ...`: what a person reads."""
        assert self.verdict
        return " ".join(self._ask("gate", "run", "--policy", "gate.trueline.toml").text.split())

    @cached_property
    def checked(self) -> list[dict[str, Any]]:
        """`trueline model check --json`."""
        cases = ("--cases", self.trial.cases) if (self.trial.folder / self.trial.cases).exists() else ()
        said = self._ask("model", "check", self.trial.card, *cases, "--json")
        assert said.code in (0, 2), said.err
        found: list[dict[str, Any]] = said.json()
        return found

    def rung(self, name: str) -> dict[str, Any]:
        """A rung of run.json."""
        return next(r for r in self.meta["rungs"] if r["name"] == name)
