"""Changes that are no faults move no line of TwinLiteNet, on the clip where it is least stable."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import cv2
import pytest

from cases.importing import import_case
from harness.gate import Status, judge
from harness.ladder import explain
from harness.model.card import load_card
from harness.replay.replay import replay

CARD = Path(__file__).parents[2] / "examples" / "twinlitenet" / "model.toml"
FRAMES = 8
LARGEST_PX = 0.01  # 6e-5 px measured; findings begin at 1.8 px


@pytest.mark.slow
def test_optimisation_and_order_of_sums_give_no_finding(shared_data: Path, tmp_path: Path) -> None:
    card = load_card(CARD)
    assert card.onnx is not None
    if not card.onnx.file.is_file():
        pytest.skip(f"no published model at {card.onnx.file}")
    (tmp_path / "pictures").mkdir()
    with av.open(str(shared_data / "clips" / "concrete_bridge.mp4")) as clip:
        for k, frame in enumerate(itertools.islice(clip.decode(video=0), 12, 12 + FRAMES)):
            cv2.imwrite(str(tmp_path / "pictures" / f"{k:04d}.png"), frame.to_ndarray(format="bgr24"))
    case = import_case(tmp_path / "pictures", id="bridge", out=tmp_path / "cases", fps=25)
    run = replay(
        card, [case], engines=["ort-fp32", "ort-fp32-none", "emulated-reorder"], preprocess=["train"],
        out=tmp_path / "run", cache=tmp_path / "cache",
    )  # fmt: skip
    assert {r["status"] for r in run.rungs} == {"ok"}
    moved = run.read("line_metrics")["offset_max"].abs().max()
    assert isinstance(moved, float)
    assert 0 < moved < LARGEST_PX
    assert explain(run).findings == ()
    assert Status.FAIL not in {rule.status for rule in judge(run).rules}
