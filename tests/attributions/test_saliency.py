import numpy as np
import pytest

from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain.attributions import Saliency


def test_scaled_and_bare():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3)) * [1, 10, 0]
    w = np.array([[2.0], [-1], [5]])
    net = DenseNetwork([w], [np.zeros(1)], "identity", Head("linear", 1))
    target = np.zeros(20, int)
    bare = Saliency(scaled=False).attribute(net, X, X, target, rng)
    np.testing.assert_allclose(bare.values, np.tile([2, 1, 5], (20, 1)))
    scaled = Saliency().attribute(net, X, X, target, rng)
    np.testing.assert_allclose(scaled.values, bare.values * np.abs(X - X.mean(axis=0)).mean(axis=0))


def test_scaled_by_what_does_not_vary():
    net = DenseNetwork([np.ones((3, 1))], [np.zeros(1)], "identity", Head("linear", 1))
    X, target = np.eye(3), np.zeros(3, int)
    with pytest.raises(ValueError, match=r"attribution=Saliency\(\) .*`background=` with rows .*scaled=False"):
        Saliency().attribute(net, X, X[:1], target, np.random.default_rng(0))
    bare = Saliency(scaled=False).attribute(net, X, X[:1], target, np.random.default_rng(0))
    np.testing.assert_array_equal(bare.values, 1)
