from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from techniques.checkpoint import load_state, save_state
from techniques.errors import CheckpointError

LEAVES = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=5)
STATES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=10,
)


@given(state=STATES)
def test_what_is_saved_comes_back_with_its_types(state: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("state") / "s.safetensors"
    save_state(path, state)
    assert repr(load_state(path)) == repr(state)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_tensors_come_back_bit_for_bit(dtype: torch.dtype, tmp_path: Path) -> None:
    x = (torch.randn(3, 4) * 9).to(dtype)
    save_state(tmp_path / "s", {"a": [x.T, x[0], x[:0]], "scalar": x[0, 0], "nan": math.nan})
    found = load_state(tmp_path / "s")
    assert all(torch.equal(a, b) and a.dtype == dtype for a, b in zip(found["a"], [x.T, x[0], x[:0]], strict=True))
    assert found["scalar"].shape == ()
    assert math.isnan(found["nan"])


def test_tensors_that_share_memory_are_both_there(tmp_path: Path) -> None:
    x = torch.arange(4.0)
    save_state(tmp_path / "s", [x, x[1:]])
    assert [t.tolist() for t in load_state(tmp_path / "s")] == [[0, 1, 2, 3], [1, 2, 3]]


def test_what_an_optimiser_remembers_survives(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    save_state(tmp_path / "s", optimiser.state_dict())
    other = torch.optim.AdamW(model.parameters())
    other.load_state_dict(load_state(tmp_path / "s"))
    assert torch.equal(other.state[model.weight]["exp_avg"], optimiser.state[model.weight]["exp_avg"])


def test_a_failed_write_leaves_the_old_state(tmp_path: Path) -> None:
    save_state(tmp_path / "s", {"step": 1})
    with pytest.raises(CheckpointError, match="cannot store a set"):
        save_state(tmp_path / "s", {"step": {2}})
    assert load_state(tmp_path / "s") == {"step": 1}


def test_files_that_are_no_state_are_refused(tmp_path: Path) -> None:
    (tmp_path / "torn").write_bytes(b"\x10\x00")
    save_file({"a": torch.ones(1)}, tmp_path / "weights")
    for name, said in {"torn": "cannot read it", "weights": "not the state of a run", "none": "cannot read it"}.items():
        with pytest.raises(CheckpointError, match=said) as caught:
            load_state(tmp_path / name)
        assert name in str(caught.value)
