"""Plugin libraries: NVIDIA's own, and those of the card that are TensorRT's (engines/plugins.py).

A library that exports `getCreators` or `getPluginCreators` is given to the plugin registry; one that registers itself
when it is loaded (REGISTER_TENSORRT_PLUGIN) only has to be loaded.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from pathlib import Path

from engines.base import whole_cause
from engines.errors import ModelLoadError
from engines.plugins import OF_TENSORRT, for_tensorrt
from engines.sealed import file_sha256
from engines.tensorrt.api import Api, IPluginRegistry

__all__ = ["load_plugins", "plugin_hashes"]

_loaded: dict[str, ctypes.CDLL] = {}  # a plugin is registered once per process


def plugin_hashes(paths: Iterable[Path]) -> dict[str, str]:
    """Name and SHA-256 of each library of TensorRT.

    Raises:
        ModelLoadError: a library is missing.
    """
    try:
        return {path.name: file_sha256(path) for path in for_tensorrt(paths)}
    except OSError as error:
        raise _unloadable(Path(error.filename), error) from error


def load_plugins(api: Api, paths: Iterable[Path]) -> None:
    """Register NVIDIA's plugins and the card's.

    Args:
        api: the installed TensorRT.
        paths: shared libraries; those of ONNX Runtime are left alone.

    Raises:
        ModelLoadError: a library is missing, does not load, or its plugins cannot be registered.
    """
    api.trt.init_libnvinfer_plugins(api.logger, "")
    for path in for_tensorrt(paths):
        _load(api, path)


def _load(api: Api, path: Path) -> None:
    """Load one library, and register its plugins where it does not do so itself."""
    key = str(path.resolve())
    if key in _loaded:
        return
    try:
        library = ctypes.CDLL(key, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise _unloadable(path, error) from error
    if any(hasattr(library, symbol) for symbol in OF_TENSORRT):
        _register(api, path)
    _loaded[key] = library


def _register(api: Api, path: Path) -> None:
    registry: IPluginRegistry = api.trt.get_plugin_registry()
    with api.messages.collect() as messages:
        if registry.load_library(str(path.resolve())) is None:
            raise ModelLoadError(
                f"TensorRT does not register its plugins: {messages.reason('are they registered already?')}",
                where=str(path),
                remedy="build the library against this TensorRT, and name each plugin once",
            )


def _unloadable(path: Path, error: OSError) -> ModelLoadError:
    return ModelLoadError(
        f"a plugin library does not load: {whole_cause(error)}",
        where=str(path),
        remedy="build it for this machine and this TensorRT, and name it under plugins in model.toml",
    )
