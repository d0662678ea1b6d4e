"""A state that is reset jumps in its own series; noise, growth and the reference's own resets are none."""

import numpy as np
import pytest

from harness.measures.state import StateMeter


def states(seed=0, steps=300, forget=0.93):
    """A recurrence of 32 numbers driven by noise, [steps, 32], and the drive."""
    drive = np.random.default_rng(seed).normal(size=(steps, 32)) * np.sqrt(1 - forget**2)
    return drive, forget


def run(drive, forget, reset_every=0, error=0.0, seed=1):
    rng, hidden, out = np.random.default_rng(seed), np.zeros(32), []
    for k, push in enumerate(drive):
        if reset_every and k and k % reset_every == 0:
            hidden = np.zeros(32)
        hidden = forget * hidden + push + error * rng.normal(size=32)
        out.append(hidden)
    return np.array(out)


def resets_of(reference, candidate, chunk=64):
    meter = StateMeter(["h"])
    for a in range(0, len(reference), chunk):
        part = slice(a, a + chunk)
        meter.tensor("h", np.arange(len(reference))[part] + 1, reference[part], candidate[part])
    return meter.resets()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("error", [0.0, 0.01])
def test_a_reset_every_fifty_frames_is_found_at_its_frames(seed, error):
    drive, forget = states(seed)
    found = resets_of(run(drive, forget), run(drive, forget, 50, error))
    assert [step for step, _ in found] == [51, 101, 151, 201, 251]
    assert all(size > 0.3 for _, size in found)


def test_chunks_do_not_show():
    drive, forget = states()
    reference, candidate = run(drive, forget), run(drive, forget, 50)
    assert resets_of(reference, candidate, 7) == resets_of(reference, candidate, 300)


@pytest.mark.parametrize("error", [0.0, 1e-6, 0.02, 0.1, 0.3])
def test_errors_of_another_engine_are_none(error):
    drive, forget = states()
    assert resets_of(run(drive, forget), run(drive, forget, error=error)) == []


def test_a_reference_that_resets_blames_nobody():
    drive, forget = states()
    assert resets_of(run(drive, forget, 50), run(drive, forget)) == []


def test_a_divergence_that_grows_is_none():
    drive, forget = states()
    growing = 1e-6 * 1.06 ** np.arange(300)[:, None]
    assert resets_of(run(drive, forget), run(drive, forget) + growing) == []
