"""Rows that differ: without any, there is nothing to measure a column by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._network import chunks, rows_at_once


def alike(rows: NDArray) -> bool:
    """Whether there is one row only, or the same again and again."""
    return not any(np.any(rows[block] != rows[:1]) for block in chunks(len(rows), rows_at_once(rows)))


def mean_deviation(background: NDArray, strategy: Any) -> NDArray:
    """Mean absolute deviation of each column, ``(*features,)``, by which a ``scaled`` strategy multiplies.

    Raises
    ------
    ValueError
        When no column has any, so that every value would be 0.
    """
    if alike(background):
        raise ValueError(
            f"attribution={strategy} multiplies by each column's spread over the background, which has "
            f"{len(background)} row(s), all alike. Pass `background=` with rows that differ, for instance some of the "
            "training data, or set scaled=False."
        )
    b = background.astype(np.float64)
    return np.abs(b - b.mean(axis=0)).mean(axis=0)


def check_rows_differ(X: NDArray, strategy: Any) -> None:
    """Refuse rows among which nothing can be exchanged: every column would get 0."""
    if alike(X):
        raise ValueError(
            f"attribution={strategy} replaces columns by those of other rows of X, which has {len(X)} row(s), all "
            "alike. Pass at least two different rows."
        )
