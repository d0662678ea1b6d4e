"""Plugin libraries: NVIDIA's own, and those that the card names.

The card lists custom ops of every runtime in one place. A library that exports TensorRT's `getCreators` or
`getPluginCreators` is given to the plugin registry; one that registers itself when it is loaded
(REGISTER_TENSORRT_PLUGIN) only has to be loaded; one that exports ONNX Runtime's `RegisterCustomOps` and neither of the
two is not for TensorRT.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from pathlib import Path

from engines.base import first_line
from engines.cache import file_sha256
from engines.errors import ModelLoadError
from engines.tensorrt.api import Api, IPluginRegistry

__all__ = ["load_plugins"]

OF_TENSORRT = ("getCreators", "getPluginCreators")
OF_ONNX_RUNTIME = "RegisterCustomOps"
_loaded: dict[str, ctypes.CDLL] = {}  # a plugin is registered once per process


def load_plugins(api: Api, paths: Iterable[Path]) -> dict[str, str]:
    """Register NVIDIA's plugins and the card's.

    Args:
        api: the installed TensorRT.
        paths: shared libraries; those of ONNX Runtime are left alone.

    Returns:
        Name and SHA-256 of each library of TensorRT.

    Raises:
        ModelLoadError: a library is missing, does not load, or its plugins cannot be registered.
    """
    api.trt.init_libnvinfer_plugins(api.logger, "")
    return {path.name: file_sha256(path) for path in paths if _load(api, path)}


def _load(api: Api, path: Path) -> bool:
    """Load one library; false where it is not TensorRT's."""
    key = str(path.resolve())
    if key in _loaded:
        return _is_tensorrts(_loaded[key])
    try:
        library = ctypes.CDLL(key, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise ModelLoadError(
            f"a plugin library does not load: {first_line(error)}",
            where=str(path),
            remedy="build it for this machine and this TensorRT, and name it under plugins in model.toml",
        ) from error
    if any(hasattr(library, symbol) for symbol in OF_TENSORRT):
        _register(api, path)
    _loaded[key] = library
    return _is_tensorrts(library)


def _is_tensorrts(library: ctypes.CDLL) -> bool:
    return any(hasattr(library, symbol) for symbol in OF_TENSORRT) or not hasattr(library, OF_ONNX_RUNTIME)


def _register(api: Api, path: Path) -> None:
    registry: IPluginRegistry = api.trt.get_plugin_registry()
    with api.messages.collect() as messages:
        if registry.load_library(str(path.resolve())) is None:
            raise ModelLoadError(
                f"TensorRT does not register its plugins: {messages.reason('are they registered already?')}",
                where=str(path),
                remedy="build the library against this TensorRT, and name each plugin once",
            )
