"""ONNX graphs for rewriting: loaded flat, folded as a runtime would fold them, and rounded at chosen values.

The graph is an `onnx_ir` model: no local functions, constants as initializers, types inferred.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from engines.base import whole_cause
from engines.denormals import DenormalMode
from engines.emulated.formats import Format, constant
from engines.errors import ExportError, ModelLoadError
from engines.inspect.graph import weight_files

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = [
    "array_of",
    "at_opset",
    "cleaned",
    "fold",
    "insert_rounding",
    "load",
    "nodes_of",
    "round_values",
    "rounded_constant",
    "save",
    "stand_in",
    "standing_for",
    "take_the_place",
]

_PLACE = "trueline: read instead"
COMPOSING = ("GeluFusionL1", "LayerNormFusionL1")  # of ONNX Runtime's basic optimisations


def load(path: Path) -> ir.Model:
    """Read a model for rewriting.

    Raises:
        ModelLoadError: it does not read, or its types cannot be inferred.
    """
    import onnx_ir as ir

    try:
        return _flat(ir.external_data.load_to_model(ir.load(path)))  # files of weights do not move with the graph
    except Exception as error:
        raise ModelLoadError(
            f"cannot rewrite it: {whole_cause(error)}",
            where=str(path),
            remedy="check the file with onnx.checker.check_model(path, full_check=True)",
        ) from error


def fold(path: Path, plugins: tuple[Path, ...] = ()) -> ir.Model:
    """Read a model after what runtimes do before they choose precision: constants, BatchNorm behind convolutions.

    ONNX Runtime's basic optimisations do it, in fp32, but for those that make one operator of a normalisation or an
    activation that the graph spells out: it is rounded as it is written. A BatchNorm that stays is the business of
    `batchnorm`.

    Raises:
        ModelLoadError: the model does not load.
    """
    from engines.ort_engine import open_session

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "folded.onnx"
        _copy_weights(path, out)
        mode = DenormalMode(flush=False)  # what to flush is the engine's choice, when it runs
        open_session(path, level="basic", threads=1, mode=mode, plugins=plugins, save_to=out, without=COMPOSING)
        return load(out)


def _copy_weights(path: Path, copy: Path) -> None:
    """Put a model's files of weights beside a copy of it: ONNX Runtime writes their names only, links are refused."""
    for name in weight_files(path):
        place = copy.parent / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / name, place)


def save(model: ir.Model, path: Path) -> None:
    """Write a rewritten model, after checking that it still is one.

    Raises:
        ExportError: the rewrite broke it; an error of ours.
    """
    import onnx_ir as ir

    cleaned(model)
    try:
        ir.save(model, path)
    except Exception as error:
        raise ExportError(
            f"cannot write the rewritten graph: {whole_cause(error)}",
            where=str(path),
            remedy="report it with the model",
        ) from error


def cleaned(model: ir.Model) -> ir.Model:
    """The model, changed in place: nothing in it that nobody reads, and a name of its own for every value."""
    from onnx_ir.passes import common

    for clean in (common.RemoveUnusedNodesPass(), common.NameFixPass(), common.RemoveUnusedOpsetsPass()):
        clean(model)
    return model


def at_opset(model: ir.Model, opset: int, why: str) -> ir.Model:
    """The model at this default opset at least.

    Raises:
        ExportError: the version converter cannot.
    """
    import onnx_ir as ir
    from onnx import version_converter

    if model.opset_imports.get("", 1) >= opset:
        return model
    try:
        return _flat(ir.serde.from_proto(version_converter.convert_version(ir.serde.to_proto(model), opset)))
    except Exception as error:
        raise ExportError(
            f"{why} needs opset {opset}, to which the model does not convert: {whole_cause(error)}",
            where=f"graph {model.graph.name}, opset {model.opset_imports.get('')}",
            remedy="export the model with a newer opset, or choose another rounding",
        ) from error


def nodes_of(model: ir.Model) -> Iterator[ir.Node]:
    """Every node, those of subgraphs too, producers before consumers."""
    import onnx_ir as ir

    return iter(list(ir.traversal.RecursiveGraphIterator(model.graph)))


def array_of(value: ir.Value | None) -> NDArray[Any] | None:
    """The value of an initializer, None where it is computed or fed."""
    if value is None or value.const_value is None or value.producer() is not None or value.is_graph_input():
        return None
    return value.const_value.numpy()


def rounded_constant(value: ir.Value, form: Format) -> ir.Value:
    """An initializer beside this one that holds its values in the format; the same one each time."""
    key = f"rounded to {form.name}"
    made: ir.Value | None = value.meta.get(key)
    if made is None:
        array = array_of(value)
        assert array is not None
        assert value.graph is not None
        made = value.meta[key] = constant(value.graph, form.array(array), f"{value.name}.{form.name}")
    return made


def insert_rounding(model: ir.Model, value: ir.Value, form: Format) -> ir.Value:
    """Nodes that round a value, right behind it; nobody reads the rounded value yet."""
    nodes = form.nodes(value)
    rounded = nodes[-1].outputs[0]
    rounded.type, rounded.shape = value.type, value.shape
    _insert_behind(model, value, nodes)
    return rounded


def round_values(model: ir.Model, plan: Mapping[ir.Value, Format]) -> None:
    """Round every planned value where it appears: all consumers see the rounded one, outputs keep their names."""
    for value, form in plan.items():
        uses = list(value.uses())
        rounded = insert_rounding(model, value, form)
        for node, index in uses:
            node.replace_input_with(index, rounded)
        take_the_place(value, rounded)
        if value.is_graph_output():
            stand_in(value, rounded)


def take_the_place(value: ir.Value, other: ir.Value) -> None:
    """Note that all readers of a value read another one now; `standing_for` finds it."""
    value.meta.setdefault(_PLACE, other)


def standing_for(value: ir.Value) -> ir.Value:
    """What the readers of a value read after the graph was rewritten: the value itself, or what was put for it."""
    found: ir.Value = value.meta.get(_PLACE, value)
    return found


def stand_in(value: ir.Value, other: ir.Value) -> None:
    """Make another value the graph's output in place of this one, under its name."""
    graph = value.graph
    assert graph is not None
    other.name, value.name = value.name, f"{value.name}.exact"
    for position, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[position] = other


def _insert_behind(model: ir.Model, value: ir.Value, nodes: list[ir.Node]) -> None:
    producer = value.producer()
    if producer is not None and producer.graph is not None:
        producer.graph.insert_after(producer, nodes)
        return
    graph = value.graph or model.graph
    first = next(iter(graph), None)
    if first is None:
        graph.extend(nodes)
    else:
        graph.insert_before(first, nodes)


def _flat(model: ir.Model) -> ir.Model:
    """Functions inlined, constants lifted, types inferred."""
    from onnx_ir.passes import common

    for step in (
        common.InlinePass(),
        common.RemoveInitializersFromInputsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.RemoveUnusedOpsetsPass(),
    ):
        step(model)
    inferred = common.ShapeInferencePass()(model).model
    for node in nodes_of(inferred):
        _guess_type(node)
    return inferred


def _guess_type(node: ir.Node) -> None:
    """Where inference knows nothing, as of a custom operator: outputs are what the first typed input is."""
    known = [value.type for value in node.inputs if value is not None and value.type is not None]
    for value in node.outputs:
        if value.type is None and known:
            value.type = known[0]
