"""Small networks, and Shapley values by the definition: over orders, one prediction after the other."""

from itertools import permutations

import numpy as np

from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain._network import Network


def dense(d, seed=0, outputs=1, hidden=12, activation="tanh", scale=1.5):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(d, hidden)) * scale / np.sqrt(d), rng.normal(size=(hidden, outputs))]
    biases = [rng.normal(size=hidden), rng.normal(size=outputs)]
    return DenseNetwork(weights, biases, activation, Head("linear", outputs))


def rows(n, d, seed=1):
    return np.random.default_rng(seed).normal(size=(n, d))


def alone(d):
    return [np.array([j]) for j in range(d)]


def by_orders(worth, d):
    """Mean over all orders of what each player adds to those before it."""
    known, phi, orders = {}, np.zeros(d), list(permutations(range(d)))
    for order in orders:
        for k, j in enumerate(order):
            before, after = frozenset(order[:k]), frozenset(order[: k + 1])
            for S in (before, after):
                if S not in known:
                    known[S] = worth(S)
            phi[j] += known[after] - known[before]
    return phi / len(orders)


def shapley(net, x, background, groups, target=0):
    def worth(S):
        Z = background.copy()
        for g in S:
            Z[:, groups[g]] = x[groups[g]]
        return net.predict(Z)[:, target].mean()

    return by_orders(worth, len(groups))


def attribute(strategy, net, X, background, groups=None, targets=None, seed=0):
    """Values and errors of each row, ``(n_targets, n, n_groups)``."""
    groups = alone(X.shape[1]) if groups is None else groups
    targets = np.zeros((1, len(X)), int) if targets is None else targets
    rng = np.random.default_rng(seed)
    result = strategy.attribute_groups(net, X, background, groups, targets, rng)
    return result if isinstance(result, tuple) else (result, None, None)


def counting(net):
    """The network, and a list of how many rows it was asked at a time."""
    asked = []

    class Counting(DenseNetwork):
        predict_coalitions = Network.predict_coalitions  # which asks `raw` for each row

        def raw(self, X):
            asked.append(len(X))
            return super().raw(X)

    counted = Counting.__new__(Counting)
    counted.__dict__ = net.__dict__
    return counted, asked


def interrupted(net, after):
    """The network, until it has been asked ``after`` times."""
    counted, asked = counting(net)

    class Interrupted(type(counted)):
        def raw(self, X):
            if len(asked) >= after:
                raise KeyboardInterrupt
            return super().raw(X)

    stopping = Interrupted.__new__(Interrupted)
    stopping.__dict__ = net.__dict__
    return stopping
