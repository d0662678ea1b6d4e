"""A test session's replays, verdicts and reports: each made once, whichever process comes first."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.gate import Verdict, judge, open_baseline
from harness.model.card import Card
from harness.plugin.options import GateOptions
from harness.plugin.shared import SharedFolder
from harness.plugin.suite import Suite
from harness.plugin.summary import verdict_lines
from harness.run.folder import Run

__all__ = ["GateSession", "Judged"]


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on a suite.

    Attributes:
        verdict: what the gate found.
        folder: holds verdict.json.
        report: the report's path, or why there is none.
        summary: lines for the end of the test run.
    """

    verdict: Verdict
    folder: Path
    report: str
    summary: str


class GateSession:
    """Replays and judges for one pytest session.

    Args:
        options: of the session.
        id: the same in all processes of a session.
        root: folder of the session, for short names.
    """

    def __init__(self, options: GateOptions, id: str, root: Path) -> None:
        self.options = options
        self._shared = SharedFolder(options.out, id)
        self._root = root
        self._judged: dict[Path, Judged] = {}
        self._told: set[Path] = set()

    def judge(self, suite: Suite) -> Judged:
        """Verdict on a suite; the first call replays what is not replayed yet.

        Raises:
            TruelineError: the replay or the gate cannot go on; a failed replay is not tried again.
        """
        path = suite.policy.path
        if path not in self._judged:
            self._judged[path] = self._judge(suite)
        return self._judged[path]

    def replay(self, card: Card, cases: Sequence[Path], engines: Sequence[str], preprocess: Sequence[str]) -> Run:
        """The run of these cases; replayed by the first process of the session that asks for it.

        Raises:
            TruelineError: the replay cannot go on.
        """
        request = [str(card.path), sorted(str(c.resolve()) for c in cases), list(engines), list(preprocess)]
        digest = hashlib.sha256(json.dumps(request).encode()).hexdigest()[:12]

        name = f"run-{card.name}-{digest}"

        def work() -> dict[str, Any]:
            from harness.replay.replay import replay

            folder = self._shared.claim(name)
            replay(card, cases, engines=tuple(engines), preprocess=tuple(preprocess), out=folder, reuse=True)
            return {"folder": str(folder)}

        return Run.open(Path(self._shared.once(name, work)["folder"]))

    def is_first(self, suite: Suite) -> bool:
        """Whether nobody has asked this of the suite in this process."""
        new = suite.policy.path not in self._told
        self._told.add(suite.policy.path)
        return new

    def close(self) -> None:
        """Results of the session may be replaced by others from now on."""
        self._shared.close()

    def _judge(self, suite: Suite) -> Judged:
        run = self._run_of(suite)
        verdict = self._verdict(suite, run)
        name = self._short(suite.policy.path)

        def work() -> dict[str, Any]:
            from harness.job import conclude

            folder = self._shared.claim(name)
            folder.mkdir(parents=True)
            result = conclude(run, verdict, folder)
            return {"folder": str(folder), "report": str(result.report or result.remarks[-1])}

        told = self._shared.once(name, work)
        folder = Path(told["folder"])
        summary = "\n".join(verdict_lines(verdict.to_json(), folder / "verdict.json"))
        return Judged(verdict, folder, str(told["report"]), summary)

    def _run_of(self, suite: Suite) -> Run:
        if self.options.run is not None:
            return Run.open(self.options.run)
        assert suite.card is not None  # load_suite saw to it
        assert suite.profile is not None  # as above
        return self.replay(suite.card, suite.folders, suite.profile.engines, suite.profile.preprocess)

    def _verdict(self, suite: Suite, run: Run) -> Verdict:
        baseline = open_baseline(self.options.baseline) if self.options.baseline is not None else None
        return judge(run, suite.policy, self.options.profile, baseline)

    def _short(self, policy: Path) -> str:
        """Name of a policy's folder: its path below the root, without separators."""
        below = os.path.relpath(policy, self._root).removesuffix(".trueline.toml")
        return below.replace("..", "up").replace(os.sep, ".")
