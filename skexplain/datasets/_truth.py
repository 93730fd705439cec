"""What all data sets return."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch
from sklearn.utils.validation import check_scalar

from .._subject import seed_of


def generator(random_state: Any) -> np.random.Generator:
    """A generator of its own, that leaves NumPy's global one alone."""
    return np.random.default_rng(seed_of(None, random_state))


def check_shape(n_samples: int, n_features: int, least: int, **at_least_0: float) -> None:
    """Refuse no rows, fewer columns than the formula has, and negative parameters."""
    check_scalar(n_samples, "n_samples", Integral, min_val=1)
    check_scalar(n_features, "n_features", Integral, min_val=least)
    for name, value in at_least_0.items():
        check_scalar(value, name, Real, min_val=0)


def known(X: NDArray, y: NDArray, important: NDArray, formula: str, **truth: NDArray) -> Bunch:
    """Rows and targets with the truth about them.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    important : int ndarray
        Columns that y depends on.
    formula : str
    truth
        What else is known.
    """
    mask = np.zeros(X.shape[1], dtype=bool)
    mask[important] = True
    names = [f"x{j}" for j in range(X.shape[1])]
    return Bunch(data=X, target=y, feature_names=names, important=mask, formula=formula, **truth)
