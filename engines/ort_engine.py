"""`ort-*`: ONNX Runtime, on the CPU and through its CUDA and TensorRT providers (engines/ort_providers.py).

`ort-fp32-none` runs the unoptimised export with graph optimisation off: what differs from PyTorch is the export.
`ort-fp32` runs the usual export with every optimisation, `ort-fp32-basic` and `-extended` with fewer. Threads are fixed
and recorded, since another number of threads may add in another order. `infer` adds about three microseconds to a bare
`session.run`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import FrameEngine, check_threads, refuse_options, whole_cause
from engines.cache import folder_of
from engines.cpu import usable_cores
from engines.denormals import DenormalMode, supported
from engines.errors import EngineCrashed, EngineOptionError, EngineUnavailable, ModelLoadError
from engines.export import export_warnings, exported
from engines.inspect.graph import model_sha256, read_graph
from engines.io_check import check_inputs, check_io
from engines.ort_providers import CPU, KINDS, Request, available, granted, precision_facts, requests
from engines.plugins import for_onnx_runtime
from engines.protocol import Availability, ModelSource, Tensors, TensorSpec
from engines.sealed import file_sha256
from engines.silent import load_onnxruntime

__all__ = ["OrtEngine", "availability", "denormal_mode", "open_engine", "open_session"]

OPTIONS = ("threads", "denormals")
LARGEST_BYTES = 64 * 2**20  # of a model whose rows are worth looking at: a larger one is not limited by calls
# operators whose way through the arithmetic, or whose scales, depend on the values of all rows
VALUE_DEPENDENT = frozenset(
    ("DynamicQuantizeLinear", "If", "Loop", "NonMaxSuppression", "NonZero", "RandomNormal", "RandomNormalLike",
     "RandomUniform", "RandomUniformLike", "Scan", "Unique", "Compress", "Multinomial", "Bernoulli", "Dropout")
)  # fmt: skip


def open_engine(
    name: str,
    source: ModelSource,
    *,
    level: str,
    provider: str = "cpu",
    threads: int | None = None,
    denormals: str = "flush",
    **unknown: Any,
) -> OrtEngine:
    """Open an ONNX Runtime engine on the card's ONNX file, or on the export of its PyTorch network.

    Args:
        name: of the engine.
        source: the model.
        level: graph optimisation: none, basic, extended or all; fixed by the name.
        provider: a key of engines.ort_providers.KINDS; fixed by the name.
        threads: of one operator; default: as many as there are physical cores.
        denormals: `flush` (default: a net with many denormal weights is several times slower otherwise) or `keep`.
        unknown: refused.

    Raises:
        EngineOptionError, EngineUnavailable, ExportError, ModelLoadError, EngineOutputMissing: as their names say.
    """
    refuse_options(name, unknown, OPTIONS)
    if provider != "cpu":
        available(name, provider, _providers())
    model = exported(source, "ort", optimize=level != "none")
    return OrtEngine(
        name, source, model, level, usable_cores() if threads is None else threads, denormals, provider=provider
    )


def availability(name: str) -> Availability:
    """ONNX Runtime's version, or that it is missing."""
    try:
        onnxruntime = load_onnxruntime()
    except ImportError as error:
        return Availability(name, False, f"ONNX Runtime does not import: {error}", "pip install 'trueline[cpu]'")
    from engines.registry import base_name
    from engines.table import TABLE

    entry = TABLE.get(base_name(name))
    kind = entry.options.get("provider", "cpu") if entry else "cpu"
    if "@" in name:
        return Availability(name, False, f"{base_name(name)} has its device in its name", "leave the device out")
    try:
        available(name, kind, _providers())
    except EngineUnavailable as error:
        return Availability(name, False, error.what, error.remedy)
    where = f"cpu, {usable_cores()} threads" if kind == "cpu" else KINDS[kind]
    return Availability(name, True, f"onnxruntime {onnxruntime.__version__} on {where}")


class OrtEngine(FrameEngine):
    """One session; `model` is the file it runs."""

    def __init__(
        self,
        name: str,
        source: ModelSource,
        model: Path,
        level: str,
        threads: int,
        denormals: str,
        facts: Mapping[str, Any] | None = None,
        provider: str = "cpu",
    ) -> None:
        onnxruntime = load_onnxruntime()

        check_threads(name, threads)
        self._mode = denormal_mode(name, denormals)
        cache = folder_of(source.cache, "ort-trt") if provider.startswith("trt") else source.cache
        wanted = requests(provider, cache, source.plugins)
        session = open_session(
            model, level=level, threads=threads, mode=self._mode, plugins=source.plugins, providers=wanted
        )
        provider_options = granted(name, provider, session)
        self._inputs = tuple(TensorSpec(i.name, tuple(i.shape), _dtype(i.type)) for i in session.get_inputs())
        check_io(source, self._inputs, [output.name for output in session.get_outputs()], str(model))
        self._model, self._plain = model, provider == "cpu" and not source.plugins
        self._session: Any = session
        self._run = session.run
        self._outputs = list(source.outputs)
        self._known: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        self._where = f"{source.name}, engine {name}"
        provenance = {
            "onnxruntime": onnxruntime.__version__,
            "provider": KINDS[provider],
            "model": f"{model.parent.name}/{model.name}",
            "model_sha256": model_sha256(model),
            **precision_facts(provider),
            "graph_optimisation": level,
            "threads": threads,
            "denormals": denormals,
            "denormals_in_calling_thread": denormals if supported() else "as the first session of the process",
            "device": "cpu" if provider == "cpu" else "cuda:0",
        }
        if plugins := for_onnx_runtime(source.plugins):
            provenance["plugins"] = {path.name: file_sha256(path) for path in plugins}
        if provider_options:
            provenance["provider_options"] = provider_options
        if heard := export_warnings(model):
            provenance["export_warnings"] = heard
        super().__init__(name, {**provenance, **(facts or {})})

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Run the session once.

        Raises:
            EngineInputError: an input is missing or does not fit.
            EngineCrashed: ONNX Runtime failed.
        """
        known = self._known
        if not known or len(inputs) != len(known):
            self._admit(inputs)
        for name, array in inputs.items():
            if known.get(name) != (array.shape, array.dtype):
                self._admit(inputs)
                break
        try:
            with self._mode:
                values = self._run(self._outputs, inputs)
        except Exception as error:
            raise self._crashed(error) from error
        return dict(zip(self._outputs, values, strict=True))

    @cached_property
    def rows_apart(self) -> bool:
        """Whether the graph takes any number of rows, and computes them by arithmetic that depends on no value.

        That rows of a batch are what they are alone is then a matter of shapes, and a few frames tell it for all.
        """
        if not self._plain or any(not spec.shape or isinstance(spec.shape[0], int) for spec in self._inputs):
            return False
        if self._model.stat().st_size > LARGEST_BYTES:
            return False
        return not VALUE_DEPENDENT & {node.op for node in read_graph(self._model).nodes}

    def close(self) -> None:
        """Drop the session."""
        self._session = None
        self._run = _closed

    def _admit(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Check inputs whose shapes or dtypes were not seen in the last call."""
        check_inputs(self._inputs, inputs, self._where)
        self._known = {name: (array.shape, array.dtype) for name, array in inputs.items()}

    def _crashed(self, error: Exception) -> EngineCrashed:
        return EngineCrashed(
            f"ONNX Runtime failed: {whole_cause(error)}",
            where=self._where,
            remedy="run the ONNX file by hand on this input",
        )


def open_session(
    model: Path | bytes,
    *,
    level: str,
    threads: int,
    mode: DenormalMode,
    plugins: tuple[Path, ...] = (),
    save_to: Path | None = None,
    providers: Sequence[Request] = (CPU,),
    without: Sequence[str] = (),
) -> Any:
    """An ONNX Runtime session; the calling thread's denormal flag is left as it was.

    Args:
        model: ONNX file, or what one would hold.
        level: graph optimisation: none, basic, extended or all.
        threads: of one operator.
        mode: whether the session's own threads flush denormals.
        plugins: libraries with custom ops; those of other runtimes are left alone (engines/plugins.py).
        save_to: where to write the graph as it was optimised.
        providers: to ask for, best first, as engines.ort_providers.requests gives them.
        without: optimisations to leave out, by ONNX Runtime's names.

    Raises:
        EngineUnavailable: ONNX Runtime is not installed.
        EngineOptionError: no such level.
        ModelLoadError: the file or a plugin does not load.
    """
    try:
        ort = load_onnxruntime()
    except ImportError as error:
        raise EngineUnavailable(
            f"ONNX Runtime does not import: {error}", where="onnxruntime", remedy="pip install 'trueline[cpu]'"
        ) from error
    levels = {
        "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
        "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
        "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    }
    if level not in levels:
        raise EngineOptionError(
            f"graph optimisation {level!r}", where="level of an ONNX Runtime engine", remedy=f"one of {list(levels)}"
        )
    options = ort.SessionOptions()
    options.graph_optimization_level = levels[level]
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    # engines take turns in a replay: threads that spin after a run take the next engine's core (1.6x the whole replay)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if save_to is not None:
        options.optimized_model_filepath = str(save_to)
    options.add_session_config_entry("session.set_denormal_as_zero", "1" if mode.flush else "0")
    if tuple(providers) != (CPU,):
        options.use_deterministic_compute = True
        ort.preload_dlls()  # CUDA and cuDNN of the nvidia packages
    file = str(model) if isinstance(model, Path) else model
    place = whole = str(model) if isinstance(model, Path) else "a part of the graph"
    try:
        with DenormalMode(flush=mode.flush):  # the first session of a process would set the flag for good
            for place in map(str, for_onnx_runtime(plugins)):
                options.register_custom_ops_library(place)
            place = whole
            return ort.InferenceSession(
                file, options, providers=list(providers), enable_fallback=0, disabled_optimizers=list(without)
            )
    except Exception as error:
        optimised = level != "none" and place == whole and _loads_unoptimised(ort, file, options)
        raise ModelLoadError(
            f"ONNX Runtime cannot load it at graph optimisation {level!r}: {whole_cause(error)}"
            + (
                "; without optimisation it loads, so the file is sound and what the optimiser made of it is not"
                * optimised
            ),
            where=place,
            remedy="run ort-fp32-none beside it, and try another version of ONNX Runtime"
            if optimised
            else "check the file with onnx.checker.check_model; custom ops need `plugins` in model.toml",
        ) from error


def _loads_unoptimised(ort: Any, model: str | bytes, options: Any) -> bool:
    """Whether a file that does not load does so with graph optimisation off."""
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        with DenormalMode(flush=True):
            ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception:  # whatever it is, this level fails too
        return False
    return True


def _providers() -> list[str]:
    """Providers of this build of ONNX Runtime.

    Raises:
        EngineUnavailable: it is not installed.
    """
    try:
        onnxruntime = load_onnxruntime()
    except ImportError as error:
        raise EngineUnavailable(
            f"ONNX Runtime does not import: {error}", where="onnxruntime", remedy="pip install 'trueline[cpu]'"
        ) from error
    return list(onnxruntime.get_available_providers())


def denormal_mode(name: str, denormals: str) -> DenormalMode:
    """The mode that an engine's option `denormals` asks for.

    Raises:
        EngineOptionError: it is neither `flush` nor `keep`.
    """
    if denormals not in ("flush", "keep"):
        raise EngineOptionError(
            f"denormals {denormals!r}", where=f"options of {name}", remedy="must be in ['flush', 'keep']"
        )
    return DenormalMode(flush=denormals == "flush")


def _dtype(ort_type: str) -> str:
    """`tensor(float)` -> `float32`; a type that NumPy lacks keeps ONNX Runtime's name."""
    inner = ort_type.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(inner, inner)


def _closed(*_: object) -> Any:
    raise RuntimeError("the engine is closed")
