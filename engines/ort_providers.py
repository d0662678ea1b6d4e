"""Providers of ONNX Runtime other than the CPU: what is asked of CUDA and TensorRT, and whether it was granted.

ONNX Runtime goes on with the CPU, on a warning, where a provider cannot start; an engine named after a GPU must not. So
the provider is asked for by name, its fallback is switched off, and what the session got is read back.

TF32 is a setting of the CUDA provider (`use_tf32`, on unless switched off). The TensorRT provider has none: TensorRT
allows TF32 unless NVIDIA_TF32_OVERRIDE=0 stands in the environment before the process starts, so that variable is
recorded. Nodes that a provider lacks run on the next one: TensorRT, CUDA, CPU. Option names: onnxruntime.ai, execution
providers. Not run on a GPU yet.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engines.errors import EngineUnavailable
from engines.plugins import for_tensorrt

__all__ = ["CPU", "KINDS", "available", "granted", "precision_facts", "requests"]

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

# the kind that an engine's name stands for -> its first provider
KINDS = {"cpu": CPU, "cuda-fp32": CUDA, "cuda-tf32": CUDA, "trt-fp32": TENSORRT, "trt-fp16": TENSORRT}
_REMEDIES = {
    CUDA: "on a machine with an NVIDIA GPU: pip uninstall onnxruntime, then pip install 'trueline[gpu]'",
    TENSORRT: "on a machine with an NVIDIA GPU: pip uninstall onnxruntime, then pip install 'trueline[gpu]', with the "
    "TensorRT version that this onnxruntime-gpu was built for",
}

Request = str | tuple[str, dict[str, str]]


def requests(kind: str, cache: Path, plugins: Sequence[Path] = ()) -> list[Request]:
    """The providers to ask for, best first, with their options.

    Args:
        kind: of KINDS.
        cache: folder for TensorRT's engines and timings.
        plugins: libraries of the card; TensorRT's provider is told of those that are TensorRT's.
    """
    if kind == "cpu":
        return [CPU]
    # no algorithm search by the clock: two sessions then take the same kernels
    cuda = {
        "device_id": "0",
        "use_tf32": "1" if kind == "cuda-tf32" else "0",
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    if KINDS[kind] == CUDA:
        return [(CUDA, cuda), CPU]
    tensorrt = {
        "device_id": "0",
        "trt_fp16_enable": "True" if kind == "trt-fp16" else "False",
        "trt_int8_enable": "False",
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(cache),
    }
    if extra := for_tensorrt(plugins):
        tensorrt["trt_extra_plugin_lib_paths"] = ";".join(str(path.resolve()) for path in extra)
    return [(TENSORRT, tensorrt), (CUDA, cuda), CPU]


def available(name: str, kind: str, built: Sequence[str]) -> None:
    """The provider is part of this build of ONNX Runtime.

    Args:
        name: of the engine.
        kind: of KINDS.
        built: `onnxruntime.get_available_providers()`.

    Raises:
        EngineUnavailable: it is not.
    """
    if KINDS[kind] not in built:
        raise EngineUnavailable(
            f"this ONNX Runtime has no {KINDS[kind]}, only {list(built)}",
            where=f"engine {name}",
            remedy=_REMEDIES[KINDS[kind]],
        )


def granted(name: str, kind: str, session: Any) -> dict[str, str]:
    """The provider's options as the session took them, once it is sure that the session got the provider.

    Raises:
        EngineUnavailable: the session runs on another provider than the name says.
    """
    wanted, got = KINDS[kind], session.get_providers()
    if got[0] != wanted:
        raise EngineUnavailable(
            f"ONNX Runtime could not start {wanted} and would run on {got[0]}",
            where=f"engine {name}",
            remedy="install the CUDA, cuDNN and TensorRT versions of this onnxruntime-gpu; "
            "trueline never falls back to another provider",
        )
    session.disable_fallback()
    asked = {entry[0]: entry[1] for entry in requests(kind, Path()) if isinstance(entry, tuple)}.get(wanted, {})
    options = session.get_provider_options().get(wanted, {})
    return {key: str(options[key]) for key in asked if key in options}


def precision_facts(kind: str) -> dict[str, str | bool | None]:
    """What a kind's provenance says of its arithmetic."""
    facts: dict[str, str | bool | None] = {"precision": "float16" if kind == "trt-fp16" else "float32"}
    if KINDS[kind] == CUDA:
        facts["tf32"] = kind == "cuda-tf32"
    if kind != "cpu":
        facts["NVIDIA_TF32_OVERRIDE"] = os.environ.get("NVIDIA_TF32_OVERRIDE")
    if KINDS[kind] == TENSORRT:
        facts["tf32"] = facts["NVIDIA_TF32_OVERRIDE"] != "0"
    return facts
