"""Trueline's public API: one page, and the only thing below the command line that is promised to stay.

    card = trueline.load_card("model.toml")
    result = trueline.run_job(card, ["drives"], policy="release.trueline.toml", out="runs/rc1")
    result.verdict.status, result.explanation.suspects, result.report

`run_job` is replay -> judge -> explain -> report; each of them is here too.

Every name is loaded on first use, so `import trueline` is light. Everything else (`harness`, `engines`, `cases`,
`techniques`) may move between versions. docs/architecture.md says what those packages
import from here.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from trueline._errors import TruelineError, __version__

# Polars' allocator keeps what is freed for some seconds, 20 MB of a replay. If it kept nothing, a gate of ten million
# lines would spend a third of its time on getting the same memory from the system again. Read when Polars is loaded.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:20,muzzy_decay_ms:20")

if TYPE_CHECKING:
    from cases.case import open_case as open_case
    from engines.registry import open_engine as open_engine
    from harness.gate import judge as judge
    from harness.gate import load_policy as load_policy
    from harness.job import JobResult as JobResult
    from harness.job import run_job as run_job
    from harness.ladder import explain as explain
    from harness.model.card import load_card as load_card
    from harness.replay.replay import replay as replay
    from harness.report import write_report as write_report
    from harness.run.folder import Run as Run

_HOMES = {
    "JobResult": "harness.job",
    "Run": "harness.run.folder",
    "explain": "harness.ladder",
    "judge": "harness.gate",
    "load_card": "harness.model.card",
    "load_policy": "harness.gate",
    "open_case": "cases.case",
    "open_engine": "engines.registry",
    "replay": "harness.replay.replay",
    "run_job": "harness.job",
    "write_report": "harness.report",
}

__all__ = ["TruelineError", "__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    """The public function of that name, loaded on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trueline' has no attribute {name!r}; it has {__all__}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return list(__all__)
