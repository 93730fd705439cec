"""One model on one fold: clone, fit, score, and the two importances that are compared."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import get_scorer
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from ._clone import seeded
from ._columns import Groups, resolve_groups, trace_columns
from ._estimator import spread_rows
from ._explain import importances
from ._subject import is_network
from ._wrap import unnested
from .attributions import Permutation
from .exceptions import CompletenessError, InterruptedWarning, UnsupportedModelError

#: Training rows that a network behind other steps is explained on; its own default elsewhere.
OWN_ROWS = 1000


class Fold(NamedTuple):
    """What is kept of one model on one fold; ``note`` says why own importances are NaN, or do not sum to 1."""

    score: float
    own: NDArray
    permutation: NDArray
    note: str | None


def run_fold(
    model: Any,
    X: Any,
    y: NDArray,
    split: tuple[NDArray, NDArray],
    seed: int,
    *,
    names: Sequence[str],
    groups: Groups | None,
    scoring: str | Callable,
    n_repeats: int,
) -> Fold:
    """Fit a clone on the training rows, measure it on the others."""
    train, test = split
    X_train, X_test = _safe_indexing(X, train), _safe_indexing(X, test)
    fitted = seeded(model, seed).fit(X_train, y[train])
    score = float(get_scorer(scoring)(fitted, X_test, y[test]))
    note = None
    with ending_when_interrupted():
        try:
            own = own_importances(fitted, X_train, y[train], names=names, groups=groups, seed=seed)
            if own is None:
                note = f"a {type(_last(fitted)).__name__} has no importances of its own"
        except (UnsupportedModelError, CompletenessError) as exc:
            # a strategy's refusal is a result, and no reason to lose the other models
            own, note = None, str(exc)
        shuffled = importances(
            fitted,
            X_test,
            y[test],
            attribution=Permutation(n_repeats=n_repeats, scoring=scoring),
            groups=groups,
            feature_names=names,
            random_state=seed,
        )
    if own is not None and len(own) > len(shuffled):
        joint, own = own[len(shuffled) :].sum(), own[: len(shuffled)]
        note = note_of_joint(joint) if joint > 0 else None
    return Fold(score, np.full(len(shuffled), np.nan) if own is None else own, shuffled.signed, note)


def note_of_joint(share: float) -> str:
    """For importances that do not sum to 1."""
    return (
        f"{100 * share:.3g} % of its own importances, on a fold, belong to what several columns do together, such as "
        "a product, and to none of them; skexplain.importances(...) says to which."
    )


@contextmanager
def ending_when_interrupted() -> Iterator[None]:
    """Of a single model the samples drawn so far are welcome; here they would only delay the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", InterruptedWarning)
        try:
            yield
        except InterruptedWarning as exc:
            raise KeyboardInterrupt from exc


def own_importances(
    model: Any, X: Any, y: NDArray, *, names: Sequence[str], groups: Groups | None, seed: int
) -> NDArray | None:
    """What a fitted model itself calls important, for the user's columns or groups.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search over one
    X, y : array-like or DataFrame of shape (n, n_columns), ndarray of shape (n,)
        The rows that it was trained on.
    names, groups
        Columns, and groups of them.
    seed : int

    Returns
    -------
    ndarray of shape (n_features,), or with more behind these, or None
        With sum 1. For networks their attribution strategy, what several columns do together behind the columns; for
        models with ``feature_importances_`` these,
        summed back from a pipeline's columns to the user's. None for models without either.
    """
    model = unnested(model)
    last = _last(model)
    if is_network(last):
        if last is model and groups is None and hasattr(last, "importances_"):
            return last.importances_.normalized
        rows = spread_rows(y, OWN_ROWS, np.random.default_rng(seed))
        result = importances(
            model,
            _safe_indexing(X, rows),
            y[rows],
            attribution=getattr(last, "attribution", None),
            groups=groups,
            feature_names=names,
            random_state=seed,
        )
        return result.normalized
    if not hasattr(last, "feature_importances_"):
        return None
    values = np.asarray(last.feature_importances_, dtype=np.float64)
    if last is not model and len(model) > 1:  # a pipeline of one step transforms nothing
        _, origin = trace_columns(model[:-1].transform, X, names)
        values = np.array([values[columns].sum() for columns in origin])
    _, members = resolve_groups(groups, names)
    values = np.array([values[columns].sum() for columns in members])
    total = values.sum()
    return values / total if total > 0 else values


def _last(model: Any) -> Any:
    return model.steps[-1][1] if isinstance(model, Pipeline) else model
