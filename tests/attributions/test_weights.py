"""Connection weights and Garson's shares, by hand."""

import numpy as np
import pytest
from sklearn.datasets import load_iris, make_regression
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skexplain import explain, importances
from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain._network import Network
from skexplain.attributions import ConnectionWeights, Garson
from skexplain.exceptions import UnsupportedLayerError, UnsupportedModelError

# two inputs, two hidden units, one output
W = np.array([[1.0, -2.0], [3.0, 2.0]])
V = np.array([[2.0], [-1.0]])
RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 2))
X4 = RNG.normal(size=(40, 4))


def net(*weights, kind="linear", output="margin"):
    head = Head(kind, weights[-1].shape[1], output)
    return DenseNetwork(list(weights), [np.ones(w.shape[1]) for w in weights], "tanh", head)


def values(strategy, network, target=0, rows=X):
    return strategy.attribute(network, rows, rows, np.full(len(rows), target), np.random.default_rng(0))


def test_by_hand():
    # 1 * 2 + -2 * -1 = 4 and 3 * 2 + 2 * -1 = 4
    np.testing.assert_array_equal(values(ConnectionWeights(scaled=False), net(W, V)), np.full((7, 2), 4.0))
    # hidden units are divided 1:3 and 2:2, the output 2:1; 2/3 * 1/4 + 1/3 * 1/2 = 1/3
    np.testing.assert_allclose(values(Garson(scaled=False), net(W, V)), np.tile([1 / 3, 2 / 3], (7, 1)))


def test_garson_is_the_double_sum_of_the_paper():
    """sum_h (|w_ih| / sum_k |w_kh|) |v_h|, divided by the sum over all inputs."""
    w, v = RNG.normal(size=(4, 6)), RNG.normal(size=(6, 1))
    ways = [sum(abs(w[i, h]) / np.abs(w[:, h]).sum() * abs(v[h, 0]) for h in range(6)) for i in range(4)]
    got = values(Garson(scaled=False), net(w, v), rows=X4)
    np.testing.assert_allclose(got, np.tile(ways / np.sum(ways), (40, 1)))


@pytest.mark.parametrize("strategy", [ConnectionWeights(), Garson()])
def test_one_number_a_class_and_column(strategy):
    w, v = RNG.normal(size=(2, 5)), RNG.normal(size=(5, 3))
    network = net(w, v, kind="softmax")
    each = [values(strategy, network, k) for k in range(3)]
    assert all((e == e[0]).all() for e in each)
    mixed = strategy.attribute(network, X, X, np.arange(7) % 3, np.random.default_rng(0))
    np.testing.assert_array_equal(mixed[1], each[1][0])


def test_margins():
    w, v = RNG.normal(size=(2, 5)), RNG.normal(size=(5, 3))
    logit = [values(ConnectionWeights(), net(w, v, kind="softmax", output="logit"), k)[0] for k in range(3)]
    margin = values(ConnectionWeights(), net(w, v, kind="softmax"), 0)[0]
    np.testing.assert_allclose(margin, logit[0] - (logit[1] + logit[2]) / 2)
    probability = values(ConnectionWeights(), net(w, v, kind="softmax", output="probability"), 0)[0]
    np.testing.assert_array_equal(probability, logit[0])
    # a sigmoid unit: class 0 is class 1 with the other sign, and has the same shares
    one = net(w, v[:, :1], kind="sigmoid")
    np.testing.assert_array_equal(values(ConnectionWeights(), one, 0), -values(ConnectionWeights(), one, 1))
    np.testing.assert_array_equal(values(Garson(), one, 0), values(Garson(), one, 1))


def test_linear_network_has_the_slope():
    w = np.array([[2.0], [-1.0]])
    got = values(ConnectionWeights(), net(w))
    np.testing.assert_allclose(got[0], w[:, 0] * np.abs(X - X.mean(axis=0)).mean(axis=0))


def test_identity_activations_give_the_gradient():
    w, v, u = RNG.normal(size=(4, 5)), RNG.normal(size=(5, 6)), RNG.normal(size=(6, 2))
    network = DenseNetwork([w, v, u], [np.ones(5), np.ones(6), np.ones(2)], "identity", Head("linear", 2))
    for k in range(2):
        slope = network.gradient(X4, np.full(40, k))
        np.testing.assert_allclose(values(ConnectionWeights(scaled=False), network, k, X4), slope)


def test_shares_do_not_depend_on_units_of_the_output_or_of_a_column():
    units = np.array([1000.0, 0.01])
    moved = Garson().attribute(net(W / units[:, None], 5 * V), X * units, X * units, np.zeros(7, int), None)
    np.testing.assert_allclose(moved, values(Garson(), net(W, V)))
    np.testing.assert_allclose(moved.sum(axis=1), 1)


def test_units_without_inputs_and_no_inputs_at_all():
    dead = np.c_[W, [0.0, 0.0]]
    got = values(Garson(scaled=False), net(dead, np.r_[V, [[9.0]]]))
    np.testing.assert_allclose(got, np.tile([1 / 3, 2 / 3], (7, 1)))
    for strategy in (Garson(), ConnectionWeights()):
        np.testing.assert_array_equal(values(strategy, net(np.zeros((2, 3)), RNG.normal(size=(3, 1)))), 0)


def test_pipeline_and_groups():
    X, y = make_regression(200, 4, n_informative=2, random_state=0)
    X = X * [1, 100, 1, 1]
    pipe = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(8,), tol=1e9, random_state=0)).fit(X, y)
    alone = importances(pipe, X, attribution="connection_weights", background=X)
    W = np.linalg.multi_dot(pipe[-1].coefs_)[:, 0]
    Z = pipe[0].transform(X)
    np.testing.assert_allclose(alone.signed, W * np.abs(Z - Z.mean(axis=0)).mean(axis=0))
    assert (alone.error < 1e-6 * alone.values.max()).all()  # rows do not differ
    grouped = importances(pipe, X, attribution="garson", background=X, groups={"pair": [0, 1]})
    shares = importances(pipe, X, attribution="garson", background=X)
    np.testing.assert_allclose(grouped.values, [shares.values[:2].sum(), *shares.values[2:]])
    np.testing.assert_allclose(shares.values.sum(), 1)


def test_explain_all_classes():
    X, y = load_iris(return_X_y=True)
    clf = MLPClassifier((5,), tol=1e9, random_state=0).fit(X, y)
    e = explain(clf, X, attribution="connection_weights", target="all")
    assert e.values.shape == (150, 4, 3)
    np.testing.assert_allclose(e.values.sum(axis=2), 0, atol=1e-12)  # margins of the classes sum to 0
    assert np.isnan(e.base_values).all()


def test_others_are_refused():
    class Convolution(Network):
        head = Head("linear", 1)

        def raw(self, X):
            return X[:, :1]

        def gradient(self, X, target):
            return np.ones(X.shape)

    with pytest.raises(UnsupportedLayerError, match=r"Garson\(\) has no rule for Convolution.*integrated_gradients"):
        values(Garson(), Convolution())
    X, y = load_iris(return_X_y=True)
    with pytest.raises(UnsupportedModelError, match="RandomForestClassifier"):
        importances(RandomForestClassifier(5).fit(X, y), X, attribution="garson")
