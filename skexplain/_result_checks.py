"""What must hold of the parts of a result."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_shape(name: str, part: Any, shape: tuple[int, ...]) -> None:
    """Refuse a part of another shape than names and rows ask for."""
    if np.shape(part) != shape:
        raise ValueError(f"{name} has the shape {np.shape(part)}, but the names and rows ask for {shape}.")


def check_finite(name: str, part: Any, names: tuple[str, ...]) -> None:
    """Refuse numbers ``(..., n_features)`` that are none, by the column that they are of."""
    wrong = ~np.isfinite(part).all(axis=tuple(range(np.ndim(part) - 1)))
    if wrong.any():
        raise ValueError(
            f"{name} of {names[int(np.argmax(wrong))]!r} is NaN or infinite. Look for diverged weights, or for a "
            "division or logarithm near zero in the model or the strategy."
        )
