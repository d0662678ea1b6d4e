"""Gate, explain, report and pytest say the same of a run: held together on random runs and random policies."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.gate import judge
from harness.gate.default import policy_of
from harness.gate.policy import Rule
from harness.gate.verdict import Status, Verdict
from harness.ladder import Explanation, explain
from harness.measures.events import EventLog
from harness.model.grid import grid_to_json, vehicle_grid
from harness.plugin.items import told
from harness.report.data import build_content
from harness.report.network import network_view
from harness.run.catalogue import find_measure
from harness.run.facts import read_facts
from harness.run.folder import Run
from harness.run.rungs import build_tree
from harness.run.tables import BANDS, SORT_KEYS, TABLES
from tests.run_folders import finish_run
from tests.strategies import quick

ROOT = "train/torch-fp32"
ENGINES = ("torch-fp32", "ort-fp32-none", "ort-fp32", "openvino-fp32", "emulated-fp16")
GRID = vehicle_grid()
FRAMES, TRACKS = 6, 2
RUNGS = build_tree(ROOT, ENGINES, ("train", "deploy"), ("colour",))[1:]
MEASURES = ("bend", "kink", "offset_mean", "offset_max", "heading", "curvature_gap")
SIZES = (0.0, 0.02, 0.06, 0.12, 0.2, 0.5, None)
LIMITS = {"length": "m", "angle": "rad", "curvature": "1/m"}


def run_of(seed: int, folder: Path, scale: float = 1.0) -> Run:
    """Two cases, every measure drawn at random, against the root and the parent; events from the values."""
    rng = np.random.default_rng(seed)
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for case in ("a", "b"):
        for rung in RUNGS:
            for reference in dict.fromkeys((ROOT, str(rung.parent))):
                _compared(tables, case, rung.name, reference, rng, scale)
    for name, rows in tables.items():
        full = [{column: row.get(column) for column in TABLES[name]} for row in rows]
        pl.DataFrame(full, schema=TABLES[name]).sort(*SORT_KEYS[name]).write_parquet(folder / f"{name}.parquet")
    meta = {
        "card": {"name": "toy", "length_unit": "m", "grid": grid_to_json(GRID)},
        "reference": ROOT, "finished": True, "digest": "d",
        "cases": [{"id": c, "frames": FRAMES, "fps": 10.0, "tags": [], "digest": c} for c in ("a", "b")],
        "rungs": [{"name": ROOT, "preprocess": "train", "engine": "torch-fp32", "parent": None, "factors": []}]
        + [{"name": r.name, "preprocess": r.preprocess, "engine": r.engine, "parent": r.parent,
            "factors": list(r.factors)} for r in RUNGS],
    }  # fmt: skip
    return finish_run(folder, meta)


def _compared(
    tables: dict[str, list[dict[str, Any]]],
    case: str,
    rung: str,
    reference: str,
    rng: np.random.Generator,
    scale: float,
) -> None:
    log, missing = EventLog("m"), int(scale * rng.integers(0, 9) > 7.5)
    key = {"case": case, "rung": rung, "reference": reference}
    level = scale * float(rng.choice([0.1, 0.5, 1.0, 3.0]))
    for frame in range(FRAMES):
        counts = {"lines": TRACKS, "matched": TRACKS - missing, "missing": missing, "extra": 0}
        tables["frame_metrics"].append(
            key | counts | {"frame": frame, "nonfinite": int(scale * rng.integers(0, 61) > 59.5)}
        )
        for track in range(TRACKS - missing):
            values = {m: [_size(rng, level) for _ in BANDS] for m in MEASURES}
            for k, band in enumerate(BANDS):
                own = {m: v[k] for m, v in values.items()}
                tables["line_metrics"].append(
                    key | {"frame": frame, "track": track, "band": band, "coverage": 1.0} | own
                )
            for m in MEASURES:
                if (threshold := find_measure(m).threshold) is not None:
                    row = np.array([[math.nan if v is None else v for v in values[m]]])
                    log.bands(m, np.array([frame]), track, row, threshold.of(GRID))
        if missing:
            log.frames("missing", np.array([frame]), TRACKS - 1)
    if reference == ROOT:
        tables["events"] += log.table(case, rung, reference).to_dicts()


def _size(rng: np.random.Generator, level: float) -> float | None:
    size = SIZES[int(rng.integers(len(SIZES)))]
    return None if size is None else level * size * float(rng.choice([-1, 1]) if level < 1 else 1)


@st.composite
def rules(draw: st.DrawFn) -> list[Rule]:
    """One to four rules of every sort; guards beside them."""
    found = []
    for n in range(draw(st.integers(1, 4))):
        metric = draw(st.sampled_from([*MEASURES, "missing", "event.bend", "event.offset_mean"]))
        entry = find_measure(metric)
        statistic = draw(st.sampled_from([s for s in entry.statistics if s != "episodes_per_h"]))
        counted = statistic in ("count", "rate_per_min", "share") or entry.kind == "counter"
        unit = {"rate_per_min": "/min", "seconds": "s"}.get(
            statistic, "" if counted else LIMITS.get(entry.quantity, "")
        )
        band = draw(st.sampled_from([(), ("near",), ("mid", "far")])) if entry.has_band else ()
        population = draw(st.booleans()) and statistic not in ("max", "min")
        scope = {"scope": "population", "allowed_share": 0.4, "min_cases": 2} if population else {}
        found.append(
            Rule(
                id=f"r{n}", metric=metric, statistic=statistic,
                rung=draw(st.sampled_from(["deploy/*", "*", "*/ort-*"])),
                limit=f"{draw(st.sampled_from([0.0, 0.03, 0.1, 0.3]))} {unit}".strip(),
                band=band,
                reference=draw(st.sampled_from([None, "parent"])) if entry.kind != "event" else None,
                required=False, **scope,
            )
        )  # fmt: skip
    guards = {"missing": "9 lines", "extra": "9 lines", "coverage": ">= 0 %"}
    for reference in (None, "parent"):
        for metric, limit in guards.items():
            statistic = "min" if metric == "coverage" else "max"
            name = f"{metric}-{reference}"
            found.append(Rule(id=name, metric=metric, rung="*", statistic=statistic, limit=limit, reference=reference))
    return found


def broken(verdict: Verdict) -> Counter[tuple[str, str, str, float]]:
    """(rule, rung, case, number) of every limit that a case broke, as the gate has it."""
    found: Counter[tuple[str, str, str, float]] = Counter()
    for rule in verdict.rules:
        for rung in rule.rungs:
            if rule.scope == "population" and rung.status is not Status.FAIL:
                continue
            found.update((rule.id, rung.rung, c.case, c.value) for c in rung.cases if c.status is Status.FAIL)
    return found


def told_broken(explanation: Explanation) -> Counter[tuple[str, str, str, float]]:
    """The same as the explanation has it."""
    return Counter((b.rule, b.rung, f.case, b.number) for f in explanation.findings for b in f.breaches)


@settings(quick, max_examples=25)  # a second each; every run of the suite draws others
@given(st.integers(0, 2**31), rules())
def test_every_limit_that_the_gate_finds_broken_is_in_one_finding_with_the_same_number(
    seed: int, asked: list[Rule]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = run_of(seed, Path(folder))
        verdict = judge(run, policy_of(asked))
        explanation = explain(run, verdict)
        assert told_broken(explanation) == broken(verdict)
        for finding in explanation.findings:
            assert {b.rung for b in finding.breaches} <= set(finding.rungs)
            assert finding.first in {s.rung for s in finding.steps} | {ROOT, finding.rung}
            assert finding.value == finding.value
        _report_agrees(run, verdict, explanation)
        _pytest_agrees(verdict)


def _report_agrees(run: Run, verdict: Verdict, explanation: Explanation) -> None:
    """One list, one count on the whole page."""
    facts = read_facts(run.meta)
    network = network_view(run.path, facts)
    view = build_content(run, facts, verdict, explanation, {"told": [], "why": ""}, network).view
    count = len(explanation.findings)
    assert next(f["value"] for f in view["figures"] if f["label"].startswith("finding")) == str(count)
    assert sum(s["count"] for s in view["blame"]["suspects"]) == count
    on_ladder = sum(int(n["text"].split()[0]) for n in view["ladder"]["nodes"] if n["moved"])
    assert on_ladder == sum(f.first != ROOT for f in explanation.findings)
    by_case = Counter(f.case for f in explanation.findings)
    shown = {c["id"]: sum(int(t.split()[0]) for t in c["findings"]) for c in view["cases"]}
    assert shown == {case: by_case[case] for case in shown}
    assert view["judgement"]["status"] == verdict.status.value


def _pytest_agrees(verdict: Verdict) -> None:
    """An item's text carries the gate's own words and limit."""
    for rule in verdict.rules:
        for rung in rule.rungs:
            for case in rung.cases:
                text = told(rule, rung, case, case.status, "report.html")
                assert case.reason in text
                assert f"limit {rule.limit}" in text


@settings(quick, max_examples=25)  # as above
@given(st.integers(0, 2**31), st.sampled_from([0.01, 0.03, 1.0]))
def test_without_a_policy_the_gate_fails_where_there_is_a_finding(seed: int, scale: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = run_of(seed, Path(folder), scale)
        verdict = judge(run)
        explanation = explain(run, verdict)
        assert (verdict.status is Status.PASS) == (not explanation.findings)
        assert told_broken(explanation) == broken(verdict)
