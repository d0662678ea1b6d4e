"""Who catches which fault: Trueline's gate against Polygraphy's comparator, cosine and largest-difference gates.

    trueline selftest CARD --cases DIR --policy FILE --out OUT
    python -m benchmarks.detection CARD --cases DIR --selftest OUT [--only CASE[:FIRST-LAST]]

The gate's answers, and which faults are harmful, are read from the self-test. The peers get the tensors of the same
faulted models and clean controls, on the same frames, and are asked in two ways:

    engine  as these tools are used: the lab's engine and the car's on the same inputs, those that the car has
    chain   the lab's whole chain against the car's: its pipeline, then its engine

A peer catches a fault where any output of any frame is over its limit, or the car lacks a frame. It names no cause: it
says which two runs it compared. Limits are the tool's defaults and two decades; nothing was tuned. What was tried is
kept in OUT/peers.json.
Polygraphy takes part where it is installed (`pip install --no-deps polygraphy`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import engines
from cases.case import Case, open_case
from engines.errors import RecordingGap
from engines.protocol import Engine, Tensors
from harness.errors import FaultError
from harness.faults import CONTROLS, FAULTS, Bench, Planted
from harness.faults.bench import LOW_PRECISION
from harness.faults.car import CAR, with_car
from harness.feed.inputs import InputBuilder, cameras_of, context_of, initial_state
from harness.model.card import DEFAULT_CACHE, Card, load_card
from harness.replay.only import only_these

Frames = list[Tensors | None]
Gate = Callable[[Frames, Frames], bool]
WAYS = ("engine", "chain")
CLEAN_LOW = "fp16_as_it_is"  # the clean chain on the engine of lower precision


@dataclass(frozen=True)
class Tried:
    """One fault or control: what the peers said, by way and gate."""

    name: str
    stage: str
    flagged: Mapping[str, Mapping[str, bool]]


def gates() -> dict[str, Gate]:
    """Every peer by its name; each says whether two lists of outputs differ too much."""
    found: dict[str, Gate] = {}
    with suppress(ImportError):
        import polygraphy.comparator  # noqa: F401  # is it there

        found |= {"Polygraphy, defaults": partial(_by_polygraphy, None)}
        found |= {f"Polygraphy, {limit:g}": partial(_by_polygraphy, limit) for limit in (1e-3, 1e-2)}
    found |= {f"cosine >= {limit}": partial(_by_cosine, limit) for limit in (0.999, 0.99)}
    found |= {f"largest difference <= {limit}": partial(_by_largest, limit) for limit in (0.01, 0.1)}
    return found


def _by_polygraphy(limit: float | None, lab: Frames, car: Frames) -> bool:
    from polygraphy.comparator import Comparator, RunResults, SimpleCompareFunc
    from polygraphy.comparator.struct import IterationResult
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.CRITICAL
    if any(outputs is None for outputs in car):
        return True  # it pairs iterations by their number, and there are fewer
    runs = [(n, [IterationResult(o, runner_name=n) for o in f]) for n, f in (("lab", lab), ("car", car))]
    compare = SimpleCompareFunc() if limit is None else SimpleCompareFunc(atol=limit, rtol=limit)
    return not bool(Comparator.compare_accuracy(RunResults(runs), compare_func=compare, fail_fast=True))


def _by_cosine(limit: float, lab: Frames, car: Frames) -> bool:
    return any(not _cosine(a, b) >= limit for a, b in _pairs(lab, car))


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.dot(a.ravel(), b.ravel())) / size if size else float(np.array_equal(a, b))


def _by_largest(limit: float, lab: Frames, car: Frames) -> bool:
    return any(not np.abs(a - b).max() <= limit for a, b in _pairs(lab, car))


def _pairs(lab: Frames, car: Frames) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Arrays of the same output; a frame that the car lacks is a pair that nothing passes."""
    for one, other in zip(lab, car, strict=True):
        for name, values in (one or {}).items():
            lost = np.full(values.shape, np.nan)
            yield values.astype(np.float64), (lost if other is None else other[name]).astype(np.float64)


def run_chain(opened: Engine, card: Card, cases: Sequence[Case], pipeline: str) -> Frames:
    """Outputs of every frame of every case, None for one that a recording lost."""
    found: Frames = []
    for case in cases:
        opened.start_case(context_of(case))
        build, state = InputBuilder(card, case, pipeline), initial_state(card)
        for tick in case.ticks(cameras_of(card)):
            found.append(_infer(opened, tick.timestamp_ns, {**build(tick), **state}))
            state = {into: (found[-1] or {}).get(out, state[into]) for out, into in card.state.items()}
    return found


def _infer(engine: Engine, timestamp_ns: int, inputs: Tensors) -> Tensors | None:
    if engine.uses_time:
        engine.seek(timestamp_ns)
    try:
        return {name: np.array(values) for name, values in engine.infer(inputs).items()}
    except RecordingGap:
        return None


@dataclass(frozen=True)
class Peers:
    """What peers compare with.

    Attributes:
        bench: of the self-test.
        only: frames.
        lab: the reference's engine.
        outputs: of the lab's whole chain.
    """

    bench: Bench
    only: Sequence[str]
    lab: Engine
    outputs: Frames

    @classmethod
    def of(cls, bench: Bench, only: Sequence[str]) -> Peers:
        """The lab's chain, run once."""
        pipeline, _, name = bench.card.reference_rung.partition("/")
        lab = engines.open(name, bench.card.source(bench.cache))
        return cls(bench, only, lab, run_chain(lab, bench.card, _cases(bench, bench.recorded, only), pipeline))

    def say(self, planted: Planted, engine: str) -> dict[str, dict[str, bool]]:
        """Way -> peer -> whether it flags a planted model on this engine."""
        cases = _cases(self.bench, planted.cases or self.bench.recorded, self.only)
        opened = with_car(planted.hooks.open_engine, planted.car)(engine, planted.card.source(self.bench.cache))
        try:
            car = run_chain(opened, planted.card, cases, "deploy")
        finally:
            opened.close()
        same = run_chain(self.lab, planted.card, cases, "deploy")
        chain = self.outputs
        if planted.cases is not None:
            chain = run_chain(self.lab, planted.card, cases, self.bench.card.reference_rung.partition("/")[0])
        sides = {"engine": same, "chain": chain}
        return {way: {name: gate(sides[way], car) for name, gate in gates().items()} for way in WAYS}


def _cases(bench: Bench, folders: Sequence[Path], only: Sequence[str]) -> list[Case]:
    return only_these([open_case(c) for c in folders], only, stateful=bool(bench.card.state))


def everything(peers: Peers, kept: Mapping[str, Tried]) -> Iterator[Tried]:
    """All faults and controls that the model has a place for; those that are kept are taken from there."""
    clean = Planted(peers.bench.card)
    for name in (CLEAN_LOW, *CONTROLS, *FAULTS):
        stage = FAULTS[name].stage if name in FAULTS else ""
        engine = LOW_PRECISION if stage == "numerics" or name == CLEAN_LOW else CAR
        if name in kept:
            yield kept[name]
            continue
        with suppress(FaultError):
            yield Tried(name, stage, peers.say(_planted(peers.bench, name, clean), engine))


def _planted(bench: Bench, name: str, clean: Planted) -> Planted:
    if name in FAULTS:
        return FAULTS[name].plant(bench.site(name), 1.0)
    return CONTROLS[name].plant(bench.site(name)) if name in CONTROLS else clean


def told(outcomes: Mapping[str, Mapping[str, Any]], tried: Sequence[Tried]) -> Iterator[str]:
    """The table, and every harmful fault with who missed it."""
    harmful = {t.name: t for t in tried if t.stage and outcomes[t.name]["harm"] == "harmful"}
    controls = [t for t in tried if not t.stage]
    ours = sum(outcomes[n]["caught"] for n in harmful)
    right = sum(outcomes[n]["caught"] and outcomes[n]["blamed"] == outcomes[n]["stage"] for n in harmful)
    alarms = sum(outcomes[t.name]["caught"] for t in controls if t.name in outcomes)
    yield f"| gate | asked | harmful caught, of {len(harmful)} | clean flagged, of {len(controls)} | stage named |"
    yield "|---|---|---|---|---|"
    yield f"| Trueline | ladder | {ours} | {alarms} | {right} |"
    for name in gates():
        for way in WAYS:
            caught = sum(t.flagged[way][name] for t in harmful.values())
            flagged = sum(t.flagged[way][name] for t in controls)
            yield f"| {name} | {way} | {caught} | {flagged} | 0 |"
    yield ""
    for name, t in sorted(harmful.items(), key=lambda item: -outcomes[item[0]]["effect"]):
        missed = [f"{gate} ({way})" for way in WAYS for gate, hit in t.flagged[way].items() if not hit]
        mine = [] if outcomes[name]["caught"] else ["Trueline"]
        effect = f"{outcomes[name]['effect']:.3g} {outcomes[name]['unit']}"
        yield f"- `{name}` ({t.stage}, {effect}): missed by {', '.join([*mine, *missed]) or 'none'}"
    yield ""
    for t in controls:
        flagged_by = [f"{gate} ({way})" for way in WAYS for gate, hit in t.flagged[way].items() if hit]
        yield f"- control `{t.name}`: flagged by {', '.join(flagged_by) or 'none'}"


def run() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("card", type=Path)
    parser.add_argument("--cases", type=Path, nargs="+", required=True)
    parser.add_argument("--selftest", type=Path, required=True)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    asked = parser.parse_args()
    bench = Bench(load_card(asked.card), tuple(asked.cases), asked.selftest / "peers", cache=asked.cache)
    file = asked.selftest / "peers.json"
    tried = {t["name"]: Tried(**t) for t in (json.loads(file.read_text()) if file.exists() else ())}
    for one in everything(Peers.of(bench, asked.only), dict(tried)):
        tried[one.name] = one
        file.write_text(json.dumps([vars(t) for t in tried.values()], indent=1))
    files = sorted((asked.selftest / "outcomes").glob("*.json"))
    outcomes = {o["name"]: o for f in files if (o := json.loads(f.read_text())["outcome"])["planted"]}
    known = [t for t in tried.values() if t.name in outcomes or t.name == CLEAN_LOW]
    print("\n".join(told(outcomes, known)))


if __name__ == "__main__":
    run()
