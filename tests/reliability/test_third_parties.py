"""Part A9: what a third party's engine, decoder or step does wrong costs its own rung, and is told in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.errors import EngineCrashed, EngineError, ModelLoadError
from engines.foreign import outside
from engines.guest import hosted
from harness.errors import DecoderError, PreprocessError
from harness.feed.preprocess import build_pipeline
from harness.lines.decode import build_decoder
from harness.lines.decode.guest import GuestDecoder
from harness.lines.table import LineTable
from harness.model.card import load_card
from harness.replay.replay import replay
from tests.reliability.identity_model import POINTS, SLOTS, write_card, write_case
from trueline import TruelineError

LINE = [[0, 0], [40, 1]]
GOOD = LineTable.from_points([0, 1, 1], [LINE, LINE, LINE], slot=[0, 0, 1])


class Gives:
    """A decoder that gives what it was told to, whatever it is asked."""

    slots = 2

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def decode(self, outputs: Any) -> Any:
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


class Odd(BaseException):
    """No Exception: `except Exception` does not catch it."""


class Mute(Exception):
    """One that cannot even be told."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


ANSWERS: dict[str, tuple[Any, str]] = {
    "negative": (replace(GOOD, frame=np.array([-1, 0, 1])), "lines of frames -1 to 1"),
    "too large": (replace(GOOD, frame=np.array([0, 1, 2])), "beyond the 2 given"),
    "far too large": (replace(GOOD, frame=np.array([0, 1, 2**63], np.uint64)), "which int64 cannot hold"),
    "back again": (replace(GOOD, frame=np.array([0, 1, 0])), "out of order"),
    "fractions": (replace(GOOD, frame=np.array([0.0, 0.5, 1.0])), "frame is float64"),
    "a mask": (replace(GOOD, frame=np.array([True, False, True])), "frame is bool"),
    "two axes": (replace(GOOD, frame=np.array([[0], [1], [1]])), "frame is int64 [3, 1]"),
    "a list": (replace(GOOD, frame=[0, 1, 1]), "frame is a list"),
    "a class of 1e9": (replace(GOOD, category=np.array([0, 0, 10**9])), "category 1000000000, which int16"),
    "a slot below -1": (replace(GOOD, slot=np.array([0, 1, -7])), "slots from -7"),
    "a topology of 7": (replace(GOOD, topology=np.array([0, 0, 7])), "topologies up to 7"),
    "texts": (replace(GOOD, score=np.array(["a", "b", "c"])), "score is <U1"),
    "complex": (replace(GOOD, x=GOOD.x + 1j), "x is complex"),
    "offsets": (replace(GOOD, start=np.array([0, 99, 2, 6])), "offsets [0, 99, 2, 6]"),
    "nothing": (None, "a NoneType"),
    "exit": (SystemExit(3), "sys.exit(3)"),
    "odd": (Odd("odd"), "Odd: odd"),
    "mute": (Mute(), "Mute"),
    "out of memory": (MemoryError(), "MemoryError"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_decoders_odd_answer_is_one_line(answer: str) -> None:
    given, said = ANSWERS[answer]
    outputs = {"lines": np.zeros((2, 1, 4), np.float32)}
    with pytest.raises(DecoderError) as caught:
        GuestDecoder(Gives(given)).decode(outputs)
    assert said in caught.value.what
    assert str(caught.value).isprintable()


def test_a_decoders_good_answer_is_taken_in_our_types() -> None:
    wide = replace(GOOD, frame=GOOD.frame.astype(np.uint8), score=GOOD.score.astype(np.float64))
    found = GuestDecoder(Gives(wide)).decode({"lines": np.zeros((2, 1), np.float32)})
    assert found.frame.dtype == np.int64
    assert found.score.dtype == np.float32
    assert len(found) == 3


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys\nsys.exit(0)", "cannot import 'users': it called sys.exit(0)"),
        ("class Odd(BaseException): pass\nraise Odd('x')", "cannot import 'users': Odd: x"),
        ("def build(card): raise SystemExit('no licence')", "it called sys.exit('no licence')"),
        ("def build(card): return 5", "gave a int without decode"),
        ("class build:\n  slots = 'four'\n  def __init__(s, c): pass\n  def decode(s, o): pass", "ValueError"),
    ],
)
def test_a_decoder_that_cannot_be_made_is_one_line(code: str, said: str, tmp_path: Path) -> None:
    card = load_card(write_card(tmp_path / "card", code=code, decoder="users:build"))
    with pytest.raises(DecoderError) as caught:
        build_decoder(card)
    assert said in str(caught.value)


STEPS: dict[str, tuple[str, str]] = {
    "exit": ("raise SystemExit(4)", "sys.exit(4)"),
    "odd": ("class Odd(BaseException): pass\n    raise Odd('x')", "Odd: x"),
    "nothing": ("return None", "a NoneType, not an array"),
    "a list": ("return [1, 2]", "a list, not an array"),
    "another shape": ("return np.zeros((1, 4, 30, 2), np.float32)", "needs shape"),
    "objects": ("return np.full((1, 4, 33, 2), None)", "gave object"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_steps_odd_answer_costs_the_rungs_it_feeds(step: str, tmp_path: Path) -> None:
    body, said = STEPS[step]
    extra = '[preprocess]\ntrain = []\ndeploy = [{ op = "users:go" }]\n'
    card = write_card(tmp_path / "card", extra=extra, code=f"import numpy as np\ndef go(p):\n    {body}\n")
    cases = [write_case(tmp_path / "cases", frames=4)]
    run = replay(load_card(card), cases, engines=["ort-fp32"], out=tmp_path / "run", cache=tmp_path / "cache")
    ended = {r["name"]: (r["status"], r["reason"]) for r in run.rungs}
    assert ended["train/ort-fp32"][0] == "ok"
    assert ended["deploy/ort-fp32"][0] == "not_run"
    assert said in ended["deploy/ort-fp32"][1]


def test_a_bug_of_ours_in_a_step_is_no_users_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = load_card(write_card(tmp_path / "card"))
    pipeline = build_pipeline([{"op": "dtype", "to": "float32"}], card.inputs[0])

    def bug(value: Any) -> Any:
        raise AttributeError("a bug of ours")

    bug.__code__ = bug.__code__.replace(co_filename=build_pipeline.__code__.co_filename)
    monkeypatch.setattr(pipeline, "_steps", (("dtype", bug),))
    picture = np.zeros((1, SLOTS, POINTS, 2), np.float32)
    with pytest.raises(AttributeError, match="a bug of ours"):
        pipeline(picture)  # type: ignore[arg-type]  # the step fails before it is looked at
    monkeypatch.setattr(pipeline, "_steps", (("dtype", lambda value: np.zeros(3) @ np.zeros(4)),))
    with pytest.raises(PreprocessError, match="cannot take"):
        pipeline(picture)  # type: ignore[arg-type]


class Nearly:
    """Nearly an engine."""

    name, provenance, uses_time = "nearly", {}, False

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def start_case(self, context: Any) -> None:
        raise Odd("no case")

    def seek(self, timestamp_ns: int) -> None:
        raise SystemExit

    def infer(self, inputs: Any) -> Any:
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    def close(self) -> None:
        raise Odd("open for ever")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "a NoneType"),
        ([np.zeros(3)], "a list"),
        ({"y": [1.0]}, "output 'y' is a list"),
        ({5: np.zeros(3)}, "output 5 is a ndarray"),
        (Odd("odd"), "Odd: odd"),
        (SystemExit(2), "sys.exit(2)"),
        (RecursionError("deep"), "RecursionError: deep"),
    ],
)
def test_an_engines_odd_answer_is_one_line(answer: Any, said: str) -> None:
    engine = hosted(Nearly(answer), "nearly")  # type: ignore[arg-type]  # nearly
    with pytest.raises(EngineCrashed) as caught:
        engine.infer({})
    assert said in caught.value.what
    for call in (lambda: engine.start_case(None), lambda: engine.seek(0), engine.close):  # type: ignore[arg-type]
        with pytest.raises(EngineError):
            call()


def test_what_is_special_of_an_array_does_not_pass() -> None:
    masked = np.ma.masked_array(np.zeros(3), mask=[True, False, False])
    (values,) = hosted(Nearly({"y": masked}), "nearly").infer({}).values()  # type: ignore[arg-type]
    assert type(values) is np.ndarray


def test_something_that_is_no_engine_is_one_line() -> None:
    with pytest.raises(ModelLoadError, match="without infer"):
        hosted(type("Half", (), dict.fromkeys(("name", "uses_time", "provenance", "start_case", "seek")))(), "half")


def test_ctrl_c_is_the_users_and_nobody_elses() -> None:
    with pytest.raises(KeyboardInterrupt), outside(lambda cause: TruelineError(cause, where="w", remedy="r")):
        raise KeyboardInterrupt


def test_programs_and_their_rungs(tmp_path: Path) -> None:
    """One replay with a rung of every misdeed: the reference and the good rung stay as they are."""
    deeds = {
        "shape": "lines = x[:, :, :5]",
        "changes": "lines = x[:, :, : 33 if now < 1e8 else 31]",
        "text": "lines = x.astype(str)",
        "missing": "other = x",
        "good": "lines = x",
    }
    commands = ""
    code = "import sys\nimport numpy as np\nx = np.load(sys.argv[1])['x']\nnow = int(sys.argv[3])\n"
    for name, deed in deeds.items():
        (tmp_path / f"{name}.py").write_text(
            f"{code}{deed}\nnp.savez(sys.argv[2], scores=np.full((1, 4), 0.9, np.float32), "
            f"{deed.partition(' ')[0]}={deed.partition(' ')[0]})\n"
        )
        commands += f'[command.{name}]\nrun = ["python3", "{tmp_path / name}.py", "{{inputs}}", "{{outputs}}", '
        commands += '"{timestamp_ns}"]\ninputs = "npz"\noutputs = "npz"\n'
    card = write_card(tmp_path / "card", extra=commands)
    names = [f"command:{name}" for name in deeds]
    run = replay(
        load_card(card),
        [write_case(tmp_path / "cases", frames=4)],
        engines=names,
        preprocess=["deploy"],
        out=tmp_path / "run",
        cache=tmp_path / "cache",
    )
    status = {r["name"]: r["status"] for r in run.rungs}
    crashed = {f"deploy/command:{name}": "crashed" for name in deeds if name != "good"}
    fine = dict.fromkeys(("train/ort-fp32", "deploy/ort-fp32", "deploy/command:good"), "ok")
    assert status == fine | crashed
    drawn = run.read("lines").group_by("rung").len().rows_by_key("rung", unique=True, named=True)
    assert drawn["deploy/command:good"] == drawn["train/ort-fp32"] == {"len": 4 * SLOTS}
