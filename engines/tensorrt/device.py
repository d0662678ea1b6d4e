"""The GPU, through PyTorch: what it is, its memory, one stream.

Everything of TensorRT happens inside `active()`, on this device and this stream. `torch` is the only thing here that
touches CUDA; tests put a host in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineOptionError, EngineUnavailable
from engines.torch_build import installed_torch, sees_gpu

if TYPE_CHECKING:
    import torch

__all__ = ["CudaDevice", "missing_gpu", "open_device"]


class CudaDevice:
    """One CUDA GPU, its stream and its facts."""

    def __init__(self, index: int) -> None:
        import torch

        self.index = index
        self.name: str = torch.cuda.get_device_name(index)
        self.capability: tuple[int, int] = torch.cuda.get_device_capability(index)
        self._device = torch.device("cuda", index)
        self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # as torch has it

    @property
    def facts(self) -> dict[str, Any]:
        """Name and compute capability: what a plan is bound to."""
        return {"name": self.name, "compute_capability": "{}.{}".format(*self.capability)}

    @property
    def stream_handle(self) -> int:
        """The CUDA stream as TensorRT wants it."""
        return int(self._stream.cuda_stream)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the device and its stream current."""
        import torch

        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            yield

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Memory for one tensor."""
        import torch

        return torch.empty(shape, dtype=dtype, device=self._device)

    def upload(self, array: NDArray[Any], into: torch.Tensor) -> None:
        """Copy an array into a buffer of the same shape, converting to its type."""
        import torch

        into.copy_(torch.from_numpy(np.require(array, requirements=["C", "W"])))

    def download(self, tensor: torch.Tensor, dtype: str) -> NDArray[Any]:
        """Copy a buffer into a new array of a NumPy type; waits for what the stream still has to do."""
        import torch

        host: NDArray[Any] = tensor.to(device="cpu", dtype=getattr(torch, dtype), copy=True).numpy()
        return host

    def synchronize(self) -> None:
        """Wait for the stream."""
        self._stream.synchronize()


def open_device(name: str) -> CudaDevice:
    """The GPU that an engine's name asks for: `trt-fp16` the first, `trt-fp16@cuda:1` the second.

    Raises:
        EngineOptionError: what follows the `@` is no CUDA device.
        EngineUnavailable: there is no such GPU.
    """
    index = _index(name)
    missing = missing_gpu()
    if missing is not None:
        raise missing
    import torch

    if index >= torch.cuda.device_count():
        raise EngineUnavailable(
            f"no GPU {index}: there are {torch.cuda.device_count()}", where=name, remedy="count GPUs from 0"
        )
    return CudaDevice(index)


def missing_gpu() -> EngineUnavailable | None:
    """Why there is no CUDA GPU that PyTorch can use; None where there is one."""
    if sees_gpu():
        return None
    if not installed_torch().for_gpu:
        return EngineUnavailable(
            f"PyTorch {installed_torch().version} is built without CUDA, and TensorRT's buffers are its tensors",
            where="torch.cuda",
            remedy="on a machine with an NVIDIA GPU, install a CUDA build of torch",
        )
    import torch

    return EngineUnavailable(
        f"no CUDA GPU: PyTorch {torch.__version__} (CUDA {torch.version.cuda}) finds none",
        where="torch.cuda.is_available()",
        remedy="run on a machine with an NVIDIA GPU whose driver is new enough (nvidia-smi shows both)",
    )


def _index(name: str) -> int:
    device = name.partition("@")[2]
    kind, _, number = device.partition(":")
    if device and (kind != "cuda" or not (number.isdigit() or not number)):
        raise EngineOptionError(f"no device {device!r}", where=name, remedy="write @cuda or @cuda:1")
    return int(number or 0)
