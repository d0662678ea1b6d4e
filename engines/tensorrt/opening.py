"""From a model and an engine's name to an open engine: prepare the graph, build or find the plan, load it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines.export import exported, inlined
from engines.inspect.graph import model_sha256
from engines.io_check import check_io, onnx_io
from engines.protocol import ModelSource
from engines.sealed import file_sha256
from engines.tensorrt.api import Api, load
from engines.tensorrt.autocast import convert
from engines.tensorrt.build import Order, build_plan, check_flags
from engines.tensorrt.calibration import CalibrationCache, read_calibration_cache
from engines.tensorrt.device import CudaDevice, open_device
from engines.tensorrt.engine import TrtEngine, read_plan
from engines.tensorrt.graph import GraphFacts, read_graph
from engines.tensorrt.options import Options, parse_options
from engines.tensorrt.plancache import cached_plan
from engines.tensorrt.plugins import load_plugins
from engines.tensorrt.recipe import Recipe, check_precision, choose
from engines.tensorrt.timing import own_timing_file

__all__ = ["export_target", "open_trt"]


def open_trt(name: str, source: ModelSource, precision: str, given: dict[str, Any]) -> TrtEngine:
    """Open a TensorRT engine.

    Args:
        name: of the engine, `trt-fp16` or `trt-fp16@cuda:1`.
        source: the model.
        precision: of the name, one of recipe.PRECISIONS.
        given: options, see engines/tensorrt/options.py.

    Raises:
        EngineError: what is missing here, does not fit or fails; docs/tensorrt.md lists them.
    """
    options = parse_options(name, given)
    api = load()
    device = open_device(name)
    with device.active():
        plugins = load_plugins(api, source.plugins)
        if options.plan is not None:
            facts = {"precision": "as the plan was built", "plugins": plugins}
            plan = read_plan(options.plan)
            return TrtEngine(name, source, api, device, plan, str(options.plan), facts, names=options.names)
        check_precision(name, precision, api, device.capability)
        check_flags(api, name, options.builder_flags)
        graph = _prepare(name, source, precision, options, api)
        return _build_and_load(name, source, options, api, device, graph, plugins)


def export_target(source: ModelSource, api: Api) -> str:
    """The card's export target for this TensorRT: `trt-8.6`, else `trt-8`, else `trt`, else `default`."""
    wanted = (f"trt-{api.short()}", f"trt-{api.major}", "trt")
    return next((target for target in wanted if target in source.export), "default")


@dataclass(frozen=True)
class _Graph:
    """The ONNX file to build from, how, and what it came from; types: of the outputs, as the file has them."""

    model: Path
    facts: GraphFacts
    recipe: Recipe
    types: dict[str, str]
    origin: dict[str, Any]


def _prepare(name: str, source: ModelSource, precision: str, options: Options, api: Api) -> _Graph:
    """Export the model, hold the card against it, choose the build, and let AutoCast type the graph if it must."""
    target = export_target(source, api)
    model = inlined(exported(source, target), source.cache)  # the parsers of 8.6 know no local functions
    inputs, outputs = onnx_io(model)
    check_io(source, inputs, [spec.name for spec in outputs], str(model))
    facts = read_graph(model)
    recipe = choose(name, precision, api, source.fp16, facts, options, str(model))
    origin: dict[str, Any] = {
        "model": f"{model.parent.name}/{model.name}",
        "model_sha256": model_sha256(model),
        "export_target": target if source.onnx is None else "the card's ONNX file",
    }
    if recipe.autocast is not None:
        converted = convert(name, source, model, recipe.autocast, options.calibration)
        model, facts = converted.path, read_graph(converted.path)
        origin["autocast"] = converted.facts
    return _Graph(model, facts, recipe, {spec.name: spec.dtype for spec in outputs}, origin)


def _build_and_load(
    name: str,
    source: ModelSource,
    options: Options,
    api: Api,
    device: CudaDevice,
    graph: _Graph,
    plugins: dict[str, str],
) -> TrtEngine:
    recipe, scales = graph.recipe, None
    if options.calibration_cache is not None:
        scales = read_calibration_cache(options.calibration_cache)
    timing = own_timing_file(source.cache, api, device.facts)
    order = Order(name, graph.model, graph.facts, recipe, options, source.inputs, timing, scales)
    asked = {**_asked(options, scales), "plugins": plugins}
    key = {
        **asked,
        "recipe": asdict(recipe),
        "builder_flags": options.builder_flags,
        "onnx": model_sha256(graph.model),
        "inputs": [asdict(spec) for spec in source.inputs],
        "tensorrt": api.version,
        "device": device.facts,
    }
    plan = cached_plan(source.cache, source.name, key, lambda: build_plan(api, order))
    facts = {
        "precision": recipe.precision,
        "typing": recipe.typing,
        "builder_flags_set": [*recipe.set_flags, *options.builder_flags],
        "builder_flags_cleared": list(recipe.clear_flags),
        **graph.origin,
        **asked,
        "build_warnings": list(plan.warnings),
    }
    where = f"{plan.path.parent.name}/{plan.path.name}"
    return TrtEngine(name, source, api, device, plan.content, where, facts, types=graph.types)


def _asked(options: Options, scales: CalibrationCache | None) -> dict[str, Any]:
    """Options that decide the plan and were given."""
    asked: dict[str, Any] = {
        "rest": options.rest,
        "profiles": {dim: list(sizes) for dim, sizes in options.profiles.items()},
        "tactic_sources_asked": list(options.tactic_sources),
        "workspace_mib": options.workspace_mib,
        "optimization_level": options.optimization_level,
        "timing_cache_sha256": file_sha256(options.timing_cache) if options.timing_cache else None,
        "rebuild": options.rebuild,
    }
    if scales is not None and options.calibration_cache is not None:
        asked["calibration_cache"] = {
            "sha256": file_sha256(options.calibration_cache),
            "version": scales.version,
            "algorithm": scales.algorithm,
            "scales": scales.scales,
        }
    return {key: value for key, value in asked.items() if value not in (None, {}, [], 0)}
