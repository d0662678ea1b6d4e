"""Where decoders come from, and what a wrong card is told."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from harness.errors import DecoderError
from harness.lines.decode import Decoder, build_decoder
from harness.lines.decode.guest import GuestDecoder
from harness.lines.decode.registry import TABLE
from harness.lines.table import LineTable
from tests.harness.lines.decode.decoder_cards import card

OPTIONS = {
    "row-anchor": {"rows": [300.0, 200.0]},
    "row-column": {"rows": [300.0, 200.0], "columns": [0.0, 640.0]},
    "proposals": {"form": "clrnet"},
}
IN_PIXELS = ("row-anchor", "mask", "row-column", "curves", "proposals", "bezier", "row-polynomial")
FRAMES = dict.fromkeys(IN_PIXELS, "image")


class Own:
    slots = 2

    def __init__(self, card: object) -> None:
        self.card = card

    def decode(self, outputs: dict[str, np.ndarray]) -> LineTable:
        return LineTable.empty()


@pytest.mark.parametrize("name", TABLE)
def test_every_built_in_name_builds_a_decoder(name: str) -> None:
    decoder = build_decoder(card(name, {}, frame=FRAMES.get(name, "vehicle"), **OPTIONS.get(name, {})))
    assert isinstance(decoder, Decoder)


@pytest.mark.parametrize("name", TABLE)
def test_an_unknown_option_is_an_error_that_lists_the_known(name: str) -> None:
    wrong = card(name, {}, frame=FRAMES.get(name, "vehicle"), thresold=0.5, **OPTIONS.get(name, {}))
    with pytest.raises(DecoderError, match=r"thresold: Extra inputs.*its options are .*threshold") as caught:
        build_decoder(wrong)
    assert caught.value.where == "/cards/decoded/model.toml [decoder]"


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(
        DecoderError,
        match=r"no decoder 'polylines'.*use one of polyline, polynomial, row-anchor, row-column, row",
    ):
        build_decoder(card("polylines", {}))


def test_a_dotted_path_is_called_with_the_card(tmp_path: Path) -> None:
    (tmp_path / "own_decoder_beside_card.py").write_text(
        "class D:\n    slots = 7\n    def __init__(self, card): self.by = card.decoder.options['by']\n"
        "    def decode(self, outputs): raise NotImplementedError\n"
    )
    own = card("own_decoder_beside_card:D", {}, by=3).model_copy(update={"path": tmp_path / "model.toml"})
    decoder = build_decoder(own)
    assert isinstance(decoder, GuestDecoder)
    assert (decoder.slots, decoder.inner.by) == (7, 3)  # type: ignore[attr-defined]  # of the module above


def test_what_is_no_decoder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no_decoder_beside_card.py").write_text("def make(card):\n    return 3\n")
    own = card("no_decoder_beside_card:make", {}).model_copy(update={"path": tmp_path / "model.toml"})
    with pytest.raises(DecoderError, match="gave a int without decode"):
        build_decoder(own)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        EntryPoint("own", f"{__name__}:Own", "trueline.decoders"),
        EntryPoint("broken", "no_such_package:x", "trueline.decoders"),
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: found if group == "trueline.decoders" else [])


@pytest.mark.usefixtures("installed")
def test_other_packages_add_decoders() -> None:
    own = card("own", {})
    decoder = build_decoder(own)
    assert isinstance(decoder, GuestDecoder)
    assert isinstance(decoder.inner, Own)
    assert decoder.inner.card is own


@pytest.mark.usefixtures("installed")
def test_a_broken_package_is_named() -> None:
    with pytest.raises(DecoderError, match="'broken' of no_such_package:x does not import"):
        build_decoder(card("broken", {}))
