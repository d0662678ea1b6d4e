"""Which build an engine's name means on which TensorRT: typing, builder flags, AutoCast.

| engine   | weakly typed (8.6 to 10.x)         | strongly typed (10.0 and newer)            |
|----------|------------------------------------|--------------------------------------------|
| trt-fp32 | TF32 cleared                       | TF32 cleared                               |
| trt-tf32 | TF32 set                           | TF32 set                                   |
| trt-fp16 | FP16 set: the builder chooses      | AutoCast writes fp16 into the graph        |
| trt-bf16 | BF16 set (from 10.0)               | AutoCast writes bf16 into the graph        |
| trt-int8 | INT8 set: Q/DQ or calibration cache| Q/DQ                                       |

The card's `fp16` says which of the two columns the car runs; where TensorRT cannot, it is an error and never a silent
change of kind. TF32 is on by default in every TensorRT, so `trt-fp32` clears it; the fp16, bf16 and int8 engines leave
it as trtexec does, and the option `tf32` changes that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engines.errors import EngineOptionError, EngineUnavailable
from engines.tensorrt.api import ONLY, Api
from engines.tensorrt.graph import GraphFacts
from engines.tensorrt.options import Options
from engines.tensorrt.product import TENSORRT

__all__ = ["PRECISIONS", "Recipe", "Typing", "check_precision", "choose"]

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8")
TYPED = ("fp16", "bf16")
AMPERE = (8, 0)  # compute capability of the first GPUs with TF32 and bf16
NEWEST_OPSET_8 = 17

Typing = Literal["weak", "strong"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build: typing, builder flags to set and to clear, and what AutoCast must write into the graph first."""

    precision: str
    typing: Typing
    set_flags: tuple[str, ...]
    clear_flags: tuple[str, ...]
    autocast: str | None = None
    calibration_cache: bool = False


def check_precision(name: str, precision: str, api: Api, capability: tuple[int, int]) -> None:
    """Refuse a precision that this TensorRT or this GPU lacks whatever the model.

    Raises:
        EngineUnavailable: it does.
    """
    if precision == "bf16" and not api.has("BuilderFlag.BF16") and not api.strongly_typed:
        raise EngineUnavailable(
            f"{api.title} has no bf16", where=name, remedy="use TensorRT 10.0 or newer, or trt-fp16"
        )
    if precision in ("tf32", "bf16") and capability < AMPERE:
        raise EngineUnavailable(
            f"a GPU of compute capability {capability[0]}.{capability[1]} has no {precision}",
            where=name,
            remedy="use a GPU of compute capability 8.0 or newer, or another engine",
        )


def choose(
    name: str, precision: str, api: Api, kind: Typing, graph: GraphFacts, options: Options, where: str
) -> Recipe:
    """The build that a name means for this graph on this TensorRT.

    Args:
        name: of the engine, for messages.
        precision: one of PRECISIONS.
        api: the installed TensorRT.
        kind: the card's `fp16`, what the car runs.
        graph: facts of the ONNX file.
        options: the engine's.
        where: file, for messages.

    Raises:
        EngineUnavailable: this TensorRT cannot build it so.
        EngineOptionError: options that contradict the name or the graph.
    """
    _check_opset(name, api, graph, where)
    if options.tf32 is not None and precision in ("fp32", "tf32"):
        raise _contradiction(name, "tf32", "its name says whether it uses TF32")
    if precision == "int8":
        return _int8(name, api, kind, graph, options, where)
    for key, value in (("rest", options.rest), ("calibration_cache", options.calibration_cache)):
        if value is not None:
            raise _contradiction(name, key, "only trt-int8 has it")
    if graph.quantised:
        raise EngineUnavailable(
            f"the graph is quantised, and {name} would run its int8 nodes as int8",
            where=where,
            remedy="use trt-int8, or give the ONNX file from before quantisation",
        )
    if precision in TYPED:
        return _sixteen_bit(name, precision, api, kind, graph, options, where)
    return _full(name, precision, api, kind, graph, where)


def _check_opset(name: str, api: Api, graph: GraphFacts, where: str) -> None:
    if api.major == 8 and graph.opset > NEWEST_OPSET_8:
        raise EngineUnavailable(
            f"{api.title} reads opset {NEWEST_OPSET_8} or less, and the model has opset {graph.opset}",
            where=f"{name}, {where}",
            remedy=f'add [export.targets."trt-{api.short()}"] with opset = {NEWEST_OPSET_8} to model.toml, '
            "or give an ONNX file of that opset",
        )


def _full(name: str, precision: str, api: Api, kind: Typing, graph: GraphFacts, where: str) -> Recipe:
    """fp32 and TF32: the graph must hold nothing narrower."""
    if graph.low:
        raise EngineUnavailable(
            f"the graph holds {_said(graph)}, and {name} would run them so",
            where=where,
            remedy="use trt-fp16 or trt-bf16, or give the fp32 ONNX file",
        )
    set_flags, clear_flags = _tf32(precision == "tf32")
    return Recipe(precision, _possible(api, kind), set_flags, clear_flags)


def _sixteen_bit(
    name: str, precision: str, api: Api, kind: Typing, graph: GraphFacts, options: Options, where: str
) -> Recipe:
    """fp16 and bf16: by builder flag where the card says weak, by the graph's types where it says strong."""
    set_flags, clear_flags = _tf32(options.tf32 is not False)
    if kind == "weak":
        flag = "BuilderFlag." + precision.upper()
        if not api.has(flag) or not api.weakly_typed:
            raise _impossible(name, api, flag, 'set fp16 = "strong" in model.toml, if the car runs it so')
        return Recipe(precision, "weak", (precision.upper(), *set_flags), clear_flags)
    if not api.strongly_typed:
        flag = "NetworkDefinitionCreationFlag.STRONGLY_TYPED"
        raise _impossible(name, api, flag, 'set fp16 = "weak" in model.toml, which is all that this version has')
    wanted = {"fp16": "FLOAT16", "bf16": "BFLOAT16"}[precision]
    if graph.low and wanted not in graph.low:
        raise EngineUnavailable(
            f"the graph holds {_said(graph)} and no {wanted}",
            where=f"{name}, {where}",
            remedy="use the engine of its precision, or give the fp32 ONNX file",
        )
    return Recipe(precision, "strong", set_flags, clear_flags, autocast=None if graph.low else precision)


def _int8(name: str, api: Api, kind: Typing, graph: GraphFacts, options: Options, where: str) -> Recipe:
    """int8 by the graph's Q/DQ nodes, or by a calibration cache where TensorRT still has calibrators."""
    cache = options.calibration_cache is not None
    if cache and graph.quantised:
        raise _contradiction(name, "calibration_cache", "the graph has Q/DQ nodes, which carry their own scales")
    if cache and not api.has("IInt8EntropyCalibrator2"):
        remedy = "quantise the graph (modelopt.onnx.quantization writes Q/DQ nodes), or use TensorRT 10.x or 8.6"
        raise _impossible(name, api, "IInt8EntropyCalibrator2", remedy)
    if not cache and not graph.quantised:
        raise EngineUnavailable(
            f"{name} has no int8 scales: the graph has no Q/DQ nodes and there is no calibration cache",
            where=where,
            remedy="give an ONNX file with Q/DQ nodes, or, to TensorRT 10.x, the option calibration_cache",
        )
    typing = "weak" if cache else _possible(api, kind)
    if typing == "strong" and options.rest is not None:
        raise _contradiction(name, "rest", "in a strongly typed build the graph's own types decide")
    set_flags, clear_flags = _tf32(options.tf32 is not False)
    if typing == "weak":
        set_flags = ("INT8", *(("FP16",) if options.rest == "fp16" else ()), *set_flags)
    return Recipe("int8", typing, set_flags, clear_flags, calibration_cache=cache)


def _possible(api: Api, kind: Typing) -> Typing:
    """The card's kind where TensorRT has both; where it has one, that: the choice is about 16-bit builds only."""
    if not api.strongly_typed:
        return "weak"
    return kind if api.weakly_typed else "strong"


def _tf32(on: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Flags to set and flags to clear."""
    return (("TF32",), ()) if on else ((), ("TF32",))


def _said(graph: GraphFacts) -> str:
    return " and ".join(sorted(graph.low)) + " tensors"


def _impossible(name: str, api: Api, needed: str, remedy: str) -> EngineUnavailable:
    first, last = ONLY[needed][TENSORRT.key]
    span = f"TensorRT {first[0]}" + (" and newer" if last is None else f" to {last[0]}" if last != first else "")
    return EngineUnavailable(
        f"{api.title} has no {needed.rpartition('.')[2]}, which {span} has", where=name, remedy=remedy
    )


def _contradiction(name: str, key: str, why: str) -> EngineOptionError:
    return EngineOptionError(f"option {key!r}: {why}", where=f"options of {name}", remedy="leave it out")
