from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.run.rungs import build_tree, stage_of
from harness.run.swaps import Swap, swap_of

DEFAULT = ("torch-fp32", "ort-fp32-none", "ort-fp32")


def _parents(*args: object, **kwargs: object) -> dict[str, tuple[str | None, tuple[str, ...]]]:
    return {r.name: (r.parent, r.factors) for r in build_tree(*args, **kwargs)}  # type: ignore[arg-type]  # test shorthand


def test_the_default_ladder_is_the_tree_of_the_design() -> None:
    tree = _parents("train/torch-fp32", DEFAULT, ("train", "deploy"), ("colour", "resize"))
    assert tree["train/torch-fp32"] == (None, ())
    assert tree["deploy/torch-fp32"] == ("train/torch-fp32", ("preprocess",))
    assert tree["deploy/ort-fp32-none"] == ("deploy/torch-fp32", ("export",))
    assert tree["deploy/ort-fp32"] == ("deploy/ort-fp32-none", ("graph-optimisation",))
    assert tree["train/ort-fp32-none"] == ("train/torch-fp32", ("export",))
    assert tree["train+resize/torch-fp32"] == ("train/torch-fp32", ("preprocess:resize",))
    assert tree["deploy-resize/torch-fp32"] == ("deploy/torch-fp32", ("preprocess:resize",))
    assert len(tree) == 2 * len(DEFAULT) + 4


@pytest.mark.parametrize("reference", ["train/torch-fp32", "train/ort-fp32", "deploy/ort-fp32-none"])
@pytest.mark.parametrize("engines", [DEFAULT, ("ort-fp32",), ("recorded", "ort-fp32"), ()])
@pytest.mark.parametrize("preprocess", [("train", "deploy"), ("deploy",), ("train",)])
def test_every_parent_stands_before_its_children(
    reference: str, engines: tuple[str, ...], preprocess: tuple[str, ...]
) -> None:
    rungs = build_tree(reference, engines, preprocess, ("a", "b"))
    seen: set[str] = set()
    for rung in rungs:
        assert rung.parent is None or rung.parent in seen, rung
        assert (rung.parent is None) == (not rung.factors)
        seen.add(rung.name)
    assert rungs[0].name == reference
    assert len(seen) == len(rungs)


def test_a_skipped_engine_leaves_several_factors() -> None:
    tree = _parents("train/torch-fp32", ("ort-fp32",), ("deploy",))
    assert set(tree["deploy/ort-fp32"][1]) == {"export", "graph-optimisation"}


def test_the_car_never_ran_the_train_pipeline() -> None:
    assert "train/recorded" not in _parents("train/torch-fp32", (*DEFAULT, "recorded"), ("train", "deploy"))


def test_a_named_recording_hangs_where_the_car_does() -> None:
    assert _parents("train/torch-fp32", (*DEFAULT, "recorded:orin"), ("deploy",))["deploy/recorded:orin"] == (
        "deploy/ort-fp32",
        ("car",),
    )


@pytest.mark.parametrize(("steps", "preprocess"), [(("resize",), ("train", "deploy")), (("a", "b"), ("train",))])
def test_one_step_or_one_pipeline_needs_no_rungs_that_swap(steps: tuple[str, ...], preprocess: tuple[str, ...]) -> None:
    assert {r.preprocess for r in build_tree("train/torch-fp32", DEFAULT, preprocess, steps)} == set(preprocess)


def test_from_a_reference_on_the_car_the_swaps_are_turned_round() -> None:
    tree = _parents("deploy/ort-fp32", ("ort-fp32",), ("train", "deploy"), ("a", "b"))
    assert tree["deploy+a/ort-fp32"] == ("deploy/ort-fp32", ("preprocess:a",))
    assert tree["train-a/ort-fp32"] == ("train/ort-fp32", ("preprocess:a",))


def test_steps_that_go_together_are_one_factor() -> None:
    swap = Swap("train", "+", ("resize", "crop"))
    tree = _parents("train/torch-fp32", (), ("deploy",), ("colour", "resize", "crop"), (swap,))
    assert tree["train+resize+crop/torch-fp32"] == ("train/torch-fp32", ("preprocess:resize+crop",))
    assert tree["deploy/torch-fp32"] == ("train/torch-fp32", ("preprocess",))


@pytest.mark.parametrize("name", ["train+resize", "deploy-half-res", "train-resize+crop", "deploy+a.b"])
def test_the_name_of_a_swap_says_which(name: str) -> None:
    swap = swap_of(name)
    assert swap is not None
    assert swap.name == name
    assert swap.base + swap.sign == name[: len(swap.base) + 1]


@pytest.mark.parametrize("name", ["train", "deploy", "training", "deploy-", "lab+resize"])
def test_other_names_are_no_swaps(name: str) -> None:
    assert swap_of(name) is None


def test_a_reference_without_a_slash_is_refused() -> None:
    with pytest.raises(UsageError, match="PREPROCESS/ENGINE"):
        build_tree("torch-fp32", (), ())


@pytest.mark.parametrize(
    ("factor", "stage"),
    [("preprocess", "preprocess"), ("preprocess:resize", "preprocess"), ("export", "export"),
     ("graph-optimisation", "engine"), ("precision:fp16", "numerics"), ("car", "car")],
)  # fmt: skip
def test_every_factor_has_its_stage(factor: str, stage: str) -> None:
    assert stage_of(factor) == stage


def test_a_command_hangs_below_the_onnx_file_it_most_likely_runs() -> None:
    assert _parents("train/torch-fp32", (*DEFAULT, "command:orin"), ("deploy",))["deploy/command:orin"] == (
        "deploy/ort-fp32",
        ("runtime:command",),
    )


def test_the_only_step_that_differs_is_the_factor_of_its_rung() -> None:
    tree = _parents("train/torch-fp32", DEFAULT, ("train", "deploy"), ("resize",))
    assert tree["deploy/torch-fp32"] == ("train/torch-fp32", ("preprocess:resize",))


@pytest.mark.parametrize("steps", [(), ("a", "b")])
def test_no_step_or_several_are_preprocessing_as_a_whole(steps: tuple[str, ...]) -> None:
    tree = _parents("train/torch-fp32", DEFAULT, ("deploy",), steps, swaps=())
    assert tree["deploy/torch-fp32"] == ("train/torch-fp32", ("preprocess",))
    assert len(tree) == 4
