"""Many rows of float32 are neither copied whole nor turned into float64."""

import tracemalloc

import numpy as np
import pytest
import torch

import skexplain
from skexplain._data import moments, typical_rows, warn_if_coarse
from skexplain.attributions import Ablation, Permutation

N, D = 200_000, 30
SIZE = N * D * 4


def peak(call):
    """Most bytes that NumPy held at once for the call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(name="X", scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


@pytest.mark.parametrize("check", [moments, typical_rows, lambda X: warn_if_coarse(X, X, None, "X")])
def test_checks_of_rows(check, X):
    assert peak(lambda: check(X)) < 0.8 * SIZE


@pytest.mark.parametrize(
    "strategy",
    ["saliency", Permutation(n_repeats=1), Permutation(n_repeats=1, scoring="accuracy"), Ablation(baseline="mean")],
    ids=str,
)
def test_importances(strategy, X):
    net = torch.nn.Sequential(torch.nn.Linear(D, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    y = np.arange(N) % 2
    fitted = skexplain.from_fitted(net, X[:200], y[:200], random_state=0)
    groups = {"first": list(range(10)), "second": list(range(10, D))}
    fitted.importances(X[:20], y[:20], attribution=strategy, groups=groups)  # what is imported is no matter
    assert peak(lambda: fitted.importances(X, y, attribution=strategy, groups=groups)) < 0.8 * SIZE
