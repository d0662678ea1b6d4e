"""Decoders of single rungs in the ladder: one factor alone wherever tensors can be read twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.run.decoder_rungs import Holds, with_decoders
from harness.run.rungs import build_tree, stage_of

CAR = "deploy/recorded:car"
ENGINES = ("ort-fp32-none", "ort-fp32", "trt-fp32", "trt-fp16", "recorded:car", "recorded:lanes")
LADDER = build_tree("train/torch-fp32", ENGINES, ("train", "deploy"))


def placed(own: dict[str, Holds], **rest: dict[str, str]) -> dict[str, tuple[str | None, tuple[str, ...], str]]:
    return {r.name: (r.parent, r.factors, r.decoder) for r in with_decoders(LADDER, own, **rest)}


def test_the_cars_tensors_are_read_by_both_decoders() -> None:
    found = placed({CAR: "tensors"})
    assert found[f"{CAR}+lab-decoder"] == ("deploy/ort-fp32", ("car",), "lab")
    assert found[CAR] == (f"{CAR}+lab-decoder", ("decoder",), "own")
    assert stage_of("decoder") == "decoder"


def test_logged_lines_differ_by_car_and_decoder_in_one() -> None:
    assert placed({CAR: "lines"})[CAR] == ("deploy/ort-fp32", ("car:decoder",), "own")
    assert stage_of("car:decoder") == "car"


def test_lines_and_tensors_of_one_recording_tell_the_two_apart() -> None:
    assert placed({CAR: "both"}) == placed({CAR: "tensors"})


@pytest.mark.parametrize(("own", "above"), [({}, CAR), ({CAR: "tensors"}, f"{CAR}+lab-decoder")])
def test_lines_whose_tensors_are_another_recording_differ_by_the_decoder(own: dict[str, Holds], above: str) -> None:
    found = placed({**own, "deploy/recorded:lanes": "lines"}, tensors_of={"deploy/recorded:lanes": CAR})
    assert found["deploy/recorded:lanes"] == (above, ("decoder",), "own")


def test_children_hang_under_the_rung_that_the_same_decoder_reads() -> None:
    found = placed({"deploy/trt-fp32": "tensors"})
    assert found["deploy/trt-fp16"] == ("deploy/trt-fp32+lab-decoder", ("precision:fp16",), "card")
    assert found["train/trt-fp16"] == ("train/trt-fp32", ("precision:fp16",), "card")


def test_the_reference_has_the_cards_decoder() -> None:
    with pytest.raises(UsageError, match="the reference train/torch-fp32"):
        with_decoders(LADDER, {"train/torch-fp32": "tensors"})


RECORDED = [rung.name for rung in LADDER if "recorded" in rung.name]
COMPUTED = [rung.name for rung in LADDER[1:] if rung.name not in RECORDED]


@given(
    recorded=st.dictionaries(st.sampled_from(RECORDED), st.sampled_from(["tensors", "lines", "both"])),
    computed=st.sets(st.sampled_from(COMPUTED)),
    tensors_of=st.dictionaries(st.sampled_from(RECORDED), st.sampled_from([r.name for r in LADDER])),
)
def test_every_rung_stands_once_and_after_its_parent(
    recorded: dict[str, Holds], computed: set[str], tensors_of: dict[str, str]
) -> None:
    own: dict[str, Holds] = {**recorded, **dict.fromkeys(computed, "tensors")}
    found = with_decoders(LADDER, own, tensors_of)
    names = [rung.name for rung in found]
    assert len(set(names)) == len(names)
    assert {r.name for r in LADDER} <= set(names)
    for at, rung in enumerate(found[1:], start=1):
        assert rung.parent in names[:at]
        assert any("decoder" in factor for factor in rung.factors) == (rung.name in own)
