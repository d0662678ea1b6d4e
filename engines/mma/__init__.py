"""`emulated-mma-*`: every product as tensor cores compute it, to the bit of a step.

    emulated-mma-fp16                fp16 storage at the ends of fused kernels, fp16 operands, fp32 accumulators
    emulated-mma-bf16                the same in bfloat16
    emulated-mma-tf32                fp32 storage, operands cut to TF32; `rna`, `rne` round them first
    emulated-mma-fp16-plan           storage where TensorRT for RTX's compiled plan writes fp16; emulated-mma-bf16-plan
    ...:ARCHITECTURE                 volta, turing, ampere (default), ada, hopper, blackwell
    ...:ARCHITECTURE-acc16           fp16 accumulators
    ...:ARCHITECTURE-order7          K in another order, by seed
    ...:ARCHITECTURE-every           storage rounded after every operator

The graph is that of `emulated-fp16-fused` (`-bf16-fused`, `emulated-tf32:rz`, `emulated-fp16:plan`), so accumulation is
the one difference.
What is not a product runs in ONNX Runtime. The arithmetic: `engines.mma.arithmetic`; the order: `engines.mma.order`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from engines.base import check_threads
from engines.cpu import usable_cores
from engines.emulated import FILE_OPTIONS, OF_BUILD, availability_by_plan, emulated_graph
from engines.emulated.recipe import Recipe
from engines.errors import EngineUnavailable
from engines.mma.engine import MmaEngine
from engines.mma.variant import read_variant
from engines.ort_engine import availability as ort_availability
from engines.protocol import Availability, ModelSource
from engines.table import TABLE

__all__ = ["FILE_OPTIONS", "availability", "open_engine"]

_REMEDY = "pip install 'trueline[mma]'"


def open_engine(
    name: str,
    source: ModelSource,
    *,
    method: str,
    plan: str = "",
    threads: int | None = None,
    denormals: str = "flush",
    **options: Any,
) -> MmaEngine:
    """Open an engine of this family.

    Args:
        name: with architecture and variants as its suffix.
        source: the model.
        method: fp16, bf16 or tf32; fixed by the name.
        plan: `plan` where a compiled plan says what is stored; fixed by the name.
        threads: that share a product, and of ONNX Runtime; default: as many as there are physical cores.
        denormals: as of `ort-fp32`, for what is not a product; products keep them.
        options: architecture, accumulator, order, operands (tf32), placement (fp16, bf16); with a plan, instead of
            placement, target, calibration and keep_fp32, as of `trtrtx-*`.

    Raises:
        EngineOptionError, EngineUnavailable, ExportError, ModelLoadError, EngineOutputMissing: as their names say.
    """
    of_build = {key: options.pop(key) for key in OF_BUILD if plan and key in options}
    variant = read_variant(name, method, options, by_plan=bool(plan))
    check_threads(name, threads)
    if find_spec("numba") is None:
        raise EngineUnavailable("numba is not installed", where=name, remedy=_REMEDY)
    recipe = Recipe(method, fused=not plan and variant.placement == "fused", marked=True, plan=plan)
    model, facts = emulated_graph(source, recipe, of_build)
    return MmaEngine(name, source, model, variant, usable_cores() if threads is None else threads, denormals, facts)


def availability(name: str) -> Availability:
    """Runs wherever numba and ONNX Runtime do.

    Raises:
        EngineOptionError: no such architecture or variant.
    """
    fixed = TABLE[name.partition("@")[0].partition(":")[0]].options
    read_variant(name, fixed["method"], {}, by_plan="plan" in fixed)
    if find_spec("numba") is None:
        return Availability(name, False, "numba is not installed", _REMEDY)
    return availability_by_plan(name) if "plan" in fixed else ort_availability(name)
