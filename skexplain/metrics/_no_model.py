"""The controls that ask no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.utils.multiclass import type_of_target

from .._columns import comparable
from .._subject import truth_of


def no_model_importances(X: Any, y: ArrayLike) -> NDArray:
    """Importances for which no model was asked: how well each column alone orders the target.

    An explanation that finds the columns no better has not shown that it knows the model.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n, n_columns)
        Texts count as codes.
    y : array-like of shape (n,)

    Returns
    -------
    ndarray of shape (n_columns,)
        Between 0 and 1; 0 for constant columns. Numbers as target: the absolute rank correlation (Spearman's). Classes:
        the correlation ratio of the column's ranks, ``sqrt(H / (n - 1))`` for Kruskal and Wallis' H.

    References
    ----------
    W. Kruskal, W. Wallis, "Use of ranks in one-criterion variance analysis", JASA 47, 1952.

    Examples
    --------
    >>> from skexplain.datasets import make_linear, make_xor
    >>> from skexplain.metrics import no_model_importances
    >>> data = make_linear(random_state=0)
    >>> data.important[no_model_importances(data.data, data.target).argsort()[-3:]]
    array([ True,  True,  True])
    """
    R = rankdata(comparable(X).reshape(len(X), -1), axis=0, nan_policy="omit")
    R = np.where(np.isnan(R), np.nanmean(R, axis=0), R)
    y = truth_of(y, len(R))
    R = R - R.mean(axis=0)
    total = (R**2).sum(axis=0)
    if type_of_target(y).startswith("continuous"):
        y = y.reshape(len(y), -1)
        T = rankdata(y, axis=0) - (len(y) + 1) / 2
        between = (R.T @ T) ** 2 / np.maximum((T**2).sum(axis=0), np.finfo(float).tiny)
        between = between.mean(axis=1)
    else:
        labels, code = np.unique(y, return_inverse=True)
        members = np.eye(len(labels))[code.ravel()]
        between = ((members.T @ R) ** 2 / members.sum(axis=0)[:, None]).sum(axis=0)
    return np.sqrt(np.where(total > 0, between / np.where(total > 0, total, 1), 0))


def by_importance(values: NDArray, rng: np.random.Generator) -> NDArray:
    """Indices along the last axis, the highest value first; of equal values each is as likely to be the first.

    Their order in the table would be no accident: columns that matter often stand in front.
    """
    return np.lexsort((rng.random(values.shape), -values), axis=-1)


def unusual(rows: NDArray, background: NDArray, groups: Sequence[NDArray]) -> NDArray:
    """How far each row is from the mean of the background, in standard deviations, ``(n, n_groups)``.

    It knows the row and not the model.
    """
    flat = comparable(rows.reshape(len(rows), -1))
    typical = comparable(background.reshape(len(background), -1))
    spread = typical.std(axis=0)
    z = np.abs(flat - typical.mean(axis=0)) / np.where(spread > 0, spread, np.inf)
    return np.stack([z[:, g].sum(axis=1) for g in groups], axis=1)
