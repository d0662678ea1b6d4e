"""What run.json tells of the two pipelines, and where the recording contradicts them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cases.case import Case, open_case
from cases.synth import synth_cases
from cases.synth.write import write_synth_case
from harness.feed.declared import contradictions
from harness.feed.pipelines import told_pipelines
from harness.model.card import Card, PreprocessPart, load_card
from tests.harness.tiny_model import write_tiny

REST = [{"op": "resize", "size": [64, 36]}, {"op": "normalise"}]
RGB = {"op": "to_rgb"}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A video that declares bt601, limited."""
    return open_case(synth_cases(3, 1, 0.2, tmp_path_factory.mktemp("cases"))[0])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return load_card(write_tiny(tmp_path_factory.mktemp("tiny")))


def _card(tiny: Card, train: list[dict[str, Any]], deploy: list[dict[str, Any]]) -> Card:
    return tiny.model_copy(update={"preprocess": PreprocessPart(train=[*train, *REST], deploy=[*deploy, *REST])})


def _words(told: dict[str, Any]) -> list[str]:
    return [d["words"] for d in told["pipelines"]["image"]["differences"]]


def test_both_pipelines_are_told_with_their_defaults_and_differences(tiny: Card, case: Case) -> None:
    told = told_pipelines(tiny, [case])
    assert told["warnings"] == []
    assert list(told["pipelines"]) == ["image"]
    resize = {"op": "resize", "step": "resize", "size": (64, 36), "kernel": "bilinear", "coordinates": "half-pixel"}
    assert told["pipelines"]["image"]["train"][1] == resize | {"antialias": True, "arithmetic": "float"}
    assert told["pipelines"]["image"]["deploy"][1] == resize | {"antialias": False, "arithmetic": "fixed"}
    assert _words(told)[:3] == [
        "colour: arithmetic float -> fixed",
        "resize: antialias true -> false",
        "resize: arithmetic float -> fixed",
    ]


@pytest.mark.parametrize("option", [("matrix", "bt601", "bt709"), ("range", "limited", "full")])
def test_a_recording_that_contradicts_deploy_is_said_first(
    tiny: Card, case: Case, option: tuple[str, str, str]
) -> None:
    key, declared, told = option
    said = told_pipelines(_card(tiny, [RGB], [{**RGB, key: told}]), [case])
    words = f"the recording declares {declared}, deploy is told {told}"
    assert said["warnings"] == [f"{words} (input image, step colour, option {key}; case {case.id})"]
    assert _words(said) == [f"{words}; colour: {key} declared -> {told}"]


def test_a_contradiction_in_both_pipelines_is_a_warning_without_a_difference(tiny: Card, case: Case) -> None:
    wrong = {**RGB, "range": "full"}
    told = told_pipelines(_card(tiny, [wrong], [wrong]), [case])
    assert [w.partition(" is told")[0].rpartition(" ")[2] for w in told["warnings"]] == ["train", "deploy"]
    assert _words(told) == []


def test_what_an_encoding_step_made_is_what_the_next_one_reads(tiny: Card, case: Case) -> None:
    encoded = [{"op": "nv12", "matrix": "bt709"}, RGB]
    assert contradictions(_card(tiny, [RGB], encoded), [case]) == ()
    (found,) = contradictions(_card(tiny, [RGB], [encoded[0], {**RGB, "matrix": "bt601"}]), [case])
    assert found.words == "step nv12 encodes bt709, deploy is told bt601"


def test_naming_what_the_recording_declares_is_no_contradiction(tiny: Card, case: Case) -> None:
    told = {**RGB, "matrix": "bt601", "range": "limited"}
    assert contradictions(_card(tiny, [RGB], [told]), [case]) == ()


def test_a_guess_of_the_import_contradicts_nothing(tiny: Card, case: Case) -> None:
    card = _card(tiny, [RGB], [{**RGB, "matrix": "bt709"}])
    camera = case.meta.cameras["front"].model_copy(update={"color_assumed": True})
    guessed = replace(case, meta=case.meta.model_copy(update={"cameras": {"front": camera}}))
    assert contradictions(card, [case]) != ()
    assert contradictions(card, [guessed]) == ()


def test_cases_of_one_contradiction_are_told_together(tiny: Card, case: Case, tmp_path: Path) -> None:
    others = [open_case(p) for p in synth_cases(4, 4, 0.1, tmp_path)]
    (found,) = contradictions(_card(tiny, [RGB], [{**RGB, "matrix": "bt709"}]), others)
    assert found.cases == tuple(c.id for c in others)
    assert found.warning.endswith("and 1 more)")


def test_rgb_pictures_have_no_matrix_to_contradict(tiny: Card, tmp_path: Path) -> None:
    pictures = open_case(write_synth_case(5, 0.1, tmp_path / "c", fmt="images"))
    assert contradictions(_card(tiny, [RGB], [{**RGB, "matrix": "bt709"}]), [pictures]) == ()
