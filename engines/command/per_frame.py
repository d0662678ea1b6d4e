"""A program that is started for every frame: files in, files out, exit code 0."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import FrameEngine
from engines.child.process import Process
from engines.command.template import check, environment, facts, fill, fixed_values, folder_of
from engines.errors import EngineCrashed, EngineOptionError, EngineOutputMissing, RecordingError
from engines.formats.packed import write_safetensors
from engines.formats.reader import opened, widened
from engines.formats.trtexec import raw_array, safe_name
from engines.io_check import check_inputs
from engines.protocol import CaseContext, CommandSpec, ModelSource, Tensors

__all__ = ["PerFrameEngine"]

_FILES = {"npz": "outputs.npz", "safetensors": "outputs.safetensors", "trtexec": "outputs.json", "raw": "outputs"}


class PerFrameEngine(FrameEngine):
    """Starts the card's program anew for every frame."""

    uses_time = True
    keeps_state = True  # it may write files

    def __init__(self, name: str, source: ModelSource, spec: CommandSpec) -> None:
        self._where = f"{source.name}, engine {name}"
        self._source, self._spec = source, spec
        known = ["inputs", "outputs", "timestamp_ns", "case", "rung", "root", "onnx"]
        known += [f"input.{i.name}" for i in source.inputs if spec.inputs == "raw"]
        known += [f"output.{o}" for o in source.outputs if spec.outputs == "raw"]
        check(spec.run, known, self._where)
        self._named = any("{output." in argument for argument in spec.run)
        if self._named:
            self._check_shapes()
        super().__init__(name, {**facts(spec, source, self._where), "inputs": spec.inputs, "outputs": spec.outputs})
        self._values = {**fixed_values(spec, source), "case": "", "rung": "", "timestamp_ns": "0"}

    def start_case(self, context: CaseContext) -> None:
        """Fills {case} and {rung}."""
        self._values |= {"case": context.case, "rung": context.rung}

    def seek(self, timestamp_ns: int) -> None:
        """Fills {timestamp_ns}."""
        self._values["timestamp_ns"] = str(timestamp_ns)

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Write the inputs, run the program, read the outputs; its files are gone afterwards, whatever happens.

        Raises:
            EngineInputError: an input is missing or does not fit.
            EngineCrashed: the program failed, took too long, or left files that do not read.
            EngineOutputMissing: its files lack an output.
        """
        check_inputs(self._source.inputs, inputs, self._where)
        with tempfile.TemporaryDirectory(prefix="trueline-") as folder:
            values = {**self._values, **self._write(Path(folder), inputs), **self._places(Path(folder))}
            self._run(fill(self._spec.run, values))
            try:
                return self._read(Path(folder) / _FILES[self._spec.outputs])
            except RecordingError as error:
                raise EngineCrashed(
                    f"{self._spec.run[0]} ended well, but its output is {error.what}",
                    where=f"{self._where}, {error.where}",
                    remedy=error.remedy,
                ) from error

    def _run(self, argv: list[str]) -> None:
        try:
            env = environment(self._spec, self._values["rung"])
            process = Process(argv, env=env, cwd=folder_of(self._spec, self._source))
        except OSError as error:
            raise self._crashed(f"does not start: {error.strerror}") from error
        try:
            code = process.wait(self._spec.timeout_s)
            if code is None:
                raise self._crashed(f"was not done after {self._spec.timeout_s:g} s{process.last_words()}")
            if code != 0:
                raise self._crashed(process.ending())
        finally:
            process.forget()

    def _crashed(self, what: str) -> EngineCrashed:
        return EngineCrashed(
            f"{self._spec.run[0]}: {what}", where=self._where, remedy="run the command by hand on one frame"
        )

    def _write(self, folder: Path, inputs: Mapping[str, NDArray[Any]]) -> dict[str, str]:
        """Write the inputs of one frame; returns the placeholders that name them."""
        kind = self._spec.inputs
        place = folder / ("inputs" if kind == "raw" else f"inputs.{kind}")
        if kind == "npz":
            np.savez(place, **dict(inputs))  # type: ignore[arg-type]  # arrays by name; allow_pickle is another argument
        elif kind == "safetensors":
            write_safetensors(place, inputs)
        else:
            place.mkdir()
            for name, array in inputs.items():
                (place / f"{safe_name(name)}.raw").write_bytes(np.ascontiguousarray(array).tobytes())
        return {"inputs": str(place), **{f"input.{n}": str(place / f"{safe_name(n)}.raw") for n in inputs}}

    def _places(self, folder: Path) -> dict[str, str]:
        place = folder / _FILES[self._spec.outputs]
        if self._spec.outputs == "raw":
            place.mkdir()
        return {
            "outputs": str(place),
            **{f"output.{name}": str(place / f"{safe_name(name)}.raw") for name in self._source.outputs},
        }

    def _read(self, place: Path) -> Tensors:
        if self._named:
            return {name: widened(self._raw(place, name)) for name in self._source.outputs}
        with opened(place, self._source.outputs, most_bytes=self._spec.max_output_mb * 2**20) as arrays:
            if absent := [name for name in self._source.outputs if name not in arrays]:
                raise EngineOutputMissing(
                    f"{self._spec.run[0]} gave no output {absent[0]!r}",
                    where=self._where,
                    remedy=f"it gave {sorted(arrays)}; have it write what [[outputs]] in model.toml names",
                )
            return {name: widened(arrays[name]) for name in self._source.outputs}

    def _raw(self, place: Path, name: str) -> NDArray[Any]:
        path = place / f"{safe_name(name)}.raw"
        return raw_array(path, self._spec.shapes[name], self._spec.dtypes.get(name, "float32")).copy()

    def _check_shapes(self) -> None:
        """Files named by {output.NAME} do not tell their shapes, so the card must."""
        if unknown := [name for name in self._source.outputs if name not in self._spec.shapes]:
            raise EngineOptionError(
                f"the shape of raw output {unknown[0]!r} is not known",
                where=self._where,
                remedy="give `shape` in numbers under [[outputs]] in model.toml",
            )
