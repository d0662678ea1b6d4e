"""TF32: operands of products are rounded, everything else is fp32.

Tensor cores multiply 11-bit significands exactly and add in fp32, so rounding the two operands of Conv, ConvTranspose,
MatMul and Gemm is all there is to TF32 but for the order of additions. A value is rounded once for all its products;
its other consumers see the fp32 one.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

from engines.emulated.formats import Format
from engines.emulated.graph import array_of, insert_rounding, nodes_of, rounded_constant
from engines.emulated.ops import PRODUCTS

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["round_operands"]


def round_operands(
    model: ir.Model, form: Format, settled: Container[ir.Value] = (), halves: Container[str] = ()
) -> int:
    """Round the operands of every product; returns how many values are rounded while it runs.

    Args:
        model: changed in place.
        form: one of the TF32 formats.
        settled: values of a narrower format, which are left alone.
        halves: names of products that the file types fp16 or bf16, to which TF32 does not apply.
    """
    import onnx_ir as ir

    rounded: dict[ir.Value, ir.Value] = {}
    for node in nodes_of(model):
        if node.op_type not in PRODUCTS or node.domain or node.name in halves:
            continue
        for index, value in enumerate(node.inputs[:2]):
            if value is None or value.dtype != ir.DataType.FLOAT or value in settled:
                continue
            if array_of(value) is not None:
                node.replace_input_with(index, rounded_constant(value, form))
                continue
            if value not in rounded:
                rounded[value] = insert_rounding(model, value, form)
            node.replace_input_with(index, rounded[value])
    return len(rounded)
