"""Trained networks of texts as fitted estimators."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.pipeline import Pipeline

from .._explain import explain
from .._head import Head, Output
from .._subject import seed_of, truth_of
from .._wrap import unnested, unwrap
from ..exceptions import UnsupportedModelError
from ._explanation import TextExplanation, WordImportances
from ._network import TextNetwork, text_network
from ._texts import checked_texts


class _FittedText(BaseEstimator):
    """A trained network of texts as an estimator, that is never trained again."""

    _head: Head
    _text_network: TextNetwork
    _importance_seed: int

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

    def fit(self, X: Any, y: Any = None, **params: Any) -> _FittedText:
        """Do nothing: the model is trained already."""
        return self

    def __sklearn_clone__(self) -> _FittedText:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = False, True
        return tags

    @property
    def feature_importances_(self) -> NoReturn:
        """Not there: texts have no columns.

        Raises
        ------
        UnsupportedModelError
        """
        raise UnsupportedModelError(
            "A network of texts has no columns, and so no feature_importances_. Use `importances(texts)` for the "
            "importance of each word, or `explain(texts)` for single texts."
        )

    def explain(
        self,
        X: Any,
        *,
        attribution: Any = None,
        background: str | None = None,
        target: Any = "predicted",
        output: Output = "margin",
        random_state: Any = None,
    ) -> TextExplanation:
        """`skexplain.explain` of this network on any texts; see there for the parameters."""
        found = explain(
            self,
            checked_texts(X),
            attribution=attribution,
            background=background,
            target=target,
            output=output,
            random_state=random_state,
        )
        assert isinstance(found, TextExplanation)
        return found

    def importances(
        self,
        X: Any,
        y: Any = None,
        *,
        attribution: Any = None,
        background: str | None = None,
        target: Any = "predicted",
        output: Output = "margin",
        random_state: Any = None,
    ) -> WordImportances:
        """`skexplain.importances` of this network on any texts; see there for the parameters."""
        explained = self.explain(
            X,
            attribution=attribution,
            background=background,
            target=target,
            output=output,
            random_state=random_state,
        )
        return explained.to_importances()

    @property
    def _answers_itself(self) -> bool:
        """Whether the pipeline ends in an estimator, whose own predictions are the ones to give."""
        model = unnested(self.model)
        return isinstance(model, Pipeline) and unwrap(model[-1])[0] is not model[-1]

    def _outputs(self, X: Any) -> NDArray:
        return self._text_network.predict(self._text_network.encode(checked_texts(X)))


class FittedTextClassifier(ClassifierMixin, _FittedText):
    """A trained network that predicts classes of texts. Made by `skexplain.from_fitted`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    """

    classes_: NDArray

    def predict(self, X: Any) -> NDArray:
        """Label of each text, ``(n,)``."""
        if self._answers_itself:
            return np.asarray(self.model.predict(X))
        return self.classes_[self._outputs(X).argmax(axis=1)]

    def predict_proba(self, X: Any) -> NDArray:
        """Probability of each class, ``(n, n_classes)``."""
        if self._answers_itself and hasattr(self.model, "predict_proba"):
            return np.asarray(self.model.predict_proba(X))
        return np.exp(self._head.log_probabilities(self._outputs(X)))


class FittedTextRegressor(RegressorMixin, _FittedText):
    """A trained network that predicts numbers for texts. Made by `skexplain.from_fitted`."""

    def predict(self, X: Any) -> NDArray:
        """Prediction for each text, ``(n,)`` or ``(n, n_outputs)``."""
        outputs = np.asarray(self.model.predict(X)) if self._answers_itself else self._outputs(X)
        return outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs


def text_estimator(
    model: Any, X: Any, y: Any, classes: ArrayLike | None, attribution: Any, random_state: Any
) -> FittedTextClassifier | FittedTextRegressor:
    """A trained network of texts as a fitted estimator; see `skexplain.from_fitted` for the parameters."""
    texts = checked_texts(X)
    truth = None if y is None else truth_of(y, len(texts))
    given = None if classes is None else np.asarray(classes)
    few = np.unique(np.linspace(0, len(texts) - 1, 100).astype(int))
    network = text_network(model, truth, given)
    first = next(network.batches(network.encode([texts[i] for i in few]), "margin")).network
    if first.classes is None and first.head.kind != "linear":
        raise UnsupportedModelError(
            f"The model has {first.n_outputs} independent sigmoid outputs (several labels a text), which is no "
            "classifier of scikit-learn's. Use `skexplain.explain(model, texts, target=...)` for one of them."
        )
    kind = FittedTextRegressor if first.classes is None else FittedTextClassifier
    fitted = kind(model, classes=classes, attribution=attribution, random_state=random_state)
    fitted._text_network, fitted._head = network, first.head
    fitted._importance_seed = seed_of(None, random_state)
    if first.classes is not None:
        fitted.classes_ = first.classes
    return fitted
