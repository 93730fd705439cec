"""Clones that are trained anew, and their importances."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_consistent_length

from .._columns import column_names
from .._explain import importances
from .._fold import own_importances
from .._subject import truth_of
from ..exceptions import UnsupportedModelError


def last_step(model: Any) -> Any:
    """The estimator at the end of a pipeline, or the estimator."""
    return last_step(model.steps[-1][1]) if isinstance(model, Pipeline) else model


def check_trainable(estimator: Any) -> None:
    """Refuse what cannot be trained anew: raw networks, `from_fitted`, frozen estimators."""
    last = last_step(estimator)
    if not (hasattr(last, "get_params") and hasattr(last, "fit")) or clone(last) is last:
        raise UnsupportedModelError(
            f"A {type(last).__name__} cannot be trained anew. Pass an estimator, such as "
            "skexplain.torch.NeuralNetClassifier(module) or skexplain.keras.KerasClassifier(model)."
        )


def table(estimator: Any, X: Any, y: Any) -> tuple[Any, NDArray]:
    """Rows and targets for an estimator that can be trained anew.

    Raises
    ------
    UnsupportedModelError
        For what cannot; see `check_trainable`.
    ValueError
        When X is no table, or y does not fit to it.
    """
    check_trainable(estimator)
    X = X if hasattr(X, "iloc") else np.asarray(X)
    if X.ndim != 2 or X.shape[1] < 2:
        raise ValueError(f"X has the shape {X.shape}; pass a table of rows and at least two columns.")
    check_consistent_length(X, y)
    y = truth_of(y, len(X))
    if is_classifier(estimator) and y.ndim == 1 and len(np.unique(y)) < 2:
        raise ValueError(f"y has the single class {y[0]!r}; there is nothing to learn.")
    return X, y


def fitted(model: Any, X: Any, y: NDArray) -> Any:
    """Train a clone, which is told to compute no importances at the end."""
    kept = [key for key in model.get_params(deep=True) if key.split("__")[-1] == "keep_rows"]
    return model.set_params(**dict.fromkeys(kept, True)).fit(X, y)


def measured(model: Any, X: Any, y: NDArray, attribution: Any, seed: int, background: Any = None) -> NDArray:
    """Importances of each column of X, as shares; by the model's own if no attribution is given.

    Raises
    ------
    UnsupportedModelError
        For a model without importances of its own, if no attribution is given.
    """
    d = X.shape[1]
    if attribution is None:
        names = tuple(column_names(X, None, None, d))
        own = own_importances(model, X, y, names=names, groups=None, seed=seed)
        if own is None:
            raise UnsupportedModelError(
                f"A {type(last_step(model)).__name__} has no importances of its own; pass attribution='permutation'."
            )
        return own[:d]
    result = importances(model, X, y, attribution=attribution, background=background, random_state=seed)
    return result.normalized[:d]
