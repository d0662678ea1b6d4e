"""What can be checked of benchmarks/gpu without a GPU: steps as children, registers of a warp, figures, the parcel."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu import STEPS, run_steps
from benchmarks.gpu_compare import bit_equal, compare_engines, emulations, fp32_of
from benchmarks.gpu_mma import (
    INSTRUCTIONS,
    architecture_of,
    compare,
    emulated,
    instructions_of,
    matrices,
    pack,
    places,
    ptx,
    unpack,
)
from benchmarks.gpu_parcel import requirements
from benchmarks.mma_reference import chain
from engines.mma.arithmetic import step_of
from harness.errors import TruelineError
from harness.model.card import load_card

ROOT = Path(__file__).resolve().parents[2]
CHILDREN = {
    "good": "import json, sys; json.dump({'status': 'ok', 'result': 7}, open(sys.argv[1], 'w'))",
    "bad": "print('no such driver'); raise SystemExit(3)",
    "silent": "pass",
    "late": "import time; time.sleep(60)",
}


def test_no_step_stops_another_and_a_second_run_does_what_is_missing(tmp_path):
    def command(name: str, result: Path) -> list[str]:
        with (tmp_path / "log").open("a") as log:
            log.write(name + "\n")
        return [sys.executable, "-c", CHILDREN[name], str(result)]

    out, limits = tmp_path / "gpu.json", dict.fromkeys(CHILDREN, 20.0) | {"late": 0.5}
    start = time.monotonic()
    run_steps([*CHILDREN], out, command, limits)
    assert time.monotonic() - start < 15
    steps = json.loads(out.read_text())["steps"]
    assert {name: step["status"] for name, step in steps.items()} == {
        "good": "ok", "bad": "failed", "silent": "failed", "late": "timeout",
    }  # fmt: skip
    assert steps["good"]["result"] == 7
    assert steps["bad"]["told"] == ["no such driver"]
    run_steps(["good", "bad"], out, command, limits)
    assert (tmp_path / "log").read_text().split() == [*CHILDREN, "bad"]


def test_all_steps_together_take_six_minutes_at_most():
    assert sum(step.limit_s for step in STEPS.values()) <= 360


def test_a_machine_without_a_gpu_is_told_so(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    out = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(out), "--steps", "machine"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    step = json.loads(out.read_text())["steps"]["machine"]
    assert step["status"] == "not here"
    assert "no CUDA GPU" in step["reason"]


@pytest.mark.parametrize("instruction", INSTRUCTIONS, ids=lambda one: one.name)
def test_every_element_has_one_place_in_the_registers_of_a_warp(instruction):
    shapes = {"a": (16, instruction.k), "b": (instruction.k, 8), "c": (16, 8)}
    for name, at in places(instruction).items():
        held = [tuple(place) for place in at.reshape(-1, 2).tolist()]
        assert sorted(held) == [*np.ndindex(shapes[name])]


def test_fragments_lie_as_the_ptx_isa_draws_them():
    """Of lane 5 (group 1, thread 1): a2 and a3 of m16n8k16 are in row 9, columns 2 and 3; b1 of TF32's k8 is row 5."""
    half, tf32 = INSTRUCTIONS[1], INSTRUCTIONS[-1]
    assert places(half)["a"][5].tolist() == [[[1, 2], [1, 3]], [[9, 2], [9, 3]], [[1, 10], [1, 11]], [[9, 10], [9, 11]]]
    assert places(half)["b"][5].tolist() == [[[2, 1], [3, 1]], [[10, 1], [11, 1]]]
    assert places(half)["c"][5].tolist() == [[[1, 2]], [[1, 3]], [[9, 2]], [[9, 3]]]
    assert places(tf32)["a"][5].tolist() == [[[1, 1]], [[9, 1]], [[1, 5]], [[9, 5]]]
    assert places(tf32)["b"][5].tolist() == [[[1, 1]], [[5, 1]]]


@pytest.mark.parametrize("instruction", INSTRUCTIONS, ids=lambda one: one.name)
def test_what_is_packed_comes_back(instruction):
    _, _, c = matrices(instruction, step_of("hopper", instruction.kind, half_accumulator=instruction.half), 3, 1)
    found = compare(unpack(instruction, pack(instruction, "c", c)), c)
    assert found["bit_equal"] == c.size
    assert found["nan_of_other_bits"] == 0 or instruction.half


@pytest.mark.parametrize("instruction", INSTRUCTIONS, ids=lambda one: one.name)
def test_a_gpu_reads_the_fragments_lane_by_lane_in_memory(instruction):
    """The H200 got fp16 operands whose memory lay register by register: fancy indexing chooses strides of its own."""
    given = matrices(instruction, step_of("hopper", instruction.kind, half_accumulator=instruction.half), 3, 1)
    for name, matrix in zip("abc", given, strict=True):
        assert pack(instruction, name, matrix).flags.c_contiguous


@pytest.mark.parametrize("architecture", ["ampere", "hopper"])
@pytest.mark.parametrize("instruction", INSTRUCTIONS, ids=lambda one: one.name)
def test_an_instruction_is_emulated_whatever_its_depth_is_to_a_step(instruction, architecture):
    """Deeper than a step: several; shallower (k8 of Hopper's 16): one, padded by zeros."""
    pytest.importorskip("numba", reason="pip install 'trueline[mma]'")
    step_ = step_of(architecture, instruction.kind, half_accumulator=instruction.half)
    a, b, c = matrices(instruction, step_, 2, 5)
    got = emulated(instruction, step_, a, b, c)
    for m, row, column in np.ndindex(2, 3, 8):
        pairs = list(zip(a[m, row].tolist(), b[m, :, column].tolist(), strict=True))
        want = np.float32(chain(step_, instruction.kind, pairs, float(c[m, row, column])))
        assert compare(got[m, row, column][None], want[None])["bit_equal"] == 1


def test_the_text_has_the_instruction_with_as_many_registers_as_a_lane_holds():
    for instruction in INSTRUCTIONS:
        text = ptx(instruction, 90)
        groups = re.search(rf"{re.escape(instruction.name)} (.*);", text)[1]
        counts = [group.count("%") for group in re.findall(r"\{(.*?)\}", groups)]
        at = places(instruction)
        assert counts == [at["c"].shape[1], at["a"].shape[1], at["b"].shape[1], at["c"].shape[1]]
        assert ".target sm_90" in text


def test_a_compute_capability_has_its_architecture_and_instructions():
    assert [architecture_of(c) for c in (70, 75, 80, 86, 87, 89, 90, 100, 120)] == [
        "volta", "turing", "ampere", "ampere", "ampere", "ada", "hopper", "blackwell", "blackwell",
    ]  # fmt: skip
    assert {one.kind for one in instructions_of(75)} == {"fp16"}
    assert instructions_of(70) == ()


def test_wrong_results_are_counted_by_what_they_are():
    want = np.array([1.0, 0.0, np.inf, np.nan, 2.0], np.float32)
    got = np.array([1.0, -0.0, 3.0, -np.nan, 2.5], np.float32)
    found = compare(got, want)
    assert (found["results"], found["bit_equal"]) == (5, 2)
    assert (found["nan_of_other_bits"], found["wrong_where_infinite_or_nan"], found["wrong_where_zero"]) == (1, 1, 1)


def test_an_instruction_deeper_than_a_step_chains():
    pytest.importorskip("numba", reason="pip install 'trueline[mma]'")
    instruction, step_ = INSTRUCTIONS[1], step_of("ampere", "fp16")
    a, b = np.ones((1, 16, 16), np.float32), np.ones((1, 16, 8), np.float32)
    assert (emulated(instruction, step_, a, b, np.ones((1, 16, 8), np.float32)) == 17).all()


def test_bits_and_figures_of_two_engines(tmp_path):
    """Of fp16 computed by PyTorch here, in place of a GPU."""
    from cases.synth import synth_cases

    cases = list(synth_cases(9000, 1, 0.25, tmp_path / "cases"))
    card = load_card(ROOT / "examples/roadlines/robust.toml")
    found = compare_engines(card, cases, ("torch-fp16", "trtrtx-fp16"), 0, tmp_path)
    pairs = {pair["emulated"]: pair for pair in found["pairs"]}
    assert {"emulated-fp16", "emulated-fp16-fused"} <= set(pairs)
    for pair in pairs.values():
        assert 0.3 < pair["rms_ratio"]["lines"] < 3
        assert 0.2 < pair["bend_p50_ratio"] < 5
        assert 0 < pair["bit_equal"]["scores"] < 1
        assert -1 <= pair["rank_correlation"] <= 1
    assert found["frames"] == 5
    assert found["failed"] == {}
    assert "trtrtx-fp16" in found["not_available"]
    assert found["engines"]["torch-fp16"]["lines_of_one_only"] == 0


def test_an_fp32_engine_that_refuses_is_told_and_the_others_go_on(tmp_path, monkeypatch):
    """As TensorRT for RTX does on an H200: it is importable, and no plan runs."""
    from benchmarks import gpu_compare
    from cases.synth import synth_cases

    run = gpu_compare.outputs_of

    def refusing(card, cases, name, folder):
        if name == "torch-fp32":
            raise TruelineError("the plan was built for other GPUs", where="engine", remedy="none")
        return run(card, cases, name, folder)

    monkeypatch.setattr(gpu_compare, "outputs_of", refusing)
    cases = list(synth_cases(9000, 1, 0.1, tmp_path / "cases"))
    card = load_card(ROOT / "examples/roadlines/robust.toml")
    found = compare_engines(card, cases, ("torch-fp32", "ort-fp32-none"), 0, tmp_path)
    assert "other GPUs" in found["failed"]["torch-fp32"]
    assert list(found["fp32"]) == ["ort-fp32-none"]


def test_every_emulation_is_held_against_an_fp32_that_was_run():
    """`emulated-mma-fp16` hangs below an emulation: its error is against fp32 all the same."""
    for name in (*emulations(90), "torch-fp16@cuda", "trtrtx-bf16", "ort-cuda-tf32"):
        assert fp32_of(name) == {"torch": "torch-fp32@cuda", "trtrtx": "trtrtx-fp32", "ort": "ort-cuda-fp32"}.get(
            name.partition("-")[0], "ort-fp32"
        )
    assert emulations(90).count("emulated-mma-fp16:hopper") == 1


def test_equal_bits_are_counted_by_element():
    one = [{"y": np.array([1.0, 0.0, np.nan], np.float32)}]
    other = [{"y": np.array([1.0, -0.0, np.nan], np.float32)}]
    assert bit_equal(one, one) == {"bit_equal": {"y": 1.0}}
    assert bit_equal(one, other)["bit_equal"]["y"] == pytest.approx(2 / 3)


def test_the_parcel_has_no_torch_and_the_gpu_build_of_onnx_runtime():
    names = [re.split(r"[=<>]", line)[0] for line in requirements()]
    assert {"onnx", "polars", "polars-runtime-32", "numba", "llvmlite", "onnxruntime-gpu"} <= set(names)
    assert not {"torch", "onnxruntime"} & set(names)


def test_a_parcel_is_split_joined_and_checked(tmp_path):
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("not a git clone")
    script, python = ROOT / "benchmarks" / "gpu.sh", Path(sys.executable)
    stub = tmp_path / "python"
    stub.write_text(
        f'#!/bin/sh\n[ "$2" = benchmarks.gpu_parcel ] && mkdir -p "$4/inputs/roadlines" && exit 0\nexec {python} "$@"\n'
    )
    stub.chmod(0o755)
    env = {"BIN": str(stub), "WHEELS": "0", "PART_MB": "1", "PATH": "/usr/bin:/bin"}
    parts, target = tmp_path / "parts", tmp_path / "there"
    subprocess.run(["bash", str(script), "pack", str(parts)], env=env, check=True, capture_output=True)
    assert len([*parts.glob("parcel.tgz.*")]) > 1
    unpack_ = ["bash", str(parts / "gpu.sh"), "unpack", str(parts), str(target)]
    told = subprocess.run(unpack_, env=env, check=True, capture_output=True, text=True).stdout
    assert "benchmarks.gpu --inputs ../inputs" in told
    assert (target / "parcel/trueline/pyproject.toml").read_text() != ""
    assert (target / "parcel/inputs/roadlines").is_dir()
    (parts / "parcel.tgz.000").write_bytes(b"cut")
    broken = subprocess.run(unpack_, env=env, check=False, capture_output=True, text=True)
    assert broken.returncode == 1
    assert "damaged" in broken.stderr
