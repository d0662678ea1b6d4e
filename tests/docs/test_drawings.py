"""The pictures of measures and ladder in the guide show what the code measures now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.drawings import OUT, draw_all


@pytest.fixture(scope="module")
def made_now(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("drawings")
    draw_all(folder)
    return sorted(folder.iterdir())


def test_the_drawings_of_the_guide_are_those_that_the_code_makes(made_now: list[Path]) -> None:
    """Words and numbers to the letter, curves in their number: sines of another library may round otherwise."""
    for made in made_now:
        now, kept = (re.sub(r'd="M[^"]*"', "", f.read_text(encoding="utf-8")) for f in (made, OUT / made.name))
        assert now == kept, f"{made.name}: python -m docs.drawings, and look at it"


def test_numbers_are_those_that_were_planted(made_now: list[Path]) -> None:
    pairs = re.findall(
        r'>([^<]+)<tspan class="n" dx="8">([^<]+)<', "".join(f.read_text(encoding="utf-8") for f in made_now)
    )
    told = dict(pairs)
    assert told["offset"] == "0.500 m"
    assert told["heading"] == "1.00°"
    assert told["lag"] == "4.0 frames"
    assert told["glitch"] == "0.500 m"
    assert told["step"] == "0.350 m"
    assert told["bias"] == "0.200 m"
    assert len(told) == 17
