from functools import partial

import numpy as np
import pytest

from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain._network import Network
from skexplain.attributions import ExpectedGradients, IntegratedGradients
from skexplain.attributions._expected_gradients import row_hash

from .games import dense

RNG = np.random.default_rng(0)
X, B = RNG.normal(size=(30, 4)), RNG.normal(size=(25, 4))
TARGET = np.zeros(len(X), int)


class Product(Network):
    """f = x0 x1: over the background, phi_0 = E (x0 - b0)(x1 + b1) / 2."""

    head = Head("linear", 1)

    def raw(self, X):
        return X[:, :1] * X[:, 1:2]

    def gradient(self, X, target):
        return np.c_[X[:, 1], X[:, 0], 0 * X[:, 2:]]


def exact():
    x, b = X[:, None], B[None]
    return np.stack(
        [
            ((x[..., 0] - b[..., 0]) * (x[..., 1] + b[..., 1]) / 2).mean(axis=1),
            ((x[..., 1] - b[..., 1]) * (x[..., 0] + b[..., 0]) / 2).mean(axis=1),
        ],
        axis=1,
    )


def attribute(n_samples, seed=0, net=None):
    return ExpectedGradients(n_samples=n_samples).attribute(net or Product(), X, B, TARGET, np.random.default_rng(seed))


def test_closed_form_of_a_product():
    got = attribute(20_000)
    np.testing.assert_allclose(got.values[:, :2], exact(), atol=5 * got.error.max())
    assert got.error.max() < 0.02


def test_equals_integrated_gradients_averaged_over_the_background():
    rng = np.random.default_rng(1)
    weights, biases = [rng.normal(size=(4, 8)), rng.normal(size=(8, 1))], [rng.normal(size=8), np.zeros(1)]
    net = DenseNetwork(weights, biases, "tanh", Head("linear", 1))
    each = [IntegratedGradients(n_steps=64, baseline=b).attribute(net, X, B, TARGET, rng).values for b in B]
    got = attribute(4000, net=net)
    z = np.abs(got.values - np.mean(each, axis=0)) / np.maximum(got.error, 1e-12)
    assert np.quantile(z, 0.95) < 2.5


def of_dense(activation):
    """A network, and its values by integration from each background row."""
    net = dense(4, activation=activation)
    from_each = IntegratedGradients(n_steps=256, baseline="background")
    return net, from_each.attribute(net, X, B, TARGET, np.random.default_rng(0)).values


PROBLEMS = {
    "product": lambda: (Product(), exact()),
    "relu": lambda: of_dense("relu"),
    "tanh": lambda: of_dense("tanh"),
}


@pytest.mark.parametrize(
    ("problem", "n_samples"),
    [("product", 30), ("product", 100), ("product", 200), ("relu", 20), ("relu", 60), ("tanh", 20)],
)
def test_standard_error_covers_the_truth(problem, n_samples, monkeypatch):
    """Before the background has been used up, between turns, and with two gradients on a path."""
    monkeypatch.setattr("skexplain.attributions._expected_gradients.check_paths", lambda *args: None)  # slow at kinks
    (net, truth), inside = PROBLEMS[problem](), []
    for seed in range(200):
        got, k = attribute(n_samples, seed, net), truth.shape[1]
        inside.append(np.abs(got.values[:, :k] - truth) <= 1.96 * got.error[:, :k])
    assert 0.9 <= np.mean(inside) <= 0.99


@pytest.mark.parametrize(("problem", "n_samples"), [("product", 60), ("relu", 400), ("tanh", 60), ("tanh", 200)])
def test_standard_error_is_rather_too_large_where_strata_leave_little_to_chance(problem, n_samples, monkeypatch):
    monkeypatch.setattr("skexplain.attributions._expected_gradients.check_paths", lambda *args: None)
    (net, truth), off = PROBLEMS[problem](), []
    for seed in range(50):
        got, k = attribute(n_samples, seed, net), truth.shape[1]
        off.append((got.values[:, :k] - truth) / got.error[:, :k])
    assert np.mean(np.abs(off) <= 1.96) >= 0.95
    assert 0.25 < np.sqrt(np.mean(np.square(off))) < 0.9  # at most four times


def test_standard_error_falls_with_samples():
    ratio = attribute(50).error[:, :2].mean() / attribute(800).error[:, :2].mean()
    assert 3 < ratio < 6


def test_sums_are_exact_though_sampled():
    for n in (10, 100):
        delta = Product().predict(X)[:, 0] - Product().predict(B).mean()
        np.testing.assert_allclose(attribute(n).values.sum(axis=1), delta, atol=1e-9)


def test_control_variate_reduces_the_error():
    """Against plain sampling of the same size."""
    errors = {"plain": [], "controlled": []}
    for seed in range(30):
        rng = np.random.default_rng(seed)
        b, a = B[rng.integers(len(B), size=(len(X), 50))], rng.random((len(X), 50, 1))
        points = b + a * (X[:, None] - b)
        plain = ((X[:, None] - b)[..., :2] * points[..., [1, 0]]).mean(axis=1)
        errors["plain"].append(plain - exact())
        errors["controlled"].append(attribute(50, seed).values[:, :2] - exact())
    assert np.std(errors["controlled"]) < 0.5 * np.std(errors["plain"])


def test_interruption_gives_what_there_is(monkeypatch):
    monkeypatch.setattr("skexplain.attributions._expected_gradients.PATHS_AT_ONCE", 10)

    class Interrupted(Product):
        calls = 0

        def path_contributions(self, *args):
            Interrupted.calls += 1
            if Interrupted.calls > 2:
                raise KeyboardInterrupt
            return super().path_contributions(*args)

    with pytest.warns(UserWarning, match="Interrupted: expected gradients of the first 20 paths"):
        got = attribute(100, net=Interrupted())
    assert np.isfinite(got.values).all()


def test_an_interruption_while_samples_are_added_leaves_them_out(monkeypatch):
    """All of a block's sums are added, or none: what is given is what the paths before give."""
    monkeypatch.setattr("skexplain.attributions._expected_gradients.PATHS_AT_ONCE", 10)
    given = {}
    for place in ("path_contributions", "einsum"):
        calls = []

        def interrupted(*args, original, calls=calls, most=1):
            calls.append(1)
            if len(calls) > most:
                raise KeyboardInterrupt
            return original(*args)

        net = Product()
        with monkeypatch.context() as m:
            if place == "einsum":  # five a block
                m.setattr(np, "einsum", partial(interrupted, original=np.einsum, most=7))
            else:
                m.setattr(net, place, partial(interrupted, original=net.path_contributions), raising=False)
            with pytest.warns(UserWarning, match="first 10 paths"):
                given[place] = attribute(100, net=net).values
    np.testing.assert_array_equal(given["einsum"], given["path_contributions"])


def test_row_hash_depends_on_values_only():
    rng = np.random.default_rng(0)
    h = row_hash(X, np.random.default_rng(0))
    order = rng.permutation(len(X))
    np.testing.assert_array_equal(row_hash(X[order], np.random.default_rng(0)), h[order])
    assert len(np.unique(h)) == len(X)
    assert (h < 2**63).all()


@pytest.mark.parametrize("n", [9, 0, 2.5])
def test_bad_n_samples(n):
    with pytest.raises((ValueError, TypeError), match="n_samples"):
        attribute(n)
