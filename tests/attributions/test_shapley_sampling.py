import warnings

import numpy as np
import pytest

import skexplain
from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain._network import Network
from skexplain.attributions import ExactShapley, ShapleySampling
from skexplain.attributions._game import contributions, keys_of, orders, prefixes

from .games import alone, attribute, counting, dense, interrupted, rows, shapley

D = 8
X, B = rows(4, D), rows(60, D, seed=2)
NET = dense(D)
EXACT = attribute(ExactShapley(), NET, X, B)[0]


def sampled(max_evals, tol=0.0, seed=0, net=NET, **given):
    return attribute(ShapleySampling(tol=tol, max_evals=max_evals), net, X, B, seed=seed, **given)


def test_converges_to_the_exact_values():
    values, error, _ = sampled(15_000)
    assert error.max() < 0.01 * np.ptp(EXACT)
    np.testing.assert_allclose(values, EXACT, atol=4 * error.max())


@pytest.mark.parametrize("evals", [D * 2 * 20, D * 2 * 50, D * 2 * 150])
def test_interval_covers_the_truth(evals):
    """Before all background rows have been used, shortly before, and after two turns."""
    inside = []
    for seed in range(200):
        values, error, _ = attribute(ShapleySampling(tol=0, max_evals=evals), NET, X[:2], B, seed=seed)
        inside.append(np.abs(values - EXACT[:, :2]) <= 1.96 * error)
    assert 0.9 <= np.mean(inside) <= 0.99


def test_error_falls_with_the_root_of_the_evaluations():
    """Between whole turns; a first turn completed is worth more than its number."""
    assert 1.8 < sampled(2 * 2 * D * 60)[1].mean() / sampled(8 * 2 * D * 60)[1].mean() < 2.2


def test_sums_are_exact_however_few_the_samples():
    delta = NET.predict(X)[:, 0] - NET.predict(B).mean()
    np.testing.assert_allclose(sampled(300)[0][0].sum(axis=1), delta, atol=1e-12)


def test_unused_column_gets_nothing_at_all():
    net = dense(D)
    net.weights[0][3] = 0
    values, error, _ = sampled(500, net=net)
    assert (values[..., 3] == 0).all()
    assert (error[..., 3] == 0).all()


def test_linear_network_is_exact_at_once():
    w = np.arange(1.0, D + 1)
    net, asked = counting(DenseNetwork([w[:, None]], [np.ones(1)], "identity", Head("linear", 1)))
    values, error, _ = sampled(4000, tol=1e-6, net=net)
    np.testing.assert_allclose(values[0], w * (X - B.mean(axis=0)), atol=1e-9)
    assert error.max() < 1e-6
    assert sum(asked) == len(X) + len(B) + len(X) * 16 * 2 * D


def test_tol_stops_each_row_when_it_is_settled():
    net, asked = counting(NET)
    values, error, _ = sampled(15_000, tol=0.05, net=net)
    spread = np.maximum(values.max(axis=-1), 0) - np.minimum(values.min(axis=-1), 0)
    assert (error.max(axis=-1) <= 0.05 * spread).all()
    assert sum(asked) < 0.5 * 15_000 * len(X)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_scale_of_the_output_does_not_matter(factor):
    scaled = dense(D)
    scaled.weights[1] *= factor
    scaled.biases[1] *= factor
    np.testing.assert_allclose(sampled(3000, tol=0.05, net=scaled)[0], factor * sampled(3000, tol=0.05)[0], rtol=1e-6)


def test_rows_are_independent():
    """Also of when the others are settled."""
    values, error, _ = sampled(3000, tol=0.05)
    for i in (0, 2):
        v, e, _ = attribute(ShapleySampling(tol=0.05, max_evals=3000), NET, X[[i]], B)
        np.testing.assert_allclose(v[:, 0], values[:, i], rtol=1e-9)
        np.testing.assert_allclose(e[:, 0], error[:, i], rtol=1e-9)
    twice = attribute(ShapleySampling(tol=0.05, max_evals=3000), NET, X[[3, 0, 3]], B)[0]
    np.testing.assert_allclose(twice, values[:, [3, 0, 3]], rtol=1e-9)


def test_blocks_do_not_change_the_result(monkeypatch):
    whole = sampled(2500)
    monkeypatch.setattr("skexplain.attributions._game.NUMBERS", 256)
    monkeypatch.setattr("skexplain.attributions._shapley_sampling.NUMBERS", 256)
    for a, b in zip(sampled(2500)[:2], whole[:2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_evaluations_are_bounded():
    net, asked = counting(NET)
    sampled(1000, net=net)
    assert 900 * len(X) < sum(asked) <= 1000 * len(X) + len(X) + len(B)


def test_few_coalitions_are_all_asked():
    few = B[:3]
    values, error, _ = attribute(ShapleySampling(), NET, X, few)
    np.testing.assert_array_equal(values, attribute(ExactShapley(), NET, X, few)[0])
    assert (error == 0).all()


def test_groups_and_targets():
    net, groups = dense(D, outputs=2), [np.array([0, 5, 6]), np.array([1, 7]), np.array([2, 4]), np.array([3])]
    targets = np.array([[0, 1, 0, 1], [1, 1, 0, 0]])
    many = rows(300, D, seed=3)
    strategy = ShapleySampling(tol=0, max_evals=4000)
    values, error, _ = attribute(strategy, net, X, many, groups, targets)
    for t, target in enumerate(targets):
        want = [shapley(net, x, many, groups, k) for x, k in zip(X, target, strict=True)]
        assert 0 < error[t].max() < 0.1
        np.testing.assert_allclose(values[t], want, atol=4 * error[t].max())


def test_one_group_gets_everything():
    values, _, _ = attribute(ShapleySampling(), NET, X, rows(3000, D), [np.arange(D)])
    delta = NET.predict(X)[:, 0] - NET.predict(rows(3000, D)).mean()
    np.testing.assert_allclose(values[0, :, 0], delta, atol=1e-12)


def test_agrees_with_shap():
    shap = pytest.importorskip("shap")
    state = np.random.get_state()
    np.random.seed(0)
    explainer = shap.SamplingExplainer(lambda Z: NET.predict(Z)[:, 0], B)
    theirs = explainer.shap_values(X, nsamples=20_000, silent=True)
    np.random.set_state(state)
    values, error, _ = sampled(15_000)
    np.testing.assert_allclose(values[0], theirs, atol=10 * error.max())


def test_interruption_gives_what_there_is():
    net = interrupted(NET, 12)
    with pytest.warns(UserWarning, match=r"Interrupted: Shapley sampling of \d+ or more of 937 permutations a row"):
        values, error, _ = sampled(15_000, net=net)
    assert (np.abs(values - EXACT) <= 5 * error).all()
    with pytest.raises(KeyboardInterrupt):
        sampled(15_000, net=interrupted(NET, 2))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"tol": -1}, "tol"),
        ({"tol": "small"}, "tol"),
        ({"max_evals": 0}, "max_evals"),
        ({"max_evals": 255}, r"max_evals=255 is too few to estimate 8 values .* at least 256, or fewer `groups=`"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises((ValueError, TypeError), match=message):
        attribute(ShapleySampling(**params), NET, X, B)


def test_a_walk_and_its_reverse_are_the_marginal_contributions():
    """By the definition, on a game that is a table."""
    d, rng = 4, np.random.default_rng(0)
    worth = {tuple(S): rng.normal() for S in np.ndindex(*[2] * d)}
    rank = orders(np.array([7]), 0, 3, d)[0]
    before = prefixes(rank)
    v, of_complements = (np.array([[worth[tuple(S.astype(int))] for S in P] for P in T]) for T in (before, ~before))
    for got, r in zip(contributions(v, of_complements, rank), rank, strict=True):
        want = np.zeros(d)
        for order in (np.argsort(r), np.argsort(r)[::-1]):
            S = np.zeros(d, int)
            for j in order:
                before = worth[tuple(S)]
                S[j] = 1
                want[j] += (worth[tuple(S)] - before) / 2
        np.testing.assert_allclose(got, want)


def test_orders_are_uniform_and_belong_to_their_key():
    rank = orders(np.arange(3), 0, 6000, 3)
    _, counts = np.unique(rank[1], axis=0, return_counts=True)
    assert len(counts) == 6
    assert (np.abs(counts - 1000) < 150).all()
    np.testing.assert_array_equal(orders(np.array([2]), 10, 20, 3)[0], rank[2, 10:20])


def test_words_have_keys_too():
    words = np.array([["a", 1.0], ["b", 1.0], ["a", 1.0]], dtype=object)
    keys = keys_of(words, np.random.default_rng(0))
    assert keys[0] == keys[2] != keys[1]


def test_columns_of_words_tell_as_much_as_numbers():
    """An additive model of a word and numbers is nearly exact at once, though the rows are no numbers."""
    levels = {"a": 2.0, "b": -1.0, "c": 0.0}

    class Additive(Network):
        head = Head("linear", 1)

        def raw(self, X):
            return np.array([[levels[row[0]] + sum(row[1:])] for row in X])

        def gradient(self, X, target):
            raise NotImplementedError

    words = np.random.default_rng(4).choice(list(levels), size=200)
    X = np.concatenate([words[:, None].astype(object), rows(200, 6)], axis=1)
    values, error, _ = attribute(ShapleySampling(tol=0, max_evals=400), Additive(), X[:3], X)
    own = np.array([levels[w] for w in words])
    want = own[:3] - own.mean()
    assert error[0, :, 0].max() < 0.1 * own.std()
    np.testing.assert_allclose(values[0, :, 0], want, atol=4 * error.max())


def test_no_bar_and_no_warning_without_a_terminal(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        skexplain.importances(_perceptron(), rows(30, 3), attribution="shapley_sampling", random_state=0)
    assert capsys.readouterr() == ("", "")


def _perceptron():
    from sklearn.neural_network import MLPRegressor

    X = rows(60, 3)
    return MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", alpha=1.0, random_state=0, max_iter=1000).fit(
        X, X @ [1.0, 2, 0]
    )


def test_alone_is_the_default_of_attribute():
    result = ShapleySampling(tol=0, max_evals=1000).attribute(
        NET, X, B, np.zeros(len(X), int), np.random.default_rng(0)
    )
    values, error, _ = sampled(1000, groups=alone(D))
    np.testing.assert_array_equal(result.values, values[0])
    np.testing.assert_array_equal(result.error, error[0])
