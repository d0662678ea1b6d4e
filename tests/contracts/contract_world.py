# ruff: noqa: N802  # handlers are called Class_method
"""What a TensorRT library would do, in Python: enough to build, refuse, load and run, and no more.

A plan holds the ONNX file, which ONNX Runtime executes on the memory whose addresses TensorRT was given. Refusals and
their texts are those that the real library logs (TensorRT's public issue threads have them).
"""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from contract_fakes import Recording, make
from onnx import defs

MAGIC = b"ftrt"
TYPES = {"float32": "FLOAT", "float16": "HALF", "int32": "INT32", "int64": "INT64", "bool": "BOOL", "uint8": "UINT8"}


class World:
    """One machine: its TensorRT, its GPU; `speak` is the logger that was given to it."""

    trt: Any
    record: Recording

    def __init__(self, version: str, capability: str = "8.6") -> None:
        self.version, self.capability = version, capability
        self.major = int(version.split(".")[0])
        self.logger: Any = None
        self.context_lost = False
        self.registers = True

    def speak(self, severity: int, text: str) -> None:
        self.logger.log(severity, text)

    # starting

    def Builder_init(self, _: Any, logger: Any) -> None:
        self.logger = logger

    def Runtime_init(self, _: Any, logger: Any) -> None:
        self.logger = logger

    def init_libnvinfer_plugins(self, logger: Any, namespace: str) -> bool:
        return True

    def get_plugin_registry(self) -> Any:
        return make(self.trt, "IPluginRegistry")

    def IPluginRegistry_load_library(self, _: Any, plugin_path: str) -> Any:
        return object() if self.registers else None

    # network

    def Builder_create_network(self, _: Any, flags: int = 0) -> Any:
        members = self.trt.NetworkDefinitionCreationFlag.__members__
        on = {name for name, bit in members.items() if flags >> int(bit) & 1}
        if self.major == 8 and "EXPLICIT_BATCH" not in on:
            return None
        return make(self.trt, "INetworkDefinition", strong=self.major >= 11 or "STRONGLY_TYPED" in on)

    def INetworkDefinition_get_num_inputs(self, network: Any) -> int:
        return len(network.inputs)

    def INetworkDefinition_get_num_layers(self, network: Any) -> int:
        return 0  # what layers the parser makes of nodes, the real library shows (test_rtx_zoo)

    def INetworkDefinition_get_input(self, network: Any, index: int) -> Any:
        name, shape, _ = network.inputs[index]
        return make(self.trt, "ITensor", _name=name, _shape=shape)

    def OnnxParser_init(self, parser: Any, network: Any, logger: Any) -> None:
        parser.__dict__.update(network=network, errors=[])
        self.logger = logger

    def OnnxParser_parse_from_file(self, parser: Any, path: str) -> bool:
        model = onnx.load(path)
        for index, node in enumerate(model.graph.node):
            if not defs.has(node.op_type, node.domain):
                parser.errors.append((index, node, "No importer registered for op: " + node.op_type + ".\nAttempted"))
        parser.network.__dict__.update(model=Path(path).read_bytes(), inputs=_values(model.graph, model.graph.input))
        return not parser.errors

    def OnnxParser_get_num_errors(self, parser: Any) -> int:
        return len(parser.errors)

    def OnnxParser_get_error(self, parser: Any, index: int) -> Any:
        return make(self.trt, "ParserError", error=parser.errors[index])

    def ParserError_node(self, error: Any) -> int:
        return int(error.error[0])

    def ParserError_node_name(self, error: Any) -> str:
        return str(error.error[1].name)

    def ParserError_node_operator(self, error: Any) -> str:
        return str(error.error[1].op_type)

    def ParserError_desc(self, error: Any) -> str:
        return str(error.error[2])

    # configuration

    def Builder_create_builder_config(self, _: Any) -> Any:
        return make(self.trt, "IBuilderConfig", flags_on={"TF32"}, profiles=[], timings=None, limits={}, sources=None)

    def IBuilderConfig_set_flag(self, config: Any, flag: Any) -> None:
        config.flags_on.add(flag.name)

    def IBuilderConfig_clear_flag(self, config: Any, flag: Any) -> None:
        config.flags_on.discard(flag.name)

    def IBuilderConfig_set_memory_pool_limit(self, config: Any, pool: Any, size: int) -> None:
        config.limits[pool.name] = size

    def IBuilderConfig_set_tactic_sources(self, config: Any, bits: int) -> bool:
        config.sources = bits
        return True

    def Builder_create_optimization_profile(self, _: Any) -> Any:
        return make(self.trt, "IOptimizationProfile", shapes={})

    def IOptimizationProfile_set_shape(self, profile: Any, name: str, low: Any, best: Any, high: Any) -> None:
        profile.shapes[name] = [list(low), list(best), list(high)]

    def IBuilderConfig_add_optimization_profile(self, config: Any, profile: Any) -> int:
        config.profiles.append(profile.shapes)
        return len(config.profiles) - 1

    def IBuilderConfig_set_calibration_profile(self, config: Any, profile: Any) -> bool:
        return True

    def IBuilderConfig_create_timing_cache(self, _: Any, content: bytes) -> Any:
        if content and not content.startswith(b"timings"):
            self.speak(1, "Error Code 1: Serialization (Serialization assertion failed.)")
            return None
        return make(self.trt, "ITimingCache", content=content)

    def IBuilderConfig_set_timing_cache(self, config: Any, cache: Any, ignore_mismatch: bool) -> bool:
        if cache.content and self.capability.encode() not in cache.content:
            return False
        config.timings = cache
        return True

    def IBuilderConfig_get_timing_cache(self, config: Any) -> Any:
        return config.timings

    def ITimingCache_serialize(self, cache: Any) -> Any:
        return make(self.trt, "IHostMemory", content=cache.content)

    # building

    def Builder_build_serialized_network(self, _: Any, network: Any, config: Any) -> Any:
        why = self._refusal(network, config)
        if why is not None:
            self.speak(1, why)
            return None
        self.speak(2, "Detected layernorm nodes in FP16.")
        self.speak(3, "Total Weights Memory: 1024 bytes")
        config.timings.content = b"timings of " + self.capability.encode()
        plan = {
            "version": self.version,
            "capability": self.capability,
            "flags": sorted(config.flags_on),
            "strong": network.strong,
            "profile": (config.profiles or [{}])[0],
            "detailed": config._profiling_verbosity.name == "DETAILED",
            "onnx": network.model.hex(),
        }
        return make(self.trt, "IHostMemory", content=MAGIC + json.dumps(plan).encode())

    def _refusal(self, network: Any, config: Any) -> str | None:
        graph = onnx.load_from_string(network.model).graph
        if any(-1 in shape for _, shape, _ in network.inputs) and not config.profiles:
            return "Error Code 4: API Usage Error (Network has dynamic inputs, but no optimization profile is defined.)"
        if network.strong and config.flags_on & {"FP16", "BF16", "INT8"}:
            return "Error Code 3: API Usage Error (precision flags are not allowed in a strongly typed network)"
        quantised = any(node.op_type == "QuantizeLinear" for node in graph.node)
        if quantised and not network.strong and "INT8" not in config.flags_on:
            return "Error Code 4: Internal Error (Int8 precision has been set for a layer but INT8 is not configured)"
        if "INT8" in config.flags_on and not quantised:
            calibrator = config._int8_calibrator
            if f"TRT-{self.version.replace('.', '')[:4]}".encode() not in calibrator.read_calibration_cache()[:10]:
                calibrator.get_batch_size()
                batch = calibrator.get_batch([name for name, _, _ in network.inputs])
                assert batch == [], f"TensorRT would read its calibration data at {batch}"
                return "Error Code 1: Calibration failure occurred with no scaling factors detected."
        return None

    # plans

    def Runtime_deserialize_cuda_engine(self, _: Any, content: bytes) -> Any:
        failed = (
            "[runtime.cpp::deserializeCudaEngine::66] Error Code 4: Internal Error (Engine deserialization failed.)"
        )
        why = self._not_loading(content)
        if why is not None:
            self.speak(1, why)
            self.speak(1, failed)
            return None
        plan = json.loads(content.removeprefix(MAGIC))
        return make(self.trt, "ICudaEngine", plan=plan, io=_io(plan))

    def _not_loading(self, content: bytes) -> str | None:
        if not content.startswith(MAGIC):
            return "Error Code 1: Serialization (Serialization assertion magicTagRead == kMAGIC_TAG failed.)"
        try:
            plan = json.loads(content.removeprefix(MAGIC))
        except ValueError:
            return "Error Code 1: Serialization (Serialization assertion sizeRead == static_cast<uint64_t> failed.)"
        wrong = "The engine plan file is"
        if plan["version"] != self.version:
            library = f"expecting library version {self.version} got {plan['version']}, please rebuild."
            return f"Error Code 6: API Usage Error ({wrong} not compatible with this version of TensorRT, {library})"
        if plan["capability"] != self.capability:
            compute = f"expecting compute {self.capability} got compute {plan['capability']}, please rebuild."
            return f"Error Code 6: API Usage Error ({wrong} generated on an incompatible device, {compute})"
        return None

    def ICudaEngine_get_num_io_tensors(self, engine: Any) -> int:
        return len(engine.io)

    def ICudaEngine_get_tensor_name(self, engine: Any, index: int) -> str:
        return str(list(engine.io)[index])

    def ICudaEngine_get_tensor_mode(self, engine: Any, name: str) -> Any:
        return self.trt.TensorIOMode.__members__["INPUT" if engine.io[name]["input"] else "OUTPUT"]

    def ICudaEngine_get_tensor_shape(self, engine: Any, name: str) -> tuple[int, ...]:
        return tuple(engine.io[name]["shape"])

    def ICudaEngine_get_tensor_dtype(self, engine: Any, name: str) -> Any:
        kind = TYPES[engine.io[name]["dtype"]]
        return self.trt.DataType.__members__["INT32" if self.major == 8 and kind == "INT64" else kind]

    def ICudaEngine_get_tensor_format(self, engine: Any, name: str) -> Any:
        return self.trt.TensorFormat.__members__[engine.plan.get("format", "LINEAR")]

    def ICudaEngine_get_tensor_location(self, engine: Any, name: str) -> Any:
        return self.trt.TensorLocation.__members__["DEVICE"]

    def ICudaEngine_get_tensor_profile_shape(self, engine: Any, name: str, index: int) -> list[tuple[int, ...]]:
        return [tuple(shape) for shape in engine.plan["profile"][name]]

    def ICudaEngine_get_tactic_sources(self, engine: Any) -> int:
        return 1 << int(self.trt.TacticSource.__members__["JIT_CONVOLUTIONS"])

    def ICudaEngine_get_hardware_compatibility_level(self, engine: Any) -> Any:
        return self.trt.HardwareCompatibilityLevel.__members__["NONE"]

    def ICudaEngine_get_num_aux_streams(self, engine: Any) -> int:
        return 0

    def ICudaEngine_get_num_layers(self, engine: Any) -> int:
        return len(_graph(engine.plan).node)

    def ICudaEngine_create_engine_inspector(self, engine: Any) -> Any:
        return make(self.trt, "EngineInspector", engine=engine)

    def EngineInspector_get_engine_information(self, inspector: Any, kind: Any) -> str:
        plan = inspector.engine.plan
        layers = [
            {
                "Name": node.name,
                "LayerType": node.op_type,
                "TacticName": "generic",
                "Outputs": [{"Name": name, "Format/Datatype": "Row major linear FP32"} for name in node.output],
            }
            for node in _graph(plan).node
        ]
        return json.dumps(
            {"Layers": layers if plan["detailed"] else [layer["Name"] for layer in layers], "Bindings": []}
        )

    # execution

    def ICudaEngine_create_execution_context(self, engine: Any) -> Any:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(bytes.fromhex(engine.plan["onnx"]), options, providers=["CPUExecutionProvider"])
        fixed = {name: io["shape"] for name, io in engine.io.items() if io["input"] and -1 not in io["shape"]}
        return make(self.trt, "IExecutionContext", of=engine, session=session, shapes=fixed, addresses={})

    def IExecutionContext_set_input_shape(self, context: Any, name: str, shape: tuple[int, ...]) -> bool:
        profile = context.of.plan["profile"].get(name)
        low, high = (profile[0], profile[2]) if profile else (context.of.io[name]["shape"],) * 2
        if not all(a <= size <= b for a, size, b in zip(low, shape, high, strict=True)):
            self.speak(1, f"Error Code 3: API Usage Error (Supplied binding dimension {list(shape)} is out of range)")
            return False
        context.shapes[name] = list(shape)
        return True

    def IExecutionContext_get_tensor_shape(self, context: Any, name: str) -> tuple[int, ...]:
        return tuple(context.shapes[name]) if context.of.io[name]["input"] else self._outputs(context)[name].shape

    def IExecutionContext_set_tensor_address(self, context: Any, name: str, memory: int) -> bool:
        context.addresses[name] = memory
        return True

    def IExecutionContext_execute_async_v3(self, context: Any, stream_handle: int) -> bool:
        if self.context_lost:
            self.speak(1, "Error Code 1: Cuda Runtime (an illegal memory access was encountered)")
            return False
        for name, value in self._outputs(context, read=True).items():
            content = np.ascontiguousarray(value)
            ctypes.memmove(context.addresses[name], content.ctypes.data, content.nbytes)
        return True

    def _outputs(self, context: Any, read: bool = False) -> dict[str, Any]:
        """What the ONNX file gives for what lies at the inputs' addresses; for zeros, where only shapes matter."""
        inputs = {}
        for name, shape in context.shapes.items():
            dtype = self._dtype(context.of.io[name]["dtype"])
            inputs[name] = np.zeros(shape, dtype)
            if read:
                ctypes.memmove(inputs[name].ctypes.data, context.addresses[name], inputs[name].nbytes)
        for name, value in inputs.items():
            inputs[name] = value.astype(context.of.io[name]["dtype"])
        names = [name for name, io in context.of.io.items() if not io["input"]]
        values = context.session.run(names, inputs)
        return {name: value.astype(self._dtype(value.dtype.name)) for name, value in zip(names, values, strict=True)}

    def _dtype(self, name: str) -> str:
        return "int32" if self.major == 8 and name == "int64" else name


def _graph(plan: dict[str, Any]) -> Any:
    return onnx.load_from_string(bytes.fromhex(plan["onnx"])).graph


def _io(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    graph = _graph(plan)
    found = {}
    for values, is_input in ((graph.input, True), (graph.output, False)):
        for name, shape, dtype in _values(graph, values):
            found[name] = {"input": is_input, "shape": list(shape), "dtype": dtype}
    return found


def _values(graph: Any, values: Any) -> list[tuple[str, tuple[int, ...], str]]:
    weights = {tensor.name for tensor in graph.initializer}
    found = []
    for value in values:
        kind = value.type.tensor_type
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        if value.name not in weights:
            found.append((value.name, shape, dtype))
    return found
