"""From task file to candidate: every technique's is the network that was trained; replay and gate take it as it is."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_model import write_tiny

from cases.synth import synth_cases
from engines.dotted import load_dotted, modules_of
from harness.errors import UsageError
from harness.gate import judge, load_policy
from harness.model.card import load_card
from harness.replay.replay import replay
from harness.training import load_task_file, train_candidate
from techniques.errors import ModelMismatch, TaskError, TechniqueConflict, TechniqueError, UnknownTechnique
from techniques.registry import names
from techniques.training import Loop, Settings
from tests.harness.tiny_task import TASK
from trueline import TruelineError

ROADLINES = Path(__file__).parents[2] / "examples" / "roadlines"
PROBES = ("criticality", "datapath", "lazy")
TASK_TOML = """schema = 1
name = "tiny"
factory = "task:make"
card = "tiny.toml"
[training]
budget_passes = 24
batch = 8
[technique]
criticality = {draws = 2, examples = 8}
datapath = {examples = 8, steps = 3}
lazy = {examples = 4}
bn-adapt = {variant = 0}
seasoned-soup = {of = "gaussian", option = "sigma", strengths = [0, 0.05]}
distil = {teachers = ["tiny.safetensors"]}
"""
POLICY = """schema = 1
reference = "train/torch-fp32"
[[rules]]
id = "engine"
metric = "offset_max"
rung = "*/ort-*"
reference = "parent"
statistic = "max"
limit = "0.001 m"
[[rules]]
id = "same-pixels"
metric = "offset_max"
rung = "deploy/torch-fp32"
statistic = "max"
limit = "0 m"
required = false
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A card, its network and a task beside it."""
    found = tmp_path_factory.mktemp("task")
    write_tiny(found)
    (found / "task.py").write_text(TASK)
    (found / "task.toml").write_text(TASK_TOML)
    return found


@pytest.fixture(scope="module")
def file(folder):
    return load_task_file(folder / "task.toml")


@pytest.fixture(scope="module")
def plain(file, tmp_path_factory):
    return train_candidate(file, [], tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return synth_cases(9000, 1, 0.2, tmp_path_factory.mktemp("cases"))


def _weights(candidate):
    return load_file(candidate.folder / "weights.safetensors")


def _network(candidate):
    """As an engine builds it, from the candidate's folder alone."""
    card = load_card(candidate.folder)
    with modules_of(candidate.folder):
        model = load_dotted(card.torch.factory, candidate.folder)(**card.torch.args)
    model.load_state_dict(_weights(candidate), strict=True)
    return model.eval()


@pytest.mark.parametrize("name", names())
def test_every_techniques_candidate_is_the_network_that_was_trained(name, file, folder, plain, tmp_path):
    """Rebuilt from its folder it has the error, to the bit, that the trained network had; and the plain one's weights
    by name and shape: no head, no quantiser is left. Probes change nothing, all others do."""
    candidate = train_candidate(file, [name], tmp_path / "candidate")
    weights, others = _weights(candidate), _weights(plain)
    assert {k: v.shape for k, v in weights.items()} == {k: v.shape for k, v in others.items()}
    assert any(not torch.equal(value, others[key]) for key, value in weights.items()) == (name not in PROBES)
    assert sum(candidate.provenance["passes"].values()) >= 24
    with modules_of(folder):
        task = load_dotted("task:make", folder)()
        loop = Loop(task, [], Settings())
    for part in ("selection", "test"):
        assert loop.mean_error(_network(candidate), getattr(task, part)) == candidate.provenance["error"][part]


@pytest.mark.parametrize("chosen", [["preprocessing", "ema"], ["blurpool"]], ids="+".join)
def test_a_candidate_goes_through_export_replay_and_gate_as_it_is(chosen, file, case, tmp_path):
    """Engines agree on it, pipelines do not: the first rule passes and the second fails, whatever was trained."""
    candidate = train_candidate(file, chosen, tmp_path / "candidate")
    card = load_card(candidate.folder)
    run = replay(card, case, engines=["torch-fp32", "ort-fp32"], out=tmp_path / "run", steps=False, cache=tmp_path)
    assert {r["status"] for r in run.rungs} == {"ok"}
    (tmp_path / "policy.trueline.toml").write_text(POLICY)
    verdict = judge(run, load_policy(tmp_path / "policy.trueline.toml"))
    assert {r.id: r.status.name for r in verdict.rules} == {"engine": "PASS", "same-pixels": "FAIL"}
    assert verdict.status.name == "PASS"


def test_filters_put_in_before_training_are_in_the_candidate(file, tmp_path):
    """Its weights in the card's own network are another network; a candidate of a candidate has them once more."""
    blurred = train_candidate(file, ["blurpool"], tmp_path / "one")
    assert load_card(blurred.folder).torch.factory == "trained_network:trained"
    own = load_dotted("network:Tiny", blurred.folder)()
    own.load_state_dict(_weights(blurred), strict=True)
    x = torch.rand(2, 3, 36, 64)
    assert not torch.allclose(own.eval()(x)[0], _network(blurred)(x)[0])
    again = file.model_copy(update={"card": blurred.folder / "model.toml"})
    twice = train_candidate(again, ["blurpool"], tmp_path / "two")
    assert load_card(twice.folder).torch.factory == "trained_network_1:trained"


@pytest.mark.slow
def test_the_example_is_a_task_whose_candidate_carries_what_its_card_needs(tmp_path):
    found = load_task_file(ROADLINES / "task.toml")
    options = {"work": str(tmp_path / "pictures"), "scenes": 1, "held_out_scenes": 1, "deployed_scenes": 1}
    options["next_frames"] = True
    training = {**found.training, "budget_passes": 12, "batch": 4, "initial": "baseline.safetensors"}
    technique = {"distil": {"teachers": ["baseline.safetensors", "robust.safetensors"]}}
    small = found.model_copy(update={"options": options, "training": training, "technique": technique})
    candidate = train_candidate(small, ["distil", "consistency", "temporal", "bn-adapt"], tmp_path / "candidate")
    assert candidate.provenance["reports"]["bn-adapt"]["frames"] == 8
    card = load_card(candidate.folder)
    assert (candidate.folder / "network.py").read_bytes() == (ROADLINES / "network.py").read_bytes()
    assert card.preprocess == load_card(ROADLINES / "baseline.toml").preprocess
    lines, scores = _network(candidate)(torch.zeros(1, 3, 64, 160))
    assert lines.shape == (1, 4, 33, 2)
    assert scores.shape == (1, 4)


def test_provenance_tells_the_run_and_the_folder_keeps_no_state(plain, folder):
    assert (plain.folder / "network.py").read_bytes() == (folder / "network.py").read_bytes()
    provenance = json.loads((plain.folder / "provenance.json").read_text())
    assert provenance["passes"] == {"forward": 12, "backward": 12}
    assert provenance["settings"]["seed"] == 0
    assert provenance["initial_sha256"] is None
    assert not list(plain.folder.glob("state*"))


def test_a_warm_start_is_at_the_file_beside_the_task_wherever_it_is_called_from(
    file, folder, plain, tmp_path, monkeypatch
):
    save_file(_weights(plain), folder / "first.safetensors")
    warm = file.model_copy(update={"training": {**file.training, "initial": "first.safetensors", "rate": 1e-12}})
    monkeypatch.chdir(tmp_path)
    candidate = train_candidate(warm, [], tmp_path / "warm")
    stays = [k for k in _weights(plain) if k.endswith(("weight", "bias"))]
    assert len(stays) > 4
    for key in stays:
        torch.testing.assert_close(_weights(candidate)[key], _weights(plain)[key], atol=1e-6, rtol=0)
    assert candidate.provenance["settings"]["initial"] == "first.safetensors"
    save_file({k: v + 1 for k, v in _weights(plain).items()}, folder / "first.safetensors")
    with pytest.raises(UsageError, match="another candidate: initial_sha256 differ"):
        train_candidate(warm, [], tmp_path / "warm")


def test_files_in_options_lie_beside_the_task_and_their_content_belongs_to_the_run(
    file, folder, plain, tmp_path, monkeypatch
):
    (folder / "teacher.safetensors").write_bytes((folder / "tiny.safetensors").read_bytes())
    taught = file.model_copy(update={"technique": {"distil": {"teachers": ["teacher.safetensors"]}}})
    monkeypatch.chdir(tmp_path)
    candidate = train_candidate(taught, ["distil"], tmp_path / "taught")
    assert candidate.provenance["techniques"]["distil"]["teachers"] == ["teacher.safetensors"]
    assert not train_candidate(taught, ["distil"], tmp_path / "taught").fresh
    save_file(_weights(plain), folder / "teacher.safetensors")
    with pytest.raises(UsageError, match="another candidate: files_sha256 differ"):
        train_candidate(taught, ["distil"], tmp_path / "taught")


def test_first_weights_that_do_not_fit_are_one_clear_line(file, folder, plain, tmp_path):
    missing = file.model_copy(update={"training": {**file.training, "initial": "nowhere.safetensors"}})
    touched = missing.model_copy(update={"options": {"touched": str(tmp_path / "made")}})
    with pytest.raises(TaskError, match="cannot read weights") as raised:
        train_candidate(touched, [], tmp_path / "out")
    assert not (tmp_path / "made").exists()  # refused before the task is made
    assert "\n" not in str(raised.value)
    save_file({"head.weight": torch.zeros(12, 128)}, folder / "head.safetensors")
    part = file.model_copy(update={"training": {**file.training, "initial": "head.safetensors"}})
    with pytest.raises(ModelMismatch, match=r"it lacks 'base', 'conv\.bias'") as raised:
        train_candidate(part, [], tmp_path / "out")
    assert "\n" not in str(raised.value)


def test_the_same_seed_gives_the_same_weights_and_another_one_others(file, plain, tmp_path):
    again = train_candidate(file, [], tmp_path / "again")
    other = train_candidate(file, [], tmp_path / "other", seed=1)
    assert all(torch.equal(value, _weights(again)[key]) for key, value in _weights(plain).items())
    assert any(not torch.equal(value, _weights(other)[key]) for key, value in _weights(plain).items())


def test_a_finished_candidate_is_left_as_it_is_and_never_mixed_with_another(file, plain):
    stamp = (plain.folder / "weights.safetensors").stat().st_mtime_ns
    assert not train_candidate(file, [], plain.folder).fresh
    assert (plain.folder / "weights.safetensors").stat().st_mtime_ns == stamp
    with pytest.raises(UsageError, match="another candidate"):
        train_candidate(file, [], plain.folder, seed=3)


def test_a_stopped_run_goes_on_to_the_same_weights(file, plain, tmp_path):
    class Stopped(Exception):
        pass

    def stop(what, done, total):
        if what == "passes" and done >= 12:
            raise Stopped

    often = file.model_copy(update={"training": {**file.training, "checkpoint_s": 1e-9}})
    with pytest.raises(Stopped):
        train_candidate(often, [], tmp_path / "run", progress=stop)
    assert (tmp_path / "run" / "state.safetensors").exists()
    candidate = train_candidate(often, [], tmp_path / "run")
    assert candidate.provenance["passes"] == {"forward": 12, "backward": 12}
    assert all(torch.equal(value, _weights(candidate)[key]) for key, value in _weights(plain).items())


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("schema = 1\nname = 'x'", TaskError, "factory"),
        ("schema = [", TaskError, "not TOML"),
        ("schema = 1\nname = 'x'\nfactory = 'a:b'\ncard = 'c'\nbudget = 3", TaskError, "budget"),
    ],
)
def test_a_bad_task_file_is_one_clear_error(text, error, said, tmp_path):
    (tmp_path / "task.toml").write_text(text)
    with pytest.raises(error, match=said) as raised:
        load_task_file(tmp_path / "task.toml")
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_bad_requests_are_refused_before_the_task_is_made(file, tmp_path):
    nowhere = file.model_copy(update={"options": {"touched": str(tmp_path / "never")}})
    with pytest.raises(UnknownTechnique, match="wsa") as raised:
        train_candidate(nowhere, ["wsa"], tmp_path)
    assert "swa" in raised.value.remedy
    with pytest.raises(TechniqueConflict, match="final weights"):
        train_candidate(nowhere, ["swa", "ema"], tmp_path)
    bad_option = nowhere.model_copy(update={"technique": {"fgsm": {"epsilon": 1}}})
    with pytest.raises(TechniqueError, match="epsilon"):
        train_candidate(bad_option, ["fgsm"], tmp_path)
    bad_setting = nowhere.model_copy(update={"training": {"budget": 3}})
    with pytest.raises(TaskError, match="budget"):
        train_candidate(bad_setting, [], tmp_path)
    with pytest.raises(UsageError, match="my model"):
        train_candidate(nowhere, ["uat++"], tmp_path, name="my model")
    assert not (tmp_path / "never").exists()


def test_a_card_without_a_network_cannot_be_trained(file, tmp_path):
    (tmp_path / "card.toml").write_text(
        (ROADLINES / "baseline.toml")
        .read_text()
        .replace('[torch]\nfactory = "network:RoadLines"\nweights = "baseline.safetensors"', '[onnx]\nfile = "x.onnx"')
    )
    with pytest.raises(TruelineError, match=r"torch"):
        train_candidate(file.model_copy(update={"card": tmp_path / "card.toml"}), [], tmp_path / "out")
