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
        (holding({"values": {"array": npy(np.array([Bomb()], object), allow_pickle=True)}}), "allow_pickle=False"),
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
