"""`trueline model check`: does what a card says fit together, before any case is replayed?

Every part is tried in turn (pipelines, weights, export, one inference on zeros, the decoder), and every problem is
reported, not only the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from engines.protocol import Tensors
from harness.card import DEFAULT_CACHE, Card
from harness.decode import build_decoder
from harness.inputs import steps_of_card
from harness.preprocess import Pipeline, build_pipeline, mixed_steps
from trueline import TruelineError

__all__ = ["Finding", "check_model"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: `ok` says what was tried, `warning` and `error` what to do."""

    level: Literal["ok", "warning", "error"]
    what: str
    where: str
    remedy: str = ""


def check_model(card: Card, cache: Path = DEFAULT_CACHE) -> list[Finding]:
    """Try every part of a card.

    Returns:
        Findings in the order of the chain; the card is usable where none is an error.
    """
    findings = list(_try_pipelines(card))
    outputs: Tensors | None = None
    for name in ("torch-fp32",) * (card.torch is not None) + ("ort-fp32-none", "ort-fp32"):
        given, finding = _try_engine(card, name, cache)
        findings.append(finding)
        outputs = given or outputs
    if outputs is not None:
        findings.append(_attempt("decoder", lambda: _decode(card, outputs)))
    return findings


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
            shapes = {i.name: tuple(d if isinstance(d, int) else 1 for d in i.shape) for i in card.inputs}
            given.append(engine.infer({i.name: np.zeros(shapes[i.name], i.dtype) for i in card.inputs}))
        finally:
            engine.close()
        return ", ".join(f"{k} {list(v.shape)} {v.dtype}" for k, v in given[0].items())

    finding = _attempt(name, run)
    return (given[0] if given else None), finding


def _decode(card: Card, outputs: Tensors) -> str:
    lines = build_decoder(card).decode({name: value[None] for name, value in outputs.items()})
    return f"{len(lines)} lines from zeros as input"


def _attempt(where: str, work: Callable[[], str]) -> Finding:
    try:
        return Finding("ok", work(), where)
    except TruelineError as error:
        return Finding("error", error.what, f"{where}: {error.where}", error.remedy)
