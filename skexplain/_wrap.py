"""as_network: any trained model behind the Network boundary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_regressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.validation import check_is_fitted

from ._head import Head, Output, decide_head
from ._network import CHUNK, DenseNetwork, Network, chunks, replace_columns
from .exceptions import UnsupportedModelError


def frameworks(model: Any) -> set[str]:
    """Top-level packages that the model's class descends from; imports none of them."""
    packages = {c.__module__.split(".")[0] for c in type(model).__mro__}
    return packages | ({"keras"} if "tf_keras" in packages else set())


def unwrap(model: Any) -> tuple[Any, NDArray | None, bool]:
    """The raw network inside a wrapper of any library, its labels, and whether it is a regressor.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        For a wrapper that is not fitted.
    """
    packages = frameworks(model)
    if "skorch" in packages:
        check_is_fitted(model, "module_")
        regressor = is_regressor(model)
        return model.module_, None if regressor else getattr(model, "classes_", None), regressor
    if packages & {"scikeras", "sklearn"} and packages & {"scikeras", "keras"}:
        check_is_fitted(model, "model_")
        labels = getattr(model, "classes_", None)
        return model.model_, labels, labels is None
    return model, None, False


def as_network(
    model: Any,
    X: NDArray,
    *,
    y: NDArray | None = None,
    classes: NDArray | None = None,
    output: Output = "margin",
) -> Network:
    """Put a trained model behind the `Network` boundary.

    Parameters
    ----------
    model : object
        A `keras.Model`, a `torch.nn.Module`, a fitted estimator of this library, skorch, scikeras or
        `keras.wrappers`, or scikit-learn's `MLPClassifier` or `MLPRegressor`.
    X : ndarray of shape (n, *features)
        A few rows that the model reads.
    y : ndarray, optional
        Targets, to tell classifiers from regressors where the model does not say.
    classes : array-like, optional
        Labels of the outputs, in their order.
    output : {"margin", "logit", "probability"}
        Scale to explain.

    Raises
    ------
    UnsupportedModelError
        For anything else.
    """
    Head("linear", 1, output)  # refuses an unknown scale before anything is run
    if hasattr(model, "_network"):
        return model._network(output)
    if isinstance(model, MLPClassifier | MLPRegressor):
        return _mlp_network(model, output)
    raw, labels, regression = unwrap(model)
    classes = labels if classes is None else classes
    if "keras" in frameworks(raw):
        from .keras._network import keras_network as build
    elif "torch" in frameworks(raw):
        from .torch._network import torch_network as build  # type: ignore[assignment]
    else:
        raise UnsupportedModelError(
            f"A {type(model).__name__} is not a network that can be explained by gradients. Pass a keras.Model, a "
            "torch.nn.Module, a fitted wrapper of one, an MLPClassifier or MLPRegressor, or use "
            "attribution='permutation', which works for any estimator."
        )
    return build(raw, X, y=y, classes=classes, regression=regression, output=output)


def _mlp_network(model: MLPClassifier | MLPRegressor, output: Output) -> DenseNetwork:
    check_is_fitted(model)
    regression = isinstance(model, MLPRegressor)
    activation = {"logistic": "sigmoid", "identity": "linear"}.get(model.out_activation_, model.out_activation_)
    head, classes = decide_head(
        activation,
        model.n_outputs_,
        output=output,
        classes=None if regression else model.classes_,
        regression=regression,
    )
    return DenseNetwork(model.coefs_, model.intercepts_, model.activation, head, classes)


class EstimatorNetwork(Network):
    """Any fitted scikit-learn estimator, known by its predictions only.

    Parameters
    ----------
    model : estimator or Pipeline
    X : array-like or DataFrame
        Rows as the model reads them; a DataFrame's columns and dtypes are given back to the model.
    output : str
        Scale to explain.
    """

    differentiable = False

    def __init__(self, model: Any, X: Any, output: Output = "margin") -> None:
        self.model = model
        self.frame = (X.columns, X.dtypes) if hasattr(X, "dtypes") and hasattr(X, "columns") else None
        check_is_fitted(model)
        if hasattr(model, "classes_") and not is_regressor(model):
            self.classes = np.asarray(model.classes_)
            self.head = Head("softmax", len(self.classes), output)
        else:
            n_raw = np.reshape(model.predict(X[:1]), (1, -1)).shape[1]
            self.head = Head("linear", n_raw, output)

    def encode(self, X: Any) -> NDArray:
        """The rows as one array; of objects when columns have several types."""
        return X.to_numpy() if hasattr(X, "to_numpy") else np.asarray(X)

    def raw(self, X: NDArray) -> NDArray:
        rows = self._decode(X)
        if self.classes is None:
            return np.reshape(self.model.predict(rows), (len(X), -1))
        if hasattr(self.model, "predict_proba"):
            p = self.model.predict_proba(rows)
            return np.log(np.clip(p, np.finfo(np.float32).eps, None))
        if not hasattr(self.model, "decision_function"):  # it only votes
            votes = np.asarray(self.model.predict(rows))[:, None] == self.classes
            return np.log(np.clip(votes, np.finfo(np.float32).eps, None))
        scores = self.model.decision_function(rows)
        return np.stack([-scores, scores], axis=1) / 2 if scores.ndim == 1 else scores

    def predict_replaced(
        self, X: NDArray, reference: NDArray, groups: Sequence[NDArray], coalitions: NDArray
    ) -> NDArray:
        # estimators and data frames cost by the call, not by the row: many coalitions in one call
        out = np.empty((len(coalitions), len(X), self.n_outputs))
        for block in chunks(len(coalitions), CHUNK // max(1, len(X))):
            replaced = [
                replace_columns(X, reference, np.concatenate([g for g, m in zip(groups, row, strict=True) if m]))
                if row.any()
                else X
                for row in coalitions[block]
            ]
            out[block] = self.predict(np.concatenate(replaced)).reshape(-1, len(X), self.n_outputs)
        return out

    def gradient(self, X: NDArray, target: NDArray) -> NDArray:
        raise UnsupportedModelError(f"A {type(self.model).__name__} has no gradient; use attribution='permutation'.")

    def _decode(self, X: NDArray) -> Any:
        if self.frame is None:
            return X
        import pandas as pd

        columns, dtypes = self.frame
        frame = {j: pd.Series(X[:, j]).astype(dtype) for j, dtype in enumerate(dtypes)}
        return pd.DataFrame(frame).set_axis(columns, axis=1)
