import logging
import warnings
from dataclasses import replace

import numpy as np
import onnx
import pytest
from engine_models import inputs_of, save_weights

import engines
from engines import export
from engines.errors import EngineUnavailable, ExportError, ModelLoadError
from engines.export import export_model, exported
from engines.protocol import ExportTarget, TensorSpec


def ops(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def opset(path):
    return next(o.version for o in onnx.load(path).opset_import if not o.domain)


QUICK = {"default": ExportTarget("legacy", 17)}  # ten times faster than the other; for what any exporter shows


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


def test_a_failing_exporter_is_one_line(card):
    source = card()
    (source.root / "odd.py").write_text(
        "import torch\nclass Odd(torch.nn.Module):\n"
        "    def forward(self, images):\n"
        "        return images * 2 if images.sum().item() > 3 else images\n"
    )
    with pytest.raises(ExportError, match="dynamo exporter failed") as caught:
        exported(replace(source, factory="odd:Odd", weights=None))
    assert "\n" not in str(caught.value)
    assert not [p for p in source.cache.rglob("*") if p.name.startswith(".draft")]


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
