from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.gate.load import load_policy
from harness.gate.policy import Policy, Rule
from harness.gate.stats import cases_needed, share_bounds
from harness.plugin.options import OPTIONS
from harness.run.catalogue import event_kinds, find_measure, measures
from harness.run.numbers import with_unit
from harness.run.units import UNITS

DOCS = Path(__file__).parents[3] / "docs"
GATE = (DOCS / "gate.md").read_text(encoding="utf-8")
PYTEST = (DOCS / "pytest.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", sorted({*Rule.model_fields, *Policy.model_fields} - {"schema_", "sources", "rules"}))
def test_every_key_is_explained(key: str) -> None:
    assert re.search(rf"`{key}`|^{key} = |\[{key}\.", GATE, re.MULTILINE)


@pytest.mark.parametrize("metric", sorted(measures()))
def test_every_metric_is_listed(metric: str) -> None:
    assert f"`{metric}`" in GATE or f"`{metric.removeprefix('event')}`" in GATE


@pytest.mark.parametrize("unit", sorted(filter(None, UNITS)))
def test_every_unit_is_listed(unit: str) -> None:
    words = re.split(r"[\s,:|;·.]+", GATE)
    assert unit in words or unit in ("events",)


def test_every_option_is_explained() -> None:
    for option in OPTIONS.values():
        assert f"`--trueline-{option.name} {option.metavar}`" in PYTEST


def test_the_example_can_be_read(tmp_path: Path) -> None:
    example = re.findall(r"```toml\n(.*?)```", GATE, re.DOTALL)[0]
    guards = "".join(
        f'[[rules]]\nid = "{m}"\nmetric = "{m}"\nrung = "*"\nstatistic = "mean"\nlimit = "{limit}"\n'
        for m, limit in (("missing", "0.1 lines"), ("extra", "0.1 lines"), ("coverage", "90 %"))
    )
    (tmp_path / "base.trueline.toml").write_text(guards)
    (tmp_path / "own.trueline.toml").write_text(example)
    policy = load_policy(tmp_path / "own.trueline.toml")
    assert [r.id for r in policy.rules] == ["missing", "extra", "coverage", "bend-near"]


def test_the_numbers_are_those_of_the_code() -> None:
    bounds = [share_bounds(0, n, 0.95).upper for n in (8, 20, 50)] + [share_bounds(0, 8, 0.975).upper]
    for bound in bounds:
        assert f"{100 * bound:.1f} %" in GATE
    for allowed in (0.1, 0.05, 0.01):
        assert re.search(rf"\b{cases_needed(allowed, 0.95)}\b", GATE)


def test_the_table_of_finding_thresholds_is_that_of_the_catalogue() -> None:
    explain = (DOCS / "explain.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)`: [^|]*\| ([^|]*) \|", explain, re.MULTILINE))
    known = {m.measured: find_measure(m.measured) for m in event_kinds().values() if m.measured in measures()}
    expected = {name: m for name, m in known.items() if m.threshold is not None}
    assert rows.keys() == expected.keys()
    for name, measure in expected.items():
        told = [with_unit(value, measure.quantity) for value in dict.fromkeys(measure.threshold.vehicle)]  # type: ignore[union-attr]  # chosen so
        assert all(text in rows[name] for text in told), name
