"""A smallest set of nodes in fp32 with which the rules hold again: ranked, searched with two seeds, and proved."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cases.case import find_cases
from engines.layers.origins import origins_of
from engines.registry import base_name
from engines.table import TABLE
from harness.errors import UsageError
from harness.gate import Policy, Status, Verdict
from harness.layers.measure import layers
from harness.model.card import DEFAULT_CACHE, Card
from harness.precision.result import Found, Searched, Setback
from harness.precision.search import Answers, OnCases, smallest
from harness.precision.team import Setup, Team, team
from harness.precision.trial import Trials, judged_rules, trials_of
from harness.precision.weights import multiplications
from harness.replay.hooks import Progress, quiet

__all__ = ["SEEDS", "precision"]

SEEDS = (0, 1)
RANKING_FRAMES = 4


def precision(
    card: Card,
    cases: Iterable[Path],
    *,
    policy: Policy | None = None,
    engine: str = "emulated-fp16",
    seeds: Sequence[int] = SEEDS,
    out: Path | None = None,
    cache: Path = DEFAULT_CACHE,
    progress: Progress | None = None,
) -> Found:
    """Search for nodes to keep in fp32.

    Args:
        card: the model, in fp32.
        cases: case folders, or folders of them.
        policy: the rules; None: no finding at the thresholds of the catalogue.
        engine: that runs mixed graphs: emulated-fp16, emulated-bf16, their -fused and :plan, trtrtx-fp16, trt-fp16, ...
        seeds: of the searches; what is lightest in multiplications, then smallest, is taken.
        out: folder for the mixed graph, the lists and the run that proves it, `proof`; None: nothing is written.
        cache: folder of prepared artefacts.
        progress: told ("sets tried", count, count so far).

    Raises:
        UsageError: the engine has no reduced format, or the rules fail with everything in fp32 as well.
        TruelineError: the model, a case or the policy cannot be used.
    """
    tell, folders = progress or quiet, find_cases(cases)
    setup = Setup(card, folders, policy, engine, _format(engine), cache)
    trials, pair = trials_of(card, folders, policy, engine, setup.form, cache)
    exact = trials.verdict(None)
    low = trials.verdict(())
    trials.begin(exact, low)
    broken, replays = trials.broken(low), 3  # both of these, and the proof
    costs = multiplications(trials.network)
    searched: tuple[Searched, ...] = ()
    setbacks: tuple[Setback, ...] = ()
    if broken:
        ranking = _ranking(card, folders, setup.form, trials.can.computing, cache)
        with team(setup, trials, len(seeds), lambda n: tell("sets tried", n, n + 1)) as who:
            searched, setbacks = _searches(who, ranking, trials, costs, seeds, engine)
            replays += who.count
    else:
        _refuse_if_nothing_holds(exact, trials, engine)
    best = min(searched, key=lambda one: (_sum(costs, one.kept), len(one.kept))).kept if searched else frozenset()
    kept = tuple(name for name in trials.can.computing if name in best)
    origins = {name: origin.nodes for name, origin in origins_of(trials.network, pair.file).items()}
    proof = _proved(trials, kept, out)
    return Found(
        card.name, engine, setup.form, kept, broken, searched, costs, origins, trials.graph(kept), replays, setbacks,
        proof, trials.broken(proof),
    )  # fmt: skip


def _searches(
    who: Team, ranking: Sequence[str], trials: Trials, costs: Mapping[str, float], seeds: Sequence[int], engine: str
) -> tuple[tuple[Searched, ...], tuple[Setback, ...]]:
    """A search for every seed, side by side; what it ends at does not depend on the others.

    Raises:
        UsageError: the rules do not hold with everything kept.
    """
    answers, cases, sequence = Answers(who.tried), trials.count, trials.can.computing
    if not answers(frozenset(ranking), tuple(range(cases))).held:
        raise UsageError(
            f"the rules do not hold on {engine} with every node in fp32 that can be kept",
            where="--policy",
            remedy="look at trueline model layers: what is left is an operator that cannot be kept by itself",
        )
    ends = who.each(lambda seed: smallest(ranking, sequence, OnCases(answers, cases), costs, seed), seeds)
    searched = tuple(Searched(seed, kept) for seed, kept in zip(seeds, ends, strict=True))
    return searched, tuple(Setback(small, large - small) for small, large in answers.setbacks())


def _sum(costs: Mapping[str, float], names: Iterable[str]) -> float:
    return sum(costs[name] for name in names)


def _proved(trials: Trials, kept: Sequence[str], out: Path | None) -> Verdict:
    """The verdict on all cases, with nothing taken from the trials; its run stays in `out`."""
    trials.forget()
    if out is None:
        return trials.verdict(kept)
    with tempfile.TemporaryDirectory(prefix="trueline-") as scratch:
        return trials.judged(trials.run(kept, out / "proof", Path(scratch)))


def _format(engine: str) -> str:
    """fp16 or bf16, by the engine's name.

    Raises:
        UsageError: neither.
    """
    for form in ("fp16", "bf16"):
        if base_name(engine) in TABLE and form in base_name(engine).split("-"):
            return form
    raise UsageError(
        f"{engine} has no format that nodes could be written in",
        where="--engine",
        remedy="name one of fp16 or bf16, such as emulated-fp16",
    )


def _refuse_if_nothing_holds(exact: Verdict, trials: Trials, engine: str) -> None:
    """No rule is broken by precision; where none held in fp32 either, that says nothing.

    Raises:
        UsageError: no rule holds in fp32.
    """
    if not judged_rules(exact, trials.rung, Status.PASS):
        raise UsageError(
            f"no rule holds with everything in fp32, so none can be won back by keeping nodes of {engine} in fp32",
            where="--policy",
            remedy="look at trueline explain: what moves the lines is no matter of precision",
        )


def _ranking(card: Card, cases: Sequence[Path], form: str, computing: Sequence[str], cache: Path) -> list[str]:
    """Nodes by how far each alone moves the lines, then those that do not, in the network's order."""
    table = layers(card, cases, b=f"emulated-{form}", frames=RANKING_FRAMES, cache=cache)
    known = set(computing)
    ranked = [row.name for row in table.ranked() if row.name in known]
    return [*ranked, *(name for name in computing if name not in set(ranked))]
