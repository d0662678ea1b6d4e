"""What a card says of inputs and outputs, held against what the model has and against what arrives.

A shape fits where both give a number and the numbers are equal; a name (a dynamic dimension) fits everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineInputError, EngineOutputMissing, ModelLoadError
from engines.protocol import ModelSource, TensorSpec
from trueline._reading import regular

__all__ = ["check_inputs", "check_io", "fits", "onnx_io"]

Shape = Sequence[int | str]


def check_io(source: ModelSource, inputs: Sequence[TensorSpec], outputs: Sequence[str], where: str) -> None:
    """Hold the card against a loaded model.

    Args:
        source: the card's side.
        inputs: every input that the model demands.
        outputs: every output that it has.
        where: file of the model, for the message.

    Raises:
        ModelLoadError: an input that only one side has, or of another shape or dtype.
        EngineOutputMissing: an output that the card names and the model lacks.
    """
    has = {spec.name: spec for spec in inputs}
    wants = {spec.name: spec for spec in source.inputs}
    if unknown := [name for name in wants if name not in has]:
        raise ModelLoadError(
            f"the card feeds input {unknown[0]!r}, which the model lacks",
            where=f"{source.name}, {where}",
            remedy=f"the model has inputs {list(has)}; rename it under [[inputs]] in model.toml",
        )
    if unfed := [name for name in has if name not in wants]:
        raise ModelLoadError(
            f"the model needs input {unfed[0]!r}, which the card does not feed",
            where=f"{source.name}, {where}",
            remedy=f"the card feeds {list(wants)}; add it under [[inputs]] in model.toml",
        )
    for name, want in wants.items():
        if not fits(want.shape, has[name].shape) or want.dtype != has[name].dtype:
            raise ModelLoadError(
                f"input {name!r} is {_say(want)} in the card and {_say(has[name])} in the model",
                where=f"{source.name}, {where}",
                remedy="make shape and dtype under [[inputs]] in model.toml those of the model",
            )
    for name in source.outputs:
        if name not in outputs:
            raise EngineOutputMissing(
                f"the model has no output {name!r}",
                where=f"{source.name}, {where}",
                remedy=f"it has {list(outputs)}; name one of them under [[outputs]] in model.toml",
            )


def check_inputs(specs: Sequence[TensorSpec], inputs: Mapping[str, NDArray[Any]], where: str) -> None:
    """Hold arrays against the model's inputs; engines call it for the first frame and whenever a shape changes.

    Raises:
        EngineInputError: one is missing, unknown, no array, or of another shape or dtype.
    """
    names = [spec.name for spec in specs]
    if set(inputs) != set(names):
        missing, unknown = sorted(set(names) - set(inputs)), sorted(set(inputs) - set(names))
        raise EngineInputError(
            f"missing inputs {missing}" if missing else f"unknown inputs {unknown}",
            where=where,
            remedy=f"give exactly {names}, got {sorted(inputs)}",
        )
    for spec in specs:
        array = inputs[spec.name]
        if not isinstance(array, np.ndarray):
            raise EngineInputError(
                f"input {spec.name!r} is a {type(array).__name__}", where=where, remedy="give a NumPy array"
            )
        if array.dtype != np.dtype(spec.dtype) or not fits(spec.shape, array.shape):
            raise EngineInputError(
                f"input {spec.name!r} is {array.dtype.name} {list(array.shape)}, the model's is {_say(spec)}",
                where=where,
                remedy="make the pipeline under [preprocess] in model.toml end in that shape and dtype",
            )


def onnx_io(path: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs (without initializers) and outputs of an ONNX file; weights are not read.

    Raises:
        ModelLoadError: the file is missing or is no ONNX model.
    """
    import onnx

    try:
        graph = onnx.load(regular(path), load_external_data=False).graph
    except Exception as error:  # protobuf's DecodeError, OSError, ...: whatever it is, the file does not load
        raise ModelLoadError(
            f"no ONNX model: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where=str(path),
            remedy="give an ONNX file that onnx.load reads",
        ) from error
    constants = {tensor.name for tensor in graph.initializer}
    return (
        tuple(_spec_of(value) for value in graph.input if value.name not in constants),
        tuple(_spec_of(value) for value in graph.output),
    )


def _spec_of(value: Any) -> TensorSpec:
    from onnx import helper

    tensor = value.type.tensor_type
    dims = [d.dim_value if d.HasField("dim_value") else (d.dim_param or "?") for d in tensor.shape.dim]
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name if tensor.elem_type else "unknown"
    return TensorSpec(value.name, tuple(dims), dtype)


def fits(one: Shape, other: Shape) -> bool:
    """Whether two shapes can be the same."""
    if len(one) != len(other):
        return False
    return all(isinstance(a, str) or isinstance(b, str) or a == b for a, b in zip(one, other, strict=True))


def _say(spec: TensorSpec) -> str:
    return f"{spec.dtype} {list(spec.shape)}"
