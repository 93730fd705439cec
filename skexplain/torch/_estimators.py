"""NeuralNetClassifier and NeuralNetRegressor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import skorch
from numpy.typing import ArrayLike, NDArray
from skorch.dataset import Dataset
from torch import nn
from torch.utils.data import DataLoader

from .._data import TrainingData, classification_data, regression_data, standardisation
from ._callbacks import accuracy
from ._criterion import assumed_activation, auto_criterion, check_classifier_head, class_margins, class_probabilities
from ._net import TorchEstimator

CLASSIFIER_CRITERION = (
    'The loss. "auto": cross-entropy on logits if the module has no last activation; the matching loss if it ends in\n'
    "        softmax (as skorch's do), log_softmax or sigmoid."
)
_AUTO = 'class, instance or "auto", default="auto"'
_PARAMETERS = """\
    module : class, callable, module instance or None, default=None
        The network. A class or function is called with its ``module__*`` parameters; widths under one of the usual
        names (``n_features``, ``input_dim``, ``in_features``, ..., ``n_outputs``, ``n_classes``, ``output_dim``, ...)
        come from the data, lazy layers fit themselves. Of an instance a copy is trained, with new weights unless
        ``warm_start``. None: `ColumnGatedMLP`, which standardises raw columns and finds those that
        matter; it and `MLP` take sizes and scales from the data.
    criterion : class, instance or "auto", default="auto"
        <criterion>
    optimizer : class or "auto", default="auto"
        "auto": Adam for the default module; for others SGD, as in skorch.
    lr : float or "auto", default="auto"
        Learning rate. "auto": 0.003 for the default module; for others 0.01, as in skorch.
    max_epochs : int or "auto", default="auto"
        "auto": up to 200 for the default module at each sparsity that is tried, stopped when the loss on a tenth of the
        rows no longer falls; for others 10, as in skorch. A number is the number of epochs.
    batch_size : int or "auto", default="auto"
        "auto": 64 for the default module; for others 128, as in skorch. -1: all rows.
    train_split : callable, None or "auto", default="auto"
        How rows are held out to watch the loss. "auto": a stratified tenth for the default module if there are at
        least 100 rows and ``max_epochs="auto"``; for others a stratified fifth, as in skorch. None: no rows.
    random_state : int, RandomState or None, default=None
        Makes fit and importances repeatable, and leaves torch's and NumPy's generators alone. None: torch's
        generator is used.
    input_shape : tuple of int, default=None
        Shape of one row as the module reads it, such as (channels, height, width) of pictures or (steps, features) of
        sequences. X stays a table of as many columns, for scikit-learn and in all results. None: rows are as they are.
        The default module reads them flat.
    categorical : list of names or indices, "auto" or None, default=None
        Columns of levels rather than numbers. "auto": those of a frame that are text, categories or booleans. Levels
        become codes: 0 for one that was not there in training, 1 for a missing value, 2 and on for the others. The
        default module embeds them. A module of yours whose ``forward`` takes two arguments gets codes
        ``(n, n_categorical)``, of integers, and numbers ``(n, n_numeric)``; one that takes one gets the table with
        codes in their columns. How many codes there are it can take as ``cardinalities`` (a dict from column to
        number), or as ``emb_szs`` (pairs of number and embedding width), beside ``n_cont``, the number of others.
    dtype : {"float32", "float64"}, default="float32"
        Of weights and data.
    attribution : str or object, default="expected_gradients"
        Strategy behind ``feature_importances_``: a name or an object of `skexplain.attributions`.
    importance_rows : int, default=1000
        Most training rows that importances are computed from.
    keep_rows : bool, default=True
        Keep these rows and compute importances when they are first read. False: compute them at the end of ``fit``
        and keep no row, for models that leave the building.
    iterator_train, iterator_valid, dataset, callbacks, predict_nonlinearity, warm_start, device, compile
        As in skorch. Rows are shuffled each epoch unless ``iterator_train__shuffle=False``.
    use_caching, torch_load_kwargs
        As in skorch.
    verbose : int, default=0
        1 prints skorch's table of losses.
    **kwargs
        ``module__*``, ``optimizer__*``, ``criterion__*``, ``iterator_train__*``, ``callbacks__*``: as in skorch.
"""


class NeuralNetClassifier(TorchEstimator, skorch.NeuralNetClassifier):
    def __init__(
        self,
        module: Any = None,
        *,
        criterion: Any = "auto",
        optimizer: Any = "auto",
        lr: Any = "auto",
        max_epochs: Any = "auto",
        batch_size: Any = "auto",
        iterator_train: Any = DataLoader,
        iterator_valid: Any = DataLoader,
        dataset: Any = Dataset,
        train_split: Any = "auto",
        callbacks: Any = None,
        predict_nonlinearity: Any = "auto",
        warm_start: bool = False,
        verbose: int = 0,
        device: Any = "cpu",
        compile: bool = False,
        use_caching: Any = "auto",
        torch_load_kwargs: Any = None,
        classes: ArrayLike | None = None,
        class_weight: Any = None,
        random_state: Any = None,
        input_shape: Sequence[int] | None = None,
        categorical: Any = None,
        dtype: str = "float32",
        attribution: Any = "expected_gradients",
        importance_rows: int = 1000,
        keep_rows: bool = True,
        **kwargs: Any,
    ) -> None:
        params = {k: v for k, v in locals().items() if k not in ("self", "kwargs", "__class__")}
        super().__init__(**params, **kwargs)

    @property
    def classes_(self) -> NDArray:
        """Labels, sorted; while training their indices, in which skorch's callbacks see y."""
        found = self.__dict__.get("classes_inferred_")
        if found is None:
            if self.classes is None:
                raise AttributeError(f"This {type(self).__name__} has seen no classes yet; call `fit`.")
            found = np.sort(np.asarray(self.classes))
        return found if self._training is None else np.arange(len(found))

    @classes_.setter
    def classes_(self, labels: NDArray) -> None:
        self.classes_inferred_ = labels

    activation_: Any

    def initialize_criterion(self) -> Any:
        """Build ``criterion_``, after a look at what the module returns."""
        kwargs, rows = self.get_params_for("criterion"), self._first_batch
        activation, n_raw = (None, None) if rows is None else self._observe(rows)
        criterion = self.criterion
        if isinstance(criterion, str) and criterion == "auto":
            criterion = auto_criterion(activation or "linear", n_raw)
        self.criterion_ = self._in_dtype(self.initialized_instance(criterion, kwargs))
        if activation is not None:
            # a dataset's labels are not known beforehand
            n_classes = len(self.classes_) if self._training is not None else None
            check_classifier_head(self.criterion_, activation, n_raw, n_classes)
        elif rows is not None:
            activation = assumed_activation(self.criterion_)
        self.activation_ = activation
        return self

    def predict(self, X: Any) -> NDArray:
        """Most probable label of each row, ``(n,)``."""
        index = self.predict_proba(X).argmax(axis=1)
        return self.classes_[index] if hasattr(self, "classes_") else index

    def predict_proba(self, X: Any) -> NDArray:
        """Probability of each class, ``(n, n_classes)``, float64."""
        if isinstance(self.predict_nonlinearity, str) and self.predict_nonlinearity == "auto":
            return class_probabilities(self._outputs(X), getattr(self, "activation_", "linear"))
        out = self._get_predict_nonlinearity()(self._outputs(X))
        return out.double().cpu().numpy()

    def decision_function(self, X: Any) -> NDArray:
        """Margins, ``(n, n_classes)``; of the second class, ``(n,)``, when there are two."""
        margins, _ = class_margins(self._outputs(X), getattr(self, "activation_", "linear"))
        return margins[:, 1] if margins.shape[1] == 2 else margins

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of the rows whose label is predicted, weighted by ``sample_weight``."""
        if sample_weight is not None:
            return super().score(X, y, sample_weight)
        return accuracy(y, self.predict(X))

    def _check_training(self, X: Any, y: Any, sample_weight: Any, classes: Any, *, reset: bool) -> TrainingData:
        return classification_data(
            self,
            X,
            y,
            sample_weight,
            class_weight=self.class_weight,
            classes=self.classes if classes is None else classes,
            reset=reset,
            allow_nd=self.module is not None,
        )

    def _original_targets(self, y: NDArray) -> NDArray:
        return self.classes_[y]

    def _n_raw(self) -> int:
        one_unit = isinstance(self.criterion, type) and issubclass(self.criterion, nn.BCELoss | nn.BCEWithLogitsLoss)
        one_unit |= isinstance(self.criterion, nn.BCELoss | nn.BCEWithLogitsLoss)
        return 1 if one_unit and len(self.classes_) == 2 else len(self.classes_)


class NeuralNetRegressor(TorchEstimator, skorch.NeuralNetRegressor):
    def __init__(
        self,
        module: Any = None,
        *,
        criterion: Any = nn.MSELoss,
        optimizer: Any = "auto",
        lr: Any = "auto",
        max_epochs: Any = "auto",
        batch_size: Any = "auto",
        iterator_train: Any = DataLoader,
        iterator_valid: Any = DataLoader,
        dataset: Any = Dataset,
        train_split: Any = "auto",
        callbacks: Any = None,
        predict_nonlinearity: Any = "auto",
        warm_start: bool = False,
        verbose: int = 0,
        device: Any = "cpu",
        compile: bool = False,
        use_caching: Any = "auto",
        torch_load_kwargs: Any = None,
        random_state: Any = None,
        input_shape: Sequence[int] | None = None,
        categorical: Any = None,
        dtype: str = "float32",
        attribution: Any = "expected_gradients",
        importance_rows: int = 1000,
        keep_rows: bool = True,
        **kwargs: Any,
    ) -> None:
        params = {k: v for k, v in locals().items() if k not in ("self", "kwargs", "__class__")}
        super().__init__(**params, **kwargs)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def initialize_criterion(self) -> Any:
        """Build ``criterion_``, after a look at how many numbers the module returns."""
        criterion = self.initialized_instance(self.criterion, self.get_params_for("criterion"))
        self.criterion_ = self._in_dtype(criterion)
        if self._training is not None:
            n_raw = self._observe(self._first_batch)[1]
            if n_raw not in (None, self.n_outputs_):
                raise ValueError(
                    f"The module returns {n_raw} numbers a row, but y has {self.n_outputs_}. Let the module take its "
                    "number of outputs as `n_outputs`, or change its last layer."
                )
        return self

    def predict(self, X: Any) -> NDArray:
        """Prediction for each row, ``(n,)`` or ``(n, n_outputs)``, float64."""
        out = self._outputs(X).double().cpu().numpy()
        return out.reshape(len(out)) if getattr(self, "y_ndim_", 1) == 1 and out[:1].size == 1 else out

    @property
    def predict_proba(self) -> Any:
        """Not there: a regressor has no probabilities."""
        raise AttributeError(f"{type(self).__name__} has no `predict_proba`; use `predict`.")

    def _check_training(self, X: Any, y: Any, sample_weight: Any, classes: Any, *, reset: bool) -> TrainingData:
        return regression_data(self, X, y, sample_weight, reset=reset, allow_nd=self.module is not None)

    def _original_targets(self, y: NDArray) -> NDArray:
        return y.ravel() if self.n_outputs_ == 1 else y

    def _n_raw(self) -> int:
        return self.n_outputs_

    def _learned_params(self, data: TrainingData) -> dict:
        target_mean, target_scale = standardisation(data.y, data.weight)
        return super()._learned_params(data) | {"target_mean": target_mean, "target_scale": target_scale}


NeuralNetClassifier.__doc__ = f"""A PyTorch network as a scikit-learn classifier with ``feature_importances_``.

    A `skorch.NeuralNetClassifier` with the same parameters, callbacks and histories, that takes any array, frame or
    label, reads widths from the data, and knows which columns matter. With no arguments it is a good default.

    Parameters
    ----------
{_PARAMETERS.replace("<criterion>", CLASSIFIER_CRITERION)}
    classes : array-like, default=None
        All labels, when y may lack some.
    class_weight : dict, "balanced" or None, default=None
        As in scikit-learn.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    feature_importances_ : ndarray of shape (n_features_in_,)
        Non-negative, sums to 1.
    importances_ : Importances
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
    module_, criterion_, optimizer_, history_ : as in skorch

    Raises
    ------
    ValueError
        From ``fit``: NaN in X, one class, a loss that does not fit the module's last activation, a diverging loss.

    See Also
    --------
    skexplain.keras.KerasClassifier : the same for Keras.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skexplain.torch import NeuralNetClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = NeuralNetClassifier(module__hidden=(16,), max_epochs=20, random_state=0).fit(X, y)
    >>> clf.feature_importances_.shape
    (4,)
    """

NeuralNetRegressor.__doc__ = f"""A PyTorch network as a scikit-learn regressor with ``feature_importances_``.

    A `skorch.NeuralNetRegressor` with the same parameters, callbacks and histories, that takes any array, frame or
    target shape, reads widths from the data, and knows which columns matter. With no arguments it is a good default.

    Parameters
    ----------
{_PARAMETERS.replace("<criterion>", "The loss.").replace(_AUTO, "class or instance, default=nn.MSELoss", 1)}
    Attributes
    ----------
    feature_importances_ : ndarray of shape (n_features_in_,)
        Non-negative, sums to 1.
    importances_ : Importances
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
    n_outputs_ : int
    module_, criterion_, optimizer_, history_ : as in skorch

    Raises
    ------
    ValueError
        From ``fit``: NaN in X, a module with another number of outputs than y, a diverging loss.

    See Also
    --------
    skexplain.keras.KerasRegressor : the same for Keras.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skexplain.torch import NeuralNetRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> reg = NeuralNetRegressor(module__hidden=(16,), max_epochs=20, random_state=0).fit(X, y)
    >>> reg.feature_importances_.shape
    (10,)
    """
