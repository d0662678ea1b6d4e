"""What engines make of a graph: findings on what they lack, read differently, or compute in another type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from engines.inspect.graph import Graph
from engines.inspect.operators import NEWEST_OPSET_8, OperatorGap, opset_gap
from engines.inspect.quantised import quantisation
from engines.inspect.readings import Reading
from engines.inspect.shapes import DynamicShape
from engines.inspect.values import nodes_of_type, wide_integers
from engines.protocol import ExportTarget
from harness.checks.findings import Finding, some

__all__ = [
    "name_findings",
    "operator_findings",
    "opset_findings",
    "quantisation_findings",
    "reading_findings",
    "shape_findings",
    "type_findings",
]


def operator_findings(gaps: Sequence[OperatorGap], plugins: bool) -> Iterator[Finding]:
    """Operators that TensorRT, OpenVINO or fp16 lacks. Custom ones are fine where the card names plugins."""
    if not gaps:
        yield Finding("ok", "TensorRT has every operator, fp16 too", "graph")
    for gap in gaps:
        fine = gap.custom and plugins
        yield Finding(
            "ok" if fine else "warning",
            f"{gap.lacking} lacks {gap.op}: it {gap.why}" + (", which a plugin of the card must have" if fine else ""),
            f"nodes {some(gap.nodes)}",
            "" if fine else _operator_remedy(gap),
        )


def _operator_remedy(gap: OperatorGap) -> str:
    if gap.custom:
        return "name its library under plugins in model.toml, or export it from standard operators"
    if gap.lacking == "fp16":
        return "keep these nodes in fp32"
    return f"export it from other operators, or use a later {gap.lacking.partition(' ')[0]}"


def opset_findings(graph: Graph, targets: Mapping[str, ExportTarget]) -> Iterator[Finding]:
    """An opset that TensorRT 8.6 does not read, unless the card exports another one for TensorRT.

    Args:
        graph: the card's.
        targets: how the card exports; none where it has a file of its own.
    """
    gap = opset_gap(graph)
    opsets = [target.opset for name, target in targets.items() if name.startswith("trt")]
    if gap and not any(opset is not None and opset <= NEWEST_OPSET_8 for opset in opsets):
        own = f"give a file of opset {NEWEST_OPSET_8} or less where the car runs TensorRT 8.6"
        export = f'write opset = {NEWEST_OPSET_8} under [export.targets."trt-8.6"] in model.toml'
        yield Finding("warning", f"opset {graph.opset}: {gap}", "graph", export if targets else own)


def name_findings(graph: Graph) -> Iterator[Finding]:
    """Names that two values share."""
    if graph.repeated:
        yield Finding(
            "error",
            f"two values are called {graph.repeated[0]!r}: runtimes refuse the file, or take one for the other",
            f"graph, {some(graph.repeated)}",
            "export it again and rename the buffer or parameter, or give the values names of their own",
        )


def reading_findings(readings: Sequence[Reading]) -> Iterator[Finding]:
    """Nodes that engines read differently."""
    if not readings:
        yield Finding("ok", "no node that engines are known to read differently", "graph")
    for reading in readings:
        yield Finding("warning", f"{reading.op} {reading.what}", f"nodes {some(reading.nodes)}", reading.remedy)


def type_findings(graph: Graph) -> Iterator[Finding]:
    """Integers beyond int32 and float64, which engines hold in smaller types."""
    for wide in wide_integers(graph):
        yield Finding(
            "warning",
            f"constant {wide.name!r} holds {wide.value}, which int32 cannot: TensorRT up to 8.6 clamps it, OpenVINO "
            "computes int64 as int32",
            f"node {wide.node} ({wide.op})",
            "keep integers within int32, or compute with floats",
        )
    if halves := nodes_of_type(graph, "float16", "bfloat16"):
        yield Finding(
            "note",
            f"the file is fp16 or bf16 at {len(halves)} nodes: ONNX Runtime's CPU provider computes them in fp32 "
            "and shows no overflow, the emulated engines round as the types say",
            f"nodes {some(halves)}",
            "compare with emulated-fp16, and measure activations with --cases",
        )
    if doubles := nodes_of_type(graph, "float64"):
        yield Finding(
            "note",
            f"{len(doubles)} nodes compute in float64; TensorRT and OpenVINO compute them in float32",
            f"nodes {some(doubles)}",
            "convert the network to float32 before the export, so that every engine computes alike",
        )


def quantisation_findings(graph: Graph) -> Iterator[Finding]:
    """What int8 in the graph means: its calibration is in the file, and engines place it each by its own rules."""
    found = quantisation(graph)
    if found is None:
        return
    counts = ", ".join(f"{count} {op}" for op, count in sorted(found.counts.items()))
    yield Finding(
        "warning",
        f"the graph is quantised ({counts}; {', '.join(found.types) or 'types not constant'}): the calibration is "
        "inside it. ONNX Runtime computes integers where it can fuse the nodes around an operator and fp32 elsewhere, "
        "TensorRT and OpenVINO fuse by rules of their own, so int8 results differ between them; no emulated engine "
        "shows int8",
        f"nodes {some(found.nodes)}",
        "compare with the car's own engine (trt-int8, recorded), and keep the fp32 graph beside it as the reference",
    )
    if found.shifted:
        yield Finding(
            "warning",
            "TensorRT takes no zero point other than 0",
            f"nodes {some(found.shifted)}",
            "quantise symmetrically (int8, zero point 0)",
        )


def shape_findings(shapes: Sequence[DynamicShape]) -> Iterator[Finding]:
    """Dynamic dimensions of inputs, and sizes that depend on data."""
    if not shapes:
        yield Finding("ok", "every shape is fixed", "graph")
    for shape in shapes:
        if shape.axis is None:
            yield Finding(
                "warning",
                f"{shape.dimension} gives as many elements as the data says",
                f"node {shape.name}",
                "give a fixed number of elements, and mark which are valid",
            )
        else:
            yield Finding(
                "warning",
                f"axis {shape.axis} of input {shape.name!r} is dynamic ({shape.dimension})",
                f"input {shape.name}",
                "export with the shape the car runs: a TensorRT engine is tuned for one point of its profile",
            )
