"""RoadLines with lines as cubics, fitted inside the graph: weighted least squares, solved by elimination.

    minimise over c   sum over stations of w (c0 + c1 u + c2 u^2 + c3 u^3 - y)^2 + ridge |c|^2,   u = x / 80 m

with y what a station saw and w how sure it is (its largest column weight), so that a hidden station hardly counts. As
in Van Gansbeke et al., "End-to-end Lane Detection through Differentiable Least-Squares Fitting", 2019, arXiv
1902.00293. The four normal equations hold powers up to u^6 and are nearly dependent: in fp32 they are solved to a
millimetre, in fp16 they are not. Such a head is a usual one, and a usual reason to keep some nodes in fp32.

ONNX has no operator that solves equations, so the elimination is written out; without pivoting, which positive
definite equations do not need.
"""

from __future__ import annotations

import torch
from network import NEAREST_SEEN_M, STATIONS_M, RoadLines
from torch import Tensor

__all__ = ["CubicRoadLines", "fitted", "solved"]

COEFFICIENTS = 4


class CubicRoadLines(RoadLines):
    """Input and outputs as RoadLines.

    Args:
        width: channels of the stem.
        ridge: added to the diagonal of the normal equations, whose weights sum to 1.
    """

    def __init__(self, width: int = 16, ridge: float = 1e-7) -> None:
        super().__init__(width)
        del self.mix
        self.ridge = ridge
        station = torch.tensor(STATIONS_M)
        power = torch.arange(2.0 * COEFFICIENTS - 1)
        self.register_buffer("powers", (station[:, None] / station[-1]) ** power, persistent=False)
        self.register_buffer("trust", (station >= NEAREST_SEEN_M) / (8 + station) ** 2, persistent=False)

    def finished(self, seen_m: Tensor, weight: Tensor) -> Tensor:
        """The fitted cubics at every station, [batch, 4, 33] metres."""
        return fitted(seen_m, weight.amax(-1) * self.trust, self.powers, self.ridge)


def fitted(y: Tensor, weight: Tensor, powers: Tensor, ridge: float) -> Tensor:
    """Values of the weighted least-squares polynomial at all stations, [..., station].

    Args:
        y, weight: [..., station]; at least one weight is positive.
        powers: [station, 2 n - 1], u^0 to u^(2 n - 2), for n coefficients.
        ridge: see the module.
    """
    count = (powers.shape[1] + 1) // 2
    weight = weight / weight.sum(-1, keepdim=True)
    moments = torch.matmul(weight, powers)
    right = torch.matmul(weight * y, powers[:, :count])
    rows = [[moments[..., i + j] + (ridge if i == j else 0.0) for j in range(count)] for i in range(count)]
    solution = solved(rows, list(right.unbind(-1)))
    return torch.matmul(torch.stack(solution, -1), powers[:, :count].T)


def solved(rows: list[list[Tensor]], right: list[Tensor]) -> list[Tensor]:
    """x of A x = b for positive definite A, element by element of the batch: Gauss without pivoting."""
    rows, right = [list(row) for row in rows], list(right)
    count = len(right)
    for i in range(count):
        for k in range(i + 1, count):
            factor = rows[k][i] / rows[i][i]
            rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
            right[k] = right[k] - factor * right[i]
    found: list[Tensor] = []
    for i in reversed(range(count)):
        known = sum((a * x for a, x in zip(rows[i][i + 1 :], found, strict=True)), torch.zeros_like(right[i]))
        found.insert(0, (right[i] - known) / rows[i][i])
    return found
