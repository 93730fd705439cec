"""as_network: any trained model behind the Network boundary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_regressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ._dense_network import DenseNetwork
from ._head import Head, Output, decide_head
from ._inputs import Tabled
from ._network import CHUNK, Network, chunks, replace_columns
from .exceptions import UnsupportedModelError


def frameworks(model: Any) -> set[str]:
    """Top-level packages that the model's class descends from; imports none of them."""
    model = model.model if isinstance(model, Tabled) else model
    packages = {c.__module__.split(".")[0] for c in type(model).__mro__}
    return packages | ({"keras"} if "tf_keras" in packages else set())


def unwrap(model: Any) -> tuple[Any, NDArray | None, bool]:
    """The raw network inside a wrapper of any library, its labels, and whether it is a regressor.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        For a wrapper that is not fitted.
    """
    if isinstance(model, Tabled):
        return unwrap(model.model)
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


def unnested(model: Any) -> Any:
    """The best model of a search; a pipeline that ends in a search or in another pipeline as one pipeline."""
    model = getattr(model, "best_estimator_", model)
    if not isinstance(model, Pipeline):
        return model
    last = unnested(model[-1])
    if last is model[-1] and not isinstance(last, Pipeline):
        return model
    ending = [step for _, step in last.steps] if isinstance(last, Pipeline) else [last]
    steps = [*(step for _, step in model.steps[:-1]), *ending]
    return Pipeline([(str(k), step) for k, step in enumerate(steps)])


def as_network(
    model: Any,
    X: NDArray,
    *,
    y: NDArray | None = None,
    classes: NDArray | None = None,
    regression: bool = False,
    output: Output = "margin",
) -> Network:
    """Put a trained model behind the `Network` boundary.

    Parameters
    ----------
    model : object
        A `keras.Model`, a `torch.nn.Module`, a fitted estimator of this library, skorch, scikeras or
        `keras.wrappers`, or scikit-learn's `MLPClassifier` or `MLPRegressor`; of several inputs as a `Tabled`.
    X : ndarray of shape (n, *features)
        A few rows that the model reads.
    y : ndarray, optional
        Targets, to tell classifiers from regressors where the model does not say.
    classes : array-like, optional
        Labels of the outputs, in their order.
    regression : bool
        Whether the model is known to be a regressor.
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
    raw, labels, regressor = unwrap(model)
    classes, regression = labels if classes is None else classes, regression or regressor
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
    several = {"inputs": model.inputs} if isinstance(model, Tabled) else {}
    return build(raw, X, y=y, classes=classes, regression=regression, output=output, **several)


def _mlp_network(model: MLPClassifier | MLPRegressor, output: Output) -> DenseNetwork:
    check_is_fitted(model)
    regression = isinstance(model, MLPRegressor)
    activation = {"logistic": "sigmoid", "softmax": "softmax"}.get(model.out_activation_, "linear")
    several_labels = activation == "sigmoid" and model.n_outputs_ > 1
    head, classes = decide_head(
        activation,
        model.n_outputs_,
        output=output,
        classes=None if regression or several_labels else model.classes_,
        regression=regression,
    )
    ending = "exp" if model.out_activation_ == "exp" else "identity"
    return DenseNetwork(model.coefs_, model.intercepts_, model.activation, head, classes, ending=ending)


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
            rows = np.concatenate(_replaced(X, reference, groups, coalitions[block]))
            out[block] = self.predict(rows).reshape(-1, len(X), self.n_outputs)
        return out

    def stand_ins(
        self, X: NDArray, reference: NDArray, groups: Sequence[NDArray], coalitions: NDArray
    ) -> Iterator[BaseEstimator]:
        """For each coalition an estimator that answers as the model does on the replaced rows: for scorers."""
        for block in chunks(len(coalitions), CHUNK // max(1, len(X))):
            asked = _Asked(self.model, self._decode(np.concatenate(_replaced(X, reference, groups, coalitions[block]))))
            for k in range(block.stop - block.start):
                yield _StandIn(asked, slice(k * len(X), (k + 1) * len(X)))

    def gradient(self, X: NDArray, target: NDArray) -> NDArray:
        raise UnsupportedModelError(f"A {type(self.model).__name__} has no gradient; use attribution='permutation'.")

    def _decode(self, X: NDArray) -> Any:
        if self.frame is None:
            return X
        import pandas as pd

        columns, dtypes = self.frame
        frame = {j: _as_type(pd.Series(X[:, j]), dtype) for j, dtype in enumerate(dtypes)}
        return pd.DataFrame(frame).set_axis(columns, axis=1)


def _as_type(column: Any, dtype: Any) -> Any:
    """A column in its type; a column of whole numbers that now has fractions, such as a mean's, as floats."""
    if dtype.kind in "biu":
        numbers = column.astype(float)
        if (numbers != numbers.round()).any():
            return numbers
    return column.astype(dtype)


def _replaced(X: NDArray, reference: NDArray, groups: Sequence[NDArray], coalitions: NDArray) -> list[NDArray]:
    """X with the groups of each coalition taken from the reference."""
    columns = [
        np.concatenate([groups[int(g)] for g in np.flatnonzero(row)] or [np.empty(0, int)]) for row in coalitions
    ]
    return [replace_columns(X, reference, c) for c in columns]


class _Asked:
    """A model and many rows; each of its methods is called once, for all of them."""

    def __init__(self, model: Any, rows: Any) -> None:
        self.model, self.rows = model, rows
        self._answers: dict[str, NDArray] = {}

    def __call__(self, method: str) -> NDArray:
        if method not in self._answers:
            self._answers[method] = np.asarray(getattr(self.model, method)(self.rows))
        return self._answers[method]


def _has(method: str) -> Any:
    return available_if(lambda self: hasattr(self.asked.model, method))


class _StandIn(BaseEstimator):
    """What a model answers on some of the rows it was asked about."""

    def __init__(self, asked: _Asked, part: slice) -> None:
        self.asked = asked
        self.part = part

    def __sklearn_tags__(self) -> Any:
        return get_tags(self.asked.model)

    @property
    def classes_(self) -> NDArray:
        return self.asked.model.classes_

    @_has("predict")
    def predict(self, X: Any) -> NDArray:
        return self.asked("predict")[self.part]

    @_has("predict_proba")
    def predict_proba(self, X: Any) -> NDArray:
        return self.asked("predict_proba")[self.part]

    @_has("decision_function")
    def decision_function(self, X: Any) -> NDArray:
        return self.asked("decision_function")[self.part]
