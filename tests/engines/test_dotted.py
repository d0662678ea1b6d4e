import sys
from pathlib import Path

import pytest

from engines.dotted import load_dotted, modules_of, source_files
from engines.errors import ModelLoadError


def folder(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_equally_named_modules_of_two_folders_do_not_meet(tmp_path):
    one = folder(tmp_path / "one", network="import parts\ndef name(): return 'one', parts.NAME", parts="NAME = 1")
    two = folder(tmp_path / "two", network="import parts\ndef name(): return 'two', parts.NAME", parts="NAME = 2")
    first, second = load_dotted("network:name", one), load_dotted("network:name", two)
    assert (first(), second()) == (("one", 1), ("two", 2))
    assert load_dotted("network:name", one) is first, "the module was imported a second time"


def test_namespace_packages_do_not_meet_either(tmp_path):
    one = folder(tmp_path / "one", models__lane="NAME = 'one'")
    two = folder(tmp_path / "two", models__lane="NAME = 'two'")
    assert load_dotted("models.lane:NAME", one) == "one"
    assert load_dotted("models.lane:NAME", two) == "two"
    assert load_dotted("models.lane:NAME", one) == "one"


def test_a_folder_inside_another_keeps_its_own_module(tmp_path):
    outer = folder(tmp_path, network="NAME = 'outer'")
    inner = folder(tmp_path / "inner", network="NAME = 'inner'")
    assert load_dotted("network:NAME", inner) == "inner"
    assert load_dotted("network:NAME", outer) == "outer"


def test_imports_inside_a_call_find_the_folder(tmp_path):
    for name in ("one", "two"):
        folder(
            tmp_path / name,
            network="def late():\n    import late_part\n    return late_part.N",
            late_part=f"N = '{name}'",
        )
    for name in ("one", "two", "one"):
        late = load_dotted("network:late", tmp_path / name)
        with modules_of(tmp_path / name):
            assert late() == name


def test_a_changed_file_is_imported_afresh(tmp_path):
    root = folder(tmp_path, network="import parts\nNAME = parts.NAME", parts="NAME = 'old'")
    assert load_dotted("network:NAME", root) == "old"
    folder(tmp_path, parts="NAME = 'newer'")
    assert load_dotted("network:NAME", root) == "newer"


def test_the_callers_modules_come_back(tmp_path):
    root = folder(tmp_path, pytest="NAME = 'theirs'", json="NAME = 'theirs'")
    before = dict(sys.modules), list(sys.path), sys.dont_write_bytecode
    assert load_dotted("pytest:NAME", root) == "theirs"
    assert sys.modules["pytest"] is pytest
    assert (dict(sys.modules), list(sys.path), sys.dont_write_bytecode) == before
    with pytest.raises(ModelLoadError, match="no 'NAME'"):
        load_dotted("json:NAME", root)  # the standard library is never replaced
    assert not list(root.rglob("*.pyc"))


def test_a_data_folder_named_like_a_package_hides_nothing(tmp_path):
    (tmp_path / "pytest").mkdir()
    assert load_dotted("pytest:fixture", tmp_path) is pytest.fixture


def test_source_files_are_those_the_module_imports(tmp_path):
    root = folder(tmp_path, network="import parts\nNAME = 1", parts="", unused="")
    load_dotted("network:NAME", root)
    assert [path.name for path in source_files("network", root)] == ["network.py", "parts.py"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("network", "not a dotted path"),
        ("network:a.b", "not a dotted path"),
        ("nowhere_at_all:f", "No module named 'nowhere_at_all'"),
        ("network:missing", "has no 'missing'"),
        ("broken:f", "ZeroDivisionError"),
    ],
)
def test_what_does_not_import_is_one_line(tmp_path, path, text):
    folder(tmp_path, network="def build(): ...", broken="1 / 0")
    with pytest.raises(ModelLoadError, match=text) as caught:
        load_dotted(path, tmp_path)
    assert str(tmp_path) in caught.value.where
    assert "\n" not in str(caught.value)
