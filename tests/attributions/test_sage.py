import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

import skexplain
from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain.attributions import SAGE

from .games import alone, by_orders, counting, dense, interrupted, rows

D = 4
X = rows(30, D)
NET = dense(D)
Y = NET.predict(X)[:, 0] + np.random.default_rng(5).normal(size=len(X)) / 3


def sage(max_evals=2 * D * 30 * 100, tol=0.0, seed=0, net=NET, y=Y, groups=None, **params):
    strategy = SAGE(tol=tol, max_evals=max_evals, **params)
    return strategy.importances(net, X, y, alone(D) if groups is None else groups, np.random.default_rng(seed))


def exact(net, y, loss, groups=None):
    """Of the game of the losses, with all rows as background."""
    groups = alone(D) if groups is None else groups

    def worth(S):
        total = 0.0
        for x, t in zip(X, y, strict=True):
            Z = X.copy()
            for g in S:
                Z[:, groups[g]] = x[groups[g]]
            total -= loss(net.predict(Z), t)
        return total / len(X)

    return by_orders(worth, len(groups))


def squared(outputs, t):
    return np.mean((outputs.mean(axis=0) - t) ** 2)


EXACT = exact(NET, Y, squared)


def test_converges_to_the_exact_values():
    values, error = sage(2 * D * 30 * 1500)
    assert error.max() < 0.01 * np.ptp(EXACT)
    np.testing.assert_allclose(values, EXACT, atol=4 * error.max())


def test_interval_covers_the_truth():
    runs = [sage(seed=seed) for seed in range(200)]
    assert 0.9 <= np.mean([np.abs(values - EXACT) <= 1.96 * error for values, error in runs]) <= 0.99


def test_error_falls_with_the_root_of_the_evaluations():
    assert 1.7 < sage(2 * D * 30 * 120)[1].mean() / sage(2 * D * 30 * 480)[1].mean() < 2.3


def test_classifier_is_scored_by_its_mean_probability():
    net = dense(D, outputs=3)
    net.head, net.classes = Head("softmax", 3), np.array(["a", "b", "c"])
    y = net.classes[net.predict(X).argmax(axis=1)]

    def log_loss(margins, label):
        p = np.exp(net.head.log_probabilities(margins)).mean(axis=0)
        return -np.log(p[list(net.classes).index(label)])

    want = exact(net, y, log_loss)
    values, error = sage(net=net, y=y)
    np.testing.assert_allclose(values, want, atol=4 * error.max())
    assert error.max() < 0.05 * np.ptp(want)


def test_sum_is_what_all_columns_are_worth():
    without = np.mean((NET.predict(X).mean() - Y) ** 2)
    with_all = np.mean((NET.predict(X)[:, 0] - Y) ** 2)
    for max_evals in (2 * D * 30 * 64, 2 * D * 30 * 100):
        assert sage(max_evals)[0].sum() == pytest.approx(without - with_all, rel=1e-9)


def test_groups_play_together():
    groups = [np.array([0, 2]), np.array([1]), np.array([3])]
    want = exact(NET, Y, squared, groups)
    values, error = sage(2 * 3 * 30 * 300, groups=groups)
    np.testing.assert_allclose(values, want, atol=4 * error.max())


def test_linear_network_in_closed_form():
    """Independent columns under squared error, y = f: w^2 Var(x), which permutation doubles."""
    w, X = np.array([3.0, -1, 0.5, 0]), rows(2000, D)
    net = DenseNetwork([w[:, None]], [np.zeros(1)], "identity", Head("linear", 1))
    values, error = SAGE(tol=0.01).importances(net, X, X @ w, alone(D), np.random.default_rng(0))
    np.testing.assert_allclose(values, w**2, atol=0.5)
    assert values[3] == error[3] == 0


def test_equal_columns_share():
    """Shuffling one of two copies costs what the other does not hold; here both get half."""
    X = rows(300, 2)[:, [0, 0, 1]]
    net = DenseNetwork([np.array([[1.0], [1], [1]])], [np.zeros(1)], "identity", Head("linear", 1))
    values, error = SAGE(tol=0.01).importances(net, X, X.sum(axis=1), alone(3), np.random.default_rng(0))
    assert abs(values[0] - values[1]) < 4 * np.hypot(*error[:2])


def test_tol_stops():
    net, asked = counting(NET)
    values, error = sage(2 * D * 30 * 20_000, tol=0.1, net=net)
    assert error.max() <= 0.1 * np.ptp(values)
    assert sum(asked) < 2 * D * 30 * 500


def test_evaluations_are_bounded():
    net, asked = counting(NET)
    sage(2 * D * 30 * 100, net=net)
    assert sum(asked) == 2 * D * 30 * 100 + 2 * 30 * 30


def test_background_is_a_part_of_the_rows():
    net, asked = counting(NET)
    sage(2 * D * 10 * 100, net=net, n_background=10)
    assert sum(asked) == 2 * D * 10 * 100 + 2 * 30 * 10


def test_interruption_gives_what_there_is():
    with pytest.warns(UserWarning, match=r"Interrupted: SAGE of \d+ of at most 1000 samples"):
        values, error = sage(2 * D * 30 * 1000, net=interrupted(NET, 20))
    assert (np.abs(values - EXACT) <= 5 * error).all()
    with pytest.raises(KeyboardInterrupt):
        sage(net=interrupted(NET, 2))


def test_of_a_fitted_classifier(blobs):
    X, y = blobs
    net = MLPClassifier((8,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0).fit(X, y)
    strategy = SAGE(tol=0.1, n_background=20)
    got = skexplain.importances(net, X, y, attribution=strategy, random_state=0)
    assert set(got.ranking[:2]) == {0, 1}
    assert got.signed[3] == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="pass y"):
        skexplain.importances(net, X, attribution=strategy)
    with pytest.raises(ValueError, match="explains no single rows"):
        skexplain.explain(net, X, attribution=strategy)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"tol": -1}, "tol"),
        ({"n_background": 0}, "n_background"),
        ({"max_evals": 100}, "max_evals=100 is too few to estimate 4 values .* at least 15360"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        sage(**params)


def test_several_sigmoids_have_no_one_loss():
    net = dense(D, outputs=2)
    net.head = Head("sigmoid", 2)
    with pytest.raises(ValueError, match="independent sigmoid"):
        sage(net=net, y=np.zeros((30, 2)))
