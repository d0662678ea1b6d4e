"""Paths through the ladder, and the rungs that show one factor by itself on the reference.

The chain of interest runs from the reference to the car. Rungs that keep the reference's preprocessing while others
change it (`train/ort-fp32`), and those that swap steps (`train+resize/torch-fp32`, `deploy-resize/torch-fp32`), are
probes: they show what a factor does alone, or what is left without it, and have no findings of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.errors import RunError
from harness.feed.swaps import Swap, swap_of
from harness.run.facts import RungFact
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
    def swap(self) -> Swap | None:
        """The steps that its pipeline takes from the other one; None for `train` and `deploy` themselves."""
        return swap_of(self.preprocess)

    @property
    def stage(self) -> str | None:
        """Stage of its one factor; None for the reference and where several factors change at once."""
        return stage_of(self.factors[0]) if len(self.factors) == 1 else None


class Tree:
    """The ladder of a run.

    Args:
        rungs: of the run.
        reference: name of the root.

    Raises:
        RunError: the reference is not among the rungs, or a rung's ancestry does not lead to it.
    """

    def __init__(self, rungs: Iterable[RungFact], reference: str) -> None:
        self.nodes = {r.name: _node(r) for r in rungs}
        if reference not in self.nodes:
            raise RunError(
                f"reference {reference!r} is not among its rungs {sorted(self.nodes)}",
                where="run.json",
                remedy="replay again into a new folder",
            )
        self.root = self.nodes[reference]
        changed = any(n.swap is None and n.preprocess != self.root.preprocess for n in self.nodes.values())
        self._probes = {
            n.name
            for n in self.nodes.values()
            if n is not self.root and (n.swap or (changed and n.preprocess == self.root.preprocess))
        }

    def unfinished(self) -> tuple[str, ...]:
        """Rungs that are no probe and did not run or crashed."""
        return tuple(n.name for n in self.nodes.values() if n.name not in self._probes and n.status != "ok")

    def chain(self) -> list[Node]:
        """Rungs with findings of their own that ran (or began to), every parent before its children."""
        judged = [n for n in self.nodes.values() if n.name not in self._probes and n is not self.root]
        return sorted((n for n in judged if n.status != "not_run"), key=lambda n: len(self.path(n.name)))

    def stopped_at(self, name: str) -> Node:
        """The first rung on the way to one that crashed or did not run; the rung itself where all did."""
        return next((n for n in self.path(name) if n.status != "ok"), self.nodes[name])

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

        A preprocessing step is shown by its own rung on the reference, `train+STEP`; where there are none, all of
        preprocessing by the path's first rung. A step between engines is shown by the same step under the reference's
        preprocessing. Only rungs that ran are listed.
        """
        found: list[tuple[str, str, str]] = []
        for node in self.path(name)[1:]:
            if node.stage == "preprocess":
                added = [(s.factor, rung, self.root.name) for rung, s in self._swaps("+").items()]
                found += added or [(node.factors[0], node.name, self.root.name)]
            elif self.nodes[str(node.parent)].preprocess == self.root.preprocess:
                found.append((" + ".join(node.factors), node.name, str(node.parent)))
            else:
                pair = [f"{self.root.preprocess}/{n.engine}" for n in (node, self.nodes[str(node.parent)])]
                found.append((" + ".join(node.factors), pair[0], pair[1]))
        return [triple for triple in found if self._ran(*triple[1:])]

    def without(self, name: str) -> list[tuple[str, str, str]]:
        """(factor, rung that has it, rung that lacks it) for every preprocessing step taken out of a path.

        The rung that has it is the path's first one, `deploy/ENGINE`; the one that lacks it runs the same pipeline with
        that step as the reference has it, `deploy-STEP/ENGINE`; where there are none, the reference lacks all of them.
        Empty for a path without preprocessing. Only rungs that ran are listed.
        """
        found: list[tuple[str, str, str]] = []
        for node in self.path(name)[1:]:
            if node.stage == "preprocess":
                taken = [(s.factor, node.name, rung) for rung, s in self._swaps("-").items()]
                found += taken or [(node.factors[0], node.name, self.root.name)]
        return [triple for triple in found if self._ran(*triple[1:])]

    def shows_every_factor(self, name: str) -> bool:
        """Whether `alone` covers the whole path, every step of preprocessing once."""
        shown = {f for f, _, _ in self.alone(name)}
        for node in self.path(name)[1:]:
            if not (self._shows_every_step(node) if node.stage == "preprocess" else " + ".join(node.factors) in shown):
                return False
        return True

    def _shows_every_step(self, node: Node) -> bool:
        """Whether the rungs on the reference add each step once: no step is missing, none is in two of them."""
        added = [step for swap in self._swaps("+").values() for step in swap.steps]
        known = {step for n in self.nodes.values() if n.swap for step in n.swap.steps}
        return sorted(added) == sorted(known) if added else self._ran(node.name)

    def _swaps(self, sign: str) -> dict[str, Swap]:
        """Rungs that swap steps, of one sign, that ran."""
        return {n.name: n.swap for n in self.nodes.values() if n.swap and n.swap.sign == sign and n.status == "ok"}

    def _ran(self, *names: str) -> bool:
        return all(n in self.nodes and self.nodes[n].status == "ok" for n in names)


def _node(rung: RungFact) -> Node:
    return Node(rung.name, rung.preprocess, rung.engine, rung.parent, rung.factors, rung.status, rung.reason)
