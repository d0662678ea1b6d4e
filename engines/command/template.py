"""Arguments of a command with their placeholders filled in, and the program they begin with."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.errors import EngineOptionError, EngineUnavailable
from engines.export import exported
from engines.protocol import CommandSpec, ModelSource
from engines.sealed import file_sha256

__all__ = ["RUNG", "check", "environment", "facts", "fill", "fixed_values", "folder_of"]

RUNG = "TRUELINE_RUNG"  # environment variable of the program: the rung it runs for
_PLACEHOLDER = re.compile(r"\{([a-z_]+(?:\.[\w./:-]+)?)\}")


def fill(run: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Arguments with every `{placeholder}` replaced; other braces stay."""
    return [_PLACEHOLDER.sub(lambda match: values[match[1]], argument) for argument in run]


def check(run: Sequence[str], known: Sequence[str], where: str) -> None:
    """Placeholders that nothing fills.

    Raises:
        EngineOptionError: there is one.
    """
    for name in (match for argument in run for match in _PLACEHOLDER.findall(argument)):
        if name not in known:
            raise EngineOptionError(
                f"no placeholder {{{name}}}", where=where, remedy=f"there are {[f'{{{k}}}' for k in known]}"
            )


def fixed_values(spec: CommandSpec, source: ModelSource) -> dict[str, str]:
    """What is the same for every frame: {root}, and {onnx} where it is asked for, exported if need be.

    Raises:
        ExportError, ModelLoadError, EngineUnavailable: there is no ONNX file to be had.
    """
    values = {"root": str(source.root.resolve()), "onnx": ""}
    if any("{onnx}" in argument for argument in spec.run):
        values["onnx"] = str(exported(source, "command").resolve())
    return values


def environment(spec: CommandSpec, rung: str) -> dict[str, str]:
    """What the program finds in its environment beside ours: what the card says, and the rung it runs for."""
    return {RUNG: rung, **spec.env}


def folder_of(spec: CommandSpec, source: ModelSource) -> Path:
    """The folder the program runs in: `cwd` from the card's folder, or that folder."""
    return source.root / (spec.cwd or ".")


def facts(spec: CommandSpec, source: ModelSource, where: str) -> dict[str, Any]:
    """Provenance: the command, and what its program is.

    Raises:
        EngineUnavailable: no such program.
    """
    program, folder = spec.run[0], folder_of(spec, source)
    path = shutil.which(str(folder / program) if "/" in program else program, path=spec.env.get("PATH"))
    if path is None:
        raise EngineUnavailable(
            f"no program {program!r}" + (f" in {folder}" if "/" in program else ""),
            where=where,
            remedy="install it, make it executable, or fix `run` under [command] in model.toml",
        )
    return {
        "run": list(spec.run),
        "mode": spec.mode,
        "program": path,
        "program_sha256": file_sha256(Path(path)),
        "env": dict(spec.env),
        "device": "a program's",
    }
