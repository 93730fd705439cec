"""Columns that say nothing, or nothing new, added to any data set."""

from __future__ import annotations

from itertools import combinations
from numbers import Real
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch, check_array
from sklearn.utils.validation import check_consistent_length, check_scalar

from .._columns import column_names
from ._truth import generator

Kind = Literal["random", "corrupted", "second_order"]


def add_spurious(
    X: Any, y: ArrayLike, kind: Kind = "random", *, fraction: float = 0.5, random_state: Any = None
) -> Bunch:
    """Add columns that a selection of columns should leave out.

    * "random": ``x_c ~ N(0, 1)``, which says nothing.
    * "corrupted": ``x_c = 0.5 x_j + 0.5 sigma_j N(0, 1)`` for a column j with standard deviation sigma_j, which says
      less than j.
    * "second_order": ``x_c = x_j x_k`` for two different columns, which they say already.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n, n_columns)
        Numbers.
    y : array-like of shape (n,)
        Targets; handed through.
    kind : {"random", "corrupted", "second_order"}, default="random"
    fraction : float, default=0.5
        Share of spurious columns in the result, in (0, 1): 0.5 doubles the columns, 0.75 makes them four times as many.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    Bunch
        ``data`` (the columns of X, then the spurious ones; a DataFrame for a DataFrame), ``target``,
        ``feature_names``, ``important``, true for the columns of X, ``formula``, and ``sources``: for each spurious
        column the tuple of the columns it is made of.

    Raises
    ------
    ValueError
        For an unknown kind, a fraction outside (0, 1), X that is no finite numbers, and more products than pairs.

    References
    ----------
    V. Cherepanova et al., "A performance-driven benchmark for feature selection in tabular deep learning",
    NeurIPS 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skexplain.datasets import add_spurious
    >>> wine = add_spurious(*load_wine(return_X_y=True), "corrupted", random_state=0)
    >>> wine.data.shape, int(wine.important.sum())
    ((178, 26), 13)
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind={kind!r}; choose one of {list(get_args(Kind))}.")
    check_scalar(fraction, "fraction", Real, min_val=0, max_val=1, include_boundaries="neither")
    numbers = check_array(X, dtype=np.float64)
    check_consistent_length(numbers, y)
    n, d = numbers.shape
    n_new = max(1, round(d * fraction / (1 - fraction)))
    rng = generator(random_state)
    sources: list[tuple[int, ...]] = [()] * n_new
    if kind == "random":
        new = rng.normal(size=(n, n_new))
    elif kind == "corrupted":
        # each column once before any is taken again
        j = np.concatenate([rng.permutation(d) for _ in range(-(-n_new // d))])[:n_new]
        new = 0.5 * numbers[:, j] + 0.5 * numbers.std(axis=0)[j] * rng.normal(size=(n, n_new))
        sources = [(int(k),) for k in j]
    else:
        pairs = list(combinations(range(d), 2))
        if len(pairs) < n_new:
            raise ValueError(f"fraction={fraction} asks for {n_new} products, but {d} columns have {len(pairs)} pairs.")
        sources = [pairs[k] for k in rng.choice(len(pairs), n_new, replace=False)]
        new = np.stack([numbers[:, j] * numbers[:, k] for j, k in sources], axis=1)
    names = [*column_names(X, None, None, d), *(f"spurious {k}" for k in range(n_new))]
    data: Any = np.concatenate([numbers, new], axis=1)
    if hasattr(X, "iloc"):
        import pandas as pd

        data = pd.concat([X, pd.DataFrame(new, index=X.index, columns=names[d:])], axis=1)
    formulas = {"random": "N(0, 1)", "corrupted": "0.5 x_j + 0.5 sigma_j N(0, 1)", "second_order": "x_j x_k"}
    return Bunch(
        data=data,
        target=y,
        feature_names=names,
        important=np.arange(d + n_new) < d,
        formula=f"x_c = {formulas[kind]}",
        sources=sources,
    )
