"""Engines in processes of their own, above all those that do not behave."""

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_models import inputs_of

import engines
from engines.denormals import flushed
from engines.errors import (
    EngineCrashed,
    EngineInputError,
    EngineOptionError,
    EngineUnavailable,
    ModelLoadError,
    RecordingGap,
)
from engines.isolate import isolated
from engines.protocol import CaseContext, DumpSpec, Engine, ModelSource, TensorSpec

HOSTILE = Path(__file__).parent / "hostile"
CASE = CaseContext("drive", Path("drive"), {"car": DumpSpec(Path("dump"), 5)})


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """Opens `hostile:MISDEED` in a process of its own; all are closed at the end."""
    monkeypatch.syspath_prepend(HOSTILE)
    source = ModelSource("model", tmp_path, (TensorSpec("image", (1, 3)),), ("lines", "scores"))
    made = []

    def start(misdeed, timeout_s=30.0, **more):
        made.append(isolated(f"hostile:{misdeed}", source, timeout_s, **more))
        return made[-1]

    yield start
    for engine in made:
        engine.close()
        engine.close()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def inputs(value=0.0):
    return {"image": np.full((1, 3), value, np.float32)}


def test_an_isolated_engine_keeps_the_protocol_and_lives_elsewhere(opened):
    engine = opened("none", env={"HOSTILE_TEST": "its own"}, options={"gain": 2})
    assert isinstance(engine, Engine)
    assert engine.uses_time
    assert not engine.keeps_state, "what the engine inside says"
    assert engine.provenance["pid"] != os.getpid()
    assert engine.provenance["options"] == {"gain": 2}
    assert engine.provenance["variable"] == "its own"
    assert "HOSTILE_TEST" not in os.environ
    assert engine.provenance["isolated"] is True
    engine.start_case(CASE)
    assert engine.provenance["case"] == "drive"
    first = engine.infer(inputs(0))
    kept = {name: array.copy() for name, array in first.items()}
    other = engine.infer(inputs(1))
    assert not np.array_equal(first["lines"], other["lines"])
    for name, array in first.items():
        assert (array == kept[name]).all(), "the next call overwrote it"
        assert array.flags.writeable
    engine.close()
    assert not alive(engine.provenance["pid"])


def test_tensors_of_every_kind_and_size_pass_unchanged_and_stay_the_engines(opened):
    engine = opened("echo")
    random = np.random.default_rng(0)
    before = None
    for number, size in enumerate((1, 100, 3_000_000, 10)):
        given = {
            "a": random.standard_normal((2, size)).astype(np.float32)[:, ::-1],
            "h": random.standard_normal(size).astype(np.float16),
            "flags": random.random(size) > 0.5,
            "none": np.zeros((0, 3), np.int64),
            "scalar": np.array(number, np.uint8),
        }
        engine.seek(number)
        found = engine.infer(given)
        want = before or given
        assert found.pop("now") == number
        assert set(found) == set(want)
        for name, array in want.items():
            assert found[name].dtype == array.dtype
            assert found[name].shape == array.shape
            assert (found[name] == array).all()
        before = {name: array.copy() for name, array in given.items()}


@pytest.mark.parametrize(
    ("misdeed", "text"),
    [
        ("segfault", "ended by signal 11 (SIGSEGV); stderr ends: about to read address 1"),
        ("oom", "ended by signal 9 (SIGKILL), as when memory runs out"),
        ("exit", "exit code 7"),
        ("foreign", "ValueError: a foreign error; of two lines"),
        ("quits", "it called sys.exit('no licence')"),
        ("ours", "the runtime said no"),
    ],
)
def test_whatever_ends_an_engine_is_a_crash_and_the_next_call_starts_afresh(opened, misdeed, text):
    engine = opened(f"{misdeed}-2")
    engine.start_case(CASE)
    good = engine.infer(inputs())
    with pytest.raises(EngineCrashed) as caught:
        engine.infer(inputs())
    assert text in caught.value.what
    assert "\n" not in str(caught.value)
    if misdeed in ("segfault", "oom", "exit"):
        assert "lost while running" in caught.value.what
        again = engine.infer(inputs())
        assert (again["lines"] == good["lines"]).all()
        assert engine.provenance["case"] == "drive", "the new process was not told of the case"


def test_a_hang_ends_at_the_time_limit_with_its_process(opened):
    engine = opened("hang-2", timeout_s=3.0)
    engine.infer(inputs())
    pid = engine.provenance["pid"]
    start = time.monotonic()
    with pytest.raises(EngineCrashed, match=r"did not answer within 3 s; stderr ends: waiting for a lock"):
        engine.infer(inputs())
    assert 3 <= time.monotonic() - start < 20
    assert not alive(pid)
    engine.start_case(CASE)
    assert engine.infer(inputs())


@pytest.mark.parametrize(
    ("misdeed", "text"),
    [("open_foreign", "ValueError: a foreign error; of two lines"), ("open_quits", "sys.exit('no licence')")],
)
def test_an_engine_whose_opening_fails_cannot_be_opened(opened, misdeed, text):
    with pytest.raises(ModelLoadError) as caught:
        opened(misdeed)
    assert text in caught.value.what


@pytest.mark.parametrize("misdeed", ["open_segfault", "case"])
def test_an_engine_that_dies_before_its_first_frame_is_reported_by_every_frame(opened, misdeed):
    engine = opened(misdeed)
    for _ in range(2):
        engine.start_case(CASE)
        for _ in range(2):
            with pytest.raises(EngineCrashed):
                engine.infer(inputs())


def test_an_engine_that_dies_while_opening_is_opened_once(opened, monkeypatch):
    engine = opened("open_segfault")
    monkeypatch.setattr("engines.isolate._Worker", lambda env: pytest.fail("started again"))
    engine.start_case(CASE)
    with pytest.raises(EngineCrashed, match=r"lost while opening: ended by signal 11"):
        engine.infer(inputs())


def test_errors_of_ours_pass_as_they_are(opened):
    with pytest.raises(EngineUnavailable, match="no such board") as caught:
        opened("open_unavailable")
    assert caught.value.remedy == "buy one"
    with pytest.raises(RecordingGap, match="nothing there"):
        opened("gap").infer(inputs())


def test_what_cannot_pass_is_told_before_it_is_sent(opened):
    engine = opened("none")
    with pytest.raises(EngineInputError, match="tensor 'image' is object"):
        engine.infer({"image": np.array([{}], object)})
    assert engine.infer(inputs())
    with pytest.raises(EngineOptionError, match="timeout_s 0"):
        opened("none", timeout_s=0)


@pytest.mark.parametrize("name", ["torch-fp32", "ort-fp32"])
def test_isolation_changes_no_bit(name, card):
    source = card("Paired")
    here, there = engines.open(name, source), isolated(name, source)
    for seed in range(3):
        fed = inputs_of(source, seed)
        want, found = here.infer(fed), there.infer(fed)
        assert list(found) == list(want)
        for output in want:
            np.testing.assert_array_equal(found[output], want[output])
    assert {**here.provenance, **there.provenance} == there.provenance
    here.close()
    there.close()


def test_processes_disagree_about_denormals_and_leave_ours_alone(card):
    """Half the sum of two denormals: flushed to 0 by one process, kept by the other."""
    pytest.importorskip("onnxruntime")
    source = denormal_model(card())
    x = {"x": np.full((1, 4), 1e-40, np.float32)}
    for denormals, want in (("flush", 0), ("keep", 1e-40)):
        engine = isolated("ort-fp32", source, options={"denormals": denormals, "threads": 1})
        np.testing.assert_allclose(engine.infer(x)["y"], np.full((1, 4), want, np.float32), rtol=1e-4)
        engine.close()
    assert not flushed()


def denormal_model(source):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in ("x", "y")]
    one = numpy_helper.from_array(np.ones((1, 4), np.float32), "one")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "one"], ["y"])], "g", value[:1], value[1:], [one])
    path = source.root / "denormal.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return ModelSource("denormal", source.root, (TensorSpec("x", (1, 4)),), ("y",), onnx=path, cache=source.cache)


def test_options_of_the_card_go_with_the_model(shared_cards):
    of_card = {"ort-fp32": {"threads": 1, "denormals": "keep"}, "trt-fp16": {"profiles": {"batch": [1, 1, 8]}}}
    source = replace(shared_cards("Lanes"), options=of_card)
    engine = isolated("ort-fp32", source)
    assert (engine.provenance["threads"], engine.provenance["denormals"]) == (1, "keep")
    engine.close()
    with pytest.raises(EngineOptionError, match="no option 'tread'"):
        isolated("ort-fp32", replace(source, options={"ort-fp32": {"tread": 1}}))
