"""Hypothesis strategy: pipelines of a card, in any order, of ops of ours and of the card's own."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMES = ["a", "b", "c", "d", "e", "f"]
_NUMBERS = st.sampled_from([0.0, 0.25, 0.5, 1.0])
_OPS: tuple[st.SearchStrategy[dict[str, Any]], ...] = (
    st.fixed_dictionaries({"op": st.just("round_u8")}, optional={"rounding": st.sampled_from(["nearest", "truncate"])}),
    st.fixed_dictionaries(
        {"op": st.just("resize"), "size": st.sampled_from([[4, 4], (4, 4), [8, 4]])},
        optional={"antialias": st.booleans(), "kernel": st.sampled_from(["bilinear", "nearest"])},
    ),
    st.fixed_dictionaries(
        {"op": st.just("normalise")},
        optional={"mean": _NUMBERS | st.lists(_NUMBERS, min_size=3, max_size=3), "scale": st.none() | _NUMBERS},
    ),
    st.fixed_dictionaries({"op": st.just("their:op")}, optional={"quality": st.sampled_from([60, 90])}),
)


def step_lists() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Steps of distinct names in any order."""
    return st.lists(st.sampled_from(NAMES), unique=True).flatmap(
        lambda names: st.tuples(*(st.one_of(_OPS).map(lambda s, n=n: {**s, "step": n}) for n in names)).map(list)
    )
