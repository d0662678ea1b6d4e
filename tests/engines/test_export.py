import logging
import warnings
from dataclasses import replace

import numpy as np
import onnx
import pytest
from engine_models import inputs_of, save_weights

import engines
from engines import export, exporters
from engines.errors import EngineUnavailable, ExportError, ModelLoadError
from engines.export import export_model, exported
from engines.protocol import ExportTarget, TensorSpec


def ops(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def opset(path):
    return next(o.version for o in onnx.load(path).opset_import if not o.domain)


QUICK = {"default": ExportTarget("legacy", 17)}  # ten times faster than the other; for what any exporter shows


@pytest.fixture(autouse=True)
def _the_exporter_itself(monkeypatch):
    """Not what another test made with it (tests/shared_exports.py)."""
    monkeypatch.setattr(export, "run_exporter", exporters.run_exporter)


@pytest.fixture
def exports(monkeypatch):
    """Counts how often the exporter really runs."""
    runs = []
    real = export.run_exporter
    monkeypatch.setattr(export, "run_exporter", lambda *args: runs.append(args) or real(*args))
    return runs


def test_only_the_optimised_export_folds_batch_norm(shared_cards):
    source = shared_cards("Lanes")
    assert "BatchNormalization" in ops(exported(source, optimize=False))
    assert "BatchNormalization" not in ops(exported(source, optimize=True))


def test_an_old_opset_takes_the_legacy_exporter_and_is_that_opset(card):
    source = card(
        export={"default": ExportTarget(), "trt8": ExportTarget(opset=17), "plain": ExportTarget("legacy", 16)}
    )
    assert opset(exported(source, "trt8")) == 17
    assert opset(exported(source, "plain")) == 16
    assert opset(exported(source, "nobody")) >= 18
    assert "BatchNormalization" in ops(exported(source, "trt8", optimize=False))
    assert "BatchNormalization" not in ops(exported(source, "trt8", optimize=True))


def test_the_dynamo_exporter_gives_the_opset_that_was_asked_for(card):
    assert opset(exported(card(export={"default": ExportTarget(opset=19)}))) == 19


def test_another_opset_than_asked_for_is_an_error(card, monkeypatch):
    source = card(export={"default": ExportTarget(opset=20)})
    real = export.run_exporter
    fooled = ExportTarget(opset=19)
    monkeypatch.setattr(export, "run_exporter", lambda m, s, how, o, p: real(m, s, fooled, o, p))
    with pytest.raises(ExportError, match="for opset 20, got 19"):
        exported(source)
    assert not list(source.cache.rglob("*.onnx")), "a refused export stayed in the cache"


def test_an_export_is_made_once(card, exports):
    source = card(export=QUICK)
    first = exported(source)
    assert exported(source) == first
    assert len(exports) == 1
    exported(source, optimize=False)
    assert len(exports) == 2


def test_a_hit_needs_no_module(card, monkeypatch):
    source = card(export=QUICK)
    path = exported(source)
    monkeypatch.setattr("engines.torch_model.build_module", lambda source: pytest.fail("built the module for a hit"))
    assert exported(source) == path


def test_other_weights_are_exported_again(card, exports):
    source = card(export=QUICK)
    first = exported(source)
    save_weights(source.weights, seed=9)
    second = exported(source)
    assert first != second
    assert len(exports) == 2
    save_weights(source.weights, seed=0)
    assert exported(source) == first
    assert len(exports) == 2


def test_a_changed_network_is_exported_again(card, exports):
    source = card(export=QUICK)
    first = exported(source)
    code = source.root / "network.py"
    text = code.read_text()
    code.write_text(text.replace("torch.relu(", "torch.tanh("))
    second = exported(source)
    assert first != second
    assert "Tanh" in ops(second)
    code.write_text(text)
    assert exported(source) == first
    assert len(exports) == 2


def test_a_network_that_draws_its_own_weights_is_told_apart_by_them(card, exports):
    source = card(weights=None, export=QUICK)
    first = exported(source)
    assert exported(source) == first
    assert len(exports) == 1
    assert exported(replace(source, factory_args={"width": 4})) != first


def test_a_card_with_an_onnx_file_uses_that_file(card):
    source = card()
    published = source.root / "published.onnx"
    onnx.save(
        onnx.parser.parse_model(
            "<ir_version: 8, opset_import: ['': 17]> g (float x) => (float x) {}".replace("'", '"')
        ),
        published,
    )
    assert exported(replace(source, onnx=published)) == published
    with pytest.raises(EngineUnavailable, match="neither"):
        exported(replace(source, factory=None))


def test_exporters_are_silent(card, capfd, caplog):
    source = card(export={"default": ExportTarget(), "old": ExportTarget(opset=17)})
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG, logger="onnxscript"):
        warnings.simplefilter("error")
        exported(source, optimize=False)
        exported(source, "old")
    assert capfd.readouterr() == ("", "")
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


NAMED_ALIKE = """
import torch

class Alike(torch.nn.Module):
    def __init__(self):
        super().__init__()
        for name in NAMES:
            self.register_buffer(name, torch.rand(1, 3, 1, 1) + 0.5)

    def forward(self, images):
        scaled = images
        for name in NAMES:
            scaled = scaled * getattr(self, name)
        mean = scaled.mean((2, 3)) + scaled.sum((2, 3)) - scaled.amax((2, 3))
        return torch.sigmoid(mean * mean)
"""


@pytest.mark.parametrize("names", [("mean", "sum_1", "mul"), ("sigmoid", "amax", "lines"), ("images_", "add", "val_0")])
@pytest.mark.parametrize("optimize", [True, False])
def test_values_that_the_exporter_names_alike_get_names_of_their_own(card, optimize, names):
    source = card()
    (source.root / "alike.py").write_text(f"NAMES = {names!r}\n{NAMED_ALIKE}")
    source = replace(source, factory="alike:Alike", weights=None)
    path = exported(source, optimize=optimize)
    onnx.checker.check_model(str(path), full_check=True)
    graph = onnx.load(path).graph
    values = [*(t.name for t in graph.initializer), *(name for node in graph.node for name in node.output)]
    assert len(set(values)) == len(values)
    inputs = inputs_of(source)
    name = "ort-fp32" if optimize else "ort-fp32-none"
    np.testing.assert_allclose(
        engines.open(name, source).infer(inputs)["lines"],
        engines.open("torch-fp32", source).infer(inputs)["lines"],
        rtol=1e-5,
    )


ODD = """
import torch

class Branching(torch.nn.Module):
    def forward(self, images):
        return images * 2 if images.sum().item() > 3 else images

class Unknown(torch.nn.Module):
    def forward(self, images):
        return torch.special.bessel_j0(images)

class Misshapen(torch.nn.Module):
    def forward(self, images):
        return images.reshape(7, -1)
"""


@pytest.fixture
def odd(card):
    """Networks that do not export as they are."""
    source = card(export=QUICK)
    (source.root / "odd.py").write_text(ODD)
    return lambda name, **changes: replace(source, factory=f"odd:{name}", weights=None, **changes)


@pytest.mark.parametrize(
    ("network", "exporter", "words"),
    [
        ("Branching", "dynamo", ["Could not guard on data-dependent expression"]),
        ("Unknown", "dynamo", ["No ONNX function found for", "Error when translating node %bessel_j0"]),
        ("Unknown", "legacy", ["aten::special_bessel_j0", "is not supported"]),
        ("Misshapen", "dynamo", ["fails on zeros", "shape '[7, -1]' is invalid", "at odd.py:14 in forward"]),
        ("Misshapen", "legacy", ["fails on zeros", "shape '[7, -1]' is invalid", "at odd.py:14 in forward"]),
    ],
)
def test_a_failing_exporter_is_one_line_with_the_first_cause(odd, capfd, network, exporter, words):
    source = odd(network, export={"default": ExportTarget(exporter)})
    with pytest.raises(ExportError) as caught:
        exported(source)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text
    assert len(text) < 900
    assert capfd.readouterr() == ("", "")
    assert not [p for p in source.cache.rglob("*") if p.name.startswith(".draft")]


@pytest.mark.parametrize("name", ["ort-fp32-none", "ort-fp32", "emulated-fp16"])
def test_what_the_exporter_warned_of_stays_with_the_engine(odd, name):
    """Tracing takes the branch of the example; the warning names the line, and a cached export has it too."""
    source = odd("Branching", outputs=("doubled",))
    for _ in range(2):
        (warning,) = engines.open(name, source).provenance["export_warnings"]
        assert "might cause the trace to be incorrect" in warning
        assert warning.endswith("at odd.py:6")


def test_an_export_without_warnings_and_a_file_of_ones_own_have_none(card, tmp_path):
    source = card(export=QUICK)
    assert "export_warnings" not in engines.open("ort-fp32", source).provenance
    assert export.export_warnings(tmp_path / "model.onnx") == []


def test_weights_that_do_not_fit_stop_the_export(card):
    with pytest.raises(ModelLoadError):
        exported(card(factory_args={"width": 5}))


def test_dynamic_dimensions_stay_dynamic(card):
    source = card(inputs=(TensorSpec("images", ("batch", 3, 16, 24)),), export={"old": ExportTarget(opset=17)})
    for target in ("default", "old"):
        path = exported(source, target)
        assert onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
        engine = engines.open("ort-fp32", replace(source, onnx=path))
        images = np.random.default_rng(0).standard_normal((3, 3, 16, 24)).astype(np.float32)
        together = engine.infer({"images": images})["lines"]
        alone = engine.infer({"images": images[1:2]})["lines"]
        np.testing.assert_allclose(together[1:2], alone, rtol=1e-5)


def test_export_model_writes_one_file_that_runs(card, tmp_path):
    source = card("Recurrent")
    out = export_model(source, tmp_path / "deep" / "model.onnx")
    engine = engines.open("ort-fp32", replace(source, onnx=out, factory=None))
    inputs = inputs_of(source)
    want = engines.open("torch-fp32", source).infer(inputs)
    for name, array in engine.infer(inputs).items():
        np.testing.assert_allclose(array, want[name], rtol=1e-5, atol=1e-6)
    assert [p.name for p in out.parent.iterdir()] == ["model.onnx"]


def test_an_unwritable_place_is_one_line(card, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot write"):
        export_model(card(export=QUICK), tmp_path / "file" / "model.onnx")
    with pytest.raises(ExportError, match="cannot write the cache"):
        exported(replace(card("Paired"), cache=tmp_path / "file"))
