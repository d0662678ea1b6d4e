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
from harness.plugin.shared import once
from harness.plugin.suite import Suite
from harness.run.folder import Run

__all__ = ["GateSession", "Judged"]


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on a suite; `folder` holds verdict.json, `report` is the report's path or why there is none."""

    verdict: Verdict
    folder: Path
    report: str


class GateSession:
    """Replays and judges for one pytest session.

    Args:
        options: of the session.
        id: the same in all processes of a session.
        root: folder of the session, for short names.
    """

    def __init__(self, options: GateOptions, id: str, root: Path) -> None:
        self.options = options
        self._id = id
        self._root = root
        self._judged: dict[Path, Judged] = {}

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

        def work(folder: Path) -> dict[str, Any]:
            from harness.replay.replay import replay

            replay(card, cases, engines=tuple(engines), preprocess=tuple(preprocess), out=folder)
            return {}

        folder = self.options.out / f"run-{card.name}-{digest}"
        once(folder, self._id, work)
        return Run.open(folder)

    def _judge(self, suite: Suite) -> Judged:
        run = self._run_of(suite)
        verdict = self._verdict(suite, run)
        folder = self.options.out / self._short(suite.policy.path)

        def work(folder: Path) -> dict[str, Any]:
            from harness.job import conclude

            folder.mkdir(parents=True)
            result = conclude(run, verdict, folder)
            return {"report": str(result.report or result.remarks[-1])}

        return Judged(verdict, folder, str(once(folder, self._id, work)["report"]))

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
