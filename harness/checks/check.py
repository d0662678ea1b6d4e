"""`trueline model check`: does what a card says fit together, before any case is replayed?

Every part is tried in turn (pipelines, weights, export, one inference on zeros, the decoder), and every problem is
reported, not only the first. Then the graph is looked at for what reduced precision and TensorRT would do to it; given
cases, its activations are measured on their frames. docs/model-check.md says what each finding means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.case import find_cases, open_case
from engines.exporters import DYNAMIC_SIZE
from engines.inspect.activations import activation_ranges, inside_ranges
from engines.inspect.epsilons import small_epsilons
from engines.inspect.graph import Graph, check_external_data, read_graph
from engines.inspect.operators import operator_gaps
from engines.inspect.readings import different_readings
from engines.inspect.shapes import dynamic_shapes
from engines.inspect.weights import weight_facts
from engines.protocol import Tensors
from harness.checks.compiled import compiler_findings
from harness.checks.findings import Finding, some
from harness.checks.geometry import geometry_findings
from harness.checks.precision import activation_findings, epsilon_findings, inside_findings, weight_findings
from harness.checks.reading import (
    name_findings,
    operator_findings,
    opset_findings,
    quantisation_findings,
    reading_findings,
    shape_findings,
    type_findings,
)
from harness.feed.inputs import spread_frames, steps_of_card
from harness.feed.preprocess import Pipeline, build_pipeline, mixed_steps
from harness.lines.decode import build_decoder
from harness.model.card import DEFAULT_CACHE, Card
from trueline import TruelineError
from trueline._text import counted

__all__ = ["Finding", "check_model"]


DEFAULT_FRAMES = 8
UNMEASURED = Finding("ok", "activations not measured: give cases with --cases", "activations")


def check_model(
    card: Card, cache: Path = DEFAULT_CACHE, *, cases: Iterable[Path] = (), frames: int = DEFAULT_FRAMES
) -> list[Finding]:
    """Try every part of a card.

    Args:
        card: the model.
        cache: folder of prepared artefacts.
        cases: case folders, or folders of them, to measure activations on; none: they are not measured.
        frames: how many frames of the cases, spread evenly over them.

    Returns:
        Findings in the order of the chain; the card is usable where none is an error.

    Raises:
        CaseError, PreprocessError: a case that cannot be read, or lacks what the card needs.
    """
    findings = list(_try_pipelines(card))
    if card.onnx is not None and (refused := _refusal(card.onnx.file)) is not None:
        return [*findings, refused]  # no engine shall open it
    outputs: Tensors | None = None
    for name in ("torch-fp32",) * (card.torch is not None) + ("ort-fp32-none", "ort-fp32"):
        given, finding = _try_engine(card, name, cache)
        findings.append(finding)
        outputs = given or outputs
    feeds: list[Tensors] = []
    if outputs is not None:
        findings.append(_attempt("decoder", lambda: _decode(card, outputs)))
        feeds = list(spread_frames(card, [open_case(path) for path in find_cases(cases)], frames))
    return [*findings, *_modes(card), *_look(card, cache, outputs, feeds), *_machine()]


def _refusal(file: Path) -> Finding | None:
    """The error where an ONNX file keeps its weights outside its folder, or does not read."""
    try:
        check_external_data(file)
    except TruelineError as error:
        return Finding("error", error.what, error.where, error.remedy)
    return None


def _look(card: Card, cache: Path, on_zeros: Tensors | None, feeds: list[Tensors]) -> Iterator[Finding]:
    """What the graph says of itself, also where no engine runs it, and what its activations say on frames."""
    from engines.export import export_warnings, exported

    source = card.source(cache)
    try:
        path = exported(source)
        graph = read_graph(path)
    except TruelineError as error:
        yield Finding("error", error.what, error.where, error.remedy)
        return
    for text in export_warnings(path):
        yield Finding("warning", f"the exporter warned: {text}", "export", "export what is meant, or rule it out")
    yield from name_findings(graph)
    yield from weight_findings(weight_facts(graph))
    yield from _guarded(lambda: _activations(path, feeds, card)) if feeds else [UNMEASURED]
    yield from _insides(path, feeds, card) if feeds else []
    yield from epsilon_findings(small_epsilons(graph))
    if on_zeros is not None:
        yield from _guarded(lambda: _geometry(card, cache, graph, on_zeros, feeds))
    yield from opset_findings(graph, source.export if card.onnx is None else {})
    yield from operator_findings(operator_gaps(graph), plugins=bool(card.plugins))
    yield from reading_findings(different_readings(graph))
    yield from type_findings(graph)
    yield from quantisation_findings(graph)
    yield from shape_findings(dynamic_shapes(graph))
    yield from compiler_findings(source)


def _guarded(look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Findings that need an engine, or its error as one."""
    try:
        return list(look())
    except TruelineError as error:
        return [Finding("error", error.what, error.where, error.remedy)]


def _activations(path: Path, feeds: list[Tensors], card: Card) -> Iterator[Finding]:
    return activation_findings(activation_ranges(path, feeds, card.plugins), len(feeds))


def _insides(path: Path, feeds: list[Tensors], card: Card) -> Iterator[Finding]:
    try:
        insides = inside_ranges(path, feeds, card.plugins)
    except TruelineError as error:
        yield Finding("note", f"values inside composite nodes are not measured: {error.what}", error.where)
        return
    yield from inside_findings(insides, len(feeds))


def _geometry(card: Card, cache: Path, graph: Graph, on_zeros: Tensors, feeds: list[Tensors]) -> Iterator[Finding]:
    outputs = _outputs(card, cache, feeds) if feeds else {name: [value] for name, value in on_zeros.items()}
    return geometry_findings(card, graph, outputs, len(feeds))


def _outputs(card: Card, cache: Path, feeds: list[Tensors]) -> dict[str, list[NDArray[Any]]]:
    """The model's outputs on every frame, as the file says: unoptimised."""
    import engines

    engine = engines.open("ort-fp32-none", card.source(cache))
    try:
        results = [engine.infer(feed) for feed in feeds]
    finally:
        engine.close()
    return {name: [result[name] for result in results] for name in results[0]}


def _modes(card: Card) -> Iterator[Finding]:
    """Parts that the factory leaves in training mode, and that every engine here runs in evaluation mode."""
    if card.torch is None:
        return
    from engines.torch_model import settle_module

    try:
        _, changed = settle_module(card.source())
    except TruelineError:
        return  # torch-fp32 said so already
    if changed:
        yield Finding(
            "note",
            "the factory gives the network in training mode; every engine here runs it in evaluation mode, which "
            f"changes {len(changed)} of its parts",
            f"factory {card.torch.factory}, {some(changed)}",
            "call eval() in the factory, and before any export of your own",
        )


def _machine() -> Iterator[Finding]:
    """What OpenVINO would do to any model on this processor."""
    from engines.openvino import default_precision

    if (precision := default_precision()) not in (None, "fp32"):
        yield Finding(
            "note",
            f"on this processor OpenVINO computes fp32 models in {precision} unless it is told otherwise; "
            "openvino-fp32 tells it",
            "OpenVINO",
            "set INFERENCE_PRECISION_HINT to f32, or EXECUTION_MODE_HINT to ACCURACY, wherever else it runs",
        )


def _try_pipelines(card: Card) -> Iterator[Finding]:
    """Both pipelines of every camera input, and every single-step swap between them."""
    for spec in card.inputs:
        if not spec.source.startswith("camera."):
            continue
        train, deploy = (card.preprocess.steps_of(spec.name, p) for p in ("train", "deploy"))
        variants = {"train": train, "deploy": deploy}
        try:
            variants |= {f"train+{step}": mixed_steps(train, deploy, step) for step in steps_of_card(card)}
        except TruelineError as error:
            yield Finding("error", error.what, error.where, error.remedy)
        for name, steps in variants.items():
            where = f"preprocess.{name}, input {spec.name}"

            build = partial(build_pipeline, steps, spec, where=where, root=card.root)
            yield _attempt(where, partial(_steps, build))


def _steps(build: Callable[[], Pipeline]) -> str:
    return f"{len(build().steps)} steps"


def _try_engine(card: Card, name: str, cache: Path) -> tuple[Tensors | None, Finding]:
    """Open an engine and run it once on zeros."""
    import engines

    given: list[Tensors] = []

    def run() -> str:
        engine = engines.open(name, card.source(cache))
        try:
            given.append(engine.infer({i.name: np.zeros(_sizes(i.shape), i.dtype) for i in card.inputs}))
        finally:
            engine.close()
        return ", ".join(f"{k} {list(v.shape)} {v.dtype}" for k, v in given[0].items())

    finding = _attempt(name, run)
    return (given[0] if given else None), finding


def _sizes(shape: Sequence[int | str]) -> tuple[int, ...]:
    """A shape in numbers: one picture, and as large as the export's example where the size is dynamic."""
    return tuple(d if isinstance(d, int) else (DYNAMIC_SIZE if axis else 1) for axis, d in enumerate(shape))


def _decode(card: Card, outputs: Tensors) -> str:
    lines = build_decoder(card).decode({name: value[None] for name, value in outputs.items()})
    return f"{counted(len(lines), 'line')} from zeros as input"


def _attempt(where: str, work: Callable[[], str]) -> Finding:
    try:
        return Finding("ok", work(), where)
    except TruelineError as error:
        return Finding("error", error.what, f"{where}: {error.where}", error.remedy)
