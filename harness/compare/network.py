"""What two runs' networks differ in, node by node and kernel by kernel, where both runs were looked at.

Layers are those of `trueline model layers RUN`, plans those of `trueline model plan RUN`; neither is measured again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.plan.changes import plan_changes
from engines.plan.view import change_lines
from harness.layers.table import LayerRow, LayerTable
from harness.report.network import LAYERS, PLAN, NetworkFiles, network_files
from harness.run.facts import RunFacts

__all__ = ["NetworkChange", "NodeChange", "network_change"]


@dataclass(frozen=True, slots=True)
class NodeChange:
    """One node of either network, in their order.

    Attributes:
        name, op: of the node.
        modules: of the network that it is in, else its nodes in the file.
        first, second: how far it alone moves the lines, in the unit of lines; None where that network lacks it.
    """

    name: str
    op: str
    modules: tuple[str, ...]
    first: float | None
    second: float | None

    @property
    def change(self) -> float:
        """Second less first; a node that one network lacks moves nothing there."""
        return (self.second or 0.0) - (self.first or 0.0)


@dataclass(frozen=True, slots=True)
class NetworkChange:
    """What both looks into the networks say beside one another.

    Attributes:
        title: engines, frames and unit of the layers; empty where there are none to compare.
        whole: how far all nodes together move the lines, in the first and in the second run; None as above.
        nodes: in the network's order; `ranked` those that changed most first.
        plan: what the second compiled plan has otherwise; empty where there are none to compare.
        remarks: why something that a run has is not compared.
    """

    title: str = ""
    whole: tuple[float, float] | None = None
    nodes: tuple[NodeChange, ...] = ()
    plan: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def ranked(self) -> list[NodeChange]:
        """Nodes that move the lines otherwise, those that changed most first."""
        return sorted((n for n in self.nodes if n.change), key=lambda n: -abs(n.change))


def network_change(first: tuple[Path, RunFacts], second: tuple[Path, RunFacts]) -> NetworkChange:
    """Compare what lies in two run folders; all empty where neither was looked at.

    Args:
        first, second: folder and facts of the runs.
    """
    files = [network_files(*run) for run in (first, second)]
    a, b = (f.layers for f in files)
    remarks = [*_remarks(files)]
    if a is not None and b is not None and (differing := _unlike(a, b)):
        remarks.append(f"layers are not compared: {differing}")
        a = b = None
    plans = [f.plan for f in files]
    return NetworkChange(
        title=f"{b.b} against {b.a}, lines in {b.unit}" if a is not None and b is not None else "",
        whole=(a.whole.cost, b.whole.cost) if a is not None and b is not None else None,
        nodes=tuple(_nodes(a, b)) if a is not None and b is not None else (),
        plan=_plan(plans[0], plans[1]),
        remarks=tuple(remarks),
    )


def _remarks(files: Sequence[NetworkFiles]) -> Iterator[str]:
    """What a run's folder holds that is not its own, and what only one run has."""
    names = ("first", "second")
    for name, own in zip(names, files, strict=True):
        yield from (f"{name}: {remark}" for remark in own.remarks)
    for file, command, has in (
        (LAYERS, "layers", [f.layers is not None for f in files]),
        (PLAN, "plan", [f.plan is not None for f in files]),
    ):
        if has[0] != has[1]:
            yield f"only the {names[has[1]]} run has {file}: trueline model {command} RUN writes the other's"


def _unlike(a: LayerTable, b: LayerTable) -> str:
    """Why two tables measure different things; empty where they measure the same."""
    for what, one, other in (("engine", a.b, b.b), ("reference", a.a, b.a), ("unit", a.unit, b.unit)):
        if one != other:
            return f"{what} {one} in the first run, {other} in the second"
    return ""


def _nodes(a: LayerTable, b: LayerTable) -> Iterator[NodeChange]:
    """Nodes by name and operator, in the second network's order; those that only the first has come last."""
    theirs = {(row.name, row.op): row for row in a.rows}
    for row in b.rows:
        yield _node(theirs.pop((row.name, row.op), None), row)
    for row in theirs.values():
        yield _node(row, None)


def _node(first: LayerRow | None, second: LayerRow | None) -> NodeChange:
    told = second or first
    assert told is not None  # one of both is given
    costs = [None if row is None else row.cost for row in (first, second)]
    return NodeChange(told.name, told.op, told.modules or told.nodes, costs[0], costs[1])


def _plan(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> tuple[str, ...]:
    if first is None or second is None:
        return ()
    heads = [f"{plan['compiler']}, {plan['engine']} for {plan['target']}" for plan in (first, second)]
    told = [f"{heads[0]} -> {heads[1]}"] if heads[0] != heads[1] else []
    return (*told, *change_lines(plan_changes(second, first)))
