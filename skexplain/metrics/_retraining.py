"""ROAR and KAR: remove, or keep, the columns called important, and train anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import get_scorer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils.validation import check_scalar

from .._clone import seeded
from .._columns import rows_of
from .._subject import seed_of
from ._no_model import by_importance, no_model_importances
from ._results import Curve
from ._trained import fitted, measured, table


def roar(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    importances: ArrayLike | None = None,
    *,
    attribution: Any = None,
    n_steps: int = 4,
    n_random: int = 3,
    cv: int = 3,
    scoring: str | Callable | None = None,
    random_state: Any = 0,
) -> Curve:
    """Score of an estimator that is trained anew after the most important columns have been removed.

    The lower the curve, the better: without the columns named first nothing can be learned. As the network is trained
    on what it is scored on, rows that do not exist are no excuse. Columns whose information stands in others too are
    hardly missed, however right it was to name them; see `kar`.

    Parameters
    ----------
    estimator : estimator or Pipeline
        Is cloned, and trained on each fold.
    X : array-like or DataFrame of shape (n, n_columns)
    y : array-like of shape (n,)
    importances : array-like of shape (n_columns,), default=None
        None: measured in each fold, on its training rows, of the estimator itself.
    attribution : str or object, default=None
        Strategy that measures them. None: the estimator's own importances.
    n_steps : int, default=4
        Points of the curve beside the first, at most one for each column.
    n_random : int, default=3
        Random orders beside it.
    cv : int, default=3
        Shuffled folds, stratified for classifiers.
    scoring : str or callable, default=None
        Any scorer of scikit-learn. None: accuracy or R².
    random_state : int, RandomState or None, default=0

    Returns
    -------
    Curve
        Its controls: random orders, and that of `no_model_importances` on the training rows.

    Raises
    ------
    UnsupportedModelError
        For what cannot be trained anew: raw networks, `from_fitted`.
    ValueError
        For importances of another number, and what the estimator refuses.

    Notes
    -----
    A removed column is constant, its mean over the training rows (its most frequent value, if it is not of floats), so
    that the width stays. With all removed the score is that of the best constant. Hooker et al. remove the pixels of
    each image that are its most important; in a table the columns are the same for all rows. Cost: ``cv (1 + (n_steps -
    1) (2 + n_random))`` fits.

    References
    ----------
    S. Hooker, D. Erhan, P. Kindermans, B. Kim, "A benchmark for interpretability methods in deep neural networks",
    NeurIPS 2019.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> from skexplain.datasets import make_linear
    >>> from skexplain.metrics import roar
    >>> data = make_linear(random_state=0)
    >>> curve = roar(LinearRegression(), data.data, data.target, abs(data.coef), n_steps=10)
    >>> bool(curve.area < curve.random_areas.min())
    True
    """
    return _retrained(
        "ROAR", estimator, X, y, importances, attribution, n_steps, n_random, cv, scoring, seed_of(None, random_state)
    )


def kar(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    importances: ArrayLike | None = None,
    *,
    attribution: Any = None,
    n_steps: int = 4,
    n_random: int = 3,
    cv: int = 3,
    scoring: str | Callable | None = None,
    random_state: Any = 0,
) -> Curve:
    """Score of an estimator that is trained anew on the most important columns only.

    The higher the curve, the better: the columns named first suffice.

    Parameters
    ----------
    estimator, X, y, importances, attribution, n_steps, n_random, cv, scoring, random_state
        As for `roar`.

    Returns
    -------
    Curve

    Raises
    ------
    UnsupportedModelError, ValueError
        As `roar`.

    See Also
    --------
    roar

    References
    ----------
    S. Hooker, D. Erhan, P. Kindermans, B. Kim, "A benchmark for interpretability methods in deep neural networks",
    NeurIPS 2019 (keep and retrain).

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> from skexplain.datasets import make_linear
    >>> from skexplain.metrics import kar
    >>> data = make_linear(random_state=0)
    >>> curve = kar(LinearRegression(), data.data, data.target, abs(data.coef), n_steps=10)
    >>> bool(curve.values[3] > 0.99)  # the three columns that matter
    True
    """
    return _retrained(
        "KAR", estimator, X, y, importances, attribution, n_steps, n_random, cv, scoring, seed_of(None, random_state)
    )


def _retrained(
    name: Literal["ROAR", "KAR"],
    estimator: Any,
    X: Any,
    y: ArrayLike,
    importances: ArrayLike | None,
    attribution: Any,
    n_steps: int,
    n_random: int,
    cv: int,
    scoring: str | Callable | None,
    seed: int,
) -> Curve:
    X, y = table(estimator, X, y)
    d = X.shape[1]
    for word, number, least in (("n_steps", n_steps, 1), ("n_random", n_random, 1), ("cv", cv, 2)):
        check_scalar(number, word, Integral, min_val=least)
    given = None if importances is None else np.asarray(importances, dtype=np.float64)
    if given is not None and (given.shape != (d,) or np.isnan(given).any()):
        raise ValueError(f"importances has shape {given.shape}; pass one number, not NaN, for each of the {d} columns.")
    if given is not None and attribution is not None:
        raise ValueError("Pass importances, or the attribution that measures them, not both.")
    classification = is_classifier(estimator)
    scorer = get_scorer(scoring or ("accuracy" if classification else "r2"))
    folds = (StratifiedKFold if classification and y.ndim == 1 else KFold)(cv, shuffle=True, random_state=seed % 2**32)
    rng = np.random.default_rng(seed)
    taken = np.unique(np.round(np.linspace(0, d, min(n_steps, d) + 1)).astype(int))
    scores = np.zeros((2 + n_random, len(taken)))
    for train, test in folds.split(np.zeros(len(y)), y):
        fold = _Fold(rows_of(X, train), y[train], rows_of(X, test), y[test], int(rng.integers(2**31)))
        whole = fitted(seeded(estimator, fold.seed), fold.X_train, fold.y_train)
        own = measured(whole, fold.X_train, fold.y_train, attribution, fold.seed) if given is None else given
        known: dict[tuple[int, ...], float] = {(): float(scorer(whole, fold.X_test, fold.y_test))}
        random = rng.random((n_random, d))  # others in each fold, so that no single order stands for chance
        for k, values in enumerate([own, no_model_importances(fold.X_train, fold.y_train), *random]):
            order = by_importance(values, rng).tolist()
            for i, n in enumerate(taken):
                gone = tuple(sorted(order[:n] if name == "ROAR" else order[n:]))
                if gone not in known:  # two orders often agree on the first columns
                    known[gone] = _score(estimator, scorer, fold, gone)
                scores[k, i] += known[gone] / cv
    return Curve(name, taken / d, scores[0], scores[2:], scores[1], "low" if name == "ROAR" else "high")


class _Fold(NamedTuple):
    """Rows to train on and rows to score, and the seed of all trainings."""

    X_train: Any
    y_train: NDArray
    X_test: Any
    y_test: NDArray
    seed: int


def _score(estimator: Any, scorer: Callable, fold: _Fold, gone: tuple[int, ...]) -> float:
    """Score of a clone that is trained without some columns; without any, of the best constant."""
    X_train, X_test = _without(fold.X_train, fold.X_test, gone)
    if len(gone) == X_train.shape[1]:
        constant = DummyClassifier() if is_classifier(estimator) else DummyRegressor()
        X_train, X_test = np.zeros((len(fold.y_train), 1)), np.zeros((len(fold.y_test), 1))
        return float(scorer(constant.fit(X_train, fold.y_train), X_test, fold.y_test))
    return float(scorer(fitted(seeded(estimator, fold.seed), X_train, fold.y_train), X_test, fold.y_test))


def _without(X_train: Any, X_test: Any, gone: Sequence[int]) -> tuple[Any, Any]:
    """Both with some columns constant, in their types."""
    A, B = X_train.copy(), X_test.copy()
    for j in gone:
        column = X_train.iloc[:, j] if hasattr(X_train, "iloc") else X_train[:, j]
        values = np.asarray(column)
        if values.dtype.kind == "f":
            typical = values.dtype.type(np.nanmean(values))
        else:
            _, first, counts = np.unique(values.astype(str), return_index=True, return_counts=True)
            row = first[counts.argmax()]
            typical = values[row]
        for part in (A, B):
            if not hasattr(part, "iloc"):
                part[:, j] = typical
            elif values.dtype.kind == "f":
                part.isetitem(j, np.full(len(part), typical))
            else:  # a row's own entry, so that categories stay categories
                part.isetitem(j, column.iloc[np.full(len(part), row)].set_axis(part.index))
    return A, B
