"""Pipelines in the user's columns: what comes from where, and the sums that follow."""

import time
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_selection import SelectFromModel, SelectKBest, VarianceThreshold, f_regression
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from torch import nn

import skexplain
from skexplain import UnsupportedModelError
from skexplain._behind import Affine, Behind, behind
from skexplain._columns import dependences, joint_name, origins
from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain._network import Network
from skexplain._pipeline import units_of
from skexplain._propagation import Relevance, Rescale
from skexplain._shap import entries_of
from skexplain._wrap import as_network
from skexplain.attributions import LRP
from skexplain.exceptions import UnsupportedLayerError

RNG = np.random.default_rng(0)
N = 150


def people():
    """Numbers, text, whole numbers, gaps, a level that occurs once, a constant."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 10, N),
            "bmi": rng.normal(25, 4, N),
            "pay": np.where(rng.random(N) < 0.2, np.nan, rng.normal(3000, 500, N)),
            "city": rng.choice(["Rome", "Oslo", "Lima"], N),
            "rooms": rng.integers(1, 6, N),
            "same": 7.0,
        }
    )
    frame.loc[3, "city"] = "Apia"
    return frame


PEOPLE = people()
TARGET = PEOPLE["age"] / 10 + (PEOPLE["city"] == "Rome") * PEOPLE["bmi"] / 5 + RNG.normal(size=N)


def owners_of(steps, X=PEOPLE, y=TARGET):
    """For each unit the columns that it depends on, as a list of words."""
    names = np.array(list(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant columns, when fitted
        units = units_of(steps.fit(X, y), X, len(names))
    return units, [" ".join(names[o]) for o in units.owners.T]


def ratio(X):
    return np.c_[X.iloc[:, 0] / X.iloc[:, 1], X.iloc[:, 0]]


#: Steps, the columns that they read, and what their outputs depend on, written down by hand.
STEPS = [
    (OneHotEncoder(), ["city", "rooms"], ["city"] * 4 + ["rooms"] * 5),
    (OneHotEncoder(min_frequency=2, sparse_output=False), ["city"], ["city"] * 4),
    (OrdinalEncoder(), ["rooms", "city"], ["rooms", "city"]),
    (TargetEncoder(), ["city", "rooms"], ["city", "rooms"]),
    (StandardScaler(), ["age", "same", "bmi"], ["age", "same", "bmi"]),
    (StandardScaler(), ["age", "pay"], ["age", "pay"]),
    (SimpleImputer(add_indicator=True), ["pay", "age"], ["pay", "age", "pay"]),
    (MissingIndicator(features="all"), ["age", "pay"], ["", "pay"]),
    (SplineTransformer(4, degree=2), ["bmi", "age"], ["bmi"] * 5 + ["age"] * 5),
    (KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), ["age", "bmi"], ["age"] * 3 + ["bmi"] * 3),
    (SelectKBest(f_regression, k=2), ["bmi", "same", "age"], ["bmi", "age"]),
    (VarianceThreshold(), ["same", "age", "bmi"], ["age", "bmi"]),
    (SelectFromModel(LinearRegression(), max_features=1), ["bmi", "age"], ["age"]),
    (PolynomialFeatures(2), ["age", "bmi"], ["", "age", "bmi", "age", "age bmi", "bmi"]),
    (FunctionTransformer(ratio, feature_names_out=lambda _, names: names), ["age", "bmi"], ["age bmi", "age"]),
    (FunctionTransformer(np.log1p, feature_names_out="one-to-one"), ["age", "bmi"], ["age", "bmi"]),
    (KMeans(2, n_init=1, random_state=0), ["age", "bmi"], ["age bmi"] * 2),
    (FeatureUnion([("a", MinMaxScaler()), ("b", "passthrough"), ("c", "drop")]), ["age", "bmi"], ["age", "bmi"] * 2),
]


@pytest.mark.parametrize(("step", "columns", "expected"), STEPS, ids=lambda v: type(v).__name__)
def test_outputs_find_their_columns(step, columns, expected):
    units, found = owners_of(make_column_transformer((step, columns), sparse_threshold=1))
    assert found == expected
    assert units.affine is None  # nothing is mixed: the network is explained as it is
    alone, found = owners_of(step, PEOPLE[columns])
    assert found == expected
    np.testing.assert_array_equal(alone.values, units.values)


LINEAR = [
    (PCA(2), ["age", "bmi", "rooms"], 3),
    (TruncatedSVD(2, random_state=0), ["age", "bmi", "rooms"], 3),
    (make_pipeline(StandardScaler(), PCA(2), MinMaxScaler()), ["age", "bmi", "same"], 2),
    (make_pipeline(SimpleImputer(add_indicator=True), PCA(2)), ["age", "pay"], 3),
    (make_pipeline(OneHotEncoder(), TruncatedSVD(3, random_state=0)), ["city", "rooms"], 9),
    (make_pipeline(OneHotEncoder(sparse_output=False), StandardScaler(), PCA(3)), ["city", "rooms"], 9),
    (FunctionTransformer(lambda X: X @ np.array([[1.0, 1], [1, -1]])), ["age", "rooms"], 2),
    (make_union(PCA(1), make_pipeline(PCA(2), StandardScaler()), "passthrough"), ["age", "bmi"], 2),
    (FeatureUnion([("p", PCA(2)), ("q", "passthrough")], transformer_weights={"p": 2.0, "q": 0.5}), ["age", "bmi"], 4),
    (make_pipeline(PolynomialFeatures(2, include_bias=False), PCA(3)), ["age", "bmi"], 5),
    (make_pipeline(PCA(2), make_pipeline(StandardScaler(), MinMaxScaler())), ["age", "bmi"], 2),
]


@pytest.mark.parametrize(("step", "columns", "n_units"), LINEAR)
@pytest.mark.parametrize("pandas", [False, True])
def test_linear_steps_are_a_matrix(step, columns, n_units, pandas):
    units, found = owners_of(step, PEOPLE[columns] if pandas else PEOPLE.assign()[columns])
    assert units.values.shape[1] == n_units
    assert sum(" " in owner for owner in found) == ("PolynomialFeatures" in str(step))
    assert {word for owner in found for word in owner.split()} == set(columns) - {"same"}
    size = np.abs(units.transformed).max(axis=0)
    assert np.all(np.abs(units.affine(units.values) - units.transformed) <= 1e-10 * size)


def test_nested_steps():
    """Branches are taken apart each for itself; what they give is one table for the steps behind."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler(), PCA(2))
    columns = ColumnTransformer(
        [
            ("numbers", numbers, make_column_selector(pattern="age|pay")),
            ("nothing", "drop", ["bmi"]),
            ("none", "passthrough", []),
            ("city", OneHotEncoder(), lambda X: ["city"]),
            ("mask", "passthrough", [False, False, False, False, True, False]),
        ],
        remainder=StandardScaler(),
    )
    whole = make_pipeline(columns, make_union("passthrough", KMeans(2, n_init=1, random_state=0)))
    units, found = owners_of(whole)
    assert found == ["age", "pay", *["city"] * 4, "rooms", "same", *["age pay city rooms same"] * 2]
    np.testing.assert_allclose(units.affine(units.values), units.transformed, atol=1e-9)
    # the columns may stand in another order than in fit
    turned = PEOPLE[list(PEOPLE)[::-1]]
    again = units_of(whole, turned, 6)
    assert [" ".join(turned.columns[o]) for o in again.owners.T][:8] == found[:8]


def test_frames_between_the_steps():
    numbers = make_column_transformer(
        (PCA(2), ["age", "bmi"]), (StandardScaler(), ["rooms"]), verbose_feature_names_out=False
    )
    behind_pca = make_column_transformer((StandardScaler(), ["pca0"]), (SplineTransformer(3), ["pca1"]))
    steps = make_pipeline(numbers, behind_pca).set_output(transform="pandas")
    units, found = owners_of(steps)
    assert found == ["age", "bmi", *["age bmi"] * 5]
    assert units.affine.matrix[2:, 1:].tolist() == np.eye(5).tolist()


def test_text_between_the_steps():
    """Text that an imputer fills, or that passes through, is a category for the encoder behind."""
    X = PEOPLE.astype({"city": object})
    X.loc[::9, "city"] = np.nan
    filled = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())
    columns = ColumnTransformer([("city", filled, ["city"]), ("n", PCA(1), ["age", "bmi"])])
    units, found = owners_of(columns, X)
    assert found == [*["city"] * 4, "age", "bmi"]
    first = ColumnTransformer([("kept", "passthrough", ["city", "rooms"]), ("n", StandardScaler(), ["age"])])
    behind = ColumnTransformer([("codes", OneHotEncoder(), [0, 1]), ("n", "passthrough", [2])])
    _, found = owners_of(make_pipeline(first, behind), PEOPLE)
    assert found == [*["city"] * 4, *["rooms"] * 5, "age"]
    assert np.isfinite(units.transformed).all()


class Half(TransformerMixin, BaseEstimator):
    """A step that nobody knows, and that is no function of single columns where it is small."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.c_[X[:, 0] + X[:, 1], np.where(X[:, 0] > 0, X[:, 1], 0.0)]


def test_outputs_are_judged_one_by_one():
    X = RNG.normal(size=(80, 3))
    units = units_of(Half(), X, 3)
    assert units.owners.T.tolist() == [[True, False, False], [False, True, False], [True, True, False]]
    np.testing.assert_allclose(units.affine.matrix, [[1, 0], [1, 0], [0, 1]], atol=1e-12)


class Strange(Pipeline):
    """A pipeline that does something else."""

    def transform(self, X):
        return super().transform(X) ** 2


def test_derived_pipelines_are_asked_themselves():
    X = RNG.normal(size=(60, 3))
    steps = Strange([("pca", PCA(2))]).fit(X)
    units = units_of(make_pipeline(steps), X, 3)
    assert units.affine is None
    assert units.owners.all()


def test_columns_far_from_0_keep_their_digits():
    X = RNG.normal(size=(100, 3)) + np.array([2e6, 0, -1e9])
    units = units_of(PCA(3).fit(X), X, 3)
    assert np.abs(units.affine(units.values) - units.transformed).max() < 1e-6


def test_rounding_is_no_dependence():
    X = RNG.normal(size=(100, 4))
    Q = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    units = units_of(FunctionTransformer(lambda Z: Z @ Q @ Q.T).fit(X), X, 4)
    assert units.affine is None
    assert units.owners.tolist() == np.eye(4, dtype=bool).tolist()


def test_what_is_linear_only_near_the_rows_is_not_linear():
    X = RNG.normal(size=(100, 3))
    units = units_of(FunctionTransformer(lambda Z: np.clip(Z.sum(axis=1, keepdims=True), -25, 25)).fit(X), X, 3)
    assert units.affine is None
    assert units.owners.all()


def test_rare_levels_are_found():
    frame = pd.concat([PEOPLE] * 6, ignore_index=True)[["age", "city"]]
    frame["city"] = frame["city"].replace("Apia", "Oslo")
    frame.loc[1, "city"] = "Suva"  # not among the rows that are tried first
    both = FunctionTransformer(lambda X: np.c_[(X["city"] == "Suva") * X["age"], X["age"]])
    units = units_of(both.fit(frame), frame, 2)
    assert units.owners.T.tolist() == [[True, True], [True, False]]


def test_wide_tables_are_fast():
    X = RNG.normal(size=(300, 500)) @ RNG.normal(size=(500, 500))
    steps = make_pipeline(StandardScaler(), PCA(20, random_state=0)).fit(X)
    start = time.perf_counter()
    units = units_of(steps, X, 500)
    assert time.perf_counter() - start < 1
    assert units.owners.tolist() == np.eye(500, dtype=bool).tolist()


def counted(transform):
    def counting(X):
        counting.calls += 1
        return transform(X)

    counting.calls = 0
    return counting


@pytest.mark.parametrize("frame", [False, True])
def test_many_columns_are_changed_in_halves(frame, monkeypatch):
    X = RNG.normal(size=(40, 40))
    X[:, 5] = 2.0  # moved, as no row has another value
    X[:, 9] = X[:, 8]
    X = pd.DataFrame(X) if frame else X

    def transform(X):
        X = np.asarray(X)
        return np.c_[X[:, ::-1], X[:, 3] * X[:, 35], X[:, 8] == X[:, 9], X[:, [5]] > 2, np.ones(len(X))]

    quick, slow = counted(transform), counted(transform)
    got = dependences(quick, X, np.arange(40))
    monkeypatch.setattr("skexplain._columns.MANY", 1000)
    np.testing.assert_array_equal(got, dependences(slow, X, np.arange(40)))
    assert np.flatnonzero(got[:, 40]).tolist() == [3, 35]
    assert np.flatnonzero(got[:, 41]).tolist() == [8, 9]
    assert np.flatnonzero(got[:, 42]).tolist() == [5]
    assert not got[:, 43].any()
    alone = counted(lambda X: np.asarray(X) ** 2)
    monkeypatch.undo()
    np.testing.assert_array_equal(dependences(alone, X, np.arange(40)), np.eye(40, dtype=bool))
    assert alone.calls < 40 < slow.calls


def test_halves_with_a_category_that_cannot_be_moved():
    X = RNG.integers(3, size=(60, 20)).astype(float)
    X[:, 7] = 1.0
    steps = OneHotEncoder(sparse_output=False).fit(X)
    got = dependences(steps.transform, X, np.arange(20))
    assert got.sum(axis=0).tolist() == [1] * 21 + [0] + [1] * 36
    assert got.sum(axis=1).tolist() == [3] * 7 + [0] + [3] * 12


def test_origins_and_names():
    alone, joint = origins(np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 1, 0]], dtype=bool))
    assert [a.tolist() for a in alone] == [[0], [2], []]
    assert {k: v.tolist() for k, v in joint.items()} == {(0, 1): [1], (0, 1, 2): [3]}
    assert joint_name(["a", "b"], ["a", "b"]) == "a & b"
    assert joint_name(["a", "b"], ["a & b", "a & b (2)"]) == "a & b (3)"
    assert joint_name(list("abcdef"), []) == "a & b & c & 3 more"


# ------------------------------------------------------------------------------------------------ explanations


def mlp(**params):
    params = {"hidden_layer_sizes": (8,), "activation": "tanh", "solver": "lbfgs", "max_iter": 60, **params}
    return MLPRegressor(random_state=0, tol=1e9, **params)


#: What is complete or exact, and does not draw, in front of a stack of dense layers.
STRATEGIES = ["integrated_gradients", "deepshap", "deeplift", "saliency", "input_x_gradient", "lrp"]


@cache
def mixed_rows():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)) + 4
    return X, np.tanh(X[:, 0] - 4) + X[:, 1] * X[:, 2] / 10


@cache
def behind_pca(scaled=False):
    """A pipeline with a PCA, and the network with the matrix multiplied into its first layer."""
    X, y = mixed_rows()
    pipe = make_pipeline(PCA(3), *[StandardScaler()] * scaled, mlp()).fit(X, y)
    pca, net = pipe[0], pipe[-1]
    scale = pipe[1].scale_ if scaled else np.ones(3)
    M = pca.components_.T / scale @ net.coefs_[0]
    merged = mlp().fit(X, y)
    merged.coefs_ = [M, *net.coefs_[1:]]
    merged.intercepts_ = [net.intercepts_[0] - pca.mean_ @ M, *net.intercepts_[1:]]
    return pipe, merged


@pytest.mark.parametrize(
    "attribution", [*STRATEGIES, "expected_gradients", "smoothgrad", "connection_weights", "garson"]
)
@pytest.mark.parametrize("scaled", [False, True])
def test_pca_is_part_of_the_first_layer(attribution, scaled):
    pipe, merged = behind_pca(scaled)
    X, _ = mixed_rows()
    got, expected = (skexplain.explain(m, X, attribution=attribution, random_state=0) for m in (pipe, merged))
    np.testing.assert_allclose(got.values, expected.values, atol=1e-9 * np.abs(expected.values).max())
    np.testing.assert_allclose(got.base_values, expected.base_values)
    np.testing.assert_allclose(got.predictions, pipe.predict(X))
    assert got.names == ("x0", "x1", "x2", "x3", "x4")


def torch_net(kind):
    torch.manual_seed(0)
    layers = {
        "dense": [nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)],
        "normalised": [nn.LayerNorm(3), nn.Linear(3, 6), nn.GELU(), nn.LayerNorm(6), nn.Linear(6, 2)],
        "convolution": [nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2)],
    }[kind]
    return nn.Sequential(*layers).double()


def test_relevance_of_sums_that_are_0():
    """What cancels in front of the network has relevance all the same."""
    M, U = np.array([[1.0, 0], [-1, 0], [0, 1]]), np.array([[2.0, 2.0, 1.0], [3.0, 1.0, -1.0]])
    weights, biases = [np.array([[1.0, -2.0], [0.5, 1.0]]), np.array([[1.0], [2.0]])], [np.ones(2), np.zeros(1)]
    net = DenseNetwork(weights, biases, "relu", Head("linear", 1))
    merged = DenseNetwork([M @ weights[0], weights[1]], biases, "relu", Head("linear", 1))
    affine, t = Affine(M, np.zeros(3), np.zeros(2)), np.zeros(2, dtype=int)
    for front in (Behind(net, affine, (2,)), behind(net, affine, (2,))):
        got, expected = (v.propagate(U, U[:1], Relevance(), t) for v in (front, merged))
        assert np.abs(expected[0, :2]).min() > 0.1
        np.testing.assert_allclose(got, expected, rtol=1e-6)


RULES = [LRP(rule=rule) for rule in ("gamma", "alpha_beta", "z_box", "w_square", "flat")]


@pytest.mark.parametrize("kind", ["dense", "normalised", "convolution"])
@pytest.mark.parametrize("attribution", [*STRATEGIES, "expected_gradients", *RULES], ids=str)
def test_pca_is_a_layer_in_front_of_a_module(kind, attribution):
    X, _ = mixed_rows()
    pca, net, layer = PCA(3).fit(X), torch_net(kind), nn.Linear(5, 3).double()
    with torch.no_grad():
        layer.weight[:] = torch.as_tensor(pca.components_)
        layer.bias[:] = torch.as_tensor(-pca.components_ @ pca.mean_)
    pipe, merged = Pipeline([("pca", pca), ("net", net)]), nn.Sequential(layer, net)
    got, expected = (
        skexplain.explain(m, X[:20], background=X, attribution=attribution, random_state=0) for m in (pipe, merged)
    )
    np.testing.assert_allclose(got.values, expected.values, atol=2e-4 * np.abs(expected.values).max())


@pytest.mark.parametrize(("kind", "features"), [("dense", (3,)), ("normalised", (3,)), ("convolution", (1, 3))])
def test_verbs_behind_a_matrix(kind, features):
    """Each override against the plain definition."""
    net = torch_net(kind)
    net = as_network(net if len(features) == 1 else net[1:], RNG.normal(size=(12, *features)))
    U, R, t = RNG.normal(size=(9, 5)), RNG.normal(size=(4, 5)), np.arange(9) % 2
    net = behind(net, Affine(RNG.normal(size=(5, 3)), RNG.normal(size=5), RNG.normal(size=3)), features)
    assert isinstance(net, Behind) == (kind != "dense")
    np.testing.assert_allclose(net.predict(U), net.network.predict(net.affine(U).reshape(-1, *features)))
    g, h = net.gradient(U, t), 1e-6
    for j in range(5):
        e = h * np.eye(5)[j]
        slope = (net.predict(U + e) - net.predict(U - e))[np.arange(9), t] / (2 * h)
        np.testing.assert_allclose(g[:, j], slope, atol=1e-5)
    nodes, weights = np.array([0.1, 0.6]), np.array([0.5, 2.0])
    plain = Network.mean_gradient(net, R[:1], U, nodes, weights, t)
    np.testing.assert_allclose(net.mean_gradient(R[:1], U, nodes, weights, t), plain, atol=1e-9)
    which, nodes = RNG.integers(4, size=(3, 9)), RNG.random((2, 3, 9))
    plain = Network.path_contributions(net, U, R, which, nodes, t)
    np.testing.assert_allclose(net.path_contributions(U, R, which, nodes, t), plain, atol=1e-9)
    several = net.mean_propagate(U, R, Rescale(), t)
    one_by_one = [net.propagate(U, R[k : k + 1], Rescale(), t) for k in range(4)]
    np.testing.assert_allclose(several, np.mean(one_by_one, axis=0), atol=1e-9)
    if kind != "dense":
        with pytest.raises(UnsupportedLayerError):
            net.dense_weights()
    said = "columns in front of a step that mixes them" if kind == "convolution" else "depends on none that is seen"
    with pytest.raises(UnsupportedModelError, match=said):
        net.activations(U, None, t)


@cache
def of_people():
    """A pipeline in which every kind of step occurs."""
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    steps = make_column_transformer(
        (make_pipeline(numbers, PCA(3, random_state=0)), ["age", "bmi", "pay"]),
        (make_pipeline(StandardScaler(), PolynomialFeatures(2, interaction_only=True)), ["age", "bmi"]),
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
        (SplineTransformer(3), ["rooms"]),
    )
    return make_pipeline(steps, mlp()).fit(PEOPLE, TARGET)


@pytest.mark.parametrize("attribution", ["integrated_gradients", "expected_gradients", "deepshap"])
def test_nothing_is_dropped(attribution):
    got = skexplain.explain(of_people(), PEOPLE, attribution=attribution, random_state=0)
    assert got.names == (*PEOPLE, "age & bmi")
    np.testing.assert_allclose(got.predictions, of_people().predict(PEOPLE))
    gap = got.base_values + got.values.sum(axis=1) - got.predictions
    assert np.abs(gap).max() < 2e-2 * got.predictions.std() if attribution == "expected_gradients" else 2e-3
    assert np.all(got.values[:, 5] == 0)  # no step uses it
    assert np.all(np.abs(got.values[:, [0, 1, 2, 3, 4, 6]]).max(axis=0) > 0)


def test_sums_by_hand():
    """The network on the columns that the steps give, summed by the owners written down."""
    pipe = of_people()
    T = pipe[:-1].transform(PEOPLE)
    by_hand = skexplain.explain(pipe[-1], T, attribution="saliency", random_state=0).values
    # 3 components, then 1, age, bmi, age bmi, 4 cities and 5 splines
    assert T.shape[1] == 3 + 4 + 4 + 5
    got = skexplain.explain(pipe, PEOPLE, attribution="saliency", random_state=0)
    np.testing.assert_allclose(got.values[:, 3], by_hand[:, 7:11].sum(axis=1))
    np.testing.assert_allclose(got.values[:, 4], by_hand[:, 11:].sum(axis=1))
    np.testing.assert_allclose(got.values[:, 6], by_hand[:, 6])
    by_hand = skexplain.explain(pipe[-1], T, attribution="integrated_gradients", random_state=0).values
    got = skexplain.explain(pipe, PEOPLE, attribution="integrated_gradients", random_state=0).values
    columns = [by_hand[:, [0, 1, 2, 4, 5]].sum(axis=1), *(by_hand[:, c].sum(axis=1) for c in ([6], range(7, 11)))]
    np.testing.assert_allclose(got[:, :3].sum(axis=1), columns[0], atol=1e-6)
    np.testing.assert_allclose(got[:, 6], columns[1], atol=1e-6)
    np.testing.assert_allclose(got[:, 3], columns[2], atol=1e-6)


def test_linear_network_in_closed_form():
    """Behind any linear steps, a linear network has its own weights back."""
    X, _ = mixed_rows()
    y = X @ [1.0, -2.0, 0.5, 0.0, 3.0]
    net = mlp(activation="identity", max_iter=500, alpha=0)
    net.tol = 1e-12
    pipe = make_pipeline(PCA(5, whiten=True), net).fit(X, y)
    got = skexplain.explain(pipe, X, attribution="deepshap", random_state=0)
    np.testing.assert_allclose(got.values, (X - X.mean(axis=0)) * [1, -2, 0.5, 0, 3], atol=1e-3)


def test_hand_expanded_columns():
    """Without mixtures: the trained network on the expanded columns, summed by hand."""
    steps = make_column_transformer((OneHotEncoder(), ["city"]), (StandardScaler(), ["age", "bmi"]))
    pipe = make_pipeline(steps, mlp()).fit(PEOPLE, TARGET)
    T = pipe[:-1].transform(PEOPLE)
    by_hand = skexplain.importances(pipe[-1], T, random_state=0, groups={"city": [0, 1, 2, 3]})
    got = skexplain.importances(pipe, PEOPLE, random_state=0)
    assert got.names == tuple(PEOPLE)
    np.testing.assert_array_equal(got.values[[3, 0, 1]], by_hand.values)
    np.testing.assert_array_equal(got.values[[2, 4, 5]], 0)


def test_importances_and_groups():
    got = skexplain.importances(of_people(), PEOPLE, random_state=0)
    assert got.names[-1] == "age & bmi"
    assert got.normalized.sum() == pytest.approx(1)
    assert got.normalized.shape == (7,)
    both = skexplain.importances(of_people(), PEOPLE, random_state=0, groups={"person": ["age", "bmi", "pay"]})
    assert both.names == ("person", "city", "rooms", "same")
    apart = skexplain.importances(of_people(), PEOPLE, random_state=0, groups={"home": ["bmi", "rooms"]})
    assert apart.names == ("home", "age", "pay", "city", "same", "age & bmi")
    rows = skexplain.explain(of_people(), PEOPLE, random_state=0)
    of_group = skexplain.explain(of_people(), PEOPLE, random_state=0, groups={"person": ["age", "bmi", "pay"]})
    np.testing.assert_allclose(of_group.values[:, 0], rows.values[:, [0, 1, 2, 6]].sum(axis=1))
    assert of_group.columns.tolist() == [-1, 3, 4, 5]


def test_pictures_and_tables():
    exp = skexplain.explain(of_people(), PEOPLE, random_state=0)
    labels = [t.get_text() for t in exp.plot.row(0).get_yticklabels()]
    assert f"age = {PEOPLE['age'][0]:.4g}" in labels
    assert "age & bmi" in labels
    exp.plot.bar()
    data = entries_of(exp)
    assert data.shape == (N, 7)
    assert data[0, 3] == PEOPLE["city"][0]
    assert np.isnan(data[0, 6])
    assert set(exp.to_frame()["feature"]) == set(exp.names)
    assert exp[:3].columns is exp.columns
    # a group may leave as many entries as there are columns; they are not the same
    exp = skexplain.explain(of_people(), PEOPLE, random_state=0, groups={"home": ["rooms", "same"]})
    labels = [t.get_text() for t in exp.plot.row(0).get_yticklabels()]
    assert len(exp.names) == 6
    assert {"home", "age & bmi", f"age = {PEOPLE['age'][0]:.4g}"} <= set(labels)


def test_replacement_is_done_in_front_of_the_steps():
    got = skexplain.importances(of_people(), PEOPLE, TARGET, attribution="permutation", random_state=0)
    assert got.names == tuple(PEOPLE)
    assert got.values[5] == pytest.approx(0, abs=1e-12)
    local = skexplain.explain(of_people(), PEOPLE[:5], background=PEOPLE, attribution="ablation", random_state=0)
    assert local.names == tuple(PEOPLE)


def test_what_no_row_has_is_as_the_steps_say():
    """Gaps and unknown levels are explained where the pipeline predicts, and refused where it refuses."""
    rows = PEOPLE[:4].copy()
    rows["city"] = "Suva"
    rows["pay"] = np.nan
    got = skexplain.explain(of_people(), rows, background=PEOPLE, random_state=0)
    np.testing.assert_allclose(got.predictions, of_people().predict(rows))
    strict = make_pipeline(make_column_transformer((OneHotEncoder(), ["city"]), (PCA(1), ["age", "bmi"])), mlp())
    with pytest.raises(ValueError, match="unknown categories"):
        skexplain.explain(strict.fit(PEOPLE, TARGET), rows, background=PEOPLE)
    with pytest.raises(ValueError, match="NaN"):
        skexplain.explain(make_pipeline(PCA(2), mlp()).fit(*mixed_rows()), np.full((3, 5), np.nan))


def test_one_row_needs_a_background():
    pipe, _ = behind_pca()
    X, _ = mixed_rows()
    with pytest.raises(ValueError, match="Pass `background=`"):
        skexplain.explain(pipe, X[:1])
    all_rows = skexplain.explain(pipe, X, background=X, random_state=0, attribution="integrated_gradients")
    one = skexplain.explain(pipe, X[:1], background=X, random_state=0, attribution="integrated_gradients")
    np.testing.assert_allclose(one.values, all_rows.values[:1], atol=1e-9)


def test_imputation_by_neighbours_is_joint():
    X = PEOPLE[["age", "bmi", "pay"]]
    pipe = make_pipeline(StandardScaler(), KNNImputer(), mlp()).fit(X, TARGET)
    got = skexplain.importances(pipe, X, random_state=0)
    assert got.names == ("age", "bmi", "pay", "age & bmi & pay")
    assert np.all(got.values[[0, 1, 3]] > 0)
    assert got.values[2] == 0


def test_training_is_told_in_the_columns_that_the_network_reads():
    X, y = mixed_rows()
    net = skexplain.torch.NeuralNetRegressor(max_epochs=3, attribution="viann", random_state=0)
    pipe = make_pipeline(make_column_transformer((PCA(2), [0, 1, 2]), remainder=StandardScaler()), net).fit(X, y)
    got = skexplain.importances(pipe, X, attribution="viann")
    assert got.names == ("x0", "x1", "x2", "x3", "x4", "x0 & x1 & x2")
    scores = pipe[-1].importances_.values
    np.testing.assert_allclose(got.values, [0, 0, 0, *scores[2:], scores[:2].sum()])


def test_fitted_pipelines():
    X, y = mixed_rows()
    fitted = skexplain.from_fitted(behind_pca()[0], X, y, random_state=0)
    assert fitted.feature_importances_.shape == (5,)
    assert fitted.feature_importances_.sum() == pytest.approx(1)
    assert SelectFromModel(fitted, prefit=True, max_features=2).transform(X).shape == (60, 2)
    frames = make_pipeline(PCA(2), mlp()).set_output(transform="pandas").fit(X, y)
    assert skexplain.from_fitted(frames, X, y, random_state=0).feature_importances_.shape == (5,)
    fitted = skexplain.from_fitted(of_people(), PEOPLE, TARGET, random_state=0)
    with pytest.raises(UnsupportedModelError, match=r"1 of the importances belong to several .*'age & bmi'.*groups"):
        _ = fitted.feature_importances_
    assert fitted.importances_.names[-1] == "age & bmi"


def test_pipelines_that_end_in_pipelines_and_searches():
    X, y = mixed_rows()
    flat = make_pipeline(StandardScaler(), PCA(2), mlp()).fit(X, y)
    nested = make_pipeline(StandardScaler(), make_pipeline(PCA(2), mlp())).fit(X, y)
    searched = make_pipeline(StandardScaler(), GridSearchCV(make_pipeline(PCA(2), mlp()), {}, cv=2)).fit(X, y)
    expected = skexplain.explain(flat, X, attribution="deepshap", random_state=0).values
    for pipe in (nested, searched):
        got = skexplain.explain(pipe, X, attribution="deepshap", random_state=0).values
        np.testing.assert_array_equal(got, expected)
        assert skexplain.from_fitted(pipe, X, y, random_state=0).feature_importances_.shape == (5,)


def test_comparisons():
    X = PEOPLE[["age", "bmi", "rooms"]]
    models = {
        "pca": make_pipeline(StandardScaler(), PCA(2), mlp()),
        "products": make_pipeline(StandardScaler(), PolynomialFeatures(2), mlp()),
        "forest": RandomForestRegressor(5),
    }
    result = skexplain.compare(models, X, TARGET, cv=2, n_repeats=1)
    sums = result.importances.sum(axis=2)
    np.testing.assert_allclose(sums[[0, 2]], 1)
    assert np.all(sums[1] < 1)
    assert list(result.notes) == ["products"]
    assert "% of its own importances" in result.notes["products"]
    assert "products: no own" not in repr(result)
    assert "% of its own importances" in result._repr_html_()
