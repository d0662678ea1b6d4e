"""A finished run knows its tables: what is lost or damaged is told or made anew, never read as empty or as it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases.synth import synth_cases
from engines.sealed import damage, file_sha256
from harness.cli import main
from harness.errors import RunError
from harness.gate import judge
from harness.job import conclude
from harness.ladder import explain
from harness.model.card import Card, load_card
from harness.replay.replay import replay
from harness.run.folder import Run
from harness.run.tables import TABLES
from tests.harness.tiny_model import write_tiny

FLIPS = 300
TIMED = {"latency"}  # a case that is replayed again takes another time


class World:
    """A finished run of two cases, and what it takes to replay it."""

    def __init__(self, root: Path) -> None:
        self.card: Card = load_card(write_tiny(root))
        self.cases = synth_cases(3, 2, 0.4, root / "cases")
        self.run = self.replay(root / "run")

    def replay(self, out: Path) -> Run:
        engines = ("torch-fp32", "ort-fp32")
        return replay(self.card, self.cases, engines=engines, steps=False, out=out, cache=self.card.root / "cache")

    def copy(self, to: Path) -> Path:
        shutil.copytree(self.run.path, to)
        return to


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def _same(one: Run, other: Run) -> bool:
    return all(one.read(name).equals(other.read(name)) for name in TABLES if name not in TIMED)


def _flip(file: Path, rng: np.random.Generator) -> bytes:
    """Flip one bit of a file; its content before."""
    before = file.read_bytes()
    changed = bytearray(before)
    changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    file.write_bytes(changed)
    return before


def test_run_json_has_rows_and_checksum_of_every_table(world: World) -> None:
    told = json.loads((world.run.path / "run.json").read_text())["tables"]
    assert told.keys() == set(TABLES)
    for name, record in told.items():
        assert record["rows"] == world.run.read(name).height
        assert record["sha256"] == file_sha256(world.run.path / f"{name}.parquet")
    assert told["floors"]["rows"] == 0  # a table without rows exists


@pytest.mark.parametrize("name", list(TABLES))
def test_a_lost_table_is_an_error_and_the_same_replay_makes_it_anew(world: World, tmp_path: Path, name: str) -> None:
    folder = world.copy(tmp_path / "run")
    (folder / f"{name}.parquet").unlink()
    with pytest.raises(RunError, match=rf"{name}\.parquet.*trueline replay"):
        Run.open(folder).table(name)
    healed = world.replay(folder)
    assert _same(healed, world.run)
    assert healed.read(name).equals(world.run.read(name))
    assert [w["text"] for w in healed.meta["warnings"] if w["kind"] == "damaged"] == [
        f"tables are written again from the run's parts: {name}.parquet: it cannot be read: No such file or directory"
    ]


def test_every_reader_refuses_a_run_without_its_events(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = world.copy(tmp_path / "run")
    verdict = judge(world.run)
    (folder / "events.parquet").unlink()
    for reader in (judge, explain, lambda run: conclude(run, verdict).run.read("events")):
        with pytest.raises(RunError, match=r"events\.parquet"):
            reader(Run.open(folder))
    for command in ("gate", "explain", "report"):
        with pytest.raises(SystemExit) as ended:
            main([command, str(folder)])
        assert ended.value.code == 2
        said = capsys.readouterr().err.strip()
        assert "\n" not in said
        assert "events.parquet" in said


def test_any_flipped_bit_of_a_table_or_of_run_json_is_told(world: World, tmp_path: Path) -> None:
    folder, rng = world.copy(tmp_path / "run"), np.random.default_rng(5)
    files = [*(folder / f"{name}.parquet" for name in TABLES), folder / "run.json"]
    for _ in range(FLIPS):
        file = files[rng.integers(len(files))]
        before = _flip(file, rng)
        with pytest.raises(RunError) as told:
            Run.open(folder).table(file.stem)
        assert str(file) in str(told.value) or file.name == "run.json"
        assert "\n" not in str(told.value)
        file.write_bytes(before)
    assert _same(Run.open(folder), world.run)


def test_any_flipped_bit_of_a_part_is_found(world: World, tmp_path: Path) -> None:
    folder, rng = world.copy(tmp_path / "run"), np.random.default_rng(6)
    files = [path for path in (folder / "parts").rglob("*") if path.is_file()]
    for _ in range(FLIPS):
        file = files[rng.integers(len(files))]
        before = _flip(file, rng)
        assert damage(file.parent), file
        file.write_bytes(before)
    assert not any(damage(case) for case in (folder / "parts").iterdir())


def _truncated(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:100])


def _bit(part: Path) -> None:
    _flip(part, np.random.default_rng(7))


def _foreign(part: Path) -> None:
    shutil.copyfile(part, part.with_name("line_metrics.000007.parquet"))


def _unsealed(part: Path) -> None:
    part.with_name("seal.json").unlink()


@pytest.mark.parametrize("spoil", [_truncated, _bit, Path.unlink, _foreign, _unsealed])
def test_a_case_with_a_damaged_part_is_replayed_again_and_named(world: World, tmp_path: Path, spoil: Any) -> None:
    folder = world.copy(tmp_path / "run")
    (folder / "line_metrics.parquet").unlink()
    spoil(next((folder / "parts" / "synth_00004").glob("line_metrics.*")))
    untouched = (folder / "parts" / "synth_00003" / "seal.json").stat().st_mtime_ns
    healed = world.replay(folder)
    assert _same(healed, world.run)
    assert any(w["case"] == "synth_00004" and "replayed again" in w["text"] for w in healed.meta["warnings"])
    assert (folder / "parts" / "synth_00003" / "seal.json").stat().st_mtime_ns == untouched


def test_a_run_without_checksums_is_refused_and_replayed_by_the_same_command(world: World, tmp_path: Path) -> None:
    folder = world.copy(tmp_path / "run")
    meta = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({k: v for k, v in meta.items() if k not in ("tables", "sha256")}))
    with pytest.raises(RunError, match=r"no checksums.*trueline replay"):
        Run.open(folder)
    assert _same(world.replay(folder), world.run)


def test_what_a_killed_replay_left_is_swept(world: World, tmp_path: Path) -> None:
    folder = world.copy(tmp_path / "run")
    (folder / "lines.parquet.tmp").write_bytes(b"half")
    (folder / "parts" / ".synth_00003.tmp").mkdir()
    world.replay(folder)
    assert not [path for path in folder.rglob("*") if path.name.endswith(".tmp")]
