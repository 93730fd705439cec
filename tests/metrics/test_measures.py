"""Measures of explanations: laws, closed forms on a linear network, and captum where it has the measure."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kruskal, spearmanr
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skexplain
from skexplain.attributions import Ablation, Attribution, ExactShapley, IntegratedGradients, Saliency
from skexplain.datasets import make_correlated_blocks, make_interactions, make_linear, make_xor
from skexplain.metrics import (
    Curve,
    _sensitivity,
    completeness,
    deletion,
    infidelity,
    insertion,
    kar,
    max_sensitivity,
    no_model_importances,
    recovery,
    roar,
    stability,
)
from skexplain.metrics._infidelity import random_sets
from skexplain.metrics._judged import judged
from skexplain.metrics._removal import Removal
from skexplain.metrics._retraining import _without

RNG = np.random.default_rng(0)
W = np.array([3.0, -2.0, 1.0, 0.0])


class Linear(MLPRegressor):
    """An exact linear network, ``X @ W + 1``, not trained."""

    def fit(self, X, y=None):
        self.set_params(hidden_layer_sizes=(4,), activation="identity", max_iter=1)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            super().fit(X, X @ W)
        self.coefs_ = [np.eye(4), W[:, None]]
        self.intercepts_ = [np.zeros(4), np.ones(1)]
        return self


class Given(Attribution):
    """Values that are known."""

    def __init__(self, values=None):
        self.values = values

    def attribute(self, network, X, background, target, rng):
        return np.broadcast_to(self.values, X.shape).copy()


@pytest.fixture(scope="module")
def linear():
    X = np.random.default_rng(1).normal(size=(30, 4))
    return Linear().fit(X), X


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    return MLPClassifier((8,), max_iter=3000, random_state=0).fit(X, y), X


# --- recovery


def test_recovery_by_hand():
    r = recovery([5, 4, 3, 2, 1], np.array([True, False, True, False, False]))
    assert r.auc == 5 / 6  # of 6 pairs all but one
    assert (r.best_p, r.false_discoveries, r.power) == (0.5, 1, 0.5)
    r = recovery([5, 4, 3, 2, 1], np.array([True, False, True, False, False]), selected=np.arange(5) < 3)
    assert (r.false_discoveries, r.false_discovery_proportion, r.power) == (1, 1 / 3, 1)
    none = recovery([5, 4, 3], np.array([True, False, False]), selected=np.zeros(3, bool))
    assert (none.false_discovery_proportion, none.power) == (0, 0)


@pytest.mark.parametrize("order", [[True] * 3 + [False] * 7, [False] * 7 + [True] * 3])
def test_importances_without_differences_recover_nothing(order):
    r = recovery(np.zeros(10), np.array(order))
    assert r.auc == 0.5
    assert r.best_p == pytest.approx(0.3)


def test_random_orders_have_the_moments_that_are_said():
    important = np.arange(12) < 4
    of = [recovery(RNG.random(12), important) for _ in range(2000)]
    for found, said in (([r.auc for r in of], of[0].random_auc), ([r.best_p for r in of], of[0].random_best_p)):
        assert np.mean(found) == pytest.approx(said[0], abs=0.02)
        assert np.std(found) == pytest.approx(said[1], rel=0.05)


def test_the_control_without_a_model_sees_columns_and_no_interactions():
    additive, product = make_linear(2000, 20, random_state=0), make_interactions(2000, 20, random_state=0)
    for data, auc in ((additive, 1.0), (product, 0.5)):
        r = recovery(RNG.random(20), data.important, X=data.data, y=data.target)
        assert r.no_model_auc == pytest.approx(auc, abs=0.3 if auc < 1 else 0)
    xor = make_xor(1000, 5, random_state=0)
    assert no_model_importances(xor.data, xor.target).max() < 0.2


def test_control_against_scipy():
    X, y = load_iris(return_X_y=True)
    got = no_model_importances(X, y)
    # ties lower the total of the ranks' squares in both
    expected = [np.sqrt(kruskal(*(X[y == k, j] for k in range(3))).statistic / (len(y) - 1)) for j in range(4)]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_allclose(no_model_importances(X, X[:, 0] ** 3 + 0.5), abs(spearmanr(X).statistic[0]), rtol=1e-6)
    assert no_model_importances(np.ones((150, 1)), y) == 0


# --- completeness


def test_completeness(linear, iris):
    net, X = linear
    good = skexplain.explain(net, X, attribution="integrated_gradients", random_state=0)
    assert completeness(good).value < 1e-6
    assert completeness(good).no_model == pytest.approx(
        np.abs(good.predictions - good.base_values).mean()
        / np.sqrt(np.mean((good.predictions - good.base_values) ** 2))
    )
    assert completeness(replace(good, values=0 * good.values)).value == pytest.approx(completeness(good).no_model)
    every = skexplain.explain(*iris, attribution="integrated_gradients", target="all", random_state=0)
    assert completeness(every).value < 1e-2
    with pytest.raises(ValueError, match="no base value"):
        completeness(skexplain.explain(net, X, attribution="saliency"))


# --- deletion and insertion


def test_curves_of_a_linear_network(linear):
    """Mean output with k columns at 0: what is left of the sum, ordered."""
    net, X = linear
    phi = X * W
    e = skexplain.explain(net, X, attribution=IntegratedGradients(baseline="zero"), random_state=0)
    d, i = (f(net, e, removal="zero", n_steps=4) for f in (deletion, insertion))
    descending = -np.sort(-phi, axis=1)
    left = np.array([descending[:, k:].sum(axis=1).mean() for k in range(5)]) + 1
    np.testing.assert_allclose(d.values, left, atol=1e-6)
    np.testing.assert_allclose(i.values, phi.sum(axis=1).mean() + 2 - left, atol=1e-6)
    np.testing.assert_allclose(d.fractions, [0, 0.25, 0.5, 0.75, 1])
    for curve in (d, i):
        assert curve.gain > 0
        np.testing.assert_allclose(curve.random[:, [0, -1]], np.tile(curve.values[[0, -1]], (5, 1)))
        np.testing.assert_allclose(curve.no_model[[0, -1]], curve.values[[0, -1]])
    assert d.area < d.random_areas.min()
    assert i.area > i.random_areas.max()


def test_a_reversed_order_is_worse_than_chance(linear):
    net, X = linear
    e = skexplain.explain(net, X, random_state=0)
    wrong = replace(e, values=-e.values)
    assert deletion(net, e).gain > 0 > deletion(net, wrong).gain
    assert insertion(net, e).gain > 0 > insertion(net, wrong).gain


def test_values_without_differences_are_as_good_as_chance():
    """Wherever the columns that matter stand, here in front; also with the seed under which [0, 1, 2, ...] is drawn."""
    data = make_linear(300, 8, n_important=3, noise=0, random_state=0)
    net = LinearRegression().fit(data.data, data.target)
    e = skexplain.explain(net, data.data, attribution=Ablation(), random_state=0)
    zeros = replace(e, values=0 * e.values)
    for measure in (deletion, insertion):
        right, nothing = measure(net, e, by="size"), measure(net, zeros, by="size")
        assert abs(nothing.gain) < 0.2 * right.gain
    areas = [kar(net, data.data, data.target, v, n_steps=8, n_random=20) for v in (abs(data.coef), np.zeros(8))]
    # three columns of eight among k drawn have the share k / 8 of the variance on average
    assert np.mean(areas[0].random_areas) == pytest.approx(0.5, abs=0.06)
    assert areas[1].area < 0.75 < areas[0].area
    assert areas[0].random.std(axis=0)[1:-1].min() > 0


def test_sizes_need_to_be_asked_for(linear):
    net, X = linear
    e = skexplain.explain(net, X, attribution=Saliency())
    with pytest.raises(ValueError, match="by='size'"):
        deletion(net, e)
    curve = deletion(net, e, by="size", removal="zero", n_steps=4)
    # the same order for all rows: the columns by |w|
    moved = [-np.abs((X * W)[:, :k].sum(axis=1)).mean() for k in range(5)]
    np.testing.assert_allclose(curve.values, moved, atol=1e-6)
    with pytest.raises(ValueError, match="without a sign"):
        infidelity(net, e)


def test_conditional_removal_draws_what_is_left_foretells():
    """Of two columns with correlation 0.9, the one taken away has mean 0.9 times the other and variance 0.19."""
    rng = np.random.default_rng(0)
    X = rng.multivariate_normal([5, -1], [[1, 0.9], [0.9, 1]], size=4000)
    net = LinearRegression().fit(X, X.sum(axis=1))
    e = skexplain.explain(net, X[:40], attribution=Ablation(), background=X)
    j = judged(net, e, X)
    remove = Removal("conditional", j, 2000, rng)
    rows = remove(np.tile([True, False], (40, 1)))
    np.testing.assert_array_equal(rows[..., 1], np.tile(X[:40, 1], (2000, 1)))
    np.testing.assert_allclose(rows[..., 0].mean(axis=0), 5 + 0.9 * (X[:40, 1] + 1), atol=0.1)
    np.testing.assert_allclose(rows[..., 0].var(axis=0), 0.19, atol=0.04)
    both = remove(np.ones((40, 2), dtype=bool))
    assert np.corrcoef(both.reshape(-1, 2).T)[0, 1] == pytest.approx(0.9, abs=0.03)
    assert deletion(net, e, background=X, removal="conditional").gain > 0


def test_groups_are_taken_together(iris):
    net, X = iris
    groups = {"sepal": [0, 1], "petal": [2, 3]}
    e = skexplain.explain(net, X[::10], groups=groups, background=X, random_state=0)
    curve = deletion(net, e, background=X)
    assert curve.fractions.tolist() == [0, 0.5, 1]
    whole = skexplain.explain(net, X[::10], groups=groups, background=X, attribution="ablation", random_state=0)
    for r in (infidelity(net, whole, background=X, removal="mean"), infidelity(net, e, background=X)):
        assert r.value < r.no_model


def test_pipelines_and_frames():
    pytest.importorskip("pandas")
    X, y = load_iris(return_X_y=True, as_frame=True)
    pipe = make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=3000, random_state=0)).fit(X, y)
    e = skexplain.explain(pipe, X.iloc[::10], background=X, random_state=0)
    assert deletion(pipe, e, background=X).gain > 0
    assert float(infidelity(pipe, e, background=X)) < infidelity(pipe, e, background=X).no_model


def test_names_of_ones_own(linear):
    net, X = linear
    e = skexplain.explain(net, X, feature_names=list("abcd"), random_state=0)
    assert deletion(net, e).gain > 0


def test_what_was_not_explained_is_refused(linear, iris):
    net, X = linear
    e = skexplain.explain(net, X, random_state=0)
    other = Linear().fit(X)
    other.intercepts_ = [np.zeros(4), np.zeros(1)]
    with pytest.raises(ValueError, match="model that was explained"):
        deletion(other, e)
    with pytest.raises(ValueError, match="removal='blur'"):
        deletion(net, e, removal="blur")
    with pytest.raises(ValueError, match="by='rank'"):
        deletion(net, e, by="rank")
    with pytest.raises(TypeError, match="no columns that can be taken away"):
        deletion(net, np.ones((30, 4)))
    few = skexplain.explain(net, X[:9], random_state=0)
    with pytest.raises(ValueError, match="at least 20 rows"):
        deletion(net, few, removal="conditional")
    every = skexplain.explain(*iris, target="all", random_state=0)
    with pytest.raises(ValueError, match="every output"):
        deletion(iris[0], every)
    function = skexplain.explain(*iris, target=lambda f: f[:, 1] - f[:, 0], random_state=0)
    with pytest.raises(ValueError, match="function of the outputs"):
        deletion(iris[0], function)


def test_curves_by_their_definition(iris):
    """One row and one column after the other, as pixels are flipped in images; the mean stands in."""
    net, X = iris
    mean = X.mean(axis=0)
    e = skexplain.explain(net, X[::10], background=X, target=2, output="logit", random_state=0)
    d, i = (f(net, e, removal="mean", background=X, n_steps=4).values for f in (deletion, insertion))
    logit = np.maximum(X @ net.coefs_[0] + net.intercepts_[0], 0) @ net.coefs_[1] + net.intercepts_[1]
    np.testing.assert_allclose(e.predictions, logit[::10, 2], rtol=1e-6)
    expected = np.zeros((2, 5))
    for x, values in zip(X[::10], e.values, strict=True):
        left, back = x.copy(), mean.copy()
        for k in range(5):
            for f, row in zip(expected, (left, back), strict=True):
                hidden = np.maximum(row @ net.coefs_[0] + net.intercepts_[0], 0)
                f[k] += (hidden @ net.coefs_[1] + net.intercepts_[1])[2] / len(e)
            if k < 4:
                j = np.argsort(-values)[k]
                left[j], back[j] = mean[j], x[j]
    np.testing.assert_allclose([d, i], expected, rtol=1e-6)


# --- infidelity


def test_infidelity_of_a_linear_network(linear):
    net, X = linear
    right = skexplain.explain(net, X, attribution=IntegratedGradients(baseline="zero"), random_state=0)
    measured = infidelity(net, right, removal="zero")
    assert measured.value < 1e-10
    assert measured.random > 0.1 * measured.no_model > 0.1
    # values that are all 0 foretell that nothing happens
    nothing = skexplain.explain(net, X, attribution=Given(np.zeros(4)), random_state=0)
    assert infidelity(net, nothing, removal="zero").value == pytest.approx(measured.no_model)
    # and a factor is forgiven where it is asked to be
    twice = replace(right, values=2 * right.values)
    assert infidelity(net, twice, removal="zero").value == pytest.approx(measured.no_model)  # (2a - a)^2
    assert infidelity(net, twice, removal="zero", normalize=True).value < 1e-10


def test_random_sets_are_of_every_size():
    sizes = np.concatenate([S.sum(axis=1) for S in random_sets(300, (20, 4), RNG)])
    np.testing.assert_allclose(np.bincount(sizes, minlength=5)[1:] / len(sizes), 0.25, atol=0.03)


@pytest.mark.parametrize("normalize", [False, True])
def test_infidelity_is_captums(iris, normalize, monkeypatch):
    torch = pytest.importorskip("torch")
    captum = pytest.importorskip("captum.metrics")
    net, X = iris
    X = X[::15]
    e = skexplain.explain(net, X, attribution=ExactShapley(), background=X, target=1, output="logit", random_state=0)
    seen = []

    def recorded(*args):
        for S in random_sets(*args):
            seen.append(S)
            yield S

    monkeypatch.setattr("skexplain.metrics._infidelity.random_sets", recorded)
    ours = infidelity(net, e, removal="mean", background=X, n_samples=20, normalize=normalize)
    logits = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).double()
    with torch.no_grad():
        for layer, (coef, intercept) in zip(logits[::2], zip(net.coefs_, net.intercepts_, strict=True), strict=True):
            layer.weight.copy_(torch.tensor(coef.T))
            layer.bias.copy_(torch.tensor(intercept))
    # captum asks for each row's perturbations one after the other
    S = torch.tensor(np.array(seen).transpose(1, 0, 2).reshape(-1, 4))
    mean = torch.tensor(X.mean(axis=0))

    def perturb(inputs):
        return S.double(), torch.where(S, mean, inputs)

    theirs = captum.infidelity(
        logits, perturb, torch.tensor(X), torch.tensor(e.values), target=1, n_perturb_samples=20, normalize=normalize
    )
    np.testing.assert_allclose(ours.rows, theirs.numpy(), rtol=1e-5)
    assert ours.rows.min() > 1e-6


# --- sensitivity


def test_sensitivity_of_a_linear_network(linear):
    """Gradients do not change, and gradient times row changes by ``w e``."""
    net, X = linear
    assert max_sensitivity(net, X, attribution=Saliency(scaled=False)).value < 1e-6
    small, large = (
        max_sensitivity(net, X, attribution="input_x_gradient", radius=r, random_state=3).rows for r in (0.01, 0.02)
    )
    np.testing.assert_allclose(large, 2 * small, rtol=1e-4)
    bound = 0.02 * np.linalg.norm(W * X.std(axis=0)) / np.linalg.norm(W * X, axis=1)
    assert (large <= bound * (1 + 1e-6)).all()
    assert (large > 0.3 * bound).all()
    measured = max_sensitivity(net, X, attribution="input_x_gradient")
    assert measured.value < 0.1 < 1 < measured.random


def test_sensitivity_is_captums(iris, monkeypatch):
    torch = pytest.importorskip("torch")
    captum = pytest.importorskip("captum.metrics")
    net, X = iris
    background, X = X, X[::15]
    seen, perturbation = [], _sensitivity.perturbation
    monkeypatch.setattr(_sensitivity, "perturbation", lambda *a: seen.append(perturbation(*a)) or seen[-1])
    ours = max_sensitivity(net, X, background=background, attribution="integrated_gradients", target=1, n_samples=4)
    assert len(seen) == 4
    assert np.abs(seen).max() <= 0.02 * background.std(axis=0).max()

    def explained(inputs):
        inputs = inputs[0] if isinstance(inputs, tuple) else inputs
        options = {"background": background, "attribution": "integrated_gradients", "target": 1, "random_state": 0}
        return (torch.tensor(skexplain.explain(net, inputs.numpy(), **options).values),)

    def perturb(inputs, radius):
        inputs = inputs[0] if isinstance(inputs, tuple) else inputs
        return inputs + torch.tensor(np.array(seen).transpose(1, 0, 2).reshape(-1, 4))

    theirs = captum.sensitivity_max(explained, torch.tensor(X), perturb, n_perturb_samples=4)
    np.testing.assert_allclose(ours.rows, theirs.numpy(), rtol=1e-6)


def test_sensitivity_moves_floats_only():
    pd = pytest.importorskip("pandas")
    X, y = load_iris(return_X_y=True, as_frame=True)
    X["sepal length (cm)"] = (X["sepal length (cm)"] * 10).astype(int)
    pipe = make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=3000, random_state=0)).fit(X, y)
    before = X.copy()
    assert 0 < max_sensitivity(pipe, X.iloc[::10], background=X, n_samples=2).value < 1
    pd.testing.assert_frame_equal(X, before)
    with pytest.raises(ValueError, match="no column of floats"):
        max_sensitivity(pipe, X.astype(int), n_samples=2)


# --- training anew


def test_roar_and_kar_of_a_linear_target():
    data = make_linear(400, 6, n_important=2, noise=0, random_state=0)
    X, y = data.data, data.target
    right = abs(data.coef)
    r, k = (f(LinearRegression(), X, y, right, n_steps=6) for f in (roar, kar))
    assert r.fractions.tolist() == k.fractions.tolist() == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    # R² of the best linear predictor is the share of the variance of what is left
    share = np.sort(data.coef[:2] ** 2)[0] / (data.coef**2).sum()
    np.testing.assert_allclose(r.values, [1, share, 0, 0, 0, 0, 0], atol=0.07)
    np.testing.assert_allclose(k.values, [0, 1 - share, 1, 1, 1, 1, 1], atol=0.07)
    wrong = roar(LinearRegression(), X, y, -right, n_steps=6)
    assert r.gain > 0 > wrong.gain
    assert r.better == "low"
    assert k.better == "high"


def test_roar_measures_importances_on_training_rows():
    data = make_linear(200, 5, n_important=1, random_state=0)
    forest = RandomForestRegressor(5, random_state=0)
    own = kar(forest, data.data, data.target, n_random=1, n_steps=5)
    asked = kar(forest, data.data, data.target, attribution="permutation", n_random=1, n_steps=5)
    assert min(own.values[1], asked.values[1]) > 0.9
    with pytest.raises(ValueError, match="not both"):
        kar(forest, data.data, data.target, np.ones(5), attribution="permutation")
    with pytest.raises(ValueError, match="each of the 5 columns"):
        kar(forest, data.data, data.target, np.ones(4))


def test_one_random_order_is_not_that_of_the_columns():
    """As the first draw under random_state=0 is for four columns; each fold has its own."""
    data = make_linear(200, 4, n_important=2, noise=0, random_state=0)
    assert np.argsort(-np.random.default_rng(0).random(4)).tolist() == [0, 1, 2, 3]
    curve = kar(LinearRegression(), data.data, data.target, [4, 3, 2, 1], n_random=1, random_state=0)
    assert curve.random[0, 2] < 0.9 < curve.values[2]


def test_removed_columns_keep_their_types():
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(
        {
            "size": np.array([1, 2, 6], dtype=np.float32),
            "kind": pd.Categorical(["a", "b", "b"]),
            "text": ["u", "u", "v"],
            "count": [7, 7, 8],
        }
    )
    A, B = _without(X.iloc[:2], X.iloc[2:], [0, 1, 2, 3])
    assert A.dtypes.tolist() == B.dtypes.tolist() == X.dtypes.tolist()
    assert B.iloc[0].tolist() == [1.5, "a", "u", 7]  # what the training rows have; of equal counts the first
    assert X["size"].tolist() == [1, 2, 6]
    A, B = _without(np.array([[1, 4.0], [3, 4]]), np.array([[9.0, 9]]), [0])
    assert B.tolist() == [[2, 9]]


def test_what_cannot_be_trained_is_refused():
    X, y = load_iris(return_X_y=True)
    net = skexplain.from_fitted(MLPClassifier((4,), max_iter=3000, random_state=0).fit(X, y), X, y)
    for measure in (roar, stability, skexplain.sanity_check):
        with pytest.raises(skexplain.UnsupportedModelError, match="cannot be trained anew"):
            measure(net, X, y)
        with pytest.raises(ValueError, match="single class"):
            measure(MLPClassifier(), X, 0 * y)
        with pytest.raises(ValueError, match="at least two columns"):
            measure(MLPClassifier(), X[:, :1], y)


# --- stability


def test_stability():
    data = make_correlated_blocks(200, 10, n_blocks=2, n_important=2, random_state=0)
    X, y = data.data, data.target
    steady = stability(LinearRegression(), X, y, over="resamples", attribution="permutation", n_fits=3, k=2)
    assert steady.overlap == 1
    assert steady.importances.shape == (3, 10)
    assert steady.deviation.max() > 0
    assert (steady.random_overlap, steady.k) == (0.2, 2)
    seeds = stability(RandomForestRegressor(3, random_state=0), X, y, n_fits=3)
    assert 0 < seeds.spearman < 0.999  # the seed is changed though it was given
    assert seeds.no_model_spearman == pytest.approx(1)
    again = stability(RandomForestRegressor(3, random_state=0), X, y, n_fits=3)
    np.testing.assert_array_equal(seeds.importances, again.importances)
    with pytest.raises(ValueError, match="over='resamples'"):
        stability(LinearRegression(), X, y)
    with pytest.raises(skexplain.UnsupportedModelError, match="importances of its own"):
        stability(LinearRegression(), X, y, over="resamples")


def test_curve_areas():
    x = np.array([0, 0.5, 1])
    c = Curve("Deletion", x, np.array([1, 0, 0]), np.array([[1, 0.5, 0], [1, 1, 0]]), 1 - x, "low")
    assert (c.area, c.no_model_area) == (0.25, 0.5)
    assert c.random_areas.tolist() == [0.5, 0.75]
    assert c.gain == 0.375


def test_pictures(linear, tmp_path):
    pytest.importorskip("matplotlib")
    net, X = linear
    curve = deletion(net, skexplain.explain(net, X, random_state=0))
    curve.plot(path=tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="names has 2"):
        skexplain.plotting.curves([curve], names=["a", "b"])
