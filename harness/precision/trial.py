"""One set of nodes in fp32, tried: written as a mixed graph, replayed on the cases, judged by the gate.

The rules that a set must keep are those that hold where everything is in fp32, on the rung of the engine that is
searched. The case that everything reduced fails worst is the first: a set that fails there fails.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import engines
from cases.case import open_case
from engines.layers.carried import Carrier, open_carried
from engines.layers.mixed import Mixed, mixed
from engines.layers.movable import Lowered, Movable, movable
from engines.layers.network import Network
from engines.protocol import keeps_state
from engines.registry import rewritten_pair
from harness.gate import Policy, Status, Verdict, judge
from harness.gate.policy import Profile
from harness.model.card import Card
from harness.precision.recall import Frames, RecallsInputs, RecallsOutputs
from harness.precision.search import Group, Tried
from harness.replay.hooks import Hooks
from harness.replay.replay import replay
from harness.run.folder import Run

if TYPE_CHECKING:
    from engines.emulated.pair import Pair
    from engines.protocol import Engine, ModelSource

__all__ = ["Trials", "judged_rules", "trials_of"]

EXACT = "ort-fp32"  # what everything in fp32 runs on: a graph without types says nothing of precision
BAD = (Status.CRASHED, Status.NONFINITE, Status.FAIL)
PIPELINE = "deploy"


class Trials:
    """Tries sets of nodes.

    Args:
        card: the model.
        cases: case folders.
        policy: rules; None: no finding at the thresholds of the catalogue.
        engine: that runs mixed graphs.
        network: the fp32 graph.
        can: what of it can be reduced.
        precision: fp16 or bf16.
        cache: folder of prepared artefacts.
    """

    def __init__(
        self,
        card: Card,
        cases: Sequence[Path],
        policy: Policy | None,
        engine: str,
        network: Network,
        can: Movable,
        precision: str,
        cache: Path,
    ) -> None:
        self._card, self._cases, self._engine, self._cache = card, list(cases), engine, cache
        self.network, self.can, self._precision = network, can, precision
        self._policy = policy and policy.model_copy(
            update={"profile": {"precision": Profile(engines=(engine,), preprocess=(PIPELINE,))}}
        )
        self._reference: Engine | None = None
        self._given, self._fed = Frames(), Frames()
        self._carrier = Carrier(network, can, precision) if engine == f"emulated-{precision}" else None
        self._wanted: frozenset[str] = frozenset()

    @property
    def rung(self) -> str:
        """The rung that is judged."""
        return f"{PIPELINE}/{self._engine}"

    @property
    def count(self) -> int:
        """How many cases there are."""
        return len(self._cases)

    def graph(self, kept: Collection[str]) -> Mixed:
        """The graph with these nodes in fp32."""
        return mixed(self.network, self.can, kept, self._precision)

    def begin(self, exact: Verdict, low: Verdict) -> None:
        """Learn what must hold, and which case comes first.

        Args:
            exact: of everything in fp32.
            low: of everything reduced.
        """
        self._wanted = judged_rules(exact, self.rung, Status.PASS)
        bad = self._bad_cases(low)
        self._cases.sort(key=lambda path: -bad[open_case(path).id])

    def known(self) -> tuple[frozenset[str], list[Path]]:
        """What `begin` learnt: rules that must hold, and the cases in their order."""
        return self._wanted, self._cases

    def take(self, wanted: frozenset[str], cases: Sequence[Path]) -> None:
        """Learn that of another process."""
        self._wanted, self._cases = wanted, list(cases)

    def tried(self, kept: Collection[str], group: Group) -> Tried:
        """Whether the rules hold with these nodes in fp32 on these cases; what few cases cannot tell is no failure."""
        verdict = self.verdict(kept, [self._cases[place] for place in group])
        bad = self._bad_cases(verdict)
        alone = [place for place in group if bad[open_case(self._cases[place]).id]]
        held = not alone if len(group) < len(self._cases) else not self.broken(verdict)
        return Tried(held, tuple(sorted(alone, key=lambda place: -bad[open_case(self._cases[place]).id])))

    def _bad_cases(self, verdict: Verdict) -> Counter[str]:
        """Case -> how many of the rules that must hold it breaks, whatever the other cases do."""
        failing: Counter[str] = Counter()
        for rule in verdict.rules:
            bad = BAD if rule.scope == "each" else BAD[:-1]  # a population may hold though one of its cases does not
            for outcome in rule.rungs if rule.id in self._wanted else ():
                for case in outcome.cases if outcome.rung == self.rung else ():
                    failing[case.case] += case.status in bad
        return failing

    def broken(self, verdict: Verdict) -> frozenset[str]:
        """Rules that hold in fp32 and not here."""
        return self._wanted - judged_rules(verdict, self.rung, Status.PASS)

    def verdict(self, kept: Collection[str] | None, cases: Sequence[Path] | None = None) -> Verdict:
        """Replay and judge.

        Args:
            kept: nodes in fp32; None for everything.
            cases: of them; None for all.
        """
        with tempfile.TemporaryDirectory(prefix="trueline-") as folder:
            return self.judged(self.run(kept, Path(folder) / "run", Path(folder), cases))

    def judged(self, run: Run) -> Verdict:
        """What the gate says of a run."""
        return judge(run, self._policy)

    def forget(self) -> None:
        """Drop what trials share: what follows is read, written and run as in any replay."""
        self._reference = self._carrier = None
        self._given, self._fed = Frames(), Frames()

    def run(self, kept: Collection[str] | None, out: Path, scratch: Path, cases: Sequence[Path] | None = None) -> Run:
        """Replay the reference and the engine that runs the mixed graph."""
        hooks = Hooks(lambda name, known: self._opened(name, known, kept, scratch))
        return replay(
            self._card, cases or self._cases, engines=[self._engine], preprocess=[PIPELINE], out=out, steps=False,
            cache=self._cache, hooks=hooks,
        )  # fmt: skip

    def _opened(self, name: str, known: ModelSource, kept: Collection[str] | None, scratch: Path) -> Engine:
        if name != self._engine:
            if self._reference is None or keeps_state(self._reference):
                self._reference = engines.open(name, known)
            return RecallsOutputs(self._reference, self._given)
        return RecallsInputs(
            self._searched(name, known, kept, scratch), self._fed, frozenset(self._card.state.values())
        )

    def _searched(self, name: str, known: ModelSource, kept: Collection[str] | None, scratch: Path) -> Engine:
        """The engine on the graph with these nodes in fp32; where nothing is reduced, on the model as it is."""
        import onnx

        if kept is None or not Lowered(self.network, self.can, kept).reduced:
            return engines.open(EXACT, known)
        if self._carrier is not None and not known.options.get(name):
            return open_carried(name, known, self._carrier.model(kept), scratch)
        path = scratch / "mixed.onnx"
        onnx.save(self.graph(kept).model, path)
        source = self._card.source(scratch / "cache")
        return engines.open(name, replace(source, onnx=path, factory=None, weights=None, options=known.options))


def trials_of(
    card: Card, cases: Sequence[Path], policy: Policy | None, engine: str, form: str, cache: Path
) -> tuple[Trials, Pair]:
    """Trials of a model, and its graph in fp32 and reduced; arguments as of `Trials`, `form` its precision."""
    pair = rewritten_pair(f"emulated-{form}", card.source(cache))
    assert pair is not None
    network, can = Network(pair.exact), movable(pair.exact, form)
    return Trials(card, cases, policy, engine, network, can, form, cache), pair


def judged_rules(verdict: Verdict, rung: str, *statuses: Status) -> frozenset[str]:
    """Ids of required rules with one of these statuses on a rung."""
    return frozenset(
        rule.id
        for rule in verdict.rules
        if rule.required and any(outcome.rung == rung and outcome.status in statuses for outcome in rule.rungs)
    )
