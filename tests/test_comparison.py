"""compare: laws of the protocol, the user's own columns, and what it refuses."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris, make_classification
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, KFold, LeaveOneOut, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import skexplain
from skexplain._agreement import correlate, standard_error
from skexplain._clone import seeded
from skexplain._fold import own_importances
from skexplain._wrap import EstimatorNetwork
from skexplain.exceptions import InterruptedWarning

RNG = np.random.default_rng(0)


def forest(**kwargs):
    return RandomForestClassifier(10, max_depth=4, **kwargs)


def mlp(**kwargs):
    return make_pipeline(StandardScaler(), MLPClassifier((8,), solver="lbfgs", max_iter=2000, **kwargs))


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True, as_frame=True)


@pytest.fixture(scope="module")
def result(iris):
    models = {"net": mlp(), "forest": forest(), "again": forest()}
    return skexplain.compare(models, *iris, cv=3, n_repeats=2)


@pytest.fixture(scope="module")
def mixed():
    """Text in columns whose names are prefixes of each other; only `ab` and `num` matter."""
    n, rng = 200, np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "ab": rng.choice(["x", "y", "z"], n),
            "num": rng.normal(size=n),
            "ab.cd": rng.choice(["x", "y", "z"], n),
            "ab.cd_x": rng.normal(size=n),
        }
    )
    return X, ((X["ab"] == "x") ^ (X["num"] > 0)).to_numpy()


def encoded(model, dense=True):
    encode = OneHotEncoder(sparse_output=not dense, handle_unknown="ignore")
    # the numbers come out first, so that positions, too, differ from the user's
    return make_pipeline(ColumnTransformer([("n", StandardScaler(), ["num", "ab.cd_x"]), ("t", encode, [0, 2])]), model)


class Remembers(ClassifierMixin, BaseEstimator):
    """Keeps the rows that it was given."""

    seen: list = []

    def __init__(self, name="a", random_state=None):
        self.name = name
        self.random_state = random_state

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.seen.append((self.name, "fit", np.array(X), np.array(y), self.random_state))
        return self

    def predict(self, X):
        self.seen.append((self.name, "predict", np.array(X), None, self.random_state))
        return np.full(len(X), self.classes_[0])


def test_every_model_gets_the_same_folds_rows_and_shuffles(iris):
    Remembers.seen = []
    skexplain.compare({"a": Remembers("a"), "b": Remembers("b")}, *iris, cv=3, n_repeats=2)
    a, b = ([call for call in Remembers.seen if call[0] == name] for name in "ab")
    assert len(a) == len(b)
    assert len([call for call in a if call[1] == "fit"]) == 3
    for mine, theirs in zip(a, b, strict=True):
        assert mine[1] == theirs[1]
        assert mine[4] == theirs[4]
        np.testing.assert_array_equal(mine[2], theirs[2])


def test_folds_are_stratified_and_cover_every_row(iris):
    Remembers.seen = []
    X, y = iris
    skexplain.compare({"a": Remembers()}, X, y, cv=3, n_repeats=1)
    fits = [call for call in Remembers.seen if call[1] == "fit"]
    for _, _, rows, labels, _ in fits:
        assert len(rows) == 100
        assert set(np.bincount(labels)) <= {33, 34}
    assert len({call[4] for call in fits}) == 3  # a seed for each fold


def test_a_forest_agrees_with_itself(result):
    c = next(c for c in result.correlations if (c.first, c.second, c.kind) == ("forest", "again", "importances"))
    assert c.spearman == pytest.approx(1)
    assert c.kendall_interval == pytest.approx((1, 1))
    assert c.overlap == c.k == 2
    np.testing.assert_array_equal(result.permutation[1], result.permutation[2])


def test_shapes_shares_and_order(result):
    assert result.models == ("net", "forest", "again")
    assert result.scores.shape == (3, 3)
    assert result.importances.shape == result.permutation.shape == (3, 3, 4)
    np.testing.assert_allclose(result.importances.sum(axis=2), 1)
    assert set(result.ranking[:2]) == {2, 3}  # the petals
    assert len(result.correlations) == 6
    assert (result.scores > 0.85).all()


def test_repeats_itself_and_leaves_global_state_alone(iris):
    models = {"net": mlp(), "forest": forest()}
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    a, b = (skexplain.compare(models, *iris, cv=2, n_repeats=1, random_state=5) for _ in range(2))
    np.testing.assert_array_equal(a.permutation, b.permutation)
    np.testing.assert_array_equal(a.importances, b.importances)
    assert a.correlations == b.correlations
    np.testing.assert_array_equal(before, np.random.get_state()[1])
    other = skexplain.compare(models, *iris, cv=2, n_repeats=1, random_state=6)
    assert not np.array_equal(a.permutation, other.permutation)
    assert models["forest"].random_state is None
    assert not hasattr(models["forest"], "estimators_")


def test_unused_column_has_no_permutation_importance(iris):
    X, y = iris
    used = make_pipeline(ColumnTransformer([("two", "passthrough", [0, 2])]), DecisionTreeClassifier())
    result = skexplain.compare({"tree": used}, X, y, cv=3)
    assert not result.permutation[:, :, [1, 3]].any()
    assert not result.importances[:, :, [1, 3]].any()
    assert (result.mean("permutation")[0, 2]) > 0.2


@pytest.mark.parametrize(
    "model", [forest(), MLPClassifier((8,), solver="lbfgs", max_iter=2000)], ids=["forest", "network"]
)
def test_importances_are_for_the_users_columns(mixed, model):
    X, y = mixed
    result = skexplain.compare({"m": encoded(model)}, X, y, cv=3, n_repeats=2)
    assert result.names == ("ab", "num", "ab.cd", "ab.cd_x")
    for kind in ("importances", "permutation"):
        mean = result.mean(kind)[0]
        assert set(np.argsort(-mean)[:2]) == {0, 1}
    np.testing.assert_allclose(result.importances.sum(axis=2), 1)


def test_forest_in_a_pipeline_sums_its_own_numbers_back(mixed):
    X, y = mixed
    pipe = encoded(forest(random_state=0)).fit(X, y)
    own = own_importances(pipe, X, y, names=list(X.columns), groups=None, seed=0)
    raw = pipe[-1].feature_importances_  # num, ab.cd_x, ab x y z, ab.cd x y z
    np.testing.assert_allclose(own, [raw[2:5].sum(), raw[0], raw[5:8].sum(), raw[1]])
    grouped = own_importances(pipe, X, y, names=list(X.columns), groups={"g": ["ab", "ab.cd"]}, seed=0)
    np.testing.assert_allclose(grouped, [own[0] + own[2], own[1], own[3]])


def test_groups_count_as_one_for_every_model(iris):
    X, y = iris
    groups = {"petal": ["petal length (cm)", 3]}
    result = skexplain.compare({"net": mlp(), "forest": forest()}, X, y, cv=2, groups=groups, n_repeats=2)
    alone = skexplain.compare({"net": mlp(), "forest": forest()}, X, y, cv=2, n_repeats=2)
    assert result.names == ("petal", "sepal length (cm)", "sepal width (cm)")
    np.testing.assert_allclose(result.importances[1, :, 0], alone.importances[1, :, 2:].sum(axis=1))
    # shuffled together, the petals cannot stand in for each other
    assert (result.mean("permutation")[:, 0] > alone.mean("permutation")[:, 2:].max(axis=1)).all()


def test_models_without_importances_are_compared_by_permutation(iris):
    models = {"knn": KNeighborsClassifier(), "pca": make_pipeline(PCA(2), forest()), "forest": forest()}
    result = skexplain.compare(models, *iris, cv=2, n_repeats=2)
    assert np.isnan(result.importances[:2]).all()
    assert "KNeighborsClassifier" in result.notes["knn"]
    assert "several input columns" in result.notes["pca"]
    assert np.isfinite(result.permutation).all()
    assert [c.kind for c in result.correlations] == ["permutation"] * 3
    assert set(result.to_frame().query("kind == 'importances'")["model"]) == {"forest"}
    assert "knn: no own importances" in repr(result)
    only = skexplain.compare({"knn": models["knn"]}, *iris, cv=2, n_repeats=2)
    assert only.ranking[0] in (2, 3)


def test_search_over_a_model_uses_the_best(iris):
    search = GridSearchCV(forest(), {"max_depth": [1, 3]}, cv=2)
    result = skexplain.compare({"search": search}, *iris, cv=2, n_repeats=1)
    np.testing.assert_allclose(result.importances.sum(axis=2), 1)


def test_regression_with_arrays_and_feature_names():
    X, y = load_diabetes(return_X_y=True)
    names = [f"column {j}" for j in range(10)]
    net = make_pipeline(
        StandardScaler(), MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", alpha=10, max_iter=5000, tol=1e-2)
    )
    models = {"net": net, "forest": RandomForestRegressor(20, max_depth=4), "ridge": Ridge()}
    result = skexplain.compare(models, X, y.reshape(-1, 1), cv=3, feature_names=names, n_repeats=2)
    assert result.scoring == "r2"
    assert set(np.array(result.names)[result.ranking[:2]]) == {"column 2", "column 8"}
    assert (result.mean("scores") > 0.3).all()
    assert result.correlations[-1].second == "ridge"
    assert result.correlations[-1].spearman > 0.4


@pytest.mark.parametrize("scoring", ["neg_log_loss", "roc_auc", make_scorer(accuracy_score)])
def test_any_scorer_measures_scores_and_shuffles(scoring):
    X, y = make_classification(
        200, 5, n_informative=2, n_redundant=0, n_clusters_per_class=1, class_sep=2, shuffle=False, random_state=0
    )
    result = skexplain.compare({"forest": forest(), "extra": ExtraTreesClassifier(5)}, X, y, cv=2, scoring=scoring)
    assert set(result.ranking[:2]) == {0, 1}
    assert result.names == ("x0", "x1", "x2", "x3", "x4")
    assert scoring if isinstance(scoring, str) else "accuracy_score" in result.scoring


@pytest.mark.parametrize("labels", [["no", "yes"], [False, True], [-1, 1]])
def test_labels_of_any_type(labels):
    X, y = make_classification(60, 4, random_state=0)
    result = skexplain.compare({"net": mlp(), "forest": forest()}, X, np.array(labels)[y], cv=2, n_repeats=1)
    assert (result.scores > 0.6).all()


def test_splitters_and_ready_splits(iris):
    X, y = iris
    splits = list(KFold(2, shuffle=True, random_state=1).split(X))
    for cv in (StratifiedKFold(4), splits):
        result = skexplain.compare({"forest": forest()}, X, y, cv=cv, n_repeats=1)
        assert result.scores.shape == (1, 4 if cv is not splits else 2)
    one = skexplain.compare({"a": forest(), "b": mlp()}, X, y, cv=splits[:1], n_repeats=1)
    assert np.isnan(one.error("scores")).all()
    assert np.isnan(one.score_intervals).all()
    assert -1 <= one.correlations[0].spearman <= 1
    assert "±" not in repr(one)


def test_seeds_reach_into_pipelines_and_spare_the_users_own():
    pipe = seeded(make_pipeline(StandardScaler(), MLPClassifier()), 7)
    assert pipe[-1].random_state == 7
    assert seeded(forest(random_state=3), 7).random_state == 3


def test_n_jobs_does_not_change_the_result(iris):
    models = {"net": MLPClassifier((4,), tol=1e3), "forest": forest()}
    one, two = (skexplain.compare(models, *iris, cv=2, n_repeats=1, n_jobs=n_jobs) for n_jobs in (None, 2))
    for kind in ("scores", "importances", "permutation"):
        np.testing.assert_array_equal(getattr(one, kind), getattr(two, kind))


def test_progress_is_reported(iris):
    calls = []
    skexplain.compare({"a": forest(), "b": forest()}, *iris, cv=2, n_repeats=1, progress=lambda *a: calls.append(a))
    assert [c[0] for c in calls] == [0, 1, 2, 3, 4]
    assert {c[1] for c in calls} == {4}
    assert calls[1][2] == "b, fold 1 of 2"


def test_standard_error_by_hand():
    values = np.array([[1.0, 2.0, 3.0]])  # variance 1, three folds, a test set half the size of the training set
    np.testing.assert_allclose(standard_error(values, 0.5), [np.sqrt(1 / 3 + 1 / 2)])


def test_rank_correlation_and_its_interval():
    mean = np.array([[4.0, 3, 2, 1], [4, 3, 1, 2], [1, 2, 3, 4]])
    steady = np.repeat(mean[:, None], 5, axis=1)
    near, far, _ = correlate("permutation", "abc", steady, 0.25, 0)
    assert (near.spearman, near.kendall, near.overlap, near.k) == (pytest.approx(0.8), pytest.approx(2 / 3), 2, 2)
    assert near.spearman_interval == pytest.approx((0.8, 0.8))
    assert (far.spearman, far.kendall, far.overlap) == (pytest.approx(-1), pytest.approx(-1), 0)
    noisy = steady + np.random.default_rng(0).normal(0, 2, steady.shape)
    wide = correlate("permutation", "abc", noisy, 0.25, 0)[0]
    assert wide.spearman_interval[0] <= wide.spearman <= wide.spearman_interval[1]
    assert wide.spearman_interval[1] - wide.spearman_interval[0] > 0.3
    flat = correlate("permutation", "ab", np.stack([steady[0], np.zeros((5, 4))]), 0.25, 0)[0]
    assert np.isnan(flat.spearman)


def test_constant_predictions_give_no_order(iris):
    result = skexplain.compare({"dummy": DummyClassifier(), "forest": forest()}, *iris, cv=2, n_repeats=1)
    assert not result.permutation[0].any()
    assert np.isnan(result.correlations[0].spearman)
    assert "nan" in repr(result)


def test_frames(result):
    frame = result.to_frame()
    assert list(frame) == ["feature", "model", "kind", "mean", "error", "rank"]
    assert len(frame) == 2 * 3 * 4
    assert frame["feature"].iloc[0] == result.names[result.ranking[0]]
    assert len(result.to_frame("scores")) == 9
    assert list(result.to_frame("scores")) == ["model", "fold", "accuracy"]
    assert len(result.to_frame("correlations")) == 6
    with pytest.raises(ValueError, match="kind='rows'"):
        result.to_frame("rows")
    with pytest.raises(ValueError, match="kind='rows'"):
        result.mean("rows")


def test_text(result):
    text = repr(result)
    assert "3 models: 150 rows, 4 columns, 3 folds" in text
    assert "petal width (cm)" in text
    assert "net ~ forest, permutation" in text
    html = result._repr_html_()
    assert html.count("<table>") == 4
    many = skexplain.Comparison(
        ("<m>",), tuple(f"<b>{j}" for j in range(30)), "r2", np.ones((1, 2)), np.full((1, 2, 30), 1 / 30),
        np.full((1, 2, 30), -1e-5), 1.0, 9, 0,
    )  # fmt: skip
    assert " 0.000 ± 0.000" in repr(many)
    assert "-0.000" not in repr(many)
    assert "and 20 more" in repr(many)
    assert "<b>" not in many._repr_html_()
    assert "<m>" not in many._repr_html_()


def test_overlap(result):
    np.testing.assert_array_equal(np.diag(result.overlap(3)), 3)
    assert result.overlap(4, "permutation").min() == 4
    with pytest.raises(ValueError, match="k=5"):
        result.overlap(5)


def test_one_call_for_many_shuffles_equals_the_plain_definition(iris):
    X, y = iris
    network = EstimatorNetwork(forest(random_state=0).fit(X, y), X)
    rows, groups = network.encode(X), [np.array([0, 1]), np.array([2]), np.array([3])]
    coalitions = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 1, 1]], dtype=bool)
    fast = network.predict_replaced(rows, rows[::-1], groups, coalitions)
    plain = super(EstimatorNetwork, network).predict_replaced(rows, rows[::-1], groups, coalitions)
    np.testing.assert_allclose(fast, plain)
    assert network.predict_replaced(rows, rows, groups, coalitions[:0]).shape == (0, 150, 3)


def test_interruption_ends_the_comparison(iris):
    class Stops(Remembers):
        def predict(self, X):
            if len(self.seen) > 3:
                raise KeyboardInterrupt
            return super().predict(X)

    Remembers.seen = []
    with pytest.raises(KeyboardInterrupt):
        skexplain.compare({"a": Stops()}, *iris, cv=2, n_repeats=100)


def test_interruption_after_a_fold_gives_those_that_are_done(iris):
    done = []

    def interrupt(k, total, what):
        done.append(k)
        if k == 5:  # the second model's third fold
            raise KeyboardInterrupt

    models = {"a": forest(), "b": forest()}
    with pytest.warns(InterruptedWarning, match="2 of 3 folds"):
        result = skexplain.compare(models, *iris, cv=3, n_repeats=1, progress=interrupt)
    whole = skexplain.compare(models, *iris, cv=3, n_repeats=1)
    np.testing.assert_array_equal(result.scores, whole.scores[:, :2])
    np.testing.assert_array_equal(result.importances, whole.importances[:, :2])
    assert np.isfinite(result.correlations[0].kendall_interval).all()


def test_another_warning_made_an_error_is_no_interruption(iris):
    class Warns(Remembers):
        def predict(self, X):
            if self.seen[-1][1] == "predict":  # not for the score, but for the permutation importance
                warnings.warn("a column looks odd", UserWarning, stacklevel=2)
            return super().predict(X)

    with pytest.raises(UserWarning, match="looks odd"):  # warnings are errors in tests
        skexplain.compare({"a": Warns()}, *iris, cv=2, n_repeats=1)


def test_interruption_of_own_importances_ends_the_comparison(iris, monkeypatch):
    def interrupted(*args, **kwargs):
        warnings.warn("Interrupted", InterruptedWarning, stacklevel=2)

    monkeypatch.setattr("skexplain._fold.own_importances", interrupted)
    with pytest.raises(KeyboardInterrupt):
        skexplain.compare({"a": forest()}, *iris, cv=2, n_repeats=1)


def test_pipeline_of_one_step_is_its_step(iris):
    models = {"alone": forest(), "one": Pipeline([("rf", forest())]), "net": Pipeline([("mlp", mlp()[-1])])}
    result = skexplain.compare(models, *iris, cv=2, n_repeats=1)
    np.testing.assert_array_equal(result.importances[0], result.importances[1])
    assert result.notes == {}


def test_a_scorer_of_the_callers_own_is_not_tried_on_a_dummy(iris):
    def depth(model, X, y):
        return model.get_depth() if hasattr(model, "get_depth") else (np.asarray(model.predict(X)) == y).mean()

    assert skexplain.compare({"t": DecisionTreeClassifier()}, *iris, cv=2, n_repeats=1, scoring=depth).scores.min() > 1


@pytest.mark.parametrize("cv", [LeaveOneOut(), 20, [(np.arange(19), [19])]])
def test_single_held_out_rows_are_refused_before_training(cv):
    class Untrained(Ridge):
        def fit(self, X, y):
            raise AssertionError

    X = RNG.normal(size=(20, 2))
    with pytest.raises(ValueError, match=r"cv=.* holds out 1 row\(s\) in fold 1; at least 2 .* r2.* such as cv=5"):
        skexplain.compare({"r": Untrained()}, X, X[:, 0], cv=cv)


def test_permutation_importance_is_of_the_models_own_decisions():
    """A threshold of 0.95 decides otherwise than the larger probability, and so loses by other shuffles."""
    X, y = make_classification(600, 4, n_informative=2, n_redundant=0, flip_y=0.1, shuffle=False, random_state=0)
    model = FixedThresholdClassifier(LogisticRegression(), threshold=0.95, response_method="predict_proba")
    train, test = np.arange(0, 600, 2), np.arange(1, 600, 2)
    models = {"high": model, "half": LogisticRegression()}
    result = skexplain.compare(models, X, y, cv=[(train, test)], n_repeats=40)
    for i, own in enumerate(models.values()):
        fitted = own.fit(X[train], y[train])
        theirs = permutation_importance(fitted, X[test], y[test], n_repeats=40, random_state=1)
        assert result.scores[i, 0] == fitted.score(X[test], y[test])
        noise = theirs.importances_std * np.sqrt(2 / 40)
        assert (np.abs(result.permutation[i, 0] - theirs.importances_mean) <= 4 * noise + 1e-12).all()
    assert np.abs(result.permutation[0] - result.permutation[1]).max() > 0.05


X4, Y4 = load_iris(return_X_y=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": {}}, "at least one entry"),
        ({"models": [forest()]}, "pass a dict"),
        ({"models": {"f": RandomForestClassifier}}, "not an estimator"),
        ({"models": {"f": forest(), "r": Ridge()}}, "'f' is a classifier, 'r' a regressor"),
        ({"models": {"s": StandardScaler()}}, "neither as a classifier"),
        ({"groups": {"g": ["nope"]}, "feature_names": list("abcd")}, "'nope', which is not a column"),
        ({"groups": [["x0"]]}, r"groups=\[\['x0'\]\] must be a dict"),
        ({"groups": {"g": [0.5]}}, r"groups\['g'\] contains 0.5"),
        ({"feature_names": ["a"]}, "feature_names has 1 names"),
        ({"y": np.zeros(150)}, "only one class"),
        ({"y": np.r_[np.zeros(148), 1, 1], "cv": 3}, "class 1.0 has 2"),
        ({"cv": 1}, "cv=1; at least 2"),
        ({"cv": 151}, "cv=151 is more than the 150 rows"),
        ({"y": Y4[:-1]}, "inconsistent numbers of samples"),
        ({"y": np.where(Y4 > 1, np.nan, Y4)}, "NaN"),
        ({"y": X4[:, 0] + 0.01}, "Unknown label type"),
        ({"X": X4[:0], "y": Y4[:0]}, "at least one row"),
        ({"X": X4[:, 0]}, "1 dimension"),
        ({"scoring": "nope"}, "'nope'"),
        (
            {"scoring": "r2", "y": np.array(list("abc"))[Y4]},
            "scoring='r2' cannot score a classifier.*Use .* 'accuracy'",
        ),
        ({"scoring": "roc_auc"}, "scoring='roc_auc' cannot score"),
        ({"models": {"r": Ridge()}, "y": X4[:, 0] + 0.01, "scoring": "accuracy"}, "cannot score a regressor.*'r2'"),
        ({"random_state": -1}, "random_state=-1 must be between 0 and"),
        ({"random_state": 2**32}, "random_state=4294967296 must be between 0 and"),
        ({"X": np.where(X4 > 7, np.nan, X4), "models": {"l": LogisticRegression()}}, "contains NaN"),
        ({"X": X4.astype(str) + "a"}, "could not convert string to float"),
        ({"n_repeats": 0}, "n_repeats"),
    ],
)
def test_bad_input(change, message):
    arguments = {"models": {"f": forest()}, "X": X4, "y": Y4, "cv": 2} | change
    with pytest.raises(ValueError, match=message):
        skexplain.compare(**arguments)


def test_sparse_rows_are_refused():
    from scipy.sparse import csr_matrix

    with pytest.raises(ValueError, match="toarray"):
        skexplain.compare({"f": forest()}, csr_matrix(X4), Y4)


def test_two_columns():
    values = np.array([[[1.0, 2]] * 3, [[2.0, 1]] * 3, [[3.0, 4]] * 3])
    found = correlate("importances", ("a", "b", "c"), values, 0.5, 0)
    assert [c.kendall for c in found] == [-1, 1, -1]
