"""A model with random weights."""

from __future__ import annotations

from typing import Any

import numpy as np


def randomise(model: Any, rng: np.random.Generator) -> None:
    """Replace each trained array by normal draws of the same mean square; what is not trained stays."""
    for variable in model.trainable_weights:
        values = np.asarray(variable.numpy() if hasattr(variable, "numpy") else variable, dtype=np.float64)
        variable.assign(np.sqrt(np.mean(values**2)) * rng.normal(size=values.shape))
