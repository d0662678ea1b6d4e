"""Which steps differ, and pipelines with some steps swapped."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import PreprocessError
from harness.feed.preprocess import differing_steps, mixed_steps
from harness.feed.preprocess.mixing import ORDER, checked_steps
from tests.harness.feed.preprocess.step_lists import step_lists

Steps = list[dict[str, Any]]
quick = settings(deadline=None, max_examples=200)


def _acts_like(steps: Steps, other: Steps) -> bool:
    """Same steps, same order, same effect."""
    return [s["step"] for s in steps] == [s["step"] for s in other] and differing_steps(steps, other) == ()


@quick
@given(step_lists(), step_lists(), st.randoms(use_true_random=False))
def test_swapping_the_differing_steps_one_after_the_other_turns_train_into_deploy(
    train: Steps, deploy: Steps, random: Any
) -> None:
    steps = list(differing_steps(train, deploy))
    random.shuffle(steps)
    mixed = train
    for step in steps:
        mixed = mixed_steps(mixed, deploy, step)
    assert _acts_like(mixed, deploy)


@quick
@given(step_lists(), step_lists())
def test_swapping_every_differing_step_at_once_is_the_other_pipeline(train: Steps, deploy: Steps) -> None:
    steps = differing_steps(train, deploy)
    assert _acts_like(mixed_steps(train, deploy, *steps), deploy)
    assert _acts_like(mixed_steps(deploy, train, *steps), train)


@quick
@given(step_lists(), step_lists())
def test_a_step_put_into_train_is_all_others_taken_out_of_deploy(train: Steps, deploy: Steps) -> None:
    steps = differing_steps(train, deploy)
    for step in steps:
        others = [s for s in steps if s != step]
        with_it, without_others = mixed_steps(train, deploy, step), mixed_steps(deploy, train, *others)
        assert {s["step"]: s["op"] for s in with_it} == {s["step"]: s["op"] for s in without_others}
        assert set(differing_steps(with_it, without_others)) <= {ORDER}


@quick
@given(step_lists(), step_lists())
def test_one_swap_leaves_every_other_step_alone(train: Steps, deploy: Steps) -> None:
    for step in differing_steps(train, deploy):
        mixed = mixed_steps(train, deploy, step)
        assert set(differing_steps(train, mixed)) == {step}
        if step != ORDER:
            others = [s for s in checked_steps(train, "") if s["step"] != step]
            assert [s for s in mixed if s["step"] != step] == others


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


def test_the_same_steps_in_another_order_differ_in_their_order_alone() -> None:
    crop, resize = {"op": "crop", "box": [0, 0, 4, 4]}, {"op": "resize", "size": [4, 4]}
    assert differing_steps([crop, resize], [resize, crop]) == (ORDER,)
    assert [s["op"] for s in mixed_steps([crop, resize], [resize, crop], ORDER)] == ["resize", "crop"]


@pytest.mark.parametrize("name", ["order", "half/res", "blur+crop"])
def test_a_name_that_no_rung_could_be_called_by_is_refused(name: str) -> None:
    with pytest.raises(PreprocessError, match="no step can have the name"):
        checked_steps([{"op": "normalise", "step": name}], "train")
