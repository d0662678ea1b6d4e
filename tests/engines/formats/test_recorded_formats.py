"""One drive's outputs in every format: the engine `recorded` answers the same from each."""

import json

import numpy as np
import pytest

import engines
from engines.dumps import PrecisionLoss
from engines.errors import RecordingError
from engines.formats.packed import write_safetensors
from engines.formats.polygraphy import Iteration, write_runs
from engines.protocol import CaseContext, DumpSpec, ModelSource

TIMES = [1_000_000, 2_000_000, 3_000_000]
SOURCE = ModelSource("model", None, (), ("head/lines", "prob"))  # type: ignore[arg-type]  # no folder is read


def outputs_at(time_ns):
    random = np.random.default_rng(time_ns)
    return {
        "head/lines": random.standard_normal((1, 2, 3)).astype(np.float32),
        "prob": random.random(2, np.float32),
        "other": np.zeros(1, np.int64),
    }


def stacked():
    frames = [outputs_at(t) for t in TIMES]
    return {name: np.stack([f[name] for f in frames]) for name in frames[0]}


def write(folder, layout):
    folder.mkdir()
    if layout == "npz":
        for time_ns in TIMES:
            np.savez(folder / f"{time_ns}.npz", **outputs_at(time_ns))
    elif layout == "safetensors":
        for time_ns in TIMES:
            write_safetensors(folder / f"{time_ns}.safetensors", outputs_at(time_ns))
    elif layout == "safetensors stacked":
        write_safetensors(folder / "all.safetensors", {"timestamp_ns": np.array(TIMES), **stacked()})
    elif layout == "safetensors beside":
        write_safetensors(folder / "all.safetensors", stacked())
    elif layout == "polygraphy":
        for time_ns in TIMES:
            write_runs(folder / f"{time_ns}.json", "trt", [Iteration(outputs_at(time_ns))])
    elif layout == "polygraphy stacked":
        write_runs(folder / "all.json", "trt", (Iteration(outputs_at(t)) for t in TIMES))
    elif layout == "trtexec":
        for time_ns in TIMES:
            entries = [
                {"name": n, "dimensions": "x".join(map(str, a.shape)), "values": [float(f"{v:.6g}") for v in a.ravel()]}
                for n, a in outputs_at(time_ns).items()
            ]
            (folder / f"{time_ns}.json").write_text(json.dumps(entries))
    elif layout == "raw":
        for time_ns in TIMES:
            frame = folder / str(time_ns)
            frame.mkdir()
            for name, array in outputs_at(time_ns).items():
                kind = {"float32": "fp32", "int64": "int64"}[array.dtype.name]
                dims = ".".join(map(str, array.shape))
                (frame / f"{name.replace('/', '_')}.output.{dims}.{kind}.raw").write_bytes(array.tobytes())
    if layout in ("safetensors beside", "polygraphy stacked"):
        (folder / "all.timestamps").write_text("\n".join(map(str, TIMES)) + "\n")
    return folder


def started(place):
    engine = engines.open("recorded", SOURCE)
    engine.start_case(CaseContext("drive", place, {"car": DumpSpec(place, 10)}))
    return engine


def first_outputs(place):
    engine = started(place)
    engine.seek(TIMES[0])
    return engine.infer({})


EXACT = ["npz", "safetensors", "safetensors stacked", "safetensors beside", "polygraphy", "polygraphy stacked", "raw"]


@pytest.mark.parametrize("layout", EXACT)
def test_every_exact_format_gives_the_same_outputs(tmp_path, layout):
    engine = started(write(tmp_path / "car", layout))
    for time_ns in (TIMES[1], TIMES[0], TIMES[2]):
        engine.seek(time_ns)
        found = engine.infer({})
        assert set(found) == {"head/lines", "prob"}
        for name, array in found.items():
            assert (array == outputs_at(time_ns)[name]).all()
            assert array.shape == outputs_at(time_ns)[name].shape
    assert "dump_precision" not in engine.provenance


def test_trtexec_json_is_read_with_a_warning_that_digits_are_lost(tmp_path):
    with pytest.warns(PrecisionLoss, match="six significant digits"):
        engine = started(write(tmp_path / "car", "trtexec"))
    engine.seek(TIMES[0])
    for name, array in engine.infer({}).items():
        np.testing.assert_allclose(array, outputs_at(TIMES[0])[name], rtol=5.1e-6)
    assert "six significant digits" in engine.provenance["dump_precision"]


def spoil(folder, kind):
    frame = folder / f"{TIMES[0]}.json"
    if kind == "bare iterations":
        (folder / "all.timestamps").unlink()
    elif kind == "too few moments":
        (folder / "all.timestamps").write_text("1000000\n2000000\n")
    elif kind == "words for moments":
        (folder / "all.timestamps").write_text("first\n")
    elif kind == "two runners":
        content = json.loads((folder / "all.json").read_text())
        content["lst"].append(["ort", []])
        (folder / "all.json").write_text(json.dumps(content))
    elif kind == "iterations in a frame":
        (folder / "all.json").rename(frame)
    elif kind == "truncated":
        (folder / "all.json").rename(frame)
        frame.write_text(frame.read_text()[:100])
    elif kind == "something else":
        (folder / "all.json").rename(frame)
        frame.write_text('{"a": 1}')
    elif kind == "trtexec without a moment":
        (folder / "all.json").write_text("[]")
        (folder / "all.timestamps").unlink()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("bare iterations", "no timestamp_ns in it"),
        ("too few moments", "timestamp_ns has 2 frames"),
        ("words for moments", "no list of timestamps"),
        ("two runners", "2 runners: ['trt', 'ort']"),
        ("iterations in a frame", "3 iterations that differ in the file of one frame"),
        ("truncated", "not readable as JSON"),
        ("something else", "neither Polygraphy's JSON, nor trtexec's, nor lines"),
        ("trtexec without a moment", "trtexec's JSON holds one frame"),
    ],
)
@pytest.mark.filterwarnings("ignore::engines.dumps.PrecisionLoss")
def test_a_dump_in_another_form_is_one_line(tmp_path, kind, text):
    folder = write(tmp_path / "car", "polygraphy stacked")
    spoil(folder, kind)
    with pytest.raises(RecordingError) as caught:
        first_outputs(folder)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


RUNNERS = ("onnxrt-runner-N0-01/01/26-10:00:00", "trt-runner-N0-01/01/26-10:00:05", "trt-runner-N1-01/01/26-10:00:09")


def write_runners(folder, runners=RUNNERS):
    """One file with the iterations of several runners; the first value says whose they are."""
    folder.mkdir()
    parts = []
    for number, runner in enumerate(runners):
        outputs = [{**outputs_at(t), "prob": np.full(2, number, np.float32)} for t in TIMES]
        write_runs(folder / "part.json", runner, map(Iteration, outputs))
        parts.append(json.loads((folder / "part.json").read_text()))
    (folder / "part.json").unlink()
    merged = {**parts[0], "lst": [part["lst"][0] for part in parts]}
    (folder / "all.json").write_text(json.dumps(merged))
    (folder / "all.timestamps").write_text("\n".join(map(str, TIMES)))
    return folder


@pytest.mark.parametrize(("chosen", "number"), [("onnxrt", 0), ("trt-runner-N0", 1), ("N1", 2), (RUNNERS[1], 1)])
def test_one_of_several_runners_is_chosen_by_a_part_of_its_name(tmp_path, chosen, number):
    place = write_runners(tmp_path / "car")
    asked = [
        (engines.open(f"recorded:car@{chosen}", SOURCE), DumpSpec(place, 10)),
        (engines.open("recorded:car", SOURCE, runner=chosen), DumpSpec(place, 10)),
        (engines.open("recorded:car", SOURCE), DumpSpec(place, 10, runner=chosen)),
    ]
    for engine, spec in asked:
        engine.start_case(CaseContext("drive", place, {"car": spec}, tuple(TIMES)))
        engine.seek(TIMES[1])
        assert engine.infer({})["prob"].tolist() == [number, number]


@pytest.mark.parametrize("wanted", [None, "trt", "cuda"])
def test_several_runners_and_no_choice_is_one_line_with_short_names_and_the_option(tmp_path, wanted):
    place = write_runners(tmp_path / "car")
    engine = engines.open("recorded:car", SOURCE, runner=wanted)
    with pytest.raises(RecordingError, match="3 runners" if wanted is None else f"runners for '{wanted}'") as caught:
        engine.start_case(CaseContext("drive", place, {"car": DumpSpec(place, 10)}))
    for runner in RUNNERS:
        assert runner in caught.value.what
    assert "['onnxrt', 'trt-runner-N0', 'trt-runner-N1']" in caught.value.remedy
    assert "runner = " in caught.value.remedy


def test_repeated_runs_of_one_frame_are_one_where_their_bits_are_equal(tmp_path):
    folder = tmp_path / "car"
    folder.mkdir()
    write_runs(folder / f"{TIMES[0]}.json", "trt", [Iteration(outputs_at(TIMES[0]))] * 3)
    assert (first_outputs(folder)["prob"] == outputs_at(TIMES[0])["prob"]).all()


def test_a_pickle_is_named_and_never_opened(tmp_path):
    (tmp_path / f"{TIMES[0]}.json").write_bytes(b"\x80\x04\x95anything")
    with pytest.raises(RecordingError, match="a pickle") as caught:
        first_outputs(tmp_path)
    assert "to-json" in caught.value.remedy
