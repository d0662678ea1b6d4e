"""The export changed the numbers, or must not have: reports 01, 02, 04, 25, 26 and 39."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from tests.reports.arithmetic import Array, Offsets, largest, lateral, offsets, pooled, shift
from tests.reports.cards import write_card
from tests.reports.graphs import Graph
from tests.reports.networks import write_network
from tests.reports.rights import Blamed, Checked, Clean, Measured, OnlyCase, Silent, Unchecked
from tests.reports.roads import road, road_pictures, write_pictures, write_tensors
from tests.reports.trial import Trial
from tests.reports.variant import Variant

__all__ = ["MAKERS"]

ORT = ("torch-fp32", "ort-fp32-none", "ort-fp32")
FIRST = "deploy/ort-fp32-none"  # where the export shows


def grid_sample(folder: Path, v: Variant) -> Trial:
    """01: a view transform by GridSample of opset 20, which TensorRT 10 and 11 sample with the nearest pixel."""
    _grid_sample_file(folder, v, opset=20, mode="linear")
    words = ("GridSample", "opset 20", "nearest", f"warp_{v.seed}")
    return Trial(folder, (), (Checked(words), Checked(("TensorRT 8.6", "opset 17"))))


def grid_sample_16(folder: Path, v: Variant) -> Trial:
    """01, the other way: opset 16 says `bilinear`, which every TensorRT from 8.5 on understands."""
    _grid_sample_file(folder, v, opset=16, mode="bilinear")
    return Trial(folder, (), (Unchecked(("GridSample", "nearest")),))


def _grid_sample_file(folder: Path, v: Variant, opset: int, mode: str) -> None:
    write_tensors(folder / "drives", v, road(v))
    graph = Graph(v, opset=opset)
    row, column = np.mgrid[-0.95 : 0.95 : v.rows * 1j, -0.98 : 0.98 : v.width * 1j]
    grid = graph.const(np.stack([column * (0.8 + 0.2 * row), row], -1)[None])
    warped = graph.node("GridSample", v.image, grid, name=f"warp_{v.seed}", mode=mode)
    graph.save(folder / "view.onnx", graph.head(warped, 8.0))
    write_card(folder, v, onnx="view.onnx")


CONTEXT = """
class Net(nn.Module):
    def __init__(self, count, width, metres, gain):
        super().__init__()
        self.head, self.gain = Head(count, width, metres, 8.0), gain

    def forward(self, image):
        context = F.interpolate(image, size=(1, 1), mode="bilinear", align_corners=False)
        return self.head(F.avg_pool2d(image, (2, 1))) + self.gain * context.mean((1, 2, 3)).reshape(-1, 1, 1)


def build(**args):
    return Net(**args).eval()
"""


def resize_to_one_pixel(folder: Path, v: Variant) -> Trial:
    """02: an older exporter wrote Resize to 1x1 with `pytorch_half_pixel`, which takes the corner, not the centre."""
    frames = road(v)
    write_tensors(folder / "drives", v, frames)
    rows, columns = ((size // 2 - 1, size // 2) for size in (v.height, v.width))  # even sizes: four pixels are averaged
    centre = frames[:, 0][:, :, rows][:, :, :, columns].astype(float).mean((1, 2, 3))
    moved = frames[:, 0, :, 0, 0].astype(float).mean(1) - centre
    size = 0.364 + 0.1 * (v.seed % 7)
    gain = size / largest(moved)
    args = {"count": v.count, "width": v.width, "metres": v.metres, "gain": gain}
    write_network(folder, v.module, CONTEXT)
    graph = Graph(v)
    one = graph.node(
        "Resize", v.image, "", "", graph.const([1, 3, 1, 1], np.int64), name="context_resize",
        mode="linear", coordinate_transformation_mode="pytorch_half_pixel",
    )  # fmt: skip
    mean = graph.node("Reshape", graph.mean(one, 1), graph.const([1, 1, 1], np.int64))
    added = graph.node("Mul", mean, graph.const(gain))
    graph.save(folder / "older.onnx", graph.node("Add", graph.head(graph.rows(v.image), 8.0), added))
    write_card(folder, v, args=args, onnx="older.onnx")
    rights = (
        Clean(),
        Measured(FIRST, size),
        Measured("deploy/openvino-fp32", size),
        Blamed(FIRST, "export", ("export",), sizes=shift(v, size), words=("export",)),
    )
    return Trial(folder, (*ORT, "openvino-fp32"), rights)


NORMED = """
class Net(nn.Module):
    def __init__(self, count, width, metres, weight, mean, var):
        super().__init__()
        self.mix = nn.Conv2d(3, len(weight), 1, bias=False)
        self.mix.weight.data = torch.tensor(weight)[:, :, None, None]
        self.norm = nn.BatchNorm2d(len(weight))
        self.norm.running_mean, self.norm.running_var = torch.tensor(mean), torch.tensor(var)
        self.head = Head(count, width, metres, 0.6)

    def forward(self, image):
        return self.head(F.avg_pool2d(F.relu(self.norm(self.mix(image))), (2, 1)))


def build(mode="eval", **args):
    return Net(**args).train(mode == "train")
"""


def _normed(v: Variant, frames: Array) -> tuple[dict[str, object], Array, Offsets]:
    """Arguments of the network, the mixing weights, and how far training mode moves the lines."""
    free = np.random.default_rng(v.seed)
    weight = free.uniform(0.1, 0.9, (8, 3))
    mixed = np.einsum("oc,fchw->fohw", weight, frames[:, 0].astype(float))
    of_frame = mixed.mean((2, 3), keepdims=True), mixed.var((2, 3), keepdims=True)
    mean, var = 1.4 * of_frame[0].mean(0), 1.6 * of_frame[1].mean(0)

    def lines(m: Array, s2: Array) -> Array:
        return lateral(v, pooled(np.maximum((mixed - m) / np.sqrt(s2 + 1e-5), 0)), 0.6)

    moved = offsets(v, lines(*of_frame) - lines(mean, var))
    args = {"count": v.count, "width": v.width, "metres": v.metres, "weight": weight.tolist()}
    return args | {"mean": mean.ravel().tolist(), "var": var.ravel().tolist()}, weight, moved


def batchnorm_in_training_mode(folder: Path, v: Variant) -> Trial:
    """04: the network was exported in training mode: BatchNorm normalises by the frame it sees."""
    frames = road(v)
    write_tensors(folder / "drives", v, frames)
    args, weight, sizes = _normed(v, frames)
    write_network(folder, v.module, NORMED)
    graph = Graph(v)
    mixed = graph.node("Conv", v.image, graph.const(weight[:, :, None, None]), name="mix", kernel_shape=[1, 1])
    facts = [graph.const(fact) for fact in (np.ones(8), np.zeros(8), args["mean"], args["var"])]
    name = f"norm_{v.seed}"
    normed = graph.node("BatchNormalization", mixed, *facts, name=name, outputs=3, training_mode=1)
    graph.save(folder / "training.onnx", graph.head(graph.rows(graph.node("Relu", normed)), 0.6))
    write_card(folder, v, args=args, onnx="training.onnx")
    rights = (
        Clean(),
        Measured(FIRST, sizes),
        Measured("deploy/emulated-fp16", 0.0, parent="deploy/ort-fp32", atol=0.02),
        Measured("deploy/emulated-fp16:unfolded", 0.0, parent="deploy/ort-fp32", atol=0.02),
        Blamed(FIRST, "export", ("export",), sizes=sizes, words=("export",)),
        Silent(rungs=("deploy/emulated-fp16", "deploy/emulated-fp16:unfolded")),
        Checked((name, "training")),
    )
    return Trial(folder, (*ORT, "emulated-fp16", "emulated-fp16:unfolded"), rights)


def eval_forgotten(folder: Path, v: Variant) -> Trial:
    """04, its cause: the factory returns the network in training mode."""
    frames = road(v)
    write_tensors(folder / "drives", v, frames)
    args, _, _ = _normed(v, frames)
    write_network(folder, v.module, NORMED)
    write_card(folder, v, args=args | {"mode": "train"}, export={"exporter": "legacy", "opset": 17})
    return Trial(folder, (), (Checked(("training mode", "eval()")),))


SIZED = """
class Net(nn.Module):
    def __init__(self, count, metres_per_pixel):
        super().__init__()
        self.count, self.scale = count, metres_per_pixel

    def forward(self, image):
        width = int(image.shape[3])  # an export keeps the number it saw
        logits = F.avg_pool2d(image, (2, 1)).mean(1) * 24.0
        parts = logits.reshape(logits.shape[0], logits.shape[1], self.count, -1).softmax(-1)
        u = (torch.arange(image.shape[3]) + 0.5).reshape(self.count, -1)
        return ((width / 2 - u) * self.scale * parts).sum(-1).transpose(1, 2)


def build(**args):
    return Net(**args).eval()
"""


def frozen_size(folder: Path, v: Variant) -> Trial:
    """25: the export kept the width it was traced with; wider pictures get lines that lie aside."""
    part = v.width // v.count
    wide = v.count * (part + 8)
    scale = v.metres / v.width
    write_tensors(folder / "drives", v, road(v), case="small")
    write_tensors(folder / "drives", v, road(v, width=wide), case="wide")
    size = (wide - v.width) / 2 * scale
    write_network(folder, v.module, SIZED)
    shape = (1, 3, v.height, "width")
    graph = Graph(v, shape)
    logits = graph.node("Mul", graph.mean(graph.rows(v.image), 1, keepdims=0), graph.const(24.0))
    soft = graph.node("Softmax", graph.node("Reshape", logits, graph.const([0, 0, v.count, -1], np.int64)), axis=-1)
    width = graph.node("Gather", graph.node("Shape", v.image), graph.const(3, np.int64))
    steps = graph.node("Range", graph.const(0, np.int64), width, graph.const(1, np.int64))
    columns = graph.node("Add", graph.node("Cast", steps, to=TensorProto.FLOAT), graph.const(0.5 - v.width / 2))
    metres = graph.node(
        "Mul", graph.node("Reshape", columns, graph.const([v.count, -1], np.int64)), graph.const(-scale)
    )
    sums = graph.node("ReduceSum", graph.node("Mul", soft, metres), graph.const([-1], np.int64), keepdims=0)
    graph.save(folder / "traced.onnx", graph.node("Transpose", sums, perm=[0, 2, 1]))
    args = {"count": v.count, "metres_per_pixel": scale}
    write_card(folder, v, args=args, onnx="traced.onnx", shape=shape)
    rights = (
        Clean(),
        Measured(FIRST, size, case="wide"),
        Measured(FIRST, 0.0, case="small"),
        Blamed(FIRST, "export", ("export",), sizes=shift(v, size), words=("export", "wide")),
        OnlyCase("wide"),
    )
    return Trial(folder, ORT, rights)


PLAIN = """
class Net(nn.Module):
    def __init__(self, count, width, metres, sharp=8.0):
        super().__init__()
        self.head = Head(count, width, metres, sharp)

    def forward(self, image):
        return self.head(F.avg_pool2d(image, (2, 1)))


def build(**args):
    return Net(**args).eval()
"""


def external_weights(folder: Path, v: Variant, megabytes: float = 1.0) -> Trial:
    """26: weights in a file beside the ONNX file, as models beyond 2 GB have them: everything works."""
    write_tensors(folder / "drives", v, road(v))
    write_network(folder, v.module, PLAIN)
    graph = Graph(v)
    rows = int(megabytes * 2**20 / 256)
    table = TensorProto(name="table", data_type=TensorProto.FLOAT, dims=[rows, 64])
    table.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "table.bin"), ("offset", "0"), ("length", str(rows * 256))):
        table.external_data.add(key=key, value=value)
    with (folder / "table.bin").open("wb") as file:
        file.truncate(rows * 256)  # zeros: a sparse file
    row = graph.node("Gather", "table", graph.const([v.seed], np.int64), axis=0)
    zero = graph.node("ReduceSum", row, graph.const([0, 1], np.int64), keepdims=0)
    model = graph.model(graph.node("Add", graph.head(graph.rows(v.image), 8.0), zero))
    model.graph.initializer.append(table)
    onnx.save(model, folder / "big.onnx")
    args = {"count": v.count, "width": v.width, "metres": v.metres}
    write_card(folder, v, args=args, onnx="big.onnx")
    return Trial(folder, (*ORT, "emulated-fp16", "openvino-fp32"), (Clean(), Silent()))


BYTES = """
class Net(nn.Module):
    def __init__(self, count, width, metres, names):
        super().__init__()
        self.register_buffer(names[0], torch.tensor([123.675, 116.28, 103.53]).reshape(1, 3, 1, 1))
        self.register_buffer(names[1], torch.tensor([58.395, 57.12, 57.375]).reshape(1, 3, 1, 1))
        self.names, self.head = names, Head(count, width, metres, 2.0)

    def forward(self, image):
        mean, std = (getattr(self, name) for name in self.names)
        return self.head(F.avg_pool2d((image.to(torch.float32) - mean) / std, (2, 1)))


def build(**args):
    return Net(**args).eval()
"""


def buffer_named_mean(folder: Path, v: Variant) -> Trial:
    """39: bytes in, normalised inside by a buffer called `mean`: the exporter gives two values that name."""
    write_pictures(folder / "drives", v, road_pictures(v, v.height, v.width))
    write_network(folder, v.module, BYTES)
    names = ["mean", "std"] if v.seed % 2 == 0 else ["softmax", "mean"]
    args = {"count": v.count, "width": v.width, "metres": v.metres, "names": names}
    steps = [{"op": "to_rgb"}, {"op": "round_u8"}]
    pipelines = {"train": steps, "deploy": steps}
    write_card(folder, v, args=args, dtype="uint8", layout="NCHW", pipelines=pipelines)
    return Trial(folder, ORT, (Clean(), Silent()), preprocess="train,deploy")


MAKERS = {
    "01-grid-sample-20": grid_sample,
    "01-grid-sample-16": grid_sample_16,
    "02-resize-to-one-pixel": resize_to_one_pixel,
    "04-batchnorm-in-training-mode": batchnorm_in_training_mode,
    "04-eval-forgotten": eval_forgotten,
    "25-frozen-size": frozen_size,
    "26-external-weights": external_weights,
    "39-buffer-named-mean": buffer_named_mean,
}
