from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from itertools import permutations
from types import SimpleNamespace

import pytest

from engines.registry import ENTRY_POINTS
from engines.table import TABLE
from harness.errors import UsageError
from harness.feed.swaps import Swap, swap_of
from harness.run.rungs import build_tree, stage_of

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
        ("runtime:command:orin",),
    )


def test_the_only_step_that_differs_is_the_factor_of_its_rung() -> None:
    tree = _parents("train/torch-fp32", DEFAULT, ("train", "deploy"), ("resize",))
    assert tree["deploy/torch-fp32"] == ("train/torch-fp32", ("preprocess:resize",))


@pytest.mark.parametrize("steps", [(), ("a", "b")])
def test_no_step_or_several_are_preprocessing_as_a_whole(steps: tuple[str, ...]) -> None:
    tree = _parents("train/torch-fp32", DEFAULT, ("deploy",), steps, swaps=())
    assert tree["deploy/torch-fp32"] == ("train/torch-fp32", ("preprocess",))
    assert len(tree) == 4


def test_two_variants_of_one_engine_are_told_apart_by_their_factors() -> None:
    tree = _parents("train/torch-fp32", (*DEFAULT, "emulated-fp16", "emulated-fp16:unfolded"), ("deploy",))
    assert tree["deploy/emulated-fp16"] == ("deploy/ort-fp32", ("precision:fp16",))
    assert tree["deploy/emulated-fp16:unfolded"] == ("deploy/ort-fp32", ("precision:fp16:unfolded",))
    assert stage_of("precision:fp16:unfolded") == "numerics"


def test_another_device_is_one_step_of_its_own() -> None:
    tree = _parents("train/torch-fp32", ("torch-fp32@cuda", "torch-fp16@cuda", "torch-fp16"), ("deploy",))
    assert tree["deploy/torch-fp32@cuda"] == ("deploy/torch-fp32", ("runtime:cuda",))
    assert tree["deploy/torch-fp16@cuda"] == ("deploy/torch-fp32@cuda", ("precision:fp16",))
    assert tree["deploy/torch-fp16"] == ("deploy/torch-fp32", ("precision:fp16",))


@pytest.fixture
def their_engines(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Declares engines of another package: names, and the LADDER of their module."""

    def declare(*names: str, **module: object) -> None:
        found = SimpleNamespace(open_engine=lambda name, source, **options: None, **module)
        monkeypatch.setitem(sys.modules, "their_engines", found)  # type: ignore[arg-type]  # any object may stand there
        entries = [EntryPoint(name, "their_engines", ENTRY_POINTS) for name in names]
        monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries)

    return declare


ACME = {"acme-fp32": ("ort-fp32", ("runtime:acme",)), "acme-fp16": ("acme-fp32", ["precision:fp16"])}


def test_an_engine_of_another_package_hangs_where_it_declares(their_engines: Callable[..., None]) -> None:
    their_engines("acme-fp32", "acme-fp16", LADDER=ACME)
    tree = _parents("train/torch-fp32", (*DEFAULT, "acme-fp16", "acme-fp32"), ("deploy",))
    assert tree["deploy/acme-fp32"] == ("deploy/ort-fp32", ("runtime:acme",))
    assert tree["deploy/acme-fp16"] == ("deploy/acme-fp32", ("precision:fp16",))
    without = _parents("train/torch-fp32", (*DEFAULT, "acme-fp16:b"), ("deploy",))
    assert without["deploy/acme-fp16:b"] == ("deploy/ort-fp32", ("precision:fp16:b", "runtime:acme"))


@pytest.mark.parametrize("reference", ["train/torch-fp32", "deploy/ort-fp32"])
def test_an_engine_that_declares_nothing_hangs_under_the_references(
    their_engines: Callable[..., None], reference: str
) -> None:
    their_engines("mine")
    tree = _parents(reference, (*DEFAULT, "mine", "mine:left"), ("train", "deploy"))
    engine = reference.partition("/")[2]
    assert tree["deploy/mine"] == (f"deploy/{engine}", ("runtime:mine",))
    assert tree["deploy/mine:left"] == ("deploy/mine", ("runtime:left",))


@pytest.mark.parametrize(
    "ladder",
    [
        {"a": ("b", ("runtime:a",)), "b": ("a", ("runtime:b",))},
        {"a": ("a", ("runtime:a",))},
        {"a": ("never-heard-of", ("precision:fp16",))},
        {"a": "ort-fp32"},
        {"a": ("ort-fp32", "runtime:a")},
        {"a": ("ort-fp32", ())},
        {"a": ("ort-fp32", (None,))},
        7,
    ],
)
def test_whatever_a_package_declares_the_ladder_stands(their_engines: Callable[..., None], ladder: object) -> None:
    their_engines("a", "b", LADDER=ladder)
    rungs = build_tree("train/torch-fp32", (*DEFAULT, "a", "b"), ("train", "deploy"))
    names = [r.name for r in rungs]
    assert len(set(names)) == len(names) == 10
    assert all(r.parent in names[:k] for k, r in enumerate(rungs) if k)
    assert all(r.factors for r in rungs[1:])


def test_a_parent_nobody_has_is_a_runtime_of_its_own(their_engines: Callable[..., None]) -> None:
    their_engines("a", LADDER={"a": ("never-heard-of", ("precision:fp16",))})
    assert _parents("train/torch-fp32", ("a",), ("deploy",))["deploy/a"] == (
        "deploy/torch-fp32",
        ("precision:fp16", "runtime:never-heard-of"),
    )


def test_any_engine_can_be_the_reference_of_any_other() -> None:
    for reference, engine in permutations(TABLE, 2):
        _, rung = build_tree(f"deploy/{reference}", [engine], ["deploy"])
        assert rung.parent == f"deploy/{reference}"
        assert rung.factors, (reference, engine)
