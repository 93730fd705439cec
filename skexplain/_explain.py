"""explain and importances: from a model and rows to a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.pipeline import Pipeline

from ._columns import Groups, column_names, columns_of_groups, resolve_groups, sum_groups
from ._head import Output
from ._inputs import is_several
from ._network import Network, chunks
from ._subject import Subject, seed_of, subject_of, truth_of
from ._targets import Asked, asked_of, checked_target, contrasted, is_all, names_of, target_name
from ._wrap import EstimatorNetwork, unnested
from .attributions._base import Attributed
from .attributions._completeness import pick
from .attributions._registry import get_attribution, same
from .exceptions import UnsupportedModelError
from .explanation import Explanation, Importances
from .text import TextExplanation
from .text._texts import is_texts, refuse_columns

#: Rows attributed at once; bounds the memory of `importances`.
ROWS = 2048


def explain(
    model: Any,
    X: Any,
    *,
    attribution: Any = None,
    background: Any = None,
    target: Any = "predicted",
    output: Output = "margin",
    groups: Groups | None = None,
    feature_names: Sequence[str] | None = None,
    random_state: Any = None,
) -> Explanation | TextExplanation:
    """Which columns move the network's output, row by row.

    Parameters
    ----------
    model : object
        A `keras.Model`, a `torch.nn.Module`, a fitted estimator of this library, skorch, scikeras or
        `keras.wrappers`, scikit-learn's `MLPClassifier` or `MLPRegressor`, or a `Pipeline` that ends in one.
    X : array-like or DataFrame of shape (n, n_columns), or (n, *features) for raw networks, or list of str
        Rows to explain; or texts, for networks behind a tokenizer.
    attribution : str or object, default=None
        Strategy: a name or an object of `skexplain.attributions`. None: the model's own if it has one, else
        ``"expected_gradients"``.
    background : array-like, default=None
        Typical rows to compare with, in the columns of X. None: rows kept from training if the model has
        them, else up to 100 rows of X. For texts the entry of the vocabulary that stands in the place of a token; None:
        the mask token if there is one, else that for unknown words.
    target : "predicted", "all", label, array of n labels, or callable, default="predicted"
        Output to explain. "predicted": the class that the network predicts for the row. For
        regressors with several outputs "predicted" means all, and a label is an index. A raw network that ends in
        several linear units is taken for a classifier; of a regressor make an estimator by `from_fitted` first.
        A callable is a linear function of the outputs ``(n, n_outputs)``, such as one class against another:
        ``lambda outputs: outputs[:, 1] - outputs[:, 0]``.
    output : {"margin", "logit", "probability"}, default="margin"
        Scale of a classifier's outputs. Margin: the class's logit minus the mean of the others'.
    groups : dict of str to list of columns, "correlated", "steps" or "features", default=None
        Columns that are attributed together; columns not named stay alone. "correlated": those of `correlated_groups`.
        Of sequences ``(steps, features)`` "steps" are all features of a step, counted from 0, and "features" a feature
        at all steps; where a convolution slides over the second axis of the rows, steps are along that.
    feature_names : sequence of str, default=None
        Names of the columns, if X has none; of sequences also one for each feature.
    random_state : int, RandomState or None, default=None
        Repeats stochastic strategies. None: the model's own.

    Returns
    -------
    Explanation, or `skexplain.text.TextExplanation` for texts

    Raises
    ------
    ValueError
        For rows the model cannot read, or an unknown strategy, target, scale or column.
    CompletenessError
        When a strategy that adds up does not.
    UnsupportedModelError
        When the model cannot be explained by this strategy.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> import skexplain
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> net = MLPClassifier(max_iter=2000, random_state=0).fit(X, y)
    >>> skexplain.explain(net, X, random_state=0).values.shape
    (150, 4)
    """
    if is_texts(X):
        from .text._explain import explain_texts

        refuse_columns(groups, feature_names)
        return explain_texts(
            model,
            X,
            attribution=attribution,
            background=background,
            target=target,
            output=output,
            random_state=random_state,
        )
    s = subject_of(model, X, None, attribution, background, output, groups, feature_names, random_state)
    if not getattr(s.strategy, "local", hasattr(s.strategy, "attribute")):
        raise ValueError(
            f"attribution={s.strategy} explains no single rows; use `importances`, or one of the local strategies."
        )
    explained = explained_rows(s, checked_target(target, len(s.rows), s.network.classes))
    return Explanation(
        **explained._asdict(),
        data=X,
        names=s.names,
        strategy=s.named,
        output=output,
        random_state=s.seed,
        outputs=s.network.classes,
        columns=s.columns,
        row_shape=_row_shape(s),
        groups=s.asked,
    )


class Explained(NamedTuple):
    """Attributions of rows to groups of columns; see `Explanation` for the attributes."""

    values: NDArray
    base_values: NDArray
    predictions: NDArray
    error: NDArray | None
    target: NDArray | None
    gap: float | None
    probabilities: NDArray | None


def explained_rows(s: Subject, target: Any) -> Explained:
    """Attribute the output that is asked for, of each row of a subject; ``target`` as `checked_target` returns it."""
    rows = s.read(s.rows)
    outputs = s.network.predict(rows)
    asked = asked_of(target, outputs, s.network)
    parts = _attributed(s, rows, asked)
    values = np.stack([p.values for p in parts], axis=-1)
    error = None if parts[0].error is None else np.stack([_given(p.error) for p in parts], axis=-1)
    base = np.stack(contrasted([_base(s, t) for t in asked.targets], asked), axis=-1)
    predictions = np.stack(contrasted([pick(outputs, t) for t in asked.targets], asked), axis=-1)
    chances = _probabilities(s.network, outputs)
    if chances is not None and asked.contrast is None:
        chances = np.stack([pick(chances, t) for t in asked.targets], axis=-1)
    else:
        chances = None
    gaps = [p.gap for p in parts if p.gap is not None]
    one = not is_all(target, s.network)
    return Explained(
        values=values[..., 0] if one else values,
        base_values=base[..., 0] if one else base,
        predictions=predictions[..., 0] if one else predictions,
        error=error[..., 0] if one and error is not None else error,
        target=names_of(target, asked, s.network.classes) if one else None,
        gap=max(gaps, default=None),
        probabilities=chances[..., 0] if one and chances is not None else chances,
    )


def _probabilities(network: Network, outputs: NDArray) -> NDArray | None:
    """Probabilities of the outputs ``(n, n_outputs)``, where they are what the model takes for such."""
    votes = isinstance(network, EstimatorNetwork) and not hasattr(network.model, "predict_proba")
    return None if votes or network.head.kind == "linear" else np.exp(network.head.log_probabilities(outputs))


def attributions_of(s: Subject, target: Any) -> NDArray:
    """Values ``(n, n_groups)`` of the one output of each row that is asked for; see `explain`."""
    rows, target = s.read(s.rows), checked_target(target, len(s.rows), s.network.classes)
    return _attributed(s, rows, asked_of(target, s.network.predict(rows), s.network))[0].values


def _row_shape(s: Subject) -> tuple[int, ...] | None:
    """Shape of a row as the network reads it, if it has one, and each of its numbers is a column by itself."""
    alone = len(s.groups) == s.rows[0].size and all(len(g) == 1 and g[0] == j for j, g in enumerate(s.groups))
    return s.rows.shape[1:] if s.rows.ndim > 2 and alone else None


def importances(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    attribution: Any = None,
    background: Any = None,
    target: Any = "predicted",
    output: Output = "margin",
    groups: Groups | None = None,
    feature_names: Sequence[str] | None = None,
    random_state: Any = None,
) -> Importances:
    """How much each column matters to the network, averaged over rows.

    For local strategies the mean absolute attribution (of a group: of its sum); for global ones, such as
    permutation, their own measure.

    Parameters
    ----------
    model, attribution, background, target, output, groups, feature_names, random_state
        As in `explain`. For strategies that train anew (LOCO, conditional permutation) any estimator, fitted or not.
    X : array-like or DataFrame, or list of str
        Rows to average over; for permutation, rows that the model was not trained on. Of texts, the importance of each
        word is averaged over its occurrences.
    y : array-like of shape (n,), default=None
        True targets, for strategies that need them.

    Returns
    -------
    Importances, or `skexplain.text.WordImportances` for texts

    Raises
    ------
    ValueError, CompletenessError, UnsupportedModelError
        As in `explain`; also when the strategy needs y and there is none.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> import skexplain
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> net = MLPClassifier(max_iter=2000, random_state=0).fit(X, y)
    >>> skexplain.importances(net, X, random_state=0).names[0]
    'sepal length (cm)'
    """
    if is_texts(X):
        from .text._explain import explain_texts

        refuse_columns(groups, feature_names)
        return explain_texts(
            model,
            X,
            y,
            attribution=attribution,
            background=background,
            target=target,
            output=output,
            random_state=random_state,
        ).to_importances()
    own = getattr(model, "attribution", None) if attribution is None else attribution
    if getattr(strategy := get_attribution(own or "expected_gradients"), "needs_estimator", False):
        return _retrained(model, X, y, strategy, output, groups, feature_names, random_state)
    s = subject_of(model, X, y, attribution, background, output, groups, feature_names, random_state)
    if getattr(strategy, "needs_training", False):
        return _global(_watched(model, s), s.names, s.named, output, len(s.rows), s.seed, s.asked)
    if getattr(s.strategy, "local", hasattr(s.strategy, "attribute")):
        return _averaged(s, target, output)
    truth = _truth(y, len(s.rows), s.strategy)
    rng = np.random.default_rng(s.seed)
    measured = s.strategy.importances(s.network, s.rows, truth, s.groups, rng)
    return _global(measured, s.names, s.named, output, len(s.rows), s.seed, s.asked)


def _retrained(
    model: Any,
    X: Any,
    y: Any,
    strategy: Any,
    output: Output,
    groups: Groups | None,
    feature_names: Sequence[str] | None,
    random_state: Any,
) -> Importances:
    """By a strategy that trains the estimator anew, in the columns that it reads."""
    seed = seed_of(model, random_state)
    estimator = getattr(model, "_estimator", getattr(model, "best_estimator_", model))
    if is_several(X):
        raise ValueError(
            f"attribution={strategy} leaves out columns of one table, but X is several inputs. Use "
            "attribution='permutation'."
        )
    rows = X if hasattr(X, "iloc") or issparse(X) else np.asarray(X)
    if rows.ndim != 2:
        raise ValueError(f"attribution={strategy} leaves out columns of a table, but X has the shape {rows.shape}.")
    columns = column_names(X, feature_names, estimator, rows.shape[1])
    names, members = resolve_groups(groups, columns, rows)
    truth = _truth(y, rows.shape[0], strategy)
    measured = strategy.retrain(estimator, rows, truth, members, np.random.default_rng(seed))
    asked = columns_of_groups(names, columns, members)
    return _global(measured, names, strategy, output, rows.shape[0], seed, asked)


def _watched(model: Any, s: Subject) -> tuple[NDArray, NDArray]:
    """Read off what a strategy's watcher has seen of the training."""
    model = unnested(getattr(model, "_explained", model))
    last = model[-1] if isinstance(model, Pipeline) else model
    watcher, by = getattr(last, "_seen_training", (None, None))
    if not same(s.strategy, by):
        kind = type(getattr(last, "_estimator", last)).__name__
        raise UnsupportedModelError(
            f"attribution={s.strategy} watches the network train, but this {kind} was "
            f"{'trained without it' if by is None else f'watched by {by}'}. Set it before fit, as in "
            "skexplain.torch.NeuralNetClassifier(attribution='viann') or skexplain.keras.KerasClassifier(attribution="
            "'viann'); in a training of your own use the callbacks of skexplain.training; or use "
            "attribution='permutation'."
        )
    values = s.strategy.watched(watcher)
    return np.array([values[columns].sum() for columns in s.groups]), np.full(len(s.groups), np.nan)


def _truth(y: Any, n: int, strategy: Any) -> Any:
    if y is None and getattr(strategy, "needs_y", True):
        raise ValueError(f"attribution={strategy} compares predictions with the truth; pass y.")
    return None if y is None else truth_of(y, n)


def _global(
    measured: tuple[NDArray, NDArray],
    names: tuple[str, ...],
    strategy: Any,
    output: Output,
    n: int,
    seed: int,
    groups: dict[str, tuple[str, ...]],
) -> Importances:
    """The result of a strategy that measures columns over all rows."""
    signed, error = measured
    return Importances(
        names=names,
        values=_finite(np.maximum(signed, 0), strategy),
        signed=np.asarray(signed, dtype=np.float64),
        error=np.asarray(error, dtype=np.float64),
        strategy=strategy,
        output=output,
        target="all",
        n_rows=n,
        random_state=seed,
        groups=groups,
    )


def _averaged(s: Subject, target: Any, output: Output) -> Importances:
    """Mean |attribution| over rows, in blocks of rows, so that memory does not grow with their number."""
    target = checked_target(target, len(s.rows), s.network.classes)
    n, d = len(s.rows), len(s.names)
    size, square, signed, sampling, shared, gaps = *np.zeros((5, d)), []
    classes = None if is_all(target, s.network) or callable(target) else s.network.classes
    per_class = np.zeros((0 if classes is None else len(classes), d))
    members = np.zeros(len(per_class))
    for block in chunks(n, ROWS):
        rows = s.read(s.rows[block])
        part = target[block] if isinstance(target, np.ndarray) else target
        asked = asked_of(part, s.network.predict(rows), s.network)
        parts = _attributed(s, rows, asked)
        absolute = np.mean([np.abs(p.values) for p in parts], axis=0)
        size += absolute.sum(axis=0)
        square += (absolute**2).sum(axis=0)
        signed += np.mean([p.values for p in parts], axis=0).sum(axis=0)
        errors = [_given(p.error) for p in parts if p.error is not None]
        sampling += sum((e**2).sum(axis=0) for e in errors) / len(parts)
        shared += sum(e.sum(axis=0) for e in errors) / len(parts)
        gaps += [p.gap for p in parts if p.gap is not None]
        for k in range(len(per_class)):
            per_class[k] += absolute[asked.targets[0] == k].sum(axis=0)
            members[k] += np.count_nonzero(asked.targets[0] == k)
    variance = np.maximum(square / n - (size / n) ** 2, 0) / max(n - 1, 1)
    if getattr(s.strategy, "shared_error", False):
        variance = variance + (shared / n) ** 2
    else:  # rows differ by their sampling error too; that of a single row is all there is
        variance = np.maximum(variance, sampling / n**2)
    labels = [] if classes is None else [(label, k) for k, label in enumerate(classes) if members[k]]
    return Importances(
        names=s.names,
        values=_finite(size / n, s.strategy),
        signed=signed / n,
        error=np.sqrt(variance),
        strategy=s.named,
        output=output,
        target=target_name(target),
        n_rows=n,
        random_state=s.seed,
        per_class={label: per_class[k] / members[k] for label, k in labels},
        gap=max(gaps, default=None),
        groups=s.asked,
    )


def _attributed(s: Subject, rows: NDArray, asked: Asked) -> list[Attributed]:
    """Attributions ``(n, n_groups)`` of each output that is asked for."""
    if asked.contrast is not None and not getattr(s.strategy, "signed", True):
        raise ValueError(
            f"attribution={s.strategy} gives sizes without a sign, which cannot be added up to those of a function "
            "of the outputs; pass a label as target, or another strategy."
        )
    if hasattr(s.strategy, "attribute_groups"):
        parts = _attribute_groups(s, rows, np.array(asked.targets))
    else:
        parts = [_attribute(s, rows, t) for t in asked.targets]
    if asked.contrast is None:
        return parts
    values = contrasted([p.values for p in parts], asked)[0]
    # errors of several outputs come from the same draws, so they may add up
    sizes = asked._replace(contrast=np.abs(asked.contrast))
    error = None if parts[0].error is None else contrasted([_given(p.error) for p in parts], sizes)[0]
    return [Attributed(values, error, max((p.gap for p in parts if p.gap is not None), default=None))]


def _attribute_groups(s: Subject, rows: NDArray, targets: NDArray) -> list[Attributed]:
    """Call a strategy that replaces groups jointly, and check what it returns."""
    rng = np.random.default_rng(s.seed)
    result = s.strategy.attribute_groups(s.network, rows, s.background, s.groups, targets, rng)
    result = result if isinstance(result, Attributed) else Attributed(np.asarray(result, dtype=np.float64))
    shape = (len(targets), len(rows), len(s.groups))
    if result.values.shape != shape:
        raise ValueError(f"{s.strategy} returned attributions of shape {result.values.shape}, not {shape}.")
    values = _finite(result.values, s.strategy)
    errors = [None] * len(targets) if result.error is None else list(result.error)
    return [Attributed(v, e, result.gap) for v, e in zip(values, errors, strict=True)]


def _attribute(s: Subject, rows: NDArray, target: NDArray) -> Attributed:
    """Call the strategy on rows, check what it returns, and sum it over groups."""
    result = s.strategy.attribute(s.network, rows, s.background, target, np.random.default_rng(s.seed))
    result = result if isinstance(result, Attributed) else Attributed(np.asarray(result, dtype=np.float64))
    if result.values.shape != rows.shape:
        raise ValueError(
            f"{s.strategy} returned attributions of shape {result.values.shape} for rows of shape {rows.shape}."
        )
    values = sum_groups(_finite(result.values, s.strategy).reshape(len(rows), -1), s.groups)
    if result.error is None:
        return result._replace(values=values)
    variance = sum_groups(result.error.reshape(len(rows), -1) ** 2, s.groups)
    return result._replace(values=values, error=np.sqrt(variance))


def _base(s: Subject, target: NDArray) -> NDArray:
    """Mean output over the strategy's reference, for each row's target; NaN where it has none."""
    if not getattr(s.strategy, "complete", False):
        return np.full(len(target), np.nan)
    return s.network.predict(s.strategy.reference(s.background)).mean(axis=0)[target]


def _given(error: NDArray | None) -> NDArray:
    assert error is not None
    return error


def _finite(values: ArrayLike, strategy: Any) -> NDArray:
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(
            f"{strategy} returned NaN or infinity. Look for diverged weights or for a division or logarithm near zero "
            "in the model."
        )
    return values
