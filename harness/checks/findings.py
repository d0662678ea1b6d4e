"""What the numbers of a graph (engines/inspect) mean for whoever deploys it: one `Finding` each, with a remedy.

Thresholds are here and nowhere else. A finding names at most a few nodes, the first ones: what overflows further on
does so because of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from engines.inspect.activations import Activation
from engines.inspect.epsilons import Epsilon
from engines.inspect.half import LARGEST, spacing
from engines.inspect.operators import OperatorGap
from engines.inspect.shapes import DynamicShape
from engines.inspect.weights import WeightFacts, WeightTensor

__all__ = [
    "Finding",
    "activation_findings",
    "epsilon_findings",
    "operator_findings",
    "shape_findings",
    "weight_findings",
]

SHOWN = 4
MANY_DENORMAL = 0.001  # share of weights; a few cost no time
AUTOCAST_LIMIT = 512.0  # ModelOpt AutoCast's default data_max: nodes with larger outputs stay in fp32


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: `ok` says what was tried, `warning` and `error` what to do."""

    level: Literal["ok", "warning", "error"]
    what: str
    where: str
    remedy: str = ""


def weight_findings(facts: WeightFacts) -> Iterator[Finding]:
    """Denormal weights, and weights beyond fp16's range."""
    yield _denormal(facts)
    overflowing = [t for t in facts.tensors if t.overflowing]
    for tensor in overflowing[:SHOWN]:
        yield Finding(
            "warning",
            f"{tensor.overflowing:,} of {tensor.count:,} weights of {tensor.name!r} are infinite in fp16: "
            f"they reach {tensor.largest:.4g}, its limit is {LARGEST:.0f}",
            f"node {tensor.node}",
            "keep this node in fp32, or divide the weight by a power of two and multiply its result",
        )
    if len(overflowing) > SHOWN:
        yield Finding("warning", f"{len(overflowing) - SHOWN} more tensors hold weights infinite in fp16", "weights")
    if not overflowing and facts.tensors:
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
        f"weights, {_some([_share(t) for t in worst])}",
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
            f"node {a.node} ({a.op}), {frames} frames",
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
            f"nodes {_some([f'{a.node} {a.largest:.4g}' for a in coarse])}",
            "AutoCast leaves these nodes in fp32 unless data_max says otherwise; weak typing rounds them",
        )
    if measured and not over and not coarse:
        top = max(measured, key=lambda a: a.largest or 0)
        what = f"largest activation {top.largest:.4g}, {top.headroom:.3g} times below fp16's limit"
        yield Finding("ok", what, f"node {top.node} ({top.op}), {frames} frames")
    unknown = [a.tensor for a in ranges if a.largest is None]
    if unknown:
        yield Finding(
            "warning",
            f"{len(unknown)} of {len(ranges)} tensors were not measured: their type cannot be inferred",
            _some(unknown),
            "give the ONNX file value_info for what custom operators return",
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
            f"nodes {_some([f'{e.node} before {e.guards}' for e in found])}",
            "use an epsilon of 6.2e-5 or more, or keep these nodes in fp32",
        )


def operator_findings(gaps: Sequence[OperatorGap], plugins: bool) -> Iterator[Finding]:
    """Operators that TensorRT, or fp16, lacks. Custom ones are fine where the card names plugins."""
    if not gaps:
        yield Finding("ok", "TensorRT 8.6 and later have every operator, fp16 too", "graph")
    for gap in gaps:
        fine = gap.custom and plugins
        yield Finding(
            "ok" if fine else "warning",
            f"{gap.lacking} lacks {gap.op}: it {gap.why}" + (", which a plugin of the card must have" if fine else ""),
            f"nodes {_some(gap.nodes)}",
            "" if fine else _operator_remedy(gap),
        )


def _operator_remedy(gap: OperatorGap) -> str:
    if gap.custom:
        return "name its library under plugins in model.toml, or export it from standard operators"
    if gap.lacking == "fp16":
        return "keep these nodes in fp32"
    return "export it from other operators, or use a later TensorRT"


def shape_findings(shapes: Sequence[DynamicShape]) -> Iterator[Finding]:
    """Dynamic dimensions of inputs, and sizes that depend on data."""
    if not shapes:
        yield Finding("ok", "every shape is fixed", "graph")
    for shape in shapes:
        if shape.axis is None:
            yield Finding(
                "warning",
                f"{shape.dimension} gives as many elements as the data says",
                f"node {shape.name}",
                "give a fixed number of elements, and mark which are valid",
            )
        else:
            yield Finding(
                "warning",
                f"axis {shape.axis} of input {shape.name!r} is dynamic ({shape.dimension})",
                f"input {shape.name}",
                "export with the shape the car runs: a TensorRT engine is tuned for one point of its profile",
            )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
