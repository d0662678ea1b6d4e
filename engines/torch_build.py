"""What PyTorch is installed, without loading it: that takes seconds, and `trueline engines` only names it."""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import NamedTuple

from engines.errors import EngineUnavailable

__all__ = ["TorchBuild", "installed_torch", "sees_gpu"]


class TorchBuild(NamedTuple):
    """Version, and whether it was built for GPUs at all."""

    version: str
    for_gpu: bool


@cache
def installed_torch() -> TorchBuild:
    """The build, as its own torch/version.py says.

    Raises:
        EngineUnavailable: PyTorch is not installed, or is no whole installation.
    """
    try:
        place = find_spec("torch")
        said = None if place is None else spec_from_file_location("_torch_version", _version_file(place.origin))
        if said is None or said.loader is None:
            raise ImportError("no module of that name")
        module = module_from_spec(said)
        said.loader.exec_module(module)
        return TorchBuild(str(module.__version__), bool(module.cuda or getattr(module, "hip", None)))
    except (ImportError, OSError, AttributeError, ValueError) as error:
        raise EngineUnavailable(
            f"PyTorch does not import: {error}", where="torch", remedy="pip install torch"
        ) from error


def sees_gpu() -> bool:
    """Whether PyTorch has a GPU here; a build without CUDA is not loaded to be asked.

    Raises:
        EngineUnavailable: PyTorch is not installed.
    """
    if "torch" not in sys.modules and not installed_torch().for_gpu:
        return False
    import torch

    return torch.cuda.is_available()


def _version_file(package: str | None) -> Path:
    if package is None:
        raise ImportError("it is a bare folder")
    return Path(package).with_name("version.py")
