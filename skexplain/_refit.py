"""refit_importances: how much importances vary with the sampling, the seed and the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_consistent_length, check_scalar

from ._clone import reseeded, seeds_of
from ._columns import Groups, column_names, correlated_groups, resolve_groups
from ._components import components
from ._explain import importances
from ._fold import ending_when_interrupted, own_importances
from ._head import Output
from ._inputs import is_several
from ._jobs import in_turn
from ._refit_result import RefitImportances
from ._subject import is_network, seed_of, truth_of
from ._wrap import unnested
from .attributions._registry import get_attribution
from .exceptions import UnsupportedModelError
from .explanation import Importances
from .metrics._trained import check_trainable, fitted, last_step
from .text._texts import is_texts


def refit_importances(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    n_resamples: int = 10,
    n_seeds: int | None = None,
    n_repeats: int = 2,
    train_size: float = 1 / 3,
    attribution: Any = None,
    target: Any = "predicted",
    output: Output = "margin",
    groups: Groups | None = None,
    feature_names: Sequence[str] | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> RefitImportances:
    """Importances with three errors: by the sampling of the strategy, by the seed of the training, and by the data.

    To find out how sure an importance is. Clones are trained on parts of the rows, with several seeds, and each is
    explained, several times, on rows that it has not seen.

    Parameters
    ----------
    estimator : estimator or Pipeline
        A network of this library, or anything of scikit-learn's. It is cloned; every ``random_state`` in it is set.
    X : array-like or DataFrame of shape (n, n_columns), or array of shape (n, *features)
    y : array-like of shape (n,)
    n_resamples : int, default=10
        Resamples of the rows, at least 2: two parts of ``train_size`` each, without a row in common, stratified for
        classifiers. Each part is trained on, and the other explained.
    n_seeds : int, default=None
        Trainings on each part, at least 2. None: 2, or 1 for estimators without a ``random_state``, whose
        model component is not known.
    n_repeats : int, default=2
        Explanations of each trained estimator, with other draws, at least 2.
    train_size : float, default=1/3
        Fraction of the rows that is trained on, below 1/2. With more, what is measured comes closer to an estimator
        trained on half of the rows, and intervals over data get wider.
    attribution : str or object, default=None
        Strategy. None: that of a network; the ``feature_importances_`` of other estimators, which are explained once.
    target, output, feature_names
        As in `importances`.
    groups : dict of str to list of columns, "correlated", "steps" or "features", default=None
        As in `importances`; correlations are those of all rows.
    random_state : int, RandomState or None, default=None
        Of resamples, trainings and explanations.
    n_jobs : int, default=None
        Fits at the same time, in processes that share the processors among them, as in scikit-learn. The result is
        the same.

    Returns
    -------
    RefitImportances
        ``interval(level, over=...)`` says what each interval contains.

    Raises
    ------
    UnsupportedModelError
        For what cannot be trained anew, a strategy that trains by itself (``"loco"``), and estimators without
        importances if no attribution is given.
    ValueError
        For fewer than two resamples, seeds or repeats, a ``train_size`` outside (0, 1/2), ``n_seeds`` for an estimator
        without a ``random_state``, a class with too few rows, and all that scikit-learn and the estimators refuse.

    See Also
    --------
    importances : of one trained estimator; its ``interval`` is over rows and sampling.
    compare : several estimators.
    skexplain.metrics.stability : whether refits agree on the order of the columns.

    Notes
    -----
    What is measured is the mean importance, on held-out rows, by estimators trained on a third of the rows
    (``train_size``). One trained on all of them may rely on more columns. Rows are taken to be independent.

    Variances are found by the method of moments and none is counted twice: what differs between seeds has the
    sampling's noise in it, and what differs between resamples that of both. Those found below 0 are set to 0.

    Resamples share rows, so their mean varies more than their spread shows: by ``(1 / J + rho / (1 - rho)) s²`` for J
    resamples with the correlation rho and the variance s² that is due to rows. This is Nadeau and Bengio's correction.
    They take the part of rows that is held out for rho, which is right for scores of a stable learner. Importances vary
    with the rows trained on as well, and with both together: a row that raises a slope also raises the loss that
    shuffling its column costs. With rows trained on and held out changing places, the mean of a resample is a mean over
    its rows, and rho the part of all rows that it has, 2/3. Seeds and draws are not shared and need no correction.
    Degrees of freedom over data are Satterthwaite's, at least 2: where seeds differ more than data, the data's part
    is badly known, and intervals are wide; take more seeds.

    Cost: ``2 n_resamples n_seeds`` fits and ``n_repeats`` explanations of each.

    References
    ----------
    C. Nadeau, Y. Bengio, "Inference for the generalization error", Machine Learning 52, 2003.
    J. Shao, C. F. J. Wu, "A general theory for jackknife variance estimation", Annals of Statistics 17, 1989.
    S. Searle, G. Casella, C. McCulloch, "Variance components", Wiley 1992, sec. 3.6.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> import skexplain
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> result = skexplain.refit_importances(RandomForestRegressor(10), X, y, random_state=0)
    >>> low, high = result.interval(0.95, over="model")
    >>> [name for name, a in zip(result.names, low) if a > 0.1]
    ['bmi', 's5']
    """
    check_trainable(estimator)
    strategy = None if attribution is None else _once(get_attribution(attribution))
    X, y = _rows(X, y)
    n_seeds = _n_seeds(estimator, n_seeds)
    check_scalar(n_repeats, "n_repeats", Integral, min_val=2)
    if isinstance(groups, str) and groups == "correlated":  # of all rows, so that no split has others
        groups = correlated_groups(X, feature_names=feature_names)
    seed = seed_of(None, random_state)
    of_resamples, of_fits, of_repeats = np.random.SeedSequence(seed).spawn(3)
    labels = y if is_classifier(estimator) and y.ndim == 1 else None
    parts = _resamples(X, labels, n_resamples, train_size, int(of_resamples.generate_state(1)[0]))
    fits = _seeds(of_fits, n_seeds, len(parts))
    repeats = _seeds(of_repeats, int(n_repeats), n_seeds * len(parts)).reshape(-1, n_seeds, len(parts))
    asked = {"target": target, "output": output, "groups": groups, "feature_names": feature_names}
    tasks = (
        (estimator, X, y, part, int(fits[s, j]), repeats[:, s, j].tolist(), strategy, asked)
        for j, part in enumerate(parts)
        for s in range(n_seeds)
    )
    by_fit = list(in_turn(n_jobs, _measured, tasks))
    results = [r for repeated in by_fit for r in repeated]
    return _summary(results, n_seeds, len(by_fit[0]), 2 * len(parts[0][0]), len(y), seed)


def _summary(
    results: list[Importances], n_seeds: int, n_repeats: int, used: int, n: int, seed: int
) -> RefitImportances:
    """Means and components of the results of all resamples, halves, seeds and repeats, in this order.

    Parameters
    ----------
    results : list of Importances
    n_seeds, n_repeats : int
    used, n : int
        Rows in a resample, and all.
    seed : int
    """
    first = results[0]
    names = tuple(dict.fromkeys(name for r in results for name in r.names))
    names = first.names if all(r.names == first.names for r in results) else names
    values, signed = (
        np.array([_aligned(getattr(r, k), r.names, names) for r in results]) for k in ("values", "signed")
    )
    local = getattr(first.strategy, "local", hasattr(first.strategy, "attribute"))
    centre = (values if local else signed).reshape(-1, 2, n_seeds, n_repeats, len(names))
    explanation, model, data, dof = components(centre, used / (n - used))
    mean = signed.mean(axis=0)
    labels = dict.fromkeys(label for r in results for label in r.per_class)
    return RefitImportances(
        names=names,
        values=values.mean(axis=0) if local else np.maximum(mean, 0),
        signed=mean,
        error=np.sqrt(explanation + np.nan_to_num(model) + data),
        explanation_error=np.sqrt(explanation),
        model_error=np.sqrt(model),
        data_error=np.sqrt(data),
        dof=dof,
        fits=centre.mean(axis=3),
        n_repeats=n_repeats,
        train_size=used // 2,
        strategy=first.strategy,
        output=first.output,
        target=first.target,
        n_rows=n,
        random_state=seed,
        per_class={
            label: np.mean([_aligned(r.per_class[label], r.names, names) for r in results if label in r.per_class], 0)
            for label in labels
        },
        gap=max((r.gap for r in results if r.gap is not None), default=None),
        groups=first.groups,
    )


def _measured(
    estimator: Any,
    X: Any,
    y: NDArray,
    split: tuple[NDArray, NDArray],
    seed: int,
    repeats: list[int],
    strategy: Any,
    asked: dict[str, Any],
) -> list[Importances]:
    """Importances of one clone, by each of some draws."""
    train, test = split
    X_train, X_test = _safe_indexing(X, train), _safe_indexing(X, test)
    model = fitted(reseeded(estimator, seed), X_train, y[train])
    if strategy is None:
        last = last_step(unnested(model))
        if not is_network(last):
            return [_own(model, X_train, y[train], asked, seed)]
        strategy = _once(get_attribution(getattr(last, "attribution", None) or "expected_gradients"))
    with ending_when_interrupted():
        return [importances(model, X_test, y[test], attribution=strategy, random_state=k, **asked) for k in repeats]


def _own(model: Any, X: Any, y: NDArray, asked: dict[str, Any], seed: int) -> Importances:
    """The ``feature_importances_`` of an estimator that is no network."""
    names = column_names(X, asked["feature_names"], None, X.shape[1])
    values = own_importances(model, X, y, names=names, groups=asked["groups"], seed=seed)
    if values is None:
        raise UnsupportedModelError(
            f"A {type(last_step(unnested(model))).__name__} has no importances of its own; pass "
            "attribution='permutation'."
        )
    return Importances(
        names=resolve_groups(asked["groups"], names)[0],
        values=values,
        signed=values,
        error=np.full(len(values), np.nan),
        strategy="feature_importances_",
        output=asked["output"],
        target="all",
        n_rows=X.shape[0],
        random_state=seed,
    )


def _once(strategy: Any) -> Any:
    """Refuse a strategy that trains by itself."""
    if getattr(strategy, "needs_estimator", False):
        raise UnsupportedModelError(
            f"attribution={strategy} trains anew in folds by itself, and corrects its error for them; use "
            "skexplain.importances(..., attribution=...).interval(), or attribution='permutation'."
        )
    return strategy


def _rows(X: Any, y: Any) -> tuple[Any, NDArray]:
    if is_several(X) or is_texts(X):
        kind = "several inputs" if is_several(X) else "texts"
        raise ValueError(f"X is {kind}; pass one table or array of rows, such as the inputs side by side.")
    X = X if hasattr(X, "iloc") or hasattr(X, "tocsr") else np.asarray(X)
    if X.ndim < 2:
        raise ValueError(f"X has {X.ndim} dimension(s); pass rows and columns, (n, n_columns).")
    if y is None:
        raise ValueError("y=None, but clones are to be trained; pass the targets.")
    check_consistent_length(X, y)
    return X.tocsr() if hasattr(X, "tocsr") else X, truth_of(y, X.shape[0])


def _n_seeds(estimator: Any, n_seeds: int | None) -> int:
    known = bool(seeds_of(estimator))
    if n_seeds is None:
        return 2 if known else 1
    check_scalar(n_seeds, "n_seeds", Integral, min_val=2)
    if not known:
        raise ValueError(
            f"n_seeds={n_seeds}, but a {type(estimator).__name__} has no random_state to change, so its model "
            "component is not defined. Leave n_seeds out; if its trainings differ, that is part of the data's."
        )
    return int(n_seeds)


def _resamples(
    X: Any, labels: NDArray | None, n_resamples: int, train_size: float, seed: int
) -> list[tuple[NDArray, NDArray]]:
    """Rows trained on and explained: of each resample twice, the second time the other way round."""
    check_scalar(n_resamples, "n_resamples", Integral, min_val=2)
    check_scalar(train_size, "train_size", Real, min_val=0, max_val=0.5, include_boundaries="neither")
    n = X.shape[0]
    size = int(train_size * n + 1e-9)
    if size < 2 or 2 * size >= n:
        raise ValueError(
            f"train_size={train_size:.3g} of {n} rows leaves {size} to train on and {n - 2 * size} outside of a "
            "resample; at least 2 and 1 are needed. Use more rows."
        )
    classes, members = np.unique([] if labels is None else labels, return_counts=True)
    if len(classes) == 1:
        raise ValueError(f"y has only one class, {classes.tolist()}; a classifier needs at least two.")
    fewest = math.ceil(1 / train_size)
    if members.min(initial=fewest) < fewest:
        rare = classes[members.argmin()].item()
        raise ValueError(
            f"y has {members.min()} row(s) of class {rare!r}, but train_size={train_size:.3g} needs at least {fewest} "
            "of each, so that every part has one. Drop or merge the class."
        )
    splitter = ShuffleSplit if labels is None else StratifiedShuffleSplit
    halves = splitter(int(n_resamples), train_size=size, test_size=size, random_state=seed)
    parts = [pair for a, b in halves.split(np.zeros((n, 1)), labels) for pair in ((a, b), (b, a))]
    for train, _ in parts:
        missing = sorted(set(classes.tolist()) - set(labels[train].tolist())) if labels is not None else []
        if missing:
            raise ValueError(
                f"A part of train_size={train_size:.3g} has no row of class {missing[0]!r}, so importances on it would "
                "be those of another question. Drop or merge the class."
            )
    return parts


def _seeds(sequence: np.random.SeedSequence, n: int, width: int) -> NDArray:
    """Seeds ``(n, width)``; a larger n leaves the first as they are."""
    return (sequence.generate_state(n * width) >> 1).reshape(n, width)


def _aligned(values: NDArray, own: Sequence[str], names: Sequence[str]) -> NDArray:
    """Values under all names; what several columns do together is 0 where a fit has no such thing."""
    if tuple(own) == tuple(names):
        return values
    of = dict(zip(own, values, strict=True))
    return np.array([of.get(name, 0.0) for name in names])
