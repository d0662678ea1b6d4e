"""Operators that TensorRT or OpenVINO does not have, has with restrictions that this graph breaks, or lacks in fp16.

Source: the operator support matrix of NVIDIA's ONNX parser (github.com/onnx/onnx-tensorrt, docs/operators.md) for
TensorRT 8.5, with what its changelog adds for 8.6, and for 10.15; opsets 9 to 17 and 9 to 24. A version in between may
have more than 8.6; the parser itself has the last word (trt engines report it with node names). What OpenVINO refuses
was tried with 2026.4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engines.inspect.graph import Graph, Node

__all__ = ["NEW_10", "OLD_8", "OperatorGap", "operator_gaps", "opset_gap"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OLD_8 = _words(
    """Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip
    Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout Einsum
    Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gemm GlobalAveragePool
    GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Identity If
    ImageScaler InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax
    Loop LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg NonMaxSuppression
    NonZero Not OneHot Or PRelu Pad ParametricSoftplus Pow QuantizeLinear RNN RandomNormal RandomNormalLike
    RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
    ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round
    ScaledTanh Scan Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax
    Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu
    Unsqueeze Upsample Where Xor"""
)
NEW_10 = OLD_8 | _words(
    """Attention BlackmanWindow CastLike DeformConv Gelu HammingWindow HannWindow Hardmax Mish RMSNormalization
    RotaryEmbedding STFT TensorScatter"""
)
WITHOUT_FP16 = frozenset({"STFT"})
NEWEST_OPSET_8 = 17  # that TensorRT 8.6 reads
REDUCING = _words(
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum"
) | {"ReduceSumSquare"}
UNKNOWN_COORDINATES = ("tf_crop_and_resize", "half_pixel_symmetric")  # to TensorRT, and to OpenVINO 2026.4


@dataclass(frozen=True, slots=True)
class OperatorGap:
    """An operator of the graph that an engine lacks.

    Attributes:
        op: with its domain, if it has one: `domain::Op`.
        nodes: that use it so.
        lacking: what lacks it: `TensorRT`, `TensorRT 8.6`, `OpenVINO`, `fp16`.
        why: the fact, to be read after the operator's name.
        custom: of another domain, so that a plugin may have it.
    """

    op: str
    nodes: tuple[str, ...]
    lacking: str
    why: str
    custom: bool = False


def operator_gaps(graph: Graph) -> list[OperatorGap]:
    """Gaps, each once with all its nodes, in the order of their first nodes."""
    nodes: dict[tuple[str, str, str, bool], list[str]] = {}
    for node in graph.nodes:
        for lacking, why, custom in _gaps(graph, node):
            op = f"{node.domain}::{node.op}" if node.domain else node.op
            nodes.setdefault((op, lacking, why, custom), []).append(node.name)
    return [OperatorGap(op, tuple(names), lacking, why, custom) for (op, lacking, why, custom), names in nodes.items()]


def _gaps(graph: Graph, node: Node) -> list[tuple[str, str, bool]]:
    if node.domain:
        return [("TensorRT", "is a custom operator", True)]
    if node.op not in NEW_10:
        return [("TensorRT", "is not in its parser's support matrix", False)]
    gaps = []
    if node.op not in OLD_8:
        gaps.append(("TensorRT 8.6", "came with a later version", False))
    if node.op in WITHOUT_FP16:
        gaps.append(("fp16", "is computed in fp32 only", False))
    why = RESTRICTIONS[node.op](graph, node) if node.op in RESTRICTIONS else ""
    gaps += [("TensorRT", why, False)] if why else []
    if node.op == "Resize" and (how := _coordinates(node)) in UNKNOWN_COORDINATES:
        gaps.append(("OpenVINO", f"has coordinate_transformation_mode {how}, which is not supported", False))
    return gaps


def opset_gap(graph: Graph) -> str:
    """What TensorRT 8.6 makes of an opset above the newest it reads; empty where it reads it."""
    if graph.opset <= NEWEST_OPSET_8:
        return ""
    wrong = sorted(
        {n.op for n in graph.nodes if not n.domain and n.op in REDUCING - {"ReduceSum"} and len(n.inputs) > 1}
    )
    misread = f", and does not see the axes of {', '.join(wrong)}, which are an input there (NVIDIA/TensorRT #3467)"
    return f"TensorRT 8.6 reads opset {NEWEST_OPSET_8} and older{misread if wrong else ''}"


def _coordinates(node: Node) -> str:
    return _text(node, "coordinate_transformation_mode", "half_pixel")


def _resize(graph: Graph, node: Node) -> str:
    if _text(node, "mode", "nearest") == "cubic":
        return "has mode cubic; nearest and linear are supported"
    if (how := _coordinates(node)) in UNKNOWN_COORDINATES:
        return f"has coordinate_transformation_mode {how}, which is not supported"
    if (policy := _text(node, "keep_aspect_ratio_policy", "stretch")) != "stretch":
        return f"has keep_aspect_ratio_policy {policy}; stretch is supported"
    return "is antialiased, which is not supported" if node.attributes.get("antialias") else ""


def _max_pool(graph: Graph, node: Node) -> str:
    used = len(node.outputs) > 1 and (node.outputs[1] in graph.readers or node.outputs[1] in graph.outputs)
    return "gives indices that are used, which is not supported" if used else _pool(graph, node)


def _pool(graph: Graph, node: Node) -> str:
    dilated = any(d != 1 for d in node.attributes.get("dilations", ()))
    return "is dilated, which is not supported" if dilated else ""


def _scatter_nd(graph: Graph, node: Node) -> str:
    reduction = _text(node, "reduction", "none")
    return "" if reduction == "none" else f"has reduction {reduction}, which is not supported"


def _top_k(graph: Graph, node: Node) -> str:
    count = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if not node.attributes.get("sorted", 1):
        return "is not sorted, which is not supported"
    return "keeps 3840 or more, which is not supported" if count is not None and (count >= 3840).any() else ""


def _reduce(graph: Graph, node: Node) -> str:
    computed = len(node.inputs) > 1 and node.inputs[1] and node.inputs[1] not in graph.constants
    return "has axes that are computed, which must be constant" if computed else ""


def _layer_norm(graph: Graph, node: Node) -> str:
    used = any(name in graph.readers or name in graph.outputs for name in node.outputs[1:] if name)
    return "gives mean or deviation that is used, which is not supported" if used else ""


def _lstm(graph: Graph, node: Node) -> str:
    odd = next((name for name in ("input_forget", "layout") if node.attributes.get(name)), None)
    return f"has {odd} = {node.attributes[odd]}, must be 0" if odd else ""


def _text(node: Node, name: str, default: str) -> str:
    value = node.attributes.get(name, default)
    return value.decode() if isinstance(value, bytes) else str(value)


RESTRICTIONS: Mapping[str, Callable[[Graph, Node], str]] = {
    "Resize": _resize,
    "MaxPool": _max_pool,
    "AveragePool": _pool,
    "LpPool": _pool,
    "ScatterND": _scatter_nd,
    "TopK": _top_k,
    "LSTM": _lstm,
    "LayerNormalization": _layer_norm,
    **dict.fromkeys(REDUCING, _reduce),
}
