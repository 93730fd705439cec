import numpy as np
import pytest

from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain._network import Network
from skexplain.attributions import ExactShapley, KernelSHAP
from skexplain.attributions._kernel_shap import _coalitions, _sizes

from .games import attribute, counting, dense, interrupted, rows, shapley

D = 8
X, B = rows(4, D), rows(60, D, seed=2)
NET = dense(D)
EXACT = attribute(ExactShapley(), NET, X, B)[0]


def fitted(max_evals, tol=0.0, seed=0, net=NET, **given):
    return attribute(KernelSHAP(tol=tol, max_evals=max_evals), net, X, B, seed=seed, **given)


def test_converges_to_the_exact_values():
    values, error, _ = fitted(15_000)
    assert error.max() < 0.01 * np.ptp(EXACT)
    np.testing.assert_allclose(values, EXACT, atol=4 * error.max())


class Product(Network):
    """The product of five columns, and another: coalitions of different sizes disagree about the first."""

    head = Head("linear", 1)

    def raw(self, X):
        return X[:, :5].prod(axis=1, keepdims=True) + X[:, 5:6]

    def gradient(self, X, target):
        raise NotImplementedError


def test_interactions_of_many_columns_are_weighted_as_by_shapley():
    X, B = np.array([[1.0, 1, 1, 3, -2, 1, 1, 1]]), 0.3 + rows(60, D, seed=2) / 5
    exact = attribute(ExactShapley(), Product(), X, B)[0]
    values, error, _ = attribute(KernelSHAP(tol=0, max_evals=15_000), Product(), X, B)
    assert error.max() < 0.02 * np.ptp(exact)
    np.testing.assert_allclose(values, exact, atol=3 * error.max())


@pytest.mark.parametrize("evals", [100, 400, 1000, 1700, 3000])
def test_interval_covers_the_truth(evals):
    inside = []
    for seed in range(200):
        values, error, _ = attribute(KernelSHAP(tol=0, max_evals=evals), NET, X[:2], B, seed=seed)
        inside.append(np.abs(values - EXACT[:, :2]) <= 1.96 * error)
    assert 0.9 <= np.mean(inside) <= 0.99


@pytest.mark.parametrize(("background", "few", "many"), [(300, 1000, 4000), (60, 2080, 5080)])
def test_error_falls_with_the_root_of_the_evaluations(background, few, many):
    """Of pairs of coalitions; of the second 1080 are for values against each background row."""
    B = rows(background, D, seed=2)
    errors = [attribute(KernelSHAP(tol=0, max_evals=evals), NET, X, B)[1].mean() for evals in (few, many)]
    assert 1.8 < errors[0] / errors[1] < 2.2


class Pairs(Network):
    """Columns interact in pairs: nothing is left to chance once all of them have changed alone."""

    head = Head("linear", 1)

    def raw(self, X):
        return (np.exp(X[:, 0]) * np.sin(X[:, 1]) + X[:, 2] * X[:, 3] ** 2 + np.abs(X[:, 4:]).sum(axis=1))[:, None]

    def gradient(self, X, target):
        raise NotImplementedError


def test_pairs_of_columns_are_exact():
    exact = attribute(ExactShapley(), Pairs(), X, B)[0]
    values, error, _ = attribute(KernelSHAP(max_evals=2000), Pairs(), X, B)
    np.testing.assert_allclose(values, exact, atol=1e-9)
    assert error.max() < 1e-9


def test_linear_network_is_exact_in_all_25_columns():
    """shap since 0.47 gives ten of them by default, the others 0."""
    w = np.random.default_rng(3).normal(size=25)
    net = DenseNetwork([w[:, None]], [np.ones(1)], "identity", Head("linear", 1))
    X, B = rows(5, 25), rows(100, 25, seed=2)
    values, error, _ = attribute(KernelSHAP(), net, X, B)
    np.testing.assert_allclose(values[0], w * (X - B.mean(axis=0)), atol=1e-9)
    assert error.max() < 1e-9


def test_linear_network_and_groups_of_columns():
    w = np.random.default_rng(3).normal(size=30)
    net = DenseNetwork([w[:, None]], [np.ones(1)], "identity", Head("linear", 1))
    X, B, groups = rows(5, 30), rows(100, 30, seed=2), [np.arange(k, 30, 15) for k in range(15)]
    values, _, _ = attribute(KernelSHAP(), net, X, B, groups)
    each = w * (X - B.mean(axis=0))
    np.testing.assert_allclose(values[0], np.stack([each[:, g].sum(axis=1) for g in groups], axis=1), atol=1e-9)


def test_sums_are_exact_however_few_the_samples():
    delta = NET.predict(X)[:, 0] - NET.predict(B).mean()
    np.testing.assert_allclose(fitted(64)[0][0].sum(axis=1), delta, atol=1e-12)


def test_tol_stops_each_row_when_it_is_settled():
    net, asked = counting(NET)
    values, error, _ = fitted(15_000, tol=0.05, net=net)
    spread = np.maximum(values.max(axis=-1), 0) - np.minimum(values.min(axis=-1), 0)
    assert (error.max(axis=-1) <= 0.05 * spread).all()
    assert sum(asked) < 0.5 * 15_000 * len(X)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_scale_of_the_output_does_not_matter(factor):
    scaled = dense(D)
    scaled.weights[1] *= factor
    scaled.biases[1] *= factor
    np.testing.assert_allclose(fitted(3000, tol=0.04, net=scaled)[0], factor * fitted(3000, tol=0.04)[0], rtol=1e-6)


def test_rows_do_not_depend_on_each_other():
    values, error, _ = fitted(3000, tol=0.04)
    for i in (0, 2):
        v, e, _ = attribute(KernelSHAP(tol=0.04, max_evals=3000), NET, X[[i]], B)
        np.testing.assert_allclose(v[:, 0], values[:, i], rtol=1e-9)
        np.testing.assert_allclose(e[:, 0], error[:, i], rtol=1e-9)


def test_blocks_do_not_change_the_result(monkeypatch):
    whole = fitted(1000)
    monkeypatch.setattr("skexplain.attributions._kernel_shap.NUMBERS", 600)
    for a, b in zip(fitted(1000)[:2], whole[:2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_evaluations_are_bounded():
    net, asked = counting(NET)
    fitted(1000, net=net)
    assert sum(asked) == 1000 * len(X) + len(X) + len(B)


def test_few_coalitions_are_all_asked():
    few = B[:3]
    values, error, _ = attribute(KernelSHAP(), NET, X, few)
    np.testing.assert_array_equal(values, attribute(ExactShapley(), NET, X, few)[0])
    assert (error == 0).all()


def test_groups_and_targets():
    net, groups = dense(D, outputs=2), [np.array([0, 5, 6]), np.array([1, 7]), np.array([2, 4]), np.array([3])]
    targets = np.array([[0, 1, 0, 1], [1, 1, 0, 0]])
    many = rows(300, D, seed=3)
    values, error, _ = attribute(KernelSHAP(tol=0, max_evals=4000), net, X, many, groups, targets)
    for t, target in enumerate(targets):
        want = [shapley(net, x, many, groups, k) for x, k in zip(X, target, strict=True)]
        assert 0 < error[t].max() < 0.1
        np.testing.assert_allclose(values[t], want, atol=4 * error[t].max())


@pytest.mark.parametrize("d", [1, 2, 3])
def test_few_groups_and_a_large_background(d):
    groups = np.array_split(np.arange(D), d)
    many = rows(5000, D, seed=3)
    values, error, _ = attribute(KernelSHAP(tol=0), NET, X[:1], many, groups)
    np.testing.assert_allclose(values[0, 0], shapley(NET, X[0], many, groups), atol=4 * error.max() + 1e-12)


def test_agrees_with_shap():
    shap = pytest.importorskip("shap")
    explainer = shap.KernelExplainer(lambda Z: NET.predict(Z)[:, 0], B)
    theirs = explainer.shap_values(X, nsamples=2**D, l1_reg=False, silent=True)
    values, error, _ = fitted(15_000)
    np.testing.assert_allclose(EXACT[0], theirs, atol=1e-6)
    np.testing.assert_allclose(values[0], theirs, atol=4 * error.max())


def test_many_columns():
    net, X, B = dense(60), rows(3, 60), rows(20, 60, seed=2)
    values, error, _ = attribute(KernelSHAP(tol=0.05), net, X, B)
    delta = net.predict(X)[:, 0] - net.predict(B).mean()
    np.testing.assert_allclose(values[0].sum(axis=1), delta, atol=1e-9)
    assert (error > 0).all()


def test_interruption_gives_what_there_is():
    with pytest.warns(UserWarning, match=r"Interrupted: kernel SHAP of \d+ or more of 6960 pairs of coalitions a row"):
        values, error, _ = fitted(15_000, net=interrupted(NET, 12))
    assert (np.abs(values - EXACT) <= 5 * error).all()
    with pytest.raises(KeyboardInterrupt):
        fitted(15_000, net=interrupted(NET, 2))


@pytest.mark.parametrize(
    ("params", "message"),
    [({"tol": -1}, "tol"), ({"max_evals": 1.5}, "max_evals"), ({"max_evals": 63}, "max_evals=63 is too few .* 64")],
)
def test_bad_parameters(params, message):
    with pytest.raises((ValueError, TypeError), match=message):
        attribute(KernelSHAP(**params), NET, X, B)


def test_coalitions_are_even():
    S = _coalitions(5, 30, 10, np.random.default_rng(0))
    assert (S.sum(axis=1) == 5).all()
    assert (S.sum(axis=0) == 15).all()
    counts = np.bincount(_sizes(900, 10, np.random.default_rng(0)), minlength=6)
    # sizes 1 to 9 alike, 6 to 9 seen as the complements of 4 to 1
    np.testing.assert_allclose(counts[1:], [200, 200, 200, 200, 100], atol=3)
