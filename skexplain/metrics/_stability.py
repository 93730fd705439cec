"""Stability of importances over seeds and resamples."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from numbers import Integral
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.utils.validation import check_scalar

from .._clone import reseeded, seeds_of
from .._columns import column_names, rows_of
from .._subject import seed_of
from ._no_model import by_importance, no_model_importances
from ._trained import fitted, measured, table


@dataclass(frozen=True, eq=False)
class Stability:
    """How much importances agree when the estimator is trained again.

    Attributes
    ----------
    over : {"seeds", "resamples"}
    names : tuple of str
    importances : ndarray of shape (n_fits, n_columns)
        As shares.
    spearman : float
        Mean rank correlation of two fits; 0 in expectation for random orders. NaN if a fit makes no difference
        between columns.
    overlap : float
        Mean share of the ``k`` most important columns that two fits have in common.
    k : int
    random_overlap : float
        The same for random orders, ``k / n_columns``.
    no_model_spearman : float
        Mean rank correlation of `no_model_importances` on the same rows, which no seed changes.
    """

    over: str
    names: tuple[str, ...]
    importances: NDArray
    spearman: float
    overlap: float
    k: int
    random_overlap: float
    no_model_spearman: float

    @property
    def deviation(self) -> NDArray:
        """Standard deviation of each column's share over the fits, ``(n_columns,)``."""
        return self.importances.std(axis=0, ddof=1)

    def __repr__(self) -> str:
        return (
            f"Stability over {len(self.importances)} {self.over}: rank correlation {self.spearman:.3f} (random "
            f"order 0, without a model {self.no_model_spearman:.3f}); {self.overlap:.3f} of the first {self.k} columns "
            f"shared (random order {self.random_overlap:.3f})"
        )


def stability(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    *,
    over: Literal["seeds", "resamples"] = "seeds",
    n_fits: int = 5,
    k: int | None = None,
    attribution: Any = None,
    random_state: Any = 0,
) -> Stability:
    """How much importances agree when the estimator is trained again, from other seeds or on other rows.

    Importances that change with the seed are an accident of the training; those that do not may still be wrong.

    Parameters
    ----------
    estimator : estimator or Pipeline
        Is cloned.
    X : array-like or DataFrame of shape (n, n_columns)
    y : array-like of shape (n,)
    over : {"seeds", "resamples"}, default="seeds"
        "seeds": the same rows, and another ``random_state`` in all parts of the estimator. "resamples": the same seed,
        and rows drawn with replacement.
    n_fits : int, default=5
    k : int, default=None
        Size of the top that is compared. None: half of the columns, at most 10.
    attribution : str or object, default=None
        Strategy. None: the estimator's own importances.
    random_state : int, RandomState or None, default=0

    Returns
    -------
    Stability
        Importances are measured on X, the same rows for each fit.

    Raises
    ------
    UnsupportedModelError
        For what cannot be trained anew, and an estimator without importances if no attribution is given.
    ValueError
        For an unknown ``over``, and ``over="seeds"`` of an estimator that has no ``random_state``.

    References
    ----------
    A. Kalousis, J. Prados, M. Hilario, "Stability of feature selection algorithms: a study on high-dimensional spaces",
    Knowledge and Information Systems 12, 2007.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> from skexplain.datasets import make_linear
    >>> from skexplain.metrics import stability
    >>> data = make_linear(random_state=0)
    >>> result = stability(RandomForestRegressor(20), data.data, data.target, n_fits=3, k=3)
    >>> result.overlap, result.random_overlap
    (1.0, 0.3)
    """
    if over not in ("seeds", "resamples"):
        raise ValueError(f"over={over!r}; choose 'seeds' or 'resamples'.")
    check_scalar(n_fits, "n_fits", Integral, min_val=2)
    X, y = table(estimator, X, y)
    n, d = X.shape
    k = min(10, (d + 1) // 2) if k is None else k
    check_scalar(k, "k", Integral, min_val=1, max_val=d)
    if over == "seeds" and not seeds_of(estimator):
        raise ValueError(f"A {type(estimator).__name__} has no random_state to change; use over='resamples'.")
    rng = np.random.default_rng(seed_of(None, random_state))
    seed, values, without = int(rng.integers(2**31)), [], []
    for _ in range(n_fits):
        if over == "seeds":
            rows, model = np.arange(n), reseeded(estimator, int(rng.integers(2**31)))
        else:
            rows, model = rng.integers(n, size=n), reseeded(estimator, seed)
        model = fitted(model, rows_of(X, rows), y[rows])
        values.append(measured(model, X, y, attribution, seed))
        without.append(no_model_importances(rows_of(X, rows), y[rows]))
    pairs = list(combinations(range(n_fits), 2))
    top = [set(by_importance(v, rng)[:k].tolist()) for v in values]
    return Stability(
        over=over,
        names=tuple(column_names(X, None, None, d)),
        importances=np.array(values),
        spearman=float(np.mean([spearman(values[a], values[b]) for a, b in pairs])),
        overlap=float(np.mean([len(top[a] & top[b]) / k for a, b in pairs])),
        k=int(k),
        random_overlap=k / d,
        no_model_spearman=float(np.mean([spearman(without[a], without[b]) for a, b in pairs])),
    )


def spearman(a: NDArray, b: NDArray) -> float:
    """Rank correlation; NaN where one order is all ties."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
