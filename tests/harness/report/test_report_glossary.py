"""How numbers are written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.glossary import columns, definition_of, label_of
from harness.run.catalogue import event_kinds
from harness.run.numbers import number, quantity_of_unit, unit_text, with_unit
from harness.run.tables import TABLES
from harness.run.units import base_unit
from tests.strategies import quick


@pytest.mark.parametrize(
    ("value", "quantity", "unit", "text"),
    [
        (0.2, "length", "m", "0.200 m"),
        (-1.25, "length", "m", "−1.250 m"),
        (4.0, "length", "px", "4.00 px"),
        (0.0000345, "length", "m", "3·10⁻⁵ m"),
        (0.0, "length", "m", "0.000 m"),
        (-0.0, "length", "m", "0.000 m"),
        (math.radians(3), "angle", "m", "3.00°"),
        (0.975, "share", "m", "97.5 %"),
        (3.0, "count", "m", "3"),
        (12345.0, "count", "m", "12 345"),
        (0.25, "count", "m", "0.25"),
        (0.00123, "curvature", "m", "0.00123 1/m"),
        (1.2345, "time", "m", "1.23 ms"),
        (12.345, "time", "m", "12.3 ms"),
        (1, "frames", "m", "1 frame"),
        (7, "frames", "m", "7 frames"),
        (1.5, "frames", "m", "1.5 frames"),
        (float("inf"), "length", "m", "∞ m"),
    ],
)
def test_every_number_carries_its_unit(value, quantity, unit, text):
    assert with_unit(value, quantity, unit) == text


@pytest.mark.parametrize("value", [None, float("nan")])
def test_no_value_is_a_dash_without_a_unit(value):
    assert with_unit(value, "length", "m") == "–"


@quick
@given(st.floats(1e-12, 1e6), st.sampled_from(["length", "angle", "share", "time", "rate", "curvature"]))
def test_only_zero_reads_as_zero(value, quantity):
    text = number(value, quantity)
    assert any(c in "123456789" for c in text.partition("·")[0])


def test_every_column_that_the_report_reads_is_in_its_table():
    assert all(m.column in TABLES[m.table] for m in columns())
    assert len({m.name for m in columns()}) == len(columns())


def test_every_kind_of_event_has_words_and_a_unit_that_leads_back_to_its_quantity():
    for kind, entry in event_kinds().items():
        assert label_of(kind)
        assert definition_of(kind)
        unit = base_unit(entry.quantity, "m")
        assert not unit or quantity_of_unit(unit) == entry.quantity, kind


def test_headings_name_the_unit_of_the_run():
    assert unit_text("length", "px") == "px"
    assert unit_text("curvature", "px") == "1/px"


def test_an_unknown_metric_has_no_definition():
    assert definition_of("bend").startswith("Largest distance")
    assert definition_of("no_such_metric") == ""
