import base64
import io
import json
import pickle

import numpy as np
import pytest

from engines.errors import RecordingError
from engines.formats.polygraphy import Iteration, read_runs, write_runs


def frames(count=3):
    random = np.random.default_rng(0)
    for _ in range(count):
        lines = random.standard_normal((1, 2, 3)).astype(np.float32)
        lines[0, 0, 0] = np.nan
        yield Iteration({"lines": lines, "mask": lines.argmax(-1), "prob": lines[0, 0].astype(np.float16)}, 0.25)


def test_what_is_written_is_read_back_bit_for_bit(tmp_path):
    write_runs(tmp_path / "r.json", "trt-fp16", frames())
    runs = read_runs(tmp_path / "r.json")
    assert list(runs) == ["trt-fp16"]
    for got, want in zip(runs["trt-fp16"], frames(), strict=True):
        assert got.runtime_s == 0.25
        assert list(got.outputs) == list(want.outputs)
        for name, array in want.outputs.items():
            assert got.outputs[name].dtype == array.dtype
            assert got.outputs[name].tobytes() == array.tobytes()


def test_a_run_without_iterations_or_times(tmp_path):
    write_runs(tmp_path / "r.json", "a", [])
    assert read_runs(tmp_path / "r.json") == {"a": []}
    write_runs(tmp_path / "r.json", "a", [Iteration({})])
    assert read_runs(tmp_path / "r.json")["a"][0].runtime_s is None


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return base64.b64encode(stream.getvalue()).decode()


def holding(value):
    iteration = {"outputs": {"lines": value}, "runtime": None, "runner_name": "r"}
    return {"lst": [["r", [iteration]]], "polygraphy_class": "RunResults"}


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (holding({"values": {"tensor": base64.b64encode(pickle.dumps(Bomb())).decode()}}), "is a torch tensor"),
        (holding({"tensor": "", "polygraphy_class": "Tensor"}), "is a torch tensor"),
        (
            holding({"values": {"array": npy(np.array([Bomb()], object), allow_pickle=True)}}),
            "Python objects, which are pickles",
        ),
        (holding({"values": {"array": base64.b64encode(pickle.dumps(Bomb())).decode()}}), "no .npy"),
        (holding({"values": {"array": npy(np.ones(100))[:200]}}), "no .npy"),
        (holding({"values": {"array": "*not base64*"}}), "no .npy"),
        (holding({"values": {"polygraphy_class": "FormattedArray"}}), "holds no array"),
        (holding(3), "another form"),
        ({"lst": [["r", 3]], "polygraphy_class": "RunResults"}, "another form"),
        ({"polygraphy_class": "RunResults"}, "another form"),
        ({"lst": []}, "no RunResults"),
        ([1], "no RunResults"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_no_pickle_is_opened(tmp_path, content, text):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(content))
    with pytest.raises(RecordingError) as caught:
        read_runs(path)
    assert text in str(caught.value)
    assert str(path) in caught.value.where
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_one_line(tmp_path):
    path = tmp_path / "r.json"
    write_runs(path, "r", frames())
    path.write_text(path.read_text()[:500])
    with pytest.raises(RecordingError, match="not readable as Polygraphy JSON"):
        read_runs(path)


def latin(array, save):
    stream = io.BytesIO()
    save(stream, array)
    return stream.getvalue().decode("latin-1")


def old_form(array_text):
    """RunResults as Polygraphy 0.27 to 0.29 writes it: the class is a key of its own."""
    mark = "polygraphy_serialized_json_type"
    array = {"array": array_text, "__polygraphy_encoded_ndarray": mark}
    lazy = {"values": array, "__polygraphy_encoded_LazyNumpyArray": mark}
    iteration = {"outputs": {"lines": lazy}, "runtime": 0.5, "runner_name": "r"}
    return {
        "lst": [["r", [{**iteration, "__polygraphy_encoded_IterationResult": mark}]]],
        "__polygraphy_encoded_RunResults": mark,
    }


@pytest.mark.parametrize("kind", ["npz", "npy", "base64"])
def test_files_of_older_versions_are_read(tmp_path, kind):
    array = np.random.default_rng(0).standard_normal((1, 2, 33)).astype(np.float32)
    text = {"npz": latin(array, np.savez), "npy": latin(array, np.save), "base64": npy(array)}[kind]
    (tmp_path / "r.json").write_text(json.dumps(old_form(text)))
    runs = read_runs(tmp_path / "r.json")
    assert runs["r"][0].runtime_s == 0.5
    assert runs["r"][0].outputs["lines"].tobytes() == array.tobytes()


def test_an_old_archive_with_objects_is_not_opened(tmp_path):
    text = latin(np.array([Bomb()], object), np.savez)
    (tmp_path / "r.json").write_text(json.dumps(old_form(text)))
    with pytest.raises(RecordingError, match="Python objects, which are pickles"):
        read_runs(tmp_path / "r.json")


def test_two_runs_of_one_runner_are_told_apart(tmp_path):
    content = old_form(npy(np.zeros(1)))
    content["lst"].append(["r", []])
    (tmp_path / "r.json").write_text(json.dumps(content))
    assert {name: len(found) for name, found in read_runs(tmp_path / "r.json").items()} == {"r": 1, "r#2": 0}
