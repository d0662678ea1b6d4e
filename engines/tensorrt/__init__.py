"""`trt-*` and `trtrtx-*`: TensorRT 8.6, 10.x and 11.x, which cars have, and TensorRT for RTX.

    trt-fp32   TF32 off: the rung that differs from ONNX Runtime by runtime and device only
    trt-tf32   what an fp32 engine built by trtexec is, whose TF32 is on by default
    trt-fp16   weakly or strongly typed, as the card says the car is
    trt-bf16   likewise
    trt-int8   Q/DQ nodes of the graph, or a calibration cache
    trtrtx-fp32, -tf32, -fp16, -bf16
               the same builds by TensorRT for RTX, strongly typed, for a named compute capability: `compile_plan` needs
               no GPU

A prebuilt plan runs by the option `plan`. Which name builds what on which version: engines/tensorrt/recipe.py. Options,
and what has run on hardware: docs/tensorrt.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from engines.protocol import Availability, Engine, ModelSource
from engines.tensorrt.product import product_of

if TYPE_CHECKING:
    from engines.tensorrt.opening import Compiled

__all__ = ["FILE_OPTIONS", "availability", "compile_plan", "open_engine", "wants_calibration"]

FILE_OPTIONS = ("plan", "calibration", "calibration_cache", "timing_cache")

_BY_PLAN = re.compile(r"emulated-(?:(fp16|bf16):plan(-half)?|mma-(fp16|bf16)-plan(:.*)?)")
AUTOCAST = ("trt-fp16", "trt-bf16", "trtrtx-fp16", "trtrtx-bf16")  # engines that may run it


def open_engine(name: str, source: ModelSource, *, precision: str, **options: Any) -> Engine:
    """Open a TensorRT engine; the name fixes `precision`.

    Raises:
        EngineUnavailable: TensorRT, a GPU, calibration data or ModelOpt is missing, or this version cannot build it so.
        EngineOptionError, ExportError, ModelLoadError, EngineOutputMissing: as their names say.
    """
    from engines.tensorrt.opening import open_trt

    return open_trt(name, source, precision, options)


def compile_plan(name: str, source: ModelSource, *, precision: str, **options: Any) -> Compiled:
    """Build the plan of a `trtrtx-*` engine without running it; the name fixes `precision`.

    Raises:
        EngineError: as of `open_engine`, but for a missing GPU.
    """
    from engines.errors import EngineUnavailable
    from engines.tensorrt.opening import compile_plan as compiled

    if not product_of(name).apart:
        raise EngineUnavailable(
            f"{name} builds on the GPU that runs it, and only there",
            where=name,
            remedy="build it there by a replay, or name a trtrtx-* engine, which builds anywhere",
        )
    return compiled(name, source, precision, options)


def availability(name: str) -> Availability:
    """The version and the GPU, or what is missing: bindings, libraries, GPU, the precision."""
    from engines.errors import EngineError
    from engines.tensorrt import api, autocast, device, recipe

    product, precision = product_of(name), _base(name).partition("-")[2]
    remark = ""
    if _base(name) in AUTOCAST and autocast.modelopt_version() is None:
        remark = "; strongly typed from fp32 graphs only with nvidia-modelopt"
    try:
        found = api.load(product)
    except EngineError as error:
        return Availability(name, False, error.what, error.remedy)
    try:
        gpu = device.open_device(name)
        recipe.check_precision(name, precision, found, gpu.capability)
    except EngineError as error:
        if product.apart:
            what = f"{found.title} builds here{remark}, and does not run: {error.what}"
            return Availability(
                name, False, what, f"trueline model export CARD --engine {name} --out FILE; {error.remedy}"
            )
        return Availability(name, False, error.what, error.remedy)
    detail = f"{found.title} on {gpu.name}, compute capability {gpu.facts['compute_capability']}{remark}"
    return Availability(name, True, detail)


def wants_calibration(name: str, source: ModelSource) -> bool:
    """Whether the engine may run AutoCast and then needs the option `calibration`: strongly typed fp16 or bf16.

    So does one that emulates the plan of such an engine, `emulated-fp16:plan` or `emulated-mma-fp16-plan`. Not where
    the card gives the engine a prebuilt plan, or calibration data of its own.
    """
    head = name.partition("@")[0]
    by_plan = _BY_PLAN.fullmatch(head)
    built = f"trtrtx-{by_plan[1] or by_plan[3]}" if by_plan else _base(name)
    said = {key for table in (built, _base(name), head, name) for key in source.options.get(table, {})}
    return built in AUTOCAST and source.fp16 == "strong" and not said & {"plan", "calibration"}


def _base(name: str) -> str:
    return name.partition("@")[0].partition(":")[0]
