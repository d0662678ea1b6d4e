"""The outline of a technique is what its class says."""

from __future__ import annotations

import dataclasses

import pytest

from techniques.registry import TABLE, build, outline


@pytest.mark.parametrize("name", list(TABLE))
def test_the_outline_is_what_the_class_says(name: str) -> None:
    technique = build(name)
    options = {f.name: getattr(technique, f.name) for f in dataclasses.fields(technique) if f.init}
    told = outline(name)
    assert told.options == options
    assert list(told.options) == list(options)
    assert told.role == technique.role
    assert told.summary == (type(technique).__doc__ or "").strip().splitlines()[0]


def test_every_technique_has_a_summary() -> None:
    assert all(outline(name).summary for name in TABLE)
