"""`trueline init`: a first card, policy and cases for a model and videos."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import CacheOption, JsonOption
from harness.terminal import print_json, say, show

if TYPE_CHECKING:
    from harness.init import Guess
    from harness.init.paint import Paint

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
                "paint": None if made.paint is None else asdict(made.paint),
                "guesses": [
                    {"key": g.key, "value": g.value, "sure": g.sure, "evidence": g.evidence, "others": list(g.others)}
                    for g in made.guesses
                ],
            }
        )  # fmt: skip
        return
    for guess in made.guesses:
        show(_told(guess, guess.key in made.unconfirmed))
    drawn = f"drawn on {made.picture}" if made.picture else f"not drawn: {made.no_picture}"
    say(f"{made.lines} lines on the trial frames, {drawn}")
    if made.lines and made.paint is not None:
        say(_on_paint(made.paint))
    if made.unconfirmed:
        say(f"guessed, nobody has confirmed: {', '.join(made.unconfirmed)}; correct them in {made.card}")
    folder = made.card.parent
    say(f"next: trueline run {made.card} --cases {folder / 'cases'} --policy {made.policy} --out {folder / 'runs'}")


def _on_paint(paint: Paint) -> str:
    """Whether lines lie where a person sees them, as far as stripes in the picture tell it."""
    told = f"{paint.on:.0%} of their length lies on bright stripes, {paint.beside:.0%} of the same lines moved aside"
    if paint.tells:
        return told
    return (
        f"{told}: no more than by chance. Look at the picture; where they lie beside the markings correct crop, colour "
        "or normalisation (docs/init.md, Stumbles)"
    )


def _told(guess: Guess, unconfirmed: bool) -> str:
    """A guess with what it rests on, no wider than a terminal of 80 columns."""
    from textwrap import fill

    from cases.tomlout import inline_toml

    head = f"{'?' if unconfirmed else ' '} {guess.key} = {inline_toml(guess.value)}"
    lines = [fill(head, 80, subsequent_indent="      "), fill(guess.evidence, 80, **_INDENTED)]
    return "\n".join(line for line in lines if line)


_INDENTED: Mapping[str, Any] = {"initial_indent": "      ", "subsequent_indent": "      "}


def _ask(guess: Guess) -> Any:
    """Ask a person until the answer can be one; an empty answer is the guess."""
    from cases.tomlout import inline_toml

    others = [inline_toml(other) for other in (guess.others or guess.words) if other != guess.value]
    say(f"\n{guess.key}: {guess.evidence}{'; also ' if others else ''}{', '.join(others)}")
    kept = "" if guess.value is None else inline_toml(guess.value)
    while True:
        said = str(typer.prompt(f"  {guess.key}", default=kept, err=True))
        if said == kept:
            return guess.value
        answer = _read(said)
        problem = "write it as TOML does: a word, a number, a list [..], a table {..}" if answer is None else ""
        if not (problem := problem or guess.refusal(answer)):
            return answer
        say(f"  {problem}")


def _read(said: str) -> Any:
    """What a person wrote: a value of TOML, or a word without quotes; None where it is neither."""
    import tomllib

    try:
        return tomllib.loads(f"value = {said}")["value"]
    except tomllib.TOMLDecodeError:
        bare = said.replace("-", "").replace("_", "").replace(":", "").replace(".", "")
        return said if bare.isalnum() else None
