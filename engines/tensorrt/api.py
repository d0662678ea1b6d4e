"""NVIDIA's Python bindings: finding them, their version, and which names which version has.

The adapter speaks to TensorRT 8.6, 10.x and 11.x and to TensorRT for RTX by names that all of them have, and by those
of `ONLY`, which it asks for before it uses them. The aliases below carry TensorRT's own class names, so that an
annotation says which object a variable is; tests/contracts reads them and holds every use against the real bindings of
each version.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

from engines.errors import EngineUnavailable
from engines.tensorrt.messages import Messages, recording_logger
from engines.tensorrt.product import Product

__all__ = ["ONLY", "Api", "load"]

Builder: TypeAlias = Any
EngineInspector: TypeAlias = Any
IBuilderConfig: TypeAlias = Any
ICudaEngine: TypeAlias = Any
IExecutionContext: TypeAlias = Any
IHostMemory: TypeAlias = Any
IInt8Calibrator: TypeAlias = Any
ILayer: TypeAlias = Any
INetworkDefinition: TypeAlias = Any
IOptimizationProfile: TypeAlias = Any
IPluginRegistry: TypeAlias = Any
IRuntimeCache: TypeAlias = Any
IRuntimeConfig: TypeAlias = Any
ITensor: TypeAlias = Any
ITimingCache: TypeAlias = Any
OnnxParser: TypeAlias = Any
ParserError: TypeAlias = Any
Runtime: TypeAlias = Any

Span = tuple[tuple[int, ...], tuple[int, ...] | None]
_EARLY: Span = ((1, 4), (1, 4))  # what TensorRT for RTX 1.4 still names and 1.5 has not

# Names that not every version has: by product, the first and the last version that do; a product left out has none.
# `(1)` behind a method: the call with one argument.
ONLY: dict[str, dict[str, Span]] = {
    "BuilderFlag.BF16": {"trt": ((10,), (10,)), "trtrtx": _EARLY},
    "BuilderFlag.FP16": {"trt": ((8,), (10,)), "trtrtx": _EARLY},
    "BuilderFlag.INT8": {"trt": ((8,), (10,)), "trtrtx": _EARLY},
    "BuilderFlag.ERROR_ON_TIMING_CACHE_MISS": {"trt": ((10,), None), "trtrtx": ((1,), None)},
    "ComputeCapability": {"trtrtx": ((1,), None)},
    "EngineInvalidityDiagnostics": {"trtrtx": ((1,), None)},
    "IBuilderConfig.int8_calibrator": {"trt": ((8,), (10,))},
    "IBuilderConfig.num_compute_capabilities": {"trtrtx": ((1,), None)},
    "IBuilderConfig.set_calibration_profile": {"trt": ((8,), (10,))},
    "IBuilderConfig.set_compute_capability": {"trtrtx": ((1,), None)},
    "ICudaEngine.create_execution_context(1)": {"trt": ((10,), None), "trtrtx": ((1,), None)},
    "ICudaEngine.create_runtime_config": {"trt": ((10, 13), None), "trtrtx": ((1,), None)},
    "IInt8Calibrator": {"trt": ((8,), (10,)), "trtrtx": _EARLY},
    "IInt8EntropyCalibrator": {"trt": ((8,), (10,)), "trtrtx": _EARLY},
    "IInt8EntropyCalibrator2": {"trt": ((8,), (10,)), "trtrtx": _EARLY},
    "IInt8MinMaxCalibrator": {"trt": ((8,), (10,)), "trtrtx": _EARLY},
    "IRuntimeCache": {"trtrtx": ((1,), None)},
    "IRuntimeConfig": {"trt": ((10, 13), None), "trtrtx": ((1,), None)},
    "IRuntimeConfig.create_runtime_cache": {"trtrtx": ((1,), None)},
    "IRuntimeConfig.set_runtime_cache": {"trtrtx": ((1,), None)},
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": {"trt": ((8,), (10,)), "trtrtx": _EARLY},
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": {"trt": ((10,), None), "trtrtx": ((1,), None)},
    "ParserError.node_name": {"trt": ((10,), None), "trtrtx": ((1,), None)},
    "ParserError.node_operator": {"trt": ((10,), None), "trtrtx": ((1,), None)},
    "Runtime.get_engine_validity": {"trtrtx": ((1,), None)},
}


@dataclass(frozen=True)
class Api:
    """One installed product: its module, its version, and the one logger that all its objects share."""

    product: Product
    trt: Any
    version: str
    logger: Any
    messages: Messages

    @property
    def title(self) -> str:
        """`TensorRT 10.13.3.9`, `TensorRT for RTX 1.7.1.116`."""
        return f"{self.product.title} {self.version}"

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version as numbers, `(10, 13, 3, 9)`."""
        return tuple(int(part) for part in self.version.split(".") if part.isdigit())

    @property
    def major(self) -> int:
        """The first number of the version."""
        return self.numbers[0]

    def has(self, name: str) -> bool:
        """Whether this version has `Class.member` or `Class`."""
        found: Any = self.trt
        for part in name.split("."):
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True

    @property
    def weakly_typed(self) -> bool:
        """Whether networks can be weakly typed: the builder chooses precisions within its flags (TensorRT to 10.x)."""
        return not self.product.apart and self.has("BuilderFlag.FP16")

    @property
    def strongly_typed(self) -> bool:
        """Whether networks can be strongly typed: every tensor has the graph's own type (from 10.0; always in 11.x)."""
        return not self.weakly_typed or self.has("NetworkDefinitionCreationFlag.STRONGLY_TYPED")

    def short(self) -> str:
        """`8.6`, `10.13`: what an export target and a message say."""
        return ".".join(map(str, self.numbers[:2]))


def load(product: Product) -> Api:
    """A product that is installed.

    Raises:
        EngineUnavailable: bindings or libraries are missing, or are too old.
    """
    for name in product.modules:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name == name:
                continue
            raise _broken(product, name, error) from error
        except (ImportError, OSError) as error:
            raise _broken(product, name, error) from error
        return _api(product, module)
    raise EngineUnavailable(
        f"the Python bindings of {product.title} are not installed",
        where=f"import {product.modules[0]}",
        remedy=product.install,
    )


@functools.cache
def _api(product: Product, module: ModuleType) -> Api:
    """One per module: TensorRT keeps the first logger that it sees for the life of the process."""
    version = str(getattr(module, "__version__", ""))
    place = str(getattr(module, "__file__", None) or module.__name__)
    if not hasattr(module, "Builder") or not version:
        raise EngineUnavailable(
            f"the module {module.__name__!r} is not {product.title}",
            where=place,
            remedy="rename or remove what shadows its bindings",
        )
    messages = Messages()
    api = Api(product, module, version, recording_logger(module, messages), messages)
    if api.numbers[:2] < product.oldest:
        raise EngineUnavailable(f"{api.title} is too old", where=place, remedy=f"use {product.known}")
    if (library := _library_version(product)) not in (version, ""):
        raise EngineUnavailable(
            f"the bindings are {api.title}, and the library is {library}, which crashes",
            where=place,
            remedy="install bindings and libraries of one version and one CUDA",
        )
    return api


def _library_version(product: Product) -> str:
    """What the loaded library says of itself, `1.7.1.116`; empty where it cannot be asked."""
    try:
        library = ctypes.CDLL(product.soname) if product.soname else None
        asked = [getattr(library, f"getInferLib{part}Version") for part in ("Major", "Minor", "Patch", "Build")]
    except (OSError, AttributeError):
        return ""
    return ".".join(str(ask()) for ask in asked)


def _broken(product: Product, name: str, error: BaseException) -> EngineUnavailable:
    """Bindings that are there but do not import: a library that the linker does not find, or another Python's."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if any(library in text for library in product.libraries):
        remedy = "install the libraries of the bindings' version and put their folder on LD_LIBRARY_PATH"
    else:
        remedy = "install it anew: bindings and libraries of one version, for this Python"
    return EngineUnavailable(
        f"the bindings of {product.title} do not import: {text}", where=f"import {name}", remedy=remedy
    )
