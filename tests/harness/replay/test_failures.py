"""One bad rung never ends a replay; the reference does. Every misdeed here is of code that is not ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import engines
from cases.synth import synth_cases
from engines.errors import ModelLoadError
from engines.protocol import CaseContext, Engine, ModelSource
from harness.model.card import Card, load_card
from harness.replay.hooks import Hooks
from harness.replay.replay import replay
from harness.run.folder import Run
from tests.harness.tiny_model import CARD, write_tiny
from trueline import TruelineError

FRAMES = 12
BAD = "deploy/ort-fp32"
CASE = "synth_00001"

USERS = '''
import sys
import numpy as np
from harness.lines.decode.polyline import build as polyline

class Picky:
    """The polyline decoder, which cannot take lines beyond 500 m, and scales what it is given in place."""

    def __init__(self, card):
        self.inner, self.slots = polyline(card.model_copy(update={"decoder": type(card.decoder)(name="polyline")})), 4

    def decode(self, outputs):
        far = np.abs(outputs["lines"][..., 1]) > 500
        if (far & (outputs["lines"][..., 1] > 0)).any():
            raise IndexError("too far\\nto the left")
        if far.any():
            sys.exit(9)
        found = self.inner.decode(outputs)
        outputs["lines"][:] = np.nan
        return None if len(found) > 40 * 4 else found

def picky(card):
    return Picky(card)

calls = [0]

def third_picture(image):
    calls[0] += 1
    if calls[0] == 3:
        raise OSError("no third\\npicture")
    return image

def none(image):
    sys.exit("not here")
'''


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return synth_cases(1, 2, FRAMES / 20, tmp_path_factory.mktemp("cases"))


@pytest.fixture
def tiny(tmp_path: Path) -> Card:
    path = write_tiny(tmp_path / "tiny")
    (path.parent / "users.py").write_text(USERS)
    return load_card(path)


def _changed(card: Card, old: str, new: str) -> Card:
    assert old in CARD
    card.path.write_text(CARD.replace(old, new))
    return load_card(card.path)


@dataclass
class Wrapped:
    """An engine with other methods; what they raise comes from this file, which is not ours."""

    inner: Engine
    infer_: Callable[[int, dict[str, Any]], Any] = lambda call, outputs: outputs
    start_: Callable[[str], None] = lambda case: None
    close_: Callable[[], None] = lambda: None
    more: Mapping[str, Any] = field(default_factory=dict)
    calls: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def provenance(self) -> Mapping[str, Any]:
        return {**self.inner.provenance, **self.more}

    def start_case(self, context: CaseContext) -> None:
        self.start_(context.case)
        self.calls = 0

    def infer(self, inputs: Any) -> Any:
        self.calls += 1
        return self.infer_(self.calls, self.inner.infer(inputs))

    def close(self) -> None:
        self.close_()


def _hooks(name: str = "ort-fp32", **changes: Any) -> Hooks:
    def open_engine(asked: str, source: ModelSource) -> Engine:
        engine = engines.open(asked, source)
        return Wrapped(engine, **changes) if asked == name else engine  # type: ignore[return-value]  # structural

    return Hooks(open_engine=open_engine)


def _run(card: Card, cases: list[Path], out: Path, **more: Any) -> Run:
    options: dict[str, Any] = {"engines": ["ort-fp32"], "preprocess": ["train", "deploy"], "steps": False}
    return replay(card, cases, out=out, cache=card.root / "cache", **options | more)


def _ended(run: Run) -> dict[str, tuple[str, str]]:
    for rung in run.rungs:
        assert rung["reason"].isprintable(), rung
        assert len(rung["reason"]) < 800
    return {r["name"]: (r["status"], r["reason"]) for r in run.rungs}


def _raise(error: BaseException) -> Any:
    raise error


def _misdeed(frame: int, misdeed: Callable[[dict[str, Any]], Any]) -> Callable[[int, dict[str, Any]], Any]:
    """Outputs of one frame as `misdeed` gives them."""
    return lambda call, outputs: misdeed(outputs) if call == frame + 1 else outputs


MISDEEDS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "foreign": (
        lambda o: _raise(KeyError("\x1b[31mred\x1b[0m")),
        "ort-fp32 failed: KeyError: '\\x1b[31mred\\x1b[0m'",
    ),
    "lines": (lambda o: _raise(RuntimeError("one\n\n  two")), "ort-fp32 failed: RuntimeError: one; two"),
    "exit": (lambda o: _raise(SystemExit(4)), "ort-fp32 failed: it called sys.exit(4)"),
    "card": (lambda o: _raise(ModelLoadError("no", where="w", remedy="r")), "no (w)"),
    "nothing": (lambda o: None, "ort-fp32 failed: it gave a NoneType, not outputs by name"),
    "missing": (lambda o: {"lines": o["lines"]}, "there is no output 'scores' (rung deploy/ort-fp32)"),
    "list": (lambda o: o | {"scores": [1.0]}, "ort-fp32 failed: output 'scores' is a list, not a NumPy array"),
    "objects": (
        lambda o: o | {"scores": np.array(["a"])},
        "output 'scores' is of <U1 (rung deploy/ort-fp32)",
    ),
    "rows": (
        lambda o: {n: v[:, :3] for n, v in o.items()},
        "output 'lines' is [1, 3, 33, 2], in the frames before it was [1, 4, 33, 2] (rung deploy/ort-fp32)",
    ),
}


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_an_engine_that_fails_at_a_frame_costs_its_rung_from_there_on(
    misdeed: str, tiny: Card, cases: list[Path], tmp_path: Path
) -> None:
    act, said = MISDEEDS[misdeed]
    deploy = [_misdeed(5, act)]

    def in_deploy_only(call: int, outputs: dict[str, Any]) -> Any:
        # two rungs share the engine: train first, then deploy, frame by frame
        return deploy[0]((call + 1) // 2, outputs) if call % 2 == 0 else outputs

    run = _run(tiny, cases, tmp_path / "run", hooks=_hooks(infer_=in_deploy_only))
    ended = _ended(run)
    assert ended.pop(BAD) == ("crashed", f"case {CASE}, frame 5: {said}")
    assert set(ended.values()) == {("ok", "")}
    ran = run.read("frame_metrics").filter(reference=run.reference).group_by("case", "rung").len()
    counts = {(case, rung): n for case, rung, n in ran.rows()}
    assert counts[CASE, BAD] == 5
    assert {n for (_, rung), n in counts.items() if rung != BAD} == {FRAMES}
    assert run.read("frame_metrics").filter(rung=BAD)["missing"].sum() == 0


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (
            ValueError("alias 376\nof input_rgb"),
            "not_run",
            "ort-fp32 does not open: ValueError: alias 376; of input_rgb",
        ),
        (SystemExit("no licence"), "not_run", "ort-fp32 does not open: it called sys.exit('no licence')"),
        (ModelLoadError("no such file", where="x", remedy="find it"), "not_run", "no such file (x); find it"),
    ],
)
def test_an_engine_that_cannot_be_opened_is_not_run(
    error: BaseException, status: str, said: str, tiny: Card, cases: list[Path], tmp_path: Path
) -> None:
    def open_engine(name: str, source: ModelSource) -> Engine:
        return _raise(error) if name == "ort-fp32" else engines.open(name, source)

    ended = _ended(_run(tiny, cases[:1], tmp_path / "run", hooks=Hooks(open_engine=open_engine)))
    for rung in ("train/ort-fp32", BAD):
        assert ended[rung][0] == status
        assert ended[rung][1].startswith(said)
    assert ended["deploy/torch-fp32"] == ("ok", "")


def test_something_that_is_no_engine_is_not_run(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    def open_engine(name: str, source: ModelSource) -> Any:
        return "here it is" if name == "ort-fp32" else engines.open(name, source)

    status, reason = _ended(_run(tiny, cases[:1], tmp_path / "run", hooks=Hooks(open_engine=open_engine)))[BAD]
    assert (status, reason.partition(" (")[0]) == ("not_run", "ort-fp32 gave a str without name")


def test_an_engine_that_cannot_begin_any_case_is_not_run(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    hooks = _hooks(start_=lambda case: _raise(LookupError(f"no dump of {case}")))
    status, reason = _ended(_run(tiny, cases, tmp_path / "run", hooks=hooks))[BAD]
    assert status == "not_run"
    said = f"ort-fp32 cannot begin a case: LookupError: no dump of {CASE}"
    assert reason.startswith(f"case {CASE}, at its start: {said}")


def test_an_engine_that_can_begin_some_cases_has_rows_of_these(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    hooks = _hooks(start_=lambda case: _raise(LookupError("no dump")) if case == CASE else None)
    run = _run(tiny, cases, tmp_path / "run", hooks=hooks)
    status, reason = _ended(run)[BAD]
    assert status == "ok"
    assert reason.startswith(f"not run in 1 of 2 cases: case {CASE}, at its start: ")
    assert f"{BAD}: {reason}" in [w["text"] for w in run.meta["warnings"] if w["kind"] == "case-not-run"]
    assert f"{BAD}: {reason}" in [w["text"] for w in run.meta["warnings"] if w["kind"] == "case-not-run"]
    assert run.read("frame_metrics").filter(rung=BAD)["case"].unique().to_list() == ["synth_00002"]


def test_how_an_engine_closes_and_what_it_says_of_itself_cost_nothing(
    tiny: Card, cases: list[Path], tmp_path: Path
) -> None:
    strange = {"path": Path("/x"), "share": np.float32(0.5), "nan": float("nan"), "set": {2, 1}, 3: np.arange(2)}
    hooks = _hooks(close_=lambda: _raise(OSError("busy")), more=strange)
    run = _run(tiny, cases[:1], tmp_path / "run", hooks=hooks)
    assert _ended(run)[BAD] == ("ok", "")
    (said,) = (r["provenance"] for r in run.rungs if r["name"] == BAD)
    assert {k: said[k] for k in ("path", "share", "nan", "set", "3")} == {
        "path": "/x", "share": 0.5, "nan": None, "set": [1, 2], "3": [0, 1],
    }  # fmt: skip


@pytest.mark.parametrize("misdeed", ["foreign", "exit", "missing", "rows"])
def test_the_reference_ends_the_replay_and_says_where(
    misdeed: str, tiny: Card, cases: list[Path], tmp_path: Path
) -> None:
    hooks = _hooks("torch-fp32", infer_=_misdeed(FRAMES + 2, MISDEEDS[misdeed][0]))
    with pytest.raises(TruelineError) as caught:  # frames are train, deploy, train, ...: call 15 is train, frame 7
        _run(tiny, cases, tmp_path / "run", hooks=hooks)
    assert caught.value.where.startswith(f"case {CASE}, reference train/torch-fp32, frame 7")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "parts" / CASE).exists()


@pytest.mark.parametrize(
    ("shift", "said"), [(1e3, "IndexError: too far; to the left"), (-1e3, "it called sys.exit(9)")]
)
def test_a_decoder_that_fails_on_a_rungs_outputs_costs_that_rung(
    shift: float, said: str, tiny: Card, cases: list[Path], tmp_path: Path
) -> None:
    card = _changed(tiny, 'name = "polyline"', 'name = "users:picky"')
    plain = _run(tiny, cases, tmp_path / "plain", preprocess=["deploy"])
    shifted = _misdeed(7, lambda o: o | {"lines": o["lines"] + np.float32([0, shift])})
    run = _run(card, cases, tmp_path / "run", preprocess=["deploy"], hooks=_hooks(infer_=shifted))
    ended = _ended(run)
    where = "users.Picky.decode"
    assert ended.pop(BAD) == ("crashed", f"case {CASE}, frame 7: the decoder failed: {said} ({where})")
    assert set(ended.values()) == {("ok", "")}
    for name in ("lines", "line_metrics", "tensor_metrics"):  # a decoder's own copies: it may write into them
        whole = plain.read(name).filter((pl.col("frame") < 7) & (pl.col("case") == CASE))
        assert run.read(name).filter((pl.col("frame") < 7) & (pl.col("case") == CASE)).equals(whole), name
    assert run.read("lines").filter(rung=BAD, case=CASE)["frame"].max() == 6


def test_a_decoder_that_fails_on_the_reference_ends_the_replay(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    card = _changed(tiny, 'name = "polyline"', 'name = "users:picky"')
    shifted = _misdeed(7, lambda o: o | {"lines": o["lines"] + np.float32([0, 1e3])})
    with pytest.raises(TruelineError, match="too far; to the left") as caught:
        _run(card, cases, tmp_path / "run", preprocess=["train"], hooks=_hooks("torch-fp32", infer_=shifted))
    assert caught.value.where.startswith(f"case {CASE}, reference train/torch-fp32, frame 7")


@pytest.mark.parametrize(
    ("step", "status", "place", "said"),
    [
        ("third_picture", "crashed", "frame 2", "[36, 64, 3]: OSError: no third; picture"),
        ("none", "not_run", "frame 0", "it called sys.exit('not here')"),
    ],
)
def test_a_pipeline_that_fails_costs_the_rungs_it_feeds(
    step: str, status: str, place: str, said: str, tiny: Card, cases: list[Path], tmp_path: Path
) -> None:
    card = _changed(tiny, '    {op = "round_u8"},\n', '    {op = "round_u8"},\n    {op = "users:' + step + '"},\n')
    ended = _ended(_run(card, cases[:1], tmp_path / "run", batch=1))
    for rung in ("deploy/torch-fp32", BAD):
        assert ended[rung][0] == status
        assert ended[rung][1].startswith(f"case {CASE}, {place}: ")
        assert said in ended[rung][1]
    assert ended["train/ort-fp32"] == ended["train/torch-fp32"] == ("ok", "")


@pytest.mark.parametrize(
    ("shape", "status"),
    [("[1, 4, 33, 2]", "ok"), ('["n", 4, "points", 2]', "ok"), ("[1, 4, 32, 2]", "refused"), ("[4, 33, 2]", "refused")],
)
def test_a_declared_shape_holds_for_the_reference(
    shape: str, status: str, tiny: Card, cases: list[Path], tmp_path: Path
) -> None:
    card = _changed(tiny, '{name = "lines"}', f'{{name = "lines", shape = {shape}}}')
    if status == "ok":
        assert set(_ended(_run(card, cases[:1], tmp_path / "run")).values()) == {("ok", "")}
        return
    with pytest.raises(TruelineError) as caught:
        _run(card, cases[:1], tmp_path / "run")
    declared = shape.replace('"', "'")
    assert caught.value.what == f"output 'lines' is [1, 4, 33, 2], the card declares {declared}"


def test_a_declared_shape_holds_for_every_other_rung(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    card = _changed(tiny, '{name = "lines"}', '{name = "lines", shape = [1, 4, 33, 2]}')
    cut = _hooks(infer_=lambda call, o: {name: values[:, :3] for name, values in o.items()})
    ended = _ended(_run(card, cases[:1], tmp_path / "run", hooks=cut))
    said = "output 'lines' is [1, 3, 33, 2], the card declares [1, 4, 33, 2] (rung deploy/ort-fp32)"
    assert ended[BAD] == ("crashed", f"case {CASE}, frame 0: {said}")
    assert ended["deploy/torch-fp32"] == ("ok", "")


def test_outputs_of_another_size_than_the_references_cost_their_rung(
    tiny: Card, cases: list[Path], tmp_path: Path
) -> None:
    cut = _hooks(infer_=lambda call, o: {name: values[:, :3] for name, values in o.items()})
    ended = _ended(_run(tiny, cases[:1], tmp_path / "run", hooks=cut))
    said = "output 'lines' is [1, 3, 33, 2], the reference gives [1, 4, 33, 2] (rung deploy/ort-fp32)"
    assert ended[BAD] == ("crashed", f"case {CASE}, frame 0: {said}")
    assert ended["deploy/torch-fp32"] == ("ok", "")


def test_a_missing_batch_axis_is_no_other_size(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    flat = _hooks(infer_=lambda call, o: {name: values[0] for name, values in o.items()})
    runs = [_run(tiny, cases[:1], tmp_path / name, hooks=hooks) for name, hooks in (("a", flat), ("b", None))]
    for table in ("lines", "line_metrics", "tensor_metrics"):
        assert runs[0].read(table).equals(runs[1].read(table)), table


def test_a_bug_of_ours_is_a_traceback(
    tiny: Card, cases: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.ort_engine.check_inputs", None)
    with pytest.raises(TypeError, match="not callable"):
        _run(tiny, cases[:1], tmp_path / "run")


def test_what_is_finished_is_never_lost(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    fatal = _hooks("torch-fp32", infer_=_misdeed(4, MISDEEDS["exit"][0]))
    second_case_only = _hooks("torch-fp32")
    started: list[str] = []

    def open_engine(name: str, source: ModelSource) -> Engine:
        engine = fatal.open_engine(name, source)
        if isinstance(engine, Wrapped):
            engine.start_ = started.append
            whole = engine.infer_
            engine.infer_ = lambda call, o: whole(call, o) if len(started) > 1 else o
        return engine

    with pytest.raises(TruelineError):
        _run(tiny, cases, tmp_path / "run", hooks=Hooks(open_engine=open_engine))
    seen: list[str] = []
    run = _run(
        tiny, cases, tmp_path / "run", hooks=second_case_only, progress=lambda case, done, total: seen.append(case)
    )
    assert set(seen) == {"synth_00002"}
    assert run.read("frame_metrics")["case"].n_unique() == 2


def test_a_rung_without_any_line_is_told(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    blind = _hooks(infer_=lambda call, o: o | {"scores": 0 * o["scores"]})
    run = _run(tiny, cases, tmp_path / "run", preprocess=["deploy"], hooks=blind)
    told = [(w["rung"], w["case"], w["text"]) for w in run.meta["warnings"] if w["kind"] == "no-lines"]
    assert told == [(BAD, None, f"no lines at all: rung {BAD} drew no line in any frame")]
    lines = {r["name"]: r["lines"] for r in run.rungs}
    assert lines[BAD] == {CASE: 0, "synth_00002": 0}
    assert lines["train/torch-fp32"] == {CASE: 4 * FRAMES, "synth_00002": 4 * FRAMES}


def test_a_rung_without_a_line_in_one_case_is_told_of_that_case(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    begun: list[str] = []
    blind = _hooks(
        start_=begun.append, infer_=lambda call, o: o | {"scores": (len(begun) < 2) * o["scores"]}
    )  # in the second case
    run = _run(tiny, cases, tmp_path / "run", preprocess=["deploy"], hooks=blind)
    told = [(w["rung"], w["case"]) for w in run.meta["warnings"] if w["kind"] == "no-lines"]
    assert told == [(BAD, "synth_00002")]


def test_a_reference_without_any_line_is_told_too(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    card = _changed(tiny, 'name = "polyline"\n', 'name = "polyline"\nthreshold = 1.0\n')
    run = _run(card, cases[:1], tmp_path / "run")
    told = {w["rung"] for w in run.meta["warnings"] if w["kind"] == "no-lines"}
    assert told == {r["name"] for r in run.rungs} >= {"train/torch-fp32"}
