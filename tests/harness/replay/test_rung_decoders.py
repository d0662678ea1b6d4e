"""Decoders of single rungs: the same tensors read twice, and a mismatch between lab and car that is the decoder's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cases.schema import Output, read_meta, write_meta
from cases.synth import synth_cases
from engines.formats.polygraphy import read_runs
from harness.errors import DecoderError, UsageError
from harness.model.card import Card, load_card
from harness.replay.polygraphy import write_outputs
from harness.replay.replay import replay
from harness.run.folder import Run
from tests.harness.tiny_model import write_tiny

CAR, LANES = "deploy/recorded:car", "deploy/recorded:lanes"
DECODERS = '''"""Decoders of a user: one shifts every line, one remembers the frames it has seen."""
from dataclasses import replace

from harness.lines.decode.polyline import build


class Shifted:
    def __init__(self, inner, metres):
        self.inner, self.metres, self.slots = inner, metres, inner.slots

    def decode(self, outputs):
        lines = self.inner.decode(outputs)
        return replace(lines, y=lines.y + self.metres)


class Counting:
    """Shifts by a centimetre for every frame that it has seen."""

    slots = 4

    def __init__(self, card):
        self.inner, self.seen = build(card), 0

    def decode(self, outputs):
        lines = self.inner.decode(outputs)
        points = (lines.frame[:, None] + 1 + self.seen).repeat(lines.start[1], 1).ravel()
        self.seen += len(outputs["lines"])
        return replace(lines, y=(lines.y + 0.01 * points).astype("float32"))


def shifted(card):
    plain = type(card.decoder)(name="polyline")
    return Shifted(build(card.model_copy(update={"decoder": plain})), card.decoder.options["metres"])


def counting(card):
    return Counting(card)
'''


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class World:
    """A model, a case, and dumps of what the model gives on it."""

    def __init__(self, root: Path) -> None:
        self.root, self.card = root, write_tiny(root / "tiny")
        (root / "tiny" / "decoders.py").write_text(DECODERS)
        (self.case,) = synth_cases(1, 1, 0.5, root)
        write_outputs(self.loaded(), self.case, root / "out.json", engine="torch-fp32", cache=root / "cache")
        (iterations,) = read_runs(root / "out.json").values()
        times = [int(word) for word in (root / "out.timestamps").read_text().split()]
        self.outputs = {t: dict(i.outputs) for t, i in zip(times, iterations, strict=True)}

    def loaded(self, text: str = "") -> Card:
        card = self.card.with_name("own.toml")
        shutil.copy(self.card, card)
        with card.open("a") as file:
            file.write(text)
        return load_card(card)

    def dump(self, name: str, *, tensors: bool, shift: float | None = None) -> None:
        """Tensors, lines shifted so far, or both in one file."""
        place = self.case / "outputs" / name
        place.mkdir(parents=True)
        for moment, arrays in self.outputs.items():
            points = arrays["lines"][0]
            lines = {} if shift is None else {"line_points": points + np.float32([0, shift])}
            np.savez(place / f"{moment}.npz", **(arrays if tensors else {}), **lines)
        meta = read_meta(self.case)
        said = {**meta.outputs, name: Output(path=f"outputs/{name}", tolerance_ms=5)}
        write_meta(self.case, meta.model_copy(update={"outputs": said}))

    def run(self, text: str, *engines: str, preprocess: Sequence[str] = ("deploy",)) -> Run:
        return replay(
            self.loaded(text),
            [self.case],
            engines=("torch-fp32", *engines),
            out=self.root / "run",
            preprocess=preprocess,
            cache=self.root / "cache",
        )


def ladder(run: Run) -> dict[str, tuple[Any, ...]]:
    assert {r["status"] for r in run.rungs} == {"ok"}, run.rungs
    return {r["name"]: (r["parent"], tuple(r["factors"])) for r in run.rungs}


def offset(run: Run, rung: str, reference: str) -> float:
    rows = run.read("line_metrics").filter(rung=rung, reference=reference)
    assert not rows.is_empty(), (rung, reference)
    return float(rows["offset_max"].max())  # type: ignore[arg-type]  # a column of floats


def test_the_cars_decoder_on_the_cars_tensors_is_a_factor_of_its_own(world: World) -> None:
    world.dump("car", tensors=True)
    run = world.run(f'[rungs."{CAR}".decoder]\nname = "decoders:shifted"\nmetres = 0.5\n', "recorded:car")
    found = ladder(run)
    assert found[f"{CAR}+lab-decoder"] == ("deploy/torch-fp32", found[f"{CAR}+lab-decoder"][1])
    assert "car" in found[f"{CAR}+lab-decoder"][1]
    assert found[CAR] == (f"{CAR}+lab-decoder", ("decoder",))
    assert offset(run, f"{CAR}+lab-decoder", "deploy/torch-fp32") == 0
    assert offset(run, CAR, f"{CAR}+lab-decoder") == pytest.approx(0.5, abs=1e-5)
    same = run.read("tensor_metrics").filter(rung=CAR, reference=f"{CAR}+lab-decoder")
    assert same["max_abs"].max() == 0
    assert len(run.read("latency").filter(pl.col("rung").str.contains("recorded"))) <= 2


def test_a_threshold_of_one_rung_loses_its_lines_only(world: World) -> None:
    run = world.run("[engines.ort-fp32.decoder]\nthreshold = 0.99\n", "ort-fp32", preprocess=("train", "deploy"))
    rows = run.read("frame_metrics").filter(reference=run.reference).group_by("rung").agg(pl.col("lines").sum())
    lines = dict(rows.rows())
    assert lines["deploy/ort-fp32"] == lines["train/ort-fp32"] == 0
    assert lines["deploy/ort-fp32+lab-decoder"] == lines["deploy/torch-fp32"] > 0
    assert ladder(run)["train/ort-fp32"] == ("train/ort-fp32+lab-decoder", ("decoder",))


def test_logged_lines_differ_by_car_and_decoder_in_one_and_apart_where_the_tensors_are_known(world: World) -> None:
    world.dump("car", tensors=True)
    world.dump("lanes", tensors=False, shift=0.5)
    run = world.run("", "recorded:car", "recorded:lanes")
    assert "car:decoder" in ladder(run)[LANES][1]
    assert offset(run, LANES, "deploy/torch-fp32") == pytest.approx(0.5, abs=1e-5)
    shutil.rmtree(world.root / "run")
    run = world.run(f'[rungs."{LANES}"]\ntensors_of = "{CAR}"\n', "recorded:car", "recorded:lanes")
    assert ladder(run)[LANES] == (CAR, ("decoder",))
    assert offset(run, LANES, CAR) == pytest.approx(0.5, abs=1e-5)
    assert offset(run, CAR, "deploy/torch-fp32") == 0


def test_tensors_and_lines_in_one_dump_are_two_rungs(world: World) -> None:
    world.dump("car", tensors=True, shift=0.5)
    run = world.run("", "recorded:car")
    assert ladder(run)[CAR] == (f"{CAR}+lab-decoder", ("decoder",))
    assert offset(run, f"{CAR}+lab-decoder", "deploy/torch-fp32") == 0
    assert offset(run, CAR, f"{CAR}+lab-decoder") == pytest.approx(0.5, abs=1e-5)


def test_a_decoder_that_remembers_remembers_its_rung_only(world: World) -> None:
    shutil.copy(world.card, world.card.with_name("counting.toml"))
    text = world.card.read_text().replace('name = "polyline"', 'name = "decoders:counting"')
    world.card.write_text(text)
    run = world.run("", "ort-fp32")
    assert offset(run, "deploy/ort-fp32", "deploy/torch-fp32") < 1e-4


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (f'[rungs."{CAR}".decoder]\nthreshhold = 1\n', DecoderError, "threshhold"),
        ("[engines.torch-fp32.decoder]\nthreshold = 0.2\n", UsageError, "the reference"),
    ],
)
def test_a_decoder_that_cannot_be_ends_the_replay_before_it_begins(
    world: World, text: str, error: type[Exception], said: str
) -> None:
    world.dump("car", tensors=True)
    with pytest.raises(error, match=said):
        world.run(text, "recorded:car")


def test_what_a_rung_is_read_by_stands_in_the_run(world: World) -> None:
    world.dump("car", tensors=True)
    run = world.run(f'[rungs."{CAR}".decoder]\nthreshold = 0.6\n', "recorded:car")
    told = {r["name"]: r["decoder"] for r in json.loads((world.root / "run" / "run.json").read_text())["rungs"]}
    assert told[CAR] == "own"
    assert told[f"{CAR}+lab-decoder"] == "lab"
    assert told["deploy/torch-fp32"] == "card"
    assert run.rungs
