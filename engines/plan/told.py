"""A plan told in JSON values: kernels with the nodes in each, tensors with the values they hold, what was done to them.

What was done to a kernel's values is told from the plan and the graph alone: nodes `fused` into one kernel, a type that
was `cast`, a size that was `padded`, a tensor that was `copied`; nodes that no kernel names were `folded` away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engines.emulated.graph import nodes_of
from engines.emulated.selection import modules_of
from engines.plan.mapping import PlanMap, Written, map_plan
from engines.plan.owners import Owners, owners_of, plan_name
from engines.tensorrt.kernels import Kernel, KernelPlan, PlanTensor, read_plan_text

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["kernel_texts", "tell_kernels", "tell_plan"]

_FLOATS = ("Float", "Half", "BFloat16", "FP8")


def tell_plan(layers: Sequence[str], model: ir.Model) -> dict[str, Any]:
    """Everything of a plan.

    Args:
        layers: its texts.
        model: the graph that it was built from, flat.

    Returns:
        `kernels` (name, kind, nodes, modules, reads, writes, did), `nodes` and `named` (how many of the graph, and how
        many of those a kernel names), `folded` (operator -> how many of the others), `unmapped` (tensors of unknown
        value), `unread` (lines of no known form), `types` (value -> type in which the plan writes it).
    """
    plan = read_plan_text(layers)
    owners = owners_of(plan, model)
    found = map_plan(plan, owners, model)
    told = {name.partition(" | ")[0] for kernel in plan.kernels for name in kernel.nodes}
    nodes = list(nodes_of(model))
    folded = Counter(node.op_type for node in nodes if plan_name(node) not in told)
    return {
        "kernels": tell_kernels(plan, owners, found),
        "nodes": len(nodes),
        "named": len(nodes) - folded.total(),
        "folded": dict(folded.most_common()),
        "unmapped": [written.tensor.name for written in found.unmapped],
        "unread": list(plan.unread),
        "types": _types(found),
    }


def tell_kernels(plan: KernelPlan, owners: Owners, found: PlanMap) -> list[dict[str, Any]]:
    """Every kernel, in the order in which they run."""
    writes: dict[int, list[Written]] = {}
    for written in found.written:
        writes.setdefault(written.kernel, []).append(written)
    return [_kernel(k, owners.nodes_of.get(i, ()), writes.get(i, [])) for i, k in enumerate(plan.kernels)]


def kernel_texts(kernels: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Number -> kind, nodes, what is written, what was done: a kernel in a line of a report."""
    return {
        f"{index:03}": "; ".join(
            part
            for part in (
                f"{kernel['kind']} {', '.join(kernel['nodes'])}".strip(),
                ", ".join(f"{t['value'] or '?'} {t['shape']} {t['dtype']}" for t in kernel["writes"]),
                ", ".join(kernel["did"]),
            )
            if part
        )
        for index, kernel in enumerate(kernels)
    }


def _kernel(kernel: Kernel, owned: Sequence[ir.Node], writes: Sequence[Written]) -> dict[str, Any]:
    return {
        "name": kernel.name,
        "kind": kernel.kind,
        "tactic": kernel.tactic,
        "nodes": list(kernel.nodes),
        "modules": sorted({module for node in owned for module in modules_of(node)[-1:] if module}),
        "reads": [_tensor(tensor) for tensor in dict.fromkeys(kernel.inputs)],
        "writes": [
            {**_tensor(one.tensor), "value": one.value.name if one.value is not None else None, "how": one.how}
            for one in writes
        ],
        "constants": dict(sorted(Counter(tensor.dtype for tensor in kernel.constants).items())),
        "did": _did(kernel, owned, writes),
    }


def _tensor(tensor: PlanTensor) -> dict[str, Any]:
    return {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype}


def _did(kernel: Kernel, owned: Sequence[ir.Node], writes: Sequence[Written]) -> list[str]:
    """What was done, in words."""
    did = [f"fused {len(owned)}"] if len(owned) > 1 else []
    types = [sorted({t.dtype for t in tensors if t.dtype in _FLOATS}) for tensors in (kernel.inputs, kernel.outputs)]
    if all(types) and types[0] != types[1]:
        did.append(f"cast {' and '.join(types[0])} to {' and '.join(types[1])}")
    for one in writes:
        if one.how == "copied":
            did.append("copied")
        did += _padded(one)
    return list(dict.fromkeys(did))


def _padded(written: Written) -> list[str]:
    """`padded 19 to 20`, where a size of the tensor is larger than that of its value."""
    shape = written.value.shape if written.value is not None else None
    if shape is None or len(shape) != len(written.tensor.shape):
        return []
    sizes = [(o, t) for o, t in zip(shape, written.tensor.shape, strict=True) if isinstance(o, int) and o != t]
    return [f"padded {sizes[0][0]} to {sizes[0][1]}"] if len(sizes) == 1 and 0 < sizes[0][0] < sizes[0][1] else []


def _types(found: PlanMap) -> Mapping[str, str]:
    return {value.name: word for value, word in found.crossing.items() if value.name and word}
