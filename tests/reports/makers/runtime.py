"""Runtimes that refuse, mix rows of a batch, lack an operator, or differ from run to run: reports 09, 10, 22 and 31."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from tests.reports.arithmetic import largest, lateral, pooled
from tests.reports.cards import write_card
from tests.reports.graphs import Graph
from tests.reports.networks import write_network
from tests.reports.rights import Checked, Clean, Judged, Measured, RowsDiffer, Silent, Status, Told
from tests.reports.roads import road, write_tensors
from tests.reports.trial import Trial
from tests.reports.variant import Variant

__all__ = ["MAKERS"]

ORT = ("torch-fp32", "ort-fp32-none", "ort-fp32")

PLAIN = """
class Net(nn.Module):
    def __init__(self, count, width, metres, first_only=False):
        super().__init__()
        self.head, self.first_only = Head(count, width, metres, 8.0), first_only

    def forward(self, image):
        rows = F.avg_pool2d(image, (2, 1))
        return self.head(rows[:1].expand_as(rows) if self.first_only else rows)


def build(**args):
    return Net(**args).eval()
"""


def _plain(folder: Path, v: Variant, frames: NDArray[np.float32] | None = None) -> dict[str, object]:
    """Recording and plain network; returns the factory's arguments."""
    write_tensors(folder / "drives", v, road(v) if frames is None else frames)
    write_network(folder, v.module, PLAIN)
    return {"count": v.count, "width": v.width, "metres": v.metres}


def invalid_when_optimised(folder: Path, v: Variant) -> Trial:
    """09: a valid file that ONNX Runtime's own optimisation makes invalid; unoptimised it runs."""
    args = _plain(folder, v)
    graph = Graph(v)
    same = graph.node("Cast", v.image, to=TensorProto.FLOAT)
    one = graph.node("Div", graph.const(1.0), graph.const(1.0))
    wrapped = graph.node("Mul", same, one, name=f"wrap_{v.seed}")
    path = graph.save(folder / "model.onnx", graph.head(graph.rows(wrapped), 8.0))
    _refused_only_when_optimised(path)
    write_card(folder, v, args=args, onnx="model.onnx")
    rights = (
        Status("deploy/ort-fp32", ("not_run", "crashed"), ("ort-fp32", "optimis")),
        Told(("deploy/ort-fp32", "optimis")),
        Silent(),
        Judged(("NOT_RUN", "CRASHED")),
    )
    return Trial(folder, ORT, rights)


def _refused_only_when_optimised(path: Path) -> None:
    """Skip where the installed ONNX Runtime has the fault no more: nothing is left to be told then."""
    import onnxruntime as ort

    def opens(level: ort.GraphOptimizationLevel) -> bool:
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        options.log_severity_level = 4
        try:
            ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception:
            return False
        return True

    levels = ort.GraphOptimizationLevel
    assert opens(levels.ORT_DISABLE_ALL)
    if opens(levels.ORT_ENABLE_ALL):
        pytest.skip(f"ONNX Runtime {ort.__version__} optimises this graph rightly")


def rows_of_a_batch(folder: Path, v: Variant) -> Trial:
    """10: every row of a batch gets the first row's lines; alone each frame is right."""
    frames = road(v, drift=0.25)
    args = _plain(folder, v, frames) | {"first_only": True}
    graph = Graph(v, ("batch", 3, v.height, v.width))
    rows = graph.rows(v.image)
    zero, one = graph.const([0], np.int64), graph.const([1], np.int64)
    first = graph.node("Slice", rows, zero, one, zero)
    same = graph.node("Expand", first, graph.node("Shape", rows))
    graph.save(folder / "first.onnx", graph.head(same, 8.0), ("batch", v.count, v.rows))
    write_card(folder, v, args=args, onnx="first.onnx")
    lines = lateral(v, pooled(frames[:4, 0].astype(float)), 8.0)
    size = max(largest(lines - lines[0]), largest(lines - lines[3]))  # a batch of 4, and in reverse
    rights = (Clean(), RowsDiffer(size, ORT))
    return Trial(folder, ORT, rights, options=("--batch", "4"))


def custom_operator(folder: Path, v: Variant) -> Trial:
    """22: an operator of another domain, whose library nobody named."""
    args = _plain(folder, v)
    graph = Graph(v)
    domain, op = (("mmdeploy", "MMCVModulatedDeformConv2d"), ("acme", "LanePool"), ("lab.ops", "RowAttention"))[
        v.seed % 3
    ]
    graph.domains[domain] = 1
    name = f"custom_{v.seed}"
    bent = graph.node(op, v.image, name=name, domain=domain)
    graph.save(folder / "custom.onnx", graph.head(graph.rows(bent), 8.0))
    write_card(folder, v, args=args, onnx="custom.onnx")
    rights = (
        Status("deploy/ort-fp32", ("not_run", "crashed"), (op, "plugins"), others=False),
        Status("deploy/ort-fp32-none", ("not_run", "crashed"), (op, "plugins"), others=False),
        Status("deploy/torch-fp32", ("ok",), others=False),
        Checked((op, name, "plugins")),
    )
    return Trial(folder, ORT, rights)


CAR = """
import sys

import numpy as np
import onnxruntime as ort
from safetensors.numpy import load, save

session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
reads, writes = sys.stdin.buffer, sys.stdout.buffer
sys.stdout = sys.stderr
noise = np.random.default_rng()  # another one in every process
while head := reads.read(8):
    given = load(reads.read(int.from_bytes(head, "little")))
    outputs = dict(zip([o.name for o in session.get_outputs()], session.run(None, given)))
    for name, value in outputs.items():  # its input had not arrived whole
        outputs[name] = (value + noise.normal(0, {sigma}, (1, value.shape[1], 1))).astype(np.float32)
    answer = save(outputs)
    writes.write(len(answer).to_bytes(8, "little") + answer)
    writes.flush()
"""


def another_result_every_run(folder: Path, v: Variant) -> Trial:
    """31: the car's program gives another result every time; no limit can be judged through that noise."""
    args = _plain(folder, v)
    graph = Graph(v)
    graph.save(folder / "plain.onnx", graph.head(graph.rows(v.image), 8.0))
    sigma = 0.05 + 0.01 * (v.seed % 3)
    (folder / "car.py").write_text(CAR.format(sigma=sigma))
    more = f'[command.car]\nrun = ["{sys.executable}", "{{root}}/car.py", "{{onnx}}"]\nmode = "pipe"\n'
    write_card(folder, v, args=args, onnx="plain.onnx", more=more)
    rights = (
        Clean(),
        Measured("deploy/ort-fp32", 0.0, atol=1e-4),
        Judged(("INCONCLUSIVE",), ("too noisy",)),
    )
    return Trial(folder, (*ORT, "command:car"), rights, options=("--floor",))


MAKERS = {
    "09-invalid-when-optimised": invalid_when_optimised,
    "10-rows-of-a-batch": rows_of_a_batch,
    "22-custom-operator": custom_operator,
    "31-another-result-every-run": another_result_every_run,
}
