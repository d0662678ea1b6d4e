"""What is printed is text, whatever data it came from, and one module prints."""

from __future__ import annotations

import ast
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.terminal import TABLE_WIDTH, accept_any_text, cell, fail, listing, print_json, say, show, table
from trueline._text import shown

ROOT = Path(__file__).parents[2]
TRICKY = ["pip install 'trueline[gpu]'", "recorded:car:", "[bold]x[/bold]", ":smiley:", "[/red]", "a\\[b]"]


@pytest.mark.parametrize("text", TRICKY)
def test_brackets_and_colons_are_text(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(text, cell(text, "bold red"), table((text,), [(text,)], title=text))
    say(text)
    fail(text)
    said = capsys.readouterr()
    assert said.out.count(text) == 5
    assert said.err == f"{text}\nerror: {text}\n"


@given(st.text())
def test_no_text_steers_a_terminal(text: str) -> None:
    told = shown(text)
    assert not any(c in told for c in "\x00\x07\x08\r\x1b\x7f\x85\x9b\u202e\u2066")
    assert told.isascii() or told.encode("utf-8")  # no half of a surrogate pair


@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=40))
def test_readable_text_stays_as_it_is(text: str) -> None:
    assert shown(text) == text


def test_an_escape_sequence_is_written_out() -> None:
    assert shown("\x1b[31mred\u202e") == "\\x1b[31mred\\u202e"


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    fail("first\nsecond\r\n\tthird")
    assert capsys.readouterr().err == "error: first second third\n"


@pytest.mark.parametrize("value", [["\x1b[2J", "\u009b", "\u202e", "naïve 线"], {"\x1b": 1.5}])
def test_json_reads_back_and_steers_nothing(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    print_json(value)
    said = capsys.readouterr().out
    assert json.loads(said) == value
    assert not any(c in said for c in "\x1b\x9b\u202e")


def test_nothing_to_show_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    show()
    assert capsys.readouterr().out == ""


def test_a_line_is_not_broken_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show("word " * 100)
    assert capsys.readouterr().out.rstrip("\n") == "word " * 100


COLUMNS = ("case, rung", "what", "shares")
ROW = (
    "tunnel\ndeploy/ort-fp32",
    "mean offset, line 1, mid, frame 22, of which there is a lot more to say than fits",
    "",
)


@pytest.mark.parametrize("width", [80, TABLE_WIDTH - 1])
def test_a_narrow_terminal_gets_a_block_for_each_row_and_no_line_beyond_its_edge(width: int) -> None:
    from rich.console import Console

    console = Console(width=width, record=True, file=io.StringIO(), highlight=False)
    show(*listing(COLUMNS, [ROW, ROW], "The worst", console=console), console=console)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert lines[:2] == ["The worst", "tunnel deploy/ort-fp32"]
    assert " ".join(" ".join(lines).split()).count(f"what {ROW[1]}") == 2
    assert "shares" not in "".join(lines)  # nothing to say of it


def test_a_wide_one_gets_a_table() -> None:
    from rich.console import Console

    (made,) = listing(COLUMNS, [ROW], console=Console(width=TABLE_WIDTH, file=io.StringIO()))
    assert [column.header.plain for column in made.columns] == list(COLUMNS)


def test_what_an_encoding_lacks_is_written_out() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    accept_any_text(stream)
    print("3.0° \udc80", file=stream, flush=True)
    assert stream.buffer.getvalue() == b"3.0\\xb0 \\udc80\n"  # type: ignore[attr-defined]  # BytesIO


PRINTS = {
    "harness/terminal.py",
    "engines/tensorrt/autocast_child.py",  # a child process that its parent reads
    "harness/faults/harm.py",  # a script of its own, which imports nothing of the harness
}


def _printing(source: str) -> list[int]:
    """Lines that print: print(), NAME.print(), NAME.echo(), Console(), sys.stdout.write()."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name):
            found += [node.lineno] * (node.func.id in ("print", "Console"))
        if isinstance(node.func, ast.Attribute):
            stream = ast.unparse(node.func.value) in ("sys.stdout", "sys.stderr") and node.func.attr == "write"
            found += [node.lineno] * (stream or node.func.attr in ("print", "echo", "secho", "print_json"))
    return found


@pytest.mark.parametrize("package", ["cases", "engines", "harness", "techniques", "trueline"])
def test_one_module_prints(package: str) -> None:
    printing = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / package).rglob("*.py")
        if (lines := _printing(path.read_text(encoding="utf-8")))
    }
    assert not printing.keys() - PRINTS, printing


def test_the_rule_sees_every_way_to_print() -> None:
    ways = "print(1)\nconsole.print(1)\ntyper.echo(1)\nConsole()\nsys.stderr.write('')\nlen('')\n"
    assert _printing(ways) == [1, 2, 3, 4, 5]
    assert _printing((ROOT / "harness/terminal.py").read_text(encoding="utf-8"))
