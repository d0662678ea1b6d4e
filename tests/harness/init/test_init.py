"""`trueline init`: what a file says is taken, what shapes suggest is a guess, what does not fit is not named."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from cases.picture import Picture
from cases.schema import CameraMeta
from harness.cli import main
from harness.cli.init import _ask
from harness.errors import DecoderError, UsageError
from harness.feed.preprocess.colour import encode_nv12, split_planes
from harness.gate.load import load_policy
from harness.init import Guess, init_project
from harness.init.inputs import Picture as FedPicture
from harness.init.network import Head, Port
from harness.init.pipelines import steps
from harness.job import run_job
from harness.model.card import load_card
from tests.harness.init.init_models import pictures, random_outputs, striped, write_network, write_threshold

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def test_a_long_vector_is_asked_about_and_read_as_the_answer_says(made):
    """As openpilot's networks give one: 6108 numbers, four lines among them."""
    vector = np.zeros(6108)
    lines = np.zeros((2, 4, 33, 2))
    lines[0, :, :, 0] = np.array([-5.4, -1.8, 1.8, 5.4])[:, None]  # to the right
    vector[4955:5483], vector[5484:5491:2] = lines.ravel(), 4.0
    with pytest.raises(UsageError, match=r'lane_lines = "outputs\[FROM:TO\]"'):
        made({"outputs": vector})
    decoder = {"name": "openpilot", "lane_lines": "outputs[4955:5483]", "probabilities": "outputs[5483:5491]"}
    project, card = made({"outputs": vector}, {"decoder": decoder}, out="answered")
    assert (card.frame, card.decoder.name) == ("vehicle", "openpilot")
    assert project.lines in (8, 12)  # four in each trial frame
    decoder["lane_lines"] = "outputs[5700:6228]"
    with pytest.raises(DecoderError, match="has 6108 numbers, 'outputs\\[5700:6228\\]' goes on to 6228"):
        made({"outputs": vector}, {"decoder": decoder}, out="beyond")


def test_every_guess_is_listed_until_it_is_answered(made, tmp_path):
    outputs = random_outputs("curves")
    project, card = made(outputs)
    assert {"colour", "normalisation", "crop", "deploy", "decoder.lane_class"} <= set(card.unconfirmed)
    assert "decoder" not in card.unconfirmed  # nobody else has these shapes
    crop = [{"op": "resize", "size": [128, 64]}]
    answers = {"colour": "rgb", "normalisation": "imagenet", "crop": crop, "deploy": "lab", "decoder.lane_class": 1}
    project, card = made(outputs, answers, out="answered")
    assert card.unconfirmed == ("image.rows",)
    assert card.preprocess.train == card.preprocess.deploy
    assert card.preprocess.train[-1]["mean"] == [0.485, 0.456, 0.406]
    assert project.lines >= 0


def test_any_option_of_the_decoder_may_be_answered(made):
    _, card = made(random_outputs("curves"), {"decoder.threshold": 0.25, "decoder.slots": True})
    assert (card.decoder.options["threshold"], card.decoder.options["slots"]) == (0.25, True)
    with pytest.raises(DecoderError, match="colour_of_the_car"):
        made(random_outputs("curves"), {"decoder.colour_of_the_car": "red"}, out="typo")


WHITE, RED, BLUE = (255, 255, 255), (255, 40, 40), (40, 40, 255)


@pytest.mark.parametrize(
    ("level", "stripe", "colour", "normalisation"),
    [
        (0.5, WHITE, "rgb", "unit"),  # imagenet and bgr draw as much: what is more usual
        (1.5, WHITE, "rgb", "imagenet"),
        (100.0, WHITE, "rgb", "raw"),
        (0.5, RED, "rgb", "unit"),
        (0.5, BLUE, "bgr", "unit"),
        (1.5, BLUE, "bgr", "imagenet"),
    ],
)
def test_where_no_shape_tells_how_to_feed_it_the_way_that_draws_lines_is_guessed(
    tmp_path, level, stripe, colour, normalisation
):
    path, drive = write_threshold(tmp_path / "lanes.onnx", level), striped(tmp_path / "drive", stripe)
    project = init_project(str(path), [drive], tmp_path / "out", cache=tmp_path / "cache")
    told = {guess.key: guess for guess in project.guesses}
    assert (told["colour"].value, told["normalisation"].value) == (colour, normalisation)
    assert {"colour", "normalisation"} <= set(project.unconfirmed)
    assert f"{colour} {normalisation}" in told["colour"].evidence
    assert project.lines > 0


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("value_range", ["limited", "full"])
def test_a_recording_that_is_4_2_0_is_only_repacked_by_the_guessed_car(matrix, value_range):
    camera = CameraMeta(
        kind="video", pixel_format="yuv420p", width=4, height=4, color_matrix=matrix, color_range=value_range
    )
    data = np.random.default_rng(1).integers(0, 256, (6, 4), np.uint8)
    recorded = Picture(data, "yuv420p", 4, 4, matrix, value_range)
    port = Port("picture", (1, 3, 2, 2), "float32")
    fed = FedPicture(port, "NCHW", 3, 2, 2, Head((), False, 0.0, False))
    first = dict(steps(fed, camera, "rgb", "unit", ())["deploy"][0])
    assert first.pop("op") == "nv12"
    packed = encode_nv12(recorded, **first)
    for ours, theirs in zip(split_planes(packed), split_planes(recorded), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_network_of_other_proportions_than_the_recording_is_told(made):
    project, _ = made(random_outputs("curves"), size=(96, 96))
    told = {guess.key: guess.evidence for guess in project.guesses}
    assert "2.22 times as much in one direction; a crop or letterbox is as common" in told["crop"]


@pytest.mark.parametrize(
    ("key", "answer", "must"),
    [
        ("colour", "rbg", "colour must be rgb or bgr, not 'rbg'"),
        ("normalisation", "bgr", "normalisation must be unit or imagenet or half or raw or a table, not 'bgr'"),
        ("normalisation", 255, "not 255"),
        ("crop", "none", "crop must be a list of steps, not 'none'"),
        ("crop", [0, 160, 1280, 560], "a list of steps"),
        ("deploy", ["nv12"], "deploy must be nv12 or lab"),
        ("frame", "metres", "frame must be vehicle or image"),
        ("decoder", {"form": "clrnet"}, "a table with a name"),
        ("name", 7, "name must be a text"),
    ],
)
def test_an_answer_that_cannot_be_one_is_refused_at_its_question(made, key, answer, must):
    with pytest.raises(UsageError, match=re.escape(must)):
        made(random_outputs("curves"), {key: answer})


def test_a_person_is_asked_again_until_the_answer_can_be_one(monkeypatch, capsys):
    said = iter(["rbg", "[", "bgr"])
    monkeypatch.setattr("typer.prompt", lambda *args, **more: next(said))
    assert _ask(Guess("colour", "rgb", "no shape tells it", words=("rgb", "bgr"))) == "bgr"
    told = capsys.readouterr().err
    assert "colour must be rgb or bgr, not 'rbg'" in told
    assert "write it as TOML does" in told


def test_a_guess_is_kept_by_an_empty_answer_and_shown_as_it_would_be_written(monkeypatch):
    shown = []
    monkeypatch.setattr("typer.prompt", lambda text, default, **more: shown.append(default) or default)
    value = [{"op": "resize", "size": [640, 360]}]
    assert _ask(Guess("crop", value, "the whole picture", forms=("a list of steps",))) is value
    assert tomllib.loads(f"value = {shown[0]}")["value"] == value


def test_an_answer_to_no_question_is_refused(made):
    with pytest.raises(UsageError, match="questions that this model does not raise: color"):
        made(random_outputs("curves"), {"color": "rgb"})


def test_a_person_is_asked_what_is_not_sure(tmp_path):
    path = write_network(tmp_path / "lanes.onnx", random_outputs("clrnet"))
    asked = []

    def ask(guess):
        asked.append(guess.key)
        return "rgb" if guess.key == "colour" else guess.value

    project = init_project(str(path), [pictures(tmp_path / "d")], tmp_path / "out", ask=ask, cache=tmp_path / "cache")
    assert "colour" in asked
    assert "picture" not in asked
    card = load_card(project.card)
    assert card.preprocess.train[0]["op"] == "to_rgb"
    assert "colour" not in card.unconfirmed
    assert "crop" in card.unconfirmed


def test_a_graph_that_normalises_is_fed_what_it_takes(made):
    _, card = made(random_outputs("curves"), first=[("Sub", 123.7), ("Div", 58.4)])
    assert card.preprocess.train[-1] == {"op": "dtype", "to": "float32"}
    assert "normalisation" not in card.unconfirmed


def test_bytes_in_nhwc_are_read_from_the_file(made):
    _, card = made(random_outputs("curves"), nhwc=True, dtype=TensorProto.UINT8)
    (spec,) = card.inputs
    assert (spec.layout, spec.dtype, spec.shape) == ("NHWC", "uint8", (1, 64, 128, 3))
    assert card.preprocess.train[-1]["op"] == "round_u8"


def test_an_input_that_an_output_feeds_is_a_state(made):
    _, card = made(random_outputs("curves"), state=("h_in", "h_out"))
    assert card.state == {"h_out": "h_in"}
    assert "input h_in" in card.unconfirmed


def test_what_it_writes_runs_and_the_gate_names_the_guesses(made, tmp_path):
    lines = np.full((1, 64, 128), -4.0)
    lines[0, 10:, 60:63] = 4
    project, card = made({"m": lines})
    assert project.picture is not None
    assert project.lines > 0
    found = run_job(card, [project.cases[0]], policy=None, out=tmp_path / "run", engines=["ort-fp32"], steps=False)
    assert any("guesses which nobody has confirmed: " in remark for remark in found.verdict.remarks)
    assert tomllib.loads(project.policy.read_text())["card"] == "model.toml"
    assert {rule.id for rule in load_policy(project.policy).rules} >= {"missing", "extra"}
    compile(project.test.read_text(), "test_lines.py", "exec")


FACTORY = """import torch


class Threshold(torch.nn.Module):
    def __init__(self, level):
        super().__init__()
        self.level = torch.nn.Parameter(torch.tensor(float(level)))

    def forward(self, picture):
        return picture[:, :1] - self.level


def build(*, level):
    return Threshold(level)
"""


def test_a_pytorch_factory_is_called_with_the_arguments_of_the_answers(tmp_path, monkeypatch):
    (tmp_path / "striped_lanes.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    answers = {
        "input_shape": [1, 3, 64, 128], "outputs": ["mask"], "args": {"level": 1.5}, "normalisation": "imagenet",
    }  # fmt: skip
    drive = striped(tmp_path / "drive", WHITE)
    project = init_project(
        "striped_lanes:build", [drive], tmp_path / "out", answers=answers, cache=tmp_path / "cache"
    )  # fmt: skip
    card = load_card(project.card)
    assert card.torch is not None
    assert (card.name, card.torch.args) == ("striped_lanes", {"level": 1.5})
    assert project.lines > 0
    assert "weights" in project.unconfirmed


@pytest.mark.parametrize(("first", "short"), [(90, True), (40, False)])
def test_lines_too_short_for_a_measure_are_told_before_the_gate_says_so(made, first, short):
    """Kink looks 8 % of 128 rows up and down: a third of 24 rows has no such station, a third of 74 has."""
    lines = np.full((1, 128, 256), -4.0)
    for u in (60, 120, 180):
        lines[0, first:114, u : u + 4] = 4
    project, _ = made({"m": lines}, size=(256, 128))
    told = {guess.key: guess.evidence for guess in project.guesses}
    assert ("kink looks 10 px up and down and has no value near and far" in told["image.rows"]) == short


def test_an_existing_card_is_left_alone(made, tmp_path):
    made(random_outputs("curves"))
    before = (tmp_path / "out" / "model.toml").read_text()
    with pytest.raises(UsageError, match="there is a card already"):
        made(random_outputs("curves"))
    assert (tmp_path / "out" / "model.toml").read_text() == before


def test_the_command_tells_its_guesses(tmp_path, capsys):
    path = write_network(tmp_path / "lanes.onnx", random_outputs("row-anchor"))
    arguments = ["init", str(path), str(pictures(tmp_path / "drive")), "--out", str(tmp_path / "out"), "--json",
                 "--cache", str(tmp_path / "cache")]  # fmt: skip
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert {g["key"]: g["value"] for g in told["guesses"]}["colour"] == "rgb"
    assert "decoder.rows" in told["unconfirmed"]


@pytest.mark.skipif(not (DATA / "models").is_dir(), reason=f"no {DATA / 'models'}")
def test_a_published_model_and_a_foreign_clip(tmp_path):
    """TwinLiteNet: the lane mask, its normalisation by what draws lines; rows about as a person chose them."""
    project = init_project(
        str(DATA / "models" / "twinlitenet.onnx"), [DATA / "clips" / "highway_curve.mp4"], tmp_path / "out",
        answers={"colour": "rgb"}, cache=tmp_path / "cache",
    )  # fmt: skip
    card = load_card(project.card)
    assert card.decoder.options["output"] == "ll"
    assert {g.key: g.value for g in project.guesses}["normalisation"] == "unit"
    assert card.image is not None
    assert abs(card.image.rows[0] - 336) < 20
    assert abs(card.image.rows[1] - 226) < 20
    assert project.lines >= 24
