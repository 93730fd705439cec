"""The truth that comes with data: laws, closed forms, and Monte Carlo where a closed form could be wrong."""

from itertools import permutations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.datasets import load_iris

from skexplain import datasets

MAKERS = [name for name in datasets.__all__ if name.startswith("make_")]
WITH_SHAPLEY = {
    "make_additive": {},
    "make_friedman1": {"n_features": 7},
    "make_interactions": {},
    "make_linear": {},
}


@pytest.mark.parametrize("name", MAKERS)
def test_shape_seed_and_global_state(name):
    make = getattr(datasets, name)
    before = np.random.get_state()[1].copy()
    a, b, c = (make(n_samples=60, random_state=seed) for seed in (3, 3, 4))
    assert (np.random.get_state()[1] == before).all()
    assert a.data.shape == (60, len(a.feature_names))
    assert a.target.shape == (60,)
    assert a.important.shape == a.data.shape[1:]
    assert 0 < a.important.sum() < len(a.important)
    assert (a.data == b.data).all()
    assert (a.target == b.target).all()
    assert not (a.data == c.data).all()
    if "shapley_values" in a and name != "make_gaussian":
        assert a.shapley_values[:, ~a.important].any() == np.False_
        assert a.shapley_values[:, a.important].any(axis=0).all()


@pytest.mark.parametrize("name", WITH_SHAPLEY)
def test_values_add_up_to_the_target_less_its_mean(name):
    truth = getattr(datasets, name)(n_samples=4000, noise=0, random_state=0, **WITH_SHAPLEY[name])
    mean = truth.target - truth.shapley_values.sum(axis=1)
    assert np.ptp(mean) < 1e-9  # one constant, the mean
    assert abs(mean[0] - truth.target.mean()) < 4 * truth.target.std() / np.sqrt(4000)
    # each column's values have mean 0
    assert (np.abs(truth.shapley_values.mean(axis=0)) <= 4 * truth.shapley_values.std(axis=0) / np.sqrt(4000)).all()


def test_friedman_values_by_monte_carlo():
    """Of the pair: the other columns are added, so they change nothing."""
    truth = datasets.make_friedman1(5, 5, noise=0, random_state=0)
    t = np.random.default_rng(0).random(200_000)

    def g(a, b):
        return np.mean(10 * np.sin(np.pi * a * b))

    for (a, b), values in zip(truth.data[:, :2], truth.shapley_values[:, :2], strict=True):
        neither, first, second, both = g(t, t[::-1]), g(a, t), g(t, b), g(a, b)
        expected = [(first - neither + both - second) / 2, (second - neither + both - first) / 2]
        np.testing.assert_allclose(values, expected, atol=0.05)


def test_xor_needs_both():
    truth = datasets.make_xor(4000, 5, n_important=2, random_state=0)
    assert ((truth.data[:, 0] * truth.data[:, 1] > 0) == truth.target).all()
    correlation = np.corrcoef(truth.data.T, truth.target)[-1, :-1]
    assert (np.abs(correlation) < 4 / np.sqrt(4000)).all()
    np.testing.assert_allclose(truth.shapley_values.sum(axis=1), truth.target - 0.5)
    flipped = datasets.make_xor(4000, 5, flip_y=0.5, random_state=0)
    wrong = np.mean((flipped.data[:, :2].prod(axis=1) > 0) != flipped.target)
    assert abs(wrong - 0.25) < 0.03  # half of those that are drawn anew
    np.testing.assert_allclose(np.abs(flipped.shapley_values[:, 0]), 0.125)


@pytest.mark.parametrize("signal", ["linear", "interactions", "both", "relu", "logistic"])
def test_correlated_blocks(signal):
    truth = datasets.make_correlated_blocks(20_000, signal=signal, snr=4, random_state=0)
    X, y = truth.data, truth.target
    np.testing.assert_allclose(np.cov(X.T), truth.cov, atol=0.06)
    assert truth.cov[0, 4] == 0.8
    assert truth.cov[0, 5] == 0
    assert truth.important.reshape(10, 5).sum(axis=1).tolist() == [2] * 10
    used = (truth.coef != 0) | truth.pair_coef.any(axis=0) | truth.pair_coef.any(axis=1)
    assert (used == truth.important).all()
    eta = X @ truth.coef + ((X @ truth.pair_coef) * X).sum(axis=1)
    if signal == "logistic":
        assert abs(np.mean(y - expit(eta))) < 0.02
        assert np.corrcoef(y, expit(eta))[0, 1] > 0.5
        return
    mean = np.maximum(eta, 0) if signal == "relu" else eta
    assert abs(np.mean(mean**2) / np.var(y - mean) - 4) < 0.2
    assert (signal == "interactions") == (not truth.coef.any())
    assert (signal in ("interactions", "both")) == bool(truth.pair_coef.any())


def test_conditional_values_by_monte_carlo():
    """E[f | x_S] by drawing the others given x_S, in the order formula over all permutations of 3 columns."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(3, 3))
    cov, mean, coef, Q = A @ A.T + np.eye(3), np.array([1.0, -1, 0]), np.array([1.0, 0, 2]), rng.normal(size=(3, 3))
    x = np.array([0.5, 1.0, -1.0])
    draws = rng.multivariate_normal(mean, cov, size=100_000)

    def v(S):
        S, R = list(S), [j for j in range(3) if j not in S]
        Z = np.tile(x, (len(draws), 1))
        # residuals of the others after regression on S, moved to x_S
        slope = np.linalg.lstsq(draws[:, S] - mean[S], draws[:, R] - mean[R], rcond=None)[0]
        Z[:, R] = draws[:, R] + (x[S] - draws[:, S]) @ slope
        return np.mean(Z @ coef + ((Z @ Q) * Z).sum(axis=1))

    expected = np.zeros(3)
    for order in permutations(range(3)):
        for k, j in enumerate(order):
            expected[j] += (v(order[: k + 1]) - v(order[:k])) / 6
    got = datasets.conditional_shapley(x[None], mean=mean, cov=cov, coef=coef, quadratic=Q)[0]
    np.testing.assert_allclose(got, expected, atol=0.15)
    assert np.abs(got).max() > 1


def test_conditional_values_of_independent_columns_are_those_of_a_linear_function():
    X = np.random.default_rng(0).normal(size=(4, 5))
    coef, mean = np.arange(5.0), np.full(5, 2.0)
    got = datasets.conditional_shapley(X, mean=mean, cov=np.diag(np.arange(1.0, 6)), coef=coef)
    np.testing.assert_allclose(got, coef * (X - mean), atol=1e-12)


def test_conditional_values_add_up_and_reach_unused_columns():
    truth = datasets.make_gaussian(200, noise=0, random_state=0)
    mean = np.trace(truth.quadratic @ truth.cov)  # of a centred quadratic form
    np.testing.assert_allclose(truth.shapley_values.sum(axis=1), truth.target - mean, atol=1e-10)
    assert not truth.important[-1]
    assert np.abs(truth.shapley_values[:, -1]).mean() > 0.05
    independent = datasets.make_gaussian(200, rho=0, random_state=0)
    np.testing.assert_allclose(independent.shapley_values[:, -1], 0, atol=1e-12)


def test_spurious_columns():
    X, y = load_iris(return_X_y=True)
    for fraction, total in ((0.5, 8), (0.75, 16)):
        for kind in ("random", "corrupted"):
            data = datasets.add_spurious(X, y, kind, fraction=fraction, random_state=0)
            assert data.data.shape == (150, total)
            assert (data.data[:, :4] == X).all()
            assert data.important.tolist() == [True] * 4 + [False] * (total - 4)
    corrupted = datasets.add_spurious(np.tile(X, (100, 1)), np.tile(y, 100), "corrupted", random_state=0)
    for (j,), column in zip(corrupted.sources, corrupted.data[:, 4:].T, strict=True):
        noise = (column - 0.5 * corrupted.data[:, j]) / (0.5 * X[:, j].std())
        assert abs(noise.std() - 1) < 0.03
        assert abs(np.corrcoef(noise, corrupted.data[:, j])[0, 1]) < 0.03
    products = datasets.add_spurious(X, y, "second_order", random_state=0)
    assert len(set(products.sources)) == 4
    for (j, k), column in zip(products.sources, products.data[:, 4:].T, strict=True):
        assert j != k
        assert (column == X[:, j] * X[:, k]).all()


def test_spurious_columns_of_a_frame():
    pytest.importorskip("pandas")
    X, y = load_iris(return_X_y=True, as_frame=True)
    data = datasets.add_spurious(X, y, random_state=0)
    assert list(data.data) == data.feature_names == [*X, "spurious 0", "spurious 1", "spurious 2", "spurious 3"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: datasets.make_linear(10, 2, n_important=3), "n_features"),
        (lambda: datasets.make_linear(noise=-1), "noise"),
        (lambda: datasets.make_correlated_blocks(signal="cubic"), "signal='cubic'"),
        (lambda: datasets.make_correlated_blocks(n_features=51), "n_blocks=10 does not divide"),
        (lambda: datasets.make_correlated_blocks(rho=1.0), "rho"),
        (lambda: datasets.make_gaussian(n_features=16), "at most 15"),
        (lambda: datasets.add_spurious(np.eye(3), [0, 1, 2], "noise"), "kind='noise'"),
        (lambda: datasets.add_spurious(np.eye(3), [0, 1, 2], fraction=1.0), "fraction"),
        (lambda: datasets.add_spurious(np.eye(3), [0, 1], "random"), "inconsistent"),
        (lambda: datasets.add_spurious(np.eye(3), [0, 1, 2], "second_order", fraction=0.9), "3 pairs"),
        (lambda: datasets.conditional_shapley([[1]], mean=[0, 0], cov=np.eye(2), coef=[1, 1]), "shapes"),
        (lambda: datasets.conditional_shapley([[1, 1]], mean=[0, 0], cov=np.ones((2, 2)), coef=[1, 1]), "definite"),
    ],
)
def test_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
