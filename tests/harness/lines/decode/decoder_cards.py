"""Cards for decoder tests, made without files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.model.card import Card


def card(name: str, shapes: dict[str, tuple[int, ...]], *, frame: str = "vehicle", **options: Any) -> Card:
    """A card with that decoder, those outputs, and an image frame of 640x360 where asked for."""
    parts: dict[str, Any] = {}
    if frame == "image":
        parts["image"] = {"width": 640, "height": 360, "rows": (350, 200)}
    return Card(
        name="decoded",
        path=Path("/cards/decoded/model.toml"),
        frame=frame,
        length_unit="px" if frame == "image" else "m",
        onnx={"file": "decoded.onnx"},
        inputs=[{"name": "images", "shape": (1, 3, 4, 4), "source": "camera.front"}],
        outputs=[{"name": n, "shape": s} for n, s in shapes.items()] or [{"name": "other"}],
        decoder={"name": name, **options},
        **parts,
    )
