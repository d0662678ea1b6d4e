from dataclasses import replace
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest
from engine_models import make_source

import engines
from engines import registry
from engines.base import FrameEngine
from engines.errors import EngineOptionError, EngineUnavailable, UnknownEngine
from engines.protocol import Availability
from engines.table import TABLE


class Theirs(FrameEngine):
    """An engine of another package; its provenance is what it was told."""

    def infer(self, inputs):
        return {}


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
        open_engine=lambda name, source, **options: seen.append((name, source.name, options)) or Theirs(name, options),
        availability=lambda name: Availability(name, True, "theirs"),
    )
    monkeypatch.setitem(__import__("sys").modules, "their_engines", engine)
    third_party("mine", "their_engines")
    assert "mine" in engines.names()
    source = make_source(tmp_path / "card", "Lanes")
    assert engines.open("mine:left", source, gain=2, other=None).name == "mine:left"
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
    assert [registry.family(name) for name in TABLE].count("third-party") == 0
    assert registry.family("torch-fp32@cuda") == "torch"
    assert registry.family("recorded:orin") == "recorded"


@pytest.fixture
def told(third_party, monkeypatch, shared_cards):
    """A function that opens another package's engine on a card with options, and gives what the engine was told."""
    module = SimpleNamespace(
        FILE_OPTIONS=("scales",), open_engine=lambda name, source, **options: Theirs(name, options)
    )
    monkeypatch.setitem(__import__("sys").modules, "their_engines", module)
    third_party("mine", "their_engines")

    def ask(name, of_card, **given):
        told = engines.open(name, replace(shared_cards("Lanes"), options=of_card), **given).provenance
        return {key: value for key, value in told.items() if key != "engine"}

    return ask


def test_options_of_the_card_reach_the_engine_under_those_of_the_caller(told):
    of_card = {"mine": {"gain": 1, "shift": 1}, "mine:left": {"shift": 2}, "mine:left@cuda": {"shift": 3}}
    assert told("mine", of_card) == {"gain": 1, "shift": 1}
    assert told("mine:right", of_card) == {"gain": 1, "shift": 1}
    assert told("mine:left", of_card) == {"gain": 1, "shift": 2}
    assert told("mine:left@cuda", of_card) == {"gain": 1, "shift": 3}
    assert told("mine:left", of_card, gain=5, shift=None) == {"gain": 5, "shift": 2}


def test_files_of_the_card_are_taken_from_its_folder_and_those_of_the_caller_as_they_are(told, card):
    assert told("mine", {"mine": {"scales": "a/b.npz", "text": "a/b"}})["text"] == "a/b"
    source = replace(
        card("Paired"), options={"mine": {"scales": "a.npz"}, "ort-fp32": {"threads": 1}, "gone": {"a": 1}}
    )
    assert engines.open("mine", source).provenance["scales"] == str(source.root / "a.npz")
    assert engines.open("mine", source, scales="a.npz").provenance["scales"] == "a.npz"
    assert registry.option_files(source) == ()
    (source.root / "a.npz").touch()
    assert registry.option_files(source) == (source.root / "a.npz",)


def test_an_option_that_the_engine_lacks_is_one_line_with_the_card_and_those_it_has(card):
    source = replace(card(), options={"ort-fp32": {"tread": 1}})
    with pytest.raises(EngineOptionError) as caught:
        engines.open("ort-fp32", source)
    assert caught.value.what == "engine 'ort-fp32' has no option 'tread'"
    assert caught.value.where == "Lanes, [engines] of its model card, options of ort-fp32"
    assert caught.value.remedy == "its options are ['denormals', 'threads']"


@pytest.mark.parametrize("name", ["ort-fp32", "torch-fp32", "emulated-fp16"])
@pytest.mark.parametrize("threads", [0, "two", 1.5, True])
def test_threads_are_a_whole_number(name, threads, shared_cards):
    source = replace(shared_cards("Lanes"), options={name: {"threads": threads}})
    with pytest.raises(EngineOptionError, match="whole number"):
        engines.open(name, source)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("torch-fp32", {"device": 1}),
        ("torch-fp32", {"denormals": []}),
        ("emulated-fp16", {"chunk": "wide"}),
        ("emulated-reorder", {"seed": 1.5}),
        ("emulated-tf32", {"rounding": ["rz"]}),
        ("ort-fp32", {"level": "none"}),
        ("recorded", {"tolerance": 1}),
    ],
)
def test_values_of_another_kind_are_refused(name, options, shared_cards):
    with pytest.raises(EngineOptionError) as caught:
        engines.open(name, replace(shared_cards("Lanes"), options={name: options}))
    assert "[engines] of its model card" in caught.value.where
    assert "\n" not in str(caught.value)


def test_one_engine_runs_twice_where_the_card_has_options_for_both(shared_cards):
    source = replace(shared_cards("Lanes"), options={"ort-fp32:alone": {"threads": 1}, "ort-fp32": {"threads": 2}})
    assert engines.open("ort-fp32:alone", source).provenance["threads"] == 1
    assert engines.open("ort-fp32", source).provenance["threads"] == 2
    with pytest.raises(UnknownEngine) as caught:
        engines.open("ort-fp32:allone", source)
    assert "says nothing of 'ort-fp32:allone'" in caught.value.what
