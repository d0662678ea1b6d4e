"""`torch-*`: the card's PyTorch module, run as it is.

On the CPU unless asked for CUDA, by the option `device="cuda"` or the name `torch-fp32@cuda`: the same name then means
the same computation on every machine. Reduced precision is `module.half()` or `module.bfloat16()` with floating inputs
rounded alike; such outputs come back as float32, exactly widened. `torch-autocast-*` keeps the fp32 module and lets
PyTorch choose the operators that run in fp16 or bf16. TF32 and the bf16 shortcuts of oneDNN are off, but for
`torch-tf32`, which needs a CUDA GPU. `torch-compile` is fp32 through torch.compile and Inductor, which needs a C++
compiler on the CPU; the first frame waits for it. PyTorch would keep compiled graphs on disk as pickles and unpickle
them again, which could run anybody's code; those two caches (FX graph, AOTAutograd) are off, and each process traces
anew. Compiled kernels are found again by the hash of their source.

Denormal floats are flushed on the CPU unless told otherwise: a network with many denormal weights is tens of times
slower with them (TwinLiteNet 36 times), and its outputs are the same to the bit. The calling thread flushes while it
runs; PyTorch's own worker threads cannot be told, so denormal weights are zero from the start, as a flushing processor
reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.base import FrameEngine, check_threads, refuse_options, whole_cause
from engines.denormals import DenormalMode
from engines.errors import EngineCrashed, EngineOptionError, EngineUnavailable
from engines.exporters import example_input
from engines.io_check import check_inputs
from engines.protocol import Availability, CaseContext, ModelSource, Tensors
from engines.sealed import file_sha256
from engines.torch_build import installed_torch
from engines.torch_device import chosen_device, demand, gpu_name
from engines.torch_memory import remembers
from engines.torch_model import name_outputs, settle_module

if TYPE_CHECKING:
    import torch

__all__ = ["TorchEngine", "availability", "open_engine"]

OPTIONS = ("device", "threads", "denormals")
SHOWN = 8  # parts of the network named in the provenance
# what a name stands for -> (the module's dtype, autocast's dtype), as attributes of torch; None: as it is
PRECISIONS: dict[str, tuple[str | None, str | None]] = {
    "fp32": (None, None),
    "fp16": ("float16", None),
    "bf16": ("bfloat16", None),
    "autocast-fp16": (None, "float16"),
    "autocast-bf16": (None, "bfloat16"),
    "tf32": (None, None),
    "compile": (None, None),
}


def open_engine(
    name: str,
    source: ModelSource,
    *,
    precision: str,
    device: str | None = None,
    threads: int | None = None,
    denormals: str = "flush",
    **unknown: Any,
) -> TorchEngine:
    """Open the PyTorch engine.

    Args:
        name: with `@cuda` for the GPU.
        source: a card with [torch].
        precision: a key of PRECISIONS; fixed by the name.
        device: cpu (default) or cuda, `cuda:1`.
        threads: of PyTorch's CPU operators; the process shares one setting, default: as it is.
        denormals: `flush` (default) or `keep`; on the CPU.
        unknown: refused.

    Raises:
        EngineOptionError, EngineUnavailable, ModelLoadError: as their names say.
    """
    import torch

    refuse_options(name, unknown, OPTIONS)
    check_threads(name, threads)
    where = chosen_device(name, device, precision)
    demand(name, precision, where)
    if denormals not in ("keep", "flush"):
        raise EngineOptionError(
            f"denormals {denormals!r}", where=f"options of {name}", remedy="must be in ['keep', 'flush']"
        )
    if threads is not None:
        torch.set_num_threads(threads)
    module, changed = settle_module(source)
    return TorchEngine(name, source, module, precision, torch.device(where), denormals, changed)


def availability(name: str) -> Availability:
    """PyTorch's version and the device, or why it does not run; PyTorch is loaded only where it may have a GPU."""
    try:
        version = installed_torch().version
    except EngineUnavailable as error:
        return Availability(name, False, error.what, error.remedy)
    from engines.registry import base_name
    from engines.table import TABLE

    precision = TABLE[base_name(name)].options["precision"]
    try:
        device = chosen_device(name, None, precision)
        demand(name, precision, device)
    except (EngineUnavailable, EngineOptionError) as error:
        return Availability(name, False, error.what, error.remedy)
    return Availability(name, True, f"torch {version} on {gpu_name(device) if device.startswith('cuda') else 'cpu'}")


class TorchEngine(FrameEngine):
    """A module in one precision on one device."""

    def __init__(
        self,
        name: str,
        source: ModelSource,
        module: torch.nn.Module,
        precision: str,
        device: torch.device,
        denormals: str,
        set_to_eval: Sequence[str] = (),
    ) -> None:
        import torch

        dtype, autocast = (getattr(torch, text) if text else None for text in PRECISIONS[precision])
        self._autocast, self._tf32 = autocast, precision == "tf32"
        provenance = {
            "torch": str(torch.__version__),
            "factory": source.factory,
            "weights_sha256": file_sha256(source.weights) if source.weights else None,
            "precision": str(dtype).removeprefix("torch.") if dtype else "float32",
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
            "tf32": self._tf32,
            "denormals": denormals,
            **({"autocast": str(autocast).removeprefix("torch.")} if autocast else {}),
            **({"compiled": "inductor"} if precision == "compile" else {}),
            **({"set_to_eval": _first(set_to_eval)} if set_to_eval else {}),
        }
        super().__init__(name, provenance)
        self._source, self._dtype, self._device = source, dtype, device
        self._compiles = precision == "compile"
        self._denormals = DenormalMode(flush=denormals == "flush")
        self._where = f"{source.name}, engine {name}"
        self._module: Any = self._placed(module)
        self.keeps_state = self._remembers()
        if self.keeps_state:
            self._provenance["keeps_state"] = True
            self._module = self._placed(settle_module(source)[0])
        if self._compiles:
            self._module = _compiled(self._module)

    def start_case(self, context: CaseContext) -> None:
        """A network that remembers frames is made anew."""
        if self.keeps_state:
            self._module = self._placed(settle_module(self._source)[0])
            if self._compiles:
                self._module = _compiled(self._module)

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
        tensors = [self._put(inputs[spec.name]) for spec in self._source.inputs]
        with torch.inference_mode(), plain_numerics(self._tf32), self._denormals:
            try:
                result = self._run(tensors)
            except Exception as error:
                raise EngineCrashed(
                    f"PyTorch failed: {whole_cause(getattr(error, 'inner_exception', error))}",
                    where=self._where,
                    remedy="run the module by hand on this input; not every operator exists in every precision",
                ) from error
            named = name_outputs(result, self._source.outputs, self._where)
            return {name: _array(tensor) for name, tensor in named.items()}

    def watched(
        self,
        inputs: Mapping[str, NDArray[Any]],
        see: Callable[[str, int, NDArray[Any]], None],
        modules: Collection[str],
    ) -> Tensors:
        """As `infer`, on a network that has seen no frame before; what its modules give is told as well.

        Args:
            inputs: as of `infer`.
            see: takes a module's path, which of its calls this is, and its output; outputs that are no floating tensor
                are left out.
            modules: paths of those that are looked at; empty: all.

        Raises:
            EngineUnavailable: compiled code runs no modules.
        """
        if self._compiles:
            raise EngineUnavailable(
                "compiled code runs no modules", where=self._where, remedy="name torch-fp32, or another torch-* engine"
            )
        self.start_case(CaseContext("watched", self._source.root))
        hooks = [
            module.register_forward_hook(_teller(path, see))
            for path, module in (self._module.named_modules() if self._module is not None else ())
            if path in modules or not modules
        ]
        try:
            return self.infer(inputs)
        finally:
            for hook in hooks:
                hook.remove()

    def close(self) -> None:
        """Drop the module."""
        self._module = None

    def _run(self, tensors: Sequence[torch.Tensor]) -> Any:
        with self._casting():
            return self._module(*tensors)

    def _placed(self, module: torch.nn.Module) -> torch.nn.Module:
        """The module on its device, in its dtype, with the denormals it is to have."""
        placed = module.to(device=self._device, dtype=self._dtype)
        if self._denormals.flush and self._device.type == "cpu":
            zero_denormals(placed)
        return placed

    def _remembers(self) -> bool:
        """Whether the network remembers frames, tried on zeros; true where they do not suit it."""
        import torch

        def call() -> list[torch.Tensor]:
            result = self._run([self._put(example_input(spec).numpy()) for spec in self._source.inputs])
            return list(name_outputs(result, self._source.outputs, self._where).values())

        try:
            with torch.inference_mode(), plain_numerics(self._tf32), self._denormals:
                return remembers(self._module, call)
        except Exception:  # a network that zeros of the example's size do not suit: nobody knows, so nobody shares it
            return True

    def _casting(self) -> Any:
        """Autocast where the name asks for it."""
        import torch

        return torch.autocast(self._device.type, dtype=self._autocast) if self._autocast else nullcontext()

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
    strict = torch.get_deterministic_debug_mode()
    benchmark = backends.cudnn.benchmark
    for operator in operators:
        operator.fp32_precision = "tf32" if tf32 else "ieee"
    # as use_deterministic_algorithms(True, warn_only=True), which also loads all of torch.compile: seconds
    torch.set_deterministic_debug_mode("warn")
    backends.cudnn.benchmark = False
    try:
        yield
    finally:
        for operator, precision in zip(operators, before, strict=True):
            operator.fp32_precision = precision
        torch.set_deterministic_debug_mode(strict)
        backends.cudnn.benchmark = benchmark


def zero_denormals(module: torch.nn.Module) -> None:
    """Make denormal fp32 weights zero, in place."""
    import torch

    for tensor in module.state_dict().values():
        if tensor.dtype == torch.float32:
            tensor[tensor.abs() < torch.finfo(torch.float32).tiny] = 0


def _compiled(module: torch.nn.Module) -> Any:
    """The module through torch.compile, which compiles at the first call; nothing is pickled or unpickled."""
    import torch
    import torch._functorch.config as functorch
    import torch._inductor.config as inductor

    inductor.deterministic = True
    inductor.compile_threads = 1  # more would fork this process, whose threads then deadlock the fork
    inductor.fx_graph_cache = False
    functorch.enable_autograd_cache = False
    torch.compiler.reset()  # past a number of compilations of one class, PyTorch silently runs it uncompiled
    return torch.compile(module, backend="inductor")


def _teller(path: str, see: Callable[[str, int, NDArray[Any]], None]) -> Callable[[Any, Any, Any], None]:
    """A forward hook that counts its calls."""
    import torch

    calls = count()

    def hook(module: Any, arguments: Any, given: Any) -> None:
        call = next(calls)
        if isinstance(given, torch.Tensor) and given.is_floating_point():
            see(path, call, _array(given))

    return hook


def _first(names: Sequence[str]) -> list[str]:
    return [*names[:SHOWN], *([f"{len(names) - SHOWN} more"] if len(names) > SHOWN else [])]


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    """A NumPy copy; half and bfloat16 widened to float32."""
    import torch

    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    array: NDArray[Any] = tensor.detach().cpu().numpy().copy()
    return array
