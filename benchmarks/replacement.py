"""Permutation importance and ablation."""

from __future__ import annotations

import numpy as np
from sklearn.inspection import permutation_importance

from skexplain.attributions import Permutation

from ._case import Case, Setting
from ._problems import data, products
from .training import LAYERS, twins

REPEATS = 5


def permutation_importance_skorch(setting: Setting) -> Case:
    """scikit-learn's permutation_importance on ours, 1000 x 30, 5 repeats, MLP 64-32"""
    X, y = data(setting.size(1000))
    peer, ours = twins(setting, X, y)

    def measured(net) -> np.ndarray:
        return permutation_importance(net, X, y, n_repeats=REPEATS, random_state=0).importances_mean

    gap = float(np.abs(measured(peer) - measured(ours)).max())
    return Case("skorch", lambda: measured(peer), lambda: measured(ours), 10, (0.0, gap), "difference", 1e-3)


def permutation_skorch(setting: Setting) -> Case:
    """strategy permutation beside scikit-learn's on skorch, 1000 x 30, 5 repeats, MLP 64-32"""
    X, y = data(setting.size(1000))
    peer, ours = twins(setting, X, y)
    strategy = Permutation(scoring="accuracy", n_repeats=REPEATS)

    def theirs() -> np.ndarray:
        return permutation_importance(peer, X, y, n_repeats=REPEATS, random_state=0).importances_mean

    def values() -> np.ndarray:
        return ours.importances(X, y, attribution=strategy, random_state=0).signed

    exact = permutation_importance(ours, X, y, n_repeats=50, random_state=1).importances_mean
    errors = (float(np.abs(theirs() - exact).max()), float(np.abs(values() - exact).max()))
    runs = len(X) * REPEATS * X.shape[1]
    bare = products([(len(X), *LAYERS[0]), *[(runs, a, b) for a, b in LAYERS[1:]]], setting.device)
    return Case("skorch", theirs, values, 30, errors, "largest error beside 50 repeats", 0.02, bare)
