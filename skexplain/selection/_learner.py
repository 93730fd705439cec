"""What selectors take: an estimator to be trained anew, rows and targets."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils import check_array, get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, validate_data

from .._subject import truth_of
from ..exceptions import UnsupportedModelError


def table(selector: Any, X: Any, y: Any, *, allow_nan: bool = False) -> tuple[Any, NDArray]:
    """Rows and targets, checked; a frame stays one, for estimators that read its columns by name or type.

    Parameters
    ----------
    selector : estimator
        Gets ``n_features_in_`` and ``feature_names_in_``.
    X, y : array-like
    allow_nan : bool
    """
    if y is None:
        raise ValueError(f"{type(selector).__name__} requires y to be passed, but the target y is None.")
    if hasattr(X, "iloc"):
        validate_data(selector, X, skip_check_array=True)
    else:
        X = validate_data(
            selector, X, dtype="numeric", ensure_all_finite="allow-nan" if allow_nan else True, ensure_min_samples=2
        )
    y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
    check_consistent_length(X, y)
    y = truth_of(y, len(X))
    if is_classifier(selector.estimator):
        check_classification_targets(y)
        if y.ndim == 1 and len(np.unique(y)) < 2:
            raise ValueError(f"y has only one class, {y[0]!r}; there is nothing to learn, and nothing to select by.")
    return X, y


def importances_of(model: Any, getter: str | Callable, n_columns: int) -> NDArray:
    """What a fitted model calls important, at least 0, ``(n_columns,)``.

    Parameters
    ----------
    model : fitted estimator
    getter : "auto", str or callable
        As in `sklearn.feature_selection.SelectFromModel`: ``feature_importances_`` or ``coef_``; an attribute; a
        function of the model. Of several rows of coefficients the sum of absolute values counts.
    n_columns : int
    """
    if callable(getter):
        found = getter(model)
    elif getter != "auto":
        found = attrgetter(getter)(model)
    elif hasattr(model, "feature_importances_"):
        found = model.feature_importances_
    elif hasattr(model, "coef_"):
        found = model.coef_
    else:
        raise UnsupportedModelError(
            f"A {type(model).__name__} has neither feature_importances_ nor coef_; pass importance_getter, such as "
            "'named_steps.net.feature_importances_' for a pipeline, or a function of the fitted estimator."
        )
    values = np.abs(np.atleast_2d(np.asarray(found, dtype=np.float64))).sum(axis=0)
    if values.shape != (n_columns,) or not np.isfinite(values).all():
        raise ValueError(
            f"importance_getter={getter!r} gives importances of shape {np.shape(found)} for {n_columns} columns; it "
            "must give a finite number for each column that the estimator is trained on."
        )
    return values


def tags_of_learner(selector: Any, tags: Any, *, allow_nan: bool = False) -> Any:
    """The selector's tags: it needs y, and reads gaps if it is said to and its estimator does."""
    tags.target_tags.required = True
    tags.input_tags.allow_nan = allow_nan and get_tags(selector.estimator).input_tags.allow_nan
    return tags
