"""What reduced precision does to a graph: findings on its weights, activations and epsilons. Thresholds are here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engines.inspect.activations import Activation, Inside
from engines.inspect.epsilons import Epsilon
from engines.inspect.half import LARGEST, spacing
from engines.inspect.weights import WeightFacts, WeightTensor
from harness.checks.findings import SHOWN, Finding, some
from trueline._text import counted

__all__ = ["activation_findings", "epsilon_findings", "inside_findings", "weight_findings"]

MANY_DENORMAL = 0.001  # share of weights; a few cost no time
AUTOCAST_LIMIT = 512.0  # ModelOpt AutoCast's default data_max: nodes with larger outputs stay in fp32


def weight_findings(facts: WeightFacts) -> Iterator[Finding]:
    """Denormal weights, weights beyond fp16's range, and weights that are no finite number at all."""
    yield _denormal(facts)
    for tensor in [t for t in facts.tensors if t.infinite or t.nan][:SHOWN]:
        what = " and ".join(
            f"{count:,} {word}" for count, word in ((tensor.infinite, "infinite"), (tensor.nan, "NaN")) if count
        )
        yield Finding(
            "warning",
            f"{tensor.name!r} holds {what} of {tensor.count:,} weights",
            f"node {tensor.node}",
            "train or export it again; as a mask use a large finite number such as -10000, which fp16 holds",
        )
    overflowing = [t for t in facts.tensors if t.overflowing]
    for tensor in overflowing[:SHOWN]:
        yield Finding(
            "warning",
            f"{tensor.overflowing:,} of {tensor.count:,} weights of {tensor.name!r} are infinite in fp16: "
            f"they reach {tensor.largest:.4g}, its limit is {LARGEST:.0f}. PyTorch and the emulated engines make them "
            f"infinite; TensorRT and ONNX Runtime's fp16 converter clamp them to {LARGEST:.0f}",
            f"node {tensor.node}",
            "keep this node in fp32, or divide the weight by a power of two and multiply its result",
        )
    if len(overflowing) > SHOWN:
        yield Finding("warning", f"{len(overflowing) - SHOWN} more tensors hold weights infinite in fp16", "weights")
    if facts.tensors and not any(t.overflowing or t.infinite or t.nan for t in facts.tensors):
        top = max(facts.tensors, key=lambda t: t.largest)
        room = f"{LARGEST / top.largest:.3g} times" if top.largest else "infinitely far"
        yield Finding("ok", f"largest weight {top.largest:.4g}, {room} below fp16's limit", f"node {top.node}")


def _denormal(facts: WeightFacts) -> Finding:
    if facts.denormal <= MANY_DENORMAL * facts.count:
        what = f"{facts.denormal:,} of {facts.count:,} weights are denormal, {facts.lost:,} are 0 in fp16"
        return Finding("ok", what, "weights")
    worst = sorted((t for t in facts.tensors if t.denormal), key=lambda t: -t.denormal)
    return Finding(
        "warning",
        f"{facts.denormal:,} of {facts.count:,} weights ({facts.denormal / facts.count:.0%}) are denormal: CPUs take "
        f"several times longer on them, and in fp16 they are 0 ({facts.lost:,} weights are)",
        f"weights, {some([_share(t) for t in worst])}",
        "keep the option denormals = 'flush' of ONNX Runtime engines, set session.set_denormal_as_zero wherever else "
        "it runs, or save the weights with these set to 0",
    )


def _share(tensor: WeightTensor) -> str:
    return f"{tensor.name} {tensor.denormal:,} of {tensor.count:,}"


def activation_findings(ranges: Sequence[Activation], frames: int) -> Iterator[Finding]:
    """Tensors that overflow fp16 on the frames, tensors beyond AutoCast's limit, and the headroom of the rest."""
    measured = [a for a in ranges if a.largest is not None]
    over = [a for a in measured if a.headroom < 1]
    for a in over[:SHOWN]:
        yield Finding(
            "warning",
            f"{a.tensor!r} reaches {a.largest:.4g} and is infinite in fp16, whose limit is {LARGEST:.0f} "
            f"(headroom {a.headroom:.2g})",
            f"node {a.node} ({a.op}), {counted(frames, 'frame')}",
            "keep this node in fp32, or scale its input down",
        )
    if len(over) > SHOWN:
        yield Finding("warning", f"{len(over) - SHOWN} more tensors overflow fp16", f"behind node {over[0].node}")
    coarse = [a for a in measured if a.headroom >= 1 and a.largest is not None and a.largest > AUTOCAST_LIMIT]
    if coarse:
        top = max(coarse, key=lambda a: a.largest or 0)
        yield Finding(
            "warning",
            f"{len(coarse)} tensors exceed {AUTOCAST_LIMIT:.0f}; the largest reaches {top.largest:.4g}, where fp16 "
            f"numbers are {spacing(top.largest or 0):g} apart (headroom {top.headroom:.3g})",
            f"nodes {some([f'{a.node} {a.largest:.4g}' for a in coarse])}",
            "AutoCast leaves these nodes in fp32 unless data_max says otherwise; weak typing rounds them",
        )
    if measured and not over and not coarse:
        top = max(measured, key=lambda a: a.largest or 0)
        what = f"largest activation {top.largest:.4g}, {top.headroom:.3g} times below fp16's limit"
        yield Finding("ok", what, f"node {top.node} ({top.op}), {counted(frames, 'frame')}")
    unknown = [a.tensor for a in ranges if a.largest is None]
    if unknown:
        yield Finding(
            "warning",
            f"{len(unknown)} of {len(ranges)} tensors were not measured: their type cannot be inferred",
            some(unknown),
            "give the ONNX file value_info for what custom operators return",
        )


def inside_findings(insides: Sequence[Inside], frames: int) -> Iterator[Finding]:
    """Composite nodes whose steps overflow fp16, should a kernel compute them in fp16; else the headroom."""
    over = [inside for inside in insides if inside.headroom < 1]
    for inside in over[:SHOWN]:
        yield Finding(
            "warning",
            f"inside {inside.op} {inside.step} reaches {inside.largest:.4g}, and fp16 holds {LARGEST:.0f} (headroom "
            f"{inside.headroom:.2g}): most kernels compute it in fp32 inside, one that does not gives infinity",
            f"node {inside.node} ({inside.op}), {counted(frames, 'frame')}",
            "keep this node in fp32, or scale its input down; emulated-fp16:inside shows what it does to the lines",
        )
    if len(over) > SHOWN:
        yield Finding(
            "warning", f"{len(over) - SHOWN} more nodes overflow fp16 inside", some([i.node for i in over[SHOWN:]])
        )
    if insides and not over:
        top = max(insides, key=lambda inside: inside.largest)
        yield Finding(
            "ok",
            f"inside composite nodes values reach {top.largest:.4g}, {top.headroom:.3g} times below fp16's limit",
            f"node {top.node} ({top.op}), {counted(frames, 'frame')}",
        )


def epsilon_findings(epsilons: Sequence[Epsilon]) -> Iterator[Finding]:
    """Epsilons that are 0 in fp16, and those that keep few bits; one finding for each value and operator."""
    groups: dict[tuple[float, str], list[Epsilon]] = {}
    for epsilon in epsilons:
        groups.setdefault((epsilon.value, epsilon.op), []).append(epsilon)
    if not groups:
        yield Finding("ok", "no epsilon that matters is below fp16's normal range", "graph")
    for (value, op), found in groups.items():
        half = found[0].half
        if half == 0:
            what = f"epsilon {value:.3g} of {len(found)} {op} is 0 in fp16: what it guards divides by 0"
        else:
            what = f"epsilon {value:.3g} of {len(found)} {op} is subnormal in fp16 ({half:.3g}), 0 where these flush"
        yield Finding(
            "warning",
            what,
            f"nodes {some([f'{e.node} before {e.guards}' for e in found])}",
            "use an epsilon of 6.2e-5 or more, or keep these nodes in fp32",
        )
