"""Half precision and int8: reports 05, 07, 08, 28 and 34."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto

from tests.reports.arithmetic import HALF_MAX, Offsets, lateral, offsets, pooled
from tests.reports.cards import write_card
from tests.reports.graphs import Graph
from tests.reports.networks import write_network
from tests.reports.rights import Blamed, Checked, Clean, Measured, Silent, Unchecked
from tests.reports.roads import road, write_tensors
from tests.reports.trial import Trial
from tests.reports.variant import Variant

__all__ = ["MAKERS"]

ORT = ("torch-fp32", "ort-fp32-none", "ort-fp32")
HALF = "deploy/emulated-fp16"

SCALED = """
class Net(nn.Module):
    def __init__(self, count, width, metres, gain, sharp, kind):
        super().__init__()
        self.gain, self.kind, self.head = gain, kind, Head(count, width, metres, sharp)

    def forward(self, image):
        rows = F.avg_pool2d(image, (2, 1)) * self.gain
        if self.kind == "layer":
            return self.head(F.layer_norm(rows, rows.shape[-1:]))
        return self.head(F.normalize(rows, dim=-1))


def build(**args):
    return Net(**args).eval()
"""


def _layer_norm(folder: Path, v: Variant) -> tuple[float, Offsets]:
    """Writes recording and network; returns the gain, and how far the lines move where squares overflow."""
    frames = road(v)
    write_tensors(folder / "drives", v, frames)
    write_network(folder, v.module, SCALED)
    gain, sharp = 700.0 + 50 * (v.seed % 5), 2.0
    rows = pooled(frames[:, 0].astype(float)) * gain
    off = rows - rows.mean(-1, keepdims=True)
    normed = off / np.sqrt((off**2).mean(-1, keepdims=True) + 1e-5)
    overflows = (off**2 > HALF_MAX).any(-1)  # of each channel; the head means over three
    mixed = np.where(overflows[..., None], 0, normed)
    args = {"count": v.count, "width": v.width, "metres": v.metres, "gain": gain, "sharp": sharp, "kind": "layer"}
    write_card(folder, v, args=args, onnx="net.onnx")
    return gain, offsets(v, lateral(v, normed, sharp) - lateral(v, mixed, sharp))


def layer_norm_spelled_out(folder: Path, v: Variant) -> Trial:
    """05: LayerNorm as opset 16 spells it: the square overflows fp16, the variance is infinite, the rows are 0."""
    gain, sizes = _layer_norm(folder, v)
    graph = Graph(v)
    rows = graph.node("Mul", graph.rows(v.image), graph.const(gain))
    off = graph.node("Sub", rows, graph.mean(rows, -1))
    power = f"/norm_{v.seed}/Pow"
    variance = graph.mean(graph.node("Pow", off, graph.const(2.0), name=power), -1)
    root = graph.node("Sqrt", graph.node("Add", variance, graph.const(1e-5)))
    graph.save(folder / "net.onnx", graph.head(graph.node("Div", off, root), 2.0))
    rights = (
        Clean(),
        Measured(HALF, sizes),
        Blamed(HALF, "numerics", ("precision:fp16",), sizes=sizes, words=("fp16",)),
        Checked((power, "infinite in fp16")),
    )
    return Trial(folder, (*ORT, "emulated-fp16"), rights)


def layer_norm_node(folder: Path, v: Variant) -> Trial:
    """05: the same as one LayerNormalization node: a kernel that squares in fp16 loses the lines."""
    gain, sizes = _layer_norm(folder, v)
    graph = Graph(v)
    rows = graph.node("Mul", graph.rows(v.image), graph.const(gain))
    name = f"norm_{v.seed}"
    one = graph.const(np.ones(v.width))
    graph.save(folder / "net.onnx", graph.head(graph.node("LayerNormalization", rows, one, name=name, axis=-1), 2.0))
    return _composite(folder, "LayerNormalization", name, sizes)


def _composite(folder: Path, op: str, name: str, sizes: Offsets) -> Trial:
    """One node that sums inside: nothing moves where a kernel sums in fp32; in fp16 it is as if it were spelled out."""
    inside = f"{HALF}:inside"
    rights = (
        Clean(),
        Measured(HALF, 0.0, atol=0.05),
        Measured(inside, sizes),
        Blamed(inside, "numerics", ("precision:fp16:inside", "precision:fp16"), sizes=sizes, words=("fp16", "inside")),
        Checked((name, op, "inside", "65504")),
    )
    return Trial(folder, (*ORT, "emulated-fp16", "emulated-fp16:inside"), rights)


def _normalise(folder: Path, v: Variant) -> tuple[float, float, Offsets]:
    """Writes recording and network; returns gain, sharpness and how far the lines move."""
    frames = road(v)
    write_tensors(folder / "drives", v, frames)
    write_network(folder, v.module, SCALED)
    gain, sharp = 220.0, 20.0
    rows = pooled(frames[:, 0].astype(float)) * gain
    squares = (rows**2).sum(-1, keepdims=True)
    normed = rows / np.sqrt(squares)
    mixed = np.where(squares > HALF_MAX, 0, normed)
    args = {"count": v.count, "width": v.width, "metres": v.metres, "gain": gain, "sharp": sharp, "kind": "l2"}
    write_card(folder, v, args=args, onnx="net.onnx")
    return gain, sharp, offsets(v, lateral(v, normed, sharp) - lateral(v, mixed, sharp))


def l2_norm_spelled_out(folder: Path, v: Variant) -> Trial:
    """07: L2 normalisation spelled out: every square fits fp16, their sum does not."""
    gain, sharp, sizes = _normalise(folder, v)
    graph = Graph(v)
    rows = graph.node("Mul", graph.rows(v.image), graph.const(gain))
    name = f"squares_{v.seed}"
    total = graph.node("ReduceSum", graph.node("Mul", rows, rows), graph.const([-1], np.int64), name=name, keepdims=1)
    graph.save(folder / "net.onnx", graph.head(graph.node("Div", rows, graph.node("Sqrt", total)), sharp))
    rights = (
        Clean(),
        Measured(HALF, sizes),
        Blamed(HALF, "numerics", ("precision:fp16",), sizes=sizes, words=("fp16",)),
        Checked((name, "infinite in fp16")),
    )
    return Trial(folder, (*ORT, "emulated-fp16"), rights)


def l2_norm_node(folder: Path, v: Variant) -> Trial:
    """07: the same as one ReduceL2 node."""
    gain, sharp, sizes = _normalise(folder, v)
    graph = Graph(v)
    rows = graph.node("Mul", graph.rows(v.image), graph.const(gain))
    name = f"length_{v.seed}"
    length = graph.node("ReduceL2", rows, name=name, axes=[-1], keepdims=1)
    graph.save(folder / "net.onnx", graph.head(graph.node("Div", rows, length), sharp))
    return _composite(folder, "ReduceL2", name, sizes)


MASKED = """
class Net(nn.Module):
    def __init__(self, count, width, metres, rows, worst, padded):
        super().__init__()
        mask = torch.zeros(rows, rows)
        mask[:, -padded:] = worst
        mask[-1] = worst  # a row that is masked whole: in fp32 its softmax is uniform
        self.register_buffer("mask", mask)
        self.head = Head(count, width, metres, 8.0)

    def forward(self, image):
        rows = F.avg_pool2d(image, (2, 1)).mean(1)
        scores = rows @ rows.transpose(1, 2) + self.mask
        return self.head(rows[:, None]) + 0.5 * (scores.softmax(-1) @ rows).mean()


def build(**args):
    return Net(**args).eval()
"""


def attention_mask(folder: Path, v: Variant) -> Trial:
    """08: a mask constant beyond fp16 becomes -inf, and a row masked whole NaN."""
    write_tensors(folder / "drives", v, road(v))
    write_network(folder, v.module, MASKED)
    worst, padded = (-1e9, -3e5, -1e30)[v.seed % 3], 3
    args = {"count": v.count, "width": v.width, "metres": v.metres, "rows": v.rows, "worst": worst, "padded": padded}
    mask = np.zeros((v.rows, v.rows))
    mask[:, -padded:] = mask[-1] = worst
    graph = Graph(v)
    rows = graph.mean(graph.rows(v.image), 1, keepdims=0)
    scores = graph.node("MatMul", rows, graph.node("Transpose", rows, perm=[0, 2, 1]))
    name, weight = f"mask_{v.seed}_add", f"attention.mask_{v.seed}"
    masked = graph.node("Add", scores, graph.const(mask, name=weight), name=name)
    context = graph.node("MatMul", graph.node("Softmax", masked, axis=-1), rows)
    half = graph.node("Mul", graph.node("ReduceMean", context, keepdims=1), graph.const(0.5))
    wide = graph.node("Unsqueeze", rows, graph.const([1], np.int64))
    graph.save(folder / "net.onnx", graph.node("Add", graph.head(wide, 8.0), half))
    write_card(folder, v, args=args, onnx="net.onnx")
    rights = (
        Clean(),
        Measured(HALF, np.nan),
        Blamed(
            HALF,
            "numerics",
            ("precision:fp16",),
            measure="nonfinite",
            words=("fp16", "finite"),
            also=("deploy/torch-fp16",),
        ),
        Checked((weight, name, "infinite in fp16", "clamp")),
    )
    return Trial(folder, (*ORT, "torch-fp16", "emulated-fp16"), rights)


PLAIN = """
class Net(nn.Module):
    def __init__(self, count, width, metres, sharp):
        super().__init__()
        self.head = Head(count, width, metres, sharp)

    def forward(self, image):
        return self.head(F.avg_pool2d(image, (2, 1)))


def build(**args):
    return Net(**args).eval()
"""


def quantised(folder: Path, v: Variant) -> Trial:
    """28: QuantizeLinear and DequantizeLinear with a coarse scale: the file itself is not the network any more."""
    frames = road(v)
    write_tensors(folder / "drives", v, frames)
    write_network(folder, v.module, PLAIN)
    scale, sharp = np.float32(0.65 + 0.05 * (v.seed % 3)), 8.0
    graph = Graph(v)
    zero = graph.const(0, np.int8)
    step = graph.const(scale, name=f"scale_{v.seed}")
    name = f"quantize_{v.seed}"
    coarse = graph.node("QuantizeLinear", v.image, step, zero, name=name)
    graph.save(folder / "int8.onnx", graph.head(graph.rows(graph.node("DequantizeLinear", coarse, step, zero)), sharp))
    args = {"count": v.count, "width": v.width, "metres": v.metres, "sharp": sharp}
    write_card(folder, v, args=args, onnx="int8.onnx")
    images = frames[:, 0].astype(float)
    rounded = np.round(frames[:, 0] / scale).astype(float) * scale
    sizes = offsets(v, lateral(v, pooled(images), sharp) - lateral(v, pooled(rounded), sharp))
    first = "deploy/ort-fp32-none"
    rights = (
        Clean(),
        Measured(first, sizes),
        Blamed(first, "export", ("export",), sizes=sizes, words=("export",)),
        Checked((name, "QuantizeLinear")),
    )
    return Trial(folder, ORT, rights)


def half_island(folder: Path, v: Variant) -> Trial:
    """34: an ONNX file that is fp16 inside: a square overflows, which ONNX Runtime on a CPU hides."""
    write_tensors(folder / "drives", v, road(v))
    write_network(folder, v.module, PLAIN)
    gain = 300.0 + 40 * (v.seed % 4)
    graph = Graph(v)
    name = f"square_{v.seed}"
    half = graph.node("Cast", v.image, to=TensorProto.FLOAT16)
    scaled = graph.node("Mul", half, graph.const(gain, np.float16))
    root = graph.node("Sqrt", graph.node("Mul", scaled, scaled, name=name))
    plain = graph.node("Mul", root, graph.const(1 / gain, np.float16))
    graph.save(folder / "half.onnx", graph.head(graph.rows(graph.node("Cast", plain, to=TensorProto.FLOAT)), 8.0))
    args = {"count": v.count, "width": v.width, "metres": v.metres, "sharp": 8.0}
    write_card(folder, v, args=args, onnx="half.onnx")
    others = ("deploy/emulated-tf32", "deploy/emulated-reorder", "deploy/openvino-fp32", "deploy/ort-fp32")
    rights = (
        Clean(),
        Measured(HALF, np.nan),
        Blamed(HALF, "numerics", ("precision:fp16",), measure="nonfinite", words=("fp16", "finite")),
        Silent(rungs=others),
        Checked((name, "infinite in fp16")),
        Unchecked(("lacks", v.image)),
    )
    engines = (*ORT, "emulated-fp16", "emulated-tf32", "emulated-reorder", "openvino-fp32")
    return Trial(folder, engines, rights)


MAKERS = {
    "05-layer-norm-spelled-out": layer_norm_spelled_out,
    "05-layer-norm-node": layer_norm_node,
    "07-l2-norm-spelled-out": l2_norm_spelled_out,
    "07-l2-norm-node": l2_norm_node,
    "08-attention-mask": attention_mask,
    "28-quantised": quantised,
    "34-half-island": half_island,
}
