"""ONNX file in, plan out: network, builder configuration, the build itself."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.base import whole_cause
from engines.errors import EngineCrashed, EngineOptionError, EngineUnavailable, ModelLoadError
from engines.protocol import TensorSpec
from engines.tensorrt.api import (
    Api,
    Builder,
    IBuilderConfig,
    IHostMemory,
    INetworkDefinition,
    IOptimizationProfile,
    ITensor,
)
from engines.tensorrt.calibration import CalibrationCache, cache_calibrator
from engines.tensorrt.graph import GraphFacts
from engines.tensorrt.options import Options
from engines.tensorrt.parse import create_network, named_in, parse_onnx
from engines.tensorrt.profiles import Profile, profile_of
from engines.tensorrt.recipe import Recipe
from engines.tensorrt.target import aim
from engines.tensorrt.timing import attach_timing, keep_timing

__all__ = ["Built", "Order", "build_plan", "check_flags", "order_text", "read_order"]

MIB = 1 << 20
NO_MEMORY = re.compile(r"bad_alloc|[Oo]ut of memory|OutOfMemory")
MOST_WARNINGS = 20
NAMED_BY_ENGINE = ("TF32", "FP16", "BF16", "INT8", "FP8", "FP4", "INT4")


@dataclass(frozen=True)
class Order:
    """One build: the file, how to build it, and for whom.

    Attributes:
        timing_file: where this GPU's timings are kept; None where nothing is timed.
        target: what the plan is for, where that is not the GPU that is here.
        plugins: libraries that the building process must load.
    """

    name: str
    model: Path
    graph: GraphFacts
    recipe: Recipe
    options: Options
    inputs: Sequence[TensorSpec]
    timing_file: Path | None = None
    cache: CalibrationCache | None = None
    target: str | None = None
    plugins: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Built:
    """A plan, what was warned of (weights outside the fp16 range, layers that fell back), and the plan as text.

    Attributes:
        layers: what the builder printed of the compiled plan, one text for every part; none from TensorRT.
    """

    plan: bytes
    warnings: list[str]
    layers: list[str]


def order_text(order: Order) -> str:
    """An order as JSON."""
    return json.dumps(_orders().dump_python(order, mode="json"))


def read_order(text: str) -> Order:
    """The order of `order_text`."""
    order: Order = _orders().validate_python(json.loads(text))
    return order


@functools.cache
def _orders() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Order)


def build_plan(api: Api, order: Order) -> Built:
    """Build a plan; minutes for a large network.

    Raises:
        EngineUnavailable: TensorRT does not start on this machine.
        ModelLoadError: TensorRT cannot read or build the graph.
        EngineCrashed: it ran out of memory.
        EngineOptionError: a profile or tactic source that does not fit.
    """
    with api.messages.collect() as messages:
        builder = _builder(api)
        network = create_network(api, builder, order.recipe.typing)
        parser = parse_onnx(api, network, order.model, order.graph)
        config: IBuilderConfig = builder.create_builder_config()
        calibrator = _configure(api, builder, network, config, order)
        plan = _built(api, builder, network, config, order)
        del parser  # it owned the weights until here
        if calibrator is not None and calibrator.asked:
            raise _cache_refused(api, order)
        if isinstance(plan, ModelLoadError):
            raise plan
        if order.timing_file is not None:
            keep_timing(config, order.options, order.timing_file)
        return Built(plan, list(dict.fromkeys(messages.warnings))[:MOST_WARNINGS], messages.plans)


def _built(
    api: Api, builder: Builder, network: INetworkDefinition, config: IBuilderConfig, order: Order
) -> bytes | ModelLoadError:
    """The plan, or why there is none."""
    with api.messages.collect() as messages:
        plan: IHostMemory = builder.build_serialized_network(network, config)
    if plan is not None:
        return bytes(plan)
    reason = messages.reason()
    if NO_MEMORY.search(reason):
        raise EngineCrashed(
            f"{api.title} ran out of memory while it built the plan: {reason}",
            where=f"{order.name}, {order.model}",
            remedy="build on a machine with more memory (several times the weights), or give a smaller network",
        )
    nodes = named_in(reason, network, order.graph)
    return ModelLoadError(
        f"{api.title} cannot build it: {f'{nodes}: ' if nodes else ''}{reason}",
        where=f"{order.name}, {order.model}",
        remedy="keep the nodes it names in fp32 by the option keep_fp32, or replace them"
        if order.recipe.autocast
        else "replace the nodes it names, or build it with trtexec --verbose to see every step",
    )


def check_flags(api: Api, name: str, flags: Sequence[str]) -> None:
    """Refuse builder flags that this TensorRT lacks, or that the engine's name decides.

    Raises:
        EngineOptionError: there is one.
    """
    known = sorted(set(api.trt.BuilderFlag.__members__) - set(NAMED_BY_ENGINE))
    for flag in flags:
        if flag in NAMED_BY_ENGINE:
            raise EngineOptionError(
                f"builder flag {flag!r} is decided by the engine's name and the option tf32",
                where=f"option builder_flags of {name}",
                remedy="choose the engine of that precision",
            )
        if flag not in known:
            raise EngineOptionError(
                f"{api.title} has no builder flag {flag!r}",
                where=f"option builder_flags of {name}",
                remedy=f"must be in {known}",
            )


def _builder(api: Api) -> Builder:
    """A builder; where CUDA does not start, the bindings raise TypeError about a null pointer."""
    with api.messages.collect() as messages:
        try:
            return api.trt.Builder(api.logger)
        except Exception as error:
            raise EngineUnavailable(
                f"{api.title} does not start: {messages.reason(whole_cause(error))}",
                where="tensorrt.Builder",
                remedy="check driver and GPU with nvidia-smi, and that TensorRT's CUDA version fits the driver",
            ) from error


def _configure(api: Api, builder: Builder, network: INetworkDefinition, config: IBuilderConfig, order: Order) -> Any:
    """Everything of a build but the graph; the int8 calibrator, where there is one, is returned and must live on."""
    trt, options = api.trt, order.options
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    for flag in (*order.recipe.set_flags, *options.builder_flags):
        config.set_flag(getattr(trt.BuilderFlag, flag))
    for flag in order.recipe.clear_flags:
        config.clear_flag(getattr(trt.BuilderFlag, flag))
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib * MIB)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.tactic_sources:
        _set_tactic_sources(api, config, order)
    profile = _add_profile(api, builder, network, config, order)
    if order.timing_file is not None:
        attach_timing(api, config, options, order.timing_file)
    if order.target is not None:
        aim(api, config, order.target)
    return _add_calibrator(api, config, profile, order)


def _set_tactic_sources(api: Api, config: IBuilderConfig, order: Order) -> None:
    known, bits = api.trt.TacticSource.__members__, 0
    for source in order.options.tactic_sources:
        if source not in known:
            raise EngineOptionError(
                f"{api.title} has no tactic source {source!r}",
                where=f"option tactic_sources of {order.name}",
                remedy=f"must be in {sorted(known)}",
            )
        bits |= 1 << int(known[source])
    if not config.set_tactic_sources(bits):
        raise EngineOptionError(
            f"TensorRT does not take the tactic sources {list(order.options.tactic_sources)}",
            where=f"option tactic_sources of {order.name}",
            remedy="leave some of them out; older versions lack the libraries of some",
        )


def _add_profile(
    api: Api, builder: Builder, network: INetworkDefinition, config: IBuilderConfig, order: Order
) -> IOptimizationProfile:
    """One optimisation profile over all dynamic inputs; None where nothing is dynamic."""
    shapes: Profile = profile_of(_dynamic(network), order.inputs, order.options.profiles, order.name)
    if not shapes:
        return None
    profile: IOptimizationProfile = builder.create_optimization_profile()
    for tensor, (smallest, best, largest) in shapes.items():
        profile.set_shape(tensor, smallest, best, largest)
    with api.messages.collect() as messages:
        if config.add_optimization_profile(profile) < 0:
            raise EngineOptionError(
                f"TensorRT does not take the profile {shapes}: {messages.reason()}",
                where=f"option profiles of {order.name}",
                remedy="give sizes that the network can compute with",
            )
    return profile


def _dynamic(network: INetworkDefinition) -> dict[str, tuple[int, ...]]:
    inputs: list[ITensor] = [network.get_input(index) for index in range(network.num_inputs)]
    shapes = {tensor.name: tuple(tensor.shape) for tensor in inputs}
    return {name: shape for name, shape in shapes.items() if -1 in shape}


def _add_calibrator(api: Api, config: IBuilderConfig, profile: IOptimizationProfile, order: Order) -> Any:
    if order.cache is None:
        return None
    calibrator = cache_calibrator(api, order.cache)
    config.int8_calibrator = calibrator
    if profile is not None:
        config.set_calibration_profile(profile)
    return calibrator


def _cache_refused(api: Api, order: Order) -> ModelLoadError:
    assert order.cache is not None
    return ModelLoadError(
        f"{api.title} does not use the calibration cache, written by version {order.cache.version}",
        where=str(order.options.calibration_cache),
        remedy="give a cache that this TensorRT wrote, or an ONNX file with Q/DQ nodes",
    )
