"""A host in the place of a GPU: PyTorch tensors in main memory, whose addresses the fake library reads and writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from engines.tensorrt.device import CudaDevice


class HostDevice(CudaDevice):
    """Everything of CudaDevice but CUDA."""

    def __init__(self, name: str = "Fake GPU", capability: tuple[int, int] = (8, 6)) -> None:
        self.index, self.name, self.capability = 0, name, capability
        self.depth = 0
        self._device = torch.device("cpu")

    @property
    def stream_handle(self) -> int:
        return 4711

    @contextmanager
    def active(self) -> Iterator[None]:
        self.depth += 1
        yield
        self.depth -= 1

    def upload(self, array: Any, into: torch.Tensor) -> None:
        assert self.depth, "memory is touched outside the device"
        super().upload(array, into)

    def download(self, tensor: torch.Tensor, dtype: str) -> Any:
        assert self.depth, "memory is touched outside the device"
        found = super().download(tensor, dtype)
        tensor.view(torch.uint8 if tensor.dtype != torch.bool else tensor.dtype).zero_()  # what is left is never read
        return np.asarray(found)

    def synchronize(self) -> None:
        """Nothing runs behind our back."""
