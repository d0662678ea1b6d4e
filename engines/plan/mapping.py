"""Which ONNX value each tensor of a plan holds: by the nodes of its kernel, by who reads it, and by its shape.

Names of tensors are not used: of those that carry an ONNX name most are not made by that node's kernel. A kernel that
only copies, pads or transposes makes no value of its own; its output holds that of its input. What cannot be told apart
stays unmapped, and is listed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from engines.emulated.ops import PRODUCTS
from engines.plan.owners import Owners, moves_only
from engines.tensorrt.kernels import Kernel, KernelPlan, PlanTensor

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["PlanMap", "Written", "map_plan"]

_VIEWS = frozenset(
    {"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)  # same numbers, other places
_ALIGNED = 32  # a size is padded to a multiple of it at most
_OUT = -1  # reader of what leaves the network
_EXACT, _PADDED, _SAME_SIZE = 3, 2, 1  # how well a tensor's shape fits a value's

How = Literal["made", "copied", "constant", ""]


@dataclass(frozen=True)
class Written:
    """A tensor that a kernel writes, and the value that it holds.

    Attributes:
        kernel: index of the kernel.
        tensor: as the plan has it.
        value: of the graph; None where it is not known, or none.
        how: `made` by the kernel's own nodes, `copied` from a tensor that it reads, `constant`, or empty: unmapped.
    """

    kernel: int
    tensor: PlanTensor
    value: ir.Value | None
    how: How


@dataclass(frozen=True)
class PlanMap:
    """A plan's tensors and the values of its graph.

    Attributes:
        written: every tensor that a kernel writes, in order.
        crossing: value that one kernel computes and another reads, or that leaves the network -> the type in which the
            plan writes it; None where no tensor was found for it, as of a product that was merged with its like.
    """

    written: tuple[Written, ...]
    crossing: Mapping[ir.Value, str | None]

    @property
    def unmapped(self) -> tuple[Written, ...]:
        """Tensors for which no value was found."""
        return tuple(written for written in self.written if not written.how)


def map_plan(plan: KernelPlan, owners: Owners, model: ir.Model) -> PlanMap:
    """Find the value of every written tensor, and the type of every value that crosses from kernel to kernel."""
    readers = _readers(plan, owners)
    crossing = _crossing(owners)
    held = {value.name: value for value in model.graph.inputs if value.name}
    written: list[Written] = []
    for index, kernel in enumerate(plan.kernels):
        tensors = list({tensor.name: tensor for tensor in kernel.outputs}.values())
        values = [value for node in owners.nodes_of.get(index, ()) for value in node.outputs]
        made = {value: crossing[value] for value in values if value in crossing}
        found = _assigned(tensors, made, {t.name: readers[index, t.name] for t in tensors})
        for tensor in tensors:
            rivals = any(_fit(value, tensor) for value in made if value not in found.values())
            value, how = _value_of(tensor, kernel, found, held, made=bool(made), rivals=rivals)
            if value is not None:
                held[tensor.name] = value
            written.append(Written(index, tensor, value, how))
    unnamed = [value for node in owners.unnamed if node.op_type in PRODUCTS for value in node.outputs]
    return PlanMap(tuple(written), {**_types(written, crossing), **dict.fromkeys(unnamed)})


def _value_of(
    tensor: PlanTensor,
    kernel: Kernel,
    found: Mapping[str, ir.Value],
    held: Mapping[str, ir.Value],
    *,
    made: bool,
    rivals: bool,
) -> tuple[ir.Value | None, How]:
    """The value of one tensor: made here, else a copy of the one value that the kernel reads.

    Args:
        tensor: that the kernel writes.
        kernel: which.
        found: what it makes, by tensor.
        held: the values of tensors written before.
        made: whether it makes any value.
        rivals: whether it makes a value that fits this tensor and was given to none.
    """
    if tensor.name in found:
        return found[tensor.name], "made"
    if kernel.kind == "memset":
        return None, "constant"
    sources = {held[t.name] for t in kernel.inputs if t.name in held}
    fitting = [value for value in sources if not made or _fit(value, tensor) >= _PADDED]
    if not rivals and (made or moves_only(kernel)) and len(fitting) == 1:
        return fitting[0], "copied"
    return None, ""


def _assigned(
    tensors: list[PlanTensor], made: Mapping[ir.Value, set[int]], readers: Mapping[str, set[int]]
) -> dict[str, ir.Value]:
    """Tensor -> value, best pairs first; a tensor that two values fit alike gets none, unless both are one view."""
    pairs = [
        (score, tensor, value)
        for tensor in tensors
        for value, users in made.items()
        if (score := _score(value, tensor, users, readers[tensor.name]))
    ]
    found: dict[str, ir.Value] = {}
    for score, tensor, value in sorted(pairs, key=lambda pair: -pair[0]):
        rivals = [v for s, t, v in pairs if t is tensor and s == score and v not in found.values()]
        if tensor.name in found or value in found.values() or len({_root(v) for v in rivals}) > 1:
            continue
        found[tensor.name] = value
    return found


def _score(value: ir.Value, tensor: PlanTensor, users: set[int], readers: set[int]) -> float:
    """How well a tensor fits a value by shape and by who reads both; 0: it cannot be."""
    fit = _fit(value, tensor)
    both = users & readers
    if not fit or not (both or (not readers and _OUT in users)):
        return 0.0
    return fit + 3 * len(both) / len(users | readers)


def _fit(value: ir.Value, tensor: PlanTensor) -> int:
    """How a tensor's shape fits a value's; 0: it does not."""
    if value.shape is None:
        return _SAME_SIZE
    theirs, ours = tensor.shape or (1,), tuple(d if isinstance(d, int) else -1 for d in value.shape) or (1,)
    if len(theirs) == len(ours):
        pairs = [(t, o) for t, o in zip(theirs, ours, strict=True) if t != o and -1 not in (t, o)]
        if not pairs:
            return _EXACT
        if len(pairs) == 1 and pairs[0][1] < pairs[0][0] <= -(-pairs[0][1] // _ALIGNED) * _ALIGNED:
            return _PADDED
    return _SAME_SIZE if -1 in (*theirs, *ours) or _size(theirs) == _size(ours) else 0


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for number in shape:
        size *= number
    return size


def _crossing(owners: Owners) -> dict[ir.Value, set[int]]:
    """Value -> the kernels that read it beside its own; values that stay inside a kernel are left out."""
    found = {}
    for node, index in owners.kernel_of.items():
        for value in node.outputs:
            if users := set(_users(value, owners)) - {index}:
                found[value] = users
    return found


def _users(value: ir.Value, owners: Owners) -> Iterator[int]:
    """Kernels that read a value, through nodes that no kernel names too."""
    if value.is_graph_output():
        yield _OUT
    for node, _ in value.uses():
        if node in owners.kernel_of:
            yield owners.kernel_of[node]
        else:
            for output in node.outputs:
                yield from _users(output, owners)


def _readers(plan: KernelPlan, owners: Owners) -> dict[tuple[int, str], set[int]]:
    """(kernel, tensor it writes) -> kernels that read it before it is written anew, through copies too."""
    found: dict[tuple[int, str], set[int]] = defaultdict(set)
    for index in reversed(range(len(plan.kernels))):
        for tensor in plan.kernels[index].outputs:
            for later in range(index + 1, len(plan.kernels)):
                kernel = plan.kernels[later]
                if tensor.name in {read.name for read in kernel.inputs}:
                    found[index, tensor.name].add(later)
                    if moves_only(kernel):
                        found[index, tensor.name] |= {r for out in kernel.outputs for r in found[later, out.name]}
                if tensor.name in {out.name for out in kernel.outputs}:
                    break
    return found


def _root(value: ir.Value) -> ir.Value:
    """The value whose numbers this one shows."""
    producer = value.producer()
    while producer is not None and producer.op_type in _VIEWS and not producer.domain:
        (source, *_) = producer.inputs
        if source is None:
            break
        value, producer = source, source.producer()
    return value


def _types(written: list[Written], crossing: Mapping[ir.Value, set[int]]) -> dict[ir.Value, str | None]:
    """Value -> the type in which it is written; a value and its views are one."""
    types = {one.value: one.tensor.dtype for one in written if one.value is not None and one.how == "made"}
    roots = {_root(value): dtype for value, dtype in types.items()}
    return {value: types.get(value, roots.get(_root(value))) for value in crossing}
