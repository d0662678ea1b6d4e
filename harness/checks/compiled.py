"""The plan of a card: built by TensorRT for RTX on this machine, for a GPU that need not be here, and written out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cases.case import find_cases, open_case
from engines.errors import EngineError, EngineOptionError, ExportError
from engines.protocol import ModelSource
from engines.registry import compile_plan
from engines.tensorrt.api import load
from engines.tensorrt.kernels import read_plan_text
from engines.tensorrt.product import RTX
from harness.checks.findings import Finding
from harness.model.card import DEFAULT_CACHE, Card
from harness.replay.open import calibrated
from trueline._drafts import replacing

if TYPE_CHECKING:
    from engines.tensorrt.opening import Compiled

__all__ = ["compiled", "compiler_findings", "write_plan"]

ENGINE = "trtrtx-fp32"  # the graph as it is


def compiled(
    card: Card,
    engine: str,
    *,
    target: str | None = None,
    cases: Iterable[Path] = (),
    cache: Path = DEFAULT_CACHE,
) -> Compiled:
    """Build a card's plan, or find it in the cache.

    Args:
        card: the model.
        engine: `trtrtx-fp16`, ...
        target: `sm86`, `portable`, ...; None: what the card says, else portable.
        cases: case folders, or folders of them, for AutoCast's calibration; none: the card's own.
        cache: folder of prepared artefacts.

    Raises:
        EngineError: the plan cannot be built.
        CaseError, PreprocessError: a case that cannot be read, or lacks what the card needs.
    """
    source = card.source(cache)
    if opened := [open_case(path) for path in find_cases(cases)]:
        source = calibrated(engine, source, card, opened)
    return compile_plan(engine, source, target=target)


def write_plan(made: Compiled, out: Path) -> Path:
    """Write a plan to a file, in one rename, and return it.

    Raises:
        ExportError: the file cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as draft:
            draft.write_bytes(made.plan.content)
    except OSError as error:
        raise ExportError(
            f"cannot write: {error.strerror}", where=str(out), remedy="give a path in a writable folder"
        ) from error
    return out


def compiler_findings(source: ModelSource) -> Iterator[Finding]:
    """Whether NVIDIA's compiler takes the graph; nothing where it is not installed."""
    try:
        load(RTX)
    except EngineError:
        return
    try:
        made = compile_plan(ENGINE, source)
    except EngineOptionError as error:
        yield Finding("note", f"TensorRT was not asked: {error.what}", error.where, error.remedy)
    except EngineError as error:
        yield Finding("warning", f"TensorRT does not take this graph: {error.what}", error.where, error.remedy)
    else:
        kernels = len(read_plan_text(made.plan.layers).kernels)
        yield Finding("ok", f"{made.compiler} builds a plan of {kernels} kernels", ENGINE)
