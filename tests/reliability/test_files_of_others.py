"""Part A13 and A11: whatever lies where a file should, the reader of it says so in one line, with the file, in time."""

from __future__ import annotations

import base64
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import polars as pl
import pytest

from cases.case import open_case
from cases.check import check_case
from cases.importing import import_case
from engines.dumps import Dump, Wanted
from engines.formats.npy import npy
from engines.inspect.graph import read_graph
from engines.protocol import DumpSpec
from engines.torch_model import read_state
from harness.errors import RunError
from harness.gate import judge, load_policy
from harness.model.card import load_card
from harness.replay.replay import replay
from harness.run.folder import Run
from harness.run.manifest import record_of, summed
from harness.training import load_task_file
from tests.reliability.identity_model import straight_lines, write_card, write_case
from trueline import TruelineError
from trueline._reading import json_of, open_file, read_file, read_toml, regular

DEEP = b"[" * 100_000 + b"]" * 100_000
LINES = straight_lines(2)


def _saved(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def _archive(how: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return stream.getvalue()


def _flipped(data: bytes, *places: int) -> bytes:
    changed = bytearray(data)
    for place in places:
        changed[place] ^= 255
    return bytes(changed)


def _polygraphy(array: bytes) -> bytes:
    values = {"array": base64.b64encode(array).decode(), "polygraphy_class": "ndarray"}
    outputs = {"lines": {"values": values, "polygraphy_class": "LazyArray"}}
    iteration = {"outputs": outputs, "polygraphy_class": "IterationResult"}
    return json.dumps({"lst": [["r", [iteration]]], "polygraphy_class": "RunResults"}).encode()


def _packed(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


def _lines(line: str, time: str = "1") -> bytes:
    frame = '{"timestamp_ns": %s, "lines": [%s]}'
    return f'{{"frames": [{frame % (time, line)}, {frame % (2, "")}]}}'.encode()


HUGE = b"1" + b"0" * 400
SOUND = {"lines": _saved(LINES), "timestamp_ns": _saved(np.arange(2))}
SHORT = _flipped(SOUND["lines"], 8, 9)  # the length of its header
DUMPS: dict[str, tuple[str, bytes]] = {
    "npz: header length of a member": ("a.npz", _archive(**SOUND | {"lines": SHORT})),
    "npz: magic of a member": ("a.npz", _archive(**SOUND | {"lines": b"X" + SOUND["lines"][1:]})),
    "npz: a time above 2^63": ("a.npz", _archive(**SOUND | {"timestamp_ns": _saved(np.array([1, 2**64 - 1], "u8"))})),
    "npz: LZMA data": ("a.npz", _flipped(_archive(zipfile.ZIP_LZMA, **SOUND), 300, 350)),
    "npz: deflated data": ("a.npz", _flipped(_archive(zipfile.ZIP_DEFLATED, **SOUND), 80)),
    "npz: a member of 300 GB in 128 bytes": ("a.npz", _archive(**SOUND | {"lines": _header("(2, 40000000000)")})),
    "npz: a shape below zero": ("a.npz", _archive(**SOUND | {"lines": _header("(-2, -1, 4)") + bytes(32)})),
    "npz: nested in its header": ("a.npz", _archive(**SOUND | {"lines": _header("(" * 300 + ")" * 300)})),
    "npz: objects": ("a.npz", _archive(**SOUND | {"lines": _header("(2,)", "'|O'") + b"cos\nsystem\n."})),
    "a name of 20 digits": ("9" * 20 + ".npz", _archive(lines=SOUND["lines"])),
    "polygraphy: 400 GB in 128 bytes": ("5.json", _polygraphy(_header("(100000000000,)"))),
    "polygraphy: header of the array": ("5.json", _polygraphy(SHORT)),
    "polygraphy: a runtime of 400 digits": (
        "5.json",
        _polygraphy(SOUND["lines"]).replace(b'"outputs"', b'"runtime": 1' + b"0" * 400 + b', "outputs"'),
    ),
    "json: nested deep": ("5.json", DEEP),
    "jsonl: nested deep": ("a.jsonl", b'{"lines": ' + DEEP + b"}"),
    "json: no text": ("5.json", b"\xff\xfe\x00"),
    "lines: a slot of 1e9": ("a.json", _lines('{"points": [[0,0],[1,1]], "slot": 1000000000}')),
    "lines: times in a list": ("a.json", _lines("[[0,0],[1,1]]", "[1, [2]]")),
    "lines: one long among many": (
        "a.json",
        json.dumps({"frames": [{"timestamp_ns": 1, "lines": [[[0, 0]] * 20000, *[[[0, 0]]] * 20000]}]}).encode(),
    ),
    "trtexec: dimensions below zero": ("5.json", b'[{"name":"lines","dimensions":"-1x-4","values":[1,2,3,4]}]'),
    "trtexec: a value of 400 digits": ("5.json", b'[{"name":"lines","dimensions":"1","values":[' + HUGE + b"]}]"),
    "trtexec: endless dimensions": ("5.json", b'[{"name":"lines","dimensions":"%s","values":[1]}]' % (HUGE * 13)),
    "safetensors: nested deep": ("5.safetensors", _packed(b'{"a":' + DEEP + b"}")),
    "safetensors: sizes of another kind": ("5.safetensors", _packed(b'{"lines":{"shape":[1.5],"data_offsets":["a"]}}')),
    "safetensors: a header of 8 EB": ("5.safetensors", b"\xff" * 7 + b"\x7f"),
    "parquet: another file": ("a.parquet", b"PAR1" + bytes(100) + b"PAR1"),
    "parquet: lines of texts": ("a.parquet", b"text"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::engines.dumps.PrecisionLoss")
@pytest.mark.parametrize("what", DUMPS)
def test_a_dump(what: str, tmp_path: Path) -> None:
    name, data = DUMPS[what]
    (tmp_path / name).write_bytes(data)

    def read() -> None:
        dump = Dump(DumpSpec(tmp_path, 0), Wanted(("lines",)), (0, 1))
        for position in range(len(dump.timestamps_ns)):
            dump.read(position)

    _one_line(read, str(tmp_path))


def test_times_beside_a_dump(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(_polygraphy(SOUND["lines"]))
    for words in ("9" * 30, "1e999999999", "NaN", "\udcff"):
        (tmp_path / "a.timestamps").write_text(words, encoding="utf-8", errors="surrogateescape")
        _one_line(lambda: Dump(DumpSpec(tmp_path, 0), Wanted(("lines",)), (0,)), str(tmp_path))


def test_an_array_is_what_numpy_saved_in_any_order() -> None:
    for array in (LINES, np.asfortranarray(LINES[0, 0]), np.zeros((0, 3), "i1"), np.float64(5), LINES.astype(">f4")):
        found = npy(_saved(array))
        assert found.dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(found, array)


def _tables(case: Path, **columns: pl.Expr) -> None:
    file = case / "frames.parquet"
    pl.read_parquet(file).with_columns(**columns).write_parquet(file)


def _tensors(case: Path, data: bytes) -> None:
    (case / "cameras" / "front" / "tensors" / "all.npy").write_bytes(data)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _key(case: Path, key: str) -> None:
    file = case / "case.toml"
    file.write_text(file.read_text() + f'"{key}" = "{"0" * 64}"\n')


CASES: dict[str, Callable[[Path], object]] = {
    "case.toml nested deep": lambda c: (c / "case.toml").write_bytes(b"a = " + DEEP),
    "case.toml a named pipe": lambda c: ((c / "case.toml").unlink(), os.mkfifo(c / "case.toml")),
    "case.toml a device": lambda c: ((c / "case.toml").unlink(), _device(c / "case.toml")),
    "case.toml no text": lambda c: (c / "case.toml").write_bytes(b"\xff\xfe"),
    "a hash of a file above": lambda c: _key(c, "../other/frames.parquet"),
    "a hash of an absolute file": lambda c: _key(c, "/etc/hostname"),
    "a hash of a folder's way round": lambda c: _key(c, "cameras/./front"),
    "frames.parquet a named pipe": lambda c: ((c / "frames.parquet").unlink(), os.mkfifo(c / "frames.parquet")),
    "frames.parquet a device": lambda c: ((c / "frames.parquet").unlink(), _device(c / "frames.parquet")),
    "frames.parquet another file": lambda c: (c / "frames.parquet").write_bytes(b"PAR1" + bytes(64) + b"PAR1"),
    "a time above 2^63": lambda c: _tables(c, timestamp_ns=pl.lit(2**64 - 1, dtype=pl.UInt64)),
    "a frame above 2^63": lambda c: _tables(c, frame=pl.lit(2**64 - 1, dtype=pl.UInt64)),
    "tensors: length of the header": lambda c: _tensors(c, SHORT),
    "tensors: sizes below zero": lambda c: _tensors(c, _header("(5, -1, -4, 33, 2)") + bytes(5000)),
    "tensors: nested in the header": lambda c: _tensors(c, _header("(" * 300 + ")" * 300)),
    "tensors: of no size": lambda c: _tensors(c, _header("(5, 0, 33, 2)")),
    "a named pipe among the tensors": lambda c: os.mkfifo(c / "cameras" / "front" / "tensors" / "b.npy"),
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
def test_a_case(what: str, tmp_path: Path) -> None:
    case = write_case(tmp_path, frames=5)
    assert check_case(case) == []
    CASES[what](case)
    problems = check_case(case)
    assert problems
    assert all(str(problem.error()).isprintable() for problem in problems)
    assert any(str(case) in problem.where for problem in problems)

    def replay() -> None:
        for _ in open_case(case).ticks():
            pass

    _one_line(replay, str(case))


TOML: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "card": ("model.toml", load_card),
    "policy": ("x.trueline.toml", load_policy),
    "task": ("task.toml", load_task_file),
}


@pytest.mark.parametrize("data", [b"a = " + DEEP, b"\xff", b"a = 1\n" * 2, b"[" + b"a." * 20000 + b"b]"], ids=range(4))
@pytest.mark.parametrize("what", TOML)
def test_a_toml_file(what: str, data: bytes, tmp_path: Path) -> None:
    name, load = TOML[what]
    (tmp_path / name).write_bytes(data)
    _one_line(lambda: load(tmp_path / name), name)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    _one_line(lambda: load(tmp_path / name), name)


@pytest.mark.parametrize("data", [DEEP, b"{", b"5", b"\xff", b"[]", b'{"rungs": 5}'], ids=range(6))
def test_a_run_json(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(data)
    _one_line(lambda: Run.open(tmp_path), str(tmp_path))


def test_a_run_of_other_columns(tmp_path: Path) -> None:
    """A Trueline that knew fewer wrote it: told once, where the table is read."""
    case = write_case(tmp_path / "cases", frames=4)
    card = load_card(write_card(tmp_path / "card"))
    run = replay(card, [case], engines=["ort-fp32"], out=tmp_path / "run", cache=tmp_path / "cache")
    file = run.path / "series_metrics.parquet"
    run.read("series_metrics").drop("bias").write_parquet(file)
    meta = json.loads((run.path / "run.json").read_text())
    meta.pop("sha256")
    meta["tables"]["series_metrics"] = record_of(file)
    (run.path / "run.json").write_text(json.dumps(summed(meta)))
    _one_line(lambda: judge(Run.open(run.path)), "run")
    with pytest.raises(RunError, match="no column 'bias': another version"):
        Run.open(run.path).table("series_metrics")


def _images(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
    return folder


def test_images(tmp_path: Path) -> None:
    """One that says 100000x100000, times beyond any clock, one time in two spellings, and no file at all."""
    import zlib

    huge = _images(tmp_path / "huge", "0.png")
    data = bytearray((huge / "0.png").read_bytes())
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    (huge / "0.png").write_bytes(data)
    pipe = _images(tmp_path / "pipe")
    os.mkfifo(pipe / "0.png")
    sources = [
        huge,
        pipe,
        _images(tmp_path / "late", "9223372036854775808.png", "9223372036854775809.png"),
        _images(tmp_path / "twice", "100000000000.png", "0100000000000.png"),
    ]
    for number, source in enumerate(sources):
        _one_line(lambda s=source, n=number: import_case(s, id=f"x{n}", out=tmp_path / "out"), source.name)
    os.mkfifo(tmp_path / "video.mkv")
    _one_line(lambda: import_case(tmp_path / "video.mkv", id="v", out=tmp_path / "out"), "video.mkv")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_source_whose_name_is_no_text_is_imported(tmp_path: Path) -> None:
    try:
        folder = _images(Path(os.fsdecode(os.fsencode(tmp_path) + b"/s\xff")), "0.png", "1.png")
    except OSError:
        pytest.skip("this file system has no such names")
    case = import_case(folder, id="x", out=tmp_path / "out")
    assert check_case(case) == []
    assert open_case(case).meta.source == "s?"


def test_models(tmp_path: Path) -> None:
    card = write_card(tmp_path)
    file = card.parent / "identity.onnx"
    for change in (lambda t: t.dims.__setitem__(0, 9), lambda t: setattr(t, "data_type", 99)):
        model = onnx.load(file)
        change(model.graph.initializer[1])
        onnx.save(model, tmp_path / "bad.onnx")
        _one_line(lambda: read_graph(tmp_path / "bad.onnx").constants, "ONNX")
    for name in ("w.safetensors", "w.pt", "w.onnx"):
        for data in (b"", _packed(b'{"a":' + DEEP + b"}"), b"\x80\x02cos\nsystem\nq\x00.", b"PK\x03\x04" + bytes(30)):
            (tmp_path / name).write_bytes(data)
            _one_line(lambda n=name: (read_graph if n.endswith("onnx") else read_state)(tmp_path / n), name)
        (tmp_path / name).unlink()
        os.mkfifo(tmp_path / name)
        _one_line(lambda n=name: (read_graph if n.endswith("onnx") else read_state)(tmp_path / n), name)


def test_only_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("pipe", "device", "loop", ".", "nothing"):
        for read in (regular, open_file, read_file, read_toml):
            with pytest.raises(OSError, match=r"."):
                read(tmp_path / name)
    assert read_file(tmp_path / "link") == b"12345"
    with pytest.raises(OSError, match="more than"):
        read_file(tmp_path / "file", 4)
    with pytest.raises(ValueError, match="nested too deep"):
        json_of(DEEP)


def _one_line(call: Callable[[], object], place: str) -> None:
    """The call ends in an error of ours, in one printable line that names the place."""
    with pytest.raises(TruelineError) as caught:
        call()
    text = str(caught.value)
    assert text.isprintable()
    assert place in text
    assert len(text) < 2000
