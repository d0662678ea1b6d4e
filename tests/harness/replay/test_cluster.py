"""A replay on a Ray cluster gives the tables of a replay here, also where a machine dies in the middle."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cases.synth import synth_cases
from engines.silent import load_ray
from harness.errors import RunError
from harness.model.card import Card, load_card
from harness.replay.cluster import RayCluster
from harness.replay.replay import replay
from harness.run.folder import Run
from harness.run.tables import TABLES
from tests.harness.tiny_model import CARD, write_tiny
from trueline import TruelineError

try:
    ray: Any = load_ray()
except ImportError as error:
    pytest.skip(f"the extra `ray` is not installed: {error}", allow_module_level=True)

from ray.cluster_utils import Cluster  # after load_ray, which bars its reports

CASES = 6
ENGINES = ("ort-fp32-none", "ort-fp32")
# how soon a dead machine is found dead; a busy one must not be
HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1500,
    "health_check_failure_threshold": 6,
}


@pytest.fixture(scope="module")
def raylets() -> Iterator[list[Any]]:
    """Two raylets besides the head, of one processor each."""
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": HEALTH}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield nodes
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return synth_cases(1, CASES, 0.3, tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return load_card(write_tiny(tmp_path_factory.mktemp("tiny")))


def _run(card: Card, cases: list[Path], out: Path, **options: Any) -> Run:
    return replay(card, cases, engines=ENGINES, out=out, steps=False, cache=card.root / "cache", **options)


def test_a_machine_that_dies_costs_no_case(
    raylets: list[Any], tiny: Card, cases: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    here, told = _run(tiny, cases, tmp_path / "here"), []

    mine = ray.get_runtime_context().get_node_id()
    other = next(node for node in raylets if node.node_id != mine)

    def kills(case: str, done: int, total: int) -> None:
        if not told:
            (raylet,) = other.all_processes["raylet"]
            os.kill(raylet.process.pid, signal.SIGKILL)
        told.append((case, done, total))

    there = _run(tiny, cases, tmp_path / "there", cluster=RayCluster(), progress=kills)
    assert len(told) == CASES
    assert told[-1][1] == told[-1][2]
    for name in (name for name in TABLES if name != "latency"):
        assert there.read(name).equals(here.read(name)), name
    assert there.meta["digest"] == here.meta["digest"]


def test_an_error_of_the_reference_ends_the_replay_and_says_where(
    raylets: list[Any], cases: list[Path], tmp_path: Path
) -> None:
    path = write_tiny(tmp_path / "card")
    path.write_text(CARD.replace('name = "polyline"', 'name = "polyline"\nlines = "scores"', 1))
    with pytest.raises(TruelineError) as here:
        _run(load_card(path), cases[:1], tmp_path / "here")
    with pytest.raises(RunError) as there:
        _run(load_card(path), cases[:1], tmp_path / "there", cluster=RayCluster())
    assert here.value.what in there.value.what
    assert "synth_00001" in there.value.where


def test_no_cluster_reports_its_use(raylets: list[Any]) -> None:
    from ray._common.usage.usage_lib import usage_stats_enabled

    assert not usage_stats_enabled()
