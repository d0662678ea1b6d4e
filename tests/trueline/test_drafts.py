"""What is left of a command that ran out of descriptors is removed with those that are left."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trueline._drafts import remove_tree

PROGRAM = """
import os, shutil, sys
from pathlib import Path
from trueline._drafts import remove_tree
folder, how = Path(sys.argv[1]), sys.argv[2]
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    os.close(held.pop())
remove_tree(folder) if how == "ours" else shutil.rmtree(folder, ignore_errors=True)
print(folder.exists())
"""


def nested(folder: Path) -> Path:
    (folder / "a" / "b").mkdir(parents=True)
    for file in (folder / "one", folder / "a" / "two", folder / "a" / "b" / "three"):
        file.write_text("x")
    (folder / "a" / "link").symlink_to(folder.parent / "kept")
    return folder


@pytest.mark.parametrize(("how", "left"), [("ours", "False"), ("shutil", "True")])
def test_one_descriptor_is_enough(tmp_path: Path, how: str, left: str) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n{PROGRAM}"
    command = [sys.executable, "-c", limited, str(nested(tmp_path / "draft")), how]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == left
    assert (tmp_path / "kept" / "file").exists(), "links are removed, not followed"


def test_without_any_it_is_removed_when_the_process_ends(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    draft = nested(tmp_path / "draft")
    program = PROGRAM.replace("os.close(held.pop())", "pass") + "[os.close(number) for number in held]\n"
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n{program}"
    told = subprocess.run(
        [sys.executable, "-c", limited, str(draft), "ours"], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "True"
    assert not draft.exists()


def test_nothing_and_a_link_to_a_folder_are_left_alone(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    remove_tree(tmp_path / "link")
    assert (tmp_path / "folder").is_dir()
    shutil.rmtree(tmp_path / "folder")
