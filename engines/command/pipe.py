"""A program that keeps running: a message of tensors to its standard input, one back from its standard output.

A message is 8 bytes of length, little-endian, and a safetensors file of that length. Its metadata carries `rung`,
`case` and `timestamp_ns` of the frame one way, and, where the program could not do it, `error` the other way. At the
end of a case standard input is closed, and the program has five seconds to leave; the next case gets a process of its
own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from engines.base import FrameEngine
from engines.child.pipes import Gone, Late, TooLong, deadline_of, read_message, write_message
from engines.child.process import Process
from engines.command.template import check, environment, facts, fill, fixed_values, folder_of
from engines.errors import EngineCrashed, EngineOutputMissing
from engines.foreign import LONGEST
from engines.formats.packed import pack, unpack
from engines.formats.reader import widened
from engines.io_check import check_inputs
from engines.protocol import CaseContext, CommandSpec, ModelSource, Tensors
from trueline._text import shown

__all__ = ["PipeEngine"]

_GRACE_S = 5.0


class PipeEngine(FrameEngine):
    """Talks to one process of the card's program a case; one that ended is started again by the next call."""

    uses_time = True
    keeps_state = True  # whatever the program remembers

    def __init__(self, name: str, source: ModelSource, spec: CommandSpec) -> None:
        self._where = f"{source.name}, engine {name}"
        self._source, self._spec = source, spec
        check(spec.run, ["root", "onnx"], self._where)
        super().__init__(name, facts(spec, source, self._where))
        self._argv = fill(spec.run, fixed_values(spec, source))
        self._about = {"case": "", "timestamp_ns": "0", "rung": ""}
        self._process: Process | None = None

    def start_case(self, context: CaseContext) -> None:
        """Every message names case and rung; the process of the case before ends, unless the card lets it run on."""
        if self._spec.restart == "case":
            self.close()
        self._about |= {"case": context.case, "rung": context.rung}

    def seek(self, timestamp_ns: int) -> None:
        """The next message names this moment."""
        self._about["timestamp_ns"] = str(timestamp_ns)

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """One message there, one back.

        Raises:
            EngineInputError: an input is missing or does not fit.
            EngineCrashed: the program ended, took too long, answered something else, or said that it failed.
            EngineOutputMissing: an output is not in its answer.
        """
        check_inputs(self._source.inputs, inputs, self._where)
        answer, said = self._exchange(pack(inputs, self._about))
        if "error" in said:
            raise self._crashed(f"said: {shown(said['error'], one_line=True)[:LONGEST]}")
        if absent := [name for name in self._source.outputs if name not in answer]:
            raise EngineOutputMissing(
                f"{self._spec.run[0]} gave no output {absent[0]!r}",
                where=self._where,
                remedy=f"it gave {sorted(answer)}; have it send what [[outputs]] in model.toml names",
            )
        return {name: widened(answer[name]) for name in self._source.outputs}

    def close(self) -> None:
        """Close its standard input and wait for it to leave."""
        if self._process is not None:
            self._process.stop(_GRACE_S)
            self._process.forget()
        self._process = None

    def _exchange(self, letter: list[memoryview]) -> tuple[Tensors, dict[str, str]]:
        process = self._process = self._process or self._start()
        deadline = deadline_of(self._spec.timeout_s)
        try:
            write_message(process.stdin, letter, deadline)
            answer = read_message(process.stdout, deadline, self._spec.max_output_mb * 2**20, process.tend)
            process.tend()
            return unpack(answer)
        except Gone as error:
            raise self._lost(process, process.ending()) from error
        except Late as error:
            late = f"did not answer within {self._spec.timeout_s:g} s"
            raise self._lost(process, late + process.last_words()) from error
        except ValueError as error:
            foreign = "wrote something else than messages to its standard output; print to stderr instead"
            if isinstance(error, TooLong):
                foreign += f", or raise max_output_mb = {self._spec.max_output_mb} where it meant {error}"
            raise self._lost(process, foreign + process.last_words()) from error

    def _start(self) -> Process:
        try:
            env = environment(self._spec, self._about["rung"])
            return Process(self._argv, env=env, cwd=folder_of(self._spec, self._source), pipes=True)
        except OSError as error:
            raise self._crashed(f"does not start: {error.strerror}") from error

    def _lost(self, process: Process, how: str) -> EngineCrashed:
        process.forget()
        self._process = None
        return self._crashed(how)

    def _crashed(self, what: str) -> EngineCrashed:
        return EngineCrashed(
            f"{self._spec.run[0]}: {what}", where=self._where, remedy="run the command by hand; see docs/programs.md"
        )
