"""Errors of runtimes in one line: the informative part of a long text, the engine's name, the rung's status."""

import pytest

import engines
from engines import errors, registry
from engines.base import LONGEST, whole_cause
from engines.errors import EngineUnavailable, ModelLoadError

OPENVINO = """Exception from src/inference/src/cpp/core.cpp:84:
Check 'false' failed at src/frontends/common_translators/src/unconverted_ops_report.cpp:151:
FrontEnd API failed with OpConversionFailure:
Model wasn't fully converted. Failed operations detailed log:
-- Reshape-17 with a message:
While validating ONNX node '<Node(Reshape): y>': Check '!empty(d)' failed at src/core/reshape.hpp:345:
While validating node 'opset1::Reshape Reshape_17 (opset1::Parameter x[0]:f32[1,3,4,4]) -> (dynamic[...])'
Non-'-1' output dimensions do not evenly divide the input dimensions

Summary:
-- Conversion is failed for: Reshape-17
"""
TORCH = """expected mat1 and mat2 to have the same dtype
Exception raised from meta at ../aten/src/ATen/x.cpp:1 (most recent call first):
frame #0: c10::Error::Error(c10::SourceLocation) + 0x57 (0x7f in libc10.so)
frame #1: at::something (0x7f)
"""


@pytest.mark.parametrize(
    ("text", "kept", "dropped"),
    [
        (OPENVINO, ["ONNX node '<Node(Reshape): y>'", "do not evenly divide"], ["core.cpp", "Summary", "opset1::"]),
        (TORCH, ["to have the same dtype"], ["frame #", "x.cpp"]),
        ("first\n\n  second   part \nfirst", ["first; second part"], ["\n"]),
        ("", ["RuntimeError"], [":"]),
        ("a" * 5000 + " cause first\n" + "b" * 5000 + " cause last", ["a" * 200, "cause last"], ["\n"]),
    ],
)
def test_the_whole_cause_is_one_line_without_the_runtimes_own_places(text, kept, dropped):
    said = whole_cause(RuntimeError(text))
    assert said.startswith("RuntimeError")
    assert len(said) < LONGEST + 40
    for part in kept:
        assert part in said
    for part in dropped:
        assert part not in said


@pytest.mark.parametrize("error", [ValueError("what\nwent wrong"), ModelLoadError("no", where="a file", remedy="mend")])
def test_whatever_an_engine_raises_when_it_opens_is_one_line_with_its_name(monkeypatch, card, error):
    class Module:
        @staticmethod
        def open_engine(name, source, **options):
            raise error

    monkeypatch.setattr(registry, "_load", lambda name, third_parties: Module)
    with pytest.raises(ModelLoadError) as caught:
        engines.open("ort-fp32", card())
    assert "ort-fp32" in caught.value.where
    assert "\n" not in str(caught.value)
    assert error.args[0].splitlines()[-1] in caught.value.what


def test_what_was_never_asked_of_an_engine_is_not_run_and_what_failed_is_crashed():
    kinds = {name: getattr(errors, name).rung_status for name in errors.__all__}
    not_run = {"EngineUnavailable", "RecordingError", "RecordingGap", "NotRecorded"}
    assert {name for name, status in kinds.items() if status == "not_run"} == not_run
    assert EngineUnavailable("a", where="b", remedy="c").rung_status == "not_run"
