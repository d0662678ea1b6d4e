"""Which steps differ, and pipelines with one step swapped."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import PreprocessError
from harness.feed.preprocess import differing_steps, mixed_steps
from harness.feed.preprocess.mixing import checked_steps

NAMES = ["a", "b", "c", "d", "e", "f"]


@st.composite
def pipelines(draw: st.DrawFn) -> list[dict[str, object]]:
    names = [n for n in NAMES if draw(st.booleans())]
    return [{"op": "round_u8", "step": n, "rounding": draw(st.sampled_from(["nearest", "truncate"]))} for n in names]


@settings(deadline=None)
@given(pipelines(), pipelines())
def test_swapping_every_differing_step_turns_one_pipeline_into_the_other(train: list, deploy: list) -> None:
    mixed = train
    for step in differing_steps(train, deploy):
        mixed = mixed_steps(mixed, deploy, step)
    assert differing_steps(mixed, deploy) == ()
    assert sorted(s["step"] for s in mixed) == sorted(s["step"] for s in deploy)


@settings(deadline=None)
@given(pipelines(), pipelines())
def test_one_swap_leaves_every_other_step_alone(train: list, deploy: list) -> None:
    for step in differing_steps(train, deploy):
        mixed = mixed_steps(train, deploy, step)
        assert [s for s in mixed if s["step"] != step] == [s for s in checked_steps(train, "") if s["step"] != step]
        assert set(differing_steps(train, mixed)) == {step}


def test_a_step_only_deploy_has_is_put_where_deploy_runs_it() -> None:
    train = [{"op": "to_rgb"}, {"op": "resize", "size": [4, 4]}, {"op": "normalise"}]
    deploy = [{"op": "nv12"}, *train[:2], {"op": "round_u8"}, train[2]]
    assert differing_steps(train, deploy) == ("nv12", "round")
    assert [s["step"] for s in mixed_steps(train, deploy, "nv12")] == ["nv12", "colour", "resize", "normalise"]
    assert [s["step"] for s in mixed_steps(train, deploy, "round")] == ["colour", "resize", "round", "normalise"]
    assert [s["step"] for s in mixed_steps(deploy, train, "round")] == ["nv12", "colour", "resize", "normalise"]


def test_writing_a_default_out_is_no_difference() -> None:
    assert (
        differing_steps([{"op": "resize", "size": [4, 4]}], [{"op": "resize", "size": (4, 4), "kernel": "bilinear"}])
        == ()
    )


def test_another_op_under_the_same_name_is_a_difference() -> None:
    assert differing_steps([{"op": "to_rgb"}], [{"op": "to_bgr"}]) == ("colour",)


def test_a_step_neither_has_changes_nothing() -> None:
    train = [{"op": "to_rgb"}]
    assert mixed_steps(train, [], "resize") == checked_steps(train, "")


def test_the_same_steps_in_another_order_cannot_be_swapped_one_by_one() -> None:
    crop, resize = {"op": "crop", "box": [0, 0, 4, 4]}, {"op": "resize", "size": [4, 4]}
    with pytest.raises(PreprocessError, match="another order"):
        differing_steps([crop, resize], [resize, crop])
