"""Products that stay on the calling thread."""

from __future__ import annotations

import numpy as np
import pytest

from harness.measures.products import MULTIPLICATIONS, tall_product


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("rows", "inner", "columns"), [(0, 17, 680), (5, 17, 680), (517, 17, 680), (1000, 51, 7), (3, 4, 0)]
)
def test_is_the_matrix_product(dtype, rows, inner, columns):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(rows, inner)).astype(dtype), rng.normal(size=(inner, columns)).astype(dtype)
    found = tall_product(a, b)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, a.astype(float) @ b.astype(float), atol=1e-5)


def test_every_part_is_too_small_for_threads(monkeypatch):
    heights = []
    real = np.matmul

    def watched(a, b, out):
        heights.append(a.shape[-2])
        return real(a, b, out=out)

    monkeypatch.setattr(np, "matmul", watched)
    tall_product(np.ones((1000, 17), np.float32), np.ones((17, 680), np.float32))
    assert max(heights) * 17 * 680 <= MULTIPLICATIONS < 262_144
