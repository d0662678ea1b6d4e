"""Which engines there are: a table of names, and the modules that run them.

A name may carry a suffix after `@` (the device, `torch-fp32@cuda`) or `:` (which one, `recorded:orin`); the module sees
the whole name. A module of the table gives

    open_engine(name: str, source: ModelSource, **options) -> Engine
    availability(name: str) -> Availability

and, where some options are files, their names in FILE_OPTIONS. Nothing heavy is imported before one of them is called.

Options come from the caller and, below that, from the card: `source.options` of the name without suffixes, of the name
with `:WHICH`, of the whole name, the later over the earlier. A family without variants of its own takes any `:WHICH`
that the card has options for, so one engine can run twice, differently.

Third parties add engines by the entry-point group `trueline.engines`: entry name -> a module or object with the same
`open_engine` and, if they like, `availability`. A name of ours always means our engine.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines.base import whole_cause
from engines.errors import EngineCrashed, EngineError, EngineOptionError, EngineUnavailable, UnknownEngine
from engines.protocol import Availability, Engine, ModelSource
from trueline import TruelineError

__all__ = [
    "ENTRY_POINTS",
    "TABLE",
    "Entry",
    "availability",
    "check_name",
    "family",
    "names",
    "open_engine",
    "option_files",
]

ENTRY_POINTS = "trueline.engines"
WITH_VARIANTS = ("emulated", "command", "recorded", "third-party")  # families that know what `:WHICH` means


@dataclass(frozen=True, slots=True)
class Entry:
    """One engine: where it lives, its family, what it is in one line, and the options its name stands for."""

    module: str
    family: str
    summary: str
    options: Mapping[str, Any] = field(default_factory=dict)


TABLE: dict[str, Entry] = {
    "torch-fp32": Entry("engines.torch_engine", "torch", "PyTorch, fp32, TF32 off", {"precision": "fp32"}),
    "torch-fp16": Entry("engines.torch_engine", "torch", "PyTorch, module.half()", {"precision": "fp16"}),
    "torch-bf16": Entry("engines.torch_engine", "torch", "PyTorch, module.bfloat16()", {"precision": "bf16"}),
    "torch-autocast-fp16": Entry(
        "engines.torch_engine", "torch", "PyTorch, fp32 module under fp16 autocast", {"precision": "autocast-fp16"}
    ),
    "torch-autocast-bf16": Entry(
        "engines.torch_engine", "torch", "PyTorch, fp32 module under bf16 autocast", {"precision": "autocast-bf16"}
    ),
    "torch-tf32": Entry("engines.torch_engine", "torch", "PyTorch on CUDA, TF32 allowed", {"precision": "tf32"}),
    "torch-compile": Entry("engines.torch_engine", "torch", "torch.compile, fp32, TF32 off", {"precision": "compile"}),
    "ort-fp32-none": Entry(
        "engines.ort_engine", "ort", "ONNX Runtime CPU, unoptimised export, optimisation off", {"level": "none"}
    ),
    "ort-fp32": Entry("engines.ort_engine", "ort", "ONNX Runtime CPU, every graph optimisation", {"level": "all"}),
    "ort-fp32-basic": Entry("engines.ort_engine", "ort", "ONNX Runtime CPU, basic optimisation", {"level": "basic"}),
    "ort-fp32-extended": Entry(
        "engines.ort_engine", "ort", "ONNX Runtime CPU, basic and extended optimisation", {"level": "extended"}
    ),
    "ort-cuda-fp32": Entry(
        "engines.ort_engine", "ort", "ONNX Runtime CUDA, TF32 off", {"level": "all", "provider": "cuda-fp32"}
    ),
    "ort-cuda-tf32": Entry(
        "engines.ort_engine", "ort", "ONNX Runtime CUDA, TF32 allowed", {"level": "all", "provider": "cuda-tf32"}
    ),
    "ort-trt-fp32": Entry(
        "engines.ort_engine", "ort", "ONNX Runtime's TensorRT provider, fp32", {"level": "all", "provider": "trt-fp32"}
    ),
    "ort-trt-fp16": Entry(
        "engines.ort_engine", "ort", "ONNX Runtime's TensorRT provider, fp16", {"level": "all", "provider": "trt-fp16"}
    ),
    "openvino-fp32": Entry("engines.openvino", "openvino", "OpenVINO CPU, fp32", {"precision": "fp32"}),
    "openvino-fp16": Entry("engines.openvino", "openvino", "OpenVINO CPU, real fp16", {"precision": "fp16"}),
    "openvino-bf16": Entry("engines.openvino", "openvino", "OpenVINO CPU, real bf16", {"precision": "bf16"}),
    "emulated-tf32": Entry("engines.emulated", "emulated", "operands of products rounded to TF32", {"method": "tf32"}),
    "emulated-fp16": Entry("engines.emulated", "emulated", "fp16 after every operator", {"method": "fp16"}),
    "emulated-fp16-fused": Entry(
        "engines.emulated", "emulated", "fp16 at the ends of fused kernels", {"method": "fp16", "fused": True}
    ),
    "emulated-bf16": Entry("engines.emulated", "emulated", "bfloat16 after every operator", {"method": "bf16"}),
    "emulated-reorder": Entry("engines.emulated", "emulated", "fp32, sums in another order", {"method": "reorder"}),
    "trt-fp32": Entry("engines.tensorrt", "trt", "TensorRT, fp32, TF32 off", {"precision": "fp32"}),
    "trt-tf32": Entry("engines.tensorrt", "trt", "TensorRT, fp32, TF32 allowed", {"precision": "tf32"}),
    "trt-fp16": Entry("engines.tensorrt", "trt", "TensorRT, fp16 as the card says", {"precision": "fp16"}),
    "trt-bf16": Entry("engines.tensorrt", "trt", "TensorRT, bf16 as the card's fp16 says", {"precision": "bf16"}),
    "trt-int8": Entry("engines.tensorrt", "trt", "TensorRT, int8: Q/DQ or a cache", {"precision": "int8"}),
    "command": Entry("engines.command", "command", "any program, by [command.NAME] of the card"),
    "recorded": Entry("engines.recorded", "recorded", "outputs dumped elsewhere, aligned by timestamp"),
}


def open_engine(name: str, source: ModelSource, **options: Any) -> Engine:
    """Open an engine on a model.

    Args:
        name: a name of `names()`, with `@DEVICE` or `:WHICH` where the engine takes one.
        source: the model.
        options: of the engine, see docs/engines.md; None means what the card says, or its default.

    Raises:
        UnknownEngine: no engine of that name; the nearest names are listed.
        EngineOptionError: an option the engine does not have.
        EngineUnavailable: this machine or this model cannot run it.
        EngineError: the model does not load or does not fit; whatever an engine raises becomes one line with its name.
    """
    third_parties = check_name(name)
    _check_variant(name, source)
    module, base = _load(name, third_parties), base_name(name)
    of_card = _card_options(name, source, module)
    given = {**of_card, **{key: value for key, value in options.items() if value is not None}}
    fixed: Mapping[str, Any] = TABLE[base].options if base in TABLE else {}
    try:
        if clash := sorted(fixed.keys() & given.keys()):
            raise EngineOptionError(
                f"engine {name!r} already fixes {clash}",
                where=f"options of {name}",
                remedy=f"leave {clash[0]} out, or choose another engine of {names()}",
            )
        engine: Engine = module.open_engine(name, source, **fixed, **given)
    except EngineOptionError as error:
        raise (error.within(f"{source.name}, [engines] of its model card") if of_card else error) from error.__cause__
    except TruelineError as error:
        raise (error if name in error.where else error.within(f"engine {name}")) from error.__cause__
    except Exception as error:
        raise EngineCrashed(
            f"{name} does not open: {whole_cause(error)}",
            where=f"{source.name}, engine {name}",
            remedy="open it by hand on this model, and tell whoever made the engine",
        ) from error
    return engine


def check_name(name: str) -> Mapping[str, Any]:
    """Engines of other packages, where the name is not one of ours.

    Raises:
        UnknownEngine: no engine of that name; the nearest names are listed.
    """
    base = base_name(name)
    third_parties = _third_parties() if base not in TABLE else {}
    if base not in TABLE and base not in third_parties:
        raise UnknownEngine(f"no engine {name!r}", where="engine name", remedy=_near(name))
    return third_parties


def option_files(source: ModelSource) -> tuple[Path, ...]:
    """Files that the card's options of engines name and that are there: they decide what those engines compute."""
    found: dict[Path, None] = {}
    for name in source.options:
        with suppress(EngineError):
            module = _load(name, check_name(name))
            options = _card_options(name, source, module)
            found |= {Path(options[key]): None for key in _file_options(module) if isinstance(options.get(key), str)}
    return tuple(path for path in found if path.is_file())


def names() -> list[str]:
    """Every engine that could be asked for, built in first, whether or not it runs here."""
    return [*TABLE, *(n for n in sorted(_third_parties()) if n not in TABLE)]


def availability(name: str | None = None) -> tuple[Availability, ...]:
    """Whether each engine (or the named one) runs here: version and device, or why not and the remedy. Never raises."""
    return tuple(_availability(n) for n in ([name] if name is not None else names()))


def family(name: str) -> str:
    """The family of an engine: `torch`, `ort`, ...; `third-party` where it is not ours."""
    entry = TABLE.get(base_name(name))
    return entry.family if entry else "third-party"


def base_name(name: str) -> str:
    """The name without `@DEVICE` and `:WHICH`."""
    return name.partition("@")[0].partition(":")[0]


def _check_variant(name: str, source: ModelSource) -> None:
    """A `:WHICH` means something to the engine's family or stands in the card.

    Raises:
        UnknownEngine: neither.
    """
    head = name.partition("@")[0]
    if ":" in head and family(name) not in WITH_VARIANTS and head not in source.options:
        raise UnknownEngine(
            f"no engine {name!r}: the card says nothing of {head!r}",
            where=f"{source.name}, engine name",
            remedy=f'add [engines."{head}"] with its options to model.toml, or use {base_name(name)!r}',
        )


def _card_options(name: str, source: ModelSource, module: Any) -> dict[str, Any]:
    """What the card says of this engine; files are taken from the card's folder."""
    merged: dict[str, Any] = {}
    for key in dict.fromkeys((base_name(name), name.partition("@")[0], name)):
        merged |= source.options.get(key, {})
    files = _file_options(module)
    return {
        key: str(source.root / value) if key in files and isinstance(value, str) else value
        for key, value in merged.items()
    }


def _file_options(module: Any) -> tuple[str, ...]:
    return tuple(getattr(module, "FILE_OPTIONS", ()))


def _availability(name: str) -> Availability:
    base = base_name(name)
    try:
        third_parties = _third_parties() if base not in TABLE else {}
        if base not in TABLE and base not in third_parties:
            return Availability(name, False, f"no engine {name!r}", _near(name))
        module = _load(name, third_parties)
        if base not in TABLE and not hasattr(module, "availability"):
            return Availability(name, True, f"third party, {third_parties[base].value}")
        answer: Availability = module.availability(name)
        return answer
    except EngineError as error:
        return Availability(name, False, error.what, error.remedy)
    except Exception as error:  # a third party's module may fail in any way, and `trueline engines` must still answer
        return Availability(name, False, f"{type(error).__name__}: {error}", f"mend or uninstall what provides {name}")


def _load(name: str, third_parties: Mapping[str, Any]) -> Any:
    """The module or object that runs an engine of the table or of a third party."""
    base = base_name(name)
    if base in TABLE:
        return importlib.import_module(TABLE[base].module)
    entry = third_parties[base]
    try:
        found = entry.load()
    except Exception as error:
        raise EngineUnavailable(
            f"engine {name!r} of {entry.value} does not import: {type(error).__name__}: {error}",
            where=f"entry point {ENTRY_POINTS}",
            remedy="mend or uninstall the package that provides it",
        ) from error
    if not hasattr(found, "open_engine"):
        raise EngineUnavailable(
            f"{entry.value} has no open_engine(name, source, **options)",
            where=f"entry point {ENTRY_POINTS}",
            remedy="ask its author to follow docs/engines.md",
        )
    return found


def _third_parties() -> dict[str, Any]:
    """Entry points of other packages, by engine name."""
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def _near(name: str) -> str:
    """Remedy for a wrong name: the nearest ones first, else all."""
    known = names()
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"choose one of {known}"
