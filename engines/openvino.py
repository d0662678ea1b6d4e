"""`openvino-fp32`, `openvino-fp16` and `openvino-bf16`: OpenVINO on the CPU, in precisions the processor really has.

The precision is asked for by `INFERENCE_PRECISION_HINT`, and OpenVINO is told to keep to it (`EXECUTION_MODE_HINT`
ACCURACY; left alone it takes bf16 wherever it can). It is only a hint: some operators stay in fp32 (means, and in bf16
also elementwise ones), so the provenance counts the executed operators by the precision they run in
(`operator_precision`). fp16 needs AVX512-FP16 or AMX-FP16 (or Arm), bf16 AVX512-BF16 or AMX; elsewhere the engine is
unavailable rather than emulated. fp16 overflows here as it does on a GPU, which ONNX Runtime's CPU provider hides.

Threads are fixed and recorded. OpenVINO hands its threads on from one model to the next with the denormal flag that
they were born with, so the first engine of a process decides for all: one that asks for the other treatment is refused.
The flag of the calling thread, which compiling changes, is restored.

`import openvino` would report itself to Google Analytics and write into ~/intel, unless the user opted out: the package
openvino-telemetry, which pip installs along, asks nobody. Here it is barred from the process before OpenVINO is
imported, which OpenVINO takes for "not installed".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import FrameEngine, check_threads, refuse_options, whole_cause
from engines.cpu import usable_cores
from engines.denormals import DenormalMode
from engines.errors import EngineCrashed, EngineOptionError, EngineUnavailable, ModelLoadError
from engines.export import exported, inlined
from engines.inspect.graph import model_sha256
from engines.io_check import check_inputs, check_io, fits, onnx_io
from engines.protocol import Availability, ModelSource, Tensors, TensorSpec
from engines.silent import load_openvino

__all__ = ["OpenVinoEngine", "availability", "default_precision", "open_engine"]

OPTIONS = ("threads", "denormals")
# our name -> (OpenVINO's element type, its capability, NumPy-like name, what a processor needs)
PRECISIONS = {
    "fp32": ("f32", "FP32", "float32", "any processor"),
    "fp16": ("f16", "FP16", "float16", "AVX512-FP16, AMX-FP16 or Arm FP16"),
    "bf16": ("bf16", "BF16", "bfloat16", "AVX512-BF16 or AMX-BF16"),
}
PASSIVE = {"Input", "Output", "Const"}  # layers of the executed graph that compute nothing


def open_engine(
    name: str,
    source: ModelSource,
    *,
    precision: str,
    threads: int | None = None,
    denormals: str = "flush",
    **unknown: Any,
) -> OpenVinoEngine:
    """Open an OpenVINO engine on the card's ONNX file, or on the export of its PyTorch network.

    Args:
        name: of the engine.
        source: the model.
        precision: fp32, fp16 or bf16; fixed by the name.
        threads: default: as many as there are physical cores.
        denormals: `flush` (default, as in the ONNX Runtime engines) or `keep`.
        unknown: refused.

    Raises:
        EngineOptionError, EngineUnavailable, ExportError, ModelLoadError, EngineOutputMissing: as their names say.
    """
    refuse_options(name, unknown, OPTIONS)
    check_threads(name, threads)
    if denormals not in ("flush", "keep"):
        raise EngineOptionError(
            f"denormals {denormals!r}", where=f"options of {name}", remedy="must be in ['flush', 'keep']"
        )
    _demand(name, precision)
    model = inlined(exported(source, "openvino"), source.cache)
    if _first_mode(denormals) != denormals:
        raise EngineUnavailable(
            f"OpenVINO's threads in this process already {_first_mode(denormals)} denormals",
            where=f"options of {name}",
            remedy="give every OpenVINO engine the same `denormals`, or run each in a process of its own: --isolate",
        )
    return OpenVinoEngine(
        name, source, model, precision, usable_cores() if threads is None else threads, denormals == "flush"
    )


def availability(name: str) -> Availability:
    """OpenVINO's version and the processor, or why it cannot run in this precision."""
    from engines.registry import base_name
    from engines.table import TABLE

    if "@" in name:
        return Availability(name, False, f"{name.partition('@')[0]} runs on the CPU only", "leave the device out")
    try:
        _demand(name, TABLE[base_name(name)].options["precision"])
    except EngineUnavailable as error:
        return Availability(name, False, error.what, error.remedy)
    return Availability(name, True, f"openvino {_release(load_openvino())} on {_processor()}, {usable_cores()} threads")


def default_precision() -> str | None:
    """What OpenVINO computes an fp32 model in on this processor where nobody asks: fp32, fp16 or bf16; None: it is not
    installed.
    """
    try:
        element = _core().get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
    except ImportError:
        return None
    return next((name for name, (known, *_) in PRECISIONS.items() if known == element), str(element))


class OpenVinoEngine(FrameEngine):
    """One compiled model and its request."""

    def __init__(self, name: str, source: ModelSource, model: Path, precision: str, threads: int, flush: bool) -> None:
        compiled = _compile(model, precision, threads, flush)
        self._where = f"{source.name}, engine {name}"
        given, gives = onnx_io(model)
        named = _named(compiled.inputs, given)
        self._inputs = tuple(_spec(compiled.inputs[place], called) for called, place in named.items())
        self._places = named
        places = _named(compiled.outputs, gives)
        check_io(source, self._inputs, list(places), str(model))
        self._outputs = {output: places[output] for output in source.outputs}
        self._request: Any = compiled.create_infer_request()
        self._mode = DenormalMode(flush=flush)
        element, _, precision_name, _ = PRECISIONS[precision]
        used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if used != element:
            raise EngineUnavailable(
                f"OpenVINO compiles for {used} where {element} is asked for",
                where=self._where,
                remedy=f"run it on a processor with {PRECISIONS[precision][3]}",
            )
        super().__init__(
            name,
            {
                "openvino": _release(load_openvino()),
                "model": f"{model.parent.name}/{model.name}",
                "model_sha256": model_sha256(model),
                "precision": precision_name,
                "operator_precision": _operator_precision(compiled),
                "threads": int(compiled.get_property("INFERENCE_NUM_THREADS")),
                "denormals": "flush" if compiled.get_property("CPU_DENORMALS_OPTIMIZATION") else "keep",
                "device": f"cpu, {_processor()}",
            },
        )

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Run the model once; outputs are copies.

        Raises:
            EngineInputError: an input is missing or does not fit.
            EngineCrashed: OpenVINO failed.
        """
        check_inputs(self._inputs, inputs, self._where)
        if self._request is None:
            raise EngineCrashed("the engine is closed", where=self._where, remedy="open it again")
        arrays = {self._places[name]: np.ascontiguousarray(array) for name, array in inputs.items()}
        try:
            with self._mode:
                results = self._request.infer(arrays, share_inputs=False, share_outputs=False)
        except Exception as error:
            raise EngineCrashed(
                f"OpenVINO failed: {whole_cause(error)}",
                where=self._where,
                remedy="run the ONNX file by hand on this input",
            ) from error
        return {name: results[place] for name, place in self._outputs.items()}

    def close(self) -> None:
        """Drop the request, and with it the compiled model."""
        self._request = None


def _compile(model: Path, precision: str, threads: int, flush: bool) -> Any:
    """Read and compile; the calling thread's denormal flag is left as it was.

    Raises:
        ModelLoadError: OpenVINO does not read it, or lacks an operator.
    """
    settings = {
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision][0],
        "EXECUTION_MODE_HINT": "ACCURACY",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # engines take turns: pinned threads would all sit on the same cores
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # no int8 activations behind our back
        "CPU_DENORMALS_OPTIMIZATION": flush,
    }
    try:
        with DenormalMode(flush=flush):
            return _core().compile_model(_core().read_model(model), "CPU", settings)
    except Exception as error:
        raise ModelLoadError(
            f"OpenVINO cannot load it: {whole_cause(error)}",
            where=str(model),
            remedy="check the file with onnx.checker.check_model; plugins of other runtimes do not work in OpenVINO",
        ) from error


def _demand(name: str, precision: str) -> None:
    """OpenVINO is there, and this processor computes in that precision.

    Raises:
        EngineUnavailable: one of the two is not so.
    """
    try:
        has = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except ImportError as error:
        raise EngineUnavailable(
            f"OpenVINO does not import: {error}", where=f"engine {name}", remedy="pip install 'trueline[openvino]'"
        ) from error
    _, capability, precision_name, needs = PRECISIONS[precision]
    if capability not in has:
        raise EngineUnavailable(
            f"this processor ({_processor()}) does not compute in {precision_name}",
            where=f"engine {name}",
            remedy=f"run it on one with {needs}; emulated-{precision} shows the rounding on any processor",
        )


_modes: list[str] = []  # how this process's OpenVINO threads treat denormals, once one was made


def _first_mode(denormals: str) -> str:
    """How OpenVINO's threads of this process treat denormals; decided by the first call."""
    if not _modes:
        _modes.append(denormals)
    return _modes[0]


@cache
def _core() -> Any:
    """The one OpenVINO core of the process."""
    return load_openvino().Core()


def _processor() -> str:
    return str(_core().get_property("CPU", "FULL_DEVICE_NAME")).strip()


def _release(openvino: Any) -> str:
    """`2026.4.1-22982-e213...-releases/2026/4` -> `2026.4.1`."""
    return str(openvino.__version__).partition("-")[0]


def _operator_precision(compiled: Any) -> dict[str, int]:
    """Number of executed operators by the precision they run in, as the compiled model tells."""
    facts = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    return dict(
        Counter(fact["runtimePrecision"].astype(str) for fact in facts if fact["layerType"].astype(str) not in PASSIVE)
    )


def _named(ports: Sequence[Any], onnx: Sequence[TensorSpec]) -> dict[str, int]:
    """Position of each of the file's inputs or outputs among OpenVINO's, in the file's order.

    Compiling joins tensors, so a port may carry the names of several and show another's first (`h0` for `image` where a
    Cast fell away). Any of its names will do; where the file's name is gone, the place in the file does, if the shapes
    fit. What has neither keeps OpenVINO's name.
    """
    aliases = {alias: place for place, port in enumerate(ports) for alias in port.get_names()}
    found = {spec.name: aliases[spec.name] for spec in onnx if spec.name in aliases}
    if len(onnx) == len(ports):
        for place, spec in enumerate(onnx):
            if spec.name not in found and place not in found.values() and fits(spec.shape, _shape(ports[place])):
                found[spec.name] = place
    rest = {port.get_any_name(): place for place, port in enumerate(ports) if place not in found.values()}
    return {**found, **rest}


def _shape(port: Any) -> tuple[int | str, ...]:
    """Sizes of a port; `?` for a dynamic dimension."""
    shape = port.get_partial_shape()
    return tuple(d.get_length() if d.is_static else "?" for d in shape) if shape.rank.is_static else ("?",)


def _spec(port: Any, name: str) -> TensorSpec:
    """Name, shape and dtype of an input."""
    try:
        dtype = port.get_element_type().to_dtype().name
    except (RuntimeError, KeyError, TypeError):  # bfloat16 and others that NumPy lacks
        dtype = port.get_element_type().get_type_name()
    return TensorSpec(name, _shape(port), dtype)
