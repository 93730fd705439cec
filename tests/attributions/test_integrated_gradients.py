import numpy as np
import pytest

from skexplain import CompletenessError
from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain._network import Network
from skexplain.attributions import ExpectedGradients, IntegratedGradients
from skexplain.attributions._completeness import gauss_legendre

X, B = np.array([[2.0, 3.0], [1.0, -1.0]]), np.array([[0.0, 1.0], [2.0, 1.0]])
TARGET = np.zeros(2, int)


class Formula(Network):
    head = Head("linear", 1)

    def __init__(self, f, slope):
        self.f, self.slope = f, slope

    def raw(self, X):
        return self.f(X)[:, None]

    def gradient(self, X, target):
        return self.slope(X)


SQUARES = Formula(lambda X: (X**2).sum(axis=1), lambda X: 2 * X)


def attribute(net, **params):
    return IntegratedGradients(**params).attribute(net, X, B, TARGET, None)


@pytest.mark.parametrize(("baseline", "b"), [("mean", [1.0, 1.0]), ("zero", [0.0, 0.0]), ([4.0, -2.0], [4.0, -2.0])])
def test_closed_form_of_squares(baseline, b):
    np.testing.assert_allclose(attribute(SQUARES, baseline=baseline).values, X**2 - np.square(b), atol=1e-12)


@pytest.mark.parametrize("baseline", ["background", [[4.0, -2.0], [1.0, 0.0], [3.0, 5.0]]])
def test_several_baselines_are_averaged(baseline):
    rows = B if baseline == "background" else np.array(baseline)
    got = attribute(SQUARES, baseline=baseline)
    np.testing.assert_allclose(got.values, X**2 - (rows**2).mean(axis=0), atol=1e-12)
    np.testing.assert_array_equal(IntegratedGradients(baseline=baseline).reference(B), rows)


def test_background_is_the_limit_of_expected_gradients():
    rng = np.random.default_rng(0)
    W, V = rng.normal(size=(2, 8)), rng.normal(size=(8, 1))
    net = DenseNetwork([W, V], [rng.normal(size=8), np.zeros(1)], "tanh", Head("linear", 1))
    exact = attribute(net, baseline="background")
    np.testing.assert_allclose(exact.values.sum(axis=1), (net.predict(X) - net.predict(B).mean())[:, 0], atol=1e-3)
    sampled = ExpectedGradients(n_samples=4000).attribute(net, X, B, TARGET, rng)
    assert (np.abs(sampled.values - exact.values) < 4 * sampled.error + 1e-3).all()


def test_every_baseline_is_refined():
    """Through a kink that lies elsewhere on the way from each."""
    net = Formula(lambda X: np.maximum(X[:, 0] - 0.777, 0), lambda X: np.c_[(X[:, 0] > 0.777) * 1.0, np.zeros(len(X))])
    got = attribute(net, n_steps=8, baseline=[[0.0, 0.0], [-3.0, 0.0], [0.7, 1.0]])
    np.testing.assert_allclose(got.values[:, 0], [2 - 0.777, 1 - 0.777], atol=1e-3)
    assert got.gap < 1e-3


def test_one_step_is_the_midpoint():
    net = Formula(lambda X: X[:, 0], lambda X: np.c_[np.ones(len(X)), np.zeros(len(X))])
    np.testing.assert_allclose(attribute(net, n_steps=1, baseline="zero").values, np.c_[X[:, 0], [0, 0]])


def test_steps_are_refined_until_it_adds_up():
    net = Formula(lambda X: np.maximum(X[:, 0] - 0.777, 0), lambda X: np.c_[(X[:, 0] > 0.777) * 1.0, np.zeros(len(X))])
    got = attribute(net, n_steps=2, baseline="zero")
    np.testing.assert_allclose(got.values[:, 0], [2 - 0.777, 1 - 0.777], atol=1e-3)
    assert got.gap < 1e-3


@pytest.mark.parametrize("n_steps", [1, 3, 32, 40])
def test_few_steps_to_begin_with_are_no_reason_to_give_up(n_steps):
    """Kinks of ReLU need hundreds of steps, which are taken wherever one begins."""
    rng = np.random.default_rng(0)
    W, V, many = rng.normal(size=(2, 32)), rng.normal(size=(32, 1)), rng.normal(size=(200, 2))
    net = DenseNetwork([W, V], [rng.normal(size=32), np.zeros(1)], "relu", Head("linear", 1))
    got = IntegratedGradients(n_steps=n_steps).attribute(net, many, many[:50], np.zeros(200, int), None)
    assert got.gap < 1e-3


def test_the_steps_that_were_taken_are_told():
    net = Formula(lambda X: np.floor(X[:, 1]), np.zeros_like)
    for n_steps, most in ((1, 8192), (32, 8192), (40, 10240)):
        with pytest.raises(CompletenessError, match=f"with up to {most} steps"):
            attribute(net, n_steps=n_steps)


def test_cut_gradient_is_refused():
    net = Formula(lambda X: X[:, 0] + np.floor(X[:, 1]), lambda X: np.c_[np.ones(len(X)), np.zeros(len(X))])
    with pytest.raises(CompletenessError, match=r"miss f\(x\) - f\(reference\) by up to"):
        attribute(net)


def test_infinite_gradient_is_refused():
    net = Formula(lambda X: np.sqrt(np.abs(X[:, 0])), lambda X: np.full(X.shape, np.nan))
    with pytest.raises(CompletenessError, match="gradient is not finite"):
        attribute(net)


def test_constant_network():
    assert not attribute(Formula(lambda X: np.ones(len(X)), np.zeros_like)).values.any()


@pytest.mark.parametrize("n", [1, 7, 128, 300, 4096])
def test_quadrature_is_a_rule_on_the_unit_interval(n):
    nodes, weights = gauss_legendre(n)
    assert weights.sum() == pytest.approx(1)
    assert (weights @ nodes) == pytest.approx(0.5)
    assert 0 < nodes.min() <= nodes.max() < 1


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_steps": 0}, "n_steps == 0, must be >= 1"),
        ({"baseline": "median"}, r"Unknown baseline 'median'; valid names are \['background', 'mean', 'zero'\]"),
        ({"baseline": [1, 2, 3]}, r"baseline has shape \(3,\)"),
        ({"baseline": [np.nan, 0]}, "must be finite"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        attribute(SQUARES, **params)


def test_outputs_too_large_for_their_spread_are_refused():
    net = Formula(lambda X: 1e9 + X.sum(axis=1), np.ones_like)
    with pytest.raises(CompletenessError, match=r"rounding hides .*dtype='float64'"):
        attribute(net)
    exact = Formula(net.f, net.slope)
    exact.__class__ = type("Double", (Formula,), {"eps": np.finfo(np.float64).eps})
    np.testing.assert_allclose(attribute(exact).values, X - B.mean(axis=0))
