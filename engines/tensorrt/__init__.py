"""`trt-*`: TensorRT 8.6, 10.x and 11.x on an NVIDIA GPU, the runtime that cars have.

    trt-fp32   TF32 off: the rung that differs from ONNX Runtime by runtime and device only
    trt-tf32   what an fp32 engine built by trtexec is, whose TF32 is on by default
    trt-fp16   weakly or strongly typed, as the card says the car is
    trt-bf16   likewise
    trt-int8   Q/DQ nodes of the graph, or a calibration cache

A prebuilt plan runs by the option `plan`. Which name builds what on which version: engines/tensorrt/recipe.py. Options,
and what has run on hardware: docs/tensorrt.md.
"""

from __future__ import annotations

from typing import Any

from engines.protocol import Availability, Engine, ModelSource

__all__ = ["FILE_OPTIONS", "availability", "open_engine", "wants_calibration"]

FILE_OPTIONS = ("plan", "calibration", "calibration_cache", "timing_cache")

AUTOCAST = ("trt-fp16", "trt-bf16")  # engines that may run it


def open_engine(name: str, source: ModelSource, *, precision: str, **options: Any) -> Engine:
    """Open a TensorRT engine; the name fixes `precision`.

    Raises:
        EngineUnavailable: TensorRT, a GPU, calibration data or ModelOpt is missing, or this version cannot build it so.
        EngineOptionError, ExportError, ModelLoadError, EngineOutputMissing: as their names say.
    """
    from engines.tensorrt.opening import open_trt

    return open_trt(name, source, precision, options)


def availability(name: str) -> Availability:
    """TensorRT's version and the GPU, or what is missing: bindings, libraries, GPU, the precision."""
    from engines.errors import EngineError
    from engines.tensorrt import api, autocast, device, recipe

    try:
        found = api.load()
        gpu = device.open_device(name)
        recipe.check_precision(name, _base(name).removeprefix("trt-"), found, gpu.capability)
    except EngineError as error:
        return Availability(name, False, error.what, error.remedy)
    detail = f"TensorRT {found.version} on {gpu.name}, compute capability {gpu.facts['compute_capability']}"
    if _base(name) in AUTOCAST and autocast.modelopt_version() is None:
        detail += "; strongly typed from fp32 graphs only with nvidia-modelopt"
    return Availability(name, True, detail)


def wants_calibration(name: str, source: ModelSource) -> bool:
    """Whether the engine may run AutoCast and then needs the option `calibration`: strongly typed fp16 or bf16.

    Not where the card gives the engine a prebuilt plan, or calibration data of its own.
    """
    head = name.partition("@")[0]
    said = {key for table in (_base(name), head, name) for key in source.options.get(table, {})}
    return _base(name) in AUTOCAST and source.fp16 == "strong" and not said & {"plan", "calibration"}


def _base(name: str) -> str:
    return name.partition("@")[0].partition(":")[0]
