"""Questions 6 to 8 in a real browser: what is new, which is better, what differs. Swapped runs swap the answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cases.synth import write_synth_case
from harness.compare.build import comparison_of, see
from harness.compare.page import write_page
from tests.harness.report.browser import Page, chromium
from tests.harness.report.fixture_run import Shape, make_run

pytestmark = pytest.mark.reports


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    yield from chromium(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    cases = [write_synth_case(seed, 0.8, folder / "cases", fps=20.0) for seed in range(40, 48)]
    shape = Shape(cases=8, rungs=3, frames=16, seed=11)
    torch = {"trueline": "0.1.0", "python": "3.11.2", "torch": "2.13.0"}
    return {
        "calm": make_run(folder / "calm", replace(shape, severity=0.03), case_paths=cases, provenance=torch),
        "bent": make_run(
            folder / "bent", replace(shape, severity=2.0), case_paths=cases, provenance=torch | {"torch": "2.14.1"}
        ),
    }


def opened(browser, runs, names, folder: Path):
    seen = see([runs[n] for n in names])
    comparison = comparison_of(seen)
    page = Page(browser)
    page.browser.get(write_page(comparison, seen, folder / "compare.html").as_uri())
    page.width(800)
    return page, comparison.pairings[0]


@pytest.mark.parametrize(("names", "answer"), [(("calm", "bent"), "first"), (("bent", "calm"), "second")])
def test_which_is_better_is_the_first_thing_one_sees(browser, runs, tmp_path, names, answer):
    page, pairing = opened(browser, runs, names, tmp_path)
    assert pairing.answer == answer
    told = page.run(
        "const h = document.querySelector('h1');"
        " return [h.dataset.answer, h.innerText, h.getBoundingClientRect().bottom]"
    )
    assert told[:2] == [answer, f"The {answer} is better"]
    assert told[2] < 400
    rows = page.run("return [...document.querySelectorAll('.measures tbody tr')].map(r => r.dataset.answer)")
    assert set(rows) <= {answer, "same", "unknown"}
    assert page.console == []


def test_what_is_new_is_one_click_and_equals_the_count(browser, runs, tmp_path):
    from selenium.webdriver.common.by import By

    for names, kind in ((("calm", "bent"), "new"), (("bent", "calm"), "gone")):
        page, pairing = opened(browser, runs, names, tmp_path)
        count = int(page.run("return document.querySelector(arguments[0]).firstChild.data", f"[data-count={kind}]"))
        assert count == pairing.counts[kind] > 0
        page.browser.find_element(By.CSS_SELECTOR, f".filter [data-kind={kind}]").click()
        rows = page.run(
            "return [...document.querySelectorAll('.changes tbody tr')].filter(r => !r.hidden).map(r => r.dataset.kind)"
        )
        assert rows == [kind] * count


@pytest.mark.parametrize(("names", "kind"), [(("calm", "bent"), "new"), (("bent", "calm"), "gone")])
def test_what_is_new_is_what_the_tables_of_both_runs_say(browser, runs, tmp_path, names, kind):
    """Bends of cases and bands that one run's events have and the other's have not."""
    from selenium.webdriver.common.by import By

    page, _ = opened(browser, runs, names, tmp_path)
    bends = {n: set(runs[n].read("events").filter(kind="bend").select("case", "band").iter_rows()) for n in names}
    expected = bends["bent"] - bends["calm"]
    page.browser.find_element(By.CSS_SELECTOR, f".filter [data-kind={kind}]").click()
    seen = page.run(
        "return [...document.querySelectorAll('.changes tbody tr')].filter(r => !r.hidden)"
        ".map(r => [...r.cells].map(c => c.innerText))"
    )
    told = [tuple(cells[2].split(", ")[:2]) for cells in seen if cells[1] == "bend"]
    assert len(expected) > 3
    assert set(told) == expected
    assert len(told) == len(expected)


def test_what_differs_stands_below_the_answer(browser, runs, tmp_path):
    page, pairing = opened(browser, runs, ("calm", "bent"), tmp_path)
    told = page.run("return document.querySelector('.differs').innerText")
    assert "torch 2.13.0 -> 2.14.1" in told
    assert told.count("\n") + 1 == len(pairing.differences)
    assert page.run("return document.querySelector('.differs').getBoundingClientRect().right") <= 800
    page, _ = opened(browser, runs, ("bent", "calm"), tmp_path)
    assert "torch 2.14.1 -> 2.13.0" in page.run("return document.querySelector('.differs').innerText")


def test_the_same_frame_of_both_runs_stands_side_by_side(browser, runs, tmp_path):
    page, _ = opened(browser, runs, ("calm", "bent"), tmp_path)
    sides = page.run(
        "return [...document.querySelector('.sides').children].map(f => [f.querySelector('image').getAttribute('href'),"
        " f.querySelectorAll('.car').length, f.getBoundingClientRect().width])"
    )
    assert sides[0][0] == sides[1][0]  # one recorded picture
    assert sides[0][1] == sides[1][1] == 6  # three lines, and again in the larger drawing
    assert abs(sides[0][2] - sides[1][2]) < 2
    assert page.run("return document.documentElement.scrollWidth") <= 800


def test_few_drives_say_unknown(browser, tmp_path):
    runs = {str(s): make_run(tmp_path / str(s), Shape(cases=2, rungs=3, frames=8, severity=s)) for s in (1.0, 3.0)}
    page, pairing = opened(browser, runs, tuple(runs), tmp_path)
    assert pairing.answer == "unknown"
    assert page.run("return document.querySelector('h1').innerText") == "Unknown"
