"""Recipes: techniques with their options in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.training import TaskFile, with_recipe
from techniques.errors import TaskError
from techniques.recipes import load_recipe, recipes
from techniques.registry import build_all

FILE = TaskFile(name="x", path=Path("task.toml"), factory="task:make", card=Path("card.toml"),
                technique={"ema": {"decay": 0.5}, "fgsm": {"eps": 0.1}})  # fmt: skip


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_can_be_built(name: str) -> None:
    found = load_recipe(name)
    assert [t.name for t in build_all(found)] == list(found)


def test_there_is_a_deployable_one_and_it_is_a_whole_recipe() -> None:
    assert {"deployable", "robust"} <= set(recipes())
    assert load_recipe("deployable")


def test_a_recipe_is_whole_and_leaves_the_other_options_of_the_task(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("schema = 1\n[technique.sam]\n[technique.ema]\nwarmup = false\n")
    file, chosen = with_recipe(FILE, str(own), [])
    assert chosen == ["sam", "ema"]
    assert file.technique == {"sam": {}, "ema": {"warmup": False}, "fgsm": {"eps": 0.1}}
    assert with_recipe(FILE, None, ["fgsm"]) == (FILE, ["fgsm"])


def test_a_recipe_beside_techniques_is_refused() -> None:
    with pytest.raises(UsageError, match="names its own techniques"):
        with_recipe(FILE, "robust", ["fgsm"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("schema = 1\n", "either"),
        ("schema = 2\n[technique.ema]\n", "either"),
        ('schema = 1\nsame_as = "robust"\n[technique.ema]\n', "either"),
        ("schema = 1\ntechnique = 3\n", "no tables"),
        ("schema = 1\n[technique]\n", "no tables"),
        ('schema = 1\nsame_as = "nothing"\n', "which is none"),
        ("schema = \n", "not TOML"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_in_one_line(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(TaskError, match=told):
        load_recipe(str(path))


def test_a_name_that_is_none_is_told_what_there_is() -> None:
    with pytest.raises(TaskError, match="no recipe 'best'") as error:
        load_recipe("best")
    assert "deployable" in str(error.value)
