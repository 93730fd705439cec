"""Maximum sensitivity: how far an explanation jumps when the row hardly moves."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_scalar

from .._columns import Groups, evenly, rows_of
from .._explain import explain
from .._head import Output
from .._subject import BACKGROUND_ROWS, seed_of
from ..explanation import Explanation
from ._results import Score


def max_sensitivity(
    model: Any,
    X: Any,
    *,
    attribution: Any = None,
    background: Any = None,
    target: Any = "predicted",
    output: Output = "margin",
    groups: Groups | None = None,
    radius: float = 0.02,
    n_samples: int = 10,
    random_state: Any = 0,
) -> Score:
    """Largest relative change of an explanation when the row is moved a little.

    ``max over e of ||phi(x + e) - phi(x)|| / ||phi(x)||``, where ``|e_j|`` is at most ``radius`` standard deviations of
    column j. Explanations that ignore row and model are perfectly insensitive: read it beside a measure of fidelity.

    Parameters
    ----------
    model, attribution, target, output, groups
        As for `explain`; the output that is explained of a row stays the same when it is moved.
    X : array-like or DataFrame of shape (n, n_columns)
        Rows; columns of floats are moved, whole numbers and texts are not.
    background : array-like or DataFrame, default=None
        As for `explain`, and what standard deviations are taken from. None: up to 100 rows of X.
    radius : float, default=0.02
    n_samples : int, default=10
        Uniform draws of e for each row: the maximum is over these, and grows with their number.
    random_state : int, RandomState or None, default=0

    Returns
    -------
    Score
        Its controls: ``(x - mean) / deviation``, which asks no model, and random values drawn anew for each row.

    Raises
    ------
    ValueError
        As `explain`, for target="all", and when X has no column of floats that varies.

    References
    ----------
    C. Yeh, C. Hsieh, A. Suggala, D. Inouye, P. Ravikumar, "On the (in)fidelity and sensitivity of explanations",
    NeurIPS 2019.

    Examples
    --------
    >>> from sklearn.neural_network import MLPRegressor
    >>> import skexplain
    >>> from skexplain.metrics import max_sensitivity
    >>> data = skexplain.datasets.make_linear(random_state=0)
    >>> net = MLPRegressor(max_iter=500, random_state=0).fit(data.data, data.target)
    >>> measured = max_sensitivity(net, data.data[:20], attribution="integrated_gradients")
    >>> bool(measured.value < 0.2 < measured.random)
    True
    """
    check_scalar(radius, "radius", Real, min_val=0, include_boundaries="neither")
    check_scalar(n_samples, "n_samples", Integral, min_val=1)
    seed = seed_of(None, random_state)
    rng = np.random.default_rng(seed)
    X = X if hasattr(X, "iloc") else np.asarray(X)
    # the same background for a row wherever it is moved
    background = rows_of(X, evenly(len(X), BACKGROUND_ROWS)) if background is None else background
    centre, spread = _moments(background)
    if not (spread > 0).any():
        raise ValueError("X has no column of floats that varies over the background, so no row can be moved.")
    given = {"attribution": attribution, "background": background, "output": output, "groups": groups}
    first = explain(model, X, target=target, random_state=seed, **given)
    if not isinstance(first, Explanation):
        raise TypeError("Texts cannot be moved a little; pass a table of numbers.")
    if first.values.ndim != 2 or first.target is None or callable(target):
        raise ValueError(f"target={target!r}: maximum sensitivity is of one output of each row; pass a label.")
    noise = rng.normal(size=(n_samples + 1, *first.values.shape))
    z = _standardised(X, centre, spread)
    worst, by_chance, without = np.zeros((3, len(X)))
    for k in range(n_samples):
        moved = _moved(X, perturbation(spread, len(X), radius, rng))
        there = cast(Explanation, explain(model, moved, target=first.target, random_state=seed, **given))
        worst = np.maximum(worst, _change(first.values, there.values))
        by_chance = np.maximum(by_chance, _change(noise[-1], noise[k]))
        without = np.maximum(without, _change(z, _standardised(moved, centre, spread)))
    return Score("Maximum sensitivity", worst, no_model=float(without.mean()), random=float(by_chance.mean()))


def perturbation(spread: NDArray, n: int, radius: float, rng: np.random.Generator) -> NDArray:
    """How far each number of n rows is moved: uniform, at most ``radius * spread``."""
    return rng.uniform(-radius, radius, size=(n, *spread.shape)) * spread


def _change(first: NDArray, second: NDArray) -> NDArray:
    size = np.linalg.norm(first, axis=1)
    return np.linalg.norm(second - first, axis=1) / np.where(size > 0, size, 1)


def _moments(background: Any) -> tuple[NDArray, NDArray]:
    """Mean and standard deviation of each column of floats; 0 and 0 of others."""
    if not hasattr(background, "iloc"):
        background = np.asarray(background)
        if background.dtype.kind != "f":
            return np.zeros((2, *background.shape[1:]))  # type: ignore[return-value]
        return background.mean(axis=0, dtype=np.float64), background.std(axis=0, dtype=np.float64)
    centre, spread = np.zeros((2, background.shape[1]))
    for j, dtype in enumerate(background.dtypes):
        if dtype.kind == "f":
            column = background.iloc[:, j].to_numpy(dtype=np.float64)
            centre[j], spread[j] = column.mean(), column.std()
    return centre, spread


def _standardised(X: Any, centre: NDArray, spread: NDArray) -> NDArray:
    rows = np.zeros((len(X), *spread.shape))
    for j in np.flatnonzero(spread.reshape(-1)):
        column = X.iloc[:, j].to_numpy(dtype=np.float64) if hasattr(X, "iloc") else X.reshape(len(X), -1)[:, j]
        rows.reshape(len(X), -1)[:, j] = (column - centre.reshape(-1)[j]) / spread.reshape(-1)[j]
    return rows.reshape(len(X), -1)


def _moved(X: Any, e: NDArray) -> Any:
    if not hasattr(X, "iloc"):
        return (X + e).astype(X.dtype)
    moved = X.copy()
    for j in np.flatnonzero(e.any(axis=0)):
        moved.isetitem(j, (X.iloc[:, j] + e[:, j]).astype(X.dtypes.iloc[j]))
    return moved
