"""`trueline model check`: every problem of a card or graph is one finding, and a sound model has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from cases.synth import synth_cases
from harness.checks.check import Finding, check_model
from harness.model.card import Card, load_card
from tests.harness.tiny_model import CARD, write_tiny

TORCH_PART = '[torch]\nfactory = "network:Tiny"\nweights = "tiny.safetensors"\n'

FOR_TENSORRT_8 = """
[export.targets."trt-8"]
exporter = "legacy"
opset = 17
"""

# the mean brightness bends four lines of 33 points; y = offset + far * brightness, cubed on the way
LINES = """(float[1,3,36,64] image) => (float[1,4,33,2] lines, float[1,4] scores) {
    mean = GlobalAveragePool(image)
    level = ReduceMean <axes = [1], keepdims = 1> (mean)
    far = Mul(level, reach)
    squared = Mul(far, far)
    cubed = Mul(squared, far)
    guarded = Add(cubed, epsilon)
    bend = Div(far, guarded)
    lines = Add(bend, base)
    scores = Sigmoid(ones)
}"""


def card_of(folder: Path, text: str = LINES, **weights: object) -> Card:
    """A card of an ONNX file; weights are initializers."""
    folder.mkdir(exist_ok=True)
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> graph {text}')
    defaults = {
        "reach": 1.0, "epsilon": 1e-2, "base": np.zeros((1, 4, 33, 2)), "ones": np.ones((1, 4)),
    }  # fmt: skip
    for name, value in {**defaults, **weights}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value, np.float32), name))
    onnx.save(model, folder / "model.onnx")
    (folder / "model.toml").write_text(CARD.replace(TORCH_PART, '[onnx]\nfile = "model.onnx"\n'))
    return load_card(folder / "model.toml")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    synth_cases(2, 3, 0.5, folder)
    return folder


def problems(findings: list[Finding]) -> list[str]:
    return [finding.what for finding in findings if finding.level in ("warning", "error")]


def notes(findings: list[Finding]) -> list[str]:
    return [finding.what for finding in findings if finding.level == "note"]


def test_a_sound_model_has_no_problem_and_its_activations_are_measured(tmp_path: Path, cases: Path) -> None:
    path = write_tiny(tmp_path)
    path.write_text(path.read_text() + FOR_TENSORRT_8)
    findings = check_model(load_card(path), tmp_path / "cache", cases=[cases], frames=3)
    assert problems(findings) == []
    (activation,) = [f for f in findings if f.what.startswith("largest activation")]
    assert activation.where.endswith("3 frames")
    assert {f.where for f in findings} >= {"torch-fp32", "ort-fp32", "decoder", "weights", "graph"}


def test_an_activation_that_fp16_cannot_hold_is_told_with_its_node(tmp_path: Path, cases: Path) -> None:
    findings = check_model(card_of(tmp_path, reach=400.0), cases=[cases], frames=2)
    (overflow, after, coarse) = [f for f in findings if f.level == "warning"]
    assert "'cubed' reaches" in overflow.what
    assert "infinite in fp16" in overflow.what
    assert overflow.where == "node Mul #4 (Mul), 2 frames"
    assert "'guarded'" in after.what
    assert "1 tensors exceed 512" in coarse.what
    assert "Mul #3" in coarse.where


def test_without_cases_it_says_that_activations_were_not_measured(tmp_path: Path) -> None:
    findings = check_model(card_of(tmp_path, reach=400.0))
    assert problems(findings) == []
    assert any("not measured" in f.what for f in findings)


@pytest.mark.parametrize(("epsilon", "word"), [(1e-9, "is 0 in fp16"), (1e-6, "is subnormal in fp16")])
def test_an_epsilon_that_fp16_rounds_away(tmp_path: Path, epsilon: float, word: str) -> None:
    (finding,) = [f for f in check_model(card_of(tmp_path, epsilon=epsilon)) if f.level == "warning"]
    assert word in finding.what
    assert "Add #5 before Div Div #6" in finding.where


def test_weights_that_are_denormal_or_too_large(tmp_path: Path) -> None:
    base = np.full((1, 4, 33, 2), 1e-40)
    base[0, 0, 0, 0] = 1e5
    found = problems(check_model(card_of(tmp_path, base=base)))
    assert any("263 of 270 weights (97%) are denormal" in what for what in found)
    assert any("1 of 264 weights of 'base' are infinite in fp16" in what for what in found)


@pytest.mark.parametrize(("station_m", "lossy"), [(192.0, False), (192.06, True), (20.003, False), (40.012, True)])
def test_coordinates_lose_what_fp16_rounds_off_in_metres(tmp_path: Path, station_m: float, lossy: bool) -> None:
    findings = check_model(card_of(tmp_path, base=np.full((1, 4, 33, 2), station_m)))
    geometry = [f for f in findings if "apart" in f.what]
    loss_m = abs(float(np.float16(station_m)) - station_m)
    assert lossy == (loss_m >= 0.01)
    assert [f.level for f in geometry] == (["warning", "warning"] if lossy else ["ok"])
    assert "'lines' reaches" in geometry[0].what
    assert " m apart" in geometry[0].what
    if lossy:
        assert "constant 'base'" in geometry[1].what
        assert f"{loss_m:.2g} m" in geometry[1].what


def test_weights_outside_the_folder_are_an_error_and_nothing_runs(tmp_path: Path) -> None:
    card = card_of(tmp_path / "model")
    model = onnx.load(card.root / "model.onnx")
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "../secret.bin")
    tensor.ClearField("raw_data")
    onnx.save(model, card.root / "model.onnx")
    (tmp_path / "secret.bin").write_bytes(bytes(4))
    findings = check_model(card)
    (error,) = [f for f in findings if f.level == "error"]
    assert "outside the model's folder" in error.what
    assert findings[-1] is error
    assert not any(f.where.startswith("ort") for f in findings)


def test_operators_that_tensorrt_lacks_and_dynamic_shapes(tmp_path: Path) -> None:
    text = LINES.replace("float[1,3,36,64]", "float[N,3,36,64]").replace("(image)", "(turned)", 1)
    text = text.replace("mean =", "turned = BitShift_(image)\n mean =").replace("BitShift_", "Hardmax")
    found = problems(check_model(card_of(tmp_path, text)))
    assert any(what.startswith("TensorRT 8.6 lacks Hardmax") for what in found)
    assert any("axis 0 of input 'image' is dynamic (N)" in what for what in found)


def test_the_demo_model_computes_its_stations_in_the_graph_and_loses_millimetres(tmp_path: Path) -> None:
    card = load_card(Path(__file__).parents[3] / "examples" / "roadlines" / "baseline.toml")
    findings = check_model(card, tmp_path)
    assert problems(findings) == []
    (geometry,) = [f.what for f in findings if "apart" in f.what]
    assert geometry.startswith("'lines' reaches 80 m, where fp16 numbers are 0.0625 m apart")


def test_twinlitenet_has_denormal_weights_and_nothing_else(shared_data: Path) -> None:
    card = load_card(Path(__file__).parents[3] / "examples" / "twinlitenet" / "model.toml")
    assert card.onnx is not None
    if not card.onnx.file.is_file():
        pytest.skip(f"no model at {card.onnx.file}")
    (what,) = problems(check_model(card))
    assert what.startswith("49,786 of 440,851 weights (11%) are denormal")


@pytest.mark.parametrize(("cubic", "lossy"), [(2.0**-14, False), (2e-5, True)])
def test_coefficients_lose_at_the_far_end_what_fp16_rounds_off_them(tmp_path: Path, cubic: float, lossy: bool) -> None:
    text = """(float[1,3,36,64] image) => (float[1,4,4] coefficients, float[1,4] scores) {
        coefficients = Identity(c)
        scores = Sigmoid(ones)
    }"""
    card_of(tmp_path, text, c=np.tile([1.0, 0, 0, cubic], (1, 4, 1)))
    path = tmp_path / "model.toml"
    path.write_text(
        path.read_text().replace('name = "polyline"', 'name = "polynomial"').replace("lines", "coefficients")
    )
    (geometry,) = [f for f in check_model(load_card(path)) if "rounding" in f.what]
    loss_m = 80**3 * abs(float(np.float16(cubic)) - cubic)
    assert f"4 lines by up to {loss_m:.2g} m" in geometry.what
    assert (geometry.level == "warning") == lossy


def test_an_opset_that_tensorrt_8_does_not_read_is_told_unless_the_card_exports_another(tmp_path: Path) -> None:
    path = write_tiny(tmp_path)
    (told,) = problems(check_model(load_card(path), tmp_path / "cache"))
    assert "TensorRT 8.6 reads opset 17 and older" in told
    path.write_text(path.read_text() + FOR_TENSORRT_8.replace("17", "18").replace("legacy", "dynamo"))
    assert problems(check_model(load_card(path), tmp_path / "cache")) == [told]


def test_a_factory_that_forgets_eval_is_noted_with_its_parts(tmp_path: Path) -> None:
    path = write_tiny(tmp_path)
    (note,) = [f for f in check_model(load_card(path), tmp_path / "cache") if "training mode" in f.what]
    assert (note.level, note.where) == ("note", "factory network:Tiny, norm (BatchNorm2d)")
    network = tmp_path / "network.py"
    network.write_text(network.read_text() + "\n\ndef settled():\n    return Tiny().eval()\n")
    path.write_text(path.read_text().replace("network:Tiny", "network:settled"))
    assert not [what for what in notes(check_model(load_card(path), tmp_path / "cache")) if "training mode" in what]


@pytest.mark.parametrize(("value", "word"), [(np.inf, "1 infinite of 264"), (-np.inf, "1 infinite"), (np.nan, "1 NaN")])
def test_a_weight_that_is_no_finite_number_is_not_sound(tmp_path: Path, value: float, word: str) -> None:
    base = np.zeros((1, 4, 33, 2))
    base[0, 1, 2, 0] = value
    findings = check_model(card_of(tmp_path, base=base))
    assert any(word in what for what in problems(findings))
    assert not [f for f in findings if f.what.startswith("largest weight")]


def test_a_weight_beyond_fp16_is_told_with_what_each_engine_makes_of_it(tmp_path: Path) -> None:
    base = np.zeros((1, 4, 33, 2))
    base[0, 0, 0, 0] = -1e9
    (weight,) = [what for what in problems(check_model(card_of(tmp_path, base=base))) if "weights of 'base'" in what]
    assert "TensorRT and ONNX Runtime's fp16 converter clamp them to 65504" in weight


TRAINING = """(float[1,3,36,64] image) => (float[1,4,33,2] lines, float[1,4] scores) {
    normal, m, v = BatchNormalization <training_mode = 1> (image, s, b, s, v0)
    mean = GlobalAveragePool(normal)
    level = ReduceMean <axes = [1], keepdims = 1> (mean)
    bend = Mul(level, reach)
    lines = Add(bend, base)
    scores = Sigmoid(ones)
}"""


def test_a_batchnorm_in_training_mode_is_told(tmp_path: Path) -> None:
    numbers = {"s": [1.0, 2, 3], "b": [0.0, 1, 2], "v0": [4.0, 5, 6]}
    (told,) = problems(check_model(card_of(tmp_path, TRAINING, **numbers)))
    assert told.startswith("BatchNormalization is in training mode")


def test_quantised_graphs_say_what_that_means(tmp_path: Path) -> None:
    text = LINES.replace("(image)", "(level8)", 1)
    text = text.replace("mean =", "q = QuantizeLinear(image, step)\n level8 = DequantizeLinear(q, step)\n mean =")
    (told,) = problems(check_model(card_of(tmp_path, text, step=0.01)))
    assert told.startswith("the graph is quantised (1 DequantizeLinear, 1 QuantizeLinear; uint8)")
    assert "the calibration is inside it" in told


def test_a_graph_that_no_engine_runs_is_looked_at_all_the_same(tmp_path: Path) -> None:
    text = LINES.replace("mean = GlobalAveragePool(image)", "squared = GlobalAveragePool(image)\n mean = Relu(squared)")
    findings = check_model(card_of(tmp_path, text, epsilon=1e-9))
    errors = [f for f in findings if f.level == "error"]
    assert [f.where.partition(":")[0] for f in errors[:2]] == ["ort-fp32-none", "ort-fp32"]
    assert "two values are called 'squared'" in errors[2].what
    assert any("epsilon" in f.what for f in findings if f.level == "warning")


@pytest.mark.parametrize(("precision", "told"), [("bf16", True), ("fp16", True), ("fp32", False), (None, False)])
def test_what_openvino_would_do_unasked_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str | None, told: bool
) -> None:
    monkeypatch.setattr("engines.openvino.default_precision", lambda: precision)
    found = [what for what in notes(check_model(card_of(tmp_path))) if "OpenVINO" in what]
    assert [f"in {precision} unless" in what for what in found] == [True] * told


def test_an_export_says_what_the_exporter_warned_of(tmp_path: Path) -> None:
    path = write_tiny(tmp_path)
    network = tmp_path / "network.py"
    branch = "        if float(image.mean()) > 1e9:\n            image = image * 2\n        features ="
    text = network.read_text().replace("        features =", branch)
    network.write_text(text.replace("AdaptiveAvgPool2d((4, 4))", "AvgPool2d((4, 8))"))  # which the legacy exporter has
    path.write_text(path.read_text() + '[export]\nexporter = "legacy"\nopset = 17\n')
    (told,) = problems(check_model(load_card(path), tmp_path / "cache"))
    assert told.startswith("the exporter warned: Converting a tensor to a Python")
    assert "network.py:" in told


NORMED = """(float[1,3,36,64] image) => (float[1,4,33,2] lines, float[1,4] scores) {
    rows = ReduceMean <axes = [1, 2], keepdims = 0> (image)
    large = Mul(rows, reach)
    length = ReduceL2 <axes = [1], keepdims = 1> (large)
    bend = Div(length, reach)
    lines = Add(bend, base)
    scores = Sigmoid(ones)
}"""


@pytest.mark.parametrize(("reach", "told"), [(200.0, True), (1.0, False)])
def test_what_overflows_inside_a_composite_node_is_told_by_its_name(
    tmp_path: Path, cases: Path, reach: float, told: bool
) -> None:
    findings = [
        f for f in check_model(card_of(tmp_path, NORMED, reach=reach), cases=[cases], frames=2) if "inside" in f.what
    ]
    (finding,) = findings
    assert finding.level == ("warning" if told else "ok")
    assert "ReduceL2" in finding.where
    if told:
        assert "inside ReduceL2 ReduceSum reaches" in finding.what
        assert "emulated-fp16:inside" in finding.remedy


def test_a_dynamic_size_is_tried_as_large_as_a_picture(tmp_path: Path) -> None:
    """At one pixel there is no second row to gather."""
    text = (
        LINES.replace("float[1,3,36,64] image", "float[N,3,H,W] image")
        .replace(
            "mean = GlobalAveragePool(image)",
            "row = Gather <axis = 2> (image, second)\n mean = ReduceMean <axes = [2, 3]> (row)",
        )
        .replace(
            "level = ReduceMean <axes = [1], keepdims = 1> (mean)",
            "level = ReduceMean <axes = [0, 1], keepdims = 1> (mean)",
        )
    )
    card = card_of(tmp_path, text)
    model = onnx.load(tmp_path / "model.onnx")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "second"))
    onnx.save(model, tmp_path / "model.onnx")
    path = tmp_path / "model.toml"
    path.write_text(path.read_text().replace("[1, 3, 36, 64]", '["N", 3, "H", "W"]'))
    findings = check_model(load_card(path))
    assert not [f for f in findings if f.level == "error"], card
