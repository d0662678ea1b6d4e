"""Every code block of README, guides and examples does what the page says.

Pages of some seconds run with the suite, the others with `make reports`; what cannot run here is listed with its reason
(pages.py).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import LANGUAGES, ROOT, Block, blocks_of, pages
from tests.docs.kit import Kit
from tests.docs.pages import PAGES, Page
from tests.docs.runner import PageFailed, Runner, put_on_path, same_output

RUNNABLE = [page for page in pages() if any(b.language != "text" for b in blocks_of(page))]


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return Kit(tmp_path_factory.mktemp("kit"))


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    put_on_path(folder)
    return folder


def _slow(page: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.reports] if PAGES.get(page, Page()).slow else []


@pytest.mark.parametrize("page", [pytest.param(p, marks=_slow(p)) for p in RUNNABLE])
def test_the_blocks_of_a_page_run(
    page: str, kit: Kit, commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = PAGES.get(page, Page())
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".trueline").mkdir()
    (kit.folder / "cache").mkdir(exist_ok=True)
    (tmp_path / ".trueline" / "cache").symlink_to(kit.folder / "cache")  # exports are made once
    runner = Runner(tmp_path, commands, entry.prepare(kit, tmp_path), entry.replaced, entry.read_toml)
    for block in blocks_of(page):
        elsewhere = block.language == "python" and entry.python_by
        if not elsewhere and not any(map(block.code.startswith, entry.not_run)):
            runner.run(block)


@pytest.mark.parametrize("page", pages())
def test_every_block_says_its_language(page: str) -> None:
    unknown = [b.place for b in blocks_of(page) if b.language not in LANGUAGES]
    assert not unknown, f"{unknown}: say one of {sorted(LANGUAGES)}"


@pytest.mark.parametrize("page", pages())
def test_no_command_hides_outside_the_fences(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"^(?: {4}|\$ )(?:trueline|python|pytest|make|nice) .*$", text, re.MULTILINE) == []


@pytest.mark.parametrize("page", PAGES)
def test_the_table_of_pages_is_not_stale(page: str) -> None:
    blocks, entry = blocks_of(page), PAGES[page]
    for begins in entry.not_run:
        named = [b for b in blocks if b.code.startswith(begins)]
        assert len(named) == 1, f"{page}: {begins!r} is the beginning of {len(named)} blocks"
    code = "".join(b.code for b in blocks if not any(map(b.code.startswith, entry.not_run)))
    assert all(said in code for said in entry.replaced), f"{page}: replaced names text that the page has not"
    assert all(entry.not_run.values())
    assert not entry.python_by or Path(page).name in (ROOT / entry.python_by).read_text(encoding="utf-8")


def _synopses() -> list[tuple[Block, str]]:
    return [
        (block, line)
        for page in pages()
        for block in blocks_of(page)
        if block.language == "text"
        for line in block.code.splitlines()
        if line.startswith("trueline ") and "later:" not in line
    ]


def _options_of(words: list[str]) -> set[str] | None:
    """Options of a command of `trueline`, None where there is no such command."""
    from typer.main import get_command

    from harness.cli.app import command_tree

    found = get_command(command_tree())
    for word in words:
        if not hasattr(found, "commands"):
            break
        if word not in found.commands:
            return None
        found = found.commands[word]
    return {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)}


def test_every_synopsis_is_one_of_the_command_line() -> None:
    synopses = _synopses()
    assert len(synopses) > 5
    for block, line in synopses:
        first = ""
        for part in line.partition("#")[0].removeprefix("trueline ").split(" | "):
            words = re.findall(r"[\w./-]+", part)
            if not words:
                continue
            group = first if first in ("case", "model") and words[0] not in ("case", "model") else ""
            names = [group, *words] if group else words
            first = first or words[0]
            options = _options_of(names[:2])
            assert options is not None, f"{block.place}: no command {names[:2]}"
            said = set(re.findall(r"--[\w-]+", part))
            assert said <= options, f"{block.place}: {sorted(said - options)} of {names[:2]}"


def test_every_command_in_a_pipeline_of_ci_is_one_of_the_command_line() -> None:
    """GitHub's, GitLab's and Jenkins's files do not run here; their lines are ours all the same."""
    found = [
        (block, words.split()[0], words)
        for page in pages()
        for block in blocks_of(page)
        if block.language in ("yaml", "groovy")
        for words in re.findall(r"(?<![\w-])trueline ((?:[a-z]+ )[^\n|]*)", re.sub(r"' \+\s*'", "", block.code))
    ]
    assert len(found) >= 6
    for block, name, words in found:
        options = _options_of([name])
        assert options is not None, f"{block.place}: no command {name!r}"
        said = set(re.findall(r"--[\w-]+", words))
        assert said <= options, f"{block.place}: {sorted(said - options)} of {name!r}"


def test_output_is_compared_in_order_and_with_gaps() -> None:
    said = "first line\n0.812345 m at frame 25\nlast"
    assert same_output("first line\n...\n0.81... m at frame 25", said) == ""
    assert same_output("last\nfirst line", said) == "first line"
    assert same_output("0.91... m", said) == "0.91... m"
    assert same_output("=== x ===", "====== x ==") == ""


def test_a_block_that_fails_is_told_with_its_place(tmp_path: Path, commands: Path) -> None:
    runner = Runner(tmp_path, commands)
    broken = {
        "bash": "trueline no-such-command\n",
        "console": "$ echo hello\ngoodbye\n",
        "python": "\n\nundefined_name\n",
        "json": "{",
        "toml": "[",
    }
    for language, code in broken.items():
        with pytest.raises((PageFailed, ValueError)) as caught:
            runner.run(Block("guide.md", 7, language, code))
        if isinstance(caught.value, PageFailed):
            assert "guide.md:7" in str(caught.value)


def test_a_verdict_is_no_failure_and_a_bad_command_is(tmp_path: Path, commands: Path) -> None:
    runner = Runner(tmp_path, commands)
    runner.run(Block("guide.md", 1, "bash", "trueline --version\n"))
    for bad in ("trueline gate no_such_run", "trueline gate --no-such-option"):
        with pytest.raises(PageFailed, match="exit code 2"):
            runner.run(Block("guide.md", 1, "bash", bad))
