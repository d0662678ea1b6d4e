"""Evidence beside the gate: blocks, criticality by block, drift between pipelines, rank correlations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from benchmarks.evidence import blocks, criticality, pipelines
from benchmarks.evidence_report import draw, rank_correlation, shared, tables
from techniques.criticality import layers, snapshot
from techniques.objectives import Classification
from techniques.task import Batch, Task
from techniques.training import Loop, Settings

SHIFT = 0.5


class Pictures:
    """64 pictures whose class is whether they are bright; the second pipeline makes all brighter."""

    def __len__(self) -> int:
        return 64

    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> Batch:
        x = torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(7))[rows]
        y = (x.mean((1, 2, 3)) > 0.5).long()
        return Batch((x,), (y,), ((x + SHIFT,),))


def _network() -> nn.Module:
    body = nn.Sequential(nn.BatchNorm2d(1, affine=False), nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(body, nn.Flatten(), nn.Linear(32, 2), nn.Identity())


@pytest.fixture(scope="module")
def task() -> Task:
    data = Pictures()
    return Task(_network, Classification(), (None,), train=data, selection=data, test=data)


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings(budget_passes=160, batch=32, rate=1e-2, seed=3)


def test_layers_belong_to_the_longest_path_that_leads_to_them() -> None:
    model = nn.ModuleDict({"a": nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))),
                           "ab": nn.Linear(2, 2), "loose": nn.Linear(2, 2)})  # fmt: skip
    found = {b.name: b.keys for b in blocks(layers(model), ["(inputs)", "a", "a.1", "ab"])}
    assert list(found) == ["a", "a.1", "ab"]
    assert found["a"] == ("a.0.weight", "a.0.bias")
    assert {"a.1.0.weight", "a.1.1.running_mean"} <= set(found["a.1"])
    assert found["ab"] == ("ab.weight", "ab.bias")


def test_an_untrained_network_loses_nothing_and_a_trained_one_comes_back(task: Task, settings: Settings) -> None:
    """Step 0 put back into step 0 is step 0: so the first weights are those of this seed."""
    start = Loop(task, [], settings).model
    rows = criticality(task, start, settings, ["0", "2"])["blocks"]
    assert [row["re_initialised"] for row in rows.values()] == [0, 0]
    assert [row["moved"] for row in rows.values()] == [0, 0]
    trained = Loop(task, [], settings).run().model
    before = snapshot(trained)
    found = criticality(task, trained, settings, ["0", "2"])
    assert found["trained"] < 0.2
    assert max(row["re_initialised"] for row in found["blocks"].values()) > 0.05
    assert all(len(row["re_randomised"]) == 3 and row["moved"] > 0 for row in found["blocks"].values())
    assert all(torch.equal(before[k], v) for k, v in trained.state_dict().items())


def test_drift_and_headroom_are_those_of_the_second_pipeline(task: Task) -> None:
    found = pipelines(task, _network().eval(), size=20)
    first = found["drift"][0]
    assert first["layer"] == "0.0"
    assert first["shift_max"] == pytest.approx(SHIFT, rel=1e-4)  # running variance 1
    assert first["ratio_low"] == pytest.approx(1, abs=1e-4)
    norm = found["headroom"][0]
    assert norm["autocast"] == pytest.approx(512 / norm["activation"])
    assert 1 < norm["activation"] <= 1 + SHIFT


def test_rank_correlation_is_scipys_and_its_interval_holds_it() -> None:
    random = np.random.default_rng(0)
    a = random.standard_normal(15)
    b = a + random.standard_normal(15)
    rho, low, high = rank_correlation(a.tolist(), b.tolist())
    assert rho == pytest.approx(spearmanr(a, b).statistic)
    assert -1 <= low < rho < high <= 1
    assert rank_correlation([1, 2, 3, 4], [4, 5, 6, 9])[:2] == pytest.approx((1, 1))


def test_the_interval_covers_about_as_often_as_it_says() -> None:
    """Independent ranks of 15: 0 lies inside in most samples (a percentile bootstrap is a little short)."""
    random = np.random.default_rng(1)
    samples = random.random((40, 2, 15)).tolist()
    found = [rank_correlation(a, b) for a, b in samples]
    assert np.mean([low <= 0 <= high for _, low, high in found]) > 0.8


def _cells() -> dict[str, object]:
    moved = {"line_rms": 1e-3, "line_max": 2e-3}
    alone = {"(inputs)": 5e-4, "a": 1e-4, "b": 2e-4, "c": 3e-4, "(root)": 9e-4, "s": 0.0}
    groups = [{"group": g, "alone": {"line_rms": r, "line_max": r}, "without": moved} for g, r in alone.items()]
    rises = {"a": 0.1, "b": 0.2, "c": 0.3, "(root)": 0.0, "s": 0.0}
    own = {g: {"re_initialised": r, "re_randomised": [r, r], "moved": 1.0} for g, r in rises.items()}
    drift = [{"layer": "a", "shift_rms": 0.1, "shift_max": 0.3, "ratio_low": 0.9, "ratio_high": 1.1}]
    room = [{"layer": "b", "fp16": 655.0, "autocast": 5.1}]
    return {"pipelines": {"drift": drift, "headroom": room}, "fp16": {"whole": moved, "groups": groups},
            "critical": {"blocks": own}}  # fmt: skip


def test_only_blocks_with_weights_and_lines_are_compared() -> None:
    assert shared(_cells(), ["s"]) == (["a", "b", "c", "(root)"], [0.1, 0.2, 0.3, 0.0], [1e-4, 2e-4, 3e-4, 9e-4])


def test_the_tables_say_what_the_cells_say(tmp_path) -> None:
    text = tables({"plain": _cells()}, ["s"])
    assert "| plain | 4 | -0.20 [" in text
    assert "| +1.00 [+1.00, +1.00] | 2 |" in text
    assert "| a | +0.100 m | +0.100 m | 1.00 | 0.100 mm |" in text
    assert "| (inputs) | | | | 0.500 mm |" in text
    draw({"plain": _cells()}, tmp_path / "plot.png", ["s"])
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
