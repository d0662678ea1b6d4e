"""Plans written by hand, in the words of the builder, and graphs for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
from onnx.parser import parse_model

from engines.emulated.graph import load

SEPARATOR = "\x1f"


def tensor(name: str, shape: str, dtype: str = "Half") -> str:
    return (
        f"{{ Name: {name}, Dimensions: [{shape}], Strides: [1], StrideOrder: [0], Datatype: {dtype}, "
        "Format: (Linear) Row major linear format }"
    )


def line(
    name: str,
    kind: str,
    reads: Sequence[str],
    writes: Sequence[str],
    nodes: Sequence[str],
    tactic: str = "__myelin_CASK_STUB",
    constants: Sequence[str] = (),
) -> str:
    """One kernel, as 1.7 prints it."""
    parts = [f"Inputs: [{_list(reads)}]", f"Constants: [{_list(constants)}]", f"Outputs: [{_list(writes)}]"]
    metadata = SEPARATOR.join(f"[ONNX Layer: {node}]" for node in nodes)
    return (
        f"Name: {name}, LayerType: {kind}, {', '.join(parts)}, TacticName: {tactic}, StreamId: 0, Metadata: {metadata}"
    )


def layers(*lines: str) -> list[str]:
    return ["Layers:\n" + "\n".join(lines) + "\n\nEngine Metadata:\n Multi-Device: Disabled"]


def graph(text: str, folder: Any, opset: int = 17) -> ir.Model:
    """A graph of onnx.parser's text, flat as the emulation reads it."""
    import onnx

    path = folder / "graph.onnx"
    onnx.save(parse_model(f'<ir_version: 8, opset_import: ["": {opset}]>\ngraph {text}'), path)
    return load(path)


def _list(tensors: Sequence[str]) -> str:
    return f" {', '.join(tensors)}" if tensors else ""
