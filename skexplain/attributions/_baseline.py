"""Baselines: the rows that a row is compared with."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Baselines that have a name.
NAMES = ("background", "mean", "zero")


def baseline_rows(baseline: str | ArrayLike, background: NDArray) -> NDArray:
    """The rows that a baseline stands for, ``(m, *features)``.

    Parameters
    ----------
    baseline : {"background", "mean", "zero"} or array-like
        All rows of the background, their mean, zeros, or one or several rows of the user's.
    background : ndarray of shape (n_background, *features)

    Raises
    ------
    ValueError
        For an unknown name, rows of another width, or rows that are not finite numbers.
    """
    if not isinstance(baseline, str):
        return _given_rows(baseline, background)
    if baseline not in NAMES:
        raise ValueError(f"Unknown baseline {baseline!r}; valid names are {list(NAMES)}, or pass one or several rows.")
    if baseline == "background":
        return background
    row = np.zeros((1, *background.shape[1:]))
    if baseline == "mean":
        numbers = background.dtype.kind in "biuf"
        row = background.mean(axis=0, dtype=np.float64, keepdims=True) if numbers else row + np.nan
    if background.dtype.kind not in "biuf" or not np.isfinite(row).all():
        raise ValueError(
            f"baseline={baseline!r} needs a background of finite numbers, but it contains text, NaN or infinity; "
            "use baseline='background', or pass a row."
        )
    return row


def _given_rows(baseline: ArrayLike, background: NDArray) -> NDArray:
    features = background.shape[1:]
    rows = np.asarray(baseline)
    shape = rows.shape
    one, several = rows.size == math.prod(features), rows.ndim > 1 and math.prod(shape[1:]) == math.prod(features)
    if rows.size == 0 or not (one or several):
        raise ValueError(
            f"baseline has shape {shape}, but a row of the network's input has shape {features}; pass one row, or "
            f"several of shape (m, {', '.join(map(str, features))})."
        )
    if background.dtype.kind in "biuf":
        try:
            rows = rows.astype(np.float64)
        except (TypeError, ValueError) as exc:
            raise ValueError(f"baseline={baseline!r} must contain numbers.") from exc
        if not np.isfinite(rows).all():
            raise ValueError("baseline contains NaN or infinity; it must be finite.")
    return rows.reshape(-1, *features)
