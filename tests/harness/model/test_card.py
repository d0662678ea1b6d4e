from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import CardError
from harness.model.card import load_card

MINIMAL = """
schema = 1
name = "tiny"
inputs = [{name = "image", shape = [1, 3, 8, 8], source = "camera.front", layout = "NCHW"}]
outputs = [{name = "lines"}, {name = "scores"}]
[torch]
factory = "network:Tiny"
weights = "w.safetensors"
[decoder]
name = "polyline"
threshold = 0.5
"""


def _card(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "model.toml"
    path.write_text(text)
    return path


def test_paths_are_taken_from_the_cards_folder(tmp_path: Path) -> None:
    card = load_card(_card(tmp_path, MINIMAL))
    assert card.torch is not None
    assert card.torch.weights == tmp_path.resolve() / "w.safetensors"
    assert card.source().inputs[0].shape == (1, 3, 8, 8)


def test_a_folder_means_its_model_toml(tmp_path: Path) -> None:
    _card(tmp_path, MINIMAL)
    assert load_card(tmp_path).name == "tiny"


def test_everything_beside_the_decoders_name_goes_to_it(tmp_path: Path) -> None:
    assert load_card(_card(tmp_path, MINIMAL)).decoder.options == {"threshold": 0.5}


@pytest.mark.parametrize(
    ("parts", "reference"), [("torch", "train/torch-fp32"), ("onnx", "train/ort-fp32"), ("both", "train/torch-fp32")]
)
def test_the_reference_is_the_lab(tmp_path: Path, parts: str, reference: str) -> None:
    text = MINIMAL
    if parts != "torch":
        text += '[onnx]\nfile = "m.onnx"\n'
    if parts == "onnx":
        text = text.replace('[torch]\nfactory = "network:Tiny"\nweights = "w.safetensors"\n', "")
    assert load_card(_card(tmp_path, text)).reference_rung == reference


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema = 1", "schema = 7", "schema"),
        ('name = "tiny"', 'name = "tiny"\ncolour = 3', "colour: Extra inputs are not permitted"),
        ('source = "camera.front"', 'source = "radar.front"', "inputs.0.source"),
        ("[decoder]", '[state]\nhidden = "h"\n[decoder]', "must map an output"),
        ('layout = "NCHW"}', 'layout = "NCHW"}, {name = "h", shape = [1], source = "state"}', "source 'state'"),
        ("[torch]", '[export]\nopset = "new"\n[torch]', "export.opset"),
        ('name = "tiny"', 'name = "tiny"\nframe = "image"', "contradict"),
        ('name = "tiny"', 'name = "tiny"\nframe = "image"\nlength_unit = "px"', r"needs \[image\]"),
        ("[decoder]", '[preprocess.inputs.depth]\ntrain = []\n[decoder]', "unknown inputs"),
        ('[torch]\nfactory = "network:Tiny"\nweights = "w.safetensors"\n', "", r"needs \[torch\]"),
        ("[decoder]", "[decoder", "not TOML"),
        ("[decoder]", "[bands]\nmid = [5, 40]\n[decoder]", "near, mid and far must follow one another"),
        ("[decoder]", "[bands]\nfar = [80, 40]\n[decoder]", "near, mid and far must follow one another"),
        ("[decoder]", "[engines.trt-fp61]\nplan = 'a.plan'\n[decoder]", "engines.trt-fp61.*did you mean 'trt-fp16'"),
        ("[decoder]", "[engines]\ntrt-fp16 = 3\n[decoder]", "engines.trt-fp16: Input should be a valid dictionary"),
    ],
)  # fmt: skip
def test_every_mistake_is_one_line_that_names_the_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in MINIMAL
    path = _card(tmp_path, MINIMAL.replace(old, new))
    with pytest.raises(CardError, match=message) as caught:
        load_card(path)
    assert "\n" not in str(caught.value)
    assert str(path) in caught.value.where


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    path = _card(tmp_path, MINIMAL.replace("schema = 1", "schema = 1\ncolour = 3\nsize = 4"))
    with pytest.raises(CardError, match=r"colour.*size"):
        load_card(path)


def test_a_missing_card_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="no model card"):
        load_card(tmp_path / "nothing.toml")


COMMAND = """
[command.orin]
run = ["./replay", "--image", "{input.image}", "--lines", "{output.lines}"]
inputs = "raw"
outputs = "raw"
timeout_s = 5
env = {DEVICE = "3"}
dtypes = {lines = "float16"}
"""


def test_a_command_reaches_the_engines_with_the_shapes_that_are_numbers(tmp_path: Path) -> None:
    text = MINIMAL.replace('{name = "lines"}, {name = "scores"}', OUTPUTS) + COMMAND
    (spec,) = load_card(_card(tmp_path, text)).source().commands.values()
    assert spec.run[0] == "./replay"
    assert (spec.inputs, spec.outputs, spec.mode, spec.timeout_s) == ("raw", "raw", "per-frame", 5)
    assert spec.env == {"DEVICE": "3"}
    assert spec.shapes == {"lines": (1, 4, 33)}
    assert spec.dtypes == {"lines": "float16"}


OUTPUTS = '{name = "lines", shape = [1, 4, 33]}, {name = "scores", shape = ["batch", 4]}, {name = "other"}'


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("run = [", "runs = ["), "command.orin.run"),
        (('inputs = "raw"', 'inputs = "pickle"'), "command.orin.inputs"),
        (("timeout_s = 5", "timeout_s = 0"), "command.orin.timeout_s"),
        (("[command.orin]", '[command."o rin"]'), "command.o rin"),
    ],
)
def test_a_wrong_command_is_one_line(tmp_path: Path, change: tuple[str, str], key: str) -> None:
    with pytest.raises(CardError) as caught:
        load_card(_card(tmp_path, MINIMAL + COMMAND.replace(*change)))
    assert key in caught.value.what
    assert "\n" not in str(caught.value)


def test_options_of_engines_reach_the_source(tmp_path: Path) -> None:
    text = (
        MINIMAL
        + '[engines."trt-fp16:car"]\nplan = "a.plan"\nnames = {lines = "l_0"}\n[engines.ort-fp32]\nthreads = 1\n'
    )
    card = load_card(_card(tmp_path, text))
    assert card.source().options == {
        "trt-fp16:car": {"plan": "a.plan", "names": {"lines": "l_0"}},
        "ort-fp32": {"threads": 1},
    }


OWN = """
[engines."recorded"]
time_offset_ms = 37
decoder = {threshold = 0.6}
[engines."recorded:car".decoder]
slots = false
[rungs."deploy/recorded:lidar".decoder]
name = "openpilot"
reach_m = 100
[rungs."train/ort-fp32".decoder]
threshold = 0.7
"""


def test_a_rung_may_have_a_decoder_of_its_own(tmp_path: Path) -> None:
    card = load_card(_card(tmp_path, MINIMAL + OWN))

    def told(rung: str) -> tuple[str, dict[str, object]] | None:
        part = card.decoder_of(rung)
        return None if part is None else (part.name, part.options)

    assert told("deploy/torch-fp32") is None
    assert told("deploy/ort-fp32") is None
    assert told("train/ort-fp32") == ("polyline", {"threshold": 0.7})
    assert told("deploy/recorded:far") == ("polyline", {"threshold": 0.6})
    assert told("deploy/recorded:car") == ("polyline", {"threshold": 0.6, "slots": False})
    assert told("deploy/recorded:lidar") == ("openpilot", {"reach_m": 100}), "with a name it is another decoder"
    assert card.source().options["recorded"] == {"time_offset_ms": 37}, "the engine is not told of it"
    assert card.source().options["recorded:car"] == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[rungs."car".decoder]\nthreshold = 1', "'car' is no rung"),
        ('[rungs."deploy/ort-fp33".decoder]\nthreshold = 1', "no engine 'ort-fp33'"),
        ('[rungs."deploy/ort-fp32"]\ncoder = 1', "coder"),
        ("[engines.ort-fp32]\ndecoder = 3", "decoder must be a table"),
    ],
)
def test_a_rung_of_the_card_that_cannot_be_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(CardError, match=said):
        load_card(_card(tmp_path, MINIMAL + text))
