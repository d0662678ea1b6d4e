"""Writes model cards of the small networks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.reports.variant import Variant

__all__ = ["toml", "write_card"]


def toml(value: Any) -> str:
    """A value in TOML: strings, numbers, lists, inline tables."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    return json.dumps(value)


def write_card(
    folder: Path,
    variant: Variant,
    *,
    args: Mapping[str, Any] | None = None,
    onnx: str = "",
    shape: Sequence[int | str] = (),
    dtype: str = "float32",
    layout: str = "none",
    pipelines: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    export: Mapping[str, Any] | None = None,
    scores: str = "",
    decoder: Mapping[str, Any] | None = None,
    more: str = "",
    head: str = "",
    name: str = "card.toml",
) -> Path:
    """Write a card whose decoder reads lateral metres, one line a slice.

    Args:
        folder: of the card.
        variant: names and sizes.
        args: of the factory `build`; None: the card has no PyTorch network.
        onnx: file of the card; empty for none.
        shape: of the input; empty takes the network's.
        dtype, layout: of the input.
        pipelines: preprocessing, `train` and `deploy`.
        export: the table `[export]`.
        scores: name of the output with scores.
        decoder: in place of the `polyline` decoder.
        more: further text at the end.
        head: further keys at the top.
        name: of the file.
    """
    reference = "train/torch-fp32" if args is not None else "train/ort-fp32"
    text = ["schema = 1", f'name = "{variant.module}"', f'reference = "{reference}"', head]
    if args is not None:
        text += ["[torch]", f'factory = "{variant.module}:build"', f"args = {toml(args)}"]
    if onnx:
        text += ["[onnx]", f'file = "{onnx}"']
    if export:
        text += ["[export]", *(f"{k} = {toml(v)}" for k, v in export.items())]
    shape = shape or (1, 3, variant.height, variant.width)
    text += ["[[inputs]]", f'name = "{variant.image}"', f"shape = {toml(list(shape))}", f'dtype = "{dtype}"']
    text += [f'layout = "{layout}"', f'source = "camera.{variant.camera}"', "[[outputs]]", f'name = "{variant.lines}"']
    text += ["[[outputs]]", f'name = "{scores}"'] * bool(scores)
    if pipelines:
        text += ["[preprocess]", *(f"{k} = {toml(v)}" for k, v in pipelines.items())]
    decoder = decoder or {"name": "polyline", "lines": variant.lines, "scores": scores, "stations": variant.stations}
    text += ["[decoder]", *(f"{k} = {toml(v)}" for k, v in decoder.items()), more]
    path = folder / name
    path.write_text("\n".join(text) + "\n")
    return path
