"""Conditional permutation importance: what a column tells beyond the others."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import skexplain
from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain.attributions import Permutation
from skexplain.attributions._conditional import ALPHAS, conditional_shuffles, ridge_residuals

RNG = np.random.default_rng(0)
N = 600


def linear(w):
    return DenseNetwork([np.reshape(w, (-1, 1)).astype(float)], [np.zeros(1)], "identity", Head("linear", 1))


def importances(X, y, w, conditional=True, groups=None, n_repeats=10):
    groups = [np.array([j]) for j in range(X.shape[1])] if groups is None else groups
    strategy = Permutation(n_repeats=n_repeats, conditional=conditional)
    return strategy.importances(linear(w), X, y, groups, np.random.default_rng(0))


def test_residuals_are_those_of_ridge_regressions():
    Z = RNG.normal(size=(100, 6)) @ RNG.normal(size=(6, 6))
    groups, folds = [np.array([0]), np.array([1, 4]), np.array([2]), np.array([3, 5])], list(KFold(5).split(Z))
    got = ridge_residuals(Z, groups, folds)
    for g in groups:
        others = np.delete(Z, g, axis=1)
        by_penalty = []
        for alpha in ALPHAS:
            left = np.empty((100, len(g)))
            for train, test in folds:
                left[test] = Z[np.ix_(test, g)] - Ridge(alpha).fit(others[train], Z[np.ix_(train, g)]).predict(
                    others[test]
                ).reshape(len(test), -1)
            by_penalty.append(left)
        best = np.argmin([(left**2).sum(axis=0) for left in by_penalty], axis=0)
        want = np.stack([by_penalty[best[k]][:, k] for k in range(len(g))], axis=1)
        np.testing.assert_allclose(got[:, g], want, atol=1e-9)


def test_a_redundant_column_tells_nothing():
    """y comes from x_0 alone; the network takes half of it from a noisy copy, x_1."""
    x = RNG.normal(size=N)
    X = np.stack([x, x + 0.05 * RNG.normal(size=N), RNG.normal(size=N)], axis=1)
    marginal, _ = importances(X, x + X[:, 2], [0.5, 0.5, 1], conditional=False)
    np.testing.assert_allclose(marginal, [0.5, 0.5, 2], rtol=0.2)
    conditional, _ = importances(X, x + X[:, 2], [0.5, 0.5, 1])
    assert (conditional[:2] < 0.01).all()
    assert conditional[2] == pytest.approx(2, rel=0.2)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 0.99])
def test_closed_form_of_correlated_normals(rho):
    """2 w² Var(x_j | x_-j), the variance that these rows have."""
    X = RNG.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=3000)
    w = np.array([1.0, 2])
    got, error = importances(X, X @ w, w)
    want = 2 * w**2 / np.diag(np.linalg.inv(np.cov(X.T)))
    np.testing.assert_allclose(got, want, rtol=0.08)
    assert (np.abs(got - want) < 4 * error + 1e-12).all()


def test_equals_the_marginal_for_independent_columns():
    X = np.c_[RNG.normal(size=(2000, 3)), RNG.integers(3, size=(2000, 1))]
    y = X @ [1.0, 2, 0, 1]
    marginal, e = importances(X, y, [1, 2, 0, 1], conditional=False)
    conditional, f = importances(X, y, [1, 2, 0, 1])
    assert (np.abs(marginal - conditional) <= 4 * np.hypot(e, f)).all()
    np.testing.assert_allclose(conditional[[0, 1, 3]], marginal[[0, 1, 3]], rtol=0.05)
    assert conditional[2] == 0


def test_groups_are_shuffled_together():
    """A pair that predicts each other counts as a pair."""
    x = RNG.normal(size=N)
    X = np.stack([x, x, RNG.normal(size=N)], axis=1)
    got, _ = importances(X, x, [0.5, 0.5, 0], groups=[np.array([0, 1]), np.array([2])])
    assert got[0] == pytest.approx(2 * x.var(), rel=0.15)
    # and stays a pair: the difference of a column and its copy remains 0
    got, _ = importances(X, 0 * x, [1, -1, 0], groups=[np.array([0, 1]), np.array([2])])
    assert got[0] == pytest.approx(0, abs=1e-9)


def test_one_group_of_all_columns_is_plainly_shuffled():
    X = RNG.normal(size=(N, 2))
    groups = [np.array([0, 1])]
    conditional = importances(X, X @ [1, 2], [1, 2], groups=groups)
    np.testing.assert_array_equal(conditional, importances(X, X @ [1, 2], [1, 2], groups=groups, conditional=False))


def draws(X, groups, seed=0):
    shuffles = conditional_shuffles(X, groups, np.random.default_rng(seed))
    order, rng = np.random.default_rng(seed).permutation(len(X)), np.random.default_rng(seed)
    return [shuffle(order, rng) for shuffle in shuffles]


def test_discrete_columns_follow_the_others():
    """Levels 0 to 3 that a number predicts: drawn anew they are as frequent, and follow it as closely."""
    n = 40_000  # frequencies of rows drawn at random, known to 0.5 %
    x = RNG.normal(size=n)
    level = np.clip(np.round(x + 0.8 * RNG.normal(size=n)), -1, 2) + 1
    (new,) = draws(np.stack([level, x], axis=1), [np.array([0])])
    assert (new[:, 0] != level).mean() > 0.2
    np.testing.assert_allclose(np.bincount(new[:, 0].astype(int)) / n, np.bincount(level.astype(int)) / n, atol=0.02)
    assert np.corrcoef(new[:, 0], x)[0, 1] == pytest.approx(np.corrcoef(level, x)[0, 1], abs=0.03)


def test_a_copy_of_a_discrete_column_tells_little():
    bit = RNG.integers(2, size=N).astype(float)
    X = np.stack([bit, bit, RNG.normal(size=N)], axis=1)
    marginal, _ = importances(X, bit, [0.5, 0.5, 0], conditional=False)
    conditional, _ = importances(X, bit, [0.5, 0.5, 0])
    assert (conditional[:2] < 0.05 * marginal[:2]).all()


def test_levels_of_a_category_stay_exclusive():
    hot = np.eye(4)[RNG.integers(4, size=N)]
    (new,) = draws(np.c_[hot, RNG.normal(size=N)], [np.arange(4)])
    np.testing.assert_array_equal(new.sum(axis=1), 1)
    assert set(np.unique(new)) == {0, 1}


def test_whole_numbers_stay_whole_and_in_range():
    age = RNG.integers(20, 60, size=N)
    X = np.stack([age, age + RNG.integers(15, size=N)], axis=1)
    new = draws(X, [np.array([0]), np.array([1])])
    for j in range(2):
        np.testing.assert_array_equal(new[j], np.round(new[j]))
        assert X[:, j].min() <= new[j].min() < new[j].max() <= X[:, j].max()


def test_constant_column():
    X = np.c_[np.ones(N), RNG.normal(size=N), RNG.normal(size=N)]
    new = draws(X, [np.array([j]) for j in range(3)])
    assert (new[0] == 1).all()
    assert sorted(new[1][:, 0]) != sorted(new[2][:, 0])


def test_order_of_the_rows_in_the_sample_is_mixed():
    (new,) = draws(np.c_[np.arange(100.0), RNG.normal(size=100)], [np.array([0])])
    assert np.corrcoef(new[:, 0], np.arange(100))[0, 1] < 0.5


def test_frame_of_text_and_numbers():
    rng = np.random.default_rng(0)
    size = rng.normal(size=400)
    frame = pd.DataFrame(
        {
            "size": size,
            "class": np.where(size + 0.3 * rng.normal(size=400) > 0, "large", "small"),
            "colour": rng.choice(["red", "blue", None], 400),
        }
    )
    y = size + 2.0 * (frame["colour"] == "red")
    hot = ColumnTransformer([("hot", OneHotEncoder(), ["class", "colour"])], remainder="passthrough")
    model = make_pipeline(hot, RandomForestRegressor(20, random_state=0)).fit(frame, y)
    by = {
        c: skexplain.importances(model, frame, y, attribution=Permutation(conditional=c), random_state=0).signed
        for c in (False, True)
    }
    assert by[True][0] < by[False][0]  # the class tells part of the size
    assert by[True][2] == pytest.approx(by[False][2], rel=0.2)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones((19, 2)), "at least 20 rows; X has 19"),
        (np.c_[np.where(np.arange(30) > 20, np.nan, np.arange(30)), np.arange(30)], "column 0 has numbers with gaps"),
        (
            np.array([[f"a{i}", i] for i in range(60)], dtype=object),
            "column 0 has 60 different values that are no numbers",
        ),
    ],
)
def test_bad_rows(X, message):
    with pytest.raises(ValueError, match=message):
        conditional_shuffles(X, [np.array([0]), np.array([1])], RNG)
