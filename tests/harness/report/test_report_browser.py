"""The report in a real browser: what a reader clicks, what changes, and a console that stays empty."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from cases.case import open_case
from cases.synth import write_synth_case
from harness.feed.preprocess.colour import to_rgb_u8
from harness.ladder import explain
from harness.report import write_report
from harness.report.budget import most_bytes
from harness.report.draw import project
from tests.harness.report.browser import LEFT, RIGHT, Page, chromium
from tests.harness.report.fixture_run import Shape, make_run

pytestmark = pytest.mark.reports

FRAMES = 64


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    yield from chromium(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    case = write_synth_case(3, FRAMES / 20, folder / "cases", fps=20.0)
    run = make_run(folder / "run", Shape(cases=2, rungs=4, frames=FRAMES), case_paths=[case])
    verdict = {"verdict": "FAIL", "policy": {"name": "release"}, "rules": []}
    return run, case, write_report(run, verdict=verdict, explanation=explain(run))


@pytest.fixture
def page(browser, written):
    """The report at its first finding."""
    page = Page(browser).open(written[2])
    yield page
    assert page.console == []


def test_the_verdict_and_its_picture_are_what_one_sees_first(page):
    assert page.run("return document.querySelector('h1').innerText").endswith("FAIL")
    assert page.run("return document.querySelector('h1').getBoundingClientRect().top") < 200
    assert page.run("return document.querySelector('.first svg').getBoundingClientRect().bottom") < 900


def test_sixty_frames_after_one_another_show_their_own_picture_and_lines(page, written):
    """Each frame: its recorded picture and no other's, and every line of lines.parquet on its pixels."""
    run, folder, _ = written
    case = open_case(folder)
    camera = case.calibration("front")
    ticks = {t.frame: to_rgb_u8(t.pictures["front"]).astype(np.float32) for t in case.ticks()}
    rows = run.read("lines").filter(case="highway_curve")
    page.run("Player.go({id: 'highway_curve', frame: 0})")
    page.settled()
    rungs = page.run("return DATA.rungs.map(r => [r.name, r.colour === 'ink' ? '#ffffff' : r.colour])")
    for frame in range(60):
        alone = frame % len(rungs)  # lines lie over one another: one rung at a time
        page.run("Player.show(new Set([arguments[0]]))", alone)
        shown = page.settled().canvas().astype(np.float32)
        assert page.run("return document.getElementById('picture').dataset.frame") == str(frame)
        small = cv2.resize(shown, (640, 360), interpolation=cv2.INTER_AREA)
        gaps = {f: np.abs(small[200:] - ticks[f][200:]).mean() for f in range(max(0, frame - 2), frame + 3)}
        assert min(gaps, key=gaps.get) == frame
        name, colour = rungs[alone]
        ink = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float32)
        scale = shown.shape[1] / 640
        for row in rows.filter(frame=frame, rung=name).iter_rows(named=True):
            pixels = project(np.stack([row["x"], row["y"]], axis=1).astype(float), camera)
            inside = pixels[(pixels > 2).all(axis=1) & (pixels < (637, 357)).all(axis=1)]
            at = np.rint((inside + 0.5) * scale - 0.5).astype(int)
            found = [np.abs(shown[v - 1 : v + 2, u - 1 : u + 2] - ink).max(axis=2).min() for u, v in at]
            assert max(found) < 60, (frame, name, max(found))
        page.press(RIGHT)


def test_the_page_projects_as_opencv_does(page):
    points = np.array([[x, y] for x in (4.0, 12.0, 40.0, 80.0) for y in (-6.0, -1.5, 0.3, 5.0)])
    base = page.run("return (async () => (await Clips.open('highway_curve')).projection)()")
    pose = np.linalg.inv(np.vstack([np.reshape(base["camera"], (3, 4)), [0, 0, 0, 1]]))
    from cases.case import Calibration

    for model, distortion in (
        ("none", []),
        ("opencv", [-0.2, 0.05, 0.001, -0.002, 0.01]),
        ("opencv", [0.1, -0.1, 0, 0, 0.01, 0.2, -0.1, 0.05, 1e-3, 1e-4, -1e-3, 1e-4]),
        ("fisheye", [0.05, -0.01, 0.002, 0.0]),
    ):
        camera = Calibration(640, 360, np.reshape(base["K"], (3, 3)), model, np.array(distortion, float), pose)
        told = base | {"model": model, "D": distortion}
        drawn = page.run("return toPixels(arguments[0], arguments[1], arguments[2])", told, *points.T.tolist())
        assert np.array(drawn) == pytest.approx(project(points, camera), abs=1e-3)


def test_a_case_whose_recording_is_gone_shows_its_lines_and_says_so(page):
    page.click("#case-table tr[data-case=rain_at_dusk] .link")
    assert "rain_at_dusk" in page.text("frame-text")
    assert page.text("picture-note").startswith("no picture: no such case folder")
    assert page.run("return document.getElementById('picture').dataset.pictured") == "false"
    assert np.ptp(page.canvas("above").reshape(-1, 3), axis=0).max() > 50


def test_a_row_opens_its_own_worst_finding_in_its_own_band(page):
    told = page.run("return DATA.findings.find(f => f.case === 'rain_at_dusk')")
    page.click("#case-table tr[data-case=rain_at_dusk] .link")
    assert page.text("where").startswith(f"frame {told['frame']},")
    assert page.run("return document.getElementById('band').value") == told["band"]
    assert page.run("return Number(document.getElementById('track').value)") == told["track"]


def test_keys_step_and_play_moves_on(page):
    first = page.run("return Player.state.at")
    assert page.press(RIGHT).run("return Player.state.at") == first + 1
    assert page.press(LEFT).run("return Player.state.at") == first
    page.run("Player.seek(0)")
    page.click("#play")
    page.run("return new Promise(go => setTimeout(go, 900))")
    page.click("#play")
    assert page.run("return Player.state.at") > 3


def test_a_rung_can_be_switched_off_everywhere(page):
    traces = "return document.querySelectorAll('#time-offset .trace').length"
    before, picture = page.run(traces), page.canvas()
    page.click(f"#chips [data-rung='{page.run('return Player.state.rung')}']")
    assert page.run(traces) == before - 1
    assert np.abs(page.canvas().astype(int) - picture).sum() > 0


def test_errors_are_drawn_larger_about_the_reference_and_zoomed_to(page):
    once = page.run("return drawn({...Player.sceneNow(), times: 1}).lines.map(l => Array.from(l.shown.y))")
    five = page.run("return drawn({...Player.sceneNow(), times: 5}).lines.map(l => Array.from(l.shown.y))")
    names = page.run("return drawn({...Player.sceneNow(), times: 1}).lines.map(l => [l.rung, l.track])")
    reference = {track: np.array(y) for (rung, track), y in zip(names, once, strict=True) if rung == 0}
    for (_, track), small, large in zip(names, once, five, strict=True):
        gap = np.array(small) - reference[track]
        assert np.array(large) - reference[track] == pytest.approx(5 * gap, abs=1e-9)
    page.click("#times [data-times='20']")
    assert "× 20" in page.text("picture-note")
    whole = page.run("return Camera.view.box()[2]")
    page.click("#zoom-error")
    assert page.run("return Camera.view.box()[2]") < whole
    page.click("#zoom-reset")
    assert page.run("return Camera.view.box()[2]") == whole


def test_what_lies_outside_the_picture_is_said_and_zoomed_to(page):
    """A finding whose gap is moved to the left of what the camera sees."""
    index = page.run(
        "const f = DATA.findings.find(f => f.case === 'highway_curve' && f.mark.strokes.some(s => s[0] === 'gap'));"
        " for (const [, points] of f.mark.strokes) for (const p of points) { p[0] = 15; p[1] += 14; }"
        " f.mark.at[0] = 15; f.mark.at[1] += 14; return f.index"
    )
    page.run("Player.choose(arguments[0])", index)
    assert "outside the picture (left): zoom to the error" in page.settled().text("picture-note")
    page.click("#zoom-error")
    assert page.run("return Camera.view.box()[0]") < -0.5
    mark = np.array([int(v) for v in page.run("return colour('mark')").strip("rgb()").split(",")])
    assert (np.abs(page.canvas().astype(int) - mark).max(axis=2) < 8).sum() > 20
    page.click("#zoom-reset")
    assert page.run("return Camera.view.box()[0]") == -0.5


def test_a_click_on_a_timeline_goes_to_that_frame_and_a_mark_to_its_finding(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    plot = page.browser.find_element(By.CSS_SELECTOR, "#time-bend svg")
    page.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", plot)
    width = plot.rect["width"]
    x = 54 + 0.25 * (width - 64)
    ActionChains(page.browser).move_to_element_with_offset(plot, x - width / 2, 50).click().perform()
    assert page.settled().run("return Player.state.at") == pytest.approx(0.25 * (FRAMES - 1), abs=1)
    mark = page.browser.find_element(By.CSS_SELECTOR, "#time-bend .span path")
    index = page.run("return arguments[0].parentElement.dataset.finding", mark)
    ActionChains(page.browser).move_to_element(mark).click().perform()
    told = page.settled().run("return DATA.findings[Number(arguments[0])].frame", index)
    assert page.run("return Player.state.clip.frames[Player.state.at]") == told


def test_a_link_opens_what_it_names_and_the_address_follows(browser, written):
    page = Page(browser).open(written[2], "#case=rain_at_dusk&frame=17&rung=deploy%2Ftorch-fp32")
    assert page.text("where").startswith("frame 17,")
    assert page.run("return [Player.state.id, DATA.rungs[Player.state.rung].name]") == [
        "rain_at_dusk", "deploy/torch-fp32",
    ]  # fmt: skip
    page.press(RIGHT)
    assert page.run("return location.hash").startswith("#case=rain_at_dusk&frame=18")


def test_cases_are_found_sorted_and_filtered(page):
    seen = (
        "return [...document.querySelectorAll('#case-table tbody tr')].filter(r => !r.hidden).map(r => r.dataset.case)"
    )
    assert len(page.run(seen)) == 2
    page.run("const e = document.getElementById('case-words'); e.value = 'dusk'; e.dispatchEvent(new Event('input'))")
    assert page.run(seen) == ["rain_at_dusk"]
    assert page.text("case-count") == "1 of 2 cases"
    page.run("const e = document.getElementById('case-words'); e.value = ''; e.dispatchEvent(new Event('input'))")
    page.click("#case-table th:nth-child(1) .sort")
    down = page.run(seen)
    page.click("#case-table th:nth-child(1) .sort")
    assert page.run(seen) == down[::-1]


def test_dark_and_light_differ(page):
    page.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    )
    light = page.run("return getComputedStyle(document.body).backgroundColor"), page.canvas("above")[5, 5].tolist()
    page.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    page.settled().run("Player.redraw()")
    assert page.run("return getComputedStyle(document.body).backgroundColor") != light[0]
    assert page.canvas("above")[5, 5].tolist() != light[1]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("width", [800, 1280, 1920])
def test_no_window_scrolls_sideways(page, width):
    page.width(width)
    assert page.run("return document.documentElement.scrollWidth") <= width
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_but_the_file_itself_is_asked_for(page, written):
    page.browser.get_log("performance")
    page.open(written[2]).press(RIGHT)
    asked = [json.loads(entry["message"])["message"] for entry in page.browser.get_log("performance")]
    urls = {m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"}
    assert {u for u in urls if not u.startswith(("data:", "blob:", "about:"))} == {written[2].as_uri()}


def test_every_control_has_a_name_and_every_picture_a_label(page):
    nameless = page.run(
        "return [...document.querySelectorAll('button, select, input')].filter(e => !(e.textContent || e.ariaLabel"
        " || e.closest('label'))).map(e => e.outerHTML)"
    )
    assert nameless == []
    assert page.run("return [...document.querySelectorAll('[role=img]')].filter(e => !e.ariaLabel).length") == 0


@pytest.mark.parametrize(
    "shape",
    [
        Shape(cases=0),
        Shape(cases=1, rungs=1, frames=1),
        Shape(cases=1, rungs=3, frames=1),
        Shape(cases=2, rungs=3, frames=6, frame="image"),
        Shape(cases=3, rungs=12, frames=4, severity=0.01),
    ],
    ids=["no case", "reference only", "one frame", "image frame", "no event"],
)
def test_unusual_runs_leave_the_console_empty(browser, tmp_path: Path, shape):
    page = Page(browser).open(write_report(make_run(tmp_path, shape)))
    assert page.run("return document.querySelector('h1').innerText") == "Not judged"
    page.run("document.querySelector('#case-table .pick')?.click()")
    assert page.settled().console == []


def test_a_run_without_a_finding_opens_on_its_largest_difference_with_a_scale_on_every_axis(browser, tmp_path):
    page = Page(browser).open(write_report(make_run(tmp_path, Shape(cases=1, rungs=8, frames=30, severity=0.01))))
    assert page.text("frame-title")
    shown = page.run("return DATA.rungs[DATA.opens.rung].name")
    pressed = page.run(
        "return [...document.querySelectorAll('#chips [aria-pressed=true]')].map(c => c.innerText.trim())"
    )
    assert {shown, "train/torch-fp32"} <= set(pressed)
    assert page.run("return Number(document.getElementById('track').value)") == page.run("return DATA.opens.track")
    assert page.run("return document.getElementById('band').value") == page.run("return DATA.opens.band")
    counts = page.run(
        "return ['along', 'time-offset', 'time-bend', 'time-swing', 'time-jitter'].map(id => ["
        "document.querySelectorAll(`#${id} polyline.trace`).length,"
        " document.querySelectorAll(`#${id} text.tick[text-anchor=end]`).length])"
    )
    assert all(traces >= 1 and ticks >= 2 for traces, ticks in counts), counts
    assert page.console == []


def test_the_first_view_of_a_hundred_cases_waits_for_no_clip(browser, tmp_path):
    """Median of five: 25 MB of clips stand behind the page's scripts and are unpacked when a case is opened."""
    if os.getloadavg()[0] > 2 * (os.cpu_count() or 1):
        pytest.skip(f"this machine is busy (load {os.getloadavg()[0]:.0f}): a time of it says nothing")
    run = make_run(tmp_path / "run", Shape(cases=100, rungs=3, frames=2, tracks=2))
    file = write_report(run)
    text = file.read_text(encoding="utf-8")
    room = (most_bytes(100) - len(text)) // 100
    filled = text.replace('"pictures":{}', '"pictures":{"-1":"' + "A" * room + '"}')
    file.write_text(filled, encoding="utf-8")
    assert len(filled) > 24_000_000
    page, shown = Page(browser), []
    for _ in range(5):
        page.open(file)
        shown.append(page.run("return performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    assert float(np.median(shown)) < 1000, shown
    assert page.run("return Player.state.clip !== null")
