"""Roundings where a compiled plan has them: on the values that it writes to memory in a reduced type.

The graph is the typed one that the plan was built from, so its constants are of the reduced type already. A value that
one kernel computes and another reads is rounded to the type in which the plan writes it. What stays inside a kernel
stays in fp32, or (`plan-half`) is rounded as the graph types it: which of the two a kernel does, no plan tells. A copy
rounds nothing new.

BatchNorm follows the plan: one of the same kernel as the convolution in front is folded into it; any other becomes a
scale and a shift, rounded where the kernel holds its constants in the reduced type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engines.emulated.batchnorm import settle_together
from engines.emulated.formats import FORMATS, Format
from engines.emulated.graph import array_of
from engines.emulated.typed import lower_types
from engines.plan.mapping import PlanMap, map_plan
from engines.plan.owners import Owners, owners_of
from engines.plan.told import kernel_texts, tell_kernels
from engines.tensorrt.kernels import KernelPlan, read_plan_text

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["PlacedByPlan", "demand_by_plan"]

_REDUCED = {"Half": FORMATS["fp16"], "BFloat16": FORMATS["bf16"]}  # TensorRT's words for what is rounded
_NAMED = 20  # tensors that the provenance names


@dataclass(frozen=True)
class PlacedByPlan:
    """What a plan demands of its graph.

    Attributes:
        rounded: value -> the format to round it to.
        typed: value -> the format in which the graph has it, rounded or not.
        facts: how it was found, for provenance.
        kernels: node -> its kernel, `012 correlation`.
    """

    rounded: dict[ir.Value, Format]
    typed: dict[ir.Value, Format]
    facts: dict[str, Any]
    kernels: dict[ir.Node, str]


def demand_by_plan(model: ir.Model, layers: Sequence[str], *, inside: bool) -> PlacedByPlan:
    """The format that each value must have.

    Args:
        model: the typed graph; it becomes fp32, with its BatchNorms settled.
        layers: texts of the plan that was built from it.
        inside: whether values that stay inside a kernel are rounded as the graph types them.
    """
    plan = read_plan_text(layers)
    owners = owners_of(plan, model)
    found = map_plan(plan, owners, model)
    kernels = kernel_texts(tell_kernels(plan, owners, found))
    crossing = dict(found.crossing)
    typed = lower_types(model)
    typed |= _settle(model, plan, owners, crossing)
    demand = {value: form for value, form in typed.items() if inside or array_of(value) is not None}
    by_plan = by_inference = 0
    for value, word in crossing.items():
        form = typed.get(value) if word is None else _REDUCED.get(word)
        demand.pop(value, None)
        if form is not None:
            demand[value] = form
            by_plan, by_inference = by_plan + (word is not None), by_inference + (word is None)
    placed = {"placed_by_plan": by_plan, "placed_by_inference": by_inference}
    told = {node: f"{index:03} {plan.kernels[index].kind}" for node, index in owners.kernel_of.items()}
    return PlacedByPlan(demand, typed, {**_facts(plan, owners, found), **placed, "plan_kernels": kernels}, told)


def _settle(
    model: ir.Model, plan: KernelPlan, owners: Owners, crossing: dict[ir.Value, str | None]
) -> dict[ir.Value, Format]:
    """Settle BatchNorms as the plan has them; the formats of their new constants."""

    def together(product: ir.Node, norm: ir.Node) -> bool:
        kernel = owners.kernel_of.get(product)
        return kernel is not None and owners.kernel_of.get(norm, kernel) == kernel

    demand: dict[ir.Value, Format] = {}
    for settled in settle_together(model, together):
        if settled.result in crossing:
            crossing[settled.value] = crossing.pop(settled.result)
        index = owners.kernel_of.get(settled.node)
        words = {constant.dtype for constant in plan.kernels[index].constants} if index is not None else set()
        forms = [_REDUCED[word] for word in sorted(words & _REDUCED.keys())]
        for value in settled.constants if forms else ():
            demand[value] = forms[0]
    return demand


def _facts(plan: KernelPlan, owners: Owners, found: PlanMap) -> dict[str, Any]:
    """What was read of the plan, for provenance."""
    how = [written.how for written in found.written]
    return {
        "kernels": len(plan.kernels),
        "tensors_written": len(how),
        "tensors_made": how.count("made"),
        "tensors_copied": how.count("copied"),
        "tensors_unmapped": [written.tensor.name for written in found.unmapped][:_NAMED],
        "nodes_unknown": list(owners.unknown)[:_NAMED],
        "lines_unread": len(plan.unread),
    }
