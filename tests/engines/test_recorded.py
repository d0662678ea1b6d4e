from dataclasses import replace

import numpy as np
import pytest

import engines
from engines.errors import (
    EngineCrashed,
    EngineOptionError,
    EngineOutputMissing,
    NotRecorded,
    RecordingError,
    RecordingGap,
)
from engines.isolate import isolated
from engines.protocol import CaseContext, DumpSpec, ModelSource

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


def opened(source, place, tolerance_ns=10 * MS, name="recorded", times=()):
    engine = engines.open(name, source)
    engine.start_case(CaseContext("drive", place, {"car": DumpSpec(place, tolerance_ns)}, times))
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


def test_outputs_are_not_overwritten(source, tmp_path):
    engine = opened(source, write_stacked(tmp_path / "car.npz"))
    first = at(engine, 100 * MS)
    first["lines"][:] = -1
    assert (at(engine, 100 * MS)["lines"] == 100).all()


def test_the_dump_is_chosen_by_name_or_is_the_only_one(source, tmp_path):
    one, two = write_frames(tmp_path / "one", [100]), write_frames(tmp_path / "two", [200])
    context = CaseContext("drive", tmp_path, {"one": DumpSpec(one, 5), "two": DumpSpec(two, 5)})
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
        ("pickled", "Python objects, which are pickles"),
        ("untimed", "no timestamp_ns in it"),
        ("float times", "nanoseconds are whole numbers"),
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


def test_times_that_do_not_match_are_refused_with_what_would_explain_them(source, tmp_path):
    case = tuple((1_700_000_000_000 + 50 * k) * MS for k in range(40))
    for late, words in ((37 * MS, "a clock 37 ms late"), (-12 * MS, "a clock 12 ms early")):
        place = write_frames(tmp_path / str(late), [t + late for t in case])
        with pytest.raises(RecordingError, match=f"0 of the case's 40 frames .*40 in the dump.*{words}") as caught:
            opened(source, place, 5 * MS, times=case)
        assert "time_offset_ms" in caught.value.remedy
        assert caught.value.rung_status == "not_run"
    place = write_frames(tmp_path / "ms", [t // MS for t in case])
    with pytest.raises(RecordingError, match='the times look like ms: say time_unit = "ms"'):
        opened(source, place, 5 * MS, times=case)


def test_an_offset_is_taken_away_only_where_someone_says_so(source, tmp_path):
    case = tuple((50 * k) * MS for k in range(40))
    place = write_frames(tmp_path / "late", [t + 37 * MS for t in case])
    for said in (37, 36.5, "estimate"):
        for of_case in (True, False):
            spec = DumpSpec(place, 5 * MS, time_offset_ms=said if of_case else None)
            engine = engines.open("recorded", source, time_offset_ms=None if of_case else said)
            engine.start_case(CaseContext("drive", place, {"car": spec}, case))
            assert (at(engine, case[7])["lines"] == case[7] / MS + 37).all()
            facts = engine.provenance["alignment"]["drive"]
            assert (facts["matched"], facts["frames"]) == (40, 40)
            assert facts["time_offset"] == ("estimated" if said == "estimate" else "given")
            assert facts["time_offset_ms"] == pytest.approx(37, abs=0.6)


@pytest.mark.parametrize(("unit", "suffix"), [("us", ""), ("ms", ""), ("s", ".050")])
def test_the_unit_may_be_said(source, tmp_path, unit, suffix):
    factor = {"us": 1_000, "ms": MS, "s": 10**9}[unit]
    case = tuple(1_700_000_000 * 10**9 + k * 10**9 + (50 * MS if suffix else 0) for k in range(6))
    place = tmp_path / "dump"
    place.mkdir()
    for moment in case:
        np.savez(place / f"{moment // factor}{suffix}.npz", **frame(moment))
    engine = engines.open("recorded", source, time_unit=unit)
    engine.start_case(CaseContext("drive", place, {"car": DumpSpec(place, 0)}, case))
    assert (at(engine, case[3])["lines"] == np.float32(case[3] / MS)).all()
    assert engine.provenance["alignment"]["drive"]["time_unit"] == unit


def test_times_beyond_any_clock_are_refused(source, tmp_path):
    place = write_frames(tmp_path / "dump", [1_700_000_000 * 10**9 + k for k in range(3)])
    engine = engines.open("recorded", source, time_unit="s")
    with pytest.raises(RecordingError, match=r"1.70e\+27 ns is beyond any clock, is time_unit 's' right"):
        engine.start_case(CaseContext("drive", place, {"car": DumpSpec(place, 5)}, (0, 1)))
    with pytest.raises(RecordingError, match="beyond any clock"):
        opened(source, write_frames(tmp_path / "long", [10**21]))


def test_a_wide_tolerance_never_gives_a_neighbours_lines(source, tmp_path):
    case = tuple(50 * k * MS for k in range(20))
    place = write_frames(tmp_path / "dump", [t for t in case if t != case[9]])
    engine = opened(source, place, 60 * MS, times=case)
    with pytest.raises(RecordingGap) as caught:
        at(engine, case[9])
    assert not isinstance(caught.value, NotRecorded)
    assert (at(engine, case[10])["lines"] == 500).all()


def test_what_was_never_to_be_recorded_is_no_gap(source, tmp_path):
    case = tuple(50 * k * MS for k in range(30))
    engine = opened(source, write_frames(tmp_path / "dump", case[6:24:3]), 5 * MS, times=case)
    for k in (0, 5, 7, 8, 22, 29):
        with pytest.raises(NotRecorded):
            at(engine, case[k])
    assert (at(engine, case[9])["lines"] == 450).all()
    facts = engine.provenance["alignment"]["drive"]
    assert (facts["matched"], facts["dropped"], facts["not_recorded"]) == (6, 0, 24)


def test_outputs_are_renamed(source, tmp_path):
    place = tmp_path / "dump"
    place.mkdir()
    np.savez(place / "100.npz", **{"out:0": np.ones((1, 2)), "prob": np.zeros(1)})
    for of_case in (True, False):
        rename = {"out:0": "lines"}
        engine = engines.open("recorded", source, rename={} if of_case else rename)
        spec = DumpSpec(place, 5, rename=rename if of_case else {})
        engine.start_case(CaseContext("drive", place, {"car": spec}))
        assert (at(engine, 100)["lines"] == 1).all()
    with pytest.raises(EngineOutputMissing, match=r"no output 'x', which is to be 'lines'"):
        engine.start_case(CaseContext("drive", place, {"car": DumpSpec(place, 5, rename={"x": "lines"})}))
    with pytest.raises(EngineOutputMissing, match=r"no output 'lines'") as caught:
        opened(source, place)
    assert "rename" in caught.value.remedy


def test_a_batch_axis_that_the_card_declares_is_added(source, tmp_path):
    shaped = replace(source, shapes={"lines": (1, 2, 33), "prob": ("batch", 4)})
    for arrays in ({"lines": (2, 33), "prob": (4,)}, {"lines": (1, 2, 33), "prob": (1, 4)}):
        place = tmp_path / f"of{len(arrays['lines'])}.npz"
        stacked = {name: np.random.default_rng(0).random((5, *shape)) for name, shape in arrays.items()}
        np.savez(place, timestamp_ns=np.arange(5) * 100, **stacked)
        found = at(opened(shaped, place), 300)
        assert found["lines"].shape == (1, 2, 33)
        assert found["prob"].shape == (1, 4)
        assert (found["lines"].ravel() == stacked["lines"][3].ravel()).all()


def test_another_shape_than_declared_is_refused_with_both(source, tmp_path):
    shaped = replace(source, shapes={"lines": (1, 3)})
    with pytest.raises(RecordingError, match=r"output 'lines' is \[1, 2\], the card says \[1, 3\]"):
        opened(shaped, write_frames(tmp_path / "dump"))


def test_what_a_recurrent_model_feeds_back_need_not_be_recorded(source, tmp_path):
    recurrent = replace(source, outputs=("lines", "hidden", "prob"), state={"hidden": "hidden_in"})
    assert list(at(opened(recurrent, write_frames(tmp_path / "dump")), 100 * MS)) == ["lines", "prob"]
    with pytest.raises(EngineOutputMissing, match="no output 'mask'"):
        opened(replace(recurrent, outputs=("mask", "hidden")), write_frames(tmp_path / "dump"))


def test_frames_without_times_are_the_cases_where_they_are_as_many(source, tmp_path):
    place = tmp_path / "all.npz"
    np.savez(place, lines=np.arange(8).reshape(4, 1, 2), prob=np.zeros((4, 1)))
    engine = opened(source, place, times=tuple(TIMES))
    assert at(engine, TIMES[2])["lines"].tolist() == [[4, 5]]
    assert "in order" in engine.provenance["alignment"]["drive"]["notes"][0]
    with pytest.raises(RecordingError, match="4 frames for 3 of the case"):
        opened(source, place, times=tuple(TIMES[:3]))


@pytest.mark.parametrize(
    "options",
    [{"time_unit": "min"}, {"time_offset_ms": "a lot"}, {"time_offset_ms": float("nan")}, {"rename": ["a"]}, {"x": 1}],
)
def test_an_option_it_cannot_take_is_refused(source, options):
    with pytest.raises(EngineOptionError):
        engines.open("recorded", source, **options)


def test_in_a_process_of_its_own_it_says_the_same(source, tmp_path):
    case = tuple(50 * k * MS for k in range(30))
    place = write_frames(tmp_path / "dump", [t for t in case[3:] if t != case[9]])
    engine = isolated("recorded:car", source, timeout_s=60)
    try:
        engine.start_case(CaseContext("drive", place, {"car": DumpSpec(place, 5 * MS)}, case))
        assert not engine.keeps_state
        assert (at(engine, case[5])["lines"] == 250).all()
        for moment, kind in ((case[0], NotRecorded), (case[9], RecordingGap)):
            with pytest.raises(RecordingGap) as caught:
                at(engine, moment)
            assert type(caught.value) is kind
        assert engine.provenance["alignment"]["drive"]["matched"] == 26
        late = tuple(t + 20 * MS for t in case)
        with pytest.raises(RecordingError, match="20 ms early") as caught:
            engine.start_case(CaseContext("drive", place, {"car": DumpSpec(place, 5 * MS)}, late))
        assert caught.value.rung_status == "not_run"
        assert "[outputs.car]" in caught.value.remedy
    finally:
        engine.close()
