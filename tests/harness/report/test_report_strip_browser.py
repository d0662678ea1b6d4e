"""The strip of layers in a real browser: nodes, keys, clicks, and numbers that are those of the table."""

from __future__ import annotations

import math

import pytest

from engines.layers.numbers import Numbers
from harness.layers.table import LayerRow, LayerTable, layers_json
from harness.measures.movement import Movement
from harness.report import write_report
from harness.run.json import write_json
from tests.harness.report.browser import LEFT, RIGHT, Page, chromium
from tests.harness.report.fixture_run import Shape, make_run

pytestmark = pytest.mark.reports

NODES, WORST, BROKEN = 140, 57, 120


def node(place: int) -> LayerRow:
    """One of a network: some move the lines, every seventh adds nothing, the last are not finite."""
    adds = place % 7 != 0
    cost = 0.5 if place == WORST else 0.001 * (place % 5) if adds else 0.0
    cumulative = math.inf if place >= BROKEN else 1e-4 * 1.05**place
    numbers = Numbers(1e-4 if adds else 0.0, cumulative, math.nan, 3.0, 2e4, 0.0, 0.001, int(place >= BROKEN), None)
    moved = Movement({"lines": cost}, cost, 2 * cost, 0, cost) if adds else None
    reason = "switched" if adds else "adds nothing"
    return LayerRow(f"node_{place}", "Conv", (f"Conv_{place}",), ("<head>",), "", numbers, moved, reason, 2)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    yield from chromium(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("run"), Shape(cases=1, rungs=3, frames=6))
    rows = tuple(map(node, range(NODES)))
    whole = Movement({"lines": 0.1}, 0.6, 1.2, 0, 0.6)
    table = LayerTable(
        "roadlines", "ort-fp32", "emulated-fp16", "alone", "fp16", 2, "m", rows, whole, 0.0, f"node_{BROKEN}", {}
    )
    write_json(run.path / "layers.json", layers_json(table))
    return write_report(run)


@pytest.fixture(params=[800, 1920])
def page(request, browser, file):
    page = Page(browser)
    page.width(request.param)
    page.open(file)
    yield page
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert page.console == []


def told(page: Page) -> dict[str, str]:
    pairs = page.run(
        "return [...document.querySelectorAll('#node-numbers > div')].map(d => [d.children[0].innerText,"
        " d.children[1].innerText])"
    )
    return dict(pairs) | {"title": page.text("node-title")}


def test_it_opens_on_the_node_that_moves_the_lines_most(page):
    assert told(page)["title"] == f"#{WORST} node_{WORST} (Conv): switched"
    assert told(page)["lines, m RMS"] == "0.5"
    assert told(page)["modules"] == "<head>"
    heights = page.run(
        "return [...document.querySelectorAll('#strip .moves')].map(r => Number(r.getAttribute('height')))"
    )
    assert max(heights) == 84
    assert len(page.run("return [...document.querySelectorAll('#strip .cell')].map(r => 1)")) == NODES
    assert page.run("return document.querySelectorAll('#strip .bad').length") == NODES - BROKEN


def test_a_click_and_keys_choose_a_node_and_leave_the_player_alone(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    page.click("nav [href='#layers']")
    at = page.run("return Player.state.at")
    cell = page.browser.find_elements(By.CSS_SELECTOR, "#strip .cell")[70]
    ActionChains(page.browser).move_to_element(cell).click().perform()
    assert told(page)["title"].startswith("#70 ")
    assert page.run("return document.activeElement.id") == "strip"
    page.press(RIGHT)
    page.press(RIGHT)
    assert told(page)["title"].startswith("#72 ")
    assert page.press(LEFT).text("node-title").startswith("#71 ")
    assert page.run("return Player.state.at") == at
    page.click("#layers tbody tr:nth-child(2) button")
    second = page.run("return DATA.layers.order[1]")
    assert told(page)["title"].startswith(f"#{second} ")


def test_the_strip_scrolls_and_the_page_does_not(page):
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    page.run("Strip.choose(arguments[0])", NODES - 1)
    assert told(page)["cumulative"] == "inf"
    assert page.run("return getComputedStyle(document.querySelector('#strip .grows')).stroke") != "none"
