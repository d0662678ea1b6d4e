"""The largest magnitude of every float tensor of a graph on given inputs, measured by ONNX Runtime.

Behind every node Abs and ReduceMax are put, so that one number a tensor leaves the session and not the tensor itself;
the graph is not optimised, so that every node of the file is there. A tensor whose type cannot be inferred (behind a
custom operator) is not measured and named as such. Nodes within branches and loops are not measured.

What composite operators hold inside is measured on a second graph, in which they are spelled out (`inside_ranges`).
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.base import whole_cause
from engines.cpu import usable_cores
from engines.denormals import DenormalMode
from engines.errors import EngineCrashed, ModelLoadError
from engines.inspect.composites import OPSET, has_composites, spell_out
from engines.inspect.graph import check_external_data
from engines.inspect.half import LARGEST
from engines.protocol import Tensors

__all__ = ["Activation", "Inside", "activation_ranges", "inside_ranges"]

PROBE = "trueline.largest"
# steps that give what came in, or differences of it: as large as the node's own input
MOVING = frozenset({"Cast", "Expand", "Identity", "ReduceMax", "Reshape", "Sub", "Transpose", "Unsqueeze", "Where"})


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


@dataclass(frozen=True, slots=True)
class Inside:
    """A composite node: its operator, and the step inside it that is largest over all frames, infinities left out."""

    node: str
    op: str
    step: str
    largest: float

    @property
    def headroom(self) -> float:
        """How many times larger fp16 could hold; below 1 it overflows where the steps are computed in fp16."""
        return LARGEST / self.largest if self.largest else math.inf


def activation_ranges(path: Path, feeds: Iterable[Tensors], plugins: tuple[Path, ...] = ()) -> list[Activation]:
    """Largest magnitudes over all feeds, in the file's order; every one None where there is no feed.

    Raises:
        ModelLoadError: the file does not load, or its weights lie outside its folder.
        EngineCrashed: ONNX Runtime failed on a feed.
    """
    model = _load(path)
    with _about(path):
        tensors = _put_probes(model)
    largest = _measured(path, model, [probe for _, _, _, probe in tensors if probe], feeds, plugins)
    return [Activation(tensor, node, op, largest.get(probe)) for tensor, node, op, probe in tensors]


def inside_ranges(path: Path, feeds: Iterable[Tensors], plugins: tuple[Path, ...] = ()) -> list[Inside]:
    """The largest step inside every composite node over all feeds, in the file's order.

    Raises:
        ModelLoadError: the file does not load, its weights lie outside its folder, or it is of an opset below 18 and
            cannot be converted to it.
        EngineCrashed: ONNX Runtime failed on a feed.
    """
    model = _load(path)
    with _about(path):
        spelled = _spelled(model)
        if spelled is None:
            return []
        model, owners = spelled
        tensors = [entry for entry in _put_probes(model) if entry[0] in owners]
    largest = _measured(path, model, [probe for _, _, _, probe in tensors if probe], feeds, plugins)
    found: dict[str, Inside] = {}
    for tensor, _, step, probe in tensors:
        node, op = owners[tensor]
        size = largest.get(probe, 0.0)
        if math.isfinite(size) and (node not in found or size > found[node].largest):
            found[node] = Inside(node, op, step, size)
    return list(found.values())


def _load(path: Path) -> Any:
    """The file with its weights, functions inlined, every node named."""
    import onnx
    from onnx.inliner import inline_local_functions

    check_external_data(path)
    with _about(path):
        model = onnx.load(path)
        model = inline_local_functions(model) if model.functions else model
        for index, node in enumerate(model.graph.node):
            node.name = node.name or f"{node.op_type} #{index}"
        return model


@contextlib.contextmanager
def _about(path: Path) -> Iterator[None]:
    """Errors of onnx, as one of ours about this file."""
    try:
        yield
    except Exception as error:
        raise ModelLoadError(
            f"cannot put probes into it: {whole_cause(error)}",
            where=str(path),
            remedy="check the file with onnx.checker.check_model(path, full_check=True)",
        ) from error


def _spelled(model: Any) -> tuple[Any, dict[str, tuple[str, str]]] | None:
    """The model with composite nodes spelled out, and value inside -> (name, operator) of its node; None of none."""
    import onnx_ir as ir
    from onnx import shape_inference, version_converter

    if not has_composites(ir.serde.deserialize_model(model)):
        return None
    if next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")) < OPSET:
        model = version_converter.convert_version(model, OPSET)
    graph = ir.serde.deserialize_model(shape_inference.infer_shapes(model))
    owners: dict[str, tuple[str, str]] = {}
    for spelled in spell_out(graph):
        owner = owners.get(spelled.node.outputs[0].name or "", (spelled.node.name or "", spelled.node.op_type))
        results = {value.name for value in spelled.outputs.values()}
        made = [step for step in spelled.steps if step.op_type not in MOVING]
        inner = [value.name for step in made for value in step.outputs if value.name not in results]
        owners.update(dict.fromkeys([name for name in inner if name], owner))
    return ir.serde.serialize_model(graph), owners


def _measured(
    path: Path, model: Any, probes: list[str], feeds: Iterable[Tensors], plugins: tuple[Path, ...]
) -> dict[str, float]:
    """The largest value of every probe over all feeds."""
    import onnx

    from engines.ort_engine import open_session

    mode = DenormalMode(flush=True)
    with tempfile.TemporaryDirectory() as folder:
        probed = Path(folder) / "probed.onnx"
        with _about(path):
            onnx.save(model, probed)
        session = open_session(probed, level="none", threads=usable_cores(), mode=mode, plugins=plugins)
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
    return largest


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _put_probes(model: Any) -> list[tuple[str, str, str, str]]:
    """Probes behind every float tensor; (tensor, node, operator, output of its probe or "") of each."""
    import onnx

    types = _types(onnx.shape_inference.infer_shapes(model).graph)
    tensors: list[tuple[str, str, str, str]] = []
    for node in list(model.graph.node):
        for tensor in node.output if node.op_type != "Constant" else ():
            kind = types.get(tensor, 0)
            if tensor and kind in (0, *_floats()):
                probe = _probe(model.graph, tensor, len(tensors)) if kind else ""
                tensors.append((tensor, node.name, node.op_type, probe))
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
