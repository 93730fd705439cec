"""KerasClassifier and KerasRegressor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, RegressorMixin

from .._data import TrainingData, classification_data, regression_data
from ..exceptions import UnsupportedModelError
from ._base import KerasEstimator
from ._losses import check_classifier, check_regressor, class_target
from ._network import bounded

PARAMETERS = """    model : callable, keras.Model or None, default=None
        A function that builds the model, compiled or not. It gets its parameters from ``model__*`` (or, as in
        scikeras, without the prefix), and, if it asks for them, ``meta`` (what is known of the data:
        ``n_features_in_``, ``n_classes_``, ``n_outputs_``, ``X_shape_``, ``target_type_`` ...) and
        ``compile_kwargs`` (optimizer, loss and metrics, made from the parameters). Or a model, compiled or not:
        a copy is trained, with new weights at every ``fit``. None: `column_gated_mlp`, which encodes raw columns and
        finds those that matter; it is trained as told below by default, and so is `mlp`, if that is passed.
    build_fn : callable, default=None
        Old name of ``model``.
    optimizer : str, class, instance or "auto", default="auto"
        Used unless the model comes compiled, like ``loss`` and ``metrics``. "auto": Adam with step 0.003 for
        the default model; for others "rmsprop", as in scikeras.
    loss : str, class, instance, callable or None, default=None
        None: cross-entropy for classifiers, squared error for regressors, as it fits the last activation.
    metrics : list or None, default=None
        As in ``Model.compile``.
    epochs : int or "auto", default="auto"
        "auto": up to 200 for the default model, and so for each sparsity that is tried, stopped when the loss on a
        tenth of the rows no longer falls; for others 1, as in Keras.
    batch_size : int or "auto", default="auto"
        "auto": 64 for the default model; for others 32, as in Keras. -1: all rows.
    validation_split : float or "auto", default="auto"
        Share of the rows, the last ones, on which loss and metrics are watched. "auto": 0.1 of at least 100
        rows, spread evenly over the target, for the default model; for others 0.
    callbacks : callback, class, list or dict of them, or None, default=None
        Of Keras. Classes are made with ``callbacks__*``.
{extra}    warm_start : bool, default=False
        Go on training at the next ``fit``.
    random_state : int, RandomState or None, default=None
        Makes fit and importances repeatable, and leaves the generators of Python, NumPy, Keras and the back end
        alone. None: those are used.
    input_shape : tuple of int, default=None
        Shape of one row as the model reads it, such as (height, width, channels) of pictures or (steps, features) of
        sequences. X stays a table of as many columns, for scikit-learn and in all results. None: rows are as they are.
        The default model reads them flat.
    categorical : list of names or indices, "auto" or None, default=None
        Columns of levels rather than numbers. "auto": those of a frame that are text, categories or booleans. Levels
        become codes: 0 for one that was not there in training, 1 for a missing value, 2 and on for the others. The
        default model embeds them. A model of yours with two inputs gets codes ``(n, n_categorical)``, of integers, and
        numbers ``(n, n_numeric)``, in this order; one with one input gets the table with codes in their columns. How
        many codes there are stands in ``meta``: as ``cardinalities_`` (a dict from column to number) and as
        ``emb_szs_`` (pairs of number and embedding width), beside ``n_cont_``, the number of others.
    dtype : {{"float32", "float64"}}, default="float32"
        Of weights and data.
    attribution : str or object, default="expected_gradients"
        Strategy behind ``feature_importances_``: a name or an object of `skexplain.attributions`.
    importance_rows : int, default=1000
        Most training rows that importances are computed from.
    keep_rows : bool, default=True
        Keep these rows and compute importances when they are first read. False: compute them at the end of
        ``fit`` and keep no row, for models that leave the building.
    validation_batch_size, shuffle, run_eagerly, verbose
        As in ``Model.fit`` and ``Model.compile``.
    **kwargs
        ``model__*``, ``optimizer__*``, ``loss__*``, ``metrics__*``, ``callbacks__*``, ``compile__*``,
        ``fit__*`` and parameters of the build function. ``fit__validation_data=(X, y)`` watches rows of your own;
        ``predict__*`` is accepted and not used.

    Attributes
    ----------
    model_ : keras.Model
        Trained.
    history_ : dict of str to list
        Loss and metrics of each epoch, and the default model's ``sparsity`` where several are tried.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set if X has column names.
    feature_importances_ : ndarray of shape (n_features_in_,)
        Importances that sum to 1; for rows of more than one dimension one for each of a row's numbers.
"""


class KerasClassifier(ClassifierMixin, KerasEstimator):
    __doc__ = f"""A Keras network as a scikit-learn classifier with ``feature_importances_``.

    Parameters and routing are scikeras'; ``fit``, ``predict`` and what scikit-learn asks of an estimator are its own.

    Parameters
    ----------
{
        PARAMETERS.format(
            extra='''    class_weight : dict, "balanced" or None, default=None
        As in scikit-learn.
'''
        )
    }    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.

    Raises
    ------
    ValueError
        At ``fit``, when last layer and loss do not fit each other, or the loss diverges.

    See Also
    --------
    KerasRegressor : for numbers.
    skexplain.torch.NeuralNetClassifier : the same in PyTorch.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skexplain.keras import KerasClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = KerasClassifier(epochs=30, random_state=0).fit(X, y)
    >>> clf.score(X, y) > 0.9
    True
    >>> clf.feature_importances_.shape
    (4,)
    """

    def __init__(
        self,
        model: Any = None,
        *,
        build_fn: Any = None,
        optimizer: Any = "auto",
        loss: Any = None,
        metrics: Any = None,
        epochs: int | str = "auto",
        batch_size: int | str | None = "auto",
        validation_split: float | str = "auto",
        validation_batch_size: int | None = None,
        callbacks: Any = None,
        class_weight: Any = None,
        shuffle: bool = True,
        run_eagerly: bool = False,
        verbose: Any = 0,
        warm_start: bool = False,
        random_state: Any = None,
        input_shape: Sequence[int] | None = None,
        categorical: Any = None,
        dtype: str = "float32",
        attribution: Any = "expected_gradients",
        importance_rows: int = 1000,
        keep_rows: bool = True,
        **kwargs: Any,
    ) -> None:
        self.model = model
        self.build_fn = build_fn
        self.optimizer = optimizer
        self.loss = loss
        self.metrics = metrics
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_split = validation_split
        self.validation_batch_size = validation_batch_size
        self.callbacks = callbacks
        self.class_weight = class_weight
        self.shuffle = shuffle
        self.run_eagerly = run_eagerly
        self.verbose = verbose
        self.warm_start = warm_start
        self.random_state = random_state
        self.input_shape = input_shape
        self.categorical = categorical
        self.dtype = dtype
        self.attribution = attribution
        self.importance_rows = importance_rows
        self.keep_rows = keep_rows
        self._route(kwargs)

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> KerasClassifier:
        """Build the model anew, unless ``warm_start``, and train it.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or (n, ...) for a model of your own
        y : array-like of shape (n,)
        sample_weight : array-like of shape (n,), default=None
            A batch's loss is the weighted mean over its rows.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For rows that cannot be read, a last layer and a loss that do not fit each other, or a loss that diverges.
        """
        return self._fit(X, y, sample_weight)

    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> KerasClassifier:
        """Train for one more epoch.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
        y : array-like of shape (n,)
        classes : array-like, default=None
            All labels, at the first call, if y lacks some.
        sample_weight : array-like of shape (n,), default=None

        Returns
        -------
        self
        """
        self._first_classes = classes
        try:
            return self._partial_fit(X, y, sample_weight)
        finally:
            del self._first_classes

    def predict(self, X: ArrayLike) -> NDArray:
        """Most probable label of each row.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,)
        """
        outputs = self._outputs(X)
        return self.classes_[outputs.argmax(axis=1)]

    def predict_proba(self, X: ArrayLike) -> NDArray:
        """Probability of each class.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, n_classes)
            float64; rows sum to 1. For a model with one sigmoid a class they are scaled to do so.
        """
        outputs = self._outputs(X)
        p = np.exp(self._network().head.log_probabilities(outputs))
        return p / p.sum(axis=1, keepdims=True)

    def decision_function(self, X: ArrayLike) -> NDArray:
        """Margins: a class's logit minus the mean of the others'.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, n_classes), or (n,) for two classes
            For two classes that of the second.
        """
        outputs = self._outputs(X)
        return outputs[:, 1] if outputs.shape[1] == 2 else outputs

    def _checked_data(self, X: Any, y: Any, sample_weight: Any, reset: bool) -> TrainingData:
        return classification_data(
            self,
            X,
            y,
            sample_weight,
            class_weight=self.class_weight,
            classes=getattr(self, "_first_classes", None),
            reset=reset,
            allow_nd=not self._is_ours,
        )

    def _meta_of_target(self) -> dict[str, Any]:
        k = len(self.classes_)
        kind = "binary" if k == 2 else "multiclass"
        return {"classes_": self.classes_, "n_classes_": k, "n_outputs_": 1, "target_type_": kind}

    def _check_ending(self, loss: Any, activation: str, units: int) -> None:
        if activation == "bounded":
            raise UnsupportedModelError(bounded(units))
        check_classifier(loss, activation, units, len(self.classes_))

    def _loss_target(self, y: NDArray, loss: Any, units: int) -> NDArray:
        return class_target(y, len(self.classes_), loss, units, self.dtype)

    def _labels(self, y: NDArray) -> NDArray:
        return self.classes_[y]


class KerasRegressor(RegressorMixin, KerasEstimator):
    __doc__ = f"""A Keras network as a scikit-learn regressor with ``feature_importances_``.

    Parameters and routing are scikeras'; ``fit``, ``predict`` and what scikit-learn asks of an estimator are its own.

    Parameters
    ----------
{PARAMETERS.format(extra="")}
    Raises
    ------
    ValueError
        At ``fit``, when last layer and target do not fit each other, or the loss diverges.

    See Also
    --------
    KerasClassifier : for classes.
    skexplain.torch.NeuralNetRegressor : the same in PyTorch.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from skexplain.keras import KerasRegressor
    >>> X, y = make_regression(80, 4, random_state=0)
    >>> reg = KerasRegressor(epochs=50, random_state=0).fit(X, y)
    >>> reg.predict(X[:2]).shape
    (2,)
    """

    def __init__(
        self,
        model: Any = None,
        *,
        build_fn: Any = None,
        optimizer: Any = "auto",
        loss: Any = None,
        metrics: Any = None,
        epochs: int | str = "auto",
        batch_size: int | str | None = "auto",
        validation_split: float | str = "auto",
        validation_batch_size: int | None = None,
        callbacks: Any = None,
        shuffle: bool = True,
        run_eagerly: bool = False,
        verbose: Any = 0,
        warm_start: bool = False,
        random_state: Any = None,
        input_shape: Sequence[int] | None = None,
        categorical: Any = None,
        dtype: str = "float32",
        attribution: Any = "expected_gradients",
        importance_rows: int = 1000,
        keep_rows: bool = True,
        **kwargs: Any,
    ) -> None:
        self.model = model
        self.build_fn = build_fn
        self.optimizer = optimizer
        self.loss = loss
        self.metrics = metrics
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_split = validation_split
        self.validation_batch_size = validation_batch_size
        self.callbacks = callbacks
        self.shuffle = shuffle
        self.run_eagerly = run_eagerly
        self.verbose = verbose
        self.warm_start = warm_start
        self.random_state = random_state
        self.input_shape = input_shape
        self.categorical = categorical
        self.dtype = dtype
        self.attribution = attribution
        self.importance_rows = importance_rows
        self.keep_rows = keep_rows
        self._route(kwargs)

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> KerasRegressor:
        """Build the model anew, unless ``warm_start``, and train it.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or (n, ...) for a model of your own
        y : array-like of shape (n,) or (n, n_outputs)
        sample_weight : array-like of shape (n,), default=None
            A batch's loss is the weighted mean over its rows.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For rows that cannot be read, a last layer and a loss that do not fit each other, or a loss that diverges.
        """
        return self._fit(X, y, sample_weight)

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> KerasRegressor:
        """Train for one more epoch.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
        y : array-like of shape (n,) or (n, n_outputs)
        sample_weight : array-like of shape (n,), default=None

        Returns
        -------
        self
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: ArrayLike) -> NDArray:
        """Prediction for each row.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), or (n, n_outputs) for several targets
        """
        outputs = self._outputs(X)
        return outputs[:, 0] if self.y_ndim_ == 1 else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _checked_data(self, X: Any, y: Any, sample_weight: Any, reset: bool) -> TrainingData:
        return regression_data(self, X, y, sample_weight, reset=reset, allow_nd=not self._is_ours)

    def _meta_of_target(self) -> dict[str, Any]:
        kind = "continuous" if self.n_outputs_ == 1 else "continuous-multioutput"
        return {"n_outputs_": self.n_outputs_, "target_type_": kind}

    def _check_ending(self, loss: Any, activation: str, units: int) -> None:
        check_regressor(activation, units, self.n_outputs_)

    def _loss_target(self, y: NDArray, loss: Any, units: int) -> NDArray:
        return y

    def _labels(self, y: NDArray) -> NDArray:
        return y[:, 0] if self.y_ndim_ == 1 else y
