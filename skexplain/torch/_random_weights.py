"""A module with random weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


def randomise(module: nn.Module, rng: np.random.Generator) -> None:
    """Replace each trained array by normal draws of the same mean square; buffers stay."""
    with torch.no_grad():
        for p in module.parameters():
            size = float(p.detach().double().pow(2).mean().sqrt()) if p.numel() else 0.0
            p.copy_(torch.as_tensor(size * rng.normal(size=tuple(p.shape))))
