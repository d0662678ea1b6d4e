"""The picture beside the verdict."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from cases.case import open_case
from cases.synth import write_synth_case
from harness.ladder import explain
from harness.report import write_report
from harness.report.clip import lines_of_case
from harness.report.draw import project
from harness.report.first_picture import first_picture
from harness.report.headline import worst_finding
from harness.report.select import frames_of
from harness.run.facts import read_facts
from harness.run.recordings import Recordings
from tests.harness.report.fixture_run import Shape, make_run


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    case = write_synth_case(3, 1.0, folder / "cases", fps=20.0)
    run = make_run(folder / "run", Shape(cases=1, rungs=3, frames=20), case_paths=[case])
    worst = worst_finding(explain(run))
    text = write_report(run).read_text(encoding="utf-8")
    return run, case, worst, text[text.index('<figure class="first">') : text.index('<figcaption id="first-caption">')]


def points(text: str, kind: str, *, corner: bool = False) -> list[np.ndarray]:
    found = re.findall(rf'class="{kind}" points="([^"]*)"', text.split('<span class="inset">')[corner])
    return [np.array([p.split(",") for p in one.split()], float) for one in found]


def test_it_is_the_frame_of_the_worst_finding_with_its_rung_s_lines(shown):
    run, case, worst, text = shown
    assert f'data-go-frame="{worst.frame}"' in text
    rows = run.read("lines").filter(frame=worst.frame)
    lab = {row["track"]: row for row in rows.filter(rung="train/torch-fp32").iter_rows(named=True)}
    times = drawn_times(text)
    for kind, rung in (("lab", "train/torch-fp32"), ("car", worst.rung)):
        for corner, larger in ((False, times), (True, 1)):
            drawn = points(text, kind, corner=corner)
            assert len(drawn) == 3
            for one, row in zip(drawn, rows.filter(rung=rung).sort("line").iter_rows(named=True), strict=True):
                x, y = (np.array(row[axis], float) for axis in "xy")
                there = lab[row["track"]]
                y += (larger - 1) * (y - np.interp(x, there["x"], there["y"]))
                expected = project(np.stack([x, y], axis=1), open_case(case).calibration("front"))
                assert one == pytest.approx(expected, abs=0.01)


def drawn_times(text: str) -> int:
    """How much larger differences are drawn, as the label says."""
    return int(next(iter(re.findall(r"<text[^>]*>[^<]*drawn ×(\d+)</text>", text)), 1))


def test_the_gap_that_is_drawn_is_as_wide_as_the_finding_says(shown):
    _, case, worst, text = shown
    assert worst.measure == "bend"
    (gap,) = points(text, "mark-gap", corner=True)
    # both ends lie at one station: their distance on the ground is the number
    camera = open_case(case).calibration("front")
    grid = [(x, y) for x in np.linspace(40, 80, 161) for y in np.linspace(-8, 8, 3201)]
    pixels = project(np.array(grid), camera)
    ends = [grid[int(np.abs(pixels - end).sum(axis=1).argmin())] for end in gap]
    assert ends[0][0] == pytest.approx(ends[1][0], abs=1.0)
    assert abs(ends[0][1] - ends[1][1]) == pytest.approx(worst.value, rel=0.1)


def test_a_small_gap_is_shown_again_larger(shown):
    assert re.search(r'<span class="inset">.*×\d+</small>', shown[3], re.S)


def test_there_is_none_where_there_is_neither_picture_nor_pixels(tmp_path):
    text = write_report(make_run(tmp_path, Shape(cases=1, rungs=3))).read_text(encoding="utf-8")
    assert '<figure class="first">' not in text
    image = write_report(make_run(tmp_path / "i", Shape(cases=1, rungs=3, frame="image"))).read_text(encoding="utf-8")
    assert '<rect class="blank"' in image


def test_no_two_elements_of_the_page_share_an_id(shown):
    run = shown[0]
    page = (run.path / "report.html").read_text(encoding="utf-8").partition('<script type="application/json"')[0]
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("gap_m", "times"), [(0.02, 20), (0.2, 5), (1.6, 1)])
def test_a_gap_too_small_to_be_seen_is_drawn_larger_and_the_label_says_so(shown, gap_m, times):
    """At 20 m beside line 0; drawn it is so many times as wide as it is, and a large one is as it is."""
    run, _, worst, _ = shown
    line = run.read("lines").filter(frame=worst.frame, rung="train/torch-fp32", track=worst.track).row(0, named=True)
    y = float(np.interp(20.0, line["x"], line["y"]))
    picture = drawn(shown, [[20.0, y], [20.0, y + gap_m]])
    assert picture["times"] == times
    assert (f"drawn ×{times}" in picture["badge"]) == (times > 1)
    wide, true = (np.ptp(pixels_of(part["strokes"])[:, 0]) for part in (picture, picture["true"]))
    assert wide == pytest.approx(times * true, rel=0.02)
    assert wide >= 0.03 * 640 or times == 20


def test_what_is_no_finding_is_drawn_as_it_is(shown):
    picture = drawn(shown, [[20.0, 0.0], [20.0, 0.02]], sentence="")
    assert (picture["times"], picture["badge"]) == (1, "1 bend")


def pixels_of(strokes) -> np.ndarray:
    return np.array([p.split(",") for p in strokes[0][1].split()], float)


def drawn(shown, gap, **told):
    """The picture of the worst finding, with its gap elsewhere on the ground."""
    run, _, worst, _ = shown
    facts = read_facts(run.meta)
    found = replace(frames_of([worst])[0], **told)
    rows = lines_of_case(run, found.case, facts.ladder)
    mark = {"strokes": [("gap", gap)], "at": gap[1]}
    view = {"mark": mark, "badge": "1 bend", "case": found.case, "frame": found.frame, "index": 0}
    return first_picture(found, view, rows, facts, Recordings(run.meta, run.path))


@pytest.mark.parametrize(
    ("gap", "said", "sides"),
    [
        ([[20.0, 12.0], [20.0, 13.0]], "what is measured lies outside the picture (left)", (1, 0, 0, 0)),
        ([[20.0, -12.0], [20.0, -13.0]], "what is measured lies outside the picture (right)", (0, 0, 1, 0)),
        ([[6.0, -12.0], [6.0, -13.0]], "what is measured lies outside the picture (right)", (0, 0, 0, 0)),
        ([[-3.0, 0.0], [-2.0, 0.0]], "what is measured lies behind the camera", (0, 0, 0, 0)),
        ([[30.0, 0.0], [30.0, 0.4]], "", (0, 0, 0, 0)),
    ],
    ids=["left", "right", "far right", "behind", "seen"],
)
def test_what_lies_outside_the_picture_has_ground_and_is_said(shown, gap, said, sides):
    picture = drawn(shown, gap)
    assert picture["note"].rpartition("; ")[2] == said or not said
    assert ("what is measured lies" in picture["note"]) == bool(said)
    left, top, wide, high = picture["box"]
    grown = (left < -0.5, top < -0.5, left + wide > 639.5, top + high > 359.5)
    assert grown == tuple(map(bool, sides))
    if any(sides):
        points = pixels_of(picture["strokes"])
        assert ((points > (left, top)) & (points < (left + wide, top + high))).all(axis=1).all()
        label = picture["label"]
        assert left <= label["u"] <= left + wide - label["width"] * label["scale"]


def test_the_number_stands_where_it_hides_no_line(shown):
    picture = drawn(shown, [[30.0, 0.0], [30.0, 0.4]])
    label = picture["label"]
    low = np.array([label["u"], label["v"]])
    high = low + np.array([label["width"], 24]) * label["scale"]
    lines = [np.array([p.split(",") for p in text.split()], float) for _, text in picture["lines"]]
    assert not any(((line > low) & (line < high)).all(axis=1).any() for line in lines)
