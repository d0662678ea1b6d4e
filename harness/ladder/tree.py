"""Paths through the ladder, and the rungs that show one factor by itself on the reference.

The chain of interest runs from the reference to the car. Rungs that keep the reference's preprocessing while others
change it (`train/ort-fp32`), and those that swap one step (`train+resize/torch-fp32`), are probes: they show what a
factor does alone and have no anomalies of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import RunError
from harness.run.rungs import stage_of

__all__ = ["Node", "Tree"]


@dataclass(frozen=True, slots=True)
class Node:
    """One rung as run.json tells it."""

    name: str
    preprocess: str
    engine: str
    parent: str | None
    factors: tuple[str, ...]
    status: str
    reason: str

    @property
    def stage(self) -> str | None:
        """Stage of its one factor; None for the reference and where several factors change at once."""
        return stage_of(self.factors[0]) if len(self.factors) == 1 else None


class Tree:
    """The ladder of a run.

    Args:
        rungs: `rungs` of run.json.
        reference: name of the root.

    Raises:
        RunError: the reference is not among the rungs, or a rung's ancestry does not lead to it.
    """

    def __init__(self, rungs: Sequence[Mapping[str, Any]], reference: str) -> None:
        self.nodes = {r["name"]: _node(r) for r in rungs}
        if reference not in self.nodes:
            raise RunError(
                f"reference {reference!r} is not among its rungs {sorted(self.nodes)}",
                where="run.json",
                remedy="replay again into a new folder",
            )
        self.root = self.nodes[reference]
        swapped = any("+" not in n.preprocess and n.preprocess != self.root.preprocess for n in self.nodes.values())
        self._probes = {
            n.name
            for n in self.nodes.values()
            if n is not self.root and ("+" in n.preprocess or (swapped and n.preprocess == self.root.preprocess))
        }

    def chain(self) -> list[Node]:
        """Rungs with anomalies of their own that ran (or began to), every parent before its children."""
        judged = [n for n in self.nodes.values() if n.name not in self._probes and n is not self.root]
        return sorted((n for n in judged if n.status != "not_run"), key=lambda n: len(self.path(n.name)))

    def below(self, name: str) -> list[Node]:
        """Rungs of the chain that descend from one, near or far."""
        return [n for n in self.chain() if n.name != name and name in {p.name for p in self.path(n.name)}]

    def path(self, name: str) -> list[Node]:
        """From the root to a rung, both included."""
        nodes = [self.nodes[name]]
        while nodes[-1] is not self.root:
            parent = nodes[-1].parent
            if parent not in self.nodes or len(nodes) > len(self.nodes):
                raise RunError(
                    f"rung {name!r} does not descend from {self.root.name!r}",
                    where="run.json",
                    remedy="replay again into a new folder",
                )
            nodes.append(self.nodes[parent])
        return nodes[::-1]

    def alone(self, name: str) -> list[tuple[str, str, str]]:
        """(factor, rung that has it, rung that lacks it) for every factor of a path that the run shows by itself.

        A preprocessing step is shown by its own rung on the reference; where there are none, all of preprocessing by
        the path's first rung. A step between engines is shown by the same step under the reference's preprocessing.
        """
        found: list[tuple[str, str, str]] = []
        for node in self.path(name)[1:]:
            if node.stage == "preprocess":
                steps = [n for n in self.nodes.values() if "+" in n.preprocess and n.status == "ok"]
                found += [(s.factors[0], s.name, self.root.name) for s in steps] or [
                    (node.factors[0], node.name, self.root.name)
                ]
            elif self.nodes[str(node.parent)].preprocess == self.root.preprocess:
                found.append((" + ".join(node.factors), node.name, str(node.parent)))
            else:
                pair = [f"{self.root.preprocess}/{n.engine}" for n in (node, self.nodes[str(node.parent)])]
                if all(p in self.nodes and self.nodes[p].status == "ok" for p in pair):
                    found.append((" + ".join(node.factors), pair[0], pair[1]))
        return found

    def shows_every_factor(self, name: str) -> bool:
        """Whether `alone` covers the whole path."""
        shown = {f for f, _, _ in self.alone(name)}
        for node in self.path(name)[1:]:
            steps = any(f.startswith("preprocess") for f in shown)
            if not (steps if node.stage == "preprocess" else " + ".join(node.factors) in shown):
                return False
        return True


def _node(rung: Mapping[str, Any]) -> Node:
    return Node(
        rung["name"],
        rung["preprocess"],
        rung["engine"],
        rung["parent"],
        tuple(rung["factors"]),
        rung.get("status", "ok"),
        rung.get("reason", ""),
    )
