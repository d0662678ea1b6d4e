from __future__ import annotations

import importlib
import importlib.machinery
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.ownership import PACKAGES, check_ownership, shadowed


def test_our_packages_are_ours() -> None:
    assert shadowed() == {}
    check_ownership()


@pytest.fixture
def first_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is searched before ours, in a process that has not imported `cases` yet."""
    for name in [n for n in sys.modules if n.partition(".")[0] == "cases"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [importlib.machinery.PathFinder])
    return tmp_path


@pytest.mark.parametrize("form", ["cases.py", "cases/__init__.py"])
def test_a_foreign_module_or_package_is_told(first_on_path: Path, form: str) -> None:
    (first_on_path / form).parent.mkdir(exist_ok=True)
    (first_on_path / form).touch()
    importlib.invalidate_caches()
    assert shadowed(["cases"]) == {"cases": str(first_on_path / form)}
    with pytest.raises(UsageError, match=r"package 'cases' is .*, not Trueline's"):
        check_ownership()


BARE = """
import sys
from pathlib import Path
{first}
import trueline
from harness.ownership import check_ownership, shadowed
print(shadowed())
check_ownership()
import cases, cases.errors, engines
home = Path(trueline.__file__).parents[1]
assert Path(cases.__file__) == home / "cases" / "__init__.py", cases.__file__
assert Path(cases.errors.__file__) == home / "cases" / "errors.py"
assert cases.__doc__ and callable(engines.open)
"""


def bare(folder: Path, first: str = "") -> subprocess.CompletedProcess[str]:
    """What happens to a fresh interpreter in a folder with bare folders called like our packages."""
    for name in ("cases", "engines"):
        (folder / name / "bend_01").mkdir(parents=True)
    (folder / "cases" / "theirs.py").touch()
    command = [sys.executable, "-c", BARE.format(first=first)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("first", ["", "import cases, engines", "import cases.errors"])
def test_a_bare_folder_of_recordings_is_no_rival(tmp_path: Path, first: str) -> None:
    told = bare(tmp_path, first)
    assert told.returncode == 0, told.stderr


def test_a_bare_folder_whose_modules_are_in_use_is_a_rival(tmp_path: Path) -> None:
    told = bare(tmp_path, "sys.path.insert(0, ''); import cases; cases.__path__ = ['cases']; import cases.theirs")
    assert told.returncode == 1
    assert f"UsageError: package 'cases' is {tmp_path / 'cases'}" in told.stderr


def test_the_error_names_package_and_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.ownership._file_of", lambda name: f"/elsewhere/{name}/__init__.py")
    with pytest.raises(UsageError) as caught:
        check_ownership()
    for name in PACKAGES:
        assert f"package {name!r} is /elsewhere/{name}/__init__.py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_package_that_is_not_there_is_missing() -> None:
    assert shadowed(["no_such_package"]) == {"no_such_package": "missing"}


def test_a_module_without_a_spec_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spurious", type(sys)("spurious"))
    assert shadowed(["spurious"]) == {"spurious": "missing"}
