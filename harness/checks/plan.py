"""`trueline model plan`: the plan that TensorRT for RTX compiles of a card's model, told in JSON values and as a table.

docs/tensorrt.md says how to read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engines.errors import ModelLoadError
from harness.checks.compiled import compiled
from harness.model.card import DEFAULT_CACHE, Card, load_card
from trueline._reading import json_of, read_file

__all__ = ["change_lines", "kernel_rows", "other_plan", "plan_of_card", "read_plan_file", "summary_lines"]

SCHEMA = 1
MOST_NAMES = 3


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


def read_plan_file(path: Path) -> dict[str, Any]:
    """A plan that `trueline model plan --json` wrote.

    Raises:
        ModelLoadError: the file is none.
    """
    try:
        found = json_of(read_file(path))
        if found["schema"] == SCHEMA and {"kernels", "types"} <= found.keys():
            return dict(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_plan(path) from error
    raise _no_plan(path)


def other_plan(against: Path, engine: str, **how: Any) -> dict[str, Any]:
    """The plan to compare with: of a file that `--json` wrote, or of a card."""
    return read_plan_file(against) if against.suffix == ".json" else plan_of_card(load_card(against), engine, **how)


def summary_lines(plan: Mapping[str, Any]) -> list[str]:
    """What comes first: warnings, lines that were not understood, and how much of the graph is named."""
    folded = [f"{count} {operator}" for operator, count in plan["folded"].items()]
    lines = [f"warning: {text}" for text in plan["warnings"]]
    lines += [f"not understood: {line[:200]}" for line in plan["unread"]]
    lines += [f"unmapped: {name}" for name in plan["unmapped"]]
    named = f"{plan['named']} of {plan['nodes']} nodes named"
    return [*lines, f"{len(plan['kernels'])} kernels, {named}{'; folded: ' + ', '.join(folded) if folded else ''}"]


def kernel_rows(plan: Mapping[str, Any]) -> list[tuple[int, str, str, str, str, str]]:
    """Number, kind, nodes, what it reads, what it writes, what was done."""
    return [
        (
            index,
            kernel["kind"],
            _some(kernel["nodes"]) or f"({kernel['tactic'].removeprefix('__myl_').partition('_0x')[0]})",
            ", ".join(f"{_sizes(t['shape'])} {t['dtype']}" for t in kernel["reads"][:MOST_NAMES]),
            ", ".join(f"{t['value'] or '?'} {_sizes(t['shape'])} {t['dtype']}" for t in kernel["writes"]),
            ", ".join(kernel["did"]),
        )
        for index, kernel in enumerate(plan["kernels"])
    ]


def change_lines(changes: Mapping[str, Any]) -> list[str]:
    """Differences of two plans, one a line; `now` is the first of the two."""
    lines = [f"kernel appeared: {_said(kernel)}" for kernel in changes["appeared"]]
    lines += [f"kernel vanished: {_said(kernel)}" for kernel in changes["vanished"]]
    lines += [f"{value}: {before} before, {now} now" for value, before, now in changes["types"]]
    lines += [f"{value}: written now, inside a kernel before" for value in changes["stored"]]
    lines += [f"{value}: inside a kernel now, written before" for value in changes["fused"]]
    return lines or ["no kernel and no tensor differs"]


def _said(kernel: Mapping[str, Any]) -> str:
    return f"{kernel['kind']} {_some(kernel['nodes'])}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _sizes(shape: list[int]) -> str:
    return "x".join("?" if size < 0 else str(size) for size in shape) or "scalar"


def _no_plan(path: Path) -> ModelLoadError:
    return ModelLoadError(
        "no plan that `trueline model plan --json` wrote",
        where=str(path),
        remedy="write one with trueline model plan CARD --json > FILE.json, or give a card",
    )
