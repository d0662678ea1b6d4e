"""Dumps of lines in every form: the engine `recorded` gives the same arrays from each."""

import json

import numpy as np
import polars as pl
import pytest

import engines
from engines.errors import RecordingError
from engines.formats.polylines import LENGTHS, LINE_ARRAYS, POINTS, SCORES, SLOTS, TOPOLOGY
from engines.protocol import CaseContext, DumpSpec, ModelSource

SOURCE = ModelSource("model", None, (), ("logits",))  # type: ignore[arg-type]  # no folder is read
FRAMES = {
    1_000_000: [
        {"points": [[1.5, 0.5], [2.5, 1.0], [3.5, 2.0]], "score": 0.75, "slot": 2, "class": 1},
        {"points": [[1, -1], [2, -2]], "closed": True},
    ],
    2_000_000: [],
    3_000_000: [{"points": [[4, 4], [5, 5]]}],
}


def table(frames):
    rows = [(moment, n, line) for moment, lines in frames.items() for n, line in enumerate(lines or [{"points": []}])]
    return pl.DataFrame(
        {
            "timestamp_ns": [moment for moment, _, _ in rows],
            "line": [n for _, n, _ in rows],
            "slot": pl.Series([line.get("slot") for _, _, line in rows], dtype=pl.Int16),
            "class": [line.get("class", 0) for _, _, line in rows],
            "score": [line.get("score", 1.0) for _, _, line in rows],
            "topology": [int(line.get("closed", False)) for _, _, line in rows],
            "x": pl.Series([[float(x) for x, _ in line["points"]] for _, _, line in rows], dtype=pl.List(pl.Float32)),
            "y": pl.Series([[float(y) for _, y in line["points"]] for _, _, line in rows], dtype=pl.List(pl.Float32)),
        }
    )


def arrays_of(lines, frames=1):
    points = np.full((2, 3, 2), np.nan, np.float32)
    given = {"line_scores": np.ones(2), "line_slots": np.full(2, -1), "line_classes": np.zeros(2, int)}
    given["line_topology"] = np.zeros(2, int)
    for k, line in enumerate(lines):
        points[k, : len(line["points"])] = line["points"]
        given["line_scores"][k], given["line_slots"][k] = line.get("score", 1), line.get("slot", -1)
        given["line_classes"][k], given["line_topology"][k] = line.get("class", 0), line.get("closed", False)
    return {"line_points": points, **given}


def write(folder, layout):
    folder.mkdir()
    timed = [{"timestamp_ns": moment, "lines": lines} for moment, lines in FRAMES.items()]
    if layout == "json a frame":
        for moment, lines in FRAMES.items():
            (folder / f"{moment}.json").write_text(json.dumps({"lanes": lines}))
    elif layout == "json":
        (folder / "all.json").write_text(json.dumps({"frames": timed}))
    elif layout == "jsonl":
        (folder / "all.jsonl").write_text("".join(json.dumps(frame) + "\n" for frame in timed))
    elif layout == "parquet":
        table(FRAMES).write_parquet(folder / "lines.parquet")
    elif layout == "npz":
        for moment, lines in FRAMES.items():
            np.savez(folder / f"{moment}.npz", **arrays_of(lines))
    elif layout == "npz stacked":
        parts = [arrays_of(lines) for lines in FRAMES.values()]
        stacked = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
        np.savez(folder / "all.npz", timestamp_ns=np.array(list(FRAMES)), **stacked)
    elif layout == "json beside":
        (folder / "all.json").write_text(json.dumps({"frames": [{"lines": lines} for lines in FRAMES.values()]}))
        (folder / "all.timestamps").write_text("\n".join(map(str, FRAMES)))
    return folder


def started(place, times=()):
    engine = engines.open("recorded", SOURCE)
    engine.start_case(CaseContext("drive", place, {"car": DumpSpec(place, 10)}, times))
    return engine


@pytest.mark.parametrize("layout", ["json a frame", "json", "jsonl", "parquet", "npz", "npz stacked", "json beside"])
def test_every_form_gives_the_same_lines(tmp_path, layout):
    engine = started(write(tmp_path / "car", layout), tuple(FRAMES))
    for moment, lines in FRAMES.items():
        engine.seek(moment)
        found = engine.infer({})
        assert set(found) == set(LINE_ARRAYS)
        assert found[POINTS].shape == (2, 3, 2), "frames must be alike to be stacked"
        assert found[LENGTHS].tolist() == [len(line["points"]) for line in lines] + [0] * (2 - len(lines))
        for k, line in enumerate(lines):
            assert found[POINTS][k, : len(line["points"])].tolist() == line["points"]
            assert found[SCORES][k] == line.get("score", 1)
            assert found[SLOTS][k] == line.get("slot", -1)
            assert found[TOPOLOGY][k] == line.get("closed", False)


def test_bare_lists_and_rows_of_heights_are_lines_too(tmp_path):
    (tmp_path / "1.json").write_text('{"lines": [[[1, 2], [3, 4]]]}')
    (tmp_path / "2.json").write_text('{"lanes": [[10, 20, -2], [-2, -2, -2]], "h_samples": [100, 110, 120]}')
    engine = started(tmp_path)
    engine.seek(1)
    assert engine.infer({})[POINTS][0].tolist() == [[1, 2], [3, 4]]
    engine.seek(2)
    assert engine.infer({})[POINTS][0].tolist() == [[10, 100], [20, 110]]
    assert engine.infer({})[LENGTHS].tolist() == [2]


def test_a_point_that_is_no_number_stays_one_while_padding_does_not_count(tmp_path):
    (tmp_path / "1.json").write_text('{"lines": [[[1, 2], [NaN, 4], [5, 6]], [[1, 2], [3, 4]]]}')
    engine = started(tmp_path)
    engine.seek(1)
    points = engine.infer({})[POINTS]
    assert np.argwhere(~np.isfinite(points)).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"lines": 3}', "no lines"),
        ('{"lines": [[1, 2, 3]]}', "no lines"),
        ('{"lines": [{"score": 1}]}', "no lines"),
        ('{"lines": [[["a", "b"]]]}', "no lines"),
    ],
)
def test_lines_in_another_form_are_one_line_of_error(tmp_path, text, said):
    (tmp_path / "1.json").write_text(text)
    with pytest.raises(RecordingError, match=said) as caught:
        started(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_table_without_points_is_one_line_of_error(tmp_path):
    pl.DataFrame({"timestamp_ns": [1], "u": [2.0]}).write_parquet(tmp_path / "lines.parquet")
    with pytest.raises(RecordingError, match="no column 'x'"):
        started(tmp_path)
