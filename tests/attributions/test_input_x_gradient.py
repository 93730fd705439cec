import numpy as np
import pytest

from skexplain import CompletenessError
from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain._network import Network
from skexplain.attributions import InputXGradient

RNG = np.random.default_rng(0)
X, B = RNG.normal(size=(20, 3)), RNG.normal(size=(10, 3)) + 1
TARGET = np.zeros(20, int)


@pytest.mark.parametrize(
    ("baseline", "b"),
    [("zero", 0), ("mean", B.mean(axis=0)), ("background", B.mean(axis=0)), ([1, 2, 3], np.array([1, 2, 3]))],
)
def test_linear(baseline, b):
    w = np.array([2.0, -1, 5])
    net = DenseNetwork([w[:, None]], [np.ones(1)], "identity", Head("linear", 1))
    got = InputXGradient(baseline=baseline).attribute(net, X, B, TARGET, RNG)
    np.testing.assert_allclose(got.values, (X - b) * w)


def test_complete_on_relu_without_biases():
    W = [RNG.normal(size=(3, 16)), RNG.normal(size=(16, 8)), RNG.normal(size=(8, 1))]
    net = DenseNetwork(W, [np.zeros(16), np.zeros(8), np.zeros(1)], "relu", Head("linear", 1))
    got = InputXGradient().attribute(net, X, B, TARGET, RNG).values
    np.testing.assert_allclose(got.sum(axis=1), net.predict(X)[:, 0])


class Step(Network):
    """A network with a step in it, whose gradient is 0 for no good reason."""

    head = Head("linear", 1)

    def raw(self, X):
        return np.floor(X).sum(axis=1, keepdims=True)

    def gradient(self, X, target):
        return np.zeros(X.shape)


def test_cut_gradient_is_refused():
    with pytest.raises(CompletenessError, match="attribution='permutation'"):
        InputXGradient().attribute(Step(), X, B, TARGET, RNG)


def test_bad_baseline():
    with pytest.raises(ValueError, match=r"baseline has shape \(2,\)"):
        InputXGradient(baseline=[0, 0]).attribute(Step(), X, B, TARGET, RNG)
