"""Small runs made by hand, in memory: what the gate's tests judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from harness.gate import Verdict, judge, load_policy
from harness.gate.verdict import RuleOutcome, RungOutcome
from harness.model.grid import grid_to_json, image_grid, vehicle_grid
from harness.run.tables import TABLES

ROOT = "train/torch-fp32"
RUNG = "deploy/ort-fp32"
FPS = 10.0

GUARDS = """
[[rules]]
id = "missing"
metric = "missing"
rung = "*"
statistic = "max"
limit = "5 lines"

[[rules]]
id = "extra"
metric = "extra"
rung = "*"
statistic = "max"
limit = "5 lines"

[[rules]]
id = "coverage"
metric = "coverage"
rung = "*"
statistic = "min"
limit = ">= 0 %"
"""


@dataclass
class FakeRun:
    """A run as the gate sees it."""

    meta: dict[str, Any]
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def table(self, name: str) -> pl.LazyFrame:
        """Rows added by hand; columns that a row lacks are null."""
        full = [{column: row.get(column) for column in TABLES[name]} for row in self.rows.get(name, [])]
        return pl.DataFrame(full, schema=TABLES[name]).lazy()

    @property
    def reference(self) -> str:
        """The root of its ladder."""
        return str(self.meta["reference"])

    @property
    def unit(self) -> str:
        """Of its lengths."""
        return str(self.meta["card"]["length_unit"])

    def rung(self, name: str) -> dict[str, Any]:
        """Facts of a rung, to change them."""
        return next(r for r in self.meta["rungs"] if r["name"] == name)

    def case(self, name: str) -> dict[str, Any]:
        """Facts of a case, to change them."""
        return next(c for c in self.meta["cases"] if c["id"] == name)


def make_run(
    bend: Mapping[str, Sequence[float | None]],
    *,
    rungs: Sequence[str] = (RUNG,),
    unit: str = "m",
    fps: float = FPS,
    **line_values: Any,
) -> FakeRun:
    """A run with one line in one band per frame.

    Args:
        bend: near bend of each frame, by case, base units.
        rungs: rungs besides the reference, each with the same values.
        unit: length unit.
        fps: of every case.
        line_values: further columns of every row of line_metrics.
    """
    meta = {
        "card": {
            "name": "toy",
            "length_unit": unit,
            "grid": grid_to_json(vehicle_grid() if unit == "m" else image_grid(640, 400, (390, 200))),
        },
        "reference": ROOT,
        "rungs": [_rung(ROOT, None), *(_rung(r, ROOT) for r in rungs)],
        "cases": [
            {"id": c, "frames": len(v), "fps": fps, "tags": [], "lossy": False, "digest": f"sha-{c}"}
            for c, v in bend.items()
        ],
        "digest": "0" * 64,
    }
    run = FakeRun(meta, {"line_metrics": [], "frame_metrics": []})
    for case, values in bend.items():
        for rung in rungs:
            for frame, value in enumerate(values):
                key = {"case": case, "frame": frame, "rung": rung, "reference": ROOT}
                run.rows["line_metrics"].append(
                    key | {"track": 0, "band": "near", "coverage": 1.0, "bend": value} | line_values
                )
                run.rows["frame_metrics"].append(
                    key | {"lines": 1, "matched": 1, "missing": 0, "extra": 0, "nonfinite": 0}
                )
    return run


def add_floor(
    run: FakeRun, metric: str, value: float, *, rung: str = RUNG, band: str | None = None, probe: str = "repeat"
) -> FakeRun:
    """The run, its first case with one more row of noise floor."""
    key = {"case": run.meta["cases"][0]["id"], "rung": rung, "probe": probe, "metric": metric, "band": band}
    run.rows.setdefault("floors", []).append(key | {"value": value, "count": 1})
    return run


def _rung(name: str, parent: str | None) -> dict[str, Any]:
    factors = ["preprocess"] if parent else []
    return {"name": name, "parent": parent, "factors": factors, "status": "ok", "reason": "", "provenance": {}}


def policy_file(folder: Path, text: str, *, name: str = "toy.trueline.toml", guards: bool = True) -> Path:
    """Write a policy; the rules that every bend rule needs beside it are added."""
    path = folder / name
    path.write_text(text + (GUARDS if guards else ""), encoding="utf-8")
    return path


def rule_text(**keys: Any) -> str:
    """A rule on near bend, with some keys changed, added or (None) left out."""
    rule: dict[str, Any] = {"id": "bend", "metric": "bend", "rung": "deploy/*", "statistic": "max", "limit": "0.15 m"}
    rule = {k: v for k, v in (rule | keys).items() if v is not None}
    return "[[rules]]\n" + "\n".join(f"{k} = {_toml(v)}" for k, v in rule.items()) + "\n"


def population_text(**keys: Any) -> str:
    """The same as a population rule that allows half of the cases to violate."""
    population = {"scope": "population", "statistic": "mean", "allowed_share": 0.5}
    return rule_text(**(population | keys))


def baseline_text(**keys: Any) -> str:
    """A rule that allows a third of all drives to be worse than a baseline by more than 0.01 m."""
    baseline = {
        "scope": "population", "statistic": "mean", "compare": "baseline", "limit": "0.01 m", "allowed_share": 0.32,
    }  # fmt: skip
    return rule_text(**(baseline | keys))


def judged(folder: Path, run: FakeRun, text: str, **more: Any) -> Verdict:
    """Judge a run by a policy given as text."""
    return judge(run, load_policy(policy_file(folder, text)), **more)


def found(folder: Path, run: FakeRun, text: str, rule: str = "bend", **more: Any) -> RungOutcome:
    """What one rule found on the one rung it looks at."""
    outcome = judged(folder, run, text, **more).rule(rule)
    assert isinstance(outcome, RuleOutcome)
    (rung,) = outcome.rungs
    return rung


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def mixed() -> FakeRun:
    """One rung per status but INCONCLUSIVE."""
    names = ("pass", "fail", "not-run", "crashed", "nonfinite")
    run = make_run({"a": [0.1]}, rungs=[f"deploy/{n}" for n in names])
    next(r for r in run.rows["line_metrics"] if r["rung"] == "deploy/fail")["bend"] = 0.4
    run.rung("deploy/not-run").update(status="not_run", reason="no driver")
    run.rung("deploy/crashed").update(status="crashed", reason="case a, frame 3: bad alloc")
    next(r for r in run.rows["frame_metrics"] if r["rung"] == "deploy/nonfinite")["nonfinite"] = 2
    return run


def rules(*names: str, required: bool = True) -> str:
    text = "".join(
        rule_text(id=n, metric="kink", limit="3 deg", rung=f"deploy/{n}", required=required)
        for n in names
        if n != "inc"
    )
    if "inc" in names:
        text += population_text(id="inc", metric="kink", limit="3 deg", rung="deploy/pass", required=required)
    return text


def verdict_of(folder: Path, text: str) -> Verdict:
    run = mixed()
    for row in run.rows["line_metrics"]:
        row["kink"] = (row["bend"] or 0) / 4
    return judge(run, load_policy(policy_file(folder, text, guards=False)))
