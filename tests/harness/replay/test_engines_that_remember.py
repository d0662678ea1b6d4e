"""Engines with a memory: what a rung gives does not depend on which other rungs and cases run."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from cases.synth import synth_cases
from engines.base import FrameEngine
from engines.protocol import CaseContext, Engine, ModelSource, Tensors
from harness.model.card import Card, load_card
from harness.replay.hooks import Hooks
from harness.replay.replay import replay
from harness.run.folder import Run
from tests.harness.tiny_model import write_tiny

PROGRAM = '''"""Answers with the mean brightness of the frame before, as a lag inside a program does."""
import json, os, sys
import numpy as np
from safetensors.numpy import load, save

requests, answers, before = sys.stdin.buffer, sys.stdout.buffer, 0.0
while head := requests.read(8):
    data = requests.read(int.from_bytes(head, "little"))
    about = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    assert about["rung"] == os.environ["TRUELINE_RUNG"], about
    now = float(load(data)["image"].mean())
    x = np.linspace(0, 80, 33, dtype=np.float32)
    lines = np.stack([np.stack([x, np.full_like(x, side + before)], -1) for side in (5.4, 1.8, -1.8, -5.4)])[None]
    answer = save({"lines": lines, "scores": np.full((1, 4), 0.9, np.float32)})
    answers.write(len(answer).to_bytes(8, "little") + answer)
    answers.flush()
    before = now
'''


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Card:
    card = write_tiny(tmp_path_factory.mktemp("tiny"))
    (card.parent / "lag.py").write_text(PROGRAM)
    with card.open("a") as file:
        file.write(f'[command.lag]\nrun = ["{sys.executable}", "{{root}}/lag.py"]\nmode = "pipe"\n')
    return load_card(card)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return synth_cases(1, 2, 0.5, tmp_path_factory.mktemp("cases"))


def lines_of(run: Run, rung: str, case: str) -> pl.DataFrame:
    table = run.read("lines").filter(rung=rung, case=case).drop("track")
    assert not table.is_empty()
    return table


def ran(tiny: Card, cases: Sequence[Path], out: Path, engine: str, *preprocess: str, **rest: Any) -> Run:
    run = replay(
        tiny, cases, engines=("torch-fp32", engine), preprocess=preprocess, out=out, cache=tiny.root / "cache", **rest
    )
    assert {r["status"] for r in run.rungs} == {"ok"}, run.rungs
    return run


@pytest.mark.parametrize("isolate", [False, True])
def test_a_program_with_a_memory_gives_the_same_whatever_runs_beside_it(
    tiny: Card, cases: list[Path], tmp_path: Path, isolate: bool
) -> None:
    both = ran(tiny, cases, tmp_path / "both", "command:lag", "train", "deploy", isolate=isolate)
    for pipeline in ("train", "deploy"):
        rung = f"{pipeline}/command:lag"
        alone = ran(tiny, cases[1:], tmp_path / pipeline, "command:lag", pipeline)
        case = str(alone.meta["cases"][0]["id"])
        assert lines_of(both, rung, case).equals(lines_of(alone, rung, case))


class Remembering(FrameEngine):
    """A third party's engine that answers with the frame before; `remembers` is what it says of itself."""

    def __init__(self, inner: Engine) -> None:
        super().__init__("theirs", {})
        self._inner = inner
        self._before: Tensors | None = None

    def start_case(self, context: CaseContext) -> None:
        self._before, self.rung = None, context.rung

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        now = self._inner.infer(inputs)
        before, self._before = self._before or now, now
        return before


class Silent:
    """The same, which says nothing of a memory."""

    uses_time, name = False, "theirs"

    def __init__(self, inner: Engine) -> None:
        theirs = Remembering(inner)
        self.start_case, self.infer, self.provenance = theirs.start_case, theirs.infer, theirs.provenance

    def seek(self, timestamp_ns: int) -> None:
        raise AssertionError

    def close(self) -> None:
        return None


class Saying(Remembering):
    keeps_state = True


@pytest.mark.parametrize(("kind", "instances"), [(Silent, 2), (Saying, 2), (Remembering, 1)])
def test_an_engine_that_may_remember_gets_an_instance_for_every_rung(
    tiny: Card, cases: list[Path], tmp_path: Path, kind: type, instances: int
) -> None:
    import engines

    opened: list[Any] = []

    def open_engine(name: str, source: ModelSource) -> Any:
        inner = engines.open(name, source)
        if name != "ort-fp32":
            return inner
        opened.append(kind(inner))
        return opened[-1]

    hooks = Hooks(open_engine=open_engine)
    both = ran(tiny, cases[:1], tmp_path / "both", "ort-fp32", "train", "deploy", hooks=hooks)
    assert len(opened) == instances
    if instances > 1:
        case = str(both.meta["cases"][0]["id"])
        for pipeline in ("train", "deploy"):
            alone = ran(tiny, cases[:1], tmp_path / pipeline, "ort-fp32", pipeline, hooks=hooks)
            rung = f"{pipeline}/ort-fp32"
            assert lines_of(both, rung, case).equals(lines_of(alone, rung, case))


def test_a_network_with_a_memory_gives_the_same_whatever_runs_beside_it(cases: list[Path], tmp_path: Path) -> None:
    card = write_tiny(tmp_path / "tiny")
    network = (card.parent / "network.py").read_text()
    network = network.replace(
        "        lines = torch.stack",
        "        y, self.past = y + 0.5 * getattr(self, 'past', 0 * y), y\n        lines = torch.stack",
    )
    (card.parent / "network.py").write_text(network)
    tiny = load_card(card)
    both = ran(tiny, cases, tmp_path / "both", "torch-fp32", "train", "deploy")
    case = str(both.meta["cases"][1]["id"])
    alone = ran(tiny, cases[1:], tmp_path / "alone", "torch-fp32", "train")
    assert lines_of(both, "train/torch-fp32", case).equals(lines_of(alone, "train/torch-fp32", case))
    steady = lines_of(both, "train/torch-fp32", case)["y"].list.first().to_numpy()
    assert np.std(steady) > 0
