"""ONNX file in, plan out: network, builder configuration, the build itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.base import whole_cause
from engines.errors import EngineOptionError, EngineUnavailable, ModelLoadError
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
from engines.tensorrt.parse import create_network, parse_onnx
from engines.tensorrt.profiles import Profile, profile_of
from engines.tensorrt.recipe import Recipe
from engines.tensorrt.timing import attach_timing, keep_timing

__all__ = ["Order", "build_plan", "check_flags"]

MIB = 1 << 20
MOST_WARNINGS = 20
NAMED_BY_ENGINE = ("TF32", "FP16", "BF16", "INT8", "FP8", "FP4", "INT4")


@dataclass(frozen=True)
class Order:
    """One build: the file, how to build it, and for whom."""

    name: str
    model: Path
    graph: GraphFacts
    recipe: Recipe
    options: Options
    inputs: Sequence[TensorSpec]
    timing_file: Path
    cache: CalibrationCache | None = None


def build_plan(api: Api, order: Order) -> tuple[bytes, list[str]]:
    """Build a plan; minutes for a large network.

    Returns:
        The plan, and what TensorRT warned of: weights outside the fp16 range, layers that fell back.

    Raises:
        EngineUnavailable: TensorRT does not start on this machine.
        ModelLoadError: TensorRT cannot read or build the graph.
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
        keep_timing(config, order.options, order.timing_file)
        return plan, list(dict.fromkeys(messages.warnings))[:MOST_WARNINGS]


def _built(
    api: Api, builder: Builder, network: INetworkDefinition, config: IBuilderConfig, order: Order
) -> bytes | ModelLoadError:
    """The plan, or why there is none."""
    with api.messages.collect() as messages:
        plan: IHostMemory = builder.build_serialized_network(network, config)
    if plan is not None:
        return bytes(plan)
    return ModelLoadError(
        f"TensorRT {api.version} cannot build it: {messages.reason()}",
        where=f"{order.name}, {order.model}",
        remedy="build it with trtexec --verbose to see every step, or replace the nodes it names",
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
                remedy="choose trt-fp32, trt-tf32, trt-fp16, trt-bf16 or trt-int8",
            )
        if flag not in known:
            raise EngineOptionError(
                f"TensorRT {api.version} has no builder flag {flag!r}",
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
                f"TensorRT {api.version} does not start: {messages.reason(whole_cause(error))}",
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
    attach_timing(api, config, options, order.timing_file)
    return _add_calibrator(api, config, profile, order)


def _set_tactic_sources(api: Api, config: IBuilderConfig, order: Order) -> None:
    known, bits = api.trt.TacticSource.__members__, 0
    for source in order.options.tactic_sources:
        if source not in known:
            raise EngineOptionError(
                f"TensorRT {api.version} has no tactic source {source!r}",
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
        f"TensorRT {api.version} does not use the calibration cache, written by version {order.cache.version}",
        where=str(order.options.calibration_cache),
        remedy="give a cache that this TensorRT wrote, or an ONNX file with Q/DQ nodes",
    )
