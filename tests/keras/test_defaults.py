"""All defaults beside a RandomForest's, cross-validated."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_friedman1
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import cross_val_score

from skexplain.keras import KerasClassifier, KerasRegressor


def score(estimator, X, y):
    return cross_val_score(estimator, X, y, cv=3, error_score="raise").mean()


@pytest.mark.slow
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine, load_digits])
def test_accuracy(load):
    X, y = load(return_X_y=True)
    forest = score(RandomForestClassifier(random_state=0), X, y)
    assert score(KerasClassifier(random_state=0), X, y) >= forest - 0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", ["diabetes", "friedman1"])
def test_r2(name):
    friedman = make_friedman1(500, noise=1.0, random_state=0)
    X, y = load_diabetes(return_X_y=True) if name == "diabetes" else friedman
    forest = score(RandomForestRegressor(random_state=0), X, np.asarray(y))
    assert score(KerasRegressor(random_state=0), X, np.asarray(y)) >= forest
