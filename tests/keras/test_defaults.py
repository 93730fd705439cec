"""All defaults beside a RandomForest's, cross-validated."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_friedman1
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import cross_val_score

from skexplain.keras import KerasClassifier, KerasRegressor

from .conftest import BACKEND

SEEDS = 3

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="one back end is enough: the same network and training")


def score(kind, X, y, seeds=1):
    """Mean over folds and seeds: on digits one seed is 1 to 2 points off the other."""
    runs = [cross_val_score(kind(random_state=s), X, y, cv=3, error_score="raise") for s in range(seeds)]
    return np.mean(runs)


@pytest.mark.slow
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine, load_digits])
def test_accuracy(load):
    X, y = load(return_X_y=True)
    forest = score(RandomForestClassifier, X, y)
    assert score(KerasClassifier, X, y, seeds=SEEDS) >= forest - 0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", ["diabetes", "friedman1"])
def test_r2(name):
    friedman = make_friedman1(500, noise=1.0, random_state=0)
    X, y = load_diabetes(return_X_y=True) if name == "diabetes" else friedman
    forest = score(RandomForestRegressor, X, y)
    assert score(KerasRegressor, X, y, seeds=SEEDS) >= forest
