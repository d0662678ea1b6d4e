"""What other commands told of the run's network: its layers, node by node, and the plan that a compiler makes of it.

Both lie in the run folder (`layers.json`, `plan.json`), where `trueline model layers RUN` and `model plan RUN` put
them, or are named. A file that is of another model or of another run is not shown, and the report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines.plan.changes import plan_changes
from engines.plan.view import COLUMNS as PLAN_COLUMNS
from engines.plan.view import change_lines, kernel_rows, read_plan_file, summary_lines
from harness.errors import UsageError
from harness.layers.table import LayerTable, read_layers
from harness.layers.view import COLUMNS as LAYER_COLUMNS
from harness.layers.view import layer_cells, layer_lines, layer_title
from harness.run.facts import RunFacts
from trueline import TruelineError

__all__ = ["LAYERS", "PLAN", "NetworkFiles", "network_files", "network_view"]

LAYERS, PLAN = "layers.json", "plan.json"
MOST_ROWS = 12  # of the table beside the strip, which has all nodes
MOST_KERNELS = 400


@dataclass(frozen=True, slots=True)
class NetworkFiles:
    """Layers and plan of a run.

    Attributes:
        layers, plan: None where there is none, or none of this run.
        remarks: why a file of the folder is not taken.
    """

    layers: LayerTable | None
    plan: Mapping[str, Any] | None
    remarks: tuple[str, ...]


def network_files(folder: Path, facts: RunFacts, layers: Path | None = None, plan: Path | None = None) -> NetworkFiles:
    """What other commands told of a run's network.

    Args:
        folder: of the run.
        facts: of the run.
        layers: a table of `trueline model layers`; None: that of the folder, if it has one.
        plan: a plan of `trueline model plan`; None as for layers.

    Raises:
        TruelineError: a file that was named is none, or of another model or run.
    """
    remarks: list[str] = []

    def taken(given: Path | None, usual: str, read: Callable[[Path], _Read]) -> Any:
        path = given or folder / usual
        if given is None and not path.exists():
            return None
        try:
            return _own(path, facts, *read(path))
        except TruelineError as error:
            if given is not None:
                raise
            remarks.append(f"{usual} of the run folder is not shown: {error.what}.")
            return None

    return NetworkFiles(taken(layers, LAYERS, _layers), taken(plan, PLAN, _plan), tuple(remarks))


def network_view(folder: Path, facts: RunFacts, layers: Path | None = None, plan: Path | None = None) -> dict[str, Any]:
    """Layers and plan as the page shows them: `layers` and `plan`, None where there is none, and `remarks`.

    Arguments and errors are those of `network_files`.
    """
    found = network_files(folder, facts, layers, plan)
    return {
        "layers": None if found.layers is None else _layers_view(found.layers),
        "plan": None if found.plan is None else _plan_view(found.plan),
        "remarks": list(found.remarks),
    }


_Read = tuple[Any, str, str]
"""What a file holds, of which model, of which run (empty: it does not say)."""


def _own(path: Path, facts: RunFacts, held: Any, model: str, run: str) -> Any:
    """What a file holds, if it is of this run's model, and of no other run."""
    if model != facts.model or run not in ("", str(facts.meta.get("digest"))):
        what = f"model {model}" if model != facts.model else "run"
        raise UsageError(
            f"it is of another {what}",
            where=str(path),
            remedy="make it anew: trueline model layers RUN, model plan RUN",
        )
    return held


def _layers(path: Path) -> _Read:
    found = read_layers(path)
    return found, found.card, str(found.facts.get("run", ""))


def _layers_view(found: LayerTable) -> dict[str, Any]:
    cells = layer_cells(found)
    return {
        "title": layer_title(found),
        "lines": list(layer_lines(found)),
        "columns": LAYER_COLUMNS,
        "table": cells[:MOST_ROWS],
        "strip": _strip(found, cells),
    }


def _strip(found: LayerTable, cells: list[tuple[object, ...]]) -> dict[str, Any]:
    """What the page's script draws: of every node, in the network's order, its sizes and its row of the table."""
    told = {row[0]: row for row in cells}
    nodes = [
        {
            "cost": row.cost,
            "injected": row.numbers.injected,
            "cumulative": row.numbers.cumulative,
            "bad": row.numbers.nonfinite,
            "reason": row.reason,
            "nodes": list(row.nodes),
            "modules": list(row.modules),
            "outputs": {} if row.moved is None else asdict(row.moved)["outputs"],
            "cells": [str(cell) for cell in told[place]],
        }
        for place, row in enumerate(found.rows)
    ]
    order = [row[0] for row in cells]
    return {"unit": found.unit, "b": found.b, "columns": list(LAYER_COLUMNS), "nodes": nodes, "order": order}


def _plan(path: Path) -> _Read:
    told = read_plan_file(path)
    try:
        _plan_view(told)
        plan_changes(told, told)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            "no plan that `trueline model plan` wrote", where=str(path), remedy="make it anew: trueline model plan RUN"
        ) from error
    return told, str(told.get("model")), str(told.get("run", ""))


def _plan_view(told: Mapping[str, Any]) -> dict[str, Any]:
    rows = kernel_rows(told)
    modules = [", ".join(kernel["modules"]) for kernel in told["kernels"]]
    changes = change_lines(told["changes"]) if told.get("changes") else []
    return {
        "title": f"{told['compiler']}, {told['engine']} for {told['target']}",
        "lines": summary_lines(told),
        "columns": PLAN_COLUMNS,
        "rows": [(*row, module) for row, module in zip(rows[:MOST_KERNELS], modules, strict=False)],
        "left_out": max(0, len(rows) - MOST_KERNELS),
        "changes": changes,
    }
