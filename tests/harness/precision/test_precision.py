"""A planted pair of nodes is found and nothing else, and what is written proves itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import onnx
import pytest

from cases.case import find_cases
from cases.synth import synth_cases
from harness.cli import main
from harness.errors import UsageError
from harness.gate import load_policy
from harness.model.card import load_card
from harness.precision.measure import precision
from harness.precision.team import Setup, team
from harness.precision.trial import Trials, trials_of
from harness.run.folder import Run
from tests.harness.tiny_model import write_tiny

POLICY = """schema = 1
reference = "train/torch-fp32"
[[rules]]
id = "offset"
metric = "offset_max"
rung = "deploy/*"
statistic = "max"
limit = "0.2 m"
"""
FAR = 1500.0  # metres: fp16's numbers are 1 m apart there


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    root = tmp_path_factory.mktemp("precision")
    synth_cases(1, 2, 0.5, root / "cases")
    card = write_tiny(root / "model")
    network = card.parent / "network.py"
    text = network.read_text()
    planted = text.replace(
        "        lines = torch.stack", f"        y = (torch.sin(y) + {FAR}) - {FAR}\n        lines = torch.stack"
    )
    assert planted != text
    network.write_text(planted)
    (root / "offset.trueline.toml").write_text(POLICY)
    return card, root / "cases", root / "offset.trueline.toml"


@pytest.fixture(scope="module")
def out(files: tuple[Path, Path, Path]) -> Path:
    card, cases, policy = files
    out = card.parent / "out"
    command = ["model", "precision", str(card), "--cases", str(cases), "--policy", str(policy), "--out", str(out)]
    assert _exit(command) == 0
    return out


def test_the_planted_nodes_are_found_and_nothing_else_with_both_seeds(out: Path) -> None:
    told = json.loads((out / "precision.json").read_text())
    ops = {node.name: node.op_type for node in onnx.load(out / "mixed.onnx").graph.node}
    assert sorted(ops[name] for name in told["kept"]) == ["Add", "Sub"]
    assert [sorted(one["kept"]) for one in told["searches"]] == [sorted(told["kept"])] * 2
    assert told["broken"] == ["offset"]
    assert told["proved"] is True
    assert told["macs_in_fp32"] == 0, "the planted nodes multiply nothing"


def test_the_proof_is_a_run(out: Path) -> None:
    run = Run.open(out / "proof")
    assert {rung["name"] for rung in run.meta["rungs"]} >= {"deploy/emulated-fp16", "train/torch-fp32"}


def test_the_mixed_graph_and_the_lists_name_the_same_nodes(out: Path) -> None:
    told = json.loads((out / "precision.json").read_text())
    model = onnx.load(out / "mixed.onnx")
    onnx.checker.check_model(model, full_check=True)
    types = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.output)}
    full = {node.name for node in model.graph.node if types.get(node.output[0]) == onnx.TensorProto.FLOAT}
    assert set(told["kept"]) <= full
    patterns = json.loads((out / "nodes_to_exclude.json").read_text())
    assert all(any(re.match(pattern, name) for pattern in patterns) for name in told["fp32_nodes"])
    listed = (out / "layer_precisions.txt").read_text().strip().split(",")
    assert listed == [f"{name}:fp32" for name in told["fp32_nodes"]]


def test_where_nothing_breaks_nothing_is_kept(files: tuple[Path, Path, Path]) -> None:
    card, cases, policy = files
    loose = policy.with_name("loose.trueline.toml")
    loose.write_text(POLICY.replace("0.2 m", "20 m"))
    found = precision(load_card(card), [cases], policy=load_policy(loose), cache=card.parent / "cache")
    assert (found.kept, found.broken, found.searched) == ((), frozenset(), ())


def test_rules_that_fail_in_fp32_are_no_matter_of_precision(files: tuple[Path, Path, Path]) -> None:
    card, cases, policy = files
    tight = policy.with_name("tight.trueline.toml")
    tight.write_text(POLICY.replace("0.2 m", "0.000001 m"))
    with pytest.raises(UsageError, match="no rule holds with everything in fp32"):
        precision(load_card(card), [cases], policy=load_policy(tight), cache=card.parent / "cache")
    with pytest.raises(UsageError, match="has no format"):
        precision(load_card(card), [cases], engine="emulated-tf32", cache=card.parent / "cache")


@pytest.fixture(scope="module")
def setup(files: tuple[Path, Path, Path]) -> Setup:
    card, cases, policy = files
    return Setup(
        load_card(card), find_cases([cases]), load_policy(policy), "emulated-fp16", "fp16", card.parent / "cache"
    )


@pytest.fixture(scope="module")
def trials(setup: Setup) -> Trials:
    trials, _ = trials_of(setup.card, setup.cases, setup.policy, setup.engine, setup.form, setup.cache)
    trials.begin(trials.verdict(None), trials.verdict(()))
    return trials


def test_a_set_is_judged_as_by_a_whole_replay_and_the_gate(
    setup: Setup, trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = trials_of(setup.card, setup.cases, setup.policy, setup.engine, setup.form, setup.cache)
    whole.take(*trials.known())
    sets = [trials.can.computing[:2], trials.can.computing[1:]]
    answers = []
    for kept in sets:
        whole.forget()
        answers.append((whole.verdict(kept).to_json()["rules"], whole.tried(kept, (1,))))

    def unwanted(*_: object) -> None:
        raise AssertionError("all tensors are known, and the graph is written from the network")

    monkeypatch.setattr("harness.replay.case_loop.InputBuilder", unwanted)
    monkeypatch.setattr("engines.emulated.emulated_graph", unwanted)
    for kept, answer in zip(sets, answers, strict=True):
        assert (trials.verdict(kept).to_json()["rules"], trials.tried(kept, (1,))) == answer
    assert answers[0][0] != answers[1][0], "the sets move the lines differently"


def test_a_process_of_its_own_answers_as_this_one_does(
    setup: Setup, trials: Trials, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.precision.team.usable_cores", lambda: 2)
    kept = frozenset(json.loads((out / "precision.json").read_text())["kept"])
    told: list[int] = []
    with team(setup, trials, 2, told.append) as who:
        assert who.jobs == 2
        assert who.each(lambda seed: kept if who.tried(kept, (0,)).held else frozenset(), [0, 1]) == [kept, kept]
        assert who.tried(frozenset(), (0, 1)) == trials.tried(frozenset(), (0, 1))
    assert told == [1, 2, 3]


def _exit(command: list[str]) -> int:
    try:
        return int(main(command) or 0)
    except SystemExit as end:
        return int(end.code or 0)
