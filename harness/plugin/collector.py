"""Where policy files enter pytest; light, and the last place that can tell a foreign package before it is imported."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from harness.ownership import check_ownership
from harness.plugin.options import read_from_pytest
from trueline import TruelineError
from trueline._text import shown

if TYPE_CHECKING:
    from harness.plugin.session import GateSession

__all__ = ["POLICY_SUFFIX", "PolicyFile", "close_session", "opened_session", "session_of"]

POLICY_SUFFIX = ".trueline.toml"
_SESSION = pytest.StashKey["GateSession"]()


def session_of(config: pytest.Config) -> GateSession:
    """What this process knows of the session; made on first use.

    Raises:
        UsageError: a package of ours is shadowed.
    """
    check_ownership()
    from harness.plugin.session import GateSession

    if _SESSION not in config.stash:
        worker = getattr(config, "workerinput", None)
        id = str(worker["testrunuid"]) if worker is not None else uuid.uuid4().hex
        config.stash[_SESSION] = GateSession(read_from_pytest(config), id, config.rootpath)
    return config.stash[_SESSION]


def opened_session(config: pytest.Config) -> GateSession | None:
    """The session of this process, if a policy or a fixture has opened one."""
    return config.stash.get(_SESSION, None)


def close_session(config: pytest.Config) -> None:
    """End this process's part in the session, where it had one."""
    if (session := config.stash.get(_SESSION, None)) is not None:
        session.close()


class PolicyFile(pytest.File):
    """A `*.trueline.toml` file."""

    def collect(self) -> Iterable[pytest.Item]:
        """One item for everything the policy wants; none for a policy that only serves to be extended."""
        try:
            session = session_of(self.config)
            from harness.plugin.items import RuleItem
            from harness.plugin.suite import load_suite

            suite = load_suite(self.path, session.options)
        except TruelineError as error:
            raise self.CollectError(shown(error)) from None
        if suite is None:
            if self.session.isinitpath(self.path):
                raise self.CollectError(f"{self.path.name} has neither card nor cases: it only serves to be extended")
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return [RuleItem.of(self, session, suite, wanted, lines) for wanted in suite.wanted()]
