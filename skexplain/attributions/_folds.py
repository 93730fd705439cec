"""Estimators that are trained anew, on folds."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_scalar

from .._clone import seeded
from ..exceptions import UnsupportedModelError


def check_trainable(estimator: Any, by: str, otherwise: str = "") -> None:
    """Refuse what cannot be trained anew.

    Parameters
    ----------
    estimator : estimator or Pipeline
    by : str
        What would train it, for the error.
    otherwise : str
        What else the user can do.
    """
    last = _last(estimator)
    if not (hasattr(last, "get_params") and hasattr(last, "fit")) or clone(last) is last:
        raise UnsupportedModelError(
            f"A {type(last).__name__} cannot be trained anew, as {by} would. Pass an estimator, such as "
            "skexplain.torch.NeuralNetClassifier(module) or skexplain.keras.KerasClassifier(model)"
            f"{otherwise and ', or '}{otherwise}."
        )


def check_has_loss(estimator: Any, y: NDArray, remedy: str) -> None:
    """Refuse classifiers without a log-loss."""
    if is_classifier(estimator) and (y.ndim > 1 or not hasattr(estimator, "predict_proba")):
        lack = "several labels a row" if y.ndim > 1 else "no probabilities"
        raise ValueError(f"A {type(_last(estimator)).__name__} with {lack} has no log-loss; {remedy}.")


def _last(estimator: Any) -> Any:
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def splits_of(cv: Any, classifier: bool, X: Any, y: NDArray, seed: int) -> list[tuple[NDArray, NDArray]]:
    """Indices to train on and to hold out; of a number of folds shuffled ones, stratified for classifiers."""
    if isinstance(cv, Integral):
        check_scalar(cv, "cv", Integral, min_val=2)
        folds = StratifiedKFold if classifier and y.ndim == 1 else KFold
        cv = folds(int(cv), shuffle=True, random_state=seed)
    return list(check_cv(cv, y, classifier=classifier).split(X, y))


def without_importances(estimator: Any, seed: int) -> Any:
    """A seeded clone that computes no importances when it is fitted."""
    model = seeded(estimator, seed)
    keeping = [key for key in model.get_params(deep=True) if key.split("__")[-1] == "keep_rows"]
    return model.set_params(**dict.fromkeys(keeping, True))


def part_of(X: Any, rows: NDArray, columns: NDArray) -> Any:
    """Some rows and columns of an array or a frame."""
    return X.iloc[rows, columns] if hasattr(X, "iloc") else X[rows][:, columns]
