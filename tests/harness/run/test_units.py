from __future__ import annotations

import math

import pytest

from harness.errors import PolicyError, UnitMismatch
from harness.run.units import Limit, base_unit, check_unit, parse_limit, scale, tighter_or_equal


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("0.15 m", Limit(0.15, "m")),
        ("0.15m", Limit(0.15, "m")),
        ("3 deg", Limit(3, "deg")),
        (">= 80 %", Limit(80, "%", ">=")),
        ("<=-.5e-3 1/m", Limit(-0.0005, "1/m", "<=")),
        ("0.5 %h", Limit(0.5, "%h")),
        ("2 /min", Limit(2, "/min")),
        (0, Limit(0)),
        (0.9, Limit(0.9)),
    ],
)
def test_a_limit_is_a_number_with_a_unit(text: object, limit: Limit) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", ["m", "0.15 furlong", "", "1 2 m", "< 3 m", "nan m", "1e999 m", True, None, [1]])
def test_anything_else_is_not_a_limit(text: object) -> None:
    with pytest.raises(ValueError, match=r"limit|unknown unit"):
        parse_limit(text)


def test_a_limit_prints_as_it_is_written() -> None:
    assert [str(parse_limit(t)) for t in ("0.15 m", "80 %", "0.5 %h", "2 /min", "3")] == [
        "0.15 m",
        "80%",
        "0.5%h",
        "2/min",
        "3",
    ]


@pytest.mark.parametrize(
    ("unit", "run_unit", "size"),
    [
        ("m", "m", 1.0),
        ("cm", "m", 0.01),
        ("px", "px", 1.0),
        ("%h", "px", 3.6),
        ("%w", "px", 6.4),
        ("deg", "m", math.pi / 180),
        ("%", "px", 0.01),
        ("", "m", 1.0),
    ],
)
def test_units_have_a_size_in_base_units(unit: str, run_unit: str, size: float) -> None:
    assert scale(unit, run_unit=run_unit, image_px=(640, 360), where="") == pytest.approx(size)


@pytest.mark.parametrize(("unit", "run_unit"), [("m", "px"), ("cm", "px"), ("1/m", "px"), ("px", "m"), ("%h", "m")])
def test_metres_and_pixels_do_not_mix(unit: str, run_unit: str) -> None:
    with pytest.raises(UnitMismatch, match=f"the limit is in {unit}, the run's lengths are in {run_unit}"):
        scale(unit, run_unit=run_unit, image_px=(640, 360), where="rule 'a', limit")


def test_a_share_of_the_image_height_needs_a_height() -> None:
    with pytest.raises(UnitMismatch, match="no image size"):
        scale("%h", run_unit="px", image_px=(0, 0), where="")


def test_a_unit_of_another_quantity_is_refused_with_those_that_fit() -> None:
    with pytest.raises(UnitMismatch, match="max of bend measures length, its limit '3 deg' does not") as caught:
        check_unit(Limit(3, "deg"), "length", what="max of bend", where="rule 'a'")
    assert caught.value.remedy == "write the limit in m or cm or mm or px or %w or %h"


def test_only_dimensionless_metrics_may_go_without_a_unit() -> None:
    check_unit(Limit(0.9), "share", what="", where="")
    with pytest.raises(UnitMismatch):
        check_unit(Limit(0.9), "length", what="bend", where="")


def test_tighter_is_decided_across_units_of_one_kind() -> None:
    assert tighter_or_equal(Limit(14, "cm"), Limit(0.15, "m"), higher_is_worse=True, where="")
    assert not tighter_or_equal(Limit(16, "cm"), Limit(0.15, "m"), higher_is_worse=True, where="")
    assert tighter_or_equal(Limit(85, "%"), Limit(0.8), higher_is_worse=False, where="")
    assert tighter_or_equal(Limit(0.4, "%h"), Limit(0.5, "%h"), higher_is_worse=True, where="")


@pytest.mark.parametrize(("new", "old"), [("px", "%h"), ("%h", "px"), ("px", "m")])
def test_tighter_is_not_guessed_where_a_run_would_be_needed(new: str, old: str) -> None:
    with pytest.raises(PolicyError, match="cannot tell whether"):
        tighter_or_equal(Limit(1, new), Limit(1, old), higher_is_worse=True, where="")


def test_one_of_a_kind_is_written_and_read_in_the_singular() -> None:
    assert [str(Limit(n, u)) for n, u in ((1, "events"), (0, "events"), (1, "frames"), (0.1, "lines"), (1, "s"))] == [
        "1 event", "0 events", "1 frame", "0.1 lines", "1 s",
    ]  # fmt: skip
    assert parse_limit("1 line") == Limit(1, "lines")


def test_every_quantity_has_a_base_unit() -> None:
    assert [base_unit(q, "m") for q in ("length", "angle", "curvature", "share", "rate", "time")] == [
        "m",
        "rad",
        "1/m",
        "",
        "/min",
        "ms",
    ]
    assert base_unit("curvature", "px") == "1/px"
