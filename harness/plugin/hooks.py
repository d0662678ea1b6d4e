"""The pytest plugin: collects `*.trueline.toml`, gives fixtures for tests written by hand (docs/pytest.md).

Every pytest start imports it, so everything heavy waits until a policy is collected or a fixture used.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.ownership import check_ownership
from harness.plugin.collector import POLICY_SUFFIX, PolicyFile, close_session, opened_session, session_of
from harness.plugin.options import add_to_pytest
from trueline import TruelineError

if TYPE_CHECKING:
    from cases.case import Case
    from engines.protocol import Engine
    from harness.run.folder import Run


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--trueline-profile` and its like."""
    add_to_pytest(parser)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say which file shadows a package of ours, if one does."""
    try:
        check_ownership()
    except TruelineError as error:
        return [f"trueline: {error}"]
    return []


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take policy files."""
    if not file_path.name.endswith(POLICY_SUFFIX):
        return None
    collected: PolicyFile = PolicyFile.from_parent(parent, path=file_path)
    return collected


def pytest_collection_finish(session: pytest.Session) -> None:
    """Cases that `-k` and the like have left no item of are not replayed."""
    if (gate := opened_session(session.config)) is None:
        return
    from harness.plugin.items import RuleItem

    for item in session.items:
        if isinstance(item, RuleItem):
            gate.choose(item.suite.policy.path, item.wanted.case)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """The time of a case's replay is told of the first item about it, and not of the item that came first."""
    report = yield
    if call.when == "call":
        report.duration = max(report.duration - getattr(item, "elsewhere_s", 0.0), 0.0)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Verdicts, reports and advisory findings of the policies that ran."""
    reports = [r for found in terminalreporter.stats.values() for r in found if isinstance(r, pytest.TestReport)]
    told = [(k, str(v)) for r in reports if r.when == "call" for k, v in r.user_properties if k.startswith("trueline_")]
    if told:
        from harness.plugin.summary import write_summary

        write_summary(terminalreporter, list(dict.fromkeys(told)))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let other sessions have the folders of this one."""
    close_session(config)


@pytest.fixture
def trueline_replay(request: pytest.FixtureRequest) -> Callable[..., Run]:
    """Replays cases, once a session for all tests and processes that ask for the same.

    `trueline_replay(card, cases, engines=..., preprocess=...) -> harness.run.folder.Run`; paths are relative to the
    test file.
    """
    session, folder = session_of(request.config), request.path.parent

    def replay(
        card: str | Path,
        cases: Sequence[str | Path],
        *,
        engines: Sequence[str] | None = None,
        preprocess: Sequence[str] | None = None,
    ) -> Run:
        from cases.case import find_cases
        from harness.model.card import load_card
        from harness.replay.replay import DEFAULT_ENGINES, DEFAULT_PREPROCESS

        paths = find_cases(folder / c for c in cases)
        return session.replay(
            load_card(folder / card), paths, engines or DEFAULT_ENGINES, preprocess or DEFAULT_PREPROCESS
        )

    return replay


@pytest.fixture
def trueline_case(request: pytest.FixtureRequest) -> Callable[[str | Path], Case]:
    """Opens a case: `trueline_case(path) -> cases.case.Case`; the path is relative to the test file."""
    check_ownership()

    def opened(path: str | Path) -> Case:
        from cases.case import open_case

        return open_case(request.path.parent / path)

    return opened


@pytest.fixture
def trueline_engine(request: pytest.FixtureRequest) -> Iterator[Callable[[str, str | Path], Engine]]:
    """Opens an engine and closes it after the test: `trueline_engine(name, card) -> engines.protocol.Engine`."""
    check_ownership()
    opened: list[Engine] = []

    def engine(name: str, card: str | Path) -> Engine:
        import engines
        from harness.model.card import load_card

        opened.append(engines.open(name, load_card(request.path.parent / card).source()))
        return opened[-1]

    yield engine
    for one in reversed(opened):
        one.close()
