"""The picture beside the verdict."""

from __future__ import annotations

import numpy as np

from harness.report.first_picture import first_picture

PICTURE = {"src": "data:image/jpeg;base64,AA", "width": 640, "height": 360, "camera": "front", "lossy": False}


def line(rung: int, *points: tuple[float, float]) -> dict:
    return {"rung": rung, "track": 1, "pixels": np.array(points)}


def frame(rung: int, lines: list[dict], picture: dict | None = PICTURE, label: str = "bend") -> dict:
    facts = {"label": label, "value": "0.5 m", "case": "tunnel", "frame": 7, "rung_name": f"rung {rung}"}
    return {"rung": rung, "track": 1, "lines": lines, "picture": picture, **facts}


STRAIGHT, BENT = ((1.0, 2.0), (3.0, 4.0)), ((1.0, 2.0), (9.0, 4.0), (np.nan, 1.0))


def test_it_shows_the_reference_and_the_rung_of_the_worst_frame_with_a_picture():
    lines = [line(0, *STRAIGHT), line(2, *BENT), line(1, *STRAIGHT)]
    shown = first_picture([frame(2, lines, picture=None), frame(2, lines, label="kink")], reference=0)
    assert shown["caption"] == "kink 0.5 m, tunnel, frame 7"
    assert shown["lines"] == [(True, "1.0,2.0 3.0,4.0"), (False, "1.0,2.0 9.0,4.0")]
    assert (shown["src"], shown["rung_name"]) == (PICTURE["src"], "rung 2")


def test_there_is_none_where_no_line_of_the_rung_is_drawn():
    assert first_picture([], 0) is None
    assert first_picture([frame(2, [line(0, *STRAIGHT), {"rung": 2, "track": 1}])], 0) is None
    assert first_picture([frame(0, [line(0, *STRAIGHT)])], 0) is None


def test_a_frame_whose_line_is_drawn_goes_before_one_whose_line_is_not():
    other = line(2, *STRAIGHT) | {"track": 0}
    frames = [frame(2, [other], label="non-finite output"), frame(2, [other, line(2, *BENT)])]
    assert first_picture(frames, 0)["caption"].startswith("bend")
    assert first_picture(frames[:1], 0)["caption"].startswith("non-finite")
