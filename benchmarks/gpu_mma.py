"""Single `mma.sync` instructions on a GPU against the emulated step, bit for bit.

The kernel is PTX text that the driver compiles (`cuModuleLoadData` by ctypes), so neither CuPy nor nvcc is needed;
PyTorch holds the memory. One warp computes one instruction. Which lane holds which element is the PTX ISA's: matrix
fragments of mma.m16n8k8, .m16n8k4 and .m16n8k16.

Run on an H200 (docs/hardware). Tested without a GPU: packing and unpacking of fragments, the text, the comparison, the
emulated instruction.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.mma_reference import step_cases
from engines.mma.arithmetic import Step, step_of
from engines.mma.chain import Arithmetic
from engines.mma.order import PAD, padded

__all__ = [
    "INSTRUCTIONS",
    "Instruction",
    "architecture_of",
    "compare",
    "instructions_of",
    "pack",
    "ptx",
    "run_on_gpu",
    "unpack",
]

WARP, M, N = 32, 16, 8
Words = NDArray[np.uint32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One shape and type of mma.sync.

    Attributes:
        k: depth.
        kind: of the operands: fp16, bf16, tf32.
        half: accumulators are fp16.
        since: smallest compute capability, ten times.
    """

    k: int
    kind: str
    half: bool = False
    since: int = 80

    @property
    def name(self) -> str:
        """As PTX writes it."""
        word = {"fp16": "f16", "bf16": "bf16", "tf32": "tf32"}[self.kind]
        total = "f16" if self.half else "f32"
        return f"mma.sync.aligned.m16n8k{self.k}.row.col.{total}.{word}.{word}.{total}"

    @property
    def per_word(self) -> int:
        """Operands in a register."""
        return 1 if self.kind == "tf32" else 2


INSTRUCTIONS = (
    Instruction(8, "fp16", since=75), Instruction(16, "fp16"), Instruction(8, "fp16", half=True, since=75),
    Instruction(16, "fp16", half=True), Instruction(8, "bf16"), Instruction(16, "bf16"), Instruction(4, "tf32"),
    Instruction(8, "tf32"),
)  # fmt: skip


def instructions_of(capability: int) -> tuple[Instruction, ...]:
    """Those that a GPU of this compute capability (ten times) has."""
    return tuple(one for one in INSTRUCTIONS if one.since <= capability)


def architecture_of(capability: int) -> str:
    """The architecture's name in `engines.mma` for a compute capability, ten times."""
    bounds = ((100, "blackwell"), (90, "hopper"), (89, "ada"), (80, "ampere"), (75, "turing"), (70, "volta"))
    return next((name for least, name in bounds if capability >= least), "")


def places(instruction: Instruction) -> dict[str, NDArray[np.int64]]:
    """Operand -> [lane, register, part, 2]: row and column of what a lane holds; a row-major, b column-major."""
    lane = np.arange(WARP)
    group, thread, width = lane // 4, lane % 4, instruction.per_word
    depths = range(0, instruction.k, 4 * width)  # of a register
    a = [
        [(group + high, thread * width + part + depth) for part in range(width)] for depth in depths for high in (0, 8)
    ]
    b = [[(thread * width + part + depth, group) for part in range(width)] for depth in depths]
    if instruction.half:
        c = [[(group + high, thread * 2 + part) for part in range(2)] for high in (0, 8)]
    else:
        c = [[(group + high, thread * 2 + part)] for high in (0, 8) for part in range(2)]
    return {name: np.moveaxis(np.array(table), 3, 0) for name, table in (("a", a), ("b", b), ("c", c))}


def pack(instruction: Instruction, name: str, matrices: Floats) -> Words:
    """[matrix, row, column] -> [matrix, lane, register] as the warp holds operand `name`."""
    at = places(instruction)[name]
    parts = matrices[:, at[..., 0], at[..., 1]]
    if parts.shape[-1] == 1:
        return np.ascontiguousarray(parts[..., 0], np.float32).view(np.uint32)
    bits = np.ascontiguousarray(_half_bits(instruction, parts), np.uint32)  # indexing leaves strides of its own
    return bits[..., 0] | (bits[..., 1] << np.uint32(16))


def unpack(instruction: Instruction, words: Words) -> Floats:
    """[matrix, lane, register] of results -> [matrix, 16, 8]; fp16 comes back widened."""
    at = places(instruction)["c"]
    out = np.empty((len(words), M, N), np.float32)
    if instruction.half:
        halves = np.stack([words & 0xFFFF, words >> 16], axis=-1).astype(np.uint16).view(np.float16)
        out[:, at[..., 0], at[..., 1]] = halves.astype(np.float32)
    else:
        out[:, at[..., 0], at[..., 1]] = words.view(np.float32)[..., None]
    return out


def _half_bits(instruction: Instruction, values: Floats) -> NDArray[np.uint16]:
    if instruction.kind == "bf16":
        return (np.ascontiguousarray(values).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    with np.errstate(over="ignore"):
        return values.astype(np.float16).view(np.uint16)


def ptx(instruction: Instruction, capability: int) -> str:
    """A kernel `step(a, b, c, d)`: one warp a block, one instruction a warp; registers lie lane by lane."""
    counts = {name: at.shape[1] for name, at in places(instruction).items()}
    counts["d"] = counts["c"]
    lines = [
        ".version 7.8" if capability < 100 else ".version 8.7",
        f".target sm_{capability}",
        ".address_size 64",
        f".visible .entry step({', '.join(f'.param .u64 p_{name}' for name in 'abcd')})",
        "{",
        "  .reg .b64 %base, %far;",
        "  .reg .b32 %lane, %block, %index, %dim;",
        *(f"  .reg .b32 %{name}<{count}>;" for name, count in counts.items()),
        "  mov.u32 %lane, %tid.x;",
        "  mov.u32 %block, %ctaid.x;",
        "  mov.u32 %dim, %ntid.x;",
        "  mad.lo.u32 %index, %block, %dim, %lane;",
    ]
    for name in "abc":
        lines += _addressed(name, counts[name])
        lines += [f"  ld.global.b32 %{name}{n}, [%base+{4 * n}];" for n in range(counts[name])]
    groups = [", ".join(f"%{name}{n}" for n in range(counts[name])) for name in "dabc"]
    typed = "b32" if instruction.half else "f32"
    if not instruction.half:
        lines += [f"  .reg .f32 %x<{counts['c']}>, %y<{counts['d']}>;"]
        lines += [f"  mov.b32 %x{n}, %c{n};" for n in range(counts["c"])]
        groups[0], groups[3] = (", ".join(f"%{r}{n}" for n in range(counts["c"])) for r in "yx")
    lines.append(f"  {instruction.name} {', '.join('{' + group + '}' for group in groups)};")
    if typed == "f32":
        lines += [f"  mov.b32 %d{n}, %y{n};" for n in range(counts["d"])]
    lines += _addressed("d", counts["d"])
    lines += [f"  st.global.b32 [%base+{4 * n}], %d{n};" for n in range(counts["d"])]
    return "\n".join([*lines, "  ret;", "}", ""])


def _addressed(name: str, count: int) -> list[str]:
    """%base is where this lane's registers of an operand lie."""
    return [
        f"  ld.param.u64 %base, [p_{name}];",
        "  cvta.to.global.u64 %base, %base;",
        f"  mul.wide.u32 %far, %index, {4 * count};",
        "  add.u64 %base, %base, %far;",
    ]


def run_on_gpu(instruction: Instruction, capability: int, a: Floats, b: Floats, c: Floats) -> Floats:
    """d of every matrix, computed by the GPU."""
    import torch

    held = [
        torch.from_numpy(pack(instruction, n, x).view(np.int32)).cuda() for n, x in zip("abc", (a, b, c), strict=True)
    ]
    result = torch.empty_like(held[2])
    driver = ctypes.CDLL("libcuda.so.1")
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    _ask(driver, "cuModuleLoadData", ctypes.byref(module), ptx(instruction, capability).encode())
    _ask(driver, "cuModuleGetFunction", ctypes.byref(function), module, b"step")
    pointers = [ctypes.c_uint64(tensor.data_ptr()) for tensor in (*held, result)]
    arguments = (ctypes.c_void_p * 4)(*(ctypes.cast(ctypes.byref(p), ctypes.c_void_p) for p in pointers))
    torch.cuda.synchronize()
    _ask(driver, "cuLaunchKernel", function, len(a), 1, 1, WARP, 1, 1, 0, None, arguments, None)
    _ask(driver, "cuCtxSynchronize")
    return unpack(instruction, result.cpu().numpy().view(np.uint32))


def _ask(driver: Any, name: str, *arguments: Any) -> None:
    if code := getattr(driver, name)(*arguments):
        text = ctypes.c_char_p()
        driver.cuGetErrorString(code, ctypes.byref(text))
        raise RuntimeError(f"{name}: {(text.value or b'').decode()} ({code})")


def emulated(instruction: Instruction, step_: Step, a: Floats, b: Floats, c: Floats) -> Floats:
    """d of every matrix by the emulated chain: a deeper instruction is several steps, a shallower one a padded step."""
    arithmetic, columns = Arithmetic(instruction.kind, step_), np.arange(N)
    order = padded(np.arange(instruction.k), step_.length)
    missing = order == PAD
    depth, left = np.where(missing, PAD, order * N), np.where(missing, np.float32(0), a[:, :, order])
    pairs = zip(left, b, c, strict=True)
    return np.stack([arithmetic.accumulate(x, y.reshape(-1), columns, depth, z.copy()) for x, y, z in pairs])


def matrices(instruction: Instruction, step_: Step, count: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """a [matrix, 16, k], b [matrix, k, 8], c [matrix, 16, 8] with every family of numbers in them."""
    whole = Step(instruction.k, step_.fraction_bits, instruction.half)
    rows, columns = 6 * M, 6 * N  # families repeat with periods 6 and 36
    a, b, c = step_cases(instruction.kind, whole, rows * count, columns, seed)
    rng = np.random.default_rng(seed)
    left, top = rng.integers(0, rows * count - M, count), rng.integers(0, columns - N, count)
    picked = [(a[y : y + M], b[:, x : x + N], c[y : y + M, x : x + N]) for y, x in zip(left, top, strict=True)]
    return tuple(np.stack(part) for part in zip(*picked, strict=True))  # type: ignore[return-value]


def compare(got: Floats, want: Floats) -> dict[str, Any]:
    """How many results have the same bits, NaN of any bits counted alike; and the kinds of those that differ."""
    nan = np.isnan(got) & np.isnan(want)
    same = (got.view(np.uint32) == want.view(np.uint32)) | nan
    wrong = ~same
    return {
        "results": int(got.size),
        "bit_equal": int(same.sum()),
        "nan_of_other_bits": int((nan & (got.view(np.uint32) != want.view(np.uint32))).sum()),
        "wrong_where_infinite_or_nan": int((wrong & ~(np.isfinite(got) & np.isfinite(want))).sum()),
        "wrong_where_zero": int((wrong & ((got == 0) | (want == 0))).sum()),
        "examples": [[float(g), float(w)] for g, w in zip(got[wrong][:5], want[wrong][:5], strict=True)],
    }


def zero_exponent(instruction: Instruction, capability: int) -> float:
    """0 x 2^120 + 2^-20 x 2^-20 on the GPU: 0 if a zero operand has exponent -126, 2^-40 if it is left out."""
    a, b = np.zeros((1, M, instruction.k), np.float32), np.zeros((1, instruction.k, N), np.float32)
    b[0, 0, :], a[0, :, 1], b[0, 1, :] = 2.0**120, 2.0**-20, 2.0**-20
    return float(run_on_gpu(instruction, capability, a, b, np.zeros((1, M, N), np.float32))[0, 0, 0])


def on_this_gpu(count: int = 4000) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every instruction of the GPU at hand with its comparison."""
    import torch

    major, minor = torch.cuda.get_device_capability()
    capability = 10 * major + minor
    for instruction in instructions_of(capability):
        step_ = step_of(architecture_of(capability), instruction.kind, half_accumulator=instruction.half)
        a, b, c = matrices(instruction, step_, count, seed=1)
        found = compare(run_on_gpu(instruction, capability, a, b, c), emulated(instruction, step_, a, b, c))
        if instruction.kind == "bf16":
            found["zero_times_huge_plus_tiny"] = zero_exponent(instruction, capability)
        yield instruction.name, found
