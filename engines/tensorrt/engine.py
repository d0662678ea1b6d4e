"""The TensorRT engine: from a model and options to a plan, from inputs to outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import FrameEngine
from engines.errors import EngineCrashed, EngineOptionError, ModelLoadError
from engines.io_check import check_inputs, check_io
from engines.protocol import ModelSource, Tensors, TensorSpec
from engines.tensorrt.api import Api
from engines.tensorrt.buffers import Buffers, numpy_dtype
from engines.tensorrt.device import CudaDevice
from engines.tensorrt.runtime import IoTensor, describe_engine, io_tensors, load_plan
from trueline._reading import read_file

__all__ = ["TrtEngine"]


class TrtEngine(FrameEngine):
    """One plan on one GPU."""

    def __init__(
        self,
        name: str,
        source: ModelSource,
        api: Api,
        device: CudaDevice,
        plan: bytes,
        where: str,
        facts: Mapping[str, Any],
        *,
        names: Mapping[str, str] | None = None,
        types: Mapping[str, str] | None = None,
        runtime_cache: Path | None = None,
    ) -> None:
        """Load a plan.

        Args:
            name: of the engine.
            source: the model.
            api: the installed TensorRT.
            device: the GPU.
            plan: serialised engine.
            where: its file, for messages.
            facts: how it came to be, for provenance.
            names: card's name of an input or output -> the plan's.
            types: NumPy type of each output in the ONNX file, where the plan was built from one.
            runtime_cache: file of what the GPU's own compiler makes of the plan (TensorRT for RTX).

        Raises:
            ModelLoadError, EngineUnavailable, EngineOutputMissing: the plan does not load, or does not fit the card.
        """
        self._where = f"{source.name}, engine {name}"
        self._card = source
        with device.active():
            self._runtime, self._engine = load_plan(api, plan, where, device.name)
            tensors = io_tensors(api, self._engine, where)
            layers = describe_engine(api, self._engine)
        self._theirs = _names(source, tensors, names or {}, name)
        self._inputs = _held_against(source, tensors, self._theirs, where)
        self._buffers: Buffers | None = Buffers(api, self._engine, tensors, device, self._where, runtime_cache)
        self._outputs = _outputs(source, tensors, self._theirs, types or {})
        self._known: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        provenance = {
            "product": api.product.title,
            "tensorrt": api.version,
            "device": device.facts,
            "plan": where,
            "plan_sha256": hashlib.sha256(plan).hexdigest(),
            **facts,
            "engine_information": layers,
        }
        super().__init__(name, provenance)

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Run the plan once.

        Raises:
            EngineInputError: an input is missing or does not fit.
            EngineCrashed: TensorRT or CUDA failed.
        """
        if self._buffers is None:
            raise EngineCrashed("the engine is closed", where=self._where, remedy="open it again")
        known = self._known
        if not known or len(inputs) != len(known) or any(known.get(n) != (a.shape, a.dtype) for n, a in inputs.items()):
            check_inputs(self._inputs, inputs, self._where)
            self._known = {name: (array.shape, array.dtype) for name, array in inputs.items()}
        theirs = self._theirs
        found = self._buffers.run({theirs[name]: array for name, array in inputs.items()}, self._outputs)
        return dict(zip(self._card.outputs, found, strict=True))

    def close(self) -> None:
        """Free context, engine and runtime, in that order."""
        if self._buffers is not None:
            self._buffers.close()
        self._buffers = None
        self._engine = None
        self._runtime = None


def _names(source: ModelSource, tensors: tuple[IoTensor, ...], names: Mapping[str, str], engine: str) -> dict[str, str]:
    """Card's name -> plan's name of every tensor; those that the option does not name are called alike."""
    ours = {*(spec.name for spec in source.inputs), *source.outputs}
    theirs = {tensor.name for tensor in tensors}
    for card_name, plan_name in names.items():
        if card_name not in ours or plan_name not in theirs:
            raise EngineOptionError(
                f"{card_name!r} = {plan_name!r} joins no tensor of the card to one of the plan",
                where=f"option names of {engine}",
                remedy=f"the card has {sorted(ours)}, the plan {sorted(theirs)}",
            )
    return {name: names.get(name, name) for name in ours}


def _held_against(
    source: ModelSource, tensors: tuple[IoTensor, ...], theirs: Mapping[str, str], where: str
) -> tuple[TensorSpec, ...]:
    """The plan's inputs under the card's names, after the card has been held against them."""
    card = {spec.name: spec for spec in source.inputs}
    ours = {plan: card_name for card_name, plan in theirs.items()}
    inputs = []
    for tensor in (t for t in tensors if t.is_input):
        name = ours.get(tensor.name, tensor.name)
        shape = tuple(size if size >= 0 else f"dim{axis}" for axis, size in enumerate(tensor.shape))
        spec = TensorSpec(name, shape, numpy_dtype(tensor.dtype))
        if name in card and (card[name].dtype, spec.dtype) == ("int64", "int32"):
            spec = replace(spec, dtype="int64")  # TensorRT 8.6 computes int64 as int32; converted at the border
        inputs.append(spec)
    check_io(source, inputs, [ours.get(t.name, t.name) for t in tensors if not t.is_input], where)
    return tuple(inputs)


def _outputs(
    source: ModelSource, tensors: tuple[IoTensor, ...], theirs: Mapping[str, str], types: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Plan's name and NumPy type of each of the card's outputs; int64 of the ONNX file stays int64 in 8.6 too."""
    plan = {tensor.name: numpy_dtype(tensor.dtype) for tensor in tensors}
    pairs = [(theirs[name], plan[theirs[name]]) for name in source.outputs]
    return [(name, "int64" if (types.get(name), dtype) == ("int64", "int32") else dtype) for name, dtype in pairs]


def read_plan(path: Path) -> bytes:
    """A prebuilt plan's bytes.

    Raises:
        ModelLoadError: the file is empty or is an ONNX file.
    """
    content = read_file(path)
    if not content:
        raise ModelLoadError("the plan is empty", where=str(path), remedy="copy it again, in binary mode")
    if path.suffix == ".onnx":
        raise ModelLoadError(
            "an ONNX file is no plan", where=str(path), remedy="name it under [onnx] in model.toml; it is built then"
        )
    return content
