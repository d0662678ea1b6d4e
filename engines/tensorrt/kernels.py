"""The compiled plan as the builder prints it under `Layers:`, one kernel a line; read here, and never guessed.

A line holds the kernel's name, type, tensors read and written, constants, tactic, and the ONNX layers it came from:

    Name: N, LayerType: kgen, Inputs: [ { Name: ..., Dimensions: [1,3], ... }], Constants: [...], Outputs: [...],
    TacticName: T, StreamId: 0, Metadata: [ONNX Layer: a]<0x1f>[ONNX Layer: b]

1.4 writes `Format/Datatype: Half` and has neither constants nor strides; jumps of If and Loop have targets behind the
stream. A name may hold anything but a line break, brackets and commas included. A line that is none of these is kept in
`unread`, as it is. Held against the real library by tests/contracts/test_rtx_zoo.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Kernel", "KernelPlan", "PlanTensor", "metadata_nodes", "read_plan_text"]

_KERNEL = re.compile(r"Name: (.*?), LayerType: (\w+), (?=Inputs: \[)")
_SECTION = re.compile(r"(Inputs|Constants|Outputs): \[")
_TENSOR = re.compile(
    r" ?\{ Name: (.*?), Dimensions: \[([-\d,]*)\]"
    r"(?:, Strides: \[([-\d,]*)\], StrideOrder: \[[-\d,]*\], Datatype: (\w+), Format: (.*?)"
    r"|, Format/Datatype: (\w+)(.*?)) \}"
)
_END = re.compile(r"TacticName: (.*?), StreamId: -?\d+((?:, JumpTarget\w*: .*?)*), Metadata: ?(.*)")
_BORDER = re.compile(r" Name: (.*), IOMode: (Input|Output), DataType: (\w+), Dimensions: \[([-\d,]*)\], .*")
_FACT = re.compile(r" [\w -]+: .*")
_HEADINGS = ("Layers:", "Bindings:", "I/O Tensors:", "Engine Metadata:")
_FIRST, _BETWEEN, _LAST = "[ONNX Layer: ", "]\x1f[ONNX Layer: ", "]"


@dataclass(frozen=True, slots=True)
class PlanTensor:
    """A tensor of a plan: -1 is a dynamic size, dtype is TensorRT's word (Float, Half, BFloat16, Int8, ...)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...] = ()
    layout: str = ""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel.

    Attributes:
        name: its own; kernels of convolutions carry their node's.
        kind: kgen (generated), correlation, deconv, gemm, avgpool, runtime_function, memset, cjmp, ...
        inputs, constants, outputs: a tensor that is read in two ways stands there twice.
        tactic: of a generated kernel, the operators fused in it.
        nodes: names of the ONNX nodes that it came from, as the builder tells them.
    """

    name: str
    kind: str
    inputs: tuple[PlanTensor, ...]
    constants: tuple[PlanTensor, ...]
    outputs: tuple[PlanTensor, ...]
    tactic: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KernelPlan:
    """A compiled plan.

    Attributes:
        kernels: in the order in which they run.
        unread: lines that are of no known form.
    """

    kernels: tuple[Kernel, ...]
    unread: tuple[str, ...]


def read_plan_text(texts: Iterable[str]) -> KernelPlan:
    """Read every `Layers:` text of a build, in order."""
    kernels: list[Kernel] = []
    unread: list[str] = []
    for text in texts:
        heading = ""
        for line in text.split("\n"):
            if line in _HEADINGS:
                heading = line
            elif kernel := _kernel(line):
                kernels.append(kernel)
            elif line.strip() and not _known(heading, line):
                unread.append(line)
    return KernelPlan(tuple(kernels), tuple(unread))


def metadata_nodes(text: str) -> tuple[str, ...]:
    """Names in `[ONNX Layer: a]<0x1f>[ONNX Layer: b]`; one inside If or Loop keeps ` | ` and what it lies in."""
    if not (text.startswith(_FIRST) and text.endswith(_LAST)):
        return ()
    return tuple(dict.fromkeys(text[len(_FIRST) : -len(_LAST)].split(_BETWEEN)))


def _kernel(line: str) -> Kernel | None:
    """The kernel of a line; None where any part of it has another form."""
    head = _KERNEL.match(line)
    if head is None:
        return None
    sections: dict[str, tuple[PlanTensor, ...]] = {}
    at = head.end()
    while section := _SECTION.match(line, at):
        found = _tensors(line, section.end())
        if found is None or section[1] in sections:
            return None
        sections[section[1]], at = found
    end = _END.fullmatch(line, at)
    if end is None or not {"Inputs", "Outputs"} <= sections.keys() or (end[3] and not metadata_nodes(end[3])):
        return None
    inputs, constants, outputs = (sections.get(name, ()) for name in ("Inputs", "Constants", "Outputs"))
    return Kernel(head[1], head[2], inputs, constants, outputs, end[1], metadata_nodes(end[3]))


def _tensors(line: str, at: int) -> tuple[tuple[PlanTensor, ...], int] | None:
    """The tensors from there to the closing bracket, and where the next section begins."""
    tensors: list[PlanTensor] = []
    while not line.startswith("], ", at):
        found = _TENSOR.match(line, at)
        if found is None:
            return None
        name, shape, strides, dtype, layout, early, its_layout = found.groups()
        kind, form = (dtype, layout) if dtype else (early, its_layout.strip())
        tensors.append(PlanTensor(name, _numbers(shape), kind, _numbers(strides or ""), form))
        at = found.end() + (1 if line.startswith(",", found.end()) else 0)
    return tuple(tensors), at + len("], ")


def _known(heading: str, line: str) -> bool:
    """Whether a line behind the kernels is of a known form."""
    if heading == "I/O Tensors:":
        return _BORDER.fullmatch(line) is not None
    return heading == "Bindings:" or (heading == "Engine Metadata:" and _FACT.fullmatch(line) is not None)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)
