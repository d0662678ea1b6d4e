"""Source of the small PyTorch networks; a card's `args` choose sizes, so one text serves every variant."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_network"]

HEADS = '''"""Lines from a map: a soft argmax in each slice of the width."""

import torch
from torch import nn


class Head(nn.Module):
    """[batch, channels, rows, width] -> lateral metres [batch, count, rows]."""

    def __init__(self, count, width, metres, sharp):
        super().__init__()
        u = (torch.arange(width, dtype=torch.float64) + 0.5) / width
        self.register_buffer("y", ((0.5 - u) * metres).reshape(count, -1).float())
        self.count, self.part, self.sharp = count, width // count, sharp

    def forward(self, x):
        logits = x.mean(1) * self.sharp
        parts = logits.reshape(-1, logits.shape[1], self.count, self.part)
        return (parts.softmax(-1) * self.y).sum(-1).transpose(1, 2)
'''

HEADER = """import torch
from torch import nn
from torch.nn import functional as F
from line_head import Head


"""


def write_network(folder: Path, module: str, body: str) -> None:
    """Write the head and a network beside the card.

    Args:
        folder: of the card.
        module: name of the file without suffix.
        body: source that defines `build`.
    """
    (folder / "line_head.py").write_text(HEADS)
    (folder / f"{module}.py").write_text(HEADER + body.strip() + "\n")
