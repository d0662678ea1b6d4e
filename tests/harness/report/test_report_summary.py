"""The table of rungs by metric."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from harness.report.summary import case_summary, heat_table, pooled
from harness.run.facts import read_facts
from tests.harness.report.fixture_run import Shape, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), Shape(cases=3, rungs=4, frames=30))


@pytest.fixture(scope="module")
def facts(run):
    return read_facts(run.meta)


def test_worst_is_the_largest_of_all_rows(run, facts):
    pool = pooled(run, facts)
    rows = run.read("line_metrics")
    for rung in facts.ladder[1:]:
        for band in ("near", "mid", "far"):
            mine = pool.filter(metric="offset_max", rung=rung, band=band)["worst"].max()
            assert mine == pytest.approx(rows.filter(rung=rung, band=band)["offset_max"].abs().max())


def test_less_is_worse_for_coverage(run, facts):
    low = run.read("line_metrics").with_columns(
        pl.when(pl.col("frame") == 7).then(0.4).otherwise(1.0).alias("coverage")
    )
    pool = pooled(_Tables(run, line_metrics=low), facts)
    assert pool.filter(metric="coverage")["worst"].unique().to_list() == [0.4]
    cell = heat_table(pool, facts, {})["cells"][facts.ladder[1]]["coverage"]["worst.all"]
    assert (cell["text"], cell["over"]) == ("40.0", True)


def test_typical_is_the_median_of_the_cases_means(run, facts):
    rows = run.read("line_metrics").filter(rung=facts.ladder[1], band="far")
    means = rows.group_by("case").agg(pl.col("bend").mean())["bend"].to_numpy()
    cell = heat_table(pooled(run, facts), facts, {})["cells"][facts.ladder[1]]["bend"]["typical.far"]
    assert float(cell["text"]) == pytest.approx(float(np.median(means)), abs=5e-4)


def test_comparisons_with_the_parent_do_not_count(run, facts):
    rows = run.read("line_metrics")
    huge = rows.with_columns(pl.lit("deploy/torch-fp32").alias("reference"), pl.lit(99.0).alias("bend"))
    both, alone = pooled(_Tables(run, line_metrics=pl.concat([rows, huge])), facts), pooled(run, facts)
    assert both.drop("mean").equals(alone.drop("mean"))
    assert both["mean"].to_numpy() == pytest.approx(alone["mean"].to_numpy())  # sums may be taken in any order


def test_look_ahead_stations_stand_for_their_bands(run, facts):
    pool = pooled(run, facts).filter(metric="swing_pp", rung=facts.ladder[3])
    series = run.read("series_metrics").filter(rung=facts.ladder[3], station=40.0)
    assert pool.filter(band="far")["worst"].max() == pytest.approx(series["swing_pp"].max())


def test_nan_is_no_value(run, facts):
    rows = run.read("line_metrics").with_columns(pl.lit(float("nan")).alias("bend"))
    pool = pooled(_Tables(run, line_metrics=rows), facts)
    assert pool.filter(metric="bend").is_empty()
    heat = heat_table(pool, facts, {})
    assert "bend" not in [c["key"] for c in heat["columns"]]


def test_a_value_at_its_threshold_is_no_finding_and_shaded_more_than_one_below(run, facts):
    def cell(bend: float):
        rows = run.read("line_metrics").filter(band="far").with_columns(pl.lit(bend).alias("bend"))
        pool = pooled(_Tables(run, line_metrics=rows), facts)
        return heat_table(pool, facts, {})["cells"][facts.ladder[1]]["bend"]["worst.all"]

    below, at, beyond = cell(0.29), cell(0.30), cell(0.60)
    assert (below["over"], at["over"], beyond["over"]) == (False, False, True)
    assert below["shade"] < at["shade"] < beyond["shade"] <= 1
    assert "a finding above 0.300 m" in at["note"]


def test_noise_is_not_shaded_as_if_it_mattered(run, facts):
    rows = run.read("line_metrics").with_columns(pl.col("offset_max") * 1e-6)
    heat = heat_table(pooled(_Tables(run, line_metrics=rows), facts), facts, {})
    cells = [c["offset_max"]["worst.all"] for c in heat["cells"].values() if "offset_max" in c]
    assert cells
    assert all(cell["shade"] < 0.01 for cell in cells)


def test_the_first_rung_to_reach_the_worst_is_marked_once_per_column(run, facts):
    heat = heat_table(pooled(run, facts), facts, {})
    for column in heat["columns"]:
        cells = {r: c[column["key"]]["worst.all"] for r, c in heat["cells"].items() if column["key"] in c}
        marked = [r for r, cell in cells.items() if cell["worst"]]
        differ = len({cell["text"] for cell in cells.values()}) > 1
        assert len(marked) == differ


def test_a_case_s_worst_names_the_first_rung_that_has_it(run, facts):
    found = case_summary(pooled(run, facts), facts, ["bend"])
    assert found["highway_curve"]["bend"]["note"].startswith("deploy/torch-fp32")


def test_an_empty_run_has_an_empty_table(tmp_path):
    run = make_run(tmp_path, Shape(cases=0))
    heat = heat_table(pooled(run, read_facts(run.meta)), read_facts(run.meta), {})
    assert heat["columns"] == []


class _Tables:
    """A run with some of its tables replaced."""

    def __init__(self, run, **tables):
        self._run, self._tables = run, tables

    def table(self, name):
        return self._tables[name].lazy() if name in self._tables else self._run.table(name)


def test_a_cell_is_judged_by_the_limits_of_the_policy_in_its_band(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=3))
    facts = read_facts(run.meta)
    rules = [
        {"rule": "near", "bands": ["near"], "status": "PASS", "text": "near: PASS"},
        {"rule": "far", "bands": ["far"], "status": "FAIL", "text": "far: FAIL"},
    ]
    rung, other = facts.ladder[1:3]
    cells = heat_table(pooled(run, facts), facts, {rung: {"bend": rules}})["cells"]
    told = {band: cells[rung]["bend"][f"worst.{band}"]["judged"] for band in ("all", "near", "mid", "far")}
    assert told == {"all": "broken", "near": "kept", "mid": "", "far": "broken"}
    assert cells[other]["bend"]["worst.far"]["judged"] == ""
    assert "far: FAIL" in cells[rung]["bend"]["worst.far"]["note"]
