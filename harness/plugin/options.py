"""Options of the gate, defined once: pytest has them as `--trueline-NAME`, the command line as `--NAME`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

__all__ = ["OPTIONS", "GateOptions", "Option", "add_to_pytest", "read_from_pytest"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its name, how its value is called in help, whether it is a path, and the help."""

    name: str
    metavar: str
    is_path: bool
    help: str


OPTIONS = {
    o.name: o
    for o in (
        Option("profile", "NAME", False, "profile of the policy: which engines are expected on this machine"),
        Option(
            "baseline", "RUN", True, "run folder or accepted file that rules with compare = 'baseline' compare with"
        ),
        Option("run", "RUN", True, "judge this finished run instead of replaying"),
        Option("out", "DIR", True, "folder of runs, verdicts and reports (default .trueline/pytest)"),
    )
}
DEFAULT_OUT = Path(".trueline") / "pytest"


@dataclass(frozen=True, slots=True)
class GateOptions:
    """The options as one value; paths are absolute."""

    out: Path
    profile: str | None = None
    baseline: Path | None = None
    run: Path | None = None


def add_to_pytest(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("trueline", "line-model regression")
    for option in OPTIONS.values():
        group.addoption(f"--trueline-{option.name}", metavar=option.metavar, help=option.help, default=None)


def read_from_pytest(config: pytest.Config) -> GateOptions:
    """Options of this session; paths are relative to where pytest was called, the default to its root."""
    given: dict[str, Any] = {name: config.getoption(f"trueline_{name}") for name in OPTIONS}
    paths = {
        o.name: config.invocation_params.dir / given[o.name] for o in OPTIONS.values() if o.is_path and given[o.name]
    }
    return GateOptions(**{"out": config.rootpath / DEFAULT_OUT, "profile": given["profile"]} | paths)
