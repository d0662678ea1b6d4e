"""`trueline init`: a first card, policy and cases for a model and videos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import CacheOption, JsonOption
from harness.terminal import print_json, say, show, table

if TYPE_CHECKING:
    from harness.init import Guess

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init")(init)


def init(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="ONNX file, or module:factory of a PyTorch network")],
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="video files, or folders of images")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="folder to write; default: this one")] = Path(),
    answers: Annotated[
        Path | None,
        typer.Option("--answers", metavar="FILE", help="TOML file: question = answer; nobody is asked then"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="take every guess; nobody is asked")] = False,
    cache: CacheOption = None,
    json: JsonOption = False,
) -> None:
    """Write a first card, smoke policy, test and cases for a model and videos; say what is guessed."""
    from harness.init import init_project
    from harness.init.guess import read_answers
    from harness.model.card import DEFAULT_CACHE

    asks = not (yes or json or answers) and sys.stdin.isatty()
    made = init_project(
        model, videos, out, answers=read_answers(answers), ask=_ask if asks else None,
        cache=cache or DEFAULT_CACHE, tell=say,
    )  # fmt: skip
    if json:
        print_json(
            {
                "card": str(made.card), "cases": [str(c) for c in made.cases], "policy": str(made.policy),
                "test": str(made.test), "picture": str(made.picture) if made.picture else None,
                "lines": made.lines, "unconfirmed": list(made.unconfirmed),
                "guesses": [
                    {"key": g.key, "value": g.value, "sure": g.sure, "evidence": g.evidence, "others": list(g.others)}
                    for g in made.guesses
                ],
            }
        )  # fmt: skip
        return
    rows = [("?" if g.key in made.unconfirmed else "", g.key, _short(g.value), g.evidence) for g in made.guesses]
    show(table(("", "what", "is", "because"), rows))
    drawn = f"drawn on {made.picture}" if made.picture else f"not drawn: {made.no_picture}"
    say(f"{made.lines} lines on the trial frames, {drawn}")
    if made.unconfirmed:
        say(f"guessed, nobody has confirmed: {', '.join(made.unconfirmed)}; correct them in {made.card}")
    folder = made.card.parent
    say(f"next: trueline run {made.card} --cases {folder / 'cases'} --policy {made.policy} --out {folder / 'runs'}")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 48 else f"{text[:45]}..."


def _ask(guess: Guess) -> Any:
    """Ask a person; an empty answer is the guess."""
    import tomllib

    others = f"; also {', '.join(map(str, guess.others))}" if guess.others else ""
    say(f"{guess.key}: {guess.evidence}{others}")
    while True:
        said = typer.prompt(f"  {guess.key}", default="" if guess.value is None else str(guess.value), err=True)
        if said == str(guess.value):
            return guess.value
        try:
            return tomllib.loads(f"value = {said}")["value"]
        except tomllib.TOMLDecodeError:
            if said.replace("-", "").replace("_", "").replace(":", "").replace(".", "").isalnum():
                return said
            say("  write it as TOML does: a word, a number, a list [..], a table {..}")
