"""Where engines hang in the ladder."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest
from engine_models import make_source

import engines
from engines.errors import EngineUnavailable
from engines.ladder import ancestry, parent_of
from engines.registry import ENTRY_POINTS, base_name
from engines.table import TABLE

ROOT = "torch-fp32"


@pytest.mark.parametrize("name", TABLE)
def test_every_engine_has_a_parent_that_exists_but_the_root(name):
    if name == ROOT:
        assert parent_of(name) is None
    else:
        parent, factors = parent_of(name)
        assert base_name(parent) in TABLE
        assert factors


@pytest.mark.parametrize("name", TABLE)
def test_every_ancestry_ends_at_the_root(name):
    chain = [engine for engine, _ in ancestry(name)]
    assert chain[0] == name
    assert chain[-1] == ROOT
    assert len(set(chain)) == len(chain)


@pytest.mark.parametrize("suffix", [":left", "@cuda", ":left@cuda:1"])
@pytest.mark.parametrize("name", TABLE)
def test_a_variant_descends_from_what_its_engine_does_by_another_factor(name, suffix):
    plain, variant = ancestry(name), ancestry(name + suffix)
    assert variant[-1] == (ROOT, variant[-1][1])
    assert variant[0][0] == name + suffix
    if name != "recorded":  # whichever recording it is, the factor is the car
        assert [f for _, f in variant] != [f for _, f in plain]


def test_two_engines_of_one_parent_differ_from_it_by_different_factors():
    told = [parent_of(name) for name in TABLE if name != ROOT]
    assert len(set(told)) == len(told)


@pytest.mark.parametrize(
    "ladder", [{"mine": "ort-fp32"}, {"mine": ("ort-fp32", "runtime:mine")}, {"mine": ("", ("a",))}, 7]
)
def test_a_ladder_written_wrongly_is_said_when_the_engine_opens(ladder, monkeypatch, tmp_path):
    module = SimpleNamespace(open_engine=lambda name, source, **options: None, LADDER=ladder)
    monkeypatch.setitem(sys.modules, "their_engines", module)
    entry = EntryPoint("mine", "their_engines", ENTRY_POINTS)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry])
    with pytest.raises(EngineUnavailable, match="LADDER of their_engines"):
        engines.open("mine", make_source(tmp_path / "card", "Lanes"))
    assert parent_of("mine") is None
