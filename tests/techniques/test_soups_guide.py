"""The guide's code runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from techniques import registry

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "techniques" / "soups.md"
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)


def test_the_code_of_the_guide_runs():
    assert len(BLOCKS) == 6
    namespace: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, str(GUIDE), "exec"), namespace)


NAMES = ("uniform-soup", "greedy-soup", "learned-soup", "seasoned-soup", "wise-ft", "regmixup", "sam")


@pytest.mark.parametrize("name", NAMES)
def test_the_guide_tells_each_option_and_the_true_default(name):
    text = GUIDE.read_text()
    assert f"`{name}`" in text
    section = next(part for part in text.split("\n## ") if f"`{name}`" in part.splitlines()[0])
    technique = registry.build(name)
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S[^|]*?) \|", section, re.MULTILINE))
    for option, value in vars(technique).items():
        if not option.startswith("_") and option not in ("ingredients", "branches" if name == "seasoned-soup" else ""):
            assert option in rows
            if isinstance(value, int | float):
                assert float(rows[option]) == value
