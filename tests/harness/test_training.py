"""From task file to candidate, and through export, replay and gate with every technique."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cases.synth import synth_cases
from engines.dotted import load_dotted
from harness.errors import UsageError
from harness.gate import judge, load_policy
from harness.model.card import load_card
from harness.replay.replay import replay
from harness.training import load_task_file, train_candidate
from techniques.errors import TaskError, TechniqueConflict, TechniqueError, UnknownTechnique
from techniques.registry import names
from trueline import TruelineError

ROADLINES = Path(__file__).parents[2] / "examples" / "roadlines"
PROBES = ("criticality", "datapath", "lazy")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def file(work):
    """The example's own task, small."""
    options = {"work": str(work), "scenes": 6, "held_out_scenes": 1}
    found = load_task_file(ROADLINES / "task.toml")
    return found.model_copy(
        update={"options": options, "training": {**found.training, "budget_passes": 24, "batch": 8}}
    )


@pytest.fixture(scope="module")
def plain(file, tmp_path_factory):
    return train_candidate(file, [], tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return synth_cases(9000, 1, 0.5, tmp_path_factory.mktemp("cases"))


def _weights(candidate):
    return load_file(candidate.folder / "weights.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_technique_trains_a_candidate_that_replay_and_gate_take_as_it_is(name, file, plain, case, tmp_path):
    candidate = train_candidate(file, [name], tmp_path / "candidate")
    card = load_card(candidate.folder)
    shapes = {key: value.shape for key, value in _weights(candidate).items()}
    assert shapes == {key: value.shape for key, value in _weights(plain).items()}  # no head, no quantiser is left
    assert all(torch.isfinite(value).all() for value in _weights(candidate).values())
    different = any(not torch.equal(value, _weights(plain)[key]) for key, value in _weights(candidate).items())
    assert different == (name not in PROBES)
    assert sum(candidate.provenance["passes"].values()) >= 24
    run = replay(card, case, engines=["torch-fp32", "ort-fp32"], out=tmp_path / "run", steps=False, cache=tmp_path)
    assert {r["status"] for r in run.rungs} == {"ok"}
    verdict = judge(run, load_policy(ROADLINES / "release.trueline.toml"))
    assert verdict.to_json()["verdict"] in {"PASS", "FAIL", "NOT_RUN", "INCONCLUSIVE"}


def test_a_candidate_carries_what_its_card_needs(plain):
    card = load_card(plain.folder)
    model = load_dotted(card.torch.factory, plain.folder)(**card.torch.args)
    assert (plain.folder / "network.py").read_bytes() == (ROADLINES / "network.py").read_bytes()
    assert card.preprocess == load_card(ROADLINES / "baseline.toml").preprocess
    model.load_state_dict(_weights(plain), strict=True)
    provenance = json.loads((plain.folder / "provenance.json").read_text())
    assert provenance["passes"] == {"forward": 12, "backward": 12}
    assert provenance["settings"]["seed"] == 0
    assert not list(plain.folder.glob("state*"))


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


def test_bad_requests_are_refused_before_anything_is_rendered(file, tmp_path):
    nowhere = file.model_copy(update={"options": {"work": str(tmp_path / "never")}})
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
