"""Severity 0 leaves everything as it was; severity 1 does not; a numeric fault shows in low precision alone."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import onnx
import pytest

import engines
import harness.faults.harm as harm
from cases.picture import Picture
from harness.faults import FAULTS, Site
from harness.feed.preprocess import build_pipeline
from harness.model.card import Card, load_card
from tests.harness.faults.seeker import write_model

ROADLINES = Path(__file__).parents[3] / "examples" / "roadlines" / "robust.toml"
FIRST_COMES_FIRST = ("stale_frame", "held_frames")  # change nothing in the first picture of a case


@pytest.fixture(scope="module")
def seeker(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return load_card(write_model(tmp_path_factory.mktemp("severity")))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The demo model as a file, so that nothing is exported for each fault."""
    from engines.export import exported

    root, card = tmp_path_factory.mktemp("site"), load_card(ROADLINES)
    file = exported(card.source(root / "cache"), "ort")
    part = {"file": file}
    card = Card.model_validate({**card.model_dump(by_alias=True), "onnx": part, "reference": "train/torch-fp32"})
    return Site(card, root / "planted", (), root / "cache")


def seen(site: Site, name: str, severity: float) -> np.ndarray:
    """What the network sees of one picture under the planted deploy pipeline, 0 to 255."""
    card = FAULTS[name].plant(site, severity).card
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(40, 200, (10, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    picture = Picture(smooth, "rgb24", 128, 80)
    return build_pipeline(card.preprocess.deploy, card.inputs[0])(picture) * 255


PREPROCESS = sorted(
    n for n, f in FAULTS.items() if f.stage == "preprocess" and n not in ("missing_mean_std", "crop_off")
)


@pytest.mark.parametrize("name", PREPROCESS)
def test_a_preprocessing_fault_scales_down_to_nothing(seeker: Card, tmp_path: Path, name: str) -> None:
    site = Site(seeker, tmp_path)
    clean = build_clean(site)
    nothing, little, whole = (np.abs(seen(site, name, s) - clean).mean() for s in (0.0, 0.1, 1.0))
    assert nothing <= 0.01
    if name in FIRST_COMES_FIRST or name in ("truncated", "letterbox"):  # nothing is rounded, no bar is needed here
        return
    assert little <= max(whole, 1.0)
    assert whole > 0.05


def build_clean(site: Site) -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(40, 200, (10, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    return build_pipeline(site.card.preprocess.deploy, site.card.inputs[0])(Picture(smooth, "rgb24", 128, 80)) * 255


FILES = {n: f.stage for n, f in FAULTS.items() if f.stage in ("export", "engine", "numerics")}
OF_FILE = sorted(
    n for n in FILES if "state" not in n and n not in ("batchnorm_training", "wrong_checkpoint", "fp16_accumulation")
)


def outputs(site: Site, engine: str, name: str, severity: float) -> np.ndarray:
    """Lines and scores of one noise picture, several frames on."""
    hooks = FAULTS[name].plant(site, severity).hooks
    opened = hooks.open_engine(engine, site.card.source(site.cache))
    given = []
    for frame in range(4):
        image = np.random.default_rng(frame).standard_normal((1, 3, 64, 160)).astype(np.float32)
        made = opened.infer({"image": image})
        given.append(np.concatenate([made["lines"].ravel(), made["scores"].ravel()]))
    return np.stack(given)


@pytest.mark.parametrize("name", OF_FILE)
def test_a_fault_of_file_or_engine_scales_down_to_nothing(exported: Site, name: str) -> None:
    clean = outputs(exported, "ort-fp32", "fp16_coordinates", 0.0)
    np.testing.assert_allclose(outputs(exported, "ort-fp32", name, 0.0), clean, atol=1e-3)
    whole = outputs(exported, "ort-fp32", name, 1.0)
    if FILES[name] == "numerics":
        np.testing.assert_allclose(whole, clean, atol=1e-3)
    else:
        assert np.abs(whole - clean).max() > 0.01


@pytest.mark.parametrize("name", [n for n in OF_FILE if FILES[n] == "numerics"])
def test_a_numeric_fault_shows_in_low_precision(exported: Site, name: str) -> None:
    clean = outputs(exported, "emulated-fp16", "rb_swap", 1.0)
    whole = outputs(exported, "emulated-fp16", name, 1.0)
    assert not np.abs(whole - clean).max() <= 0.05  # or not a number at all


def test_an_edited_file_is_sound(exported: Site) -> None:
    for name in OF_FILE:
        FAULTS[name].plant(exported, 0.5)
    files = sorted(exported.folder.glob("*.onnx"))
    assert len(files) > 15
    for file in files:
        onnx.checker.check_model(file)


def test_harm_is_decided_without_the_harness() -> None:
    tree = ast.parse(Path(harm.__file__).read_text())
    named = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    named += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    assert not [n for n in named if n.partition(".")[0] in ("harness", "engines", "cases", "trueline")]
    assert engines  # the others of this module do
