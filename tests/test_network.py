"""The plain verbs, on the NumPy network, against their formulas."""

import numpy as np
import pytest

from skexplain._dense_network import ACTIVATIONS, DenseNetwork
from skexplain._head import Head
from skexplain._network import chunks

RNG = np.random.default_rng(0)
X, R = RNG.normal(size=(30, 4)), RNG.normal(size=(30, 4))


def dense(activation="tanh", kind="softmax", output="margin", n_raw=3):
    rng = np.random.default_rng(1)
    shapes = [(4, 8), (8, 6), (6, n_raw)]
    return DenseNetwork(
        [rng.normal(size=s) for s in shapes],
        [rng.normal(size=s[1]) for s in shapes],
        activation,
        Head(kind, n_raw, output),
    )


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS.keys() - {"exp"}))
@pytest.mark.parametrize(
    ("kind", "output", "n_raw"),
    [
        ("softmax", "margin", 3),
        ("softmax", "probability", 3),
        ("sigmoid", "margin", 1),
        ("sigmoid", "probability", 1),
        ("sigmoid", "probability", 3),
        ("linear", "margin", 2),
    ],
)
def test_gradient_is_the_slope(activation, kind, output, n_raw):
    net, h = dense(activation, kind, output, n_raw), 1e-6
    t = RNG.integers(net.n_outputs, size=len(X))
    g = net.gradient(X, t)
    for j in range(4):
        step = h * np.eye(4)[j]
        slope = (net.predict(X + step) - net.predict(X - step))[np.arange(30), t] / (2 * h)
        np.testing.assert_allclose(g[:, j], slope, rtol=1e-3, atol=1e-6)


def test_gradient_behind_an_exponential_ending():
    net = DenseNetwork([np.array([[0.5], [1], [-1], [0]])], [np.zeros(1)], "tanh", Head("linear", 1), ending="exp")
    np.testing.assert_allclose(net.predict(X)[:, 0], np.exp(X @ [0.5, 1, -1, 0]))
    expected = net.predict(X) * [[0.5, 1, -1, 0]]
    np.testing.assert_allclose(net.gradient(X, np.zeros(30, int)), expected)


def test_mean_gradient_is_the_weighted_sum():
    net, t = dense(), np.zeros(30, int)
    got = net.mean_gradient(R, X, np.array([0.25, 1.0]), np.array([2.0, -1.0]), t)
    np.testing.assert_allclose(got, 2 * net.gradient(R + 0.25 * (X - R), t) - net.gradient(X, t))


def test_predict_replaced_replaces_groups():
    net = dense()
    groups = [np.array([1]), np.array([0, 3])]
    got = net.predict_replaced(X, R, groups, np.array([[False, False], [True, False], [True, True]]))
    np.testing.assert_array_equal(got[0], net.predict(X))
    np.testing.assert_array_equal(got[1], net.predict(np.c_[X[:, 0], R[:, 1], X[:, 2:]]))
    np.testing.assert_array_equal(got[2], net.predict(np.c_[R[:, :2], X[:, 2], R[:, 3]]))


@pytest.mark.parametrize(("n", "size"), [(0, 3), (1, 3), (3, 3), (10, 3), (5, 0)])
def test_chunks_cover_everything_once(n, size):
    assert [i for block in chunks(n, size) for i in range(n)[block]] == list(range(n))
