"""Which kernel of a plan computes each node of the graph.

The builder tells for every kernel the nodes that it came from, and may tell a node for several: a convolution also for
the kernel that pads its input. Such a node belongs to the kernel whose type computes it: a convolution to
`correlation`, a matrix product to `gemm`; any other node to the last of its kernels that does arithmetic.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.emulated.graph import nodes_of
from engines.emulated.ops import PRODUCTS
from engines.tensorrt.kernels import Kernel, KernelPlan

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["Owners", "moves_only", "owners_of", "plan_name"]

_COMPUTES = {
    "correlation": {"Conv"},
    "deconv": {"ConvTranspose"},
    "gemm": {"MatMul", "Gemm", "Einsum"},
    "avgpool": {"AveragePool", "GlobalAveragePool"},
    "maxpool": {"MaxPool", "GlobalMaxPool"},
}
_MOVES = {"Cast", "Conc", "Move", "Repl", "Resh", "Slic", "Tran"}  # what a generated kernel's tactic spells
_COPYING = ("memset", "copy")
_TACTIC = re.compile(r"__myl_((?:[A-Z][a-z0-9]+)+)(?:_0x[0-9a-f]+)?")
_STEP = re.compile(r"[A-Z][a-z0-9]+")


@dataclass(frozen=True)
class Owners:
    """What of the graph each kernel computes.

    Attributes:
        kernel_of: node -> index of its kernel; nodes that no kernel names (constants, views) are left out.
        nodes_of: index of a kernel -> its nodes, in the graph's order.
        unnamed: nodes that no kernel computes: constants and views, and what the builder merged with its like.
        unknown: names in the plan that no node of the graph has.
    """

    kernel_of: Mapping[ir.Node, int]
    nodes_of: Mapping[int, tuple[ir.Node, ...]]
    unnamed: tuple[ir.Node, ...]
    unknown: tuple[str, ...]


def owners_of(plan: KernelPlan, model: ir.Model) -> Owners:
    """Give every node that the plan names to one kernel."""
    named: dict[str, list[int]] = defaultdict(list)
    for index, kernel in enumerate(plan.kernels):
        for name in kernel.nodes:
            named[name].append(index)
    nodes = {plan_name(node): node for node in nodes_of(model)}
    kernel_of: dict[ir.Node, int] = {}
    unknown: list[str] = []
    for name, kernels in named.items():
        node = nodes.get(name) or nodes.get(name.partition(" | ")[0])
        if node is None:
            unknown.append(name)
        elif (owner := _owner(node, kernels, plan)) is not None:
            kernel_of[node] = owner
    ordered: dict[int, list[ir.Node]] = defaultdict(list)
    for node in nodes.values():
        if node in kernel_of:
            ordered[kernel_of[node]].append(node)
    unnamed = tuple(node for node in nodes.values() if node not in kernel_of)
    return Owners(kernel_of, {index: tuple(found) for index, found in ordered.items()}, unnamed, tuple(unknown))


def plan_name(node: ir.Node) -> str:
    """What the parser calls a node: by its first output where it has no name."""
    return node.name or f"node_of_{node.outputs[0].name if node.outputs else ''}"


def moves_only(kernel: Kernel) -> bool:
    """Whether a kernel only copies, pads, transposes or casts."""
    if kernel.kind in _COPYING:
        return True
    found = _TACTIC.fullmatch(kernel.tactic)
    return found is not None and set(_STEP.findall(found[1])) <= _MOVES


def _owner(node: ir.Node, kernels: list[int], plan: KernelPlan) -> int | None:
    """The kernel of a node, None where only a copy for it is named."""
    fitting = [i for i in kernels if node.op_type in _COMPUTES.get(plan.kernels[i].kind, ())]
    if fitting:
        return fitting[-1]
    if node.op_type in PRODUCTS and all(moves_only(plan.kernels[i]) for i in kernels):
        return None
    working = [i for i in kernels if not moves_only(plan.kernels[i])]
    return (working or kernels)[-1]
