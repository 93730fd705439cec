"""Importances while a network trains, by hand; in estimators see tests/watching_contract.py."""

import time

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

torch = pytest.importorskip("torch")

from skexplain.attributions import Attribution
from skexplain.training import ImportanceHistory

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


class Scripted(Attribution):
    """Gives the importances that a test has written down, and takes its time."""

    local = False

    def __init__(self, values=(), seconds=0.0):
        self.values = values
        self.seconds = seconds

    def importances(self, network, X, y, groups, rng):
        time.sleep(self.seconds)
        return np.array(self.values.pop(0), dtype=float), np.zeros(3)


def run(history, epochs, seconds=0.0):
    history.on_train_begin(torch.nn.Linear(3, 1))
    for _ in range(epochs):
        time.sleep(seconds)
        history.on_epoch_end()
        if history.stop_training:
            break
    history.on_train_end()
    return history


def test_shares_by_epoch():
    values = [[9, 9, 9], [1, 1, 2], [2, 2, 0], [0, 3, 1]]
    history = run(ImportanceHistory(Scripted(values), rows=(X, X[:, 0]), every=2, max_cost=None), 5)
    assert history.epochs.tolist() == [0, 2, 4]
    np.testing.assert_allclose(history.values, [[0.25, 0.25, 0.5], [0.5, 0.5, 0], [0, 0.75, 0.25]])
    assert history.names == ("x0", "x1", "x2")


def test_stops_when_the_ranking_is_the_same_so_often():
    values = [[0, 0, 0], [0, 0, 0], [3, 2, 1], [1, 2, 3], [1, 2, 4], [0, 1, 9], [1, 0, 0]]
    strategy = Scripted(values)
    history = run(ImportanceHistory(strategy, rows=(X, X[:, 0]), stop_when_stable=2, max_cost=None), 9)
    assert history.stopped_epoch == 4
    assert len(history.values) == 5


def test_costs_at_most_a_tenth():
    strategy = Scripted([[1, 2, 3]] * 99, seconds=0.01)
    history = run(ImportanceHistory(strategy, rows=(X, X[:, 0])), 40, seconds=0.03)
    made = len(history.values) - 1
    assert 0 < history.cost <= 0.12  # the clock of a busy machine is no law
    assert made + history.n_skipped == 40
    assert 3 <= made <= 13


def test_free_of_what_it_saw():
    history = run(ImportanceHistory("saliency", rows=X, max_cost=None), 2)
    assert not {"_model", "_X", "_y"} & set(vars(history))


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({}, ValueError, r"rows=None, but this training does not tell its rows"),
        ({"rows": 1}, ValueError, "does not tell its rows"),
        ({"rows": X[:, :2]}, ValueError, r"cannot read rows of shape \(2,\)"),
        ({"rows": X[:1]}, ValueError, "minimum of 2 is required"),
        ({"rows": [[np.nan, 1, 2]] * 3}, ValueError, "rows contains NaN"),
        ({"rows": "a"}, ValueError, "Expected 2D array"),
        ({"rows": (X, X[:5, 0])}, ValueError, "y has 5 values for 40 rows"),
        ({"rows": X, "strategy": "permutation"}, ValueError, r"pass rows=\(X, y\)"),
        ({"rows": X, "strategy": "viann"}, ValueError, "cannot be evaluated while a network trains"),
        ({"rows": X, "every": 0}, ValueError, "every == 0"),
        ({"rows": X, "max_cost": -1}, ValueError, "max_cost == -1"),
        ({"rows": X, "stop_when_stable": 0}, ValueError, "stop_when_stable == 0"),
    ],
)
def test_bad_input(params, error, message):
    with pytest.raises(error, match=message):
        ImportanceHistory(**{"strategy": "saliency"} | params).on_train_begin(torch.nn.Linear(3, 1))


def test_nothing_seen():
    history = ImportanceHistory("saliency")
    for name in ("values", "epochs", "names", "cost"):
        with pytest.raises(NotFittedError, match="has watched no training"):
            getattr(history, name)
    named = run(ImportanceHistory("saliency", rows=X, max_cost=None, feature_names=["a"]), 1)
    with pytest.raises(ValueError, match="feature_names has 1 names, but there are 3 columns"):
        _ = named.names
