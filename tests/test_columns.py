import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from skexplain import UnsupportedModelError
from skexplain._columns import column_names, resolve_groups, sum_groups, trace_columns


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
