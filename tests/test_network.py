"""The plain verbs, on the NumPy network, against their formulas."""

import numpy as np
import pytest

from skexplain._dense_network import ACTIVATIONS, DenseNetwork
from skexplain._head import Head
from skexplain._network import Network, blocks, chunks

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
    net, groups, coalitions = dense(), [np.array([1]), np.array([0, 3])], np.array([[0, 0], [1, 0], [1, 1]]) > 0
    plain = Network.predict_replaced(net, X, R, groups, coalitions)
    np.testing.assert_array_equal(plain[0], net.predict(X))
    np.testing.assert_array_equal(plain[1], net.predict(np.c_[X[:, 0], R[:, 1], X[:, 2:]]))
    np.testing.assert_array_equal(plain[2], net.predict(np.c_[R[:, :2], X[:, 2], R[:, 3]]))


@pytest.mark.parametrize("centre", [None, 1e4])
@pytest.mark.parametrize("ending", ["identity", "exp"])
def test_predict_replaced_updates_the_first_layer(ending, centre):
    net, groups, coalitions = dense(kind="linear"), [np.array([1]), np.array([0, 3])], np.array([[0, 1], [1, 1]]) > 0
    net = DenseNetwork(net.weights, net.biases, "tanh", net.head, ending=ending)
    rows, others = X, R
    if centre is not None:
        net.centre, rows, others = np.full(4, centre), X + centre, R + centre
    plain = Network.predict_replaced(net, rows, others, groups, coalitions)
    np.testing.assert_allclose(net.predict_replaced(rows, others, groups, coalitions), plain, rtol=1e-9)


def coalitions_of(groups, shape, seed=3):
    return np.random.default_rng(seed).random((*shape, len(groups))) < 0.5


def test_predict_coalitions_mixes_rows_both_ways():
    net, groups = dense(), [np.array([2]), np.array([0, 3])]  # column 1 stays
    S = np.array([[False, False], [True, False], [True, True]])
    got = Network.predict_coalitions(net, X[:1], R[:3], groups, S)
    assert got.shape == (2, 3, 3)
    x, r = X[0], R
    np.testing.assert_array_equal(
        got[0], net.predict(np.array([[r[0, 0], x[1], r[0, 2], r[0, 3]], [r[1, 0], x[1], x[2], r[1, 3]], x]))
    )
    np.testing.assert_array_equal(
        got[1], net.predict(np.array([x, [x[0], x[1], r[1, 2], x[3]], [r[2, 0], x[1], r[2, 2], r[2, 3]]]))
    )


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize(("kind", "output"), [("softmax", "margin"), ("softmax", "probability"), ("linear", "margin")])
@pytest.mark.parametrize("groups", [[[0], [1], [2], [3]], [[3, 1], [0, 2]], [[0], [2, 3]]])
def test_predict_coalitions_equals_the_plain_verb(activation, kind, output, groups, monkeypatch):
    monkeypatch.setattr("skexplain._coalitions.MIXED_ROWS", 16)
    net, groups = dense(activation, kind, output), [np.array(g) for g in groups]
    for x, r, shape in (
        (X, R, (30,)),
        (X[:, None], R[None, :7], (1, 7)),
        (X[:2, None, None], R[:3].reshape(1, 3, 1, 4), (2, 1, 40)),
        (X[:, None], R[:, None], (30, 5)),
        (X, R[:1], (1,)),
    ):
        S = coalitions_of(groups, shape)
        plain = Network.predict_coalitions(net, x, r, groups, S)
        np.testing.assert_allclose(net.predict_coalitions(x, r, groups, S), plain, rtol=1e-12, atol=1e-12)


def test_predict_coalitions_of_single_layers_and_in_single_precision():
    weights, biases = [np.arange(8.0, dtype=np.float32).reshape(4, 2)], [np.ones(2, dtype=np.float32)]
    net = DenseNetwork(weights, biases, "relu", Head("linear", 2), ending="exp")
    S = coalitions_of([0] * 4, (30,))
    x, r = X.astype(np.float32) / 10, R / 10
    plain = Network.predict_coalitions(net, x, r, [np.array([j]) for j in range(4)], S)
    got = net.predict_coalitions(x, r, [np.array([j]) for j in range(4)], S)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, plain, rtol=1e-5)


def test_a_column_without_weights_changes_no_bit_of_the_outputs():
    net, alone = dense(), [np.array([j]) for j in range(4)]
    net.weights[0][2] = 0
    S = coalitions_of(alone, (500,))
    with_column, without = S.copy(), S.copy()
    with_column[:, 2], without[:, 2] = True, False
    one, other = (net.predict_coalitions(X[:1], R[:1], alone, v) for v in (with_column, without))
    np.testing.assert_array_equal(one, other)


def test_missing_numbers_stay_on_their_side():
    net, alone = dense(), [np.array([j]) for j in range(4)]
    x = X.copy()
    x[:, 1] = np.nan
    S = np.array([[True, False, True, True]])
    got = net.predict_coalitions(x, R, alone, S)
    assert np.isfinite(got[0]).all()
    assert np.isnan(got[1]).all()


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (1, 7), (3, 1, 1)])
@pytest.mark.parametrize("size", [1, 4, 5, 100])
def test_blocks_cover_everything_once(shape, size):
    seen = np.zeros(shape, int)
    for block in blocks(shape, size):
        assert seen[block].size <= size
        seen[block] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize(("n", "size"), [(0, 3), (1, 3), (3, 3), (10, 3), (5, 0)])
def test_chunks_cover_everything_once(n, size):
    assert [i for block in chunks(n, size) for i in range(n)[block]] == list(range(n))
