"""One file, no network, and nothing in it that could break out of its place."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import write_report
from harness.report.html import SCRIPTS, STYLES, _text, json_for_script
from harness.run.json import plain
from tests.harness.report.fixture_run import Shape, make_run
from tests.run_folders import put_table
from tests.strategies import quick
from trueline._text import shown

HOSTILE = "</script><script>alert(1)</script><!--&\"'"


@quick
@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_data_cannot_end_its_element_and_reads_back_as_it_is_shown(value):
    text = json_for_script(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == plain(value, told=shown)


def test_what_is_not_finite_becomes_null():
    assert json_for_script({"a": [float("nan"), float("inf"), 1.5]}) == '{"a":[null,null,1.5]}'


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("run"), Shape(cases=1, rungs=3, frames=20))
    for table in ("lines", "line_metrics", "events", "frame_metrics", "tensor_metrics", "series_metrics", "latency"):
        rows = run.read(table).with_columns(case=_literal(HOSTILE))
        put_table(run, table, rows)
    run.meta["cases"][0] |= {"id": HOSTILE, "tags": [HOSTILE]}
    run.meta["card"]["name"] = HOSTILE
    run.meta["rungs"][2] |= {"status": "crashed", "reason": HOSTILE}
    return write_report(run).read_text(encoding="utf-8")


def _literal(text):
    import polars as pl

    return pl.lit(text)


def test_hostile_names_stay_text(page):
    assert "<script>alert" not in page
    assert page.count("</script>") == 3  # data, ours, the clip
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert json.loads(data.group(1))["findings"][0]["case"] == HOSTILE


def test_nothing_is_loaded_from_anywhere(page):
    ours = page
    assert not re.findall(
        r"""(?:src|href)\s*=\s*["']?(?!data:|#)[^"'\s>]+""", re.sub(r"<script.*?</script>", "", ours, flags=re.S)
    )
    assert not re.search(r"@import|url\((?!data:)", ours)
    assert "default-src 'none'" in page


@pytest.mark.parametrize("name", [*STYLES, *SCRIPTS])
def test_inlined_files_cannot_end_their_element(name):
    assert not re.search(r"</(script|style)|<!--", _text(name), re.I)


def test_only_the_theme_s_variables_name_colours():
    declared = _text("base.css").partition("--mono")[0]
    rest = _text("base.css")[len(declared) :] + _text("report.css") + _text("print.css")
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[^{]*;)", re.sub(r"#[a-z][\w-]*\s*[{,.:]", "", rest))


def test_all_scripts_together_are_small():
    assert sum(len(_text(name).encode()) for name in SCRIPTS) < 130_000
