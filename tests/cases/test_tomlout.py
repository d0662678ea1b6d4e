from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.tomlout import dump_toml

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | _texts
_values = _scalars | st.lists(_scalars, max_size=4) | st.lists(st.lists(st.floats(allow_nan=False), max_size=3))
_tables = st.recursive(
    st.dictionaries(_texts, _values, max_size=4), lambda inner: st.dictionaries(_texts, _values | inner, max_size=4)
)


@given(_tables)
def test_the_standard_library_reads_back_what_is_written(table: dict[str, Any]) -> None:
    assert tomllib.loads(dump_toml(table)) == table


def test_keys_that_are_none_are_left_out() -> None:
    assert tomllib.loads(dump_toml({"a": None, "b": {"c": None, "d": 1}})) == {"b": {"d": 1}}


def test_a_float_keeps_every_bit() -> None:
    value = 0.1 + 0.2
    assert tomllib.loads(dump_toml({"x": value}))["x"].hex() == value.hex()


def test_a_shape_without_toml_is_refused() -> None:
    with pytest.raises(TypeError, match="complex"):
        dump_toml({"z": 1j})
