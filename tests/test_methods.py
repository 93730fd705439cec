"""compare_methods: laws of agreement and consensus, what is refused, and what is shown."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

import skexplain
from skexplain import methods as module
from skexplain._method_agreement import FAMILIES, agreements, consensus, family_of
from skexplain.attributions import ATTRIBUTIONS, LRP, DeepSHAP, ExpectedGradients
from skexplain.exceptions import InterruptedWarning
from skexplain.methods import compare_methods

RNG = np.random.default_rng(0)
SOME = ["deepshap", "saliency", "permutation", "garson", "viann", "gradcam"]


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True, as_frame=True)


@pytest.fixture(scope="module")
def net(iris):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge
        return MLPClassifier((8,), max_iter=200, random_state=0).fit(*iris)


@pytest.fixture(scope="module")
def result(net, iris):
    return compare_methods(net, *iris, methods=SOME, random_state=0)


def test_same_numbers_as_one_by_one(result, net, iris):
    for name, got in result.results.items():
        alone = skexplain.importances(net, *iris, attribution=name, random_state=0)
        np.testing.assert_array_equal(got.values, alone.values)
    np.testing.assert_allclose(result.shares.sum(axis=1), 1)
    np.testing.assert_allclose(
        result.errors[0], result.results["deepshap"].error / result.results["deepshap"].values.sum()
    )


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # nor when it is trained anew
def test_every_registered_strategy_has_a_family_and_gives_or_refuses(net, iris):
    assert set(ATTRIBUTIONS) <= {name for members in FAMILIES.values() for name in members}
    asked = []
    result = compare_methods(net, *iris, random_state=0, max_rows=40, progress=lambda *a: asked.append(a))
    assert set(result.methods) | set(result.refused) == set(ATTRIBUTIONS)
    assert not set(result.methods) & set(result.refused)
    assert {"exact_shapley", "sage", "garson", "loco"} <= set(result.methods)
    assert {"gradcam", "viann"} <= set(result.refused)
    assert "convolution" in result.refused["gradcam"]
    assert result.n_rows == 40
    assert asked[0] == (0, len(ATTRIBUTIONS), "ablation")
    assert asked[-1][:2] == (len(ATTRIBUTIONS),) * 2
    # those of a family are neighbours
    families = [result.families[m] for m in result.methods]
    assert len(list(dict.fromkeys(families))) == sum(a != b for a, b in zip(families, ["", *families], strict=False))


def test_training_anew_is_bounded_only_if_not_asked_for(iris):
    X, y = iris
    wide = pd.concat([X.add_suffix(f" {k}") for k in range(5)], axis=1)
    result = compare_methods(LinearRegression().fit(wide, y), wide, y, random_state=0)
    assert "63 times" in result.refused["loco"]
    assert compare_methods(LinearRegression().fit(X, y), X, y, methods=["loco"], random_state=0).methods == ("loco",)


def test_a_forest_has_the_strategies_without_gradients(iris):
    forest = RandomForestClassifier(5, random_state=0).fit(*iris)
    result = compare_methods(
        forest, *iris, methods=["permutation", "deepshap", "ablation"], max_rows=30, random_state=0
    )
    assert result.methods == ("ablation", "permutation")
    assert "gradient" in result.refused["deepshap"]


def test_repeats_with_the_seed_and_leaves_numpy_alone(net, iris):
    before = np.random.get_state()[1].copy()
    kwargs = {"methods": ["kernel_shap", "permutation"], "max_rows": 20}
    a, b, c = (compare_methods(net, *iris, random_state=seed, **kwargs) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.shares, b.shares)
    assert (a.shares != c.shares).any()
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_agreement_is_of_the_order_only():
    values = np.array([[3.0, 2, 1], [30, 2, 0], [1, 2, 3], [1, 1, 1]])
    found = {(a.first, a.second): a for a in agreements("pqrs", "xyz", values, np.full((4, 3), np.nan))}
    assert found["p", "q"].kendall == pytest.approx(1)
    assert found["p", "r"].kendall == pytest.approx(-1)
    assert np.isnan(found["p", "s"].kendall)
    # nothing is known of the errors, so nothing is beyond them
    assert all(a.reversed == 0 and a.example is None and np.isnan(a.allowed) for a in found.values())


def test_disagreement_beyond_noise():
    values = np.array([[3.0, 2, 1], [1, 2, 3]])
    (sure,) = agreements("pq", "xyz", values, np.full((2, 3), 0.01))
    assert (sure.reversed, sure.n_pairs, sure.allowed) == (3, 3, -1)
    assert sure.example == ("x", "z")
    (unsure,) = agreements("pq", "xyz", values, np.full((2, 3), 2.0))
    assert (unsure.reversed, unsure.allowed, unsure.example) == (0, 1, None)
    (exact,) = agreements("pq", "xyz", values, np.zeros((2, 3)))
    assert exact.reversed == 3
    one_sided = agreements("pq", "xyz", values, np.array([[0.01] * 3, [2.0] * 3]))
    assert one_sided[0].reversed == 0


def test_two_measurements_of_the_same_seldom_disagree():
    # equal columns are the worst case: every order is noise
    n, said = 400, 0
    for _ in range(n):
        said += agreements("pq", range(8), RNG.normal(size=(2, 8)), np.ones((2, 8)))[0].reversed > 0
    assert said / n < 0.08


def test_a_family_votes_once():
    first, second = np.array([4.0, 3, 2, 1]), np.array([1.0, 2, 3, 4])
    ranks, voters = consensus({"lrp": first, "sage": second}, {"lrp": "product", "sage": "loss"})
    np.testing.assert_array_equal(ranks, [2.5] * 4)
    thrice = {"lrp": first, "input_x_gradient": first, "gradient": first, "sage": second}
    again, _ = consensus(thrice, dict.fromkeys(thrice, "product") | {"sage": "loss"})
    np.testing.assert_array_equal(again, ranks)
    assert voters == ("product", "loss")


def test_who_does_not_ask_the_network_has_no_vote_unless_alone(net, iris, result):
    assert result.voters == ("output", "slope", "loss")
    alone = compare_methods(net, *iris, methods=["garson"], random_state=0)
    assert alone.voters == ("weights",)
    np.testing.assert_array_equal(alone.ranking, alone.results["garson"].ranking)
    assert alone.agreements == ()
    assert "Agreement" not in repr(alone)


def test_names_of_objects(net, iris):
    chosen = ["saliency", DeepSHAP(), LRP(rule="gamma"), LRP(rule="z_plus")]
    result = compare_methods(net, *iris, methods=chosen, max_rows=20, random_state=0)
    assert set(result.methods) == {"saliency", "deepshap", "LRP(rule='gamma')", "LRP(rule='z_plus')"}
    assert result.families["LRP(rule='gamma')"] == "product"


class First(BaseEstimator):
    """A strategy of one's own: the value of the first column."""

    def attribute(self, network, X, background, target, rng):
        return np.where(np.arange(X.shape[1]) == 0, X, 0)


def test_a_strategy_of_ones_own_is_a_family_of_its_own(net, iris):
    result = compare_methods(net, *iris, methods=[First(), "saliency"], random_state=0)
    assert family_of("First()") == "First()" == result.families["First()"]
    assert result.shares[result.methods.index("First()"), 0] == 1


def test_groups_and_columns_that_belong_together(iris):
    X, y = iris
    last = MLPRegressor(hidden_layer_sizes=(4,), max_iter=20, random_state=0)
    model = make_pipeline(PolynomialFeatures(2, interaction_only=True), last)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    result = compare_methods(model, X, y, methods=["deepshap", "permutation"], random_state=0)
    assert result.methods == ("permutation",)
    assert "groups=" in result.refused["deepshap"]
    petal = {"petal": list(X.columns[2:]), "sepal": list(X.columns[:2])}
    groups = {"all": list(X.columns)}
    result = compare_methods(model, X, y, methods=["permutation"], groups=petal, random_state=0)
    assert result.names == ("petal", "sepal")
    result = compare_methods(model, X, y, methods=["deepshap", "permutation"], groups=groups, random_state=0)
    assert set(result.methods) == {"deepshap", "permutation"}
    assert np.isnan(result.agreements[0].kendall)


def test_several_inputs_and_rows_without_y():
    X = {"a": RNG.normal(size=(9, 2)), "b": RNG.normal(size=9)}
    some, none = module._some_rows(X, None, 4, 0)
    assert none is None
    assert some["a"].shape == (4, 2)
    rows = [np.flatnonzero((X["a"] == row).all(axis=1))[0] for row in some["a"]]
    np.testing.assert_array_equal(some["b"], X["b"][rows])
    pair, _ = module._some_rows((X["a"], X["a"] + 1), np.arange(9), 3, 0)
    np.testing.assert_array_equal(pair[0] + 1, pair[1])


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"methods": "saliency"}, r"pass 'all', or a list such as \['saliency'\]"),
        ({"methods": ["salience"]}, "Unknown attribution 'salience'"),
        ({"methods": []}, "is empty"),
        ({"methods": ["lrp", LRP()]}, "names 'lrp' twice"),
        ({"methods": ["deepshap"], "output": "odds"}, "No strategy gives importances.*Unknown output 'odds'"),
        ({"methods": ["deepshap"], "groups": {"g": ["no such"]}}, "no such"),
        ({"max_rows": 0}, "max_rows"),
    ],
)
def test_refused(net, iris, kwargs, said):
    with pytest.raises(ValueError, match=said):
        compare_methods(net, *iris, **kwargs)


def test_zero_rows(net, iris):
    X, y = iris
    with pytest.raises(ValueError, match="No strategy"):
        compare_methods(net, X[:0], y[:0], methods=["deepshap"])


class Interrupted(ExpectedGradients):
    def attribute(self, *args):
        raise KeyboardInterrupt


def test_interrupted_after_one(net, iris):
    with pytest.warns(InterruptedWarning, match="1 of 3 strategies"):
        result = compare_methods(net, *iris, methods=["saliency", Interrupted(), "lrp"], random_state=0)
    assert result.methods == ("saliency",)
    assert list(result.refused) == ["Interrupted()", "lrp"]
    with pytest.raises(KeyboardInterrupt):
        compare_methods(net, *iris, methods=[Interrupted(), "lrp"], random_state=0)


def test_a_fall_of_the_score_is_ordered_as_measured(result):
    permutation = replace(
        result.results["permutation"], values=np.array([0.0, 1, 0, 2]), signed=np.array([-0.5, 1, -0.1, 2])
    )
    np.testing.assert_array_equal(module.measured(permutation), permutation.signed)
    np.testing.assert_array_equal(module.measured(result.results["saliency"]), result.results["saliency"].values)


def test_frames(result):
    table = result.to_frame()
    assert len(table) == 4 * len(result.methods)
    assert table["feature"][0] == result.names[result.ranking[0]]
    assert table.groupby("method")["share"].sum().to_numpy() == pytest.approx(1)
    methods = result.to_frame("methods").set_index("method")
    assert set(methods.index) == set(SOME)
    assert methods.loc["gradcam", "refused"] == result.refused["gradcam"]
    assert methods.loc["deepshap", "gap"] == result.results["deepshap"].gap
    assert len(result.to_frame("agreements")) == 6
    with pytest.raises(ValueError, match="choose"):
        result.to_frame("costs")


def test_text_and_html(result):
    text = repr(result)
    for part in ("4 strategies: 150 rows, 4 columns", "Consensus", "Kendall's tau", "Refused", "  gradcam: Grad-CAM"):
        assert part in text
    assert max(map(len, text.split("Caution")[0].split("Refused")[0].splitlines())) < 120
    assert "<table>" in result._repr_html_()


def test_names_are_text_in_html(net, iris):
    X = iris[0].to_numpy()
    names = ["<script>alert(1)</script>", "b", "c", "d"]
    result = compare_methods(net, X, methods=["saliency"], feature_names=names, random_state=0)
    assert "<script>" not in result._repr_html_()
    assert "<script>" in repr(result)


def test_cautions_are_of_the_same_family_first():
    found = agreements("abc", "xy", np.array([[1.0, 2], [2, 1], [2, 1]]), np.full((3, 2), 0.01))
    comparison = module.MethodComparison(
        names=("x", "y"),
        results={},
        families={"a": "slope", "b": "loss", "c": "slope"},
        seconds={},
        refused={},
        agreements=tuple(found),
        consensus=np.array([1.0, 2]),
        voters=("slope", "loss"),
        n_rows=1,
        random_state=0,
        output="margin",
    )
    first, second = comparison.cautions
    assert first.startswith("a and c, both of the family 'slope', disagree beyond their noise on a pair of columns")
    assert second.endswith("by a 'y' matters more than 'x', by b less.")
