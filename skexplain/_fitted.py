"""from_fitted: an already trained network as a fitted estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline

from ._columns import column_names, dense, is_text
from ._estimator import ExplainableMixin, spread_rows
from ._head import Output
from ._inputs import Inputs, Tabled, is_several
from ._network import Network, chunks
from ._subject import BACKGROUND_ROWS, readable, reading, seed_of, truth_of
from ._wrap import as_network, unnested, unwrap
from .exceptions import UnsupportedModelError
from .text._texts import is_texts


class _Fitted(ExplainableMixin, BaseEstimator):
    """A trained model as an estimator. Like `sklearn.frozen.FrozenEstimator` it is never trained again."""

    importance_rows = 1000
    keep_rows = True
    #: Of a model that takes several.
    _inputs: Inputs | None = None

    def __init__(
        self,
        model: Any,
        *,
        classes: ArrayLike | None = None,
        attribution: Any = "expected_gradients",
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.classes = classes
        self.attribution = attribution
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, **params: Any) -> _Fitted:
        """Do nothing: the model is trained already."""
        return self

    def __sklearn_clone__(self) -> _Fitted:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def feature_importances_(self) -> NDArray:
        """Importance of each column: non-negative, the higher the more it matters, with sum 1.

        Raises
        ------
        UnsupportedModelError
            For a pipeline whose steps combine columns, such as in products, so that shares belong to several.
        """
        shares = super().feature_importances_
        if len(shares) > self.n_features_in_:
            raise UnsupportedModelError(
                f"{len(shares) - self.n_features_in_} of the importances belong to several columns at once, such as "
                f"{self.importances_.names[self.n_features_in_]!r}, and to none of the {self.n_features_in_} columns. "
                "Read them in `importances_`, put the columns into groups with `importances(X, groups=...)`, or use "
                "attribution='permutation'."
            )
        return shares

    def _network(self, output: Output = "margin") -> Network:
        if self._last is not self.model:
            raise TypeError("A pipeline's network reads transformed rows.")
        return self._last_network(output)

    @property
    def _last(self) -> Any:
        return self.model[-1] if isinstance(self.model, Pipeline) else self.model

    @property
    def _read(self) -> Any:
        """The network at the end, as one that reads a table."""
        return self._last if self._inputs is None else Tabled(self._last, self._inputs)

    @property
    def _explained(self) -> Any:
        """What `explain` works on: a pipeline is explained in the columns in front of it."""
        return self if self._last is self.model else self.model

    @property
    def _known_rows(self) -> Any:
        """Rows in the columns of the user, for pipelines."""
        return None if self._last is self.model or self._kept is None else self._kept[0]

    def _last_network(self, output: Output = "margin") -> Network:
        rows, labels = self._seen
        return as_network(self._read, rows, classes=labels, regression=labels is None, output=output)

    def _answers_itself(self, X: Any) -> bool:
        """Whether the model is an estimator, whose own predictions are the ones to give, and can read X."""
        if self._inputs is not None and not is_several(X):
            return False
        last = self._last
        return unwrap(last)[0] is not last or isinstance(last, MLPClassifier | MLPRegressor) or last is not self.model

    def _check_rows(self, X: Any) -> NDArray:
        if self._last is not self.model and len(self.model) > 1:
            X = self.model[:-1].transform(X)
            # with `set_output` the last step wants its names
            X = X if hasattr(X, "iloc") or is_text(X) else dense(X)
        return readable(self._read, X)

    def _outputs(self, X: Any) -> NDArray:
        rows = self._check_rows(X)
        with reading(rows):
            network = self._last_network()
            return np.concatenate([network.predict(rows[block]) for block in chunks(len(rows))])

    def _remember(self, X: Any, y: Any) -> None:
        """Keep rows for importances, and what `fit` would have learned of columns and labels."""
        self._inputs = Inputs.of(X) if is_several(X) else None
        rows = self._check_rows(X)
        X = X if self._inputs is None else rows
        truth = None if y is None else truth_of(y, len(rows))
        key = np.zeros(len(rows)) if truth is None else truth
        few = spread_rows(key, 100, np.random.default_rng(0))
        given = None if self.classes is None else np.asarray(self.classes)
        with reading(rows):
            network = as_network(self._read, rows[few], y=truth, classes=given)
        if network.classes is None and network.head.kind != "linear":
            raise UnsupportedModelError(
                f"The model has {network.n_outputs} independent sigmoid outputs (several labels a row), which is no "
                "classifier of scikit-learn's. Use `skexplain.explain(model, X, target=...)` for one of them."
            )
        self._seen = rows[few], network.classes
        self._importance_seed = seed_of(None, self.random_state)
        kept = spread_rows(key, self.importance_rows, np.random.default_rng(self._importance_seed))
        frame = X.iloc[kept] if hasattr(X, "iloc") else np.asarray(X)[kept]
        self._kept = frame, None if truth is None else truth[kept]
        self._kept_index = kept
        self._importances = None
        self.n_features_in_ = int(np.prod(np.shape(frame)[1:]))
        if self._inputs is not None:
            self.feature_names_in_ = np.array(self._inputs.names, dtype=object)
        elif hasattr(X, "columns"):
            self.feature_names_in_ = np.array(column_names(X, None, None, self.n_features_in_), dtype=object)

    @property
    def _kept_background(self) -> NDArray | None:
        if self._last is not self.model or self._kept is None:
            return None  # of a pipeline there are `_known_rows`
        rows = self._check_rows(self._kept[0])
        order = np.random.default_rng(self._importance_seed).permutation(len(rows))[:BACKGROUND_ROWS]
        return rows[np.sort(order)]

    @property
    def _on_kept_rows(self) -> Any:
        """Itself: rows were kept as the user passed them."""
        return self


class FittedClassifier(ClassifierMixin, _Fitted):
    """A trained network that predicts classes. Made by `skexplain.from_fitted`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    feature_importances_ : ndarray of shape (n_features_in_,)
    """

    @property
    def classes_(self) -> NDArray:
        labels = self._seen[1]
        assert labels is not None
        return labels

    def predict(self, X: Any) -> NDArray:
        """Label of each row, ``(n,)``: the most probable, unless the model is an estimator that decides otherwise."""
        if self._answers_itself(X):
            return np.asarray(self.model.predict(X))
        return self.classes_[self._outputs(X).argmax(axis=1)]

    def predict_proba(self, X: Any) -> NDArray:
        """Probability of each class, ``(n, n_classes)``."""
        if self._answers_itself(X) and hasattr(self.model, "predict_proba"):
            return np.asarray(self.model.predict_proba(X))
        return np.exp(self._last_network().head.log_probabilities(self._outputs(X)))

    def decision_function(self, X: Any) -> NDArray:
        """Margins, ``(n, n_classes)``; of the second class, ``(n,)``, when there are two."""
        margins = self._outputs(X)
        return margins[:, 1] if margins.shape[1] == 2 else margins


class FittedRegressor(RegressorMixin, _Fitted):
    """A trained network that predicts numbers. Made by `skexplain.from_fitted`.

    Attributes
    ----------
    feature_importances_ : ndarray of shape (n_features_in_,)
    """

    def predict(self, X: Any) -> NDArray:
        """Prediction for each row, ``(n,)`` or ``(n, n_outputs)``."""
        if self._answers_itself(X):
            predicted = np.asarray(self.model.predict(X))
            return predicted[:, 0] if predicted.ndim == 2 and predicted.shape[1] == 1 else predicted
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs


def from_fitted(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    classes: ArrayLike | None = None,
    attribution: Any = "expected_gradients",
    random_state: Any = None,
) -> Any:
    """Make a trained network a fitted scikit-learn estimator; nothing is trained.

    Parameters
    ----------
    model : object
        A `keras.Model`, a `torch.nn.Module`, a fitted skorch, scikeras or `keras.wrappers` estimator,
        an `MLPClassifier` or `MLPRegressor`, or a `Pipeline` that ends in one.
    X : array-like or DataFrame of shape (n, n_columns), or list of str
        Rows that importances are computed from, in the columns that the model was trained on; or texts, for networks
        behind a tokenizer.
    y : array-like of shape (n,), default=None
        Their targets. Needed by strategies that compare with the truth; it also tells whether a linear
        last layer gives logits or predictions, and the labels.
    classes : array-like, default=None
        Labels of the outputs in their order. Makes the model a classifier.
    attribution : str or object, default="expected_gradients"
        Strategy behind ``feature_importances_``.
    random_state : int, RandomState or None, default=None
        Repeats the choice of rows and stochastic strategies.

    Returns
    -------
    FittedClassifier or FittedRegressor, or FittedTextClassifier or FittedTextRegressor
        ``fit`` does nothing and `sklearn.base.clone` returns the same object, as for
        `sklearn.frozen.FrozenEstimator`.

    Raises
    ------
    ValueError
        For rows the model cannot read, or ``classes`` of another number than the outputs.
    UnsupportedModelError
        For anything that is not a network.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> import skexplain
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPClassifier(max_iter=2000, random_state=0).fit(X, y)
    >>> skexplain.from_fitted(net, X, y, random_state=0).feature_importances_.shape
    (4,)
    """
    model = unnested(model)
    if is_texts(X):
        from .text._fitted import text_estimator

        return text_estimator(model, X, y, classes, attribution, random_state)
    probe = FittedRegressor(model, classes=classes)
    probe._remember(X, y)
    kind = FittedRegressor if probe._seen[1] is None else FittedClassifier
    fitted = kind(model, classes=classes, attribution=attribution, random_state=random_state)
    fitted._remember(X, y)
    return fitted
