"""Multiplications of every node in one frame, from the shapes: what a node kept in fp32 costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from engines.layers.network import Network

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["multiplications"]


def multiplications(network: Network) -> dict[str, float]:
    """Node -> multiplications of its products; 0 of what is no product, and where a shape is not known."""
    return {node.name: _of(network, node) for node in network.nodes}


def _of(network: Network, node: NodeProto) -> float:
    if node.domain or node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return 0.0
    data, weight, given = (_shape(network, name) for name in (*node.input[:2], node.output[0]))
    if not data or not weight or not given:
        return 0.0
    if node.op_type == "Conv":
        return float(math.prod(given) * math.prod(weight[1:]))
    if node.op_type == "ConvTranspose":
        return float(math.prod(data) * math.prod(weight[1:]))
    if node.op_type == "Gemm":
        turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return float(math.prod(given) * data[0 if turned else -1])
    return float(math.prod(given) * data[-1])


def _shape(network: Network, name: str) -> tuple[int, ...]:
    """Empty where it is not known in numbers."""
    if name in network.constants:
        return tuple(network.constants[name].dims)
    known = network.types.get(name)
    dims = [dim.dim_value for dim in known.type.tensor_type.shape.dim] if known is not None else []
    return tuple(dims) if all(size > 0 for size in dims) else ()
