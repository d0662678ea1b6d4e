"""A test session's replays, verdicts and reports: each made once, whichever process comes first."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.gate import Verdict, judge, open_baseline
from harness.ladder import Finding
from harness.ladder.words import blamed
from harness.model.card import Card
from harness.plugin.options import GateOptions
from harness.plugin.shared import SharedFolder
from harness.plugin.suite import Suite
from harness.plugin.summary import verdict_lines
from harness.run.folder import Run
from harness.summary.blocks import findings_of
from trueline._text import counted

__all__ = ["GateSession", "Judged", "told_inputs"]


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on a suite.

    Attributes:
        verdict: what the gate found.
        folder: holds verdict.json.
        report: the report's path, or why there is none.
        summary: lines for the end of the test run.
        blamed: "rule|rung|case" -> the step that this broken limit is blamed on, in words.
        inputs: the same -> what the input tensors of lab and car differ in, where that can explain it.
    """

    verdict: Verdict
    folder: Path
    report: str
    summary: str
    blamed: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)


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
        self._chosen: dict[Path, set[str] | None] = {}
        self._seconds: dict[Path, dict[str, float]] = {}
        self._shared_out: set[Path] = set()

    def choose(self, policy: Path, case: str | None) -> None:
        """An item of this policy is going to run: about one case, or None: about all of them.

        Cases that no item asks for are not replayed; where nothing was chosen, all are.
        """
        chosen = self._chosen.setdefault(policy, set())
        if case is None or chosen is None:
            self._chosen[policy] = None
        else:
            chosen.add(case)

    def elsewhere_s(self, policy: Path, case: str | None, waited_s: float) -> float:
        """What to take off an item's time, so that a case's replay counts for the first item about it.

        Args:
            policy: of the item.
            case: of the item, None for all.
            waited_s: how long the item waited for the verdict.
        """
        if policy not in self._seconds:
            return waited_s  # another process worked
        seconds = self._seconds[policy]
        others = sum(seconds.values()) if policy not in self._shared_out else 0.0
        self._shared_out.add(policy)
        return others - seconds.pop(case or "", 0.0)

    def judge(self, suite: Suite) -> Judged:
        """Verdict on a suite; the first call replays what is not replayed yet.

        Raises:
            TruelineError: the replay or the gate cannot go on; a failed replay is not tried again.
        """
        path = suite.policy.path
        if path not in self._judged:
            self._judged[path] = self._judge(suite)
        return self._judged[path]

    def replay(
        self,
        card: Card,
        cases: Sequence[Path],
        engines: Sequence[str],
        preprocess: Sequence[str],
        policy: Path | None = None,
    ) -> Run:
        """The run of these cases; replayed by the first process of the session that asks for it.

        Args:
            card: the model.
            cases: case folders.
            engines: engine names.
            preprocess: pipelines.
            policy: for whose items the time of every case is kept; None: for nobody's.

        Raises:
            TruelineError: the replay cannot go on.
        """
        request = [str(card.path), sorted(str(c.resolve()) for c in cases), list(engines), list(preprocess)]
        digest = hashlib.sha256(json.dumps(request).encode()).hexdigest()[:12]

        name = f"run-{card.name}-{digest}"

        def work() -> dict[str, Any]:
            from harness.replay.replay import replay

            folder, seconds = self._shared.claim(name), dict[str, float]()
            if policy is not None:
                self._seconds[policy] = seconds
            replay(
                card, cases, engines=tuple(engines), preprocess=tuple(preprocess), out=folder, reuse=True,
                progress=_Stopwatch(seconds).tell,
            )  # fmt: skip
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
        chosen = self._chosen.get(suite.policy.path)
        partial = chosen is not None and len(chosen) < len(suite.cases)
        name = f"{self._short(suite.policy.path)}{'.part' if partial else ''}"

        def work() -> dict[str, Any]:
            from harness.job import conclude

            folder = self._shared.claim(name)
            folder.mkdir(parents=True)
            result = conclude(run, verdict, folder)
            broken = {"|".join(key): f for key, f in findings_of(result.explanation).items()}
            return {
                "folder": str(folder),
                "report": str(result.report or result.remarks[-1]),
                "blamed": {key: blamed(f) for key, f in broken.items()},
                "inputs": told_inputs(run, broken),
            }

        told = self._shared.once(name, work)
        folder = Path(told["folder"])
        lines = list(verdict_lines(verdict.to_json(), folder / "verdict.json"))
        if chosen is not None and partial:
            every = counted(len(suite.cases), "case")
            lines.append(f"  on {len(chosen)} of {every}: those of the items that were selected")
        return Judged(
            verdict, folder, str(told["report"]), "\n".join(lines), dict(told["blamed"]), dict(told["inputs"])
        )

    def _run_of(self, suite: Suite) -> Run:
        if self.options.run is not None:
            return Run.open(self.options.run)
        assert suite.card is not None  # load_suite saw to it
        assert suite.profile is not None  # as above
        chosen = self._chosen.get(suite.policy.path)
        folders = [f for (case, _), f in zip(suite.cases, suite.folders, strict=True) if not chosen or case in chosen]
        return self.replay(
            suite.card, folders, suite.profile.engines, suite.profile.preprocess, policy=suite.policy.path
        )

    def _verdict(self, suite: Suite, run: Run) -> Verdict:
        baseline = open_baseline(self.options.baseline) if self.options.baseline is not None else None
        return judge(run, suite.policy, self.options.profile, baseline)

    def _short(self, policy: Path) -> str:
        """Name of a policy's folder: its path below the root, without separators."""
        below = os.path.relpath(policy, self._root).removesuffix(".trueline.toml")
        return below.replace("..", "up").replace(os.sep, ".")


class _Stopwatch:
    """Seconds of each case of a replay, by what it tells of its progress."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds, self._last = seconds, time.perf_counter()

    def tell(self, case: str, done: int, total: int) -> None:
        """Frames of a case are done; the time since the last news is the case's."""
        now = time.perf_counter()
        self._seconds[case] = self._seconds.get(case, 0.0) + now - self._last
        self._last = now


def told_inputs(run: Run, broken: Mapping[str, Finding]) -> dict[str, str]:
    """What the input tensors of lab and car differ in, for the findings that this can explain; the report keeps it."""
    from harness.report.mismatch import answer_of, mismatch_view

    mismatch = mismatch_view(run, list(broken.values()), ()) if broken else {"told": []}
    if not mismatch["told"]:
        return {}
    told = {key: "; ".join(answer_of(finding, mismatch)) for key, finding in broken.items()}
    return {key: text for key, text in told.items() if text}
