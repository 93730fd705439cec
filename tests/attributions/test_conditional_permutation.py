"""Conditional permutation of clones on held-out rows: by hand, laws, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from scipy.stats import norm
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import KFold
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skexplain import from_fitted, importances
from skexplain.attributions import ConditionalPermutation, Permutation
from skexplain.attributions._conditional import conditional_shuffles
from skexplain.datasets import make_correlated_blocks
from skexplain.exceptions import UnsupportedModelError

RNG = np.random.default_rng(0)
N = 200
X = RNG.multivariate_normal(np.zeros(3), [[1, 0.8, 0], [0.8, 1, 0], [0, 0, 1]], size=N)
Y = 2 * X[:, 0] + X[:, 2] + 0.5 * RNG.normal(size=N)


def measured(model, X=X, y=Y, seed=0, groups=None, **kwargs):
    return importances(model, X, y, attribution=ConditionalPermutation(**kwargs), groups=groups, random_state=seed)


def test_each_fold_is_the_conditional_permutation_of_its_clone():
    """One fold, many repeats: the mean over all pairs of held-out rows of the rise of the squared error."""
    train, test = np.arange(150), np.arange(150, N)
    got = measured(LinearRegression(), cv=[(train, test)], n_repeats=400)
    model, at_all = LinearRegression().fit(X[train], Y[train]), np.arange(N)
    shuffles = conditional_shuffles(X, [np.array([j]) for j in range(3)], RNG, folds=[(train, test)])
    for j, shuffle in enumerate(shuffles):
        rises = []
        for k in range(len(test)):
            order, new = at_all.copy(), X[test].copy()
            order[test] = np.roll(test, k)
            new[:, [j]] = shuffle(order, RNG)[test]
            rises.append(np.mean((model.predict(new) - Y[test]) ** 2 - (model.predict(X[test]) - Y[test]) ** 2))
        assert got.signed[j] == pytest.approx(np.mean(rises), rel=0.05, abs=0.002)


def test_only_held_out_rows_are_drawn_and_predicted_by_others():
    """Residuals of rows that the fold trains on have no part in what held-out rows get."""
    train, test = np.arange(150), np.arange(150, N)
    other = X.copy()
    other[train[0]] += 0.1
    model = LinearRegression()
    kwargs = {"cv": [(train, test)], "n_repeats": 1}
    assert (measured(model, **kwargs).signed != measured(model, X=other, **kwargs).signed).all()  # its slopes change
    shuffle = conditional_shuffles(X, [np.array([0])], np.random.default_rng(0), folds=[(train, test)])[0]
    moved = X.copy()
    moved[test[0], 0] += 5
    again = conditional_shuffles(moved, [np.array([0])], np.random.default_rng(0), folds=[(train, test)])[0]
    order = np.arange(N)  # nothing exchanged: each row keeps what it had, and no prediction changes
    np.testing.assert_allclose(shuffle(order, RNG)[test[1:]], again(order, RNG)[test[1:]])


def test_closed_form():
    """2 w² Var(x_j | x_-j): of the pair, 0.36 times the variance."""
    rng = np.random.default_rng(1)
    X = rng.multivariate_normal(np.zeros(3), [[1, 0.8, 0], [0.8, 1, 0], [0, 0, 1]], size=4000)
    got = measured(LinearRegression(), X=X, y=X @ [2, 0, 1] + 0.5 * rng.normal(size=4000))
    assert (np.abs(got.signed - [2 * 4 * 0.36, 0, 2]) < 4 * got.error).all()
    assert (got.error < [0.1, 0.01, 0.1]).all()


def test_type_one_error():
    """Of columns that tell nothing beyond their neighbours 5 % are found at 5 %; 20 draws of 15 such columns."""
    found = []
    for seed in range(20):
        rows = make_correlated_blocks(200, 20, n_blocks=4, n_important=5, random_state=seed)
        got = measured(LinearRegression(), X=rows.data, y=rows.target, seed=seed, n_repeats=4, cv=3)
        found.append((norm.sf(got.signed / got.error) < 0.05)[~rows.important].mean())
    assert 0.01 < np.mean(found) < 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


def test_forests_see_what_lines_do_not():
    """x_1 is x_0 squared; drawn along a line it would count, as the network reads it, for what x_0 says too."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    Z = np.stack([x, x**2 + 0.1 * rng.normal(size=200)], axis=1)
    y = x**2
    model = LinearRegression()
    lines, forests = (measured(model, X=Z, y=y, conditional=c, cv=2) for c in ("linear", "forest"))
    assert forests.signed[1] < 0.2 * lines.signed[1]
    level = (x + 0.3 * rng.normal(size=200) > 0).astype(float)
    Z = np.stack([level, x, rng.normal(size=200)], axis=1)
    forests = measured(model, X=Z, y=x, conditional="forest", cv=2)
    assert forests.ranking[0] == 1
    again = measured(model, X=Z, y=x, conditional="forest", cv=2)
    np.testing.assert_array_equal(forests.signed, again.signed)
    shuffled = importances(model.fit(Z, x), Z, x, attribution=Permutation(conditional="forest"), random_state=0)
    assert shuffled.ranking[0] == 1


def test_groups_frames_pipelines_and_classes():
    colour = RNG.choice(["red", "green"], size=N)
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "colour": colour})
    y = np.where(X[:, 0] + 2 * (colour == "red") - 1 + 0.5 * RNG.normal(size=N) > 0, "yes", "no")
    one_hot = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    model = make_pipeline(one_hot, LogisticRegression())
    got = measured(model, X=frame, y=y, groups={"ab": ["a", "b"]})
    assert got.names == ("ab", "colour")
    assert (got.signed > 3 * got.error).all()
    # a copy tells nothing beyond the other, as a pair they do
    pair = np.c_[X, X[:, 0]]
    assert measured(LinearRegression(), X=pair).ranking[0] == 2
    assert measured(LinearRegression(), X=pair, groups={"pair": [0, 3]}).names[0] == "pair"
    assert measured(LinearRegression(), X=pair, groups={"pair": [0, 3]}).ranking[0] == 0


def test_columns_that_are_not_read_and_constant_ones_get_nothing():
    Z = np.c_[X, np.ones(N)]
    got = measured(make_pipeline(StandardScaler(), LinearRegression()), X=Z)
    assert got.signed[3] == got.error[3] == 0


def test_more_columns_than_rows():
    wide = RNG.normal(size=(40, 60))
    got = measured(MLPRegressor(tol=1e9, random_state=0), X=wide, y=wide[:, 0])
    assert np.isfinite(got.signed).all()
    assert np.isfinite(got.error).all()


def test_the_estimator_and_the_processes_change_nothing():
    model = RandomForestClassifier(3)
    before, y = clone(model).get_params(), Y > 0
    got = measured(model, y=y)
    assert model.get_params() == before
    assert not hasattr(model, "estimators_")
    np.testing.assert_array_equal(got.signed, measured(model, y=y).signed)
    with parallel_config("threading"):
        np.testing.assert_array_equal(got.signed, measured(model, y=y, n_jobs=2).signed)


@pytest.mark.parametrize(
    ("kwargs", "y", "message"),
    [
        ({"n_repeats": 0}, Y, "n_repeats"),
        ({"cv": 1}, Y, "cv == 1"),
        ({"cv": 300}, Y, "300"),
        ({"cv": N}, Y, "fold 0 holds out 1 row"),
        ({"conditional": "trees"}, Y, "conditional='trees'; choose one of"),
        ({"cv": KFold(2)}, np.repeat([0, 1], N // 2), r"fold 0 trains without the class\(es\) \[0\]"),
    ],
)
def test_bad_parameters(kwargs, y, message):
    model = LogisticRegression() if y is not Y else LinearRegression()
    with pytest.raises(ValueError, match=message):
        measured(model, y=y, **kwargs)


def test_what_cannot_be_tested():
    with pytest.raises(ValueError, match=r"no probabilities has no log-loss; use .*CalibratedClassifierCV"):
        measured(RidgeClassifier(), y=Y > 0)
    with pytest.raises(ValueError, match="several labels a row"):
        measured(MultiOutputClassifier(LogisticRegression()), y=np.stack([Y > 0, Y > 1], axis=1))
    fitted = MLPRegressor(tol=1e9, random_state=0).fit(X, Y)
    for model in (FrozenEstimator(fitted), from_fitted(fitted, X, Y)):
        with pytest.raises(UnsupportedModelError, match="attribution='conditional_permutation'"):
            measured(model)
    gaps = X.copy()
    gaps[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        measured(LinearRegression(), X=gaps)
    with pytest.raises(ValueError, match="at least 20 rows"):
        measured(LinearRegression(), X=X[:15], y=Y[:15])
