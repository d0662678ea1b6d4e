"""Small cards for engine tests: a folder with a network, weights that BatchNorm has something to do with, a cache."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from engines.protocol import ModelSource, TensorSpec

NETS = Path(__file__).parent / "nets"
IMAGES = TensorSpec("images", (1, 3, 16, 24))

MODELS = {
    "Lanes": ((IMAGES,), ("lines",)),
    "Paired": ((IMAGES,), ("lines", "prob")),
    "Calibrated": ((IMAGES, TensorSpec("intrinsics", (1, 3, 3))), ("lines", "prob")),
    "Recurrent": ((IMAGES, TensorSpec("hidden", (1, 6))), ("lines", "hidden_out", "echo")),
}


def make_source(root: Path, model: str, seed: int = 0) -> ModelSource:
    """Write network and weights of one of MODELS and describe them."""
    root.mkdir(parents=True)
    shutil.copy(NETS / "network.py", root)
    save_weights(root / "weights.safetensors", seed)
    inputs, outputs = MODELS[model]
    return ModelSource(
        name=model,
        root=root,
        inputs=inputs,
        outputs=outputs,
        factory=f"network:{model}",
        weights=root / "weights.safetensors",
        cache=root / "cache",
    )


def overflowing_in_fp16(source: ModelSource) -> tuple[ModelSource, dict[str, np.ndarray]]:
    """80 x x 1e-3 beside the source's own network, and the input 80: inf in fp16, 512 otherwise."""
    (source.root / "big.py").write_text(
        "import torch\nclass Big(torch.nn.Module):\n"
        "    def forward(self, images): return (80 * images * images) * 1e-3\n"
    )
    return replace(source, factory="big:Big", weights=None), {"images": np.full((1, 3, 16, 24), 80, np.float32)}


def save_weights(path: Path, seed: int) -> dict[str, torch.Tensor]:
    """Random weights of Lanes, running statistics of BatchNorm included; the state dict is returned."""
    random = torch.Generator().manual_seed(seed)
    width = 8
    state = {
        "conv.weight": torch.randn(width, 3, 3, 3, generator=random) * 0.3,
        "norm.weight": torch.rand(width, generator=random) + 0.5,
        "norm.bias": torch.randn(width, generator=random) * 0.1,
        "norm.running_mean": torch.randn(width, generator=random) * 0.2,
        "norm.running_var": torch.rand(width, generator=random) + 0.5,
        "norm.num_batches_tracked": torch.tensor(7),
        "head.weight": torch.randn(6, width, generator=random),
        "head.bias": torch.randn(6, generator=random),
    }
    save_file(state, path)
    return state


def inputs_of(source: ModelSource, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs in the card's order."""
    random = np.random.default_rng(seed)
    return {spec.name: random.standard_normal(spec.shape).astype(spec.dtype) for spec in source.inputs}
