"""An execution context and the memory it reads and writes.

Buffers live as long as the shapes stay the same; `run` copies in, executes on the device's stream, and copies out into
new arrays. NumPy has no bfloat16, and TensorRT 8.6 computes int64 inputs as int32: such tensors are converted at the
border, outputs of bfloat16 into float32, which holds them exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from engines.errors import EngineCrashed, EngineInputError, ModelLoadError
from engines.tensorrt.api import Api, ICudaEngine, IExecutionContext
from engines.tensorrt.device import CudaDevice
from engines.tensorrt.messages import Messages
from engines.tensorrt.runtime import IoTensor
from engines.tensorrt.runtime_cache import create_context, keep_cache

if TYPE_CHECKING:
    import torch

__all__ = ["Buffers", "numpy_dtype"]


def numpy_dtype(dtype: str) -> str:
    """The NumPy type that holds a plan's type exactly."""
    return "float32" if dtype == "bfloat16" else dtype


class Buffers:
    """One execution context with its buffers; names are the plan's."""

    def __init__(
        self,
        api: Api,
        engine: ICudaEngine,
        tensors: Sequence[IoTensor],
        device: CudaDevice,
        where: str,
        runtime_cache: Path | None = None,
    ) -> None:
        self._api, self._device, self._where = api, device, where
        self._inputs = [tensor for tensor in tensors if tensor.is_input]
        self._outputs = [tensor for tensor in tensors if not tensor.is_input]
        self._memory: dict[str, torch.Tensor] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._engine: ICudaEngine = engine
        with api.messages.collect() as messages, device.active():
            context, self._cache = create_context(api, engine, runtime_cache)
            if context is None:
                raise ModelLoadError(
                    f"TensorRT creates no execution context: {messages.reason('is the GPU out of memory?')}",
                    where=where,
                    remedy="free memory of the GPU (nvidia-smi shows who holds it)",
                )
        self._context: IExecutionContext = context
        self._cache_file = runtime_cache

    def close(self) -> None:
        """Keep what the GPU's compiler made."""
        keep_cache(self._cache, self._cache_file)

    def run(self, arrays: Mapping[str, NDArray[Any]], outputs: Sequence[tuple[str, str]]) -> list[NDArray[Any]]:
        """Execute once.

        Args:
            arrays: every input.
            outputs: name and NumPy type of each output to return.

        Returns:
            New arrays, in that order.

        Raises:
            EngineInputError: a shape outside the plan's profile.
            EngineCrashed: TensorRT or CUDA failed.
        """
        with self._api.messages.collect() as messages:
            try:
                with self._device.active():
                    shapes = {tensor.name: arrays[tensor.name].shape for tensor in self._inputs}
                    if shapes != self._shapes:
                        self._bind(shapes, messages)
                    return self._execute(arrays, outputs, messages)
            except RuntimeError as error:  # torch reports CUDA's errors so
                raise self._crashed(messages.reason(str(error).splitlines()[0] if str(error) else "")) from error

    def _bind(self, shapes: dict[str, tuple[int, ...]], messages: Messages) -> None:
        """Tell the context the shapes, and give every tensor memory of its size."""
        import torch

        self._shapes, self._memory = {}, {}
        context: IExecutionContext = self._context
        for tensor in self._inputs:
            if not context.set_input_shape(tensor.name, shapes[tensor.name]):
                raise self._outside(tensor.name, shapes[tensor.name], messages)
        for tensor in (*self._inputs, *self._outputs):
            shape = tuple(context.get_tensor_shape(tensor.name))
            if min(shape, default=0) < 0:
                raise self._unknown_shape(tensor.name, shape)
            memory = self._device.empty(shape, getattr(torch, tensor.dtype))
            if not context.set_tensor_address(tensor.name, memory.data_ptr()):
                raise self._crashed(f"it refuses the memory of {tensor.name!r}: {messages.reason()}")
            self._memory[tensor.name] = memory
        self._shapes = shapes

    def _execute(
        self, arrays: Mapping[str, NDArray[Any]], outputs: Sequence[tuple[str, str]], messages: Messages
    ) -> list[NDArray[Any]]:
        context: IExecutionContext = self._context
        for tensor in self._inputs:
            self._device.upload(arrays[tensor.name], self._memory[tensor.name])
        if not context.execute_async_v3(self._device.stream_handle):
            raise self._crashed(messages.reason())
        found = [self._device.download(self._memory[name], dtype) for name, dtype in outputs]
        self._device.synchronize()
        return found

    def _outside(self, name: str, shape: tuple[int, ...], messages: Messages) -> EngineInputError:
        engine: ICudaEngine = self._engine
        smallest, _, largest = (list(dims) for dims in engine.get_tensor_profile_shape(name, 0))
        return EngineInputError(
            f"input {name!r} is {list(shape)}, and the plan takes {smallest} to {largest}: {messages.reason()}",
            where=self._where,
            remedy="widen the option profiles, or make the pipeline in model.toml end in a shape that the plan takes",
        )

    def _unknown_shape(self, name: str, shape: tuple[int, ...]) -> ModelLoadError:
        return ModelLoadError(
            f"the shape of output {name!r} depends on the data: {list(shape)}",
            where=self._where,
            remedy="leave operators like NonZero and NonMaxSuppression out of the network; a decoder can do their work",
        )

    def _crashed(self, reason: str) -> EngineCrashed:
        return EngineCrashed(
            f"TensorRT failed: {reason}",
            where=self._where,
            remedy="run the plan with trtexec --loadEngine on this input",
        )
