"""The networks that are asked: the estimators' default, and a plain MLP trained in the same way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skexplain.attributions import (
    ATTRIBUTIONS,
    LOCO,
    SAGE,
    ConditionalPermutation,
    Permutation,
    ShapleySampling,
    get_attribution,
)
from skexplain.exceptions import CompletenessError, UnsupportedModelError
from skexplain.torch import MLP, NeuralNetClassifier, NeuralNetRegressor

from ._record import Split, timed

#: The strategy behind ``feature_importances_`` when nothing is set.
DEFAULT = NeuralNetClassifier().attribution
#: Smaller budgets than the strategies' own, where these would take most of the benchmark's time.
BUDGETS: dict[str, Any] = {
    "sage": SAGE(tol=0.2, n_background=16),
    "shapley_sampling": ShapleySampling(tol=0.2),
    "loco": LOCO(cv=2),
    "conditional_permutation": ConditionalPermutation(cv=2),
}
#: Most columns of strategies that train anew without each, or go through all sets of columns.
MOST_COLUMNS = {"loco": 10, "exact_shapley": 12}
CONDITIONAL = "permutation (conditional)"


def default_network(labels: bool, seed: int) -> Any:
    """What a user gets who sets nothing."""
    return (NeuralNetClassifier if labels else NeuralNetRegressor)(random_state=seed)


def plain_mlp(labels: bool, seed: int) -> Any:
    """`MLP`, trained as the default is."""
    return (NeuralNetClassifier if labels else NeuralNetRegressor)(MLP, random_state=seed)


NETWORKS: dict[str, Callable[[bool, int], Any]] = {"default network": default_network, "plain MLP": plain_mlp}


def strategies() -> dict[str, Any]:
    """Every registered strategy that a network of a table can be asked by; parameters by `BUDGETS`."""
    every = {name: BUDGETS.get(name, get_attribution(name)) for name in ATTRIBUTIONS}
    asked = {k: s for k, s in every.items() if not (s.needs_convolution or s.needs_attention)}
    return asked | {CONDITIONAL: Permutation(conditional=True)}


def ask(make: Callable[[bool, int], Any], split: Split, seed: int) -> tuple[Any, float, dict[str, tuple[Any, float]]]:
    """A fitted network, its seconds, and by strategy the values (or why there are none) and the seconds.

    Strategies that watch the training look on at one training, all together.
    """
    asked = strategies()
    watchers = {name: s.watcher() for name, s in asked.items() if s.needs_training}
    net = make(split.labels, seed)
    watched = make(split.labels, seed)
    watched.set_params(callbacks=[*(watched.callbacks or []), *watchers.items()])
    refused = ""
    try:
        net, seconds = timed(lambda: watched.fit(split.X, split.y))
    except UnsupportedModelError as exc:
        refused = str(exc)
        net, seconds = timed(lambda: net.fit(split.X, split.y))
    answers: dict[str, tuple[Any, float]] = {}
    for name, strategy in asked.items():
        if strategy.needs_training:
            answers[name] = (refused or strategy.watched(watchers[name]), 0.0)
        elif split.X.shape[1] > MOST_COLUMNS.get(name, np.inf):
            answers[name] = f"not asked about more than {MOST_COLUMNS[name]} columns", 0.0
        else:
            answers[name] = timed(lambda strategy=strategy: values(net, strategy, split, seed))
    return net, seconds, answers


def values(net: Any, strategy: Any, split: Split, seed: int) -> NDArray | str:
    """Importances on the rows not trained on (trained on, if the strategy trains anew), or why there are none."""
    X, y = (split.X, split.y) if strategy.needs_estimator else (split.X_other, split.y_other)
    try:
        return net.importances(X, y, attribution=strategy, random_state=seed).values
    except (UnsupportedModelError, CompletenessError) as exc:
        return str(exc)
