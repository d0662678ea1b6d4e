from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engines
from engines.dumps import Dump
from engines.errors import EngineCrashed, EngineOutputMissing, RecordingError, RecordingGap
from engines.protocol import CaseContext, ModelSource

MS = 1_000_000
TIMES = [100 * MS, 150 * MS, 200 * MS, 300 * MS]


@pytest.fixture
def source(tmp_path):
    return ModelSource("model", tmp_path, (), ("lines", "prob"))


def frame(time_ns):
    return {"lines": np.full((1, 2), time_ns / MS, np.float32), "prob": np.array([time_ns % 7], np.float16)}


def write_frames(folder, times=TIMES):
    folder.mkdir(parents=True, exist_ok=True)
    for time_ns in times:
        np.savez(folder / f"{time_ns}.npz", **frame(time_ns))
    return folder


def write_stacked(path, times=TIMES):
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [frame(t) for t in times]
    stacked = {name: np.stack([f[name] for f in frames]) for name in frames[0]}
    np.savez_compressed(path, timestamp_ns=np.array(times), **stacked)
    return path


def opened(source, place, tolerance_ns=10 * MS, name="recorded"):
    engine = engines.open(name, source)
    engine.start_case(CaseContext("drive", place, {"car": (place, tolerance_ns)}))
    return engine


def at(engine, time_ns):
    engine.seek(time_ns)
    return engine.infer({})


@pytest.mark.parametrize("layout", ["frames", "stacked", "both"])
def test_every_layout_gives_the_frame_nearest_in_time(source, tmp_path, layout):
    place = tmp_path / "dump"
    if layout == "frames":
        write_frames(place)
    elif layout == "stacked":
        write_stacked(place / "all.npz", TIMES[::-1])
    else:
        write_frames(place, TIMES[:1])
        write_stacked(place / "b.npz", TIMES[1:2])
        write_stacked(place / "a.npz", TIMES[2:])
    engine = opened(source, place)
    for time_ns, nearest in ((100 * MS, 100), (109 * MS, 100), (146 * MS, 150), (310 * MS, 300), (205 * MS, 200)):
        outputs = at(engine, time_ns)
        assert (outputs["lines"] == nearest).all()
        assert list(outputs) == ["lines", "prob"]
        assert outputs["prob"].dtype == np.float32
        assert outputs["lines"].shape == (1, 2)


def test_a_single_file_is_a_dump_too(source, tmp_path):
    assert (at(opened(source, write_stacked(tmp_path / "car.npz")), 150 * MS)["lines"] == 150).all()


def test_outside_the_tolerance_there_is_a_gap_and_nothing_else(source, tmp_path):
    engine = opened(source, write_frames(tmp_path / "dump"))
    for time_ns in (0, 111 * MS, 139 * MS, 250 * MS, 311 * MS):
        with pytest.raises(RecordingGap, match=r"ms away, tolerance 10\.000 ms"):
            at(engine, time_ns)
    assert (at(engine, 110 * MS)["lines"] == 100).all(), "a gap must not stop the frames after it"


@given(times=st.lists(st.integers(0, 2**62), min_size=1, max_size=20, unique=True), moment=st.integers(0, 2**62))
def test_nearest_is_what_a_slow_search_finds(tmp_path_factory, times, moment):
    place = tmp_path_factory.mktemp("dump") / "all.npz"
    np.savez(place, timestamp_ns=np.array(times, np.int64), y=np.arange(len(times)))
    dump = Dump(place, ["y"])
    position, gap_ns = dump.nearest(moment)
    best = min(times, key=lambda t: (abs(t - moment), t))
    assert gap_ns == abs(best - moment)
    assert dump.read(position)["y"] == times.index(best)


def test_outputs_are_not_overwritten(source, tmp_path):
    engine = opened(source, write_stacked(tmp_path / "car.npz"))
    first = at(engine, 100 * MS)
    first["lines"][:] = -1
    assert (at(engine, 100 * MS)["lines"] == 100).all()


def test_the_dump_is_chosen_by_name_or_is_the_only_one(source, tmp_path):
    one, two = write_frames(tmp_path / "one", [100]), write_frames(tmp_path / "two", [200])
    context = CaseContext("drive", tmp_path, {"one": (one, 5), "two": (two, 5)})
    named = engines.open("recorded:two", source)
    named.start_case(context)
    assert at(named, 200)
    with pytest.raises(RecordingError, match="2 dumps") as caught:
        engines.open("recorded", source).start_case(context)
    assert "'recorded:one'" in caught.value.remedy
    with pytest.raises(RecordingError, match="no dump 'three'"):
        engines.open("recorded:three", source).start_case(context)
    with pytest.raises(RecordingError, match="no dump in the case"):
        engines.open("recorded", source).start_case(CaseContext("drive", tmp_path))
    with pytest.raises(EngineCrashed, match="no case"):
        at(engines.open("recorded", source), 0)


def bad_dump(folder, kind):
    path = write_stacked(folder / "car.npz")
    arrays = dict(np.load(path))
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:300])
    elif kind == "garbage":
        path.write_bytes(b"\x80\x04garbage" * 50)
    elif kind == "damaged":
        data = bytearray(path.read_bytes())
        data[120:160] = bytes(40)
        path.write_bytes(data)
    elif kind == "pickled":
        np.savez(path, **{**arrays, "timestamp_ns": np.array([{}, 1], object)})
    elif kind == "untimed":
        np.savez(path, lines=arrays["lines"])
    elif kind == "float times":
        np.savez(path, **{**arrays, "timestamp_ns": arrays["timestamp_ns"] / 1e9})
    elif kind == "repeated":
        np.savez(path, **{**arrays, "timestamp_ns": np.array([1, 1, 2, 3])})
    elif kind == "array":
        path = folder / "car.npy"
        np.save(path, arrays["lines"])
    elif kind == "empty":
        path.unlink()
        path = folder
    elif kind == "absent":
        path = folder / "no.npz"
    return path


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("truncated", "no zip archive"),
        ("garbage", "no zip archive"),
        ("damaged", "not readable as .npz"),
        ("pickled", "allow_pickle=False"),
        ("untimed", "no timestamp_ns in it"),
        ("float times", "timestamp_ns is float64"),
        ("repeated", "share a timestamp with another, the first 1"),
        ("array", "no zip archive"),
        ("empty", "no frames in the dump"),
        ("absent", "no such dump"),
    ],
)
def test_a_dump_that_cannot_be_read_is_one_line(source, tmp_path, kind, text):
    place = bad_dump(tmp_path / "dump", kind)
    with pytest.raises(RecordingError) as caught:
        at(opened(source, place), 1)
    assert text in str(caught.value)
    assert str(place) in caught.value.where
    assert "\n" not in str(caught.value)


def test_a_missing_output_names_what_is_there(source, tmp_path):
    for place in (write_frames(tmp_path / "dump"), write_stacked(tmp_path / "car.npz")):
        with pytest.raises(EngineOutputMissing, match="no output 'mask'") as caught:
            at(opened(replace(source, outputs=("lines", "mask")), place), 100 * MS)
        assert "['lines', 'prob']" in caught.value.remedy


def test_arrays_of_another_length_than_the_timestamps(source, tmp_path):
    path = write_stacked(tmp_path / "car.npz")
    arrays = dict(np.load(path))
    np.savez(path, **{**arrays, "prob": arrays["prob"][:-1]})
    with pytest.raises(RecordingError, match="timestamp_ns has 4 frames"):
        at(opened(source, path), 100 * MS)
