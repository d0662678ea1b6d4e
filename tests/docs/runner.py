"""Runs the blocks of one page, from top to bottom, in one folder: a page is one session of a reader.

Python blocks share their names, as in one interpreter. `trueline` and `pytest` may end with the exit code of a verdict
or of a failed test: that is what a page shows, not that the page is wrong.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.docs.blocks import ROOT, Block

__all__ = ["PageFailed", "Runner", "put_on_path", "same_output"]

LIMIT_S = 900
VERDICTS = {"trueline": (0, 1, 3), "pytest": (0, 1)}
_SHIM = """#!/usr/bin/env bash
{python} -m {module} "$@" || {{ code=$?; case " {accepted} " in *" $code "*) exit 0;; esac; exit $code; }}
"""


class PageFailed(AssertionError):
    """A block that does not do what the page says."""


def put_on_path(folder: Path) -> None:
    """Write `trueline`, `pytest` and `python` of this environment into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in (("trueline", "harness.cli"), ("pytest", "pytest")):
        accepted = " ".join(map(str, VERDICTS[name]))
        text = _SHIM.format(python=shlex.quote(sys.executable), module=module, accepted=accepted)
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    for name in ("python", "python3"):
        (folder / name).write_text(f'#!/usr/bin/env bash\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
        (folder / name).chmod(0o755)


@dataclass
class Runner:
    """A page's session.

    Attributes:
        folder: where it runs.
        path: folder with the commands of `put_on_path`.
        names: what Python blocks find defined.
        replaced: text of the page -> what is run instead.
        read_toml: reads a TOML block that is no file, and raises if it is wrong.
    """

    folder: Path
    path: Path
    names: dict[str, Any] = field(default_factory=dict)
    replaced: Mapping[str, str] = field(default_factory=dict)
    read_toml: Callable[[str, Path], object] | None = None

    def run(self, block: Block) -> None:
        """Run one block.

        Raises:
            PageFailed: it fails, or prints something else than the page says.
        """
        code = block.code
        for said, instead in self.replaced.items():
            code = code.replace(said, instead)
        if block.file is not None:
            self._write(block, code)
        else:
            runs = {
                "bash": self._bash, "console": self._console, "python": self._python, "toml": self._toml,
                "json": lambda b, c: json.loads(c), "yaml": self._yaml,
            }  # fmt: skip
            runs.get(block.language, _unread)(block, code)

    def _write(self, block: Block, code: str) -> None:
        assert block.file is not None  # the caller saw to it
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code, encoding="utf-8")
        if path.suffix == ".py":
            compile(code, str(path), "exec")
        else:
            self._checked(block, path.name, code)

    def _bash(self, block: Block, code: str) -> None:
        self._shell(block, code)

    def _console(self, block: Block, code: str) -> None:
        commands, shown = [], []
        for line in code.splitlines():
            (commands if line.startswith("$ ") else shown).append(line.removeprefix("$ "))
        said = self._shell(block, "\n".join(commands))
        if missing := same_output("\n".join(shown), said):
            raise PageFailed(f"{block.place}: the page shows {missing!r}, the command printed\n{said}")

    def _shell(self, block: Block, code: str) -> str:
        environment = {
            **os.environ, "PATH": f"{self.path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
            "COLUMNS": "120",
        }  # fmt: skip
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code], cwd=self.folder, env=environment, timeout=LIMIT_S,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise PageFailed(f"{block.place}: exit code {done.returncode}\n{code}\n{done.stdout[-4000:]}")
        return done.stdout

    def _python(self, block: Block, code: str) -> None:
        try:
            exec(compile("\n" * block.line + code, block.page, "exec"), self.names)  # our own guide
        except Exception as error:
            raise PageFailed(f"{block.place}: {type(error).__name__}: {error}") from error

    def _toml(self, block: Block, code: str) -> None:
        self._checked(block, "", code)

    def _yaml(self, block: Block, code: str) -> None:
        import yaml  # comes with mkdocs

        if not isinstance(yaml.safe_load(code), dict):
            raise PageFailed(f"{block.place}: no table of YAML")

    def _checked(self, block: Block, name: str, code: str) -> None:
        """Read TOML as what it is: by its file name, or as the page says."""
        import tomllib

        tomllib.loads(code)
        if self.read_toml is None:
            return
        try:
            self.read_toml(code, self.folder / name if name else self.folder)
        except Exception as error:
            raise PageFailed(f"{block.place}: {type(error).__name__}: {error}") from error


def _unread(block: Block, code: str) -> None:
    """For languages that are not run (blocks.LANGUAGES)."""


def same_output(shown: str, said: str) -> str:
    """The first line that a page shows and a command did not print, in order; empty where all are there.

    `...` stands for any text, a line of it for any lines; runs of blanks, `=`, `_` and `.` count as one, and paths end
    with what is shown of them.
    """
    left = [_plain(line) for line in said.splitlines()]
    for line in shown.splitlines():
        if line.strip() in ("", "..."):
            continue
        pattern = ".*".join(re.escape(_plain(part)) for part in line.split("..."))
        at = next((i for i, text in enumerate(left) if re.search(pattern, text)), None)
        if at is None:
            return line
        left = left[at + 1 :]
    return ""


def _plain(line: str) -> str:
    return re.sub(r"([ =_.])\1+", r"\1", line).strip(" =_")
