"""A hook of mkdocs: the pages of the guide that are made from code, so that they cannot go stale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

__all__ = ["commands_page", "glossary_page", "measures_page", "on_files"]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from code."""
    from mkdocs.structure.files import File

    pages = {"commands": commands_page(), "measures": measures_page(), "glossary": glossary_page()}
    for name, text in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def commands_page() -> str:
    """Every command with its arguments and options, as `--help` says them."""
    from typer.main import get_command

    from harness.cli.app import command_tree

    parts = ["# Commands", "", "Exit codes: 0 pass; 1 fail; 2 bad input; 3 inconclusive or not run; 4 a bug of ours."]
    for path, command in _commands(get_command(command_tree()), ["trueline"]):
        parts += ["", f"## {' '.join(path[1:]) or 'trueline'}", "", "```text", _help(command, path), "```"]
    return "\n".join(parts) + "\n"


def _commands(command: Any, path: list[str]) -> Iterator[tuple[list[str], Any]]:
    inside = getattr(command, "commands", {})
    if not inside:
        yield path, command
    for name, one in sorted(inside.items()):
        yield from _commands(one, [*path, name])


def _help(command: Any, path: list[str]) -> str:
    context = command.context_class(command, info_name=" ".join(path), terminal_width=100, max_content_width=100)
    return str(command.get_help(context)).rstrip()


def measures_page() -> str:
    """Every measure with its definition, as the catalogue has it."""
    from harness.run.catalogue import measures

    rows = [
        "# Measures",
        "",
        "Names that rules take as `metric`; definitions in words.",
        "",
        "| measure | is |",
        "|---|---|",
    ]
    rows += [f"| `{name}` | {_cell(one.definition)} |" for name, one in sorted(measures().items())]
    return "\n".join(rows) + "\n"


def glossary_page() -> str:
    """The words of DESIGN.md and the measures, in one alphabet."""
    from harness.run.catalogue import measures

    words = dict(_words_of_design())
    for name, one in measures().items():
        words.setdefault(name, f"[measure](measures.md): {_cell(one.definition)}")
    rows = [
        "# Glossary",
        "",
        "The words of [the design](../DESIGN.md), and every measure.",
        "",
        "| word | is |",
        "|---|---|",
    ]
    rows += [f"| {word} | {words[word]} |" for word in sorted(words, key=str.casefold)]
    return "\n".join(rows) + "\n"


def _words_of_design() -> Iterator[tuple[str, str]]:
    """(word, meaning) of the first table of DESIGN.md.

    Raises:
        ValueError: the table is no longer where it was.
    """
    from pathlib import Path

    text = (Path(__file__).parent / "DESIGN.md").read_text(encoding="utf-8")
    table = text.partition("## 1. Words")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ", 1) for line in table.splitlines() if line.startswith("| ")]
    if len(rows) < 10:
        raise ValueError("DESIGN.md has no table of words in its section 1")
    yield from ((word, meaning) for word, meaning in rows[1:])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
