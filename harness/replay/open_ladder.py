"""The whole ladder of a replay, opened: engines of every rung, probes of their noise, rows of batches tried."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from cases.case import Case
from engines.protocol import Engine
from harness.model.card import Card
from harness.replay.batches import batched, check_rows
from harness.replay.case_loop import Ladder
from harness.replay.hooks import Hooks
from harness.replay.open import Opened, open_engine, open_own, open_probes
from harness.run.rungs import Rung

__all__ = ["open_ladder"]


def open_ladder(
    card: Card,
    cases: Sequence[Case],
    rungs: Sequence[Rung],
    opened: Opened,
    hooks: Hooks,
    cache: Path,
    stack: ExitStack,
    *,
    floor: bool,
    batch: int,
) -> tuple[Ladder, list[dict[str, str]]]:
    """What runs in every case, and what run.json says of the probes.

    Args:
        card: the model.
        cases: of the replay; rows of batches are tried on the first.
        rungs: the root first.
        opened: the engine of every name; gets the instances of rungs that share none.
        hooks: replaceable parts.
        cache: folder of prepared artefacts.
        stack: closes what is opened.
        floor: whether to open probes.
        batch: frames at once.

    Raises:
        TruelineError: the reference cannot run batches of that size.
    """
    fed = batched(card, batch)
    reopen = partial(_reopen, fed, cases, hooks, cache / "rebuild", stack)
    again = partial(open_engine, card=fed, cases=cases, hooks=hooks, cache=cache, stack=stack)
    open_own(opened, rungs, again)
    probes, said = open_probes(rungs, fed, opened, again, reopen) if floor else ((), [])
    checks, refused = check_rows(card, cases[0], rungs, opened.engines, batch) if batch > 1 else ((), {})
    return Ladder(card, rungs, opened, probes, batch, refused, tuple(checks)), said


def _reopen(card: Card, cases: Sequence[Case], hooks: Hooks, fresh: Path, stack: ExitStack, name: str) -> Engine:
    """An engine opened anew, its artefacts in an empty folder."""
    shutil.rmtree(fresh, ignore_errors=True)
    return open_engine(name, card, cases, hooks, fresh, stack)
