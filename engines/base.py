"""What most engines share: a name, provenance, and no interest in cases or time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from engines.errors import EngineOptionError
from engines.protocol import CaseContext

__all__ = ["FrameEngine", "check_threads", "first_line", "refuse_options", "told_lines", "whole_cause"]

LONGEST = 600  # characters of a cause
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-_]|[\x00-\x08\x0b-\x1f\x7f]")
# what runtimes print around the cause: places in their own sources, stacks, advice on their own debugging
_NOISE = re.compile(
    r"""Exception\ from\ \S+:\d+: | Exception\ raised\ from\ .* | Check\ '.*?'\ failed\ at\ \S+:\d+:
      | FrontEnd\ API\ failed\ with\ \w+: | Model\ wasn't\ fully\ converted\. | Failed\ operations\ detailed\ log:
      | Summary: | with\ a\ message:$ | \[\ GENERAL_ERROR\ \] | ^frame\ \#\d+:.* | ^Traceback\ .*
      | ^While\ validating\ node\ 'opset.* | ^Conversion\ is\ failed\ for:.* | .*CUDA_LAUNCH_BLOCKING.*
      | .*TORCH_USE_CUDA_DSA.* | .*TORCHDYNAMO_VERBOSE.* | ^You\ can\ suppress\ this\ exception.*""",
    re.VERBOSE,
)


class FrameEngine:
    """An engine whose outputs depend on nothing but its inputs; subclasses add `infer` and fill `_provenance`.

    One that remembers frames sets `keeps_state`, and forgets them in `start_case`.

    One thread at a time may use an engine.
    """

    uses_time = False
    keeps_state = False

    def __init__(self, name: str, provenance: Mapping[str, Any]) -> None:
        self.name = name
        self._provenance = {"engine": name, **provenance}

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Versions, precision, device, flags and hashes; JSON values only."""
        return self._provenance

    def start_case(self, context: CaseContext) -> None:
        """Nothing to reset."""

    def seek(self, timestamp_ns: int) -> None:
        """Nothing depends on time."""

    def close(self) -> None:
        """Nothing to free."""


def refuse_options(name: str, options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Options that an engine does not have.

    Raises:
        EngineOptionError: there is one.
    """
    if options:
        raise EngineOptionError(
            f"engine {name!r} has no option {sorted(options)[0]!r}",
            where=f"options of {name}",
            remedy=f"its options are {sorted(known)}",
        )


def check_threads(name: str, threads: Any) -> None:
    """The option `threads`, where it is given.

    Raises:
        EngineOptionError: it is no whole number from 1.
    """
    if threads is not None and (not isinstance(threads, int) or isinstance(threads, bool) or threads < 1):
        raise EngineOptionError(
            f"option 'threads' must be a whole number from 1 (got {threads!r})",
            where=f"options of {name}",
            remedy="give a number, or leave it out for one thread a physical core",
        )


def whole_cause(error: BaseException) -> str:
    """Type and whole text of a runtime's error in one line, for the `what` of ours.

    Places in the runtime's own sources, stacks and repeated lines are left out; of a long text the beginning and the
    end are kept, since some runtimes name the cause first and others last.
    """
    whole = "; ".join(told_lines(str(error)))
    if len(whole) > LONGEST:
        whole = f"{whole[: LONGEST // 2].rstrip()} ... {whole[-LONGEST // 2 :].lstrip()}"
    return f"{type(error).__name__}: {whole}" if whole else type(error).__name__


def told_lines(text: str) -> list[str]:
    """Lines of an outside error's text that say something, each once, without colours and other control characters."""
    found: dict[str, None] = {}
    for line in _CONTROL.sub("", text).splitlines():
        if told := " ".join(_NOISE.sub("", line.strip().lstrip("- ")).split()).strip(":; "):
            found[told] = None
    return [told for told in found if not any(told != other and told in other for other in found)]


def first_line(error: BaseException) -> str:
    """Type and first line of an outside error, for the `what` of ours."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
