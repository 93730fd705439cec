"""ProbeSelector: columns that matter more than shuffled ones."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.feature_selection import SelectFromModel
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, check_scalar

from .._columns import rows_of
from .._subject import seed_of
from ..attributions._folds import check_trainable, without_importances
from ._learner import importances_of


class ProbeSelector(SelectFromModel):
    """`SelectFromModel` whose threshold is what shuffled columns get: ``threshold="probe"``.

    The mean or median importance, scikit-learn's thresholds, select about half of the columns whatever these are worth.
    Here the estimator is trained on all columns beside a shuffled copy of each, and those are kept whose importance is
    above that of the best copy.

    Parameters
    ----------
    estimator : estimator
        Any that has ``feature_importances_`` or ``coef_``.
    threshold : "probe", str or float, default="probe"
        Others as in `sklearn.feature_selection.SelectFromModel`.
    n_rounds : int, default=5
        Trainings with other shuffles; importances and thresholds are means over these.
    quantile : float, default=1
        Of the copies' importances, that a column must exceed. 1: the largest.
    prefit : bool, default=False
        A probe must be trained with, so True only with another threshold.
    norm_order, max_features, importance_getter
        As in `sklearn.feature_selection.SelectFromModel`.
    random_state : int, RandomState or None, default=None

    Attributes
    ----------
    estimator_ : estimator
        Trained on all columns, without probes.
    importances_ : ndarray of shape (n_features,)
        Means over the rounds, beside probes.
    probe_importances_ : ndarray of shape (n_rounds, n_features)
        Of the shuffled copy of each column.
    threshold_ : float
        Mean over rounds of the quantile of the copies' importances.
    n_features_in_ : int

    Raises
    ------
    ValueError
        For parameters out of range, ``prefit=True`` with ``threshold="probe"``, or importances that do not fit
        the columns.
    UnsupportedModelError
        For an estimator that cannot be trained anew, or has no importances.

    See Also
    --------
    FDRSelector : with a guarantee.

    Notes
    -----
    All columns are shuffled by one permutation of the rows, so that copies have the distribution of the columns and
    their correlations, and have nothing to do with y or the columns themselves. A single random column is too easy to
    beat by chance; of as many copies as columns the largest is exceeded in a round by less than one column that is
    unrelated to y and the other columns, on average. A column that is correlated with important ones is not like its
    copy, and may be kept though it tells nothing beyond them: networks and forests both give it some importance.
    Cost: ``n_rounds`` trainings with twice the columns, and one without.

    References
    ----------
    M. Kursa, W. Rudnicki, "Feature selection with the Boruta package", Journal of Statistical Software 36, 2010.
    H. Stoppiglia, G. Dreyfus, R. Dubois, Y. Oussar, "Ranking a random feature for variable and feature selection",
    JMLR 3, 2003.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> from skexplain.datasets import make_friedman1
    >>> from skexplain.selection import ProbeSelector
    >>> rows = make_friedman1(300, 20, random_state=0)
    >>> forest = RandomForestRegressor(50, random_state=0)
    >>> ProbeSelector(forest, random_state=0).fit(rows.data, rows.target).get_support(indices=True)
    array([0, 1, 2, 3, 4])
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        **SelectFromModel._parameter_constraints,
        "n_rounds": "no_validation",
        "quantile": "no_validation",
        "random_state": "no_validation",
    }

    def __init__(
        self,
        estimator: Any,
        *,
        threshold: str | float | None = "probe",
        n_rounds: int = 5,
        quantile: float = 1.0,
        prefit: bool = False,
        norm_order: float = 1,
        max_features: int | Callable | None = None,
        importance_getter: str | Callable = "auto",
        random_state: Any = None,
    ) -> None:
        super().__init__(
            estimator,
            threshold=threshold,
            prefit=prefit,
            norm_order=norm_order,
            max_features=max_features,
            importance_getter=importance_getter,
        )
        self.n_rounds = n_rounds
        self.quantile = quantile
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> ProbeSelector:
        """Train the estimator, and beside probes.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n, n_columns)
        y : array-like of shape (n,), default=None
        **fit_params
            For ``fit`` of the estimator.

        Returns
        -------
        self
        """
        if self.threshold != "probe":
            return super().fit(X, y, **fit_params)
        if self.prefit:
            raise ValueError(
                "prefit=True with threshold='probe': an estimator that is trained cannot be trained beside probes. Use "
                "prefit=False, or another threshold."
            )
        check_scalar(self.n_rounds, "n_rounds", Integral, min_val=1)
        check_scalar(self.quantile, "quantile", Real, min_val=0, max_val=1)
        check_trainable(self.estimator, "threshold='probe'")
        super().fit(X, y, **fit_params)
        rng = np.random.default_rng(seed_of(None, self.random_state))
        found = []
        for seed in rng.integers(2**31, size=self.n_rounds):
            both = _beside_copies(X, rng)
            model = without_importances(self.estimator, int(seed)).fit(both, y, **fit_params)
            found.append(importances_of(model, self.importance_getter, both.shape[1]))
        own, copies = np.split(np.array(found), 2, axis=1)
        self.importances_, self.probe_importances_ = own.mean(axis=0), copies
        return self

    @available_if(lambda self: self.threshold != "probe" and hasattr(self.estimator, "partial_fit"))
    def partial_fit(self, X: Any, y: Any = None, **fit_params: Any) -> ProbeSelector:
        """As in scikit-learn, for other thresholds than "probe"."""
        return super().partial_fit(X, y, **fit_params)

    @property
    def threshold_(self) -> float:
        """What a column must exceed, or, for other thresholds than "probe", reach."""
        if self.threshold != "probe":
            return super().threshold_
        check_is_fitted(self, "probe_importances_")
        return float(np.quantile(self.probe_importances_, self.quantile, axis=1).mean())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse &= self.threshold != "probe"
        return tags

    def _get_support_mask(self) -> NDArray:
        if self.threshold != "probe":
            return super()._get_support_mask()
        check_is_fitted(self, "probe_importances_")
        mask = self.importances_ > self.threshold_
        if self.max_features is not None:
            mask[np.argsort(-self.importances_, kind="stable")[self.max_features_ :]] = False
        return mask


def _beside_copies(X: Any, rng: np.random.Generator) -> Any:
    """X with a shuffled copy of each column on its right; of a frame with names of their own."""
    if issparse(X):
        raise ValueError("threshold='probe' shuffles columns of a dense table, but X is sparse; pass X.toarray().")
    X = X if hasattr(X, "iloc") else np.asarray(X)
    copies = rows_of(X, rng.permutation(X.shape[0]))
    if not hasattr(X, "iloc"):
        return np.concatenate([X, copies], axis=1)
    import pandas as pd

    copies = copies.set_axis(X.index).set_axis([f"probe of {name}" for name in X.columns], axis=1)
    return pd.concat([X, copies], axis=1)
