"""The report in a real browser: what a reader clicks, what changes, and a console that stays empty."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cases.synth import write_synth_case
from harness.ladder import explain
from harness.report import write_report
from tests.harness.report.fixture_run import Shape, make_run

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,1000",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium with an empty profile; skips where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("no chromium and chromedriver on PATH (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    case = write_synth_case(3, 1.0, folder / "cases", fps=20.0)
    run = make_run(folder / "run", Shape(cases=2, rungs=4, frames=20), case_paths=[case])
    verdict = {"verdict": "FAIL", "policy": {"name": "release"}, "rules": []}
    return write_report(run, verdict=verdict, explanation=explain(run))


@pytest.fixture
def page(browser, report):
    """The report, loaded once (plotly.js is large), at its first frame."""
    if browser.current_url != report.as_uri():
        browser.get_log("performance")
        browser.get(report.as_uri())
    browser.execute_script("Viewer.show(0)")
    return Page(browser)


class Page:
    """What a reader sees and does."""

    def __init__(self, browser):
        self.browser = browser

    def run(self, script, *values):
        return self.browser.execute_script(script, *values)

    def click(self, selector):
        self.run("document.querySelector(arguments[0]).click()", selector)

    def press(self, key):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser).send_keys(key).perform()

    @property
    def shown(self):
        """Caption, picture and number of lines drawn on it."""
        return self.run(
            "const text = (id) => document.getElementById(id).textContent;"
            "return [text('frame-title') + text('frame-text'),"
            " document.querySelector('#picture image')?.getAttribute('href') ?? null,"
            " document.querySelectorAll('#picture g[data-rung]').length]"
        )

    @property
    def console(self):
        return self.browser.get_log("browser")


def test_the_verdict_is_what_one_sees_first(page):
    assert page.run("return document.querySelector('h1').innerText").endswith("FAIL")
    assert page.run("return document.querySelector('h1').getBoundingClientRect().top") < 200


def test_clicking_a_case_row_changes_the_frame(page):
    first = page.shown
    page.click("#case-table tr[data-case=rain_at_dusk] td")
    second = page.shown
    assert "rain_at_dusk" in second[0]
    assert first[0] != second[0]
    assert first[1].startswith("data:image/jpeg")
    assert second[1] is None  # that case's folder is gone
    assert page.run("return document.getElementById('picture-note').textContent").startswith(
        "no picture: no such case folder"
    )
    assert page.console == []


def test_clicking_a_worst_frame_changes_picture_and_plots(page):
    plotted = "return document.getElementById('time').data.map(t => t.y.length + t.y.join()).join()"
    first, series = page.shown, page.run(plotted)
    other = next(
        i for i, f in enumerate(page.run("return DATA.frames.map(f => [f.case, f.picture?.src ?? null])"))
        if f[1] and f[1] != first[1]
    )  # fmt: skip
    page.click(f"#frame-list [data-index='{other}']")
    assert page.shown[1] not in (None, first[1])
    assert page.run("return document.querySelector('#frame-list [aria-current=true]').dataset.index") == str(other)
    page.click("#case-table tr[data-case=rain_at_dusk] td")
    assert page.run(plotted) != series
    assert page.console == []


def test_arrow_keys_step_through_the_frames_and_come_round(page):
    count = page.run("return DATA.frames.length")
    first = page.shown[0]
    page.press("\ue014")  # right
    assert page.shown[0] != first
    page.press("\ue012")  # left
    assert page.shown[0] == first
    for _ in range(count):
        page.press("\ue014")
    assert page.shown[0] == first
    assert page.console == []


def test_a_rung_can_be_switched_off_everywhere(page):
    lines = "return ['above', 'along', 'time'].map(id => document.getElementById(id).data.length)"
    before, plots = page.shown[2], page.run(lines)
    page.click("#chips button:nth-child(2)")
    assert page.shown[2] == before - 3  # its three lines
    assert page.run(lines) == [plots[0] - 3, plots[1] - 3, plots[2] - 1]
    page.click("#chips button:nth-child(2)")
    assert page.shown[2] == before
    assert page.console == []


def test_colours_are_the_same_on_picture_plots_and_table(page):
    rung = page.run("return DATA.rungs[1]")
    on_picture = page.run("return document.querySelector('#picture [data-rung=\"1\"] .line').getAttribute('stroke')")
    in_plots = page.run(
        "return ['above', 'along', 'time'].map(id => document.getElementById(id).data)"
        ".map(traces => traces.find(t => t.meta === 1).line.color)"
    )
    in_table = page.run(
        "return document.querySelector('#heat tbody tr:nth-child(2) .swatch line').getAttribute('stroke')"
    )
    assert {on_picture, in_table, *in_plots} == {rung["colour"]}


def test_a_ring_marks_where_the_shown_line_departs_most(page):
    index = page.run("return DATA.frames.findIndex(f => f.kind === 'bend' && f.picture)")
    page.run("Viewer.show(arguments[0])", index)
    ring = "const c = document.querySelector('#picture .spot'); return [+c.getAttribute('cx'), +c.getAttribute('cy')]"
    u, v = page.run(ring)
    line = page.run(
        "const f = DATA.frames[arguments[0]]; const l = f.lines.find(l => l.rung === f.rung && l.track === f.track);"
        "return {x: unpack(l.x), u: unpack(l.u), v: unpack(l.v)}",
        index,
    )
    skipped = len(line["x"]) - len(line["u"])
    i = min(range(len(line["u"])), key=lambda i: abs(line["u"][i] - u) + abs(line["v"][i] - v))
    assert (u, v) == pytest.approx((line["u"][i], line["v"][i]), abs=0.1)
    assert 50 < line["x"][i + skipped] < 70  # the fixture bows the far band about its middle


def test_zooming_moves_picture_and_lines_together_and_back(page):
    box = "return document.getElementById('picture').getAttribute('viewBox')"
    whole = page.run(box)
    page.click("#zoom-in")
    assert float(page.run(box).split()[2]) < float(whole.split()[2])
    page.click("#zoom-reset")
    assert page.run(box) == whole


def test_the_metric_table_follows_statistic_and_band(page):
    cell = "return document.querySelector('#heat tr[data-rung=\"deploy/torch-fp32\"] td[data-metric=bend]').textContent"
    seen = {page.run(cell)}
    for selector in ("[data-statistic=typical]", "[data-band=near]", "[data-statistic=worst]"):
        page.click(f"#metrics {selector}")
        seen.add(page.run(cell))
    assert len(seen) >= 3
    assert page.console == []


def test_dark_and_light_differ_and_plots_follow(page):
    from selenium.webdriver.support.ui import WebDriverWait

    def looks():
        paper = page.run("return getComputedStyle(document.body).backgroundColor")
        return paper, page.run("return document.getElementById('time').layout.font.color")

    def emulate(scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    emulate("light")
    page.run("Viewer.redraw()")
    light = looks()
    emulate("dark")
    WebDriverWait(page.browser, 10).until(lambda _: all(a != b for a, b in zip(looks(), light, strict=True)))
    page.click("#theme")  # light, whatever the system says
    assert looks() == light
    page.click("#theme")
    page.click("#theme")
    emulate("light")
    assert page.console == []


def test_a_narrow_window_does_not_scroll_sideways(page):
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 800, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    assert page.run("return document.documentElement.scrollWidth") <= 800
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_but_the_file_itself_is_asked_for(page, report):
    page.press("\ue014")
    asked = [json.loads(entry["message"])["message"] for entry in page.browser.get_log("performance")]
    urls = {m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"}
    assert {u for u in urls if not u.startswith(("data:", "blob:"))} == {report.as_uri()}


def test_every_control_has_a_name_and_every_picture_a_label(page):
    nameless = page.run(
        "return [...document.querySelectorAll('button, select')].filter(e => !(e.textContent || e.ariaLabel"
        " || e.closest('label'))).map(e => e.outerHTML)"
    )
    assert nameless == []
    unlabelled = page.run("return [...document.querySelectorAll('[role=img]')].filter(e => !e.ariaLabel).length")
    assert unlabelled == 0


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
    browser.get(write_report(make_run(tmp_path, shape)).as_uri())
    assert browser.execute_script("return document.querySelector('h1').innerText") == "Not judged"
    browser.execute_script("document.querySelector('#case-table .pick')?.click()")
    assert browser.get_log("browser") == []
