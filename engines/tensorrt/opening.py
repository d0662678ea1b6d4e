"""From a model and an engine's name to a plan or an open engine: prepare the graph, build or find the plan, load it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engines.errors import EngineOptionError
from engines.export import exported, inlined
from engines.inspect.graph import model_sha256
from engines.io_check import check_io, onnx_io
from engines.protocol import ModelSource
from engines.sealed import file_sha256
from engines.tensorrt.apart import build_apart
from engines.tensorrt.api import Api, load
from engines.tensorrt.autocast import convert
from engines.tensorrt.build import Order, build_plan, check_flags
from engines.tensorrt.calibration import CalibrationCache, read_calibration_cache
from engines.tensorrt.device import CudaDevice, open_device
from engines.tensorrt.engine import TrtEngine, read_plan
from engines.tensorrt.graph import GraphFacts, read_graph
from engines.tensorrt.options import Options, parse_options
from engines.tensorrt.plancache import CachedPlan, cached_plan
from engines.tensorrt.plugins import load_plugins, plugin_hashes
from engines.tensorrt.product import product_of
from engines.tensorrt.recipe import Recipe, check_precision, choose
from engines.tensorrt.target import capability_of, check_target
from engines.tensorrt.timing import own_timing_file

__all__ = ["Compiled", "compile_plan", "export_target", "open_trt"]


@dataclass(frozen=True)
class Compiled:
    """A plan and where it came from.

    Attributes:
        plan: the file, its content, what the builder said.
        model: the ONNX file that it was built from, after AutoCast where that was needed.
        exported: the file before AutoCast.
        compiler: `TensorRT for RTX 1.7.1.116`.
        types: of the outputs before AutoCast, NumPy's names.
        facts: how it was built, for provenance.
    """

    plan: CachedPlan
    model: Path
    exported: Path
    compiler: str
    types: dict[str, str]
    facts: dict[str, Any]


def open_trt(name: str, source: ModelSource, precision: str, given: dict[str, Any]) -> TrtEngine:
    """Open a TensorRT engine.

    Args:
        name: of the engine, `trt-fp16` or `trtrtx-fp16@cuda:1`.
        source: the model.
        precision: of the name, one of recipe.PRECISIONS.
        given: options, see engines/tensorrt/options.py.

    Raises:
        EngineError: what is missing here, does not fit or fails; docs/tensorrt.md lists them.
    """
    options = parse_options(name, given)
    api = load(product_of(name))
    device = open_device(name)
    with device.active():
        load_plugins(api, source.plugins)
        if options.plan is not None:
            facts = {"precision": "as the plan was built", "plugins": plugin_hashes(source.plugins)}
            plan = read_plan(options.plan)
            return TrtEngine(name, source, api, device, plan, str(options.plan), facts, names=options.names)
        made = _compiled(name, source, precision, options, api, device)
        where = f"{made.plan.path.parent.name}/{made.plan.path.name}"
        kernels = made.plan.path.parent.with_suffix(".runtime")
        return TrtEngine(
            name,
            source,
            api,
            device,
            made.plan.content,
            where,
            made.facts,
            types=made.types,
            runtime_cache=kernels,
        )


def compile_plan(name: str, source: ModelSource, precision: str, given: dict[str, Any]) -> Compiled:
    """Build the plan of a `trtrtx-*` engine, or find it in the cache; nothing of it needs a GPU.

    Raises:
        EngineOptionError: the option `plan`, which is built already.
        EngineError: as of `open_trt`.
    """
    options = parse_options(name, given)
    if options.plan is not None:
        raise EngineOptionError(
            "option 'plan' is a plan already, and this is to build one",
            where=f"options of {name}",
            remedy="leave it out",
        )
    return _compiled(name, source, precision, options, load(product_of(name)), None)


def export_target(source: ModelSource, api: Api) -> str:
    """The card's export target for this product: `trt-8.6`, else `trt-8`, else `trt`, else `default`."""
    key = api.product.key
    wanted = (f"{key}-{api.short()}", f"{key}-{api.major}", key)
    return next((target for target in wanted if target in source.export), "default")


@dataclass(frozen=True)
class _Graph:
    """The ONNX file to build from, how, and what it came from; types: of the outputs, as the file has them."""

    model: Path
    exported: Path
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
    untyped = model
    if recipe.autocast is not None:
        converted = convert(name, source, model, recipe.autocast, options.calibration, options.keep_fp32)
        model, facts = converted.path, read_graph(converted.path)
        origin["autocast"] = converted.facts
    return _Graph(model, untyped, facts, recipe, {spec.name: spec.dtype for spec in outputs}, origin)


def _compiled(
    name: str, source: ModelSource, precision: str, options: Options, api: Api, device: CudaDevice | None
) -> Compiled:
    """The plan, for the device that is here or, of TensorRT for RTX, for the target of the options."""
    if api.product.apart:
        check_target(name, api, options.target)
        capability = capability_of(options.target)
        built_for: dict[str, Any] = {"target": options.target}
        timing, target = None, options.target
    else:
        assert device is not None  # TensorRT builds on the GPU that it is opened on
        capability, built_for, target = device.capability, {"device": device.facts}, None
        timing = own_timing_file(source.cache, api, device.facts)
    check_precision(name, precision, api, capability)
    check_flags(api, name, options.builder_flags)
    graph = _prepare(name, source, precision, options, api)
    scales = None if options.calibration_cache is None else read_calibration_cache(options.calibration_cache)
    order = Order(
        name, graph.model, graph.facts, graph.recipe, options, source.inputs, timing, scales, target, source.plugins
    )
    asked = {**_asked(options, scales), "plugins": plugin_hashes(source.plugins)}
    plan = cached_plan(
        source.cache,
        source.name,
        _decides(order, asked, api, built_for),
        partial(build_apart if api.product.apart else build_plan, api, order),
    )
    facts = {
        "precision": graph.recipe.precision,
        "typing": graph.recipe.typing,
        "builder_flags_set": [*graph.recipe.set_flags, *options.builder_flags],
        "builder_flags_cleared": list(graph.recipe.clear_flags),
        **({"target": target} if target else {}),
        **graph.origin,
        **asked,
        "build_warnings": list(plan.warnings),
    }
    return Compiled(plan, graph.model, graph.exported, api.title, graph.types, facts)


def _decides(order: Order, asked: dict[str, Any], api: Api, built_for: dict[str, Any]) -> dict[str, Any]:
    """Everything that decides what a plan computes."""
    return {
        **asked,
        "recipe": asdict(order.recipe),
        "builder_flags": order.options.builder_flags,
        "onnx": model_sha256(order.model),
        "inputs": [asdict(spec) for spec in order.inputs],
        "product": api.product.key,
        "tensorrt": api.version,
        **built_for,
    }


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
        "keep_fp32": list(options.keep_fp32),
    }
    if scales is not None and options.calibration_cache is not None:
        asked["calibration_cache"] = {
            "sha256": file_sha256(options.calibration_cache),
            "version": scales.version,
            "algorithm": scales.algorithm,
            "scales": scales.scales,
        }
    return {key: value for key, value in asked.items() if value not in (None, {}, [], 0)}
