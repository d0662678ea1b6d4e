"""`torch-fp32`, `torch-fp16`, `torch-bf16`: the card's PyTorch module, run as it is.

On the CPU unless asked for CUDA, by the option `device="cuda"` or the name `torch-fp32@cuda`: the same name then means
the same computation on every machine. Reduced precision is `module.half()` or `module.bfloat16()` with floating inputs
rounded alike; such outputs come back as float32, exactly widened. TF32 and the bf16 shortcuts of oneDNN are off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.base import FrameEngine, first_line, refuse_options
from engines.cache import file_sha256
from engines.denormals import DenormalMode
from engines.errors import EngineCrashed, EngineOptionError, EngineUnavailable
from engines.io_check import check_inputs
from engines.protocol import Availability, ModelSource, Tensors
from engines.torch_model import build_module, name_outputs

if TYPE_CHECKING:
    import torch

__all__ = ["TorchEngine", "availability", "open_engine"]

OPTIONS = ("device", "threads", "denormals")


def open_engine(
    name: str,
    source: ModelSource,
    *,
    precision: str,
    device: str | None = None,
    threads: int | None = None,
    denormals: str = "keep",
    **unknown: Any,
) -> TorchEngine:
    """Open the PyTorch engine.

    Args:
        name: with `@cuda` for the GPU.
        source: a card with [torch].
        precision: fp32, fp16 or bf16; fixed by the name.
        device: cpu (default) or cuda, `cuda:1`.
        threads: of PyTorch's CPU operators; the process shares one setting, default: as it is.
        denormals: `keep` (default) or `flush`.
        unknown: refused.

    Raises:
        EngineOptionError, EngineUnavailable, ModelLoadError: as their names say.
    """
    import torch

    refuse_options(name, unknown, OPTIONS)
    where = _device(name, device)
    if denormals not in ("keep", "flush"):
        raise EngineOptionError(
            f"denormals {denormals!r}", where=f"options of {name}", remedy="must be in ['keep', 'flush']"
        )
    if threads is not None:
        torch.set_num_threads(threads)
    dtype = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    module = build_module(source)
    return TorchEngine(name, source, module, dtype, torch.device(where), denormals)


def availability(name: str) -> Availability:
    """PyTorch's version and the device, or why it does not run."""
    try:
        import torch
    except ImportError as error:
        return Availability(name, False, f"PyTorch does not import: {error}", "pip install torch")
    try:
        device = _device(name, None)
    except (EngineUnavailable, EngineOptionError) as error:
        return Availability(name, False, error.what, error.remedy)
    shown = (
        torch.cuda.get_device_name(device) if device.startswith("cuda") else f"cpu, {torch.get_num_threads()} threads"
    )
    return Availability(name, True, f"torch {torch.__version__} on {shown}")


class TorchEngine(FrameEngine):
    """A module in one precision on one device."""

    def __init__(
        self,
        name: str,
        source: ModelSource,
        module: torch.nn.Module,
        dtype: torch.dtype | None,
        device: torch.device,
        denormals: str,
    ) -> None:
        import torch

        provenance = {
            "torch": str(torch.__version__),
            "factory": source.factory,
            "weights_sha256": file_sha256(source.weights) if source.weights else None,
            "precision": str(dtype).removeprefix("torch.") if dtype else "float32",
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
            "tf32": False,
            "denormals": denormals,
        }
        super().__init__(name, provenance)
        self._source, self._dtype, self._device = source, dtype, device
        self._module: torch.nn.Module | None = module.to(device=device, dtype=dtype)
        self._denormals = DenormalMode(flush=True) if denormals == "flush" else nullcontext()
        self._where = f"{source.name}, engine {name}"

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Run the module once; outputs are copies.

        Raises:
            EngineInputError: an input is missing or does not fit.
            EngineOutputMissing: the outputs are not those of the card.
            EngineCrashed: PyTorch failed.
        """
        import torch

        check_inputs(self._source.inputs, inputs, self._where)
        if self._module is None:
            raise EngineCrashed("the engine is closed", where=self._where, remedy="open it again")
        with torch.inference_mode(), plain_numerics(), self._denormals:
            try:
                result = self._module(*(self._put(inputs[spec.name]) for spec in self._source.inputs))
            except Exception as error:
                raise EngineCrashed(
                    f"PyTorch failed: {first_line(error)}",
                    where=self._where,
                    remedy="run the module by hand on this input; not every operator exists in every precision",
                ) from error
            named = name_outputs(result, self._source.outputs, self._where)
            return {name: _array(tensor) for name, tensor in named.items()}

    def close(self) -> None:
        """Drop the module."""
        self._module = None

    def _put(self, array: NDArray[Any]) -> torch.Tensor:
        import torch

        # a copy, since the module may write into its input; row-major, since strides choose PyTorch's kernels
        tensor = torch.tensor(np.ascontiguousarray(array), device=self._device)
        return tensor.to(self._dtype) if self._dtype and tensor.is_floating_point() else tensor


@contextmanager
def plain_numerics(tf32: bool = False) -> Iterator[None]:
    """IEEE fp32 in every backend (or TF32 where asked), deterministic algorithms; restored afterwards."""
    import torch

    backends = torch.backends
    operators: list[Any] = [
        backends.cuda.matmul,
        *(getattr(backends.cudnn, name) for name in ("conv", "rnn")),
        *(getattr(backends.mkldnn, name) for name in ("conv", "matmul", "rnn")),
    ]
    before = [operator.fp32_precision for operator in operators]
    strict, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    benchmark = backends.cudnn.benchmark
    for operator in operators:
        operator.fp32_precision = "tf32" if tf32 else "ieee"
    torch.use_deterministic_algorithms(True, warn_only=True)
    backends.cudnn.benchmark = False
    try:
        yield
    finally:
        for operator, precision in zip(operators, before, strict=True):
            operator.fp32_precision = precision
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)
        backends.cudnn.benchmark = benchmark


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    """A NumPy copy; half and bfloat16 widened to float32."""
    import torch

    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    array: NDArray[Any] = tensor.detach().cpu().numpy().copy()
    return array


def _device(name: str, device: str | None) -> str:
    """The device that name and option ask for.

    Raises:
        EngineOptionError: they contradict each other, or there is no such kind of device.
        EngineUnavailable: CUDA is asked for and not there.
    """
    import torch

    suffix = name.partition("@")[2]
    if suffix and device and suffix != device:
        raise EngineOptionError(
            f"engine {name!r} with device {device!r}", where=f"options of {name}", remedy="give one of the two"
        )
    chosen = suffix or device or "cpu"
    kind = chosen.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise EngineOptionError(
            f"no device {chosen!r}", where=f"options of {name}", remedy="must be 'cpu', 'cuda' or 'cuda:N'"
        )
    if kind == "cuda" and not torch.cuda.is_available():
        raise EngineUnavailable(
            f"this PyTorch ({torch.__version__}) sees no CUDA GPU",
            where=f"engine {name}",
            remedy="install a CUDA build of PyTorch on a machine with a GPU, or leave @cuda out",
        )
    return chosen
