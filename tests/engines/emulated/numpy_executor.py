"""An independent executor of ONNX graphs: one node after another, in NumPy, rounding by arithmetic on exponents.

It shares no code with `engines.emulated`: nodes are computed by the `onnx` package's reference operators, sums of
products in float64, and numbers are rounded by `frexp` and integer rounding of the significand.
"""

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

Array = np.ndarray
Rounding = Callable[[Array], Array]
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
POINTWISE = ("Add", "Sub", "Mul", "Div", "Relu", "PRelu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Sqrt", "Abs", "Neg",
             "Max", "Min")  # fmt: skip


def significand(values: Array, bits: int, lowest_exponent: int, how: str) -> Array:
    """Numbers of `bits` significant bits (the leading one counted), with gradual underflow; exact in float64."""
    wide = np.asarray(values, np.float64)
    _, exponent = np.frexp(wide)
    unit = np.ldexp(1.0, np.maximum(exponent - bits, lowest_exponent))
    with np.errstate(invalid="ignore"):
        steps = wide / unit
        whole = {
            "even": np.rint,
            "away": lambda s: np.copysign(np.floor(np.abs(s) + 0.5), s),
            "zero": np.trunc,
        }[how](steps)
        return np.where(np.isfinite(wide), whole * unit, wide)


def fp16(values: Array) -> Array:
    rounded = significand(values, 11, -24, "even")
    return np.where(np.abs(rounded) > 65504, np.copysign(np.inf, rounded), rounded).astype(np.float32)


def bf16(values: Array) -> Array:
    with np.errstate(over="ignore"):
        return significand(values, 8, -133, "even").astype(np.float32)


def tf32(how: str) -> Rounding:
    names = {"rne": "even", "rna": "away", "rz": "zero"}

    def rounding(values: Array) -> Array:
        with np.errstate(over="ignore"):
            return significand(values, 11, -136, names[how]).astype(np.float32)

    return rounding


def execute(
    path: Path,
    feeds: dict[str, Array],
    store: Rounding | None = None,
    operand: Rounding | None = None,
    *,
    fused: bool = False,
    sizes: Collection[str] = (),
    look: Callable[[Array], object] = lambda array: None,
) -> dict[str, Array]:
    """Run a model.

    Args:
        path: ONNX file.
        feeds: its inputs.
        store: applied to every fp32 tensor: inputs, weights, results; None where the file's types say all.
        operand: applied to the two operands of each product.
        fused: a result that only one pointwise operator reads is not stored.
        sizes: tensors that are sizes, and never rounded.
        look: sees every result before the next node reads it.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    typed = {v.name: v.type.tensor_type.elem_type for v in [*graph.input, *graph.value_info, *graph.output]}
    readers = {name: [n for n in graph.node if name in n.input] for n in graph.node for name in n.output}
    outputs = [v.name for v in graph.output]

    def kept(name: str, array: Array) -> Array:
        """As stored under its name: fp16 and bf16 tensors are carried in float32."""
        array = np.asarray(array)
        if array.dtype == np.float64 and typed.get(name) != TensorProto.DOUBLE:
            array = array.astype(np.float32)
        if typed.get(name) == TensorProto.FLOAT16 or array.dtype == np.float16:
            return fp16(array)
        if typed.get(name) == TensorProto.BFLOAT16:
            return bf16(array)
        if store is not None and array.dtype == np.float32 and name not in sizes:
            return store(array)
        return array

    def in_registers(node: onnx.NodeProto) -> bool:
        readers_of = readers[node.output[0]]
        return (
            fused
            and node.output[0] not in outputs
            and len(readers_of) == 1
            and list(readers_of[0].input).count(node.output[0]) == 1
            and readers_of[0].op_type in POINTWISE
            and node.op_type in (*PRODUCTS, *POINTWISE)
        )

    values = {t.name: kept(t.name, onnx.numpy_helper.to_array(t)) for t in graph.initializer}
    values |= {name: kept(name, array) for name, array in feeds.items()}
    for node in graph.node:
        inputs = [values[name] if name else None for name in node.input]
        if operand is not None and node.op_type in PRODUCTS:
            inputs[:2] = [operand(array) for array in inputs[:2]]
        for name, array in zip(node.output, compute(node, inputs, model), strict=False):
            values[name] = np.asarray(array, np.float32) if in_registers(node) else kept(name, array)
            look(values[name])
    return {name: values[name] for name in outputs}


def compute(node: onnx.NodeProto, inputs: list[Array | None], model: onnx.ModelProto) -> list[Array]:
    """One node by the reference operators; products in float64, casts between floats left to the storing."""
    if node.op_type == "Cast" and inputs[0].dtype == np.float32:
        to = helper.get_node_attr_value(node, "to")
        if to in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16):
            return [inputs[0]]
    wide = node.op_type in PRODUCTS
    fed = {n: (a.astype(np.float64) if wide else a) for n, a in zip(node.input, inputs, strict=True) if n}
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), None) for n, a in fed.items()]
    results = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for attribute in copy.attribute:
        if attribute.name == "to" and attribute.i in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
            attribute.i = TensorProto.FLOAT
    one = helper.make_model(helper.make_graph([copy], "one", infos, results), opset_imports=list(model.opset_import))
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(one).run(None, fed)
