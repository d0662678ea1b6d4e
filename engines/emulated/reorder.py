"""The same sums in another order: channels of every product permuted, and its weights alike.

In real arithmetic nothing changes; in fp32 only the order of additions does, which is what another tactic, another GPU
or another library version changes too. Its effect on the lines is the noise that no two fp32 engines can avoid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.emulated.formats import constant
from engines.emulated.graph import array_of, nodes_of
from engines.emulated.ops import PRODUCTS

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["permute_channels"]


def permute_channels(model: ir.Model, seed: int) -> int:
    """Permute the summed channels of every product; returns how many products were reordered.

    The data is permuted by a Gather before the product, the weights in their file. Depthwise convolutions have one
    channel a sum, and stay.
    """
    gathered: dict[tuple[ir.Value, int, int], ir.Value] = {}
    count = 0
    for node in nodes_of(model):
        found = _summed(node) if node.op_type in PRODUCTS and not node.domain else None
        if found is None:
            continue
        data_axis, weight_axis, size, groups = found
        order = _order(seed, size)
        everywhere = np.concatenate([group * size + order for group in range(groups)])
        _permute(node, 0, data_axis, everywhere, gathered)
        weight_order = everywhere if node.op_type == "ConvTranspose" else order
        _permute(node, 1, weight_axis, weight_order, gathered)
        count += 1
    return count


def _summed(node: ir.Node) -> tuple[int, int, int, int] | None:
    """(axis of the data, axis of the weights, channels of one sum, groups), None where there is nothing to permute."""
    data, weight = node.inputs[0], node.inputs[1]
    if data is None or weight is None or weight.shape is None or data.shape is None:
        return None
    groups, data_axis = 1, 1
    if node.op_type in ("Conv", "ConvTranspose"):
        groups = node.attributes["group"].as_int() if "group" in node.attributes else 1
        weight_axis = 1 if node.op_type == "Conv" else 0
    elif node.op_type == "Gemm":
        data_axis = 0 if _flag(node, "transA") else 1
        weight_axis = 1 if _flag(node, "transB") else 0
    else:
        data_axis = len(data.shape) - 1
        weight_axis = max(0, len(weight.shape) - 2)
    size = weight.shape[weight_axis]
    if not isinstance(size, int):
        return None
    size = size // groups if node.op_type == "ConvTranspose" else size
    return (data_axis, weight_axis, size, groups) if size > 1 else None


def _permute(
    node: ir.Node, index: int, axis: int, order: NDArray[Any], gathered: dict[tuple[ir.Value, int, int], ir.Value]
) -> None:
    """Permute an input of a node: a constant by itself, anything else by a Gather that equal uses share."""
    import onnx_ir as ir

    value = node.inputs[index]
    assert value is not None
    assert node.graph is not None
    array = array_of(value)
    if array is not None and value.graph is not None:
        permuted = np.ascontiguousarray(np.take(array, order, axis=axis))
        node.replace_input_with(index, constant(value.graph, permuted, f"{value.name}.reordered"))
        return
    key = (value, axis, len(order))
    if key not in gathered or gathered[key].graph is not node.graph:
        indices = constant(node.graph, order.astype(np.int64), f"{value.name}.order")
        gather = ir.node("Gather", [value, indices], {"axis": axis})
        gather.outputs[0].type, gather.outputs[0].shape = value.type, value.shape
        node.graph.insert_before(node, gather)
        gathered[key] = gather.outputs[0]
    node.replace_input_with(index, gathered[key])


def _order(seed: int, size: int) -> NDArray[np.int64]:
    """A permutation of so many channels, the same for every product of that size; never the identity."""
    random = np.random.default_rng([seed, size])
    order = random.permutation(size)
    return order if (order != np.arange(size)).any() else np.roll(order, 1)


def _flag(node: ir.Node, name: str) -> bool:
    return name in node.attributes and bool(node.attributes[name].as_int())
