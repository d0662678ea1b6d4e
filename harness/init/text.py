"""The files that `trueline init` writes, as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cases.tomlout import inline_toml
from harness.init.guess import Guess

__all__ = ["card_text", "policy_text", "test_text"]


def card_text(card: Mapping[str, Any], guesses: Sequence[Guess], dump: Callable[[Mapping[str, Any]], str]) -> str:
    """The card, with what it rests on above it."""
    lines = ["# Written by `trueline init`. What it rests on; ? is a guess that nobody has confirmed:"]
    open_ = set(card.get("unconfirmed", ()))
    for guess in guesses:
        mark = "?" if guess.key in open_ else " "
        lines.append(f"#  {mark} {guess.key} = {_shown(guess.value)}: {guess.evidence}".replace("\n", " "))
    lines += [
        "# Look at first_frames.png. Correct what is wrong, and take confirmed words out of `unconfirmed`: replay and",
        "# gate name the rest. docs/init.md has the questions, docs/cards.md every key.",
        "",
    ]
    return "\n".join(lines) + dump({k: v for k, v in card.items() if v not in ([], {})})


def _shown(value: Any) -> str:
    text = inline_toml(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def policy_text(name: str, engines: Sequence[str]) -> str:
    """A first policy: a ready one with these engines, for pytest and `trueline gate`."""
    return SMOKE.format(name=name, engines=", ".join(f'"{engine}"' for engine in engines))


def test_text(cases: Sequence[str]) -> str:
    """A test file beside the policy."""
    return TEST.format(case=cases[0])


SMOKE = """# A smoke test, not a release policy: it fails what any driver would see. pytest collects this file, and
# `trueline gate RUN --policy {name}.trueline.toml` judges a run by it. docs/gate.md has the rules, and how to
# tighten them.
schema = 1
card = "model.toml"
cases = "cases/*"
extends = "{name}"

[profile.cpu]
engines = [{engines}]
"""

TEST = '''"""Tests by hand; the policy beside it is collected by itself. docs/pytest.md."""


def test_the_network_draws_lines(trueline_replay):
    run = trueline_replay("model.toml", ["cases/{case}"], engines=["ort-fp32"], preprocess=["deploy"])
    assert run.table("lines").collect().height > 0
'''
