import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

import skexplain
from skexplain import UnsupportedModelError
from skexplain._columns import _rank_correlation, column_names, resolve_groups, sum_groups, trace_columns


def test_groups_by_name_and_index():
    names, groups = resolve_groups({"g": ["a", 2]}, ["a", "b", "c"])
    assert names == ("g", "b")
    assert [g.tolist() for g in groups] == [[0, 2], [1]]
    assert resolve_groups(None, ["a", "b"])[0] == ("a", "b")


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"g": ["z"]}, r"groups\['g'\] contains 'z', which is not a column; columns are \['a', 'b', 'c'\]"),
        ({"g": [3]}, "contains 3, which is not a column"),
        ({"g": [0], "h": ["a"]}, "Column 'a' is in the groups 'g' and 'h'; groups must not overlap"),
        ({"g": []}, r"groups\['g'\] is empty"),
        ({"b": ["a"]}, "a group called 'b', which is also a column outside it"),
    ],
)
def test_bad_groups(groups, message):
    with pytest.raises(ValueError, match=message):
        resolve_groups(groups, ["a", "b", "c"])


def test_sums():
    values = np.arange(12.0).reshape(2, 3, 2)
    got = sum_groups(values, [np.array([0, 2]), np.array([1]), np.array([], int)])
    np.testing.assert_array_equal(got, np.stack([values[:, 0] + values[:, 2], values[:, 1], 0 * values[:, 1]], 1))


def test_names_come_from_the_first_that_has_them():
    frame = pd.DataFrame(np.zeros((2, 2)), columns=["a", "b"])
    assert column_names(frame, None, None, 2) == ["a", "b"]
    assert column_names(frame, ["u", "v"], None, 2) == ["u", "v"]
    assert column_names(np.zeros((2, 2)), None, None, 2) == ["x0", "x1"]
    with pytest.raises(ValueError, match="feature_names has 1 names, but there are 2 columns"):
        column_names(frame, ["u"], None, 2)


@pytest.fixture
def frame():
    """Names that mislead whoever goes by prefixes; a level that occurs once; missing values."""
    rng = np.random.default_rng(0)
    n = 60
    frame = pd.DataFrame(
        {
            "ab": rng.choice(["cd", "ef"], n),
            "ab_cd": rng.normal(size=n),
            "cat": pd.Categorical(rng.choice(list("xyz"), n)),
            "n": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "whole": rng.integers(5, size=n),
        }
    )
    frame.loc[7, "ab"] = "once"
    return frame


def test_every_output_column_finds_its_origin(frame):
    pre = ColumnTransformer(
        [
            ("scale", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["n", "ab_cd"]),
            ("hot", OneHotEncoder(sparse_output=True), ["cat", "ab"]),
            ("order", OrdinalEncoder(), ["whole"]),
        ]
    ).fit(frame)
    T, origin = trace_columns(pre.transform, frame, list(frame))
    names = pre.get_feature_names_out()
    assert T.shape[1] == len(names)
    found = {column: [names[k] for k in origin[j]] for j, column in enumerate(frame)}
    assert found == {
        "ab": ["hot__ab_cd", "hot__ab_ef", "hot__ab_once"],
        "ab_cd": ["scale__ab_cd"],
        "cat": ["hot__cat_x", "hot__cat_y", "hot__cat_z"],
        "n": ["scale__n", "scale__missingindicator_n"],
        "whole": ["order__whole"],
    }


def test_frame_is_not_changed(frame):
    before = frame.copy()
    trace_columns(
        ColumnTransformer([("n", "passthrough", ["ab_cd", "whole"])]).fit(frame).transform, frame, list(frame)
    )
    pd.testing.assert_frame_equal(frame, before)


def test_mixed_columns_are_refused():
    X = np.random.default_rng(0).normal(size=(30, 3))
    with pytest.raises(UnsupportedModelError, match=r"first on \['x0', 'x1', 'x2'\].*attribution='permutation'"):
        trace_columns(PCA(2).fit(X).transform, X, ["x0", "x1", "x2"])


def test_constant_columns_are_found_by_other_rows(frame):
    """Among a few rows a column may be constant; its levels are known from the background."""
    frame = frame.drop(columns="n")
    pre = ColumnTransformer([("hot", OneHotEncoder(), ["cat", "ab"])], remainder=StandardScaler()).fit(frame)
    few = frame[frame["cat"] == "x"].iloc[:3]
    _, origin = trace_columns(pre.transform, few, list(frame), frame)
    names = pre.get_feature_names_out()
    assert [names[k] for k in origin[list(frame).index("cat")]] == ["hot__cat_x", "hot__cat_y", "hot__cat_z"]
    _, alone = trace_columns(pre.transform, few.iloc[:1], list(frame))
    assert len(alone[list(frame).index("cat")]) == 0
    assert [names[k] for k in alone[list(frame).index("whole")]] == ["remainder__whole"]  # a number can be moved


@pytest.mark.parametrize("groups", [[["a"]], {"g": None}, {"g": [2.0]}, {"g": [True]}])
def test_groups_of_the_wrong_kind(groups):
    with pytest.raises(ValueError, match=r"must be a dict|is not a column"):
        resolve_groups(groups, ["a", "b", "c"])


def families(n=300, seed=0):
    """Two families of alike columns, a loner, a constant, text, and numbers with gaps."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    return pd.DataFrame(
        {
            "a": a,
            "b": b,
            "exp a": np.exp(a),
            "-b": -b + 0.1 * rng.normal(size=n),
            "alone": rng.normal(size=n),
            "constant": 1.0,
            "text": rng.choice(["x", "y"], n),
            "a with gaps": pd.array(np.where(rng.random(n) < 0.3, None, np.round(20 * a)), dtype="Int64"),
            "code": pd.Categorical(np.digitize(a, [-1, 0, 1])),
            "mixed": np.array([*(["x"] * 5), *a[5:]], dtype=object),
            "objects": np.array(b, dtype=object),
        }
    )


def test_correlated_groups():
    groups = skexplain.correlated_groups(families())
    assert groups == {"a + 2 more": ["a", "exp a", "a with gaps"], "b + 2 more": ["b", "-b", "objects"]}


def test_correlated_groups_of_an_array():
    X = families()[["a", "b", "exp a", "constant"]].to_numpy()
    assert skexplain.correlated_groups(X) == {"x0 + x2": ["x0", "x2"]}
    assert skexplain.correlated_groups(X, feature_names=list("pqrs")) == {"p + r": ["p", "r"]}
    assert skexplain.correlated_groups(X[:, :1]) == {}
    assert skexplain.correlated_groups(X.reshape(-1, 2, 2)) == {"x0 + x2": ["x0", "x2"]}


def test_threshold():
    rng = np.random.default_rng(0)
    X = rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], size=500)
    assert skexplain.correlated_groups(X) == {}
    assert skexplain.correlated_groups(X, threshold=0.5) == {"x0 + x1": ["x0", "x1"]}
    assert skexplain.correlated_groups(np.c_[X, X[:, 0]], threshold=1) == {"x0 + x2": ["x0", "x2"]}


def test_average_linkage_needs_more_than_one_neighbour():
    """Of a chain, whose ends are far apart, only neighbours are joined."""
    steps = np.random.default_rng(0).normal(size=(2000, 12))
    chain = np.stack([steps[:, j : j + 5].sum(axis=1) for j in range(0, 8)], axis=1)
    groups = skexplain.correlated_groups(chain, threshold=0.75)
    assert len(groups) > 1
    assert max(map(len, groups.values())) <= 3


def test_rank_correlation_is_spearmans():
    X = np.random.default_rng(0).integers(10, size=(200, 6)).astype(float)
    X[:, 1] += X[:, 0]
    np.testing.assert_allclose(_rank_correlation(X), np.abs(spearmanr(X).statistic), atol=1e-12)
    X[::3, 1] = np.nan
    X[1::5, 2] = np.nan
    both = np.isfinite(X[:, 1] + X[:, 2])
    # ranks are those of the whole column, so pairs with gaps differ a little
    assert _rank_correlation(X)[1, 2] == pytest.approx(abs(spearmanr(X[both][:, 1:3]).statistic[()]), abs=0.01)


def test_names_of_groups_are_new():
    frame = families()[["a", "exp a", "b"]].rename(columns={"b": "a + exp a"})
    assert list(skexplain.correlated_groups(frame)) == ["a + exp a (group)"]
    names, groups = resolve_groups("correlated", list(frame), frame)
    assert names == ("a + exp a (group)", "a + exp a")
    assert [g.tolist() for g in groups] == [[0, 1], [2]]


@pytest.mark.parametrize(
    ("X", "params", "message"),
    [
        (np.ones((19, 2)), {}, "at least 20 rows and at most 2000 columns, got 19 rows of 2"),
        (np.ones((20, 2001)), {}, "got 20 rows of 2001"),
        (np.ones((20, 2)), {"threshold": 0}, "threshold == 0, must be > 0"),
        (np.ones((20, 2)), {"threshold": 1.1}, "threshold == 1.1, must be <= 1"),
        (np.ones((20, 2)), {"feature_names": ["a", "a"]}, "columns with different names"),
        (np.ones((20, 2)), {"feature_names": ["a"]}, "feature_names has 1 names"),
    ],
)
def test_bad_correlated_groups(X, params, message):
    with pytest.raises(ValueError, match=message):
        skexplain.correlated_groups(X, **params)


def test_unknown_word_for_groups():
    with pytest.raises(ValueError, match=r"groups='alike' must be a dict .* or 'correlated'"):
        resolve_groups("alike", ["a"], np.ones((30, 1)))


def test_correlated_groups_are_explained_together():
    frame = families()[["a", "b", "exp a", "alone"]]
    model = MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0).fit(
        frame, frame["a"]
    )
    for attribution in ("permutation", "expected_gradients", "ablation"):
        got = skexplain.importances(
            model, frame, frame["a"], attribution=attribution, groups="correlated", random_state=0
        )
        assert got.names == ("a + exp a", "b", "alone")
        assert got.ranking[0] == 0
    # decided on typical rows, so that one row can be explained
    one = skexplain.explain(model, frame[:1], groups="correlated", background=frame, random_state=0)
    assert one.values.shape == (1, 3)
    with pytest.raises(ValueError, match=r"got 5 rows of 4\. Pass more rows as `background`"):
        skexplain.explain(model, frame[:5], groups="correlated")
    pipe = make_pipeline(StandardScaler(), model).fit(frame, frame["a"])
    got = skexplain.explain(pipe, frame, groups="correlated", random_state=0)
    assert got.names == ("a + exp a", "b", "alone")
