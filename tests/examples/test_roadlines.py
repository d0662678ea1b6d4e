from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import engines
from cases.synth import camera_picture, draw_scene, render_clip, render_frame
from cases.synth.camera import Camera
from cases.synth.scene import TRUTH_X_M
from engines.dotted import load_dotted
from harness.feed.preprocess import build_pipeline, differing_steps
from harness.gate.load import load_policy
from harness.model.card import load_card

ROOT = Path(__file__).parents[2] / "examples" / "roadlines"
CANDIDATES = ("baseline", "robust", "cubic")
HELD_OUT_SEEDS = (9100, 9104)


@pytest.fixture(scope="module")
def network():
    return load_dotted("network:RoadLines", ROOT)


@pytest.fixture(scope="module", params=CANDIDATES)
def candidate(request):
    """(card, trained network) of each candidate."""
    card = load_card(ROOT / f"{request.param}.toml")
    model = load_dotted(card.torch.factory, ROOT)()
    model.load_state_dict(load_file(card.torch.weights), strict=True)
    return card, model.eval()


@pytest.fixture(scope="module")
def clips():
    """Pictures and truth of two short clips that no training or validation ever saw."""
    return [
        [(camera_picture(rgb), lines) for rgb, lines, _ in render_clip(seed, 1.5, fps=4)] for seed in HELD_OUT_SEEDS
    ]


def test_weights_are_small_and_load_strictly(candidate):
    card, model = candidate
    assert card.torch.weights.stat().st_size < 2_000_000
    assert sum(p.numel() for p in model.parameters()) < 500_000
    assert all(torch.isfinite(p).all() for p in model.state_dict().values())


def test_held_out_lines_are_right_within_15_cm_up_to_40_m(candidate, clips):
    card, model = candidate
    pipeline = build_pipeline(card.preprocess.train, card.inputs[0])
    errors = []
    for clip in clips:
        images = torch.from_numpy(np.concatenate([pipeline(picture) for picture, _ in clip]))
        with torch.no_grad():
            lines, scores = model(images)
        truth = np.stack([y for _, y in clip])
        x = lines[0, 0, :, 0].numpy()
        near = x <= 40
        wanted = np.stack([[np.interp(x[near], TRUTH_X_M, y) for y in frame] for frame in truth])
        errors.append(np.nanmean(np.abs(lines[..., near, 1].numpy() - wanted)))
        assert ((scores.numpy() > 0.5) == np.isfinite(truth[..., 0])).mean() > 0.95
    assert np.mean(errors) < 0.15


@pytest.mark.parametrize("other", CANDIDATES[1:])
def test_the_cards_differ_in_name_and_network_only(other):
    first, second = (load_card(ROOT / f"{name}.toml") for name in (CANDIDATES[0], other))
    assert first.name != second.name
    assert first.torch.weights != second.torch.weights
    same = {"name": "", "path": Path(), "torch": first.torch}
    assert first.model_copy(update=same) == second.model_copy(update=same)


def test_train_and_deploy_differ_in_colour_resize_and_rounding():
    card = load_card(ROOT / "baseline.toml")
    assert differing_steps(card.preprocess.train, card.preprocess.deploy) == ("nv12", "colour", "resize", "round")


def test_the_policy_is_one():
    assert len(load_policy(ROOT / "release.trueline.toml").rules) >= 10


def test_columns_become_metres_as_the_camera_sees_them(network):
    """A ground point, projected by the camera and moved by crop and resize, lies in the column of its own metres."""
    model, camera = network(), Camera()
    for station in (10, 20, 32):
        x = float(model.station_m[station])
        for y in (-4.0, 0.0, 3.0):
            u, _ = camera.project([x, y, 0.0])
            column = ((u + 0.5) / 4 - 0.5 - 1.5) / 4
            metres = model.column_m[station].numpy()
            seen = float(np.interp(column, np.arange(40), metres, left=np.nan, right=np.nan))
            if np.isfinite(seen):
                # the mount looks down by 0.03 rad, so depth is not quite the distance ahead
                assert seen == pytest.approx(y, abs=0.02 + 0.005 * abs(y))


def test_a_new_network_mixes_stations_as_a_cubic_fit(network):
    model = network()
    x = model.station_m.double() / 80
    for power in range(4):
        values = x**power
        np.testing.assert_allclose(model.mix[0].detach().double() @ values, values, atol=1e-4)


def test_no_mixture_of_preprocessing_moves_a_line():
    """Every random pipeline sees a lane line where the train pipeline sees it, to a twentieth of a pixel on average."""
    card = load_card(ROOT / "baseline.toml")
    random_steps, spec = load_dotted("data:random_steps", ROOT), card.inputs[0]
    scene = draw_scene(6, 2.0)
    scene = replace(scene, vehicles=(), trees=(), look=replace(scene.look, noise=0.0, shadow=1.0))
    faint = tuple(replace(m, strength=0.0) for m in scene.markings)
    painted, bare = (camera_picture(render_frame(s, 1.0).rgb) for s in (scene, replace(scene, markings=faint)))

    def middle(steps):
        pipeline = build_pipeline(steps, spec)
        paint = (pipeline(painted) - pipeline(bare))[0].sum(axis=0)[40:]
        half = np.clip(paint[:, 80:], 0, None)
        rows = half.sum(axis=1) > 0.5
        return ((half * np.arange(half.shape[1])).sum(axis=1)[rows] / half.sum(axis=1)[rows]).mean()

    rng = np.random.default_rng(0)
    train = middle(card.preprocess.train)
    for _ in range(12):
        assert abs(middle(random_steps(card.preprocess.train, rng)) - train) < 0.05


def test_mirroring_exchanges_left_and_right():
    mirrored = load_dotted("train:_mirrored", ROOT)
    frame = render_frame(draw_scene(30, 1.0), 0.0)
    image = torch.from_numpy(frame.rgb).permute(2, 0, 1)[None].float()
    lines = torch.from_numpy(frame.lines)[None]
    flipped, truth = mirrored(image, lines, torch.tensor([True]))
    assert (flipped[..., 0] == image[..., -1]).all()
    np.testing.assert_array_equal(truth[0, 0].numpy(), -lines[0, 3].numpy())
    kept, same = mirrored(flipped, truth, torch.tensor([True]))
    assert (kept == image).all()
    np.testing.assert_array_equal(same.numpy(), lines.numpy())


def test_training_learns_and_repeats(tmp_path):
    """Two scenes, a few steps: the loss falls, and the same start gives the same weights."""
    card = load_card(ROOT / "robust.toml")
    load_dotted("data:make_samples", ROOT)(card, tmp_path, 1)
    samples = load_dotted("data:load_samples", ROOT)(tmp_path, 1)
    assert samples.images.shape == (8, 3, 3, 64, 160)
    train = load_dotted("train:train", ROOT)
    runs = []
    for _ in range(2):
        losses: list[float] = []
        torch.manual_seed(0)
        model = train(samples, 12, 8, True, losses.append)
        runs.append((losses, model.state_dict()))
    assert runs[0][0] == runs[1][0]
    assert np.mean(runs[0][0][-3:]) < 0.8 * runs[0][0][0]
    assert all((runs[0][1][name] == value).all() for name, value in runs[1][1].items())


def test_fp16_bends_the_cubic_candidate_and_not_the_robust_one(clips):
    """Export and fp32 move neither; the normal equations of the cubic fit lose their digits in fp16."""
    moved = {}
    for name in ("robust", "cubic"):
        card = load_card(ROOT / f"{name}.toml")
        pipeline = build_pipeline(card.preprocess.deploy, card.inputs[0])
        frames = [pipeline(picture) for clip in clips for picture, _ in clip]
        lines = {}
        for engine in ("torch-fp32", "ort-fp32", "emulated-fp16"):
            opened = engines.open(engine, card.source(), threads=1)
            lines[engine] = np.stack([opened.infer({"image": frame})["lines"][..., 1] for frame in frames])
        moved[name] = {engine: np.abs(y - lines["torch-fp32"]).max() for engine, y in lines.items()}
    assert max(of["ort-fp32"] for of in moved.values()) < 0.01
    assert moved["robust"]["emulated-fp16"] < 0.05
    assert not moved["cubic"]["emulated-fp16"] < 0.3  # metres; it may be infinite


def test_the_fp16_policy_is_the_release_policy_with_one_engine_more():
    release, fp16 = (load_policy(ROOT / f"{name}.trueline.toml") for name in ("release", "fp16"))
    assert fp16.rules == release.rules
    assert fp16.profile["cpu"].engines == (*release.profile["cpu"].engines, "emulated-fp16")
