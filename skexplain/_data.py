"""What comes into fit and predict: one set of checks for both frameworks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, validate_data

from ._categories import Categories, as_table
from ._network import chunks, rows_at_once, rowwise

#: Rounding step of a column, as a fraction of its standard deviation, of which the user is warned.
COARSE = 0.02


class TrainingData(NamedTuple):
    """Rows to train on.

    Attributes
    ----------
    X : ndarray of shape (n, n_features_in_) or (n, *input_shape)
    y : ndarray
        Class indices ``(n,)`` for classifiers, targets ``(n, n_outputs)`` for regressors.
    weight : ndarray of shape (n,) or None
        None when all rows weigh the same.
    """

    X: NDArray
    y: NDArray
    weight: NDArray | None


def classification_data(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    *,
    class_weight: Any = None,
    classes: Any = None,
    reset: bool = True,
    allow_nd: bool = False,
) -> TrainingData:
    """Check rows and labels, set ``classes_``, and merge the weights.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_``, ``feature_names_in_`` and ``classes_``; its ``dtype`` is the dtype of X, its
        ``input_shape``, if not None, the shape that flat rows are given. With ``categorical`` it gets ``categories_``.
    X, y, sample_weight : array-like
        ``y`` may be labels of any type, a column, or one-hot rows.
    class_weight : dict, "balanced" or None
        As in scikit-learn.
    classes : array-like, optional
        All labels, when y may lack some.
    reset : bool
        False to continue a fit: columns and labels must be those of the first call.
    allow_nd : bool
        Whether rows may have more than one dimension. If not, ``input_shape`` is checked, but they stay flat.

    Raises
    ------
    ValueError
        For an ``input_shape`` of another size than the rows, fewer than two classes, a label not among the classes,
        and all that scikit-learn refuses.
    """
    check_dtype(estimator.dtype)
    given_X = X
    X = _checked_rows(estimator, X, reset=reset, allow_nd=allow_nd)
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.")
    warn_if_coarse(X, given_X, getattr(estimator, "feature_names_in_", None), "X")
    y = _labels(y)
    check_consistent_length(X, y)
    check_classification_targets(y)
    weight = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float64)
    X, y, weight = _without_zero_weights(X, y, weight)
    if reset:
        found = np.unique(y)
        estimator.classes_ = found if classes is None else np.sort(np.asarray(classes))
        if len(estimator.classes_) < 2:
            raise ValueError(
                f"y has only one class, {found.tolist()}; a classifier needs rows of at least two classes."
            )
    index = label_index(y, estimator.classes_)
    if class_weight is not None:
        factor = compute_sample_weight(class_weight, y)
        weight = factor if weight is None else weight * factor
    return TrainingData(_in_shape(estimator, X, allow_nd), index, _uneven(weight))


def regression_data(
    estimator: Any, X: Any, y: Any, sample_weight: Any, *, reset: bool = True, allow_nd: bool = False
) -> TrainingData:
    """Check rows and targets and remember in ``y_ndim_`` how predictions are to be shaped.

    Parameters and errors as in `classification_data`.
    """
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.")
    check_dtype(estimator.dtype)
    given_X, given_y = X, y
    X = _checked_rows(estimator, X, reset=reset, allow_nd=allow_nd)
    y = check_array(y, dtype=estimator.dtype, ensure_2d=False, input_name="y", estimator=estimator)
    check_consistent_length(X, y)
    warn_if_coarse(X, given_X, getattr(estimator, "feature_names_in_", None), "X")
    warn_if_coarse(y, given_y, None, "y")
    if y.ndim > 2:
        raise ValueError(f"y has {y.ndim} dimensions; pass (n,) or (n, n_outputs).")
    n_outputs = 1 if y.ndim == 1 else y.shape[1]
    if reset:
        # a single column is one target, however it was passed
        estimator.y_ndim_ = 1 if n_outputs == 1 else 2
        estimator.n_outputs_ = n_outputs
    elif n_outputs != estimator.n_outputs_:
        raise ValueError(f"y has {n_outputs} columns, but {estimator.n_outputs_} in the first call.")
    y = y.reshape(len(y), n_outputs)
    weight = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float64)
    X, y, weight = _without_zero_weights(X, y, weight)
    return TrainingData(_in_shape(estimator, X, allow_nd), y, _uneven(weight))


def check_dtype(dtype: Any) -> None:
    """Refuse a ``dtype`` that networks are not trained in."""
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype={dtype!r} is not supported; pass 'float32' or 'float64'.")


def prediction_rows(estimator: Any, X: Any, *, allow_nd: bool = False) -> NDArray:
    """Rows to predict, checked against the columns of fit."""
    return _in_shape(estimator, _checked_rows(estimator, X, reset=False, allow_nd=allow_nd), allow_nd)


def _checked_rows(estimator: Any, X: Any, *, reset: bool, allow_nd: bool) -> NDArray:
    """Rows as the user passes them, codes for levels; flat ones, if the estimator gives them their shape."""
    shape = input_shape_of(estimator)
    if getattr(estimator, "categorical", None) is not None:
        if shape is not None:
            raise ValueError(
                f"categorical={estimator.categorical!r} is for tables, input_shape={shape} for pictures and sequences; "
                "leave out one of the two."
            )
        return _coded_rows(estimator, X, reset=reset)
    X = validate_data(estimator, X, dtype=estimator.dtype, reset=reset, allow_nd=allow_nd and shape is None)
    if shape is not None and math.prod(shape) != X.shape[1]:
        raise ValueError(
            f"input_shape={shape} has {math.prod(shape)} numbers, but X has {X.shape[1]} columns. Pass the shape of "
            "one row as the network reads it, such as (height, width, channels)."
        )
    return X


def _coded_rows(estimator: Any, X: Any, *, reset: bool) -> NDArray:
    """Rows with codes in the place of levels; ``reset`` learns the levels."""
    X = as_table(X)
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    names = getattr(estimator, "feature_names_in_", None)
    if reset:
        estimator.categories_ = Categories.of(X, estimator.categorical, names)
    return estimator.categories_.encode(X, names, estimator.dtype, estimator)


def input_shape_of(estimator: Any) -> tuple[int, ...] | None:
    """The shape that the estimator gives flat rows, None if it leaves them as they are."""
    shape = getattr(estimator, "input_shape", None)
    if shape is None:
        return None
    numbers = tuple(shape) if isinstance(shape, Sequence | np.ndarray) and not isinstance(shape, str) else ()
    if not numbers or not all(isinstance(k, int | np.integer) and k >= 1 for k in numbers):
        raise ValueError(f"input_shape={shape!r} must be the shape of a row, such as (8, 8, 1), or None.")
    return tuple(int(k) for k in numbers)


def _in_shape(estimator: Any, X: NDArray, allow_nd: bool) -> NDArray:
    """Checked rows in the shape in which the network reads them; the default network reads them flat."""
    shape = input_shape_of(estimator) if allow_nd else None
    return X if shape is None else X.reshape(len(X), *shape)


def warn_if_coarse(values: NDArray, given: Any, names: Any, what: str) -> None:
    """Warn of columns so far from 0, for their spread, that float32 holds few or none of their digits.

    Parameters
    ----------
    values : ndarray of shape (n,) or (n, ...)
        As they are trained on.
    given : array-like or DataFrame
        As the user passed them.
    names : sequence of str or None
    what : str
        Name of the argument.
    """
    if values.dtype != np.float32 or len(values) < 2 or values.ndim > 2:
        return
    columns = values.reshape(len(values), -1)
    step = np.finfo(np.float32).eps * np.maximum(columns.max(axis=0), -columns.min(axis=0))
    suspects = np.flatnonzero((step > 0) & (step > COARSE * moments(columns)[1]))
    spread = {j: _column(given, int(j)).std() for j in suspects}
    coarse = [j for j in suspects if spread[j] > 0 and step[j] > COARSE * spread[j]]
    if coarse:
        which = [str(names[j]) if names is not None else f"{what}[:, {j}]" for j in coarse[:5]]
        warnings.warn(
            f"{len(coarse)} column(s) of {what}, such as {which}, lie so far from 0 that float32 rounds away much of "
            "their variation. Pass dtype='float64', or subtract a constant.",
            UserWarning,
            stacklevel=4,
        )


def _column(X: Any, j: int) -> NDArray:
    """A column as it was passed, in double precision."""
    column = X.iloc[:, j] if hasattr(X, "iloc") and X.ndim == 2 else np.reshape(np.asarray(X), (len(X), -1))[:, j]
    return np.asarray(column, dtype=np.float64)


def _labels(y: Any) -> NDArray:
    """Labels as a 1-D array; one-hot rows become indices."""
    y = check_array(y, ensure_2d=False, dtype=None, input_name="y", ensure_all_finite=False)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("Input y contains NaN or infinity.")
    if y.ndim == 2 and y.shape[1] > 1:
        if type_of_target(y) == "multilabel-indicator" and np.all(y.sum(axis=1) == 1):
            return y.argmax(axis=1)
        raise ValueError(
            f"y has shape {y.shape}; a classifier takes one label a row, or one-hot rows. For several labels a row use "
            "sklearn.multioutput.MultiOutputClassifier."
        )
    return column_or_1d(y, warn=True)


def label_index(y: NDArray, classes: NDArray) -> NDArray:
    """Index in ``classes`` of each label of y.

    Raises
    ------
    ValueError
        For a label that is not among them.
    """
    order = np.argsort(classes)
    index = order[np.minimum(np.searchsorted(classes, y, sorter=order), len(classes) - 1)]
    unknown = classes[index] != y
    if np.any(unknown):
        raise ValueError(
            f"y contains the label {y[unknown].tolist()[0]!r}, which is not among the classes {classes.tolist()}."
        )
    return index


def _without_zero_weights(X: NDArray, y: NDArray, weight: NDArray | None) -> tuple:
    """Rows of weight 0 must be as good as absent, also for the standardisation."""
    if weight is None:
        return X, y, None
    if np.any(weight < 0):
        raise ValueError(f"sample_weight contains {weight.min()}; weights must not be negative.")
    used = weight > 0
    if not np.any(used):
        raise ValueError("sample_weight is 0 for every row; at least one row must count.")
    return (X, y, weight) if np.all(used) else (X[used], y[used], weight[used])


def _uneven(weight: NDArray | None) -> NDArray | None:
    """None for equal weights, so that ones are bit-identical to none."""
    return None if weight is None or np.all(weight == weight[0]) else weight


def standardisation(X: NDArray, weight: NDArray | None = None) -> tuple[NDArray, NDArray]:
    """Mean and standard deviation of the columns, 1 where a column is constant."""
    mean, scale = moments(X, weight)
    constant = scale <= 10 * np.finfo(np.float32).eps * np.maximum(np.abs(mean), np.finfo(np.float32).tiny)
    return mean, np.where(constant, 1.0, scale)


def moments(X: NDArray, weight: NDArray | None = None) -> tuple[NDArray, NDArray]:
    """Mean and standard deviation of the columns in double precision, without a copy of X in it."""
    w = np.ones(len(X)) if weight is None else weight

    def mean_of(function: Callable[[NDArray], NDArray]) -> NDArray:
        parts = [
            (function(X[block].astype(np.float64)) * rowwise(w[block], X)).sum(axis=0)
            for block in chunks(len(X), rows_at_once(X))
        ]
        return np.sum(parts, axis=0) / w.sum()

    mean = mean_of(lambda rows: rows)
    return mean, np.sqrt(mean_of(lambda rows: (rows - mean) ** 2))


def held_out(y: NDArray, classification: bool, fraction: float, rng: np.random.RandomState) -> tuple[NDArray, NDArray]:
    """Indices to train on and to hold out, the latter spread evenly over the sorted target."""
    order = rng.permutation(len(y))
    key = y if classification else y.reshape(len(y), -1)[:, 0]
    out = evenly_over(key, order, round(fraction * len(y)), rng.uniform())
    return np.setdiff1d(np.arange(len(y)), out), np.sort(out)


def evenly_over(key: NDArray, order: NDArray, m: int, start: float) -> NDArray:
    """m of the rows, evenly spaced along the sorted key: stratified by class or by quantile.

    Parameters
    ----------
    key : ndarray of shape (n,)
    order : int ndarray of shape (n,)
        Decides between rows of equal keys.
    m : int
    start : float
        Of the first row, in [0, 1) of a spacing.
    """
    order = order[np.argsort(key[order], kind="stable")]
    return order[np.floor((np.arange(m) + start) * len(key) / m).astype(int)]


def check_loss(loss: float, epoch: int, learning_rate: Any) -> None:
    """Refuse to go on training when the loss is not a number.

    Raises
    ------
    ValueError
        Naming the epoch, the learning rate and what to do.
    """
    if not np.isfinite(loss):
        raise ValueError(
            f"The training loss is {loss} in epoch {epoch}: the fit has diverged. Lower the learning rate (it is "
            f"{learning_rate}), standardise the columns and the target, or check the loss and the last activation."
        )


def typical_rows(X: NDArray, n: int = 8) -> NDArray:
    """Made-up rows within the range of X, integers where a column is of integers; none is a row of X.

    Enough to see what a network does with rows, where no training row is to be kept.
    """
    t = np.random.default_rng(0).uniform(-1, 1, (n, *X.shape[1:]))
    mean, std = moments(X)
    rows = np.clip(mean + t * std, X.min(axis=0), X.max(axis=0))
    whole = np.all([(np.round(X[b]) == X[b]).all(axis=0) for b in chunks(len(X), rows_at_once(X))], axis=0)
    return np.where(whole, np.round(rows), rows).astype(X.dtype)
