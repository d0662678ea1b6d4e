"""`trueline model plan`: the plan that TensorRT for RTX compiles of a card's model (engines/plan/view.py tells it)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engines.plan.view import SCHEMA, read_plan_file
from harness.checks.compiled import compiled
from harness.model.card import DEFAULT_CACHE, Card, load_card

__all__ = ["other_plan", "plan_of_card"]


def plan_of_card(
    card: Card,
    engine: str,
    *,
    target: str | None = None,
    cases: Iterable[Path] = (),
    cache: Path = DEFAULT_CACHE,
) -> dict[str, Any]:
    """Build a card's plan and tell it.

    Args:
        card: the model.
        engine: `trtrtx-fp16`, ...
        target: `sm86`, `portable`, ...; None: what the card says, else portable.
        cases: for AutoCast's calibration.
        cache: folder of prepared artefacts.

    Returns:
        What `engines.plan.told.tell_plan` gives, with `schema`, `model`, `engine`, `target`, `compiler`, `warnings`.

    Raises:
        EngineError: the plan cannot be built.
        CaseError, PreprocessError: a case that cannot be read, or lacks what the card needs.
    """
    from engines.emulated.graph import load
    from engines.emulated.selection import restore_scopes
    from engines.plan.told import tell_plan
    from engines.tensorrt.graph import read_graph

    made = compiled(card, engine, target=target, cases=cases, cache=cache)
    model = load(made.model)
    restore_scopes(model, made.exported)
    told = tell_plan(made.plan.layers, model)
    constants = len(read_graph(made.model).nodes) - told["nodes"]  # nodes of the file that are initializers here
    if constants > 0:
        told |= {"nodes": told["nodes"] + constants, "folded": {**told["folded"], "Constant": constants}}
    return {
        "schema": SCHEMA,
        "model": card.name,
        "engine": engine,
        "target": made.facts["target"],
        "compiler": made.compiler,
        "warnings": list(made.plan.warnings),
        **told,
    }


def other_plan(against: Path, engine: str, **how: Any) -> dict[str, Any]:
    """The plan to compare with: of a file that `--json` wrote, or of a card."""
    return read_plan_file(against) if against.suffix == ".json" else plan_of_card(load_card(against), engine, **how)
