"""Programs as engines: small Python scripts stand in for a C++ replay binary."""

import json
import os
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import engines
from engines.errors import (
    EngineCrashed,
    EngineInputError,
    EngineOptionError,
    EngineOutputMissing,
    EngineUnavailable,
    UnknownEngine,
)
from engines.protocol import CaseContext, CommandSpec, Engine, ModelSource, TensorSpec

DOCS = Path(__file__).parents[3] / "docs" / "programs.md"
INPUTS = (TensorSpec("image", (1, 3, 2)), TensorSpec("calib/K", (2,), "float16"))
SHAPES = {"lines": (1, 3), "head/prob": (2,)}

READ = {
    "npz": "x = dict(np.load(inputs))",
    "safetensors": "from safetensors.numpy import load_file; x = load_file(inputs)",
    "raw": "x = {'image': np.fromfile(inputs + '/image.raw', '<f4').reshape(1, 3, 2),"
    " 'calib/K': np.fromfile(inputs + '/calib_K.raw', '<f2')}",
}
WRITE = {
    "npz": "np.savez(outputs, **y)",
    "safetensors": "from safetensors.numpy import save_file; save_file(y, outputs)",
    "raw": "[a.tofile(f\"{outputs}/{n.replace('/', '_')}.output.{'.'.join(map(str, a.shape))}."
    "{ {'f': 'fp32', 'e': 'fp16'}[a.dtype.char] }.raw\") for n, a in y.items()]",
    "trtexec": "json.dump([dict(name=n, dimensions='x'.join(map(str, a.shape)), values=[float(f'{v:.6g}') for v in"
    " a.ravel()]) for n, a in y.items()], open(outputs, 'w'))",
}
MODEL = "y = {'lines': x['image'].sum(-1), 'head/prob': (x['calib/K'] * 2).astype(np.float16)}"


def script(*lines):
    return (sys.executable, "-c", "\n".join(("import sys, os, json, time", "import numpy as np", *lines)))


def source_of(folder, *, shapes=None, **spec):
    spec = CommandSpec(**spec, shapes=shapes or {})
    return ModelSource("model", folder, INPUTS, tuple(SHAPES), commands={"car": spec})


def feed(seed=0):
    random = np.random.default_rng(seed)
    return {
        "image": random.standard_normal((1, 3, 2)).astype(np.float32),
        "calib/K": random.standard_normal(2).astype(np.float16),
    }


def expected(inputs):
    return {"lines": inputs["image"].sum(-1), "head/prob": (inputs["calib/K"] * 2).astype(np.float32)}


def check(found, inputs, rtol=0.0):
    assert list(found) == list(SHAPES)
    for name, want in expected(inputs).items():
        assert found[name].dtype == np.float32
        assert found[name].shape == want.shape
        np.testing.assert_allclose(found[name], want, rtol=rtol)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where the engine's files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.mark.parametrize(("given", "made"), [*zip(READ, WRITE, strict=False), ("npz", "trtexec")])
def test_a_program_per_frame_in_every_format(tmp_path, temporary, given, made):
    run = script("inputs, outputs = sys.argv[1:]", READ[given], MODEL, WRITE[made])
    source = source_of(tmp_path, run=(*run, "{inputs}", "{outputs}"), inputs=given, outputs=made)
    engine = engines.open("command:car", source)
    assert isinstance(engine, Engine)
    assert json.loads(json.dumps(dict(engine.provenance))) == engine.provenance
    for seed in range(2):
        check(engine.infer(feed(seed)), feed(seed), rtol=5.1e-6 if made == "trtexec" else 0)
    assert not list(temporary.iterdir()), "files were left behind"
    engine.close()


def test_single_files_and_moments_by_placeholder(tmp_path, temporary):
    run = script(
        "image, k, lines, prob, when, case, root = sys.argv[1:]",
        "x = {'image': np.fromfile(image.split(':')[1], '<f4').reshape(1, 3, 2), 'calib/K': np.fromfile(k, '<f2')}",
        MODEL,
        "(y['lines'] + float(when) + len(case)).astype('<f4').tofile(lines)",
        "y['head/prob'].tofile(prob)",
        "assert os.getcwd() == root and os.environ['DEVICE'] == '3'",
    )
    arguments = ("image:{input.image}", "{input.calib/K}", "{output.lines}", "{output.head/prob}", "{timestamp_ns}")
    source = source_of(
        tmp_path,
        run=(*run, *arguments, "{case}", "{root}"),
        inputs="raw",
        outputs="raw",
        shapes=SHAPES,
        dtypes={"head/prob": "float16"},
        env={"DEVICE": "3"},
    )
    engine = engines.open("command", source)
    engine.start_case(CaseContext("abc", tmp_path))
    engine.seek(7)
    found = engine.infer(feed())
    np.testing.assert_allclose(found.pop("lines"), expected(feed())["lines"] + 10, rtol=1e-6)
    assert (found.pop("head/prob") == expected(feed())["head/prob"]).all()
    assert not found


def pipe_child(*body):
    return script(
        "from safetensors.numpy import load, save",
        "def answer(y, **about):",
        "    data = save(y, about or None)",
        "    sys.stdout.buffer.write(len(data).to_bytes(8, 'little') + data); sys.stdout.buffer.flush()",
        "while head := sys.stdin.buffer.read(8):",
        "    data = sys.stdin.buffer.read(int.from_bytes(head, 'little'))",
        "    about = json.loads(data[8:8 + int.from_bytes(data[:8], 'little')])['__metadata__']",
        "    x = load(data)",
        f"    {MODEL}",
        *(f"    {line}" for line in body),
    )


def test_a_running_program_answers_frame_after_frame_and_leaves_when_asked(tmp_path):
    left = tmp_path / "left"
    run = pipe_child("y['head/prob'] = y['head/prob'] + np.float16(about['timestamp_ns'])", "answer(y)")
    source = source_of(tmp_path, run=(*run[:2], run[2] + f"\nopen({str(left)!r}, 'w')"), mode="pipe")
    engine = engines.open("command:car", source)
    assert isinstance(engine, Engine)
    for seed in range(3):
        engine.seek(seed)
        found = engine.infer(feed(seed))
        assert (found["lines"] == expected(feed(seed))["lines"]).all()
        assert (found["head/prob"] == (feed(seed)["calib/K"] * 2 + np.float16(seed)).astype(np.float32)).all()
    engine.close()
    engine.close()
    assert left.exists()


def test_the_program_of_the_documentation_speaks_the_protocol(tmp_path):
    (code,) = re.findall(r"```python\n(# replay\.py.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.splitlines()) <= 25
    (tmp_path / "replay.py").write_text(code)
    (tmp_path / "my_model.py").write_text(f"import numpy as np\ndef run(x):\n    {MODEL}\n    return y\n")
    source = source_of(tmp_path, run=(sys.executable, "replay.py"), mode="pipe")
    engine = engines.open("command:car", source)
    check(engine.infer(feed()), feed())
    check(engine.infer(feed(1)), feed(1))
    (tmp_path / "my_model.py").write_text("def run(x):\n    raise ValueError('no such layer')\n")
    engine.close()
    with pytest.raises(EngineCrashed, match=r"said: .*no such layer"):
        engine.infer(feed())
    engine.close()


CRASHES = [
    (
        "print('a', file=sys.stderr); print('the board\\nis on fire', file=sys.stderr); sys.exit(3)",
        "exit code 3; stderr ends: a / the board / is on fire",
    ),
    ("os.kill(os.getpid(), 11)", "ended by signal 11 (SIGSEGV)"),
    ("os.kill(os.getpid(), 9)", "signal 9 (SIGKILL), as when memory runs out"),
    ("print('still busy', file=sys.stderr, flush=True); time.sleep(100)", "6 s; stderr ends: still busy"),
]


@pytest.mark.parametrize(("deed", "text"), CRASHES)
@pytest.mark.parametrize("mode", ["per-frame", "pipe"])
def test_a_program_that_fails_is_a_crash_with_its_last_words(tmp_path, temporary, mode, deed, text):
    """It fails once: the next call starts it again."""
    once = tmp_path / "once"
    again = f"if not os.path.exists({str(once)!r}): open({str(once)!r}, 'w').close(); "
    if mode == "pipe":
        run = pipe_child(again + deed, "answer(y)")
    else:
        run = script(again + deed, READ["npz"].replace("inputs", "sys.argv[1]"), MODEL, "np.savez(sys.argv[2], **y)")
        run = (*run, "{inputs}", "{outputs}")
    source = source_of(tmp_path, run=run, mode=mode, inputs="npz", outputs="npz", timeout_s=6)
    engine = engines.open("command:car", source)
    start = time.monotonic()
    with pytest.raises(EngineCrashed) as caught:
        engine.infer(feed())
    assert text in caught.value.what
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 30
    check(engine.infer(feed()), feed())
    engine.close()
    assert not list(temporary.iterdir())


def test_what_a_program_started_is_ended_with_it(tmp_path):
    """A shell that waits for another program: both are gone after the time limit."""
    (tmp_path / "run.sh").write_text("sleep 77.25 & echo $! > child\nwait\n")
    source = source_of(tmp_path, run=("sh", "run.sh"), timeout_s=1)
    with pytest.raises(EngineCrashed, match="was not done after 1 s"):
        engines.open("command:car", source).infer(feed())
    pid = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _running(pid):
        time.sleep(0.05)
    assert not _running(pid)


def _running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


BAD_FILES = [
    ("npz", "pass", "No such file"),
    ("safetensors", "pass", "not readable as safetensors"),
    ("trtexec", "open(sys.argv[1], 'w').write('[{')", "not readable as JSON"),
    ("raw", "open(sys.argv[1] + '/lines.output.3.fp32.raw', 'wb').write(bytes(8))", "8 bytes, fp32 [3] has 12"),
]


@pytest.mark.parametrize(("made", "deed", "text"), BAD_FILES)
def test_outputs_that_do_not_read_are_a_crash_of_the_program(tmp_path, temporary, made, deed, text):
    engine = engines.open("command:car", source_of(tmp_path, run=(*script(deed), "{outputs}"), outputs=made))
    with pytest.raises(EngineCrashed, match="ended well, but its output") as caught:
        engine.infer(feed())
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(temporary.iterdir())


def test_a_program_that_prints_on_the_pipe_is_told_to_stop(tmp_path):
    run = pipe_child("print('loading the model'); sys.stdout.flush(); time.sleep(9)")
    engine = engines.open("command:car", source_of(tmp_path, run=run, mode="pipe"))
    with pytest.raises(EngineCrashed, match="print to stderr instead"):
        engine.infer(feed())


@pytest.mark.parametrize("mode", ["per-frame", "pipe"])
def test_an_output_that_is_missing_is_named(tmp_path, mode):
    run = (
        pipe_child("answer({'lines': y['lines']})")
        if mode == "pipe"
        else (*script("np.savez(sys.argv[1], lines=np.zeros(3))"), "{outputs}")
    )
    engine = engines.open("command:car", source_of(tmp_path, run=run, mode=mode, outputs="npz"))
    with pytest.raises(EngineOutputMissing, match="no output 'head/prob'") as caught:
        engine.infer(feed())
    assert "['lines']" in caught.value.remedy
    engine.close()


@pytest.mark.parametrize(
    ("change", "name", "error", "text"),
    [
        ({"run": ("no-such-program-of-anyone",)}, "command:car", EngineUnavailable, "no program"),
        ({"run": ("./replay",)}, "command:car", EngineUnavailable, "no program './replay' in"),
        ({"run": ("true", "{input}")}, "command:car", EngineOptionError, "no placeholder {input}"),
        ({"run": ("true", "{input.image}")}, "command:car", EngineOptionError, "no placeholder {input.image}"),
        ({"run": ("true", "{inputs}"), "mode": "pipe"}, "command:car", EngineOptionError, "no placeholder {inputs}"),
        (
            {"run": ("true", "{output.lines}"), "outputs": "raw"},
            "command:car",
            EngineOptionError,
            "'lines' is not known",
        ),
        ({"run": ("true",)}, "command:bus", UnknownEngine, "no [command.bus] in the card"),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path, change, name, error, text):
    with pytest.raises(error) as caught:
        engines.open(name, source_of(tmp_path, **change))
    assert text in caught.value.what
    assert "\n" not in str(caught.value)


def test_options_and_inputs_are_checked(tmp_path):
    source = source_of(tmp_path, run=("true", '{"a": 1}'))
    with pytest.raises(EngineOptionError, match="no option 'threads'"):
        engines.open("command:car", source, threads=1)
    with pytest.raises(EngineInputError, match="missing inputs"):
        engines.open("command:car", source).infer({})
    assert os.environ.get("DEVICE") is None


def remembering(tmp_path, **spec):
    """A program that answers each frame with the inputs of the frame before, and the number of its process."""
    run = pipe_child(
        "past = globals().get('past') or [x]",
        "y = {'lines': past[-1]['image'].sum(-1), 'head/prob': np.array([os.getpid(), 0], np.float32)}",
        "past.append(x)",
        "answer(y)",
    )
    return source_of(tmp_path, run=run, mode="pipe", **spec)


@pytest.mark.parametrize(("restart", "apart"), [("case", True), ("never", False)])
def test_a_program_with_a_memory_begins_every_case_anew_unless_the_card_lets_it_run_on(tmp_path, restart, apart):
    engine = engines.open("command:car", remembering(tmp_path, restart=restart))
    assert engine.keeps_state
    processes, firsts = [], []
    for case in ("a", "b"):
        engine.start_case(CaseContext(case, tmp_path))
        found = [engine.infer(feed(seed)) for seed in range(3)]
        assert len({float(f["head/prob"][0]) for f in found}) == 1, "one process a case"
        processes.append(float(found[0]["head/prob"][0]))
        firsts.append(found[0]["lines"])
        np.testing.assert_array_equal(found[2]["lines"], feed(1)["image"].sum(-1))
    assert (processes[0] != processes[1]) is apart
    assert np.array_equal(*firsts) is apart
    engine.close()


@pytest.mark.parametrize("mode", ["pipe", "per-frame"])
def test_the_program_knows_the_rung_it_runs_for(tmp_path, mode):
    told = "[float(os.environ['TRUELINE_RUNG'] == 'deploy/command:car'), float({} == 'deploy/command:car')]"
    if mode == "pipe":
        body = (
            f"y['head/prob'] = np.array({told.format('about[chr(114) + chr(117) + chr(110) + chr(103)]')}, np.float32)"
        )
        source = source_of(tmp_path, run=pipe_child(body, "answer(y)"), mode="pipe")
    else:
        body = f"y['head/prob'] = np.array({told.format('rung')}, np.float32)"
        run = script("inputs, outputs, rung = sys.argv[1:]", READ["npz"], MODEL, body, WRITE["npz"])
        source = source_of(tmp_path, run=(*run, "{inputs}", "{outputs}", "{rung}"), inputs="npz", outputs="npz")
    engine = engines.open("command:car", source)
    engine.start_case(CaseContext("a", tmp_path, rung="deploy/command:car"))
    assert engine.infer(feed())["head/prob"].tolist() == [1, 1]
    engine.close()
