"""Stability selection: columns that are chosen on most halves of the rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.validation import check_is_fitted, check_scalar

from .._columns import rows_of
from .._data import evenly_over
from .._jobs import in_turn
from .._subject import seed_of
from ..attributions._folds import check_trainable, without_importances
from ._learner import importances_of, table, tags_of_learner


class StabilitySelector(MetaEstimatorMixin, SelectorMixin, BaseEstimator):
    """Select columns that are among the most important on most halves of the rows.

    It turns any importances, with or without a theory, into a choice with a bound on the number of columns that are in
    it by chance.

    Parameters
    ----------
    estimator : estimator
        Any that has ``feature_importances_`` or ``coef_``; its clones are trained on halves of the rows.
    max_false : float, default=1
        Bound on the expected number of columns that are selected, and whose chance to be chosen on a half is no better
        than average. It decides how many are chosen on each half.
    threshold : float, default=0.75
        Share of halves on which a column must be chosen. In (1/2, 1].
    n_chosen : int, default=None
        Columns chosen on each half, at most: those of the highest importance above 0. None: as many as ``max_false``
        allows; otherwise ``max_false`` is not used, and ``error_bound_`` is what it comes to.
    n_pairs : int, default=50
        Pairs of halves without common rows.
    bound : {"unimodal", "worst_case"}, default="unimodal"
        "worst_case" holds whatever is done on the halves; "unimodal", for frequencies whose distribution has one peak,
        is about half of it.
    importance_getter : str or callable, default="auto"
        As in `sklearn.feature_selection.SelectFromModel`.
    n_jobs : int, default=None
        Halves at the same time, in processes that share the processors among them, as in scikit-learn.
    random_state : int, RandomState or None, default=None

    Attributes
    ----------
    support_ : ndarray of shape (n_features_in_,)
        Mask of the columns selected.
    frequencies_ : ndarray of shape (n_features_in_,)
        Share of the halves on which each column was chosen.
    n_chosen_ : int
        Most columns chosen on a half.
    error_bound_ : float
        On the expected number of columns selected by chance.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        If X has names that are all strings.

    Raises
    ------
    ValueError
        For parameters out of range, a bound that leaves no column to choose or assumes too much, NaN that the estimator
        does not read, one class.
    UnsupportedModelError
        For an estimator that cannot be trained anew, or has no importances.

    See Also
    --------
    FDRSelector : bounds the share of false columns, by a test.

    Notes
    -----
    With q columns of p chosen on each half, and B pairs, the expected number of columns selected that are chosen with a
    probability of at most q / p is at most ``C q² / p``. In the worst case ``C = 1 / (2 t - 1)``; if the frequencies of
    such columns are unimodal, ``C = 1 / (2 (2 t - 1 - 1 / 2B))`` for thresholds t up to 3/4, and above these
    ``4 (1 - t + 1 / 2B) / (1 + 1 / B)``. Columns that tell nothing but are correlated with others that do are chosen
    more often than by chance; these the bound does not count. Cost: ``2 n_pairs`` trainings on half the rows.

    References
    ----------
    N. Meinshausen, P. Bühlmann, "Stability selection", JRSS B 72, 2010.
    R. Shah, R. Samworth, "Variable selection with error control: another look at stability selection", JRSS B 75, 2013,
    theorems 1 and 2.

    Examples
    --------
    >>> from sklearn.linear_model import RidgeCV
    >>> from skexplain.datasets import make_linear
    >>> from skexplain.selection import StabilitySelector
    >>> rows = make_linear(200, 30, random_state=0)
    >>> selector = StabilitySelector(RidgeCV(), random_state=0).fit(rows.data, rows.target)
    >>> bool(rows.important[selector.support_].all())
    True
    >>> selector.n_chosen_, round(selector.error_bound_, 2)
    (5, 0.85)
    """

    def __init__(
        self,
        estimator: Any,
        *,
        max_false: float = 1.0,
        threshold: float = 0.75,
        n_chosen: int | None = None,
        n_pairs: int = 50,
        bound: Literal["unimodal", "worst_case"] = "unimodal",
        importance_getter: str | Callable = "auto",
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.max_false = max_false
        self.threshold = threshold
        self.n_chosen = n_chosen
        self.n_pairs = n_pairs
        self.bound = bound
        self.importance_getter = importance_getter
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> StabilitySelector:
        """Choose the columns.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n, n_columns)
        y : array-like of shape (n,)

        Returns
        -------
        self
        """
        X, y = table(self, X, y, allow_nan=self.__sklearn_tags__().input_tags.allow_nan)
        check_trainable(self.estimator, "StabilitySelector")
        self.n_chosen_, self.error_bound_ = self._limits(X.shape[1])
        rng = np.random.default_rng(seed_of(None, self.random_state))
        halves = [half for _ in range(self.n_pairs) for half in _halves(y, is_classifier(self.estimator), rng)]
        seeds = rng.integers(2**31, size=len(halves))
        tasks = (
            (self.estimator, X, y, half, int(seed), self.importance_getter, self.n_chosen_)
            for half, seed in zip(halves, seeds, strict=True)
        )
        self.frequencies_ = np.mean(list(in_turn(self.n_jobs, _chosen, tasks)), axis=0)
        self.support_ = self.frequencies_ >= _in_steps(self.threshold, self.n_pairs)
        return self

    def _limits(self, p: int) -> tuple[int, float]:
        """How many are chosen on a half, and the bound on those selected in error."""
        check_scalar(self.n_pairs, "n_pairs", Integral, min_val=1)
        check_scalar(self.threshold, "threshold", Real, min_val=0.5, max_val=1, include_boundaries="right")
        if self.bound not in ("unimodal", "worst_case"):
            raise ValueError(f"bound={self.bound!r}; choose 'unimodal' or 'worst_case'.")
        factor = _factor(_in_steps(self.threshold, self.n_pairs), self.n_pairs, self.bound)
        if self.n_chosen is None:
            check_scalar(self.max_false, "max_false", Real, min_val=0, include_boundaries="neither")
            q = min(p, math.floor(math.sqrt(self.max_false * p / factor) + 1e-9))
            if q < 1:
                raise ValueError(
                    f"max_false={self.max_false} allows less than one of {p} columns to be chosen on each half; allow "
                    f"at least {factor / p:.2g}, or raise the threshold={self.threshold}."
                )
        else:
            check_scalar(self.n_chosen, "n_chosen", Integral, min_val=1, max_val=p)
            q = int(self.n_chosen)
        if self.bound == "unimodal":
            share, t, B = q / p, _in_steps(self.threshold, self.n_pairs), self.n_pairs
            if share > 1 / math.sqrt(3) or t <= min(0.5 + share**2, 0.5 + 1 / (2 * B) + 0.75 * share**2):
                raise ValueError(
                    f"The bound 'unimodal' does not hold for {q} of {p} columns chosen on each half and "
                    f"threshold={self.threshold}; choose fewer (n_chosen, max_false), a higher threshold, or "
                    "bound='worst_case'."
                )
        return q, factor * q**2 / p

    def _get_support_mask(self) -> NDArray:
        check_is_fitted(self, "support_")
        return self.support_

    def __sklearn_tags__(self) -> Any:
        return tags_of_learner(self, super().__sklearn_tags__(), allow_nan=True)


def _in_steps(threshold: float, n_pairs: int) -> float:
    """The least frequency among 2B halves that reaches the threshold."""
    return math.ceil(threshold * 2 * n_pairs - 1e-9) / (2 * n_pairs)


def _factor(t: float, n_pairs: int, bound: str) -> float:
    """C of the notes, infinite where the threshold is too low for it."""
    if bound == "worst_case":
        return 1 / (2 * t - 1) if t > 0.5 else math.inf
    if t > 0.75:
        return 4 * (1 - t + 1 / (2 * n_pairs)) / (1 + 1 / n_pairs)
    denominator = 2 * (2 * t - 1 - 1 / (2 * n_pairs))
    return 1 / denominator if denominator > 0 else math.inf


def _halves(y: NDArray, stratified: bool, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Two halves without common rows, of equal size; of classifiers with equal shares of the classes."""
    order, size = rng.permutation(len(y)), len(y) // 2
    if not (stratified and y.ndim == 1):
        return order[:size], order[size : 2 * size]
    _, key = np.unique(y, return_inverse=True)
    first = evenly_over(key, order, size, rng.random())
    return first, np.setdiff1d(order, first)[: len(y) - size]


def _chosen(estimator: Any, X: Any, y: NDArray, half: NDArray, seed: int, getter: str | Callable, most: int) -> NDArray:
    """Which columns are among the most important on some rows, ``(n_columns,)``."""
    if is_classifier(estimator) and (absent := np.setdiff1d(y, y[half])).size:
        raise ValueError(
            f"Half of the rows has none of the class(es) {absent.tolist()}. Leave out classes of a single row."
        )
    model = without_importances(estimator, seed).fit(rows_of(X, half), y[half])
    found = importances_of(model, getter, X.shape[1])
    # of equal ones by chance, not by position
    best = np.lexsort([np.random.default_rng(seed).random(len(found)), -found])[:most]
    mask = np.zeros(len(found), dtype=bool)
    mask[best] = found[best] > 0
    return mask
