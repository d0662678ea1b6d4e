"""What an engine is, and what it is told of a model. Nothing here knows what a line is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from numpy.typing import NDArray

__all__ = [
    "Availability",
    "CaseContext",
    "CommandSpec",
    "DumpSpec",
    "Engine",
    "ExportTarget",
    "ModelSource",
    "TensorSpec",
    "Tensors",
    "keeps_state",
]

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape (a str is a dynamic dimension) and NumPy dtype name of one input or output."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class ExportTarget:
    """How PyTorch becomes ONNX: the dynamo exporter gives opset 18 or more whatever is asked, the legacy one obeys."""

    exporter: Literal["dynamo", "legacy"] = "dynamo"
    opset: int | None = None


@dataclass(frozen=True)
class CommandSpec:
    """A program that runs the model (`[command.NAME]` of the card, docs/programs.md).

    Attributes:
        run: program and arguments with placeholders; no shell reads them.
        inputs: how input files are written; not in pipe mode.
        outputs: how output files are read; not in pipe mode.
        mode: start it for every frame, or keep it running and talk through pipes.
        timeout_s: limit of one frame.
        max_output_mb: limit of one answer, one output file, and one array in it, MiB.
        restart: `case`: in pipe mode every case gets a process of its own; `never`: one runs through all of them.
        env: environment variables, added to ours.
        cwd: folder it runs in, from the card's folder; default that folder.
        shapes: of the outputs whose shapes the card tells in numbers, for raw files.
        dtypes: of raw outputs that are not float32.
    """

    run: tuple[str, ...]
    inputs: Literal["raw", "npz", "safetensors"] = "safetensors"
    outputs: Literal["raw", "npz", "safetensors", "trtexec"] = "safetensors"
    mode: Literal["per-frame", "pipe"] = "per-frame"
    timeout_s: float = 60.0
    max_output_mb: int = 1024
    restart: Literal["case", "never"] = "case"
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelSource:
    """One model as engines see it; the harness makes it from a model card.

    Attributes:
        name: for messages and cache keys.
        root: folder of the card; dotted paths are imported with it on sys.path.
        inputs: every input of the network, in order, recurrent ones included.
        outputs: names of the outputs in the network's order; torch engines name a tuple's items by it.
        factory: dotted path `package.module:callable` that builds the torch module (or None).
        factory_args: keyword arguments of the factory.
        weights: safetensors, or a state dict read with weights_only=True (or None).
        onnx: a published ONNX file (or None; then it is exported from torch).
        export: target -> how to export; "default" always there.
        state: output name -> input name fed back frame by frame.
        shapes: of the outputs where the card gives them, a str for a dynamic dimension.
        plugins: shared libraries with custom ops.
        fp16: the kind of TensorRT fp16 the car runs.
        commands: programs that run the model, by name.
        options: what the card tells engines, by engine name (`trt-fp16`, `trt-fp16:car`); engines.registry applies it.
        cache: folder for prepared artefacts, keyed by content hash.
    """

    name: str
    root: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    factory: str | None = None
    factory_args: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    onnx: Path | None = None
    export: Mapping[str, ExportTarget] = field(default_factory=lambda: {"default": ExportTarget()})
    state: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)
    plugins: tuple[Path, ...] = ()
    fp16: Literal["weak", "strong"] = "strong"
    commands: Mapping[str, CommandSpec] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cache: Path = Path(".trueline/cache")


@dataclass(frozen=True, slots=True)
class DumpSpec:
    """Outputs dumped elsewhere, and how they are to be read; None where nobody said.

    Attributes:
        path: folder or file.
        tolerance_ns: how far a dumped frame's time may be from a frame's.
        time_unit: of its times, a key of engines.alignment.UNITS_NS.
        time_offset_ms: how much later its clock is; `estimate`: the offset that pairs the most frames.
        runner: of a Polygraphy file with several.
        rename: its name of an output -> the card's.
    """

    path: Path
    tolerance_ns: int
    time_unit: Literal["ns", "us", "ms", "s"] | None = None
    time_offset_ms: float | Literal["estimate"] | None = None
    runner: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CaseContext:
    """What an engine that replays a recording needs to know of the case it is in.

    Attributes:
        case: id.
        root: its folder.
        outputs: its dumps by name.
        timestamps_ns: times of its frames, strictly increasing; empty where nobody knows them beforehand.
        rung: name of the rung that the engine runs; empty where several share it.
    """

    case: str
    root: Path
    outputs: Mapping[str, DumpSpec] = field(default_factory=dict)
    timestamps_ns: tuple[int, ...] = ()
    rung: str = ""


@runtime_checkable
class Engine(Protocol):
    """Input tensors in, output tensors out.

    `infer` returns arrays that the next call does not overwrite, keyed by exact output name. `start_case` is called
    before the first frame of every case (stateful engines reset there); `seek` before every `infer`, and only where
    `uses_time` is true. Recurrent state of the card is not the engine's concern: it arrives among the inputs.

    An engine whose `infer` depends on nothing but its inputs (and on the moment of `seek`) says `keeps_state = False`,
    and rungs share it. Any other, and one that does not say, gets an instance for every rung: see `keeps_state` below.
    """

    name: str
    uses_time: bool

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Versions, precision, device, flags and hashes: what a verdict needs to be repeated. JSON values only."""
        ...

    def start_case(self, context: CaseContext) -> None:
        """A new case begins."""
        ...

    def seek(self, timestamp_ns: int) -> None:
        """The next `infer` is for this moment."""
        ...

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Run the model once.

        Raises:
            EngineInputError: an input is missing or does not fit.
            EngineCrashed: the runtime failed.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds; may be called twice."""
        ...


def keeps_state(engine: Engine) -> bool:
    """Whether an engine may remember frames, so that no two rungs may share it; true where it does not say."""
    return bool(getattr(engine, "keeps_state", True))


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether an engine can run here; if not, why and what to do."""

    name: str
    available: bool
    detail: str
    remedy: str = ""
