from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest
from engine_models import make_source

import engines
from engines import registry
from engines.errors import EngineOptionError, EngineUnavailable, UnknownEngine
from engines.protocol import Availability


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch):
    """Entry points as other packages would declare them; returns a function that adds one."""
    added: dict[str, EntryPoint] = {}

    def add(name: str, value: str) -> None:
        added[name] = EntryPoint(name, value, registry.ENTRY_POINTS)

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: tuple(added.values()))
    return add


def test_a_wrong_name_gets_the_nearest_ones(card):
    source = card()
    with pytest.raises(UnknownEngine) as caught:
        engines.open("ort-fp23", source)
    assert "'ort-fp32'" in caught.value.remedy
    with pytest.raises(UnknownEngine) as caught:
        engines.open("zzzzz", source)
    assert "torch-fp32" in caught.value.remedy


def test_availability_never_raises(third_party):
    third_party("broken", "no_such_module_of_anyone")
    answers = {a.name: a for a in engines.availability()}
    assert not answers["broken"].available
    assert "no_such_module_of_anyone" in answers["broken"].detail
    (unknown,) = engines.availability("ort-fp33")
    assert not unknown.available
    assert "ort-fp32" in unknown.remedy


def test_another_package_adds_an_engine(third_party, monkeypatch, tmp_path):
    seen = []
    engine = SimpleNamespace(
        open_engine=lambda name, source, **options: seen.append((name, source.name, options)) or "an engine",
        availability=lambda name: Availability(name, True, "theirs"),
    )
    monkeypatch.setitem(__import__("sys").modules, "their_engines", engine)
    third_party("mine", "their_engines")
    assert "mine" in engines.names()
    source = make_source(tmp_path / "card", "Lanes")
    assert engines.open("mine:left", source, gain=2, other=None) == "an engine"
    assert seen == [("mine:left", "Lanes", {"gain": 2})]
    assert engines.availability("mine") == (Availability("mine", True, "theirs"),)
    assert registry.family("mine") == "third-party"


def test_a_third_party_cannot_take_a_name_of_ours(third_party, card):
    third_party("ort-fp32", "no_such_module_of_anyone")
    assert engines.names().count("ort-fp32") == 1
    engines.open("ort-fp32", card()).close()


def test_a_third_party_that_does_not_import_says_so(third_party, card):
    source = card()
    third_party("broken", "no_such_module_of_anyone")
    with pytest.raises(EngineUnavailable, match="does not import"):
        engines.open("broken", source)
    third_party("empty", "json")
    with pytest.raises(EngineUnavailable, match="open_engine"):
        engines.open("empty", source)


def test_an_option_the_name_stands_for_is_refused(card):
    with pytest.raises(EngineOptionError, match="precision"):
        engines.open("torch-fp16", card(), precision="fp32")


def test_every_built_in_engine_has_its_module_and_a_family():
    assert [registry.family(name) for name in registry.TABLE].count("third-party") == 0
    assert registry.family("torch-fp32@cuda") == "torch"
    assert registry.family("recorded:orin") == "recorded"
