"""The largest magnitude of every float tensor of a graph on given inputs, measured by ONNX Runtime.

Behind every node Abs and ReduceMax are put, so that one number a tensor leaves the session and not the tensor itself;
the graph is not optimised, so that every node of the file is there. A tensor whose type cannot be inferred (behind a
custom operator) is not measured and named as such. Nodes within branches and loops are not measured.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.base import whole_cause
from engines.cpu import physical_cores
from engines.denormals import DenormalMode
from engines.errors import EngineCrashed, ModelLoadError
from engines.inspect.graph import check_external_data
from engines.inspect.half import LARGEST
from engines.protocol import Tensors

__all__ = ["Activation", "activation_ranges"]

PROBE = "trueline.largest"


@dataclass(frozen=True, slots=True)
class Activation:
    """One tensor: the node that gives it, and its largest magnitude over all frames; None: not measured."""

    tensor: str
    node: str
    op: str
    largest: float | None

    @property
    def headroom(self) -> float:
        """How many times larger fp16 could hold; below 1 it overflows; NaN where nothing was measured."""
        if self.largest is None or math.isnan(self.largest):
            return math.nan
        return LARGEST / self.largest if self.largest else math.inf


def activation_ranges(path: Path, feeds: Iterable[Tensors], plugins: tuple[Path, ...] = ()) -> list[Activation]:
    """Largest magnitudes over all feeds, in the file's order; every one None where there is no feed.

    Raises:
        ModelLoadError: the file does not load, or its weights lie outside its folder.
        EngineCrashed: ONNX Runtime failed on a feed.
    """
    from engines.ort_engine import open_session

    check_external_data(path)
    with tempfile.TemporaryDirectory() as folder:
        probed = Path(folder) / "probed.onnx"
        tensors = _write_probed(path, probed)
        mode = DenormalMode(flush=True)
        session = open_session(probed, level="none", threads=physical_cores(), mode=mode, plugins=plugins)
    probes = [name for _, _, _, name in tensors if name]
    largest: dict[str, float] = {}
    for feed in feeds:
        try:
            with mode:
                values = session.run(probes, feed) if probes else []
        except Exception as error:
            raise EngineCrashed(
                f"ONNX Runtime failed: {whole_cause(error)}", where=str(path), remedy="run ort-fp32 on this case"
            ) from error
        for name, value in zip(probes, values, strict=True):
            largest[name] = max(largest.get(name, 0.0), float(value), key=_nan_last)
    return [Activation(tensor, node, op, largest.get(name)) for tensor, node, op, name in tensors]


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _write_probed(path: Path, out: Path) -> list[tuple[str, str, str, str]]:
    """The model with probes; (tensor, node, operator, output of its probe or "") of every float tensor."""
    import onnx
    from onnx.inliner import inline_local_functions

    try:
        model = onnx.load(path)
        model = inline_local_functions(model) if model.functions else model
        types = _types(onnx.shape_inference.infer_shapes(model).graph)
        tensors: list[tuple[str, str, str, str]] = []
        for index, node in enumerate(list(model.graph.node)):
            for tensor in node.output if node.op_type != "Constant" else ():
                kind = types.get(tensor, 0)
                if tensor and kind in (0, *_floats()):
                    probe = _probe(model.graph, tensor, len(tensors)) if kind else ""
                    tensors.append((tensor, node.name or f"{node.op_type} #{index}", node.op_type, probe))
        onnx.save(model, out)
    except Exception as error:
        raise ModelLoadError(
            f"cannot put probes into it: {whole_cause(error)}",
            where=str(path),
            remedy="check the file with onnx.checker.check_model(path, full_check=True)",
        ) from error
    return tensors


def _probe(graph: Any, tensor: str, number: int) -> str:
    """Nodes tensor -> |tensor| as float32 -> its maximum, an output; returns its name."""
    from onnx import TensorProto, helper

    stem = f"{PROBE}.{number}"
    graph.node.extend(
        [
            helper.make_node("Cast", [tensor], [f"{stem}.float"], to=TensorProto.FLOAT),
            helper.make_node("Abs", [f"{stem}.float"], [f"{stem}.abs"]),
            helper.make_node("ReduceMax", [f"{stem}.abs"], [stem], keepdims=0),
        ]
    )
    graph.output.append(helper.make_tensor_value_info(stem, TensorProto.FLOAT, []))
    return stem


def _types(graph: Any) -> dict[str, int]:
    return {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}


def _floats() -> tuple[int, ...]:
    from onnx import TensorProto

    return (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
