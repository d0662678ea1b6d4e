"""One shipped policy tells an honest network from those that would look better than they are, whatever the road."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.gate import Status, Verdict, judge, load_policy
from harness.run.folder import Run
from harness.run.tables import empty
from tests.harness.gate.gaming import CANDIDATES, candidate_run
from tests.run_folders import put_table

RELEASE = load_policy(Path("release"))
WANTED = {name: Status.PASS if name == "honest" else Status.FAIL for name in CANDIDATES}


@pytest.fixture(scope="module", params=[True, False], ids=["bends", "straight"])
def road(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def accepted(road: bool, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An honest network of before, with noise of its own."""
    return candidate_run(tmp_path_factory.mktemp("accepted"), "honest", curved=road, seed=99)


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_only_the_honest_network_passes_a_release(tmp_path: Path, candidate: str, road: bool, accepted: Run) -> None:
    run = candidate_run(tmp_path, candidate, curved=road)
    with_truth = [judge(run, RELEASE), judge(run, RELEASE, baseline=accepted)]
    put_table(run, "accuracy", empty("accuracy"))
    without = [judge(run, RELEASE), judge(run, RELEASE, baseline=accepted)]
    for verdict in (*with_truth, *without):
        assert verdict.status is WANTED[candidate], told(verdict)
        assert not verdict.blind
    if candidate != "brittle":  # which agrees with the lab nowhere, and needs no truth to fail
        for verdict, rules in ((with_truth[0], ("truth-", "ego-lag")), (without[0], ("ego-",))):
            failed = [r.id for r in verdict.rules if r.status is Status.FAIL]
            assert all(r.startswith(rules) for r in failed), failed


def told(verdict: Verdict) -> list[str]:
    return [f"{r.id} {r.status.value}: {r.reason}" for r in verdict.rules if r.status is not Status.PASS]
