"""A plan told in JSON values, read from a file and put into words: for a terminal, and for a page.

docs/tensorrt.md says how to read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.errors import ModelLoadError
from trueline._reading import json_of, read_file

__all__ = ["COLUMNS", "SCHEMA", "change_lines", "kernel_rows", "read_plan_file", "summary_lines"]

SCHEMA = 1
MOST_NAMES = 3
COLUMNS = ("#", "kernel", "nodes", "reads", "writes", "done")


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
