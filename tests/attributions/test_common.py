"""Laws that hold for every registered strategy, on networks small enough to know the answer."""

import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone

from skexplain._dense_network import DenseNetwork
from skexplain._explain import _attributed
from skexplain._head import Head
from skexplain._subject import Subject
from skexplain._targets import asked_of
from skexplain.attributions import ATTRIBUTIONS, Attributed, KernelSHAP, ShapleySampling, get_attribution

RNG = np.random.default_rng(0)
D = 5
X, B = RNG.normal(size=(60, D)), RNG.normal(size=(40, D))
X[:, 4] = B[:, 4] = 1.7  # constant
X[:, 3], B[:, 3] = X[:, 1], B[:, 1]  # a copy
TARGET = np.zeros(len(X), int)
OUTPUTS = Head("linear", 3)
ALONE = [np.array([j]) for j in range(D)]


def smooth(seed=0, scale=1.0):
    """A two-layer tanh regressor; column 2 is not used, columns 1 and 3 alike."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(D, 8)) / 2
    W[2] = 0
    W[3] = W[1]
    V = rng.normal(size=(8, 1)) * scale
    return DenseNetwork([W, V], [rng.normal(size=8), np.array([3.0]) * scale], "tanh", Head("linear", 1))


def linear():
    w = np.array([[2.0], [-1.0], [0.0], [0.5], [4.0]])
    return DenseNetwork([w], [np.array([1.0])], "identity", Head("linear", 1)), w[:, 0]


def values(name, net, X=X, B=B, seed=0, groups=ALONE):
    """Global importances by a strategy, straight from its method."""
    strategy, rng = get_attribution(name), np.random.default_rng(seed)
    if not strategy.local:
        y = net.predict(X)[:, 0]
        return strategy.importances(net, X, y, groups, rng)[0]
    return np.abs(local(name, net, X, B, seed)).mean(axis=0)


def local(name, net, X=X, B=B, seed=0, target=0):
    result = get_attribution(name).attribute(net, X, B, np.full(len(X), target), np.random.default_rng(seed))
    return result.values if isinstance(result, Attributed) else result


# what trains an estimator anew, or watches it train, has no bare network to be tested on; these have neither
# convolution nor attention nor gates
BARE = {
    n: a
    for n, a in ATTRIBUTIONS.items()
    if not (a.needs_estimator or a.needs_training or a.needs_convolution or a.needs_attention or a.needs_gates)
}
every = pytest.mark.parametrize("name", sorted(BARE))
every_exchanging = pytest.mark.parametrize("name", sorted(n for n, a in BARE.items() if not a.local))
every_local = pytest.mark.parametrize("name", sorted(n for n, a in BARE.items() if a.local))
every_signed = pytest.mark.parametrize("name", sorted(n for n, a in BARE.items() if a.local and a.signed))
every_complete = pytest.mark.parametrize("name", sorted(n for n, a in BARE.items() if a.complete))


@every
def test_dummy_and_constant_columns_get_nothing(name):
    got = values(name, smooth())
    assert got[2] == 0
    if np.allclose(get_attribution(name).reference(B)[:, 4], X[0, 4]):  # what is compared with zero differs from it
        assert got[4] == pytest.approx(0, abs=1e-12)
    assert (got[[0, 1, 3]] > 0).all()


@every_local
def test_equal_columns_get_the_same(name):
    got = local(name, smooth())
    np.testing.assert_allclose(got[:, 1], got[:, 3], rtol=1e-9)


@every_local
def test_linear_closed_form(name):
    net, w = linear()
    reference = get_attribution(name).reference(X).mean(axis=0)
    expected = np.abs(w) * np.abs(X - reference).mean(axis=0)
    expected /= expected.sum() if get_attribution(name).relative else 1
    np.testing.assert_allclose(values(name, net, B=X), expected, rtol=0.02, atol=1e-12)


@every_complete
@pytest.mark.parametrize("net", [smooth(), linear()[0]], ids=["smooth", "linear"])
def test_completeness(name, net):
    base = net.predict(get_attribution(name).reference(B)).mean()
    delta = net.predict(X)[:, 0] - base
    np.testing.assert_allclose(local(name, net).sum(axis=1), delta, atol=1e-3 * delta.std())


@pytest.mark.parametrize("strategy", [ShapleySampling(tol=0, max_evals=640), KernelSHAP(tol=0, max_evals=640)], ids=str)
def test_sampled_shapley_values_keep_the_laws_within_their_error(strategy):
    """By default the networks here have so few coalitions that all of them are asked."""
    net = smooth()
    V = np.random.default_rng(3).normal(size=(8, 2))
    both = DenseNetwork([net.weights[0], np.c_[V, V.sum(axis=1)]], [net.biases[0], np.zeros(3)], "tanh", OUTPUTS)
    f, g, of_sum = (strategy.attribute(both, X, B, np.full(len(X), k), np.random.default_rng(k)) for k in range(3))
    assert of_sum.error[:, [0, 1, 3]].min() > 0  # drawn, each with other seeds

    def z(difference, *errors):
        return (np.abs(difference) / np.maximum(1e-9, np.sqrt(sum(e**2 for e in errors)))).max()

    assert z(f.values[:, 1] - f.values[:, 3], f.error[:, 1], f.error[:, 3]) < 5
    assert z(f.values + g.values - of_sum.values, f.error, g.error, of_sum.error) < 5
    assert z(f.values[:, [2, 4]], f.error[:, [2, 4]]) < 5
    assert f.error.max() < 0.1 * np.abs(f.values).max()


@every_local
def test_row_does_not_depend_on_its_batch(name):
    order = RNG.permutation(len(X))
    whole = local(name, smooth())
    np.testing.assert_allclose(local(name, smooth(), X[order]), whole[order], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(local(name, smooth(), X[5:6]), whole[5:6], rtol=1e-9, atol=1e-12)


@every
@pytest.mark.parametrize("factor", [0.01, 1000])
def test_scaling_the_output_scales_the_values(name, factor):
    strategy = get_attribution(name)
    power = 0 if strategy.relative else 1 if strategy.local else 2  # squared error
    np.testing.assert_allclose(
        values(name, smooth(scale=factor)), factor**power * values(name, smooth()), rtol=1e-6, atol=1e-12
    )


@every
def test_units_of_the_columns_do_not_matter(name):
    """Metres or millimetres: columns times s, first weights divided by s."""
    s = np.array([1000.0, 0.01, 1.0, 7.0, 0.5])
    net = smooth()
    other = DenseNetwork([net.weights[0] / s[:, None], *net.weights[1:]], net.biases, "tanh", net.head)
    first, again = values(name, net), values(name, other, X * s, B * s)
    # what is drawn for a row depends on its numbers
    tolerance = 0.05 * first.max() if get_attribution(name).stochastic else 1e-9
    np.testing.assert_allclose(again, first, rtol=1e-6, atol=tolerance)


@every_signed
def test_attributions_of_a_sum_of_outputs_are_sums(name):
    net = smooth()
    V = np.random.default_rng(3).normal(size=(8, 2))
    both = DenseNetwork([net.weights[0], np.c_[V, V.sum(axis=1)]], [net.biases[0], np.zeros(3)], "tanh", OUTPUTS)
    f, g, sum_of_both = (local(name, both, target=k) for k in range(3))
    # the control variates of a sampled strategy depend on the output
    tolerance = 0.05 * np.abs(sum_of_both).max() if get_attribution(name).stochastic else 1e-9
    np.testing.assert_allclose(f + g, sum_of_both, rtol=1e-6, atol=tolerance)


@every_local
def test_groups_are_sums_or_replaced_jointly(name):
    strategy, net = get_attribution(name), smooth()
    groups = [np.array([0, 1]), np.array([2]), np.array([3, 4])]
    s = Subject(net, X, B, ("a", "b", "c"), groups, np.array([-1, 2, -1]), strategy, 0)
    (got,) = _attributed(s, X, asked_of(0, net.predict(X), net))
    if hasattr(strategy, "attribute_groups"):
        np.testing.assert_allclose(got.values[:, 1], 0, atol=1e-12)
        (all_of_it,) = _attributed(replace(s, groups=[np.arange(D)]), X, asked_of(0, net.predict(X), net))
        expected = net.predict(X)[:, 0] - net.predict(strategy.reference(B)).mean()
        if name != "occlusion":  # its windows are of columns, whatever the groups are
            np.testing.assert_allclose(all_of_it.values[:, 0], expected, atol=1e-9)
    else:
        v = local(name, net)
        np.testing.assert_allclose(got.values, np.c_[v[:, 0] + v[:, 1], v[:, 2], v[:, 3] + v[:, 4]], atol=1e-12)


@every
def test_seeded(name):
    # with a background too large for all coalitions to be asked with all of it, which would leave nothing to chance
    B = np.random.default_rng(2).normal(size=(300, D))
    first, again, other = (values(name, smooth(), B=B, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    changed = not np.array_equal(first, other)
    assert changed == get_attribution(name).stochastic


@every
def test_input_is_untouched(name):
    rows, background = X.copy(), B.copy()
    rows.flags.writeable = background.flags.writeable = False  # writing would raise
    values(name, smooth(), rows, background)
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(background, B)


@every
def test_global_generator_is_untouched(name):
    before = np.random.get_state()[1].copy()
    values(name, smooth())
    assert (np.random.get_state()[1] == before).all()


@every
def test_stateless_and_cloneable(name):
    strategy = get_attribution(name)
    before = dict(vars(strategy))
    values(name, smooth())
    assert vars(strategy) == before
    assert clone(strategy).get_params() == strategy.get_params()


@every_local
@pytest.mark.parametrize("times", [1, 3])
def test_one_background_row_and_one_row(name, times):
    background = B[:1].repeat(times, axis=0)
    if getattr(get_attribution(name), "scaled", False):  # by the spread over the background, which is 0
        with pytest.raises(ValueError, match=rf"spread over the background, which has {times} row.*scaled=False"):
            local(name, smooth(), X[:1], background)
    else:
        assert np.isfinite(local(name, smooth(), X[:1], background)).all()


@every_exchanging
@pytest.mark.parametrize("times", [1, 3])
def test_rows_of_which_nothing_can_be_exchanged_are_refused(name, times):
    with pytest.raises(ValueError, match=rf"has {times} row\(s\), all alike. Pass at least two different rows"):
        values(name, smooth(), X[:1].repeat(times, axis=0))


@every_local
def test_rows_of_several_dimensions(name):
    class Picture(DenseNetwork):
        def raw(self, X):
            return super().raw(X.reshape(len(X), -1))

        def gradient(self, X, target):
            return super().gradient(X.reshape(len(X), -1), target).reshape(X.shape)

    net = smooth()
    picture = Picture(net.weights, net.biases, "tanh", net.head)
    flat = local(name, net)
    shaped = local(name, picture, X.reshape(-1, 1, D), B.reshape(-1, 1, D))
    np.testing.assert_allclose(shaped.reshape(flat.shape), flat, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(ATTRIBUTIONS))
def test_docstring_says_what_it_is(name):
    text = " ".join(ATTRIBUTIONS[name].__doc__.split())
    parameters = ["Parameters -"] if get_attribution(name).get_params() else []
    for what in (*parameters, "Notes -", "Axioms: ", "Cost: ", "[Bb]iased (by|where) ", "References -", "Examples -"):
        assert re.search(what, text), what
