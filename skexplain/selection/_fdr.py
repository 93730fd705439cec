"""FDRSelector: columns of which at most a share q is chosen in error."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.validation import check_array, check_is_fitted, check_scalar

from .._subject import seed_of
from ..attributions import ConditionalPermutation
from ..attributions._folds import check_trainable, without_importances
from ..explanation import Importances
from ._conditional_test import conditional_test
from ._knockoffs import gaussian_knockoffs, knockoff_threshold
from ._learner import importances_of, table, tags_of_learner


class FDRSelector(MetaEstimatorMixin, SelectorMixin, BaseEstimator):
    """Select columns that tell something about y beyond the others, of which a share of at most q is wrong on average.

    Parameters
    ----------
    estimator : estimator
        Any classifier or regressor that scikit-learn can clone, a network or not. What it misses is not selected; how
        many columns are wrong does not depend on it.
    q : float, default=0.1
        False discovery rate: mean share, among the columns selected, of those that tell nothing. In (0, 1).
    method : {"conditional", "knockoffs"} or ConditionalPermutation, default="conditional"
        "conditional": p-values of `conditional_test`, and the step-up procedure of Benjamini and Hochberg; for frames
        too, and for any estimator that predicts. With an object folds and the like can be chosen. "knockoffs": the
        estimator is trained once on all columns beside their `gaussian_knockoffs`, and its importances are compared;
        for numbers. At q = 0.1 knockoffs select at least ten columns or none.
    importance_getter : str or callable, default="auto"
        For knockoffs, as in `sklearn.feature_selection.SelectFromModel`.
    random_state : int, RandomState or None, default=None

    Attributes
    ----------
    support_ : ndarray of shape (n_features_in_,)
        Mask of the columns selected.
    pvalues_ : ndarray of shape (n_features_in_,)
        Of "conditional".
    importances_ : Importances
        Of "conditional": the rises of the held-out loss.
    statistics_ : ndarray of shape (n_features_in_,)
        Of "knockoffs": importance of the column less that of its knockoff.
    threshold_ : float
        Of "knockoffs": from which statistic on columns are selected, infinite if none are.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        If X has names that are all strings.

    Raises
    ------
    ValueError
        For q outside (0, 1), an unknown method, NaN, one class; for knockoffs columns that determine each other.
    UnsupportedModelError
        For an estimator that cannot be trained anew; for knockoffs also one without importances.

    See Also
    --------
    StabilitySelector : bounds the number of false columns, with any importances.
    ProbeSelector : no guarantee, but little cost.

    Notes
    -----
    Benjamini and Hochberg's procedure holds q for p-values that are independent or positively dependent, which is not
    proven for these; and knockoffs for columns that are normal with the covariance that was estimated. False discovery
    rates that were measured are in :doc:`/guide/selecting`. Which columns *matter* is a question about all of them: of
    two copies neither tells anything beyond the other, and neither is selected.

    Cost: that of `ConditionalPermutation`; or one training with twice the columns.

    References
    ----------
    Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate", JRSS B 57, 1995.
    R. F. Barber, E. Candès, "Controlling the false discovery rate via knockoffs", Annals of Statistics 43, 2015.
    E. Candès, Y. Fan, L. Janson, J. Lv, "Panning for gold", JRSS B 80, 2018.

    Examples
    --------
    >>> from sklearn.linear_model import RidgeCV
    >>> from skexplain.datasets import make_correlated_blocks
    >>> from skexplain.selection import FDRSelector
    >>> rows = make_correlated_blocks(500, 20, n_blocks=4, n_important=4, random_state=0)
    >>> selector = FDRSelector(RidgeCV(), q=0.1, random_state=0).fit(rows.data, rows.target)
    >>> selector.get_support(indices=True)  # the first of each block
    array([ 0,  5, 10, 15])
    """

    def __init__(
        self,
        estimator: Any,
        *,
        q: float = 0.1,
        method: Any = "conditional",
        importance_getter: str | Callable = "auto",
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.q = q
        self.method = method
        self.importance_getter = importance_getter
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> FDRSelector:
        """Choose the columns.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n, n_columns)
        y : array-like of shape (n,)

        Returns
        -------
        self
        """
        check_scalar(self.q, "q", Real, min_val=0, max_val=1, include_boundaries="neither")
        known = self.method in ("conditional", "knockoffs") if isinstance(self.method, str) else False
        if not (known or isinstance(self.method, ConditionalPermutation)):
            raise ValueError(
                f"method={self.method!r}; pass 'conditional', 'knockoffs' or a ConditionalPermutation of "
                "skexplain.attributions."
            )
        X, y = table(self, X, y)
        for name in ("pvalues_", "importances_", "statistics_", "threshold_"):
            self.__dict__.pop(name, None)
        seed = seed_of(None, self.random_state)
        if self.method == "knockoffs":
            self.statistics_ = self._statistics(X, y, seed)
            self.threshold_ = knockoff_threshold(self.statistics_, self.q)
            self.support_ = self.statistics_ >= self.threshold_
            return self
        strategy = None if isinstance(self.method, str) else self.method
        test = conditional_test(self.estimator, X, y, attribution=strategy, random_state=seed)
        self.importances_: Importances = test.importances
        self.pvalues_ = test.pvalues
        self.support_ = test.adjusted <= self.q
        return self

    def _statistics(self, X: Any, y: NDArray, seed: int) -> NDArray:
        """Importances of columns less those of their knockoffs, by one estimator that is trained on both."""
        check_trainable(self.estimator, "method='knockoffs'")
        columns = check_array(X, dtype=np.float64, input_name="X", estimator=self)
        both = np.concatenate([columns, gaussian_knockoffs(columns, random_state=seed)], axis=1)
        # in a random order, so that an estimator that prefers first columns does not prefer the true ones
        order = np.random.default_rng(seed).permutation(both.shape[1])
        model = without_importances(self.estimator, seed).fit(both[:, order], y)
        found = np.empty(len(order))
        found[order] = importances_of(model, self.importance_getter, len(order))
        W = found[: len(order) // 2] - found[len(order) // 2 :]
        return np.where((columns == columns[0]).all(axis=0), 0.0, W)

    def _get_support_mask(self) -> NDArray:
        check_is_fitted(self, "support_")
        return self.support_

    def __sklearn_tags__(self) -> Any:
        return tags_of_learner(self, super().__sklearn_tags__())
