import numpy as np
import pytest

from engines.formats.polylines import frame_arrays, padded
from harness.errors import DecoderError
from harness.lines.decode.recorded import RecordedLines


def outputs(*frames, lines=4, points=5):
    parts = [padded(frame_arrays({"lines": list(frame)}, "here"), lines, points) for frame in frames]
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]}


def test_logged_lines_come_out_as_they_were_logged():
    near = {"points": [[1, 0.5], [2, 0.6], [3, 0.7]], "score": 0.5, "slot": 3, "class": 2}
    loop = {"points": [[9, 0], [5, 1], [7, 2]], "closed": True}
    table = RecordedLines("vehicle").decode(outputs([near, loop], [], [near]))
    assert table.frame.tolist() == [0, 0, 2]
    assert table.points(0).tolist() == np.float32([[1, 0.5], [2, 0.6], [3, 0.7]]).tolist()
    assert table.points(1).tolist() == [[9, 0], [5, 1], [7, 2]]
    assert table.slot.tolist() == [3, -1, 3]
    assert table.category.tolist() == [2, 0, 2]
    assert table.score.tolist() == [0.5, 1, 0.5]
    assert table.topology.tolist() == [0, 1, 0]


@pytest.mark.parametrize(("frame", "near_first"), [("vehicle", [[1, 9], [2, 5]]), ("image", [[2, 60], [3, 10]])])
def test_open_lines_are_turned_to_run_from_near_to_far(frame, near_first):
    for logged in (near_first, near_first[::-1]):
        assert RecordedLines(frame).decode(outputs([logged])).points(0).tolist() == near_first


def test_a_line_of_one_point_or_with_a_point_that_is_no_number_is_none():
    table = RecordedLines("vehicle").decode(outputs([[[1, 2]], [[1, 2], [float("nan"), 3], [4, 5]], [[1, 1], [2, 2]]]))
    assert [table.points(0).tolist()] == [[[1, 1], [2, 2]]]
    assert len(table) == 1


def test_a_threshold_drops_lines():
    lines = [{"points": [[1, 1], [2, 2]], "score": s} for s in (0.2, 0.9)]
    assert RecordedLines("vehicle", 0.5).decode(outputs(lines)).score.tolist() == [np.float32(0.9)]


def test_tensors_are_no_lines():
    with pytest.raises(DecoderError, match="no lines in the outputs"):
        RecordedLines("vehicle").decode({"logits": np.zeros((1, 2))})
