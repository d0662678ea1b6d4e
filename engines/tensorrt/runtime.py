"""A plan becomes an engine: deserialising it, saying why where that fails, and asking it what it has.

`deserialize_cuda_engine` returns None for a plan that is damaged, of another TensorRT or of another GPU, and says which
in the log; the texts below are those of TensorRT 8.x to 10.x.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from engines.base import whole_cause
from engines.errors import EngineUnavailable, ModelLoadError
from engines.tensorrt.api import Api, EngineInspector, ICudaEngine, Runtime
from engines.tensorrt.messages import Messages

__all__ = ["IoTensor", "describe_engine", "io_tensors", "load_plan"]

OTHER_VERSION = re.compile(
    r"expecting library version (\S+) got (?!0\.0\.0)(\d[\d.]*\d)"
)  # a torn plan has none, or 0.0.0
OTHER_SERIALISATION = re.compile(r"[Vv]ersion tag does not match")
OTHER_GPU = re.compile(r"incompatible device, expecting compute ([\d.]+) got compute (\d+\.\d+)")
PLUGIN = re.compile(r"plugin", re.IGNORECASE)
DIAGNOSES = {  # of trt.EngineInvalidityDiagnostics
    "VERSION_MISMATCH": "the plan was built by another version than this, {title}",
    "UNSUPPORTED_CC": "the plan was built for other GPUs than this one ({gpu})",
    "OLD_CUDA_DRIVER": "the plan needs a newer driver",
    "OLD_CUDA_RUNTIME": "the plan needs a newer CUDA than that of {title}",
    "INSUFFICIENT_GPU_MEMORY": "the plan needs more memory than the GPU has ({gpu})",
    "MALFORMED_ENGINE": "no plan that {title} can read, or a damaged one",
}
REBUILD = "build the plan anew on this machine, or run on the machine it was built for"


@dataclass(frozen=True, slots=True)
class IoTensor:
    """One input or output of a plan; -1 in the shape is dynamic, dtype is PyTorch's name."""

    name: str
    is_input: bool
    shape: tuple[int, ...]
    dtype: str


def load_plan(api: Api, content: bytes, where: str, gpu: str) -> tuple[Runtime, ICudaEngine]:
    """Deserialise a plan.

    Args:
        api: the installed TensorRT.
        content: the plan.
        where: its file, for messages.
        gpu: what the plan meets, for messages.

    Returns:
        The runtime, which must outlive the engine, and the engine.

    Raises:
        EngineUnavailable: TensorRT does not start on this machine.
        ModelLoadError: the plan is damaged, or of another TensorRT or GPU, or needs a plugin.
    """
    with api.messages.collect() as messages:
        try:
            runtime: Runtime = api.trt.Runtime(api.logger)
        except Exception as error:
            raise EngineUnavailable(
                f"{api.title} does not start: {messages.reason(whole_cause(error))}",
                where="tensorrt.Runtime",
                remedy="check driver and GPU with nvidia-smi, and that TensorRT's CUDA version fits the driver",
            ) from error
        engine: ICudaEngine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise _diagnosed(runtime, api, content, where, gpu) or _why(messages, api, where, gpu)
        return runtime, engine


def io_tensors(api: Api, engine: ICudaEngine, where: str) -> tuple[IoTensor, ...]:
    """Inputs and outputs in the plan's order.

    Raises:
        ModelLoadError: one has a vectorised layout, lies in host memory, or has a type that PyTorch lacks.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return tuple(_io_tensor(api, engine, name, where) for name in names)


def describe_engine(api: Api, engine: ICudaEngine) -> dict[str, Any]:
    """Facts for provenance: tactic sources, streams, and every layer with its type, tactic and output formats."""
    trt = api.trt
    bits = int(engine.tactic_sources)
    inspector: EngineInspector = engine.create_engine_inspector()
    layers = _layers(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    return {
        "tactic_sources": sorted(
            name for name, source in trt.TacticSource.__members__.items() if bits >> int(source) & 1
        ),
        "hardware_compatibility": engine.hardware_compatibility_level.name,
        "auxiliary_streams": engine.num_aux_streams,
        "layer_count": engine.num_layers,
        "layer_formats": dict(sorted(Counter(f for layer in layers for f in layer.get("outputs", ())).items())),
        "layers": layers,
    }


def _io_tensor(api: Api, engine: ICudaEngine, name: str, where: str) -> IoTensor:
    trt = api.trt
    if engine.get_tensor_format(name) != trt.TensorFormat.LINEAR:
        raise ModelLoadError(
            f"{name!r} has the layout {engine.get_tensor_format(name).name}",
            where=where,
            remedy="build the plan with linear inputs and outputs (trtexec --inputIOFormats=fp32:chw), or compare the "
            "car's own dumps by the engine `recorded`",
        )
    if engine.get_tensor_location(name) == trt.TensorLocation.HOST:
        raise ModelLoadError(
            f"{name!r} is a shape tensor, whose values decide the shapes of others",
            where=where,
            remedy="make it a constant of the network, or name the dimension in model.toml and use the option profiles",
        )
    return IoTensor(
        name=name,
        is_input=engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
        shape=tuple(engine.get_tensor_shape(name)),
        dtype=_dtype(engine.get_tensor_dtype(name).name, name, where),
    )


def _dtype(trt_name: str, tensor: str, where: str) -> str:
    """`HALF` -> `float16`: PyTorch's name of a type."""
    known = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "BOOL": "bool"}
    known |= {name: name.lower() for name in ("INT8", "INT32", "INT64", "UINT8")}
    if trt_name not in known:
        raise ModelLoadError(
            f"{tensor!r} has the type {trt_name}", where=where, remedy=f"inputs and outputs must be of {sorted(known)}"
        )
    return known[trt_name]


def _layers(text: str) -> list[dict[str, Any]]:
    """The inspector's JSON, cut down; a plan built without layer names has none, one with names only has names."""
    try:
        found = json.loads(text).get("Layers", [])
    except (ValueError, AttributeError):
        return []
    return [_layer(layer) for layer in found]


def _layer(layer: Any) -> dict[str, Any]:
    if not isinstance(layer, dict):
        return {"name": str(layer)}
    outputs = [
        str(output.get("Format/Datatype", "")) for output in layer.get("Outputs", []) if isinstance(output, dict)
    ]
    kept = {"name": layer.get("Name", ""), "type": layer.get("LayerType", ""), "tactic": layer.get("TacticName", "")}
    return {**{key: value for key, value in kept.items() if value}, "outputs": outputs}


def _diagnosed(runtime: Runtime, api: Api, content: bytes, where: str, gpu: str) -> ModelLoadError | None:
    """Why a plan did not load, where the runtime itself says so (TensorRT for RTX); None where it does not."""
    if not api.has("Runtime.get_engine_validity"):
        return None
    _, bits = runtime.get_engine_validity(content)
    known = api.trt.EngineInvalidityDiagnostics.__members__
    named = {name for name, bit in known.items() if int(bits) & int(bit)}
    told = [text.format(title=api.title, gpu=gpu) for name, text in DIAGNOSES.items() if name in named]
    return ModelLoadError("; ".join(told), where=where, remedy=REBUILD) if told else None


def _why(messages: Messages, api: Api, where: str, gpu: str) -> ModelLoadError:
    """Why a plan did not load, from what TensorRT logged."""
    said = " ".join(messages.errors)
    if found := OTHER_GPU.search(said):
        what = f"the plan was built for a GPU of compute capability {found[2]}, and this one has {found[1]} ({gpu})"
        return ModelLoadError(what, where=where, remedy=REBUILD)
    if found := OTHER_VERSION.search(said):
        what = f"the plan was built by TensorRT {found[2]}, and this is {api.title}"
        return ModelLoadError(what, where=where, remedy=REBUILD)
    if OTHER_SERIALISATION.search(said):
        what = f"the plan was built by another TensorRT than this, {api.version}"
        return ModelLoadError(what, where=where, remedy=REBUILD)
    if PLUGIN.search(said):
        what = f"the plan needs a plugin that is not loaded: {messages.reason()}"
        return ModelLoadError(what, where=where, remedy="name its library under plugins in model.toml")
    return ModelLoadError(
        f"no plan that {api.title} can read, or a damaged one: {messages.reason()}",
        where=where,
        remedy="give the file that trtexec --saveEngine wrote, copied in binary mode, or build it anew",
    )
