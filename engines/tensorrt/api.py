"""NVIDIA's Python bindings: finding them, their version, and which names which version has.

The adapter speaks to TensorRT 8.6, 10.x and 11.x by names that all of them have, and by those of `ONLY`, which it asks
for before it uses them. The aliases below carry TensorRT's own class names, so that an annotation says which object a
variable is; tests/contracts reads them and holds every use against NVIDIA's real bindings of each version.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

from engines.errors import EngineUnavailable
from engines.tensorrt.messages import Messages, recording_logger

__all__ = ["ONLY", "Api", "load"]

Builder: TypeAlias = Any
EngineInspector: TypeAlias = Any
IBuilderConfig: TypeAlias = Any
ICudaEngine: TypeAlias = Any
IExecutionContext: TypeAlias = Any
IHostMemory: TypeAlias = Any
IInt8Calibrator: TypeAlias = Any
INetworkDefinition: TypeAlias = Any
IOptimizationProfile: TypeAlias = Any
IPluginRegistry: TypeAlias = Any
ITensor: TypeAlias = Any
ITimingCache: TypeAlias = Any
OnnxParser: TypeAlias = Any
ParserError: TypeAlias = Any
Runtime: TypeAlias = Any

MODULES = ("tensorrt", "tensorrt_bindings")  # the second is what the first re-exports, and all that some wheels have
OLDEST = (8, 6)

# Names that not every version has: the first and the last major version, or first (major, minor), that do.
ONLY: dict[str, tuple[tuple[int, ...], tuple[int, ...] | None]] = {
    "BuilderFlag.BF16": ((10,), (10,)),
    "BuilderFlag.FP16": ((8,), (10,)),
    "BuilderFlag.INT8": ((8,), (10,)),
    "BuilderFlag.ERROR_ON_TIMING_CACHE_MISS": ((10,), None),
    "IBuilderConfig.int8_calibrator": ((8,), (10,)),
    "IBuilderConfig.set_calibration_profile": ((8,), (10,)),
    "IInt8Calibrator": ((8,), (10,)),
    "IInt8EntropyCalibrator": ((8,), (10,)),
    "IInt8EntropyCalibrator2": ((8,), (10,)),
    "IInt8MinMaxCalibrator": ((8,), (10,)),
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": ((8,), (10,)),
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": ((10,), None),
    "ParserError.node_name": ((10,), None),
    "ParserError.node_operator": ((10,), None),
}


@dataclass(frozen=True)
class Api:
    """One installed TensorRT: the module, its version, and the one logger that all its objects share."""

    trt: Any
    version: str
    logger: Any
    messages: Messages

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
        """Whether networks can be weakly typed: the builder chooses precisions within its flags (to 10.x)."""
        return self.has("BuilderFlag.FP16")

    @property
    def strongly_typed(self) -> bool:
        """Whether networks can be strongly typed: every tensor has the graph's own type (from 10.0; always in 11.x)."""
        return not self.weakly_typed or self.has("NetworkDefinitionCreationFlag.STRONGLY_TYPED")

    def short(self) -> str:
        """`8.6`, `10.13`: what an export target and a message say."""
        return ".".join(map(str, self.numbers[:2]))


def load() -> Api:
    """The installed TensorRT.

    Raises:
        EngineUnavailable: bindings or libraries are missing, or are too old.
    """
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name == name:
                continue
            raise _broken(name, error) from error
        except (ImportError, OSError) as error:
            raise _broken(name, error) from error
        return _api(module)
    raise EngineUnavailable(
        "TensorRT's Python bindings are not installed",
        where="import tensorrt",
        remedy="pip install 'trueline[gpu]', or the car's version: pip install tensorrt==10.13.3.9",
    )


@functools.cache
def _api(module: ModuleType) -> Api:
    """One per module: TensorRT keeps the first logger that it sees for the life of the process."""
    version = str(getattr(module, "__version__", ""))
    place = str(getattr(module, "__file__", None) or module.__name__)
    if not hasattr(module, "Builder") or not version:
        raise EngineUnavailable(
            f"the module {module.__name__!r} is not TensorRT",
            where=place,
            remedy="rename or remove what shadows TensorRT's bindings",
        )
    messages = Messages()
    api = Api(module, version, recording_logger(module, messages), messages)
    if api.numbers[:2] < OLDEST:
        raise EngineUnavailable(f"TensorRT {version} is too old", where=place, remedy="use TensorRT 8.6, 10.x or 11.x")
    return api


def _broken(name: str, error: BaseException) -> EngineUnavailable:
    """Bindings that are there but do not import: nearly always a library that the linker does not find."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if "libnv" in text or "libcudart" in text or "libcudnn" in text:
        remedy = "install TensorRT's libraries of the bindings' version and put their folder on LD_LIBRARY_PATH"
    else:
        remedy = "install TensorRT anew: bindings and libraries of one version"
    return EngineUnavailable(f"TensorRT's bindings do not import: {text}", where=f"import {name}", remedy=remedy)
