"""LSTM, GRU and RNN as the steps of every moment: products of input and state, gates, the next state.

Spelled out where the number of moments is known, the activations are the usual ones and every sequence is whole: what
exporters write. From the ONNX operator specification; the order of gates is iofc (LSTM) and zrh (GRU).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engines.inspect.body import Body, has_input, ints

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["recurrent"]

LONGEST = 256  # moments that are spelled out
SEQUENCE_LENGTHS, STATE, CELL, PEEPHOLES = 4, 5, 6, 7  # inputs
USUAL = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}


def recurrent(node: ir.Node, opset: int) -> Body | None:
    """The body of an LSTM, GRU or RNN node; None where it is not spelled out."""
    moments = _moments(node)
    if moments is None:
        return None
    direction = node.attributes.get_string("direction", "forward").lower()
    passes = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[direction]
    lines = [f"x{t} = Gather <axis = 0> (i0, t{t})" for t in range(moments)]
    for d, backward in enumerate(passes):
        lines += _direction(node, d, list(range(moments))[:: -1 if backward else 1])
    lines += _outputs(node, moments, len(passes))
    constants = {f"t{t}": np.array(t, np.int64) for t in range(max(moments, len(passes)))}
    constants |= {"first": ints(0), "one": np.array(1, np.float32)}
    outputs = ("o0", "o1", "o2") if node.op_type == "LSTM" else ("o0", "o1")
    return Body("\n".join(lines), constants, outputs)


def _moments(node: ir.Node) -> int | None:
    """How many there are; None where that, or how they are computed, is not the usual."""
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    moments = shape[0] if shape is not None else None
    odd = [name for name in ("clip", "input_forget", "layout") if node.attributes.get(name) is not None]
    odd = [name for name in odd if node.attributes[name].value]
    usual = USUAL[node.op_type]
    given = tuple(word.lower() for word in node.attributes.get_strings("activations", usual))
    alike = given == usual * (len(given) // len(usual))
    whole = not has_input(node, SEQUENCE_LENGTHS) and not (node.op_type == "LSTM" and has_input(node, PEEPHOLES))
    return moments if isinstance(moments, int) and moments <= LONGEST and not odd and alike and whole else None


def _direction(node: ir.Node, d: int, order: list[int]) -> list[str]:
    """All moments of one direction: states h{d}_{t}, and cells c{d}_{t} of an LSTM."""
    lines = [
        f"w{d} = Gather <axis = 0> (i1, t{d})", f"wt{d} = Transpose <perm = [1, 0]> (w{d})",
        f"r{d} = Gather <axis = 0> (i2, t{d})", f"rt{d} = Transpose <perm = [1, 0]> (r{d})",
    ]  # fmt: skip
    if has_input(node, 3):
        lines += [f"b{d} = Gather <axis = 0> (i3, t{d})", f"wb{d}, rb{d} = Split <axis = 0, num_outputs = 2> (b{d})"]
    h = c = ""
    if has_input(node, STATE):
        lines.append(f"h{d} = Gather <axis = 0> (i{STATE}, t{d})")
        h = f"h{d}"
    if node.op_type == "LSTM" and has_input(node, CELL):
        lines.append(f"c{d} = Gather <axis = 0> (i{CELL}, t{d})")
        c = f"c{d}"
    for t in order:
        lines += STEPS[node.op_type](node, d, t, h, c)
        h, c = f"h{d}_{t}", f"c{d}_{t}"
    return [*lines, f"last{d} = Identity ({h})", *([f"cell{d} = Identity ({c})"] if node.op_type == "LSTM" else [])]


def _gates(node: ir.Node, s: str, d: int, t: int, h: str) -> list[str]:
    """g{s}: input and state through their weights, with both biases."""
    lines = [f"xw{s} = MatMul (x{t}, wt{d})"]
    total = f"xw{s}"
    if h:
        lines += [f"hr{s} = MatMul ({h}, rt{d})", f"xh{s} = Add (xw{s}, hr{s})"]
        total = f"xh{s}"
    if has_input(node, 3):
        lines += [f"xb{s} = Add ({total}, wb{d})", f"g{s} = Add (xb{s}, rb{d})"]
        return lines
    return [*lines, f"g{s} = Identity ({total})"]


def _lstm_step(node: ir.Node, d: int, t: int, h: str, c: str) -> list[str]:
    s = f"{d}_{t}"
    kept = [f"fc{s} = Mul (f{s}, {c})", f"c{s} = Add (fc{s}, ia{s})"] if c else [f"c{s} = Identity (ia{s})"]
    return [
        *_gates(node, s, d, t, h),
        f"gi{s}, go{s}, gf{s}, ga{s} = Split <axis = -1, num_outputs = 4> (g{s})",
        f"i{s} = Sigmoid (gi{s})", f"o{s} = Sigmoid (go{s})", f"f{s} = Sigmoid (gf{s})", f"a{s} = Tanh (ga{s})",
        f"ia{s} = Mul (i{s}, a{s})", *kept,
        f"tc{s} = Tanh (c{s})", f"h{s} = Mul (o{s}, tc{s})",
    ]  # fmt: skip


def _gru_step(node: ir.Node, d: int, t: int, h: str, c: str) -> list[str]:
    """The candidate takes the state behind the reset gate (`linear_before_reset`) or in front of it."""
    s = f"{d}_{t}"
    weights, biased = [f"xw{s} = MatMul (x{t}, wt{d})"], has_input(node, 3)
    x = f"xb{s}" if biased else f"xw{s}"
    weights += [f"xb{s} = Add (xw{s}, wb{d})"] if biased else []
    weights.append(f"xz{s}, xr{s}, xa{s} = Split <axis = -1, num_outputs = 3> ({x})")
    if not h:  # a state of zeros: only its biases are left
        return [*weights, *_first_gru_step(d, s, biased, bool(node.attributes.get_int("linear_before_reset", 0)))]
    lines = [*weights, f"hr{s} = MatMul ({h}, rt{d})"]
    state = f"hb{s}" if biased else f"hr{s}"
    lines += [f"hb{s} = Add (hr{s}, rb{d})"] if biased else []
    lines += [
        f"hz{s}, hq{s}, ha{s} = Split <axis = -1, num_outputs = 3> ({state})",
        f"gz{s} = Add (xz{s}, hz{s})", f"z{s} = Sigmoid (gz{s})", f"gr{s} = Add (xr{s}, hq{s})",
        f"r{s}_ = Sigmoid (gr{s})",
    ]  # fmt: skip
    if node.attributes.get_int("linear_before_reset", 0):
        lines += [f"rh{s} = Mul (r{s}_, ha{s})", f"ga{s} = Add (xa{s}, rh{s})"]
    else:
        lines += [f"uz{s}, uq{s}, ua{s} = Split <axis = -1, num_outputs = 3> (rt{d})", f"rs{s} = Mul (r{s}_, {h})",
                  f"rm{s} = MatMul (rs{s}, ua{s})"]  # fmt: skip
        lines += [
            f"vz{s}, vq{s}, va{s} = Split <axis = 0, num_outputs = 3> (rb{d})",
            f"rv{s} = Add (rm{s}, va{s})",
        ] * biased
        lines.append(f"ga{s} = Add (xa{s}, {f'rv{s}' if biased else f'rm{s}'})")
    return [
        *lines, f"a{s} = Tanh (ga{s})", f"nz{s} = Sub (one, z{s})", f"na{s} = Mul (nz{s}, a{s})",
        f"zh{s} = Mul (z{s}, {h})", f"h{s} = Add (na{s}, zh{s})",
    ]  # fmt: skip


def _first_gru_step(d: int, s: str, biased: bool, linear: bool) -> list[str]:
    gates = [f"gz{s} = Identity (xz{s})", f"ga{s} = Identity (xa{s})"]
    if biased:
        gates = [f"vz{s}, vq{s}, va{s} = Split <axis = 0, num_outputs = 3> (rb{d})", f"gz{s} = Add (xz{s}, vz{s})"]
        reset = [f"gr{s} = Add (xr{s}, vq{s})", f"r{s}_ = Sigmoid (gr{s})", f"rv{s} = Mul (r{s}_, va{s})"]
        gates += [*reset, f"ga{s} = Add (xa{s}, rv{s})"] if linear else [f"ga{s} = Add (xa{s}, va{s})"]
    return [
        *gates, f"z{s} = Sigmoid (gz{s})", f"a{s} = Tanh (ga{s})",
        f"nz{s} = Sub (one, z{s})", f"h{s} = Mul (nz{s}, a{s})",
    ]  # fmt: skip


def _rnn_step(node: ir.Node, d: int, t: int, h: str, c: str) -> list[str]:
    return [*_gates(node, f"{d}_{t}", d, t, h), f"h{d}_{t} = Tanh (g{d}_{t})"]


def _outputs(node: ir.Node, moments: int, directions: int) -> list[str]:
    """o0 all states [moment, direction, batch, state], o1 the last ones, o2 the last cells."""
    lines = []
    for t in range(moments):
        lines += [f"s{d}_{t} = Unsqueeze (h{d}_{t}, first)" for d in range(directions)]
        lines.append(f"d{t} = Concat <axis = 0> ({', '.join(f's{d}_{t}' for d in range(directions))})")
        lines.append(f"y{t} = Unsqueeze (d{t}, first)")
    lines.append(f"o0 = Concat <axis = 0> ({', '.join(f'y{t}' for t in range(moments))})")
    for output, stem in (("o1", "last"), ("o2", "cell"))[: 2 if node.op_type == "LSTM" else 1]:
        lines += [f"{stem}s{d} = Unsqueeze ({stem}{d}, first)" for d in range(directions)]
        lines.append(f"{output} = Concat <axis = 0> ({', '.join(f'{stem}s{d}' for d in range(directions))})")
    return lines


STEPS = {"LSTM": _lstm_step, "GRU": _gru_step, "RNN": _rnn_step}
