"""Permutation importance and ablation."""

from __future__ import annotations

import numpy as np
import torch
from captum.attr import FeatureAblation, FeaturePermutation
from sklearn.inspection import permutation_importance
from torch.nn.functional import cross_entropy

from skexplain.attributions import Ablation, Permutation

from ._case import Case, Setting
from ._problems import data, network, products, rms
from .training import LAYERS, twins

REPEATS = 5
#: Of wide rows: all columns, those explained one by one, and how many of these are checked in float64.
COLUMNS, ALONE, CHECKED = 5000, 250, 10
#: Of falls that are themselves a thousandth of the outputs.
ROUNDING = 1e-4
#: The hidden layers behind wide rows.
WIDTHS = (58,) * 5


def permutation_importance_skorch(setting: Setting) -> Case:
    """scikit-learn's permutation_importance on ours, 1000 x 30, 5 repeats, MLP 64-32

    151 predictions of 1000 rows, each checked by scikit-learn and scored by it: these take most of our time.
    """
    X, y = data(setting.size(1000))
    peer, ours = twins(setting, X, y)

    def measured(net) -> np.ndarray:
        return permutation_importance(net, X, y, n_repeats=REPEATS, random_state=0).importances_mean

    gap = float(np.abs(measured(peer) - measured(ours)).max())
    return Case("skorch", lambda: measured(peer), lambda: measured(ours), 10, (0.0, gap), "difference", 1e-3)


def permutation_skorch(setting: Setting) -> Case:
    """strategy permutation beside scikit-learn's on skorch, 1000 x 30, 5 repeats, MLP 64-32

    Of the rest, a third each: activations and updates of the pre-activations; drawing the shuffles; calls of torch, in
    blocks that fit into the caches.
    """
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


def columns(setting: Setting) -> int:
    return setting.size(COLUMNS, 100)


def few_of_many(setting: Setting) -> tuple[list[np.ndarray], torch.Tensor]:
    """250 columns alone and the others together: as our groups, and as captum's mask."""
    alone = setting.size(ALONE)
    mask = np.minimum(np.arange(columns(setting)), alone)
    return [np.flatnonzero(mask == k) for k in range(alone + 1)], torch.as_tensor(mask)[None].to(setting.device)


def wide_products(setting: Setting, n: int) -> object:
    """The first layer once for all rows, the others for each group and once with nothing replaced."""
    runs = n * (setting.size(ALONE) + 2)
    layers = [(runs, a, b) for a, b in zip(WIDTHS, (*WIDTHS[1:], 2), strict=True)]
    return products([(2 * n, columns(setting), WIDTHS[0]), *layers], setting.device)


def permutation_captum_5000(setting: Setting) -> Case:
    """permutation, 1 shuffle, 1000 x 5000 of which 250 columns alone and the rest as one group, MLP 5 x 58

    Captum is given the shuffles that ours draws, and the loss as the function to explain. Half of our time is
    products; the rest are activations, the shuffles (a third of them for the wide group), and the losses.
    """
    n = setting.size(1000)
    X, y = data(n, columns(setting))
    module, ours_network = network(X, WIDTHS, setting.device)
    groups, mask = few_of_many(setting)
    x, labels = torch.as_tensor(X).to(setting.device), torch.as_tensor(y).to(setting.device)
    seeds = np.random.default_rng(0).integers(2**63, size=len(groups))
    orders = [np.random.default_rng(seed).permutation(n) for seed in seeds]

    def shuffled(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        order = orders[int(mask[columns][0])]
        return torch.where(columns, rows[order], rows)

    def theirs(rows: torch.Tensor = x, groups: torch.Tensor = mask) -> np.ndarray:
        def minus_loss(z: torch.Tensor) -> torch.Tensor:
            return -cross_entropy(module(z), labels, reduction="none")

        with torch.no_grad():
            falls = FeaturePermutation(minus_loss, shuffled).attribute(rows, feature_mask=groups)
        return falls.mean(0).cpu().numpy()[: setting.size(ALONE)]

    def ours() -> np.ndarray:
        return Permutation(n_repeats=1).importances(ours_network, X, y, groups, np.random.default_rng(0))[0][:-1]

    got = theirs()[:CHECKED], ours()[:CHECKED]
    module.double()
    exact = theirs(x.double(), mask.clamp(max=CHECKED))[:CHECKED]
    module.float()
    errors = (rms(got[0], exact), rms(got[1], exact))
    bare = wide_products(setting, n)
    return Case("captum", theirs, ours, 12, errors, "root mean squared error beside float64", ROUNDING, bare)


def ablation_captum_5000(setting: Setting) -> Case:
    """ablation from zero, 1000 x 5000 of which 250 columns alone and the rest as one group, MLP 5 x 58

    Half of our time is products; the rest are activations and copies of the wide rows.
    """
    n = setting.size(1000)
    X, _ = data(n, columns(setting))
    module, ours_network = network(X, WIDTHS, setting.device)
    groups, mask = few_of_many(setting)
    x, target = torch.as_tensor(X).to(setting.device), np.ones((1, n), int)
    strategy = Ablation(baseline="zero")

    def theirs(rows: torch.Tensor = x, groups: torch.Tensor = mask) -> np.ndarray:
        with torch.no_grad():
            falls = FeatureAblation(module).attribute(rows, target=1, feature_mask=groups)
        return falls.cpu().numpy()[:, : setting.size(ALONE)]

    def ours() -> np.ndarray:
        result = strategy.attribute_groups(ours_network, X, X[:1], groups, target, np.random.default_rng(0))
        return result.values[0, :, :-1]

    got = theirs()[:, :CHECKED], ours()[:, :CHECKED]
    module.double()
    exact = theirs(x.double(), mask.clamp(max=CHECKED))[:, :CHECKED]
    module.float()
    errors = (rms(got[0], exact), rms(got[1], exact))
    bare = wide_products(setting, n)
    return Case("captum", theirs, ours, 12, errors, "root mean squared error beside float64", ROUNDING, bare)
