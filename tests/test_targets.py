"""Which output is explained, and the shapes of what comes back: frozen."""

import numpy as np
import pytest
from sklearn.datasets import make_regression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline

import skexplain
from skexplain._targets import contrast_of
from skexplain.attributions import ATTRIBUTIONS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
CHEAP = {"exact_shapley": {}, "shapley_sampling": {"max_evals": 500}, "kernel_shap": {"max_evals": 500}}
LOCAL = sorted(
    name for name, cls in ATTRIBUTIONS.items() if cls.local and not (cls.needs_convolution or cls.needs_attention)
)
SIGNED = [name for name in LOCAL if ATTRIBUTIONS[name].signed]


def strategy(name):
    return ATTRIBUTIONS[name](**CHEAP.get(name, {}))


@pytest.fixture(scope="module")
def classes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    y = np.array(["low", "mid", "top"])[np.digitize(X[:, 0] + X[:, 1] * X[:, 2], [-0.5, 0.5])]
    return MLPClassifier((8,), max_iter=300, random_state=0).fit(X, y), X[:12], y[:12]


@pytest.fixture(scope="module")
def outputs():
    X, y = make_regression(60, 4, n_targets=2, random_state=0)
    return MLPRegressor(hidden_layer_sizes=(8,), max_iter=300, random_state=0).fit(X, y / 100), X[:12]


@pytest.mark.parametrize("name", LOCAL)
class TestEveryLocalStrategy:
    def test_layout(self, classes, name):
        net, X, _ = classes
        one = skexplain.explain(net, X, attribution=strategy(name), random_state=0)
        every = skexplain.explain(net, X, attribution=strategy(name), target="all", random_state=0)
        assert one.values.shape == (12, 4)
        assert one.base_values.shape == one.predictions.shape == one.target.shape == (12,)
        assert every.values.shape == (12, 4, 3)
        assert every.base_values.shape == every.predictions.shape == (12, 3)
        assert every.target is None
        assert every.outputs.tolist() == ["low", "mid", "top"]

    def test_predicted_is_the_predicted_label(self, classes, name):
        net, X, _ = classes
        one = skexplain.explain(net, X, attribution=strategy(name), random_state=0)
        given = skexplain.explain(net, X, attribution=strategy(name), target=net.predict(X), random_state=0)
        assert one.target.tolist() == net.predict(X).tolist()
        np.testing.assert_array_equal(one.values, given.values)

    def test_all_are_the_labels_in_turn(self, classes, name):
        net, X, _ = classes
        every = skexplain.explain(net, X, attribution=strategy(name), target="all", random_state=0)
        for k, label in enumerate(net.classes_):
            one = skexplain.explain(net, X, attribution=strategy(name), target=label, random_state=0)
            np.testing.assert_allclose(every.values[:, :, k], one.values, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(every.predictions[:, k], one.predictions)

    def test_several_outputs_of_a_regressor(self, outputs, name):
        net, X = outputs
        every = skexplain.explain(net, X, attribution=strategy(name), random_state=0)
        assert every.values.shape == (12, 4, 2)
        second = skexplain.explain(net, X, attribution=strategy(name), target=1, random_state=0)
        np.testing.assert_allclose(every.values[:, :, 1], second.values, rtol=1e-9, atol=1e-12)

    def test_groups(self, classes, name):
        net, X, _ = classes
        groups = {"pair": ["x0", "x2"]}
        got = skexplain.explain(net, X, attribution=strategy(name), groups=groups, target="all", random_state=0)
        assert got.values.shape == (12, 3, 3)
        assert got.names == ("pair", "x1", "x3")

    def test_global_importances(self, classes, name):
        net, X, _ = classes
        got = skexplain.importances(net, X, attribution=strategy(name), random_state=0)
        assert got.values.shape == got.signed.shape == got.error.shape == (4,)
        assert (got.values >= 0).all()
        assert got.values.dtype == np.float64


@pytest.mark.parametrize("name", SIGNED)
def test_contrast_is_the_difference_of_its_parts(classes, name):
    net, X, _ = classes

    def top_against_low(outputs):
        return outputs[:, 2] - outputs[:, 0]

    every = skexplain.explain(net, X, attribution=strategy(name), target="all", random_state=0)
    got = skexplain.explain(net, X, attribution=strategy(name), target=top_against_low, random_state=0)
    assert got.values.shape == (12, 4)
    assert set(got.target) == {"top_against_low"}
    np.testing.assert_allclose(got.values, every.values[..., 2] - every.values[..., 0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got.predictions, every.predictions[:, 2] - every.predictions[:, 0])
    if ATTRIBUTIONS[name].complete:
        rebuilt = got.base_values + got.values.sum(axis=1)
        np.testing.assert_allclose(rebuilt, got.predictions, atol=2e-3 * np.std(got.predictions))
    assert skexplain.importances(net, X, attribution=strategy(name), target=top_against_low).target == "top_against_low"


NOT_LINEAR = {
    "square": lambda o: o[:, 0] ** 2,
    "constant": lambda o: o[:, 0] + 1,
    "number": lambda o: o.sum(),
    "identity": lambda o: o,
    "positive part": lambda o: np.clip(o[:, 1], 0, None),
    "size": lambda o: np.abs(o[:, 1]),
    "largest": lambda o: o.max(axis=1),
    "capped": lambda o: np.minimum(o[:, 1], 1),
    "other rows": lambda o: o[:, 0] - o[:, 0].mean(),
    "row before": lambda o: o[:, 0] + np.r_[0, 1e-3 * o[:-1, 0]],
    "number of rows": lambda o: o[:, 0] * min(len(o), 3),
    "nan": lambda o: o[:, 0] * np.nan,
}


@pytest.mark.parametrize("n", [1, 12])
@pytest.mark.parametrize("what", NOT_LINEAR)
def test_functions_that_are_not_linear_are_refused(classes, what, n):
    net, X, _ = classes
    positive = X[net.predict(X) == "mid"][:1]
    rows = positive if n == 1 else X
    with pytest.raises(ValueError, match=r"linearly, without a constant and each row by itself"):
        skexplain.explain(net, rows, target=NOT_LINEAR[what], background=X)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_linear_functions_of_any_size_are_taken(scale):
    outputs = scale * np.random.default_rng(0).normal(size=(5, 3))
    for function in (lambda o: o[:, 1] - o[:, 0], lambda o: 1e-3 * o.sum(axis=1), lambda o: o @ [1.0, 2, -3]):
        np.testing.assert_allclose(contrast_of(function, outputs), function(np.eye(3)))
    assert contrast_of(lambda o: o[:, 0] - o[:, 1], np.zeros((1, 2))).tolist() == [1, -1]
    single = lambda o: (o[:, 0] - o[:, 1]).astype(np.float32)  # noqa: E731
    assert contrast_of(single, outputs).tolist() == [1, -1, 0]


def test_contrast_of_sizes_is_refused(classes):
    net, X, _ = classes
    with pytest.raises(ValueError, match="without a sign"):
        skexplain.explain(net, X, attribution="saliency", target=lambda o: o[:, 0])


def test_unknown_label(classes):
    net, X, _ = classes
    with pytest.raises(ValueError, match=r"target='huge' does not exist; classes are \['low', 'mid', 'top'\]"):
        skexplain.explain(net, X, target="huge")


@pytest.mark.parametrize("name", sorted(n for n, a in ATTRIBUTIONS.items() if a.needs_y))
def test_without_y(classes, name):
    net, X, _ = classes
    with pytest.raises(ValueError, match="pass y"):
        skexplain.importances(net, X, attribution=name)


@pytest.mark.parametrize("wrap", [make_pipeline, lambda model: model], ids=["pipeline", "network"])
def test_classes_called_like_words(classes, wrap):
    """An estimator's own importances are of the predicted class; who asks must say what is meant."""
    _, X, y = classes
    words = np.array(["all", "predicted", "top"])[np.unique(y, return_inverse=True)[1]]  # in the order of y's
    models = [wrap(MLPClassifier((8,), max_iter=300, random_state=0).fit(X, labels)) for labels in (y, words)]
    plain, called = (skexplain.from_fitted(m, X, m.predict(X), random_state=0) for m in models)
    assert called.importances_.target == "predicted"
    np.testing.assert_array_equal(called.feature_importances_, plain.feature_importances_)
    for word in ("predicted", "all"):
        with pytest.raises(ValueError, match=f"target='{word}' is also a class; pass an array"):
            called.explain(X, target=word)
    with pytest.raises(ValueError, match="target='predicted' is also a class"):
        called.explain(X)
    assert called.explain(X, target=called.predict(X)).target.tolist() == called.predict(X).tolist()
