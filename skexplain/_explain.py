"""explain and importances: from a model and rows to a result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, check_random_state

from ._columns import Groups, column_names, resolve_groups, sum_groups, trace_columns
from ._head import Output
from ._network import Network, chunks
from ._wrap import EstimatorNetwork, as_network, frameworks, unwrap
from .attributions._base import Attributed
from .attributions._completeness import pick
from .attributions._registry import get_attribution
from .explanation import Explanation, Importances

#: Most background rows that are drawn by ourselves.
BACKGROUND_ROWS = 100
#: Rows attributed at once; bounds the memory of `importances`.
ROWS = 2048


@dataclass(frozen=True)
class _Subject:
    """A model ready to be explained, with the rows as its network reads them."""

    network: Network
    rows: NDArray
    background: NDArray
    names: tuple[str, ...]
    groups: list[NDArray]
    strategy: Any
    seed: int


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
) -> Explanation:
    """Which columns move the network's output, row by row.

    Parameters
    ----------
    model : object
        A `keras.Model`, a `torch.nn.Module`, a fitted estimator of this library, skorch, scikeras or
        `keras.wrappers`, scikit-learn's `MLPClassifier` or `MLPRegressor`, or a `Pipeline` that ends in one.
    X : array-like or DataFrame of shape (n, n_columns), or (n, *features) for raw networks
        Rows to explain.
    attribution : str or object, default=None
        Strategy: a name or an object of `skexplain.attributions`. None: the model's own if it has one, else
        ``"expected_gradients"``.
    background : array-like, default=None
        Typical rows to compare with, in the columns of X. None: rows kept from training if the model has
        them, else up to 100 rows of X.
    target : "predicted", "all", label, or array of n labels, default="predicted"
        Output to explain. "predicted": the class that the network predicts for the row. For
        regressors with several outputs "predicted" means all, and a label is an index.
    output : {"margin", "logit", "probability"}, default="margin"
        Scale of a classifier's outputs. Margin: the class's logit minus the mean of the others'.
    groups : dict of str to list of columns, default=None
        Columns that are attributed together; columns not named stay alone.
    feature_names : sequence of str, default=None
        Names of the columns, if X has none.
    random_state : int, RandomState or None, default=None
        Repeats stochastic strategies. None: the model's own.

    Returns
    -------
    Explanation

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
    s = _subject(model, X, None, attribution, background, output, groups, feature_names, random_state)
    if not getattr(s.strategy, "local", hasattr(s.strategy, "attribute")):
        raise ValueError(
            f"attribution={s.strategy} explains no single rows; use `importances`, or one of the local strategies."
        )
    outputs = s.network.predict(s.rows)
    targets = _targets(target, outputs, s.network)
    parts = [_attribute(s, s.rows, t) for t in targets]
    values = np.stack([p.values for p in parts], axis=-1)
    error = None if parts[0].error is None else np.stack([_given(p.error) for p in parts], axis=-1)
    base = np.stack([_base(s, t) for t in targets], axis=-1)
    predictions = np.stack([pick(outputs, t) for t in targets], axis=-1)
    gaps = [p.gap for p in parts if p.gap is not None]
    one = not _is_all(target, s.network)
    classes = s.network.classes
    return Explanation(
        values=values[..., 0] if one else values,
        base_values=base[..., 0] if one else base,
        predictions=predictions[..., 0] if one else predictions,
        data=X,
        names=s.names,
        strategy=s.strategy,
        output=output,
        random_state=s.seed,
        error=error[..., 0] if one and error is not None else error,
        target=(targets[0] if classes is None else classes[targets[0]]) if one else None,
        outputs=classes,
        gap=max(gaps, default=None),
    )


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
        As in `explain`.
    X : array-like or DataFrame
        Rows to average over; for permutation, rows that the model was not trained on.
    y : array-like of shape (n,), default=None
        True targets, for strategies that need them.

    Returns
    -------
    Importances

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
    s = _subject(model, X, y, attribution, background, output, groups, feature_names, random_state)
    if getattr(s.strategy, "local", hasattr(s.strategy, "attribute")):
        return _averaged(s, target, output)
    if y is None and getattr(s.strategy, "needs_y", True):
        raise ValueError(f"attribution={s.strategy} compares predictions with the truth; pass y.")
    truth = None if y is None else _truth(y, len(s.rows))
    rng = np.random.default_rng(s.seed)
    signed, error = s.strategy.importances(s.network, s.rows, truth, s.groups, rng)
    return Importances(
        names=s.names,
        values=_finite(np.maximum(signed, 0), s.strategy),
        signed=np.asarray(signed, dtype=np.float64),
        error=np.asarray(error, dtype=np.float64),
        strategy=s.strategy,
        output=output,
        target="all",
        n_rows=len(s.rows),
        random_state=s.seed,
    )


def _averaged(s: _Subject, target: Any, output: Output) -> Importances:
    """Mean |attribution| over rows, in blocks of rows, so that memory does not grow with their number."""
    d = len(s.names)
    size, square, signed = np.zeros(d), np.zeros(d), np.zeros(d)
    sampling, gaps, count = np.zeros(d), [], 0
    classes = s.network.classes if len(_targets(target, np.zeros((1, s.network.n_outputs)), s.network)) == 1 else None
    per_class = np.zeros((0 if classes is None else len(classes), d))
    members = np.zeros(len(per_class))
    for block in chunks(len(s.rows), ROWS):
        rows = s.rows[block]
        whole = target if isinstance(target, str) or np.ndim(target) == 0 else np.asarray(target)[block]
        for t in _targets(whole, s.network.predict(rows), s.network):
            part = _attribute(s, rows, t)
            absolute = np.abs(part.values)
            size += absolute.sum(axis=0)
            square += (absolute**2).sum(axis=0)
            signed += part.values.sum(axis=0)
            sampling += 0 if part.error is None else (part.error**2).sum(axis=0)
            count += len(rows)
            gaps += [] if part.gap is None else [part.gap]
            for k in range(len(per_class)):
                per_class[k] += absolute[t == k].sum(axis=0)
                members[k] += np.count_nonzero(t == k)
    mean = size / count
    spread = np.maximum(square / count - mean**2, 0) + sampling / count
    labels = [] if classes is None else [(label, k) for k, label in enumerate(classes) if members[k]]
    return Importances(
        names=s.names,
        values=_finite(mean, s.strategy),
        signed=signed / count,
        error=np.sqrt(spread / max(count - 1, 1)),
        strategy=s.strategy,
        output=output,
        target=target if isinstance(target, str) else str(np.asarray(target).tolist()),
        n_rows=len(s.rows),
        random_state=s.seed,
        per_class={label: per_class[k] / members[k] for label, k in labels},
        gap=max(gaps, default=None),
    )


def _subject(
    model: Any,
    X: Any,
    y: Any,
    attribution: Any,
    background: Any,
    output: Output,
    groups: Groups | None,
    feature_names: Sequence[str] | None,
    random_state: Any,
) -> _Subject:
    own = getattr(model, "attribution", None) or "expected_gradients"
    strategy = get_attribution(own if attribution is None else attribution)
    seed = _seed(model, random_state)
    model = getattr(model, "_explained", model)
    outside = not getattr(strategy, "needs_gradient", True) and not _is_network(model)
    pipeline = isinstance(model, Pipeline)
    if outside:
        network: Network = EstimatorNetwork(model, X, output)
        rows = network.encode(X)
        back = rows[:0]
        origin = [np.array([j]) for j in range(rows.shape[1])]
        names = column_names(X, feature_names, model, rows.shape[1])
    elif pipeline:
        X = X if hasattr(X, "iloc") else np.asarray(X)
        names = column_names(X, feature_names, model, X.shape[1])
        *_, last = model
        transform = model[:-1].transform if len(model) > 1 else (lambda Z: Z)
        rows, origin = trace_columns(transform, X, names)
        back = None if background is None else np.asarray(transform(background), dtype=np.float64)
        rows = _readable(last, rows)
        with _reading(rows):
            network = as_network(last, rows[:BACKGROUND_ROWS], y=y, output=output)
        back = _background(last, rows, back, seed)
    else:
        rows = _readable(model, X)
        with _reading(rows):
            network = as_network(model, rows[:BACKGROUND_ROWS], y=None if y is None else np.asarray(y), output=output)
        width = int(np.prod(rows.shape[1:]))
        names = column_names(X, feature_names, model, width)
        origin = [np.array([j]) for j in range(width)]
        back = _background(model, rows, background, seed)
    with _reading(rows):
        network.predict(rows[:1])
    group_names, members = resolve_groups(groups, names)
    flat = [np.concatenate([origin[j] for j in g]).astype(np.intp) for g in members]
    return _Subject(network, rows, back, group_names, flat, strategy, seed)


def _is_network(model: Any) -> bool:
    """Whether the model has a network of its own, and no steps before it."""
    raw = unwrap(model)[0] if frameworks(model) & {"skorch", "scikeras", "keras", "torch"} else model
    mlp = type(raw).__name__ in ("MLPClassifier", "MLPRegressor")
    return hasattr(model, "_network") or mlp or bool(frameworks(raw) & {"keras", "torch"})


def _readable(model: Any, X: Any) -> NDArray:
    """Rows as the network reads them, checked."""
    if hasattr(model, "_check_rows"):
        return model._check_rows(X)
    return check_array(X, dtype="numeric", allow_nd=True, estimator=type(model).__name__)


@contextmanager
def _reading(rows: NDArray) -> Iterator[None]:
    """Say which rows a framework could not read, in front of its own words."""
    try:
        yield
    except (RuntimeError, IndexError, ArithmeticError) as exc:
        raise ValueError(f"The model cannot read rows of shape {rows.shape[1:]}: {exc}") from exc


def _background(model: Any, rows: NDArray, background: Any, seed: int) -> NDArray:
    if background is None:
        kept = getattr(model, "_kept_background", None)
        if kept is not None:
            return kept
        order = np.random.default_rng(seed).permutation(len(rows))[:BACKGROUND_ROWS]
        return rows[np.sort(order)]
    background = _readable(model, background)
    if background.shape[1:] != rows.shape[1:]:
        raise ValueError(f"background has rows of shape {background.shape[1:]}, X has rows of shape {rows.shape[1:]}.")
    return background


def _seed(model: Any, random_state: Any) -> int:
    own = getattr(model, "_importance_seed", None)
    if random_state is None and own is not None:
        return int(own)
    if random_state is None:  # leave NumPy's global generator alone
        return int(np.random.SeedSequence().generate_state(1)[0] >> 1)
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _is_all(target: Any, network: Network) -> bool:
    several = network.classes is None and network.n_outputs > 1
    return isinstance(target, str) and (target == "all" or (target == "predicted" and several))


def _targets(target: Any, outputs: NDArray, network: Network) -> list[NDArray]:
    """Output indices to explain, one array of length n for each output that is asked for."""
    n, k = outputs.shape
    if _is_all(target, network):
        return [np.full(n, j) for j in range(k)]
    if isinstance(target, str) and target == "predicted":
        return [outputs.argmax(axis=1)]
    labels: list[Any] = list(range(k)) if network.classes is None else network.classes.tolist()
    position = {label: j for j, label in enumerate(labels)}
    wanted = np.asarray(target)
    asked = wanted.tolist() if wanted.ndim else [wanted.item()] * n
    missing = [label for label in asked if label not in position]
    if missing:
        what = "outputs are" if network.classes is None else "classes are"
        raise ValueError(f"target={missing[0]!r} does not exist; {what} {labels}, or 'predicted', or 'all'.")
    if wanted.ndim and len(asked) != n and n > 1:
        raise ValueError(f"target has {len(asked)} labels for {n} rows.")
    return [np.array([position[label] for label in asked][:n])]


def _attribute(s: _Subject, rows: NDArray, target: NDArray) -> Attributed:
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


def _base(s: _Subject, target: NDArray) -> NDArray:
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


def _truth(y: Any, n: int) -> NDArray:
    y = np.asarray(y)
    y = y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y
    if len(y) != n:
        raise ValueError(f"y has {len(y)} values for {n} rows of X.")
    return y
