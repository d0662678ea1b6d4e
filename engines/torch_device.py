"""Where a `torch-*` engine runs: the CPU unless CUDA is asked for, and what the machine must have for it."""

from __future__ import annotations

import os
import shutil
import sys

from engines.errors import EngineOptionError, EngineUnavailable
from engines.torch_build import installed_torch, sees_gpu

__all__ = ["chosen_device", "demand", "gpu_name"]


def gpu_name(device: str) -> str:
    """What the GPU calls itself."""
    import torch

    return torch.cuda.get_device_name(device)


def demand(name: str, precision: str, device: str) -> None:
    """This machine has what the engine needs beyond PyTorch and its device.

    Raises:
        EngineUnavailable: TF32 on a CPU or on a GPU without it, or no C++ compiler for torch.compile.
    """
    if precision == "tf32" and (device == "cpu" or _capability(device) < (8, 0)):
        raise EngineUnavailable(
            "TF32 exists on CUDA GPUs of compute capability 8.0 and later only",
            where=f"engine {name}",
            remedy="run it on such a GPU; emulated-tf32 shows the rounding on any machine",
        )
    compiler = (os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")).split()[0]
    if precision == "compile" and device == "cpu" and sys.platform != "win32" and shutil.which(compiler) is None:
        raise EngineUnavailable(
            f"torch.compile needs a C++ compiler, and there is no {compiler!r} on the PATH",
            where=f"engine {name}",
            remedy="install g++ (Debian: apt install g++), or point CXX at a compiler",
        )


def _capability(device: str) -> tuple[int, int]:
    import torch

    return torch.cuda.get_device_capability(device)


def chosen_device(name: str, device: str | None, precision: str) -> str:
    """The device that name and option ask for.

    Raises:
        EngineOptionError: they contradict each other, or there is no such kind of device.
        EngineUnavailable: CUDA is asked for and not there.
    """
    suffix = name.partition("@")[2]
    if device is not None and not isinstance(device, str):
        raise EngineOptionError(f"no device {device!r}", where=f"options of {name}", remedy="must be a text, 'cuda:0'")
    if suffix and device and suffix != device:
        raise EngineOptionError(
            f"engine {name!r} with device {device!r}", where=f"options of {name}", remedy="give one of the two"
        )
    chosen = suffix or device or ("cuda" if precision == "tf32" else "cpu")
    kind = chosen.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise EngineOptionError(
            f"no device {chosen!r}", where=f"options of {name}", remedy="must be 'cpu', 'cuda' or 'cuda:N'"
        )
    if kind == "cuda" and not sees_gpu():
        raise EngineUnavailable(
            f"this PyTorch ({installed_torch().version}) sees no CUDA GPU",
            where=f"engine {name}",
            remedy="install a CUDA build of PyTorch on a machine with a GPU, or "
            + ("leave @cuda out" if precision != "tf32" else "see emulated-tf32, which shows the rounding anywhere"),
        )
    return chosen
