"""Small graphs, one or more for every operator family that lane models use, each with TensorRT's right answer.

The answer is `builds`, or a piece of the one line that says why not and at which ONNX node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.parser import parse_model

BUILDS = ""
X = "float[1,3,8,12] x"


@dataclass(frozen=True)
class Specimen:
    """A graph, and what TensorRT for RTX makes of it.

    Attributes:
        family: the operator, and how.
        model: the graph; dynamic dimensions are called n.
        reason: piece of the error, empty where it builds.
        kernels: the fewest kernels of its plan.
    """

    family: str
    model: ModelProto
    reason: str = BUILDS
    kernels: int = 1


def _graph(body: str, opset: int = 17, domain: str = "") -> ModelProto:
    imports = f'"": {opset}' + (f', "{domain}": 1' if domain else "")
    ir_version = 4 if opset < 13 else 8 if opset < 19 else 10 if opset < 23 else 11
    return parse_model(f"<ir_version: {ir_version}, opset_import: [{imports}]>\nzoo {body}")


def weights(*shape: int, seed: int = 0) -> str:
    """Numbers of a constant, for the text of a graph."""
    random = np.random.default_rng(seed)
    return "{" + ",".join(f"{number:.3f}" for number in random.standard_normal(int(np.prod(shape))) * 0.3) + "}"


W = f"float[4,3,3,3] w = {weights(4, 3, 3, 3)}"
CONV = "[conv] y = Conv<pads=[1,1,1,1]>(x, w)"


def _resizes() -> Iterator[Specimen]:
    """Every mode with every way to place pixels."""
    for mode in ("nearest", "linear", "cubic"):
        for place in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "tf_crop_and_resize"):
            crops = place == "tf_crop_and_resize"
            constants = "<float[8] roi = {0,0,0,0,1,1,1,1}, float[4] s = {1,1,2,2}>"
            call = f'Resize<mode="{mode}", coordinate_transformation_mode="{place}">(x, {"roi" if crops else ""}, s)'
            graph = _graph(f"({X}) => (float[1,3,16,24] y) {constants} {{ [resize] y = {call} }}")
            yield Specimen(f"Resize {mode} {place}", graph, "node 'resize' (Resize)" if crops else BUILDS)


def _samplers() -> Iterator[Specimen]:
    for mode in ("bilinear", "nearest", "bicubic"):
        body = f'({X}, float[1,5,6,2] g) => (float[1,3,5,6] y) {{ [sample] y = GridSample<mode="{mode}">(x, g) }}'
        yield Specimen(f"GridSample {mode}", _graph(body))


def _scatters() -> Iterator[Specimen]:
    for reduction, reason in (("none", BUILDS), ("add", "node 'scatter' (ScatterND): ")):
        call = f'[scatter] y = ScatterND<reduction="{reduction}">(x, i, u)'
        body = f"(float[8,4] x, int64[2,1] i, float[2,4] u) => (float[8,4] y) {{ {call} }}"
        yield Specimen(f"ScatterND {reduction}", _graph(body, 18), reason)


def _recurrent() -> Iterator[Specimen]:
    for operator, gates in (("GRU", 3), ("LSTM", 4)):
        constants = (
            f"float[1,{gates * 2},3] w = {weights(gates * 2, 3)}, float[1,{gates * 2},2] r = {weights(gates * 2, 2)}"
        )
        call = f"[cell] y, h = {operator}<hidden_size=2>(x, w, r)"
        yield Specimen(
            operator, _graph(f"(float[2,1,3] x) => (float[2,1,1,2] y) <{constants}> {{ {call} }}"), kernels=3
        )


def _attention() -> Iterator[Specimen]:
    io = "(float[1,2,6,8] q, float[1,2,{k}] k, float[1,2,6,8] v) => (float[1,2,6,8] y)"
    steps = "[qk] a = MatMul(q, k) [scale] b = Mul(a, s) [soft] c = Softmax<axis=-1>(b) [pv] y = MatMul(c, v)"
    yield Specimen(
        "attention spelled out", _graph(io.format(k="8,6") + f" <float s = {{0.35}}> {{ {steps} }}"), kernels=2
    )
    fused = io.format(k="6,8") + " { [attention] y = Attention(q, k, v) }"
    yield Specimen("Attention", _graph(fused, 23), "node 'attention' (Attention): ")


def _plugins() -> Iterator[Specimen]:
    deform = f"({X}, float[1,18,6,10] o) => (float[1,4,6,10] y) <{W}> {{ [deform] y = DeformConv(x, w, o) }}"
    yield Specimen("DeformConv", _graph(deform, 19), "node 'deform' (DeformConv): ")
    own = f"({X}) => (float[1,3,8,12] y) {{ [dcn] y = acme.ModulatedDeformConv(x) }}"
    yield Specimen("an operator of others", _graph(own, domain="acme"), "node 'dcn' (ModulatedDeformConv): ")
    sizes = "<int64 m = {5}, float iou = {0.5}, float least = {0.1}>"
    call = "[nms] y = NonMaxSuppression(b, s, m, iou, least)"
    nms = f"(float[1,10,4] b, float[1,1,10] s) => (int64[n,3] y) {sizes} {{ {call} }}"
    yield Specimen("NonMaxSuppression", _graph(nms), "node 'nms' (NonMaxSuppression): ")


def _control_flow() -> Iterator[Specimen]:
    then = "then_branch = t () => (float[1,4] a) { [then_relu] a = Relu(x) }"
    other = "else_branch = e () => (float[1,4] b) { [else_exp] b = Exp(x) }"
    body = f"(bool c, float[1,4] x) => (float[1,4] y) {{ [branch] y = If(c) <{then}, {other}> }}"
    yield Specimen("If", _graph(body), kernels=3)
    steps = "[keep] ko = Identity(k) [step] so = Sin(s)"
    inner = f"body = b (int64 i, bool k, float[1,4] s) => (bool ko, float[1,4] so) {{ {steps} }}"
    loop = (
        f"(float[1,4] x) => (float[1,4] y) <int64 t = {{3}}, bool k = {{1}}> {{ [loop] y = Loop(t, k, x) <{inner}> }}"
    )
    yield Specimen("Loop", _graph(loop), kernels=3)


def _quantised() -> Specimen:
    constants = f"<{W}, float s = {{0.05}}, int8 z = {{0}}>"
    steps = (
        "[q] a = QuantizeLinear(x, s, z) [dq] b = DequantizeLinear(a, s, z) [qw] c = QuantizeLinear(w, s, z) "
        "[dqw] d = DequantizeLinear(c, s, z) [conv] y = Conv<pads=[1,1,1,1]>(b, d)"
    )
    return Specimen("Q/DQ", _graph(f"({X}) => (float[1,4,8,12] y) {constants} {{ {steps} }}"), kernels=2)


def brackets() -> ModelProto:
    """Node names that hold what separates names in the plan."""
    steps = "a = Conv<pads=[1,1,1,1]>(x, w) y = Sin(a)"
    model = _graph(f"({X}) => (float[1,4,8,12] y) <{W}> {{ {steps} }}")
    model.graph.node[0].name = "head[0]][ONNX Layer: x]/Conv"
    model.graph.node[1].name = "a, LayerType: b], Outputs: [ { Name: c"
    return model


def unnamed() -> ModelProto:
    return _graph("(float[1,4] x) => (float[1,4] y) { y = Sin(x) }")


def dynamic() -> ModelProto:
    return _graph(f"(float[n,3,8,12] x) => (float[n,4,8,12] y) <{W}> {{ {CONV} }}")


def typed_deconvolution(kind: int) -> ModelProto:
    """A transposed convolution in a 16-bit type, input and output fp32."""
    numbers = np.random.default_rng(0).standard_normal(48).tolist()
    nodes = [
        helper.make_node("Cast", ["x"], ["low"], name="down", to=kind),
        helper.make_node("ConvTranspose", ["low", "w"], ["raw"], name="up", strides=[2, 2]),
        helper.make_node("Cast", ["raw"], ["y"], name="widen", to=TensorProto.FLOAT),
    ]
    floats = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 4, 8, 12]), ("y", [1, 3, 16, 24]))
    ]
    graph = helper.make_graph(
        nodes, "zoo", floats[:1], floats[1:], [helper.make_tensor("w", kind, [4, 3, 2, 2], numbers)]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def external(size: int) -> ModelProto:
    """A convolution's bias of so many numbers, to be kept in a file of its own."""
    model = _graph(f"(float[1,{size}] x) => (float[1,{size}] y) {{ [add] y = Add(x, b) }}")
    model.graph.initializer.append(numpy_helper.from_array(np.ones((1, size), np.float32), "b"))
    return model


def zoo() -> list[Specimen]:
    """All of them."""
    up = "[up] y = ConvTranspose<strides=[2,2]>(x, w)"
    einsum = '[einsum] y = Einsum<equation="bij,bjk->bik">(a, b)'
    deconv = f"float[4,3,2,2] w = {weights(4, 3, 2, 2)}"
    norm = "<float[8] s = {1,1,1,1,1,1,1,1}, float[8] b = {0,0,0,0,0,0,0,0}>"
    indices = _graph("(float[8,4] x, int64[3] i) => (float[3,4] y) { [gather] y = Gather(x, i) }")
    return [
        Specimen(
            "ConvTranspose",
            _graph(f"(float[1,4,8,12] x) => (float[1,3,16,24] y) <{deconv}> {{ {up} }}"),
        ),
        *_resizes(),
        *_samplers(),
        *_scatters(),
        Specimen(
            "TopK",
            _graph("(float[2,16] x) => (float[2,4] v, int64[2,4] i) <int64[1] k = {4}> { [top] v, i = TopK(x, k) }"),
        ),
        Specimen(
            "Einsum",
            _graph(f"(float[2,3,4] a, float[2,4,5] b) => (float[2,3,5] y) {{ {einsum} }}"),
        ),
        Specimen(
            "LayerNormalization",
            _graph(f"(float[2,6,8] x) => (float[2,6,8] y) {norm} {{ [norm] y = LayerNormalization(x, s, b) }}"),
        ),
        *_recurrent(),
        *_attention(),
        *_plugins(),
        *_control_flow(),
        Specimen("int64 indices", indices),
        Specimen(
            "NonZero", _graph("(float[4,4] x) => (int64[2,n] y) { [where] y = NonZero(x) }"), "node 'where' (NonZero): "
        ),
        _quantised(),
        Specimen("dynamic batch", dynamic()),
        Specimen(
            "text", _graph("(string[1,4] x) => (string[1,4] y) { [pass] y = Identity(x) }"), "Failed to convert ONNX"
        ),
        *(
            Specimen(f"Conv, opset {n}", _graph(f"({X}) => (float[1,4,8,12] y) <{W}> {{ {CONV} }}", n))
            for n in range(9, 24)
        ),
    ]
