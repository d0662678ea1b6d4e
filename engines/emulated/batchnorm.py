"""BatchNorm before precision is lowered, or after.

Runtimes make it scale x + shift, and fold that into the convolution in front where there is one. `settle_batchnorms`
does it in full precision before anything is rounded, as TensorRT's parser does; with a format as OpenVINO's CPU plugin
does it in fp16: weights, statistics and epsilon are rounded first, and so is each step of the arithmetic on them. A
variance that vanishes in the format then makes the scale infinite, as it really does there.

A BatchNorm in training mode normalises by the mean and variance of what it reads; it is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.emulated.formats import FORMATS, Format, constant
from engines.emulated.graph import array_of, nodes_of, stand_in

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["Settled", "is_training", "settle_batchnorms", "settle_together"]

_OUTPUT_AXIS = {"Conv": 0, "ConvTranspose": 1}  # of the weights
Floats = NDArray[Any]
_FULL = replace(FORMATS["fp16"], name="fp32", array=lambda values: values.astype(np.float32))  # for weights only


def settle_batchnorms(model: ir.Model, form: Format | None = None) -> None:
    """Give every BatchNorm with constant parameters mean 0 and variance 1, or fold it away, in place.

    Args:
        model: the graph; without `form`, those behind convolutions are taken to be folded already.
        form: compute in this format, and fold into convolutions too.
    """
    for node, graph, parameters, epsilon in _foldable(model):
        if form is None:
            _scale_and_shift(node, graph, *_in_float64(parameters, epsilon))
        elif product := _product_in_front(node):
            _fold_into(product, node, graph, parameters, epsilon, form)
        else:
            _scale_and_shift(node, graph, *_in_format(parameters, epsilon, form))


@dataclass(frozen=True)
class Settled:
    """A BatchNorm that was folded or became a scale and a shift.

    Attributes:
        node: what computes its result now.
        result: what the BatchNorm gave.
        value: what gives that now: the product's own value, or `result`.
        constants: its new constants.
    """

    node: ir.Node
    result: ir.Value
    value: ir.Value
    constants: tuple[ir.Value, ...]


def settle_together(model: ir.Model, together: Callable[[ir.Node, ir.Node], bool]) -> list[Settled]:
    """Fold every BatchNorm, in full precision, into the product in front that `together(product, norm)` names.

    Any other becomes a scale and a shift.
    """
    done = []
    for node, graph, parameters, epsilon in _foldable(model):
        result, product = node.outputs[0], _product_in_front(node)
        if product is not None and together(product, node):
            _fold_into(product, node, graph, parameters, epsilon, _FULL)
            done.append(Settled(product, result, product.outputs[0], _values(product.inputs[1:3])))
        else:
            _scale_and_shift(node, graph, *_in_float64(parameters, epsilon))
            done.append(Settled(node, result, result, _values(node.inputs[1:3])))
    return done


def _values(values: Sequence[ir.Value | None]) -> tuple[ir.Value, ...]:
    return tuple(value for value in values if value is not None)


def _foldable(model: ir.Model) -> Iterator[tuple[ir.Node, ir.Graph, list[Floats], float]]:
    """BatchNorms of constant parameters: node, its graph, parameters, epsilon."""
    for node in nodes_of(model):
        if node.op_type != "BatchNormalization" or node.domain or node.graph is None or is_training(node):
            continue
        parameters = [array for value in node.inputs[1:5] if (array := array_of(value)) is not None]
        if len(parameters) == 4:
            epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
            yield node, node.graph, parameters, epsilon


def is_training(node: ir.Node) -> bool:
    """Whether a BatchNormalization ignores its mean and variance; before opset 14 its further outputs say so."""
    return bool(node.attributes.get_int("training_mode", 0)) or any(value.name for value in node.outputs[1:])


def _in_float64(parameters: list[Floats], epsilon: float) -> tuple[Floats, Floats]:
    """(scale, shift)."""
    scale, shift, mean, variance = (array.astype(np.float64) for array in parameters)
    factor = scale / np.sqrt(variance + epsilon)
    return factor, shift - mean * factor


def _in_format(
    parameters: list[Floats], epsilon: float, form: Format, bias: Floats | None = None
) -> tuple[Floats, Floats]:
    """(scale, shift) of what has no bias yet, every number of which is rounded; the mean is taken off the bias first.

    fp32 has more than twice the digits of fp16 and bf16, so rounding its results gives the format's own arithmetic.
    """
    low, tiny = form.array, form.array(np.array([epsilon], np.float32))
    scale, shift, mean, variance = (low(array.astype(np.float32)) for array in parameters)
    offset = np.zeros_like(mean) if bias is None else low(bias.astype(np.float32))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factor = low(scale / low(np.sqrt(low(variance + tiny))))
        return factor, low(low(low(offset - mean) * factor) + shift)


def _scale_and_shift(node: ir.Node, graph: ir.Graph, scale: Floats, shift: Floats) -> None:
    """BatchNorm as itself with mean 0 and variance 1."""
    import onnx_ir as ir

    arrays = {"scale": scale, "shift": shift, "mean": np.zeros_like(scale), "variance": np.ones_like(scale)}
    for index, (key, array) in enumerate(arrays.items(), 1):
        node.replace_input_with(index, constant(graph, array.astype(np.float32), f"{node.outputs[0].name}.{key}"))
    node.attributes["epsilon"] = ir.AttrFloat32("epsilon", 0.0)


def _product_in_front(node: ir.Node) -> ir.Node | None:
    """The convolution of constants whose result only this BatchNorm reads."""
    value = node.inputs[0]
    product = value.producer() if value is not None else None
    if value is None or product is None or product.op_type not in _OUTPUT_AXIS or product.domain:
        return None
    constants = all(array_of(operand) is not None for operand in product.inputs[1:] if operand is not None)
    grouped = product.op_type == "ConvTranspose" and product.attributes.get_int("group", 1) != 1
    shared = len(list(value.uses())) != 1 or value.is_graph_output() or product.graph is not node.graph
    return product if constants and not grouped and not shared else None


def _fold_into(
    product: ir.Node, node: ir.Node, graph: ir.Graph, parameters: list[Floats], epsilon: float, form: Format
) -> None:
    """Fold BatchNorm into the convolution in front, and take it out of the graph."""
    weights, bias = array_of(product.inputs[1]), array_of(product.inputs[2]) if len(product.inputs) > 2 else None
    assert weights is not None
    scale, shift = _in_format(parameters, epsilon, form, bias)
    spread = np.expand_dims(scale, [axis for axis in range(weights.ndim) if axis != _OUTPUT_AXIS[product.op_type]])
    with np.errstate(invalid="ignore", over="ignore"):
        weights = form.array(form.array(weights.astype(np.float32)) * spread)
    product.resize_inputs(3)
    product.replace_input_with(1, constant(graph, weights, f"{node.outputs[0].name}.weights"))
    product.replace_input_with(2, constant(graph, shift, f"{node.outputs[0].name}.shift"))
    result, value = node.outputs[0], product.outputs[0]
    value.type, value.shape = result.type, result.shape
    if result.is_graph_output():
        stand_in(result, value)
    result.replace_all_uses_with(value)
    graph.remove(node, safe=True)
