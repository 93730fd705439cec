"""Shapes and contents of the results are frozen here."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import skexplain
from skexplain import Explanation, Importances
from skexplain.attributions import LOCO


def shap_warns(test):
    """shap, and matplotlib in it, as they are imported and draw."""
    for kind in ("PendingDeprecationWarning", "DeprecationWarning", "FutureWarning"):
        test = pytest.mark.filterwarnings(f"ignore::{kind}")(test)
    return test


@pytest.fixture(scope="module")
def net(blobs):
    return MLPClassifier((8,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0).fit(*blobs)


def test_one_output(net, blobs):
    exp = skexplain.explain(net, blobs[0], random_state=0)
    assert exp.shape == exp.error.shape == (150, 4)
    assert exp.base_values.shape == exp.predictions.shape == exp.target.shape == (150,)
    np.testing.assert_allclose(exp.base_values + exp.values.sum(axis=1), exp.predictions)
    np.testing.assert_array_equal(exp.target, net.predict(blobs[0]))


def test_all_outputs(net, blobs):
    exp = skexplain.explain(net, blobs[0], target="all", random_state=0)
    assert exp.shape == exp.error.shape == (150, 4, 3)
    assert exp.base_values.shape == exp.predictions.shape == (150, 3)
    assert exp.target is None
    assert exp.outputs.tolist() == [0, 1, 2]
    np.testing.assert_allclose(exp.base_values + exp.values.sum(axis=1), exp.predictions)
    one = skexplain.explain(net, blobs[0], target=2, random_state=0)
    np.testing.assert_allclose(one.values, exp.values[:, :, 2])


def test_rows(net, blobs):
    exp = skexplain.explain(net, pd.DataFrame(blobs[0]), random_state=0)
    assert len(exp[3]) == 1
    np.testing.assert_array_equal(exp[-1].values, exp.values[-1:])
    np.testing.assert_array_equal(exp[10:20].data, exp.data.iloc[10:20])


@pytest.mark.parametrize("target", ["predicted", "all"])
def test_tidy_frame(net, blobs, target):
    exp = skexplain.explain(net, blobs[0][:6], target=target, random_state=0)
    frame = exp.to_frame()
    assert list(frame) == ["row", "feature", "output", "value", "error"]
    assert len(frame) == exp.values.size
    line = frame[(frame.row == 4) & (frame.feature == "x1")]
    np.testing.assert_array_equal(line.value, np.ravel(exp.values[4, 1]))
    assert line.output.tolist() == ([0, 1, 2] if target == "all" else [exp.target[4]])


@shap_warns
def test_shap_has_the_same_numbers(net, blobs):
    exp = skexplain.explain(net, blobs[0], random_state=0).to_shap()
    assert exp.shape == (150, 4)
    np.testing.assert_allclose(exp.base_values + exp.values.sum(axis=1), net_margin(net, blobs[0]))


def net_margin(net, X):
    return skexplain.explain(net, X, attribution="saliency").predictions


def test_importances(net, blobs):
    X, _ = blobs
    imp = skexplain.importances(net, pd.DataFrame(X, columns=list("abcd")), random_state=0)
    exp = skexplain.explain(net, X, random_state=0)
    assert imp.names == tuple("abcd")
    assert imp.values.shape == imp.signed.shape == imp.error.shape == imp.normalized.shape == (4,)
    np.testing.assert_allclose(imp.values, np.abs(exp.values).mean(axis=0))
    np.testing.assert_allclose(imp.signed, exp.values.mean(axis=0))
    assert imp.normalized.sum() == pytest.approx(1)
    assert set(imp.per_class) == {0, 1, 2}
    np.testing.assert_allclose(imp.per_class[1], np.abs(exp.values[exp.target == 1]).mean(axis=0))
    assert imp.n_rows == 150
    np.testing.assert_array_equal(np.asarray(imp), imp.values)
    again = skexplain.importances(net, X, random_state=imp.random_state)
    np.testing.assert_array_equal(again.values, imp.values)
    frame = imp.to_frame()
    assert frame.feature.tolist()[0] == imp.names[imp.ranking[0]]
    assert frame.importance.is_monotonic_decreasing


def test_all_targets_are_averaged(net, blobs):
    imp = skexplain.importances(net, blobs[0], target="all", random_state=0)
    exp = skexplain.explain(net, blobs[0], target="all", random_state=0)
    np.testing.assert_allclose(imp.values, np.abs(exp.values).mean(axis=(0, 2)))
    assert imp.per_class == {}


def test_text():
    names = tuple(f"<column {j}>" for j in range(40))
    values = np.arange(40.0)
    imp = Importances(names, values, -values, np.full(40, np.nan), "Mine()", "margin", "predicted", 7, 0)
    lines = repr(imp).splitlines()
    assert lines[0] == "Importances by Mine(), 7 rows, output='margin', target='predicted'"
    assert lines[2].split()[:3] == ["<column", "39>", "0.050"]
    assert lines[-1].strip() == "and 10 more"
    assert "&lt;column 39&gt;" in imp._repr_html_()
    assert "<column" not in imp._repr_html_()


def test_block_boundaries_do_not_matter(net, blobs, monkeypatch):
    whole = skexplain.importances(net, blobs[0], random_state=0)
    monkeypatch.setattr("skexplain._explain.ROWS", 40)
    parts = skexplain.importances(net, blobs[0], random_state=0)
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-6)
    np.testing.assert_allclose(parts.error, whole.error, rtol=1e-6)


def test_memory_does_not_grow_with_rows(net):
    """Beyond the rows themselves and what checking them costs."""
    import tracemalloc

    rng = np.random.default_rng(0)
    peaks = []
    for n in (2048, 40_960):
        X = rng.normal(size=(n, 4)).astype(np.float32)
        tracemalloc.start()
        skexplain.importances(net, X, attribution="saliency", random_state=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]


def test_rows_that_are_not_there(net, blobs):
    exp = skexplain.explain(net, blobs[0], random_state=0)
    with pytest.raises(IndexError, match="row 150 of an Explanation of 150 rows"):
        exp[150]
    assert exp[np.int64(1)].shape == (1, 4)
    assert len(list(exp[:4])) == 4


def test_targets_of_the_wrong_shape(net, blobs):
    X, y = blobs
    with pytest.raises(ValueError, match=r"target has shape \(150,\); pass one label, or one for each of the 50 rows"):
        skexplain.importances(net, X[:50], target=y)
    column = skexplain.explain(net, X[:50], target=y[:50].reshape(-1, 1), random_state=0)
    np.testing.assert_array_equal(column.target, y[:50])


def test_error_is_between_rows(net, blobs):
    imp = skexplain.importances(net, blobs[0], attribution="saliency", random_state=0)
    exp = skexplain.explain(net, blobs[0], attribution="saliency", random_state=0)
    np.testing.assert_allclose(imp.error, exp.values.std(axis=0, ddof=1) / np.sqrt(150), rtol=1e-6)


def test_errors_that_rows_share_do_not_average_out(net, blobs):
    """All rows are compared with the same background rows, so their mean depends on these as much as one row does."""
    exp = skexplain.explain(net, blobs[0], attribution="ablation", random_state=0)
    got = skexplain.importances(net, blobs[0], attribution="ablation", random_state=0)
    between_rows = np.abs(exp.values).std(axis=0) / np.sqrt(len(exp) - 1)
    np.testing.assert_allclose(got.error, np.hypot(between_rows, exp.error.mean(axis=0)))


# --- choosing rows and columns


@pytest.fixture(scope="module")
def frame_exp(net, blobs):
    return skexplain.explain(net, pd.DataFrame(blobs[0], columns=list("abcd")), random_state=0)


def test_columns_by_name(frame_exp):
    one = frame_exp[:, "b"]
    assert one.names == ("b",)
    np.testing.assert_array_equal(one.values[:, 0], frame_exp.values[:, 1])
    np.testing.assert_array_equal(one.error[:, 0], frame_exp.error[:, 1])
    np.testing.assert_array_equal(one.predictions, frame_exp.predictions)
    two = frame_exp[3:5, ["d", "a"]]
    assert two.names == ("d", "a")
    np.testing.assert_array_equal(two.values, frame_exp.values[3:5][:, [3, 0]])
    np.testing.assert_array_equal(two.to_shap().data, frame_exp.data.iloc[3:5][["d", "a"]])
    np.testing.assert_array_equal(two[:, 1].to_shap().data, frame_exp.data.iloc[3:5][["a"]])


def test_masks_and_positions(frame_exp, blobs):
    mask = blobs[1] == 1
    for chosen in (frame_exp[mask], frame_exp[pd.Series(mask)], frame_exp[np.flatnonzero(mask)]):
        np.testing.assert_array_equal(chosen.values, frame_exp.values[mask])
        pd.testing.assert_frame_equal(chosen.data, frame_exp.data[mask])
    assert frame_exp[:, np.array([True, False, False, True])].names == ("a", "d")
    assert frame_exp[:, -1].names == ("d",)
    assert frame_exp[:, 1:3].names == ("b", "c")
    assert frame_exp[[]].shape == (0, 4)
    assert frame_exp[[], []].shape == (0, 0)
    assert frame_exp[:, :].names == tuple("abcd")


def test_all_outputs_keep_their_axis(net, blobs):
    exp = skexplain.explain(net, blobs[0][:5], target="all", random_state=0)
    assert exp[1:3, ["x0", "x3"]].shape == (2, 2, 3)


@pytest.mark.parametrize(
    ("key", "error", "match"),
    [
        ((slice(None), "e"), KeyError, "'e' is no column; there are a, b, c, d"),
        ((slice(None), 4), IndexError, "column 4 of an Explanation of 4 columns"),
        ((slice(None), [0.5]), IndexError, "is no column"),
        ((slice(None), [True]), IndexError, r"a mask of shape \(1,\) for 4 columns"),
        ([True, False], IndexError, r"a mask of shape \(2,\) for 150 rows"),
        ([[1, 2]], IndexError, "rows are chosen by one number"),
        ("a", KeyError, "'a' is no row"),
    ],
)
def test_what_is_not_there(frame_exp, key, error, match):
    with pytest.raises(error, match=match):
        frame_exp[key]


def test_names_that_columns_share(net, blobs):
    exp = skexplain.explain(net, blobs[0][:2], feature_names=["a", "b", "c", "d"], random_state=0)
    twice = replace(exp, names=("a", "b", "a", "d"))
    assert twice[:, "b"].names == ("b",)
    with pytest.raises(KeyError, match=r"2 columns are called 'a'; choose one by its number, \[0, 2\]"):
        twice[:, "a"]


def test_sparse_rows():
    X = np.eye(3)
    v = np.arange(9.0).reshape(3, 3)
    exp = Explanation(v, np.zeros(3), np.zeros(3), csr_array(X), tuple("abc"), None, "margin", 0)
    np.testing.assert_array_equal(exp[1].data.toarray(), X[1:2])
    np.testing.assert_array_equal(exp[1].to_shap().data, X[1:2])


# --- what results must be, and look like


def test_groups_that_were_asked_for(net, blobs):
    asked = {"ab": ["a", "b"], "last": ["d"]}
    names = ["a", "b", "c", "d"]
    exp = skexplain.explain(net, blobs[0][:5], groups=asked, feature_names=names, random_state=0)
    imp = skexplain.importances(net, blobs[0], groups=asked, feature_names=names, random_state=0)
    assert exp.groups == imp.groups == {"ab": ("a", "b"), "last": ("d",)}
    again = skexplain.importances(
        net, blobs[0], attribution=imp.strategy, groups=imp.groups, feature_names=names, random_state=imp.random_state
    )
    np.testing.assert_array_equal(again.values, imp.values)
    # not the network, which ends without having converged in some folds
    loco = skexplain.importances(
        LogisticRegression(), *blobs, attribution=LOCO(cv=2), groups=asked, feature_names=names, random_state=0
    )
    assert loco.groups == imp.groups


def test_importances_that_are_not_numbers():
    v = np.array([0.5, 1.0])
    parts = {"output": "margin", "target": "all", "n_rows": 9, "random_state": 0}
    for wrong in (np.nan, np.inf):
        with pytest.raises(ValueError, match="values of 'b' is NaN or infinite"):
            Importances(("a", "b"), np.array([1.0, wrong]), v, v, None, **parts)
    with pytest.raises(ValueError, match=r"values\[1\]=-1.0 of 'b' is negative"):
        Importances(("a", "b"), np.array([1.0, -1.0]), v, v, None, **parts)
    with pytest.raises(ValueError, match=r"signed has the shape \(3,\), but the names and rows ask for \(2,\)"):
        Importances(("a", "b"), v, np.ones(3), v, None, **parts)
    with pytest.raises(ValueError, match=r"per_class\['yes'\] of 'a' is NaN"):
        Importances(("a", "b"), v, v, v, None, **parts, per_class={"yes": np.array([np.nan, 1])})


def test_explanations_that_are_not_numbers():
    v, n = np.ones((2, 2)), np.zeros(2)
    parts = {"names": ("a", "b"), "strategy": None, "output": "margin", "random_state": 0, "data": v}
    with pytest.raises(ValueError, match="values of 'b' is NaN or infinite"):
        Explanation(np.array([[1, 2], [3, np.nan]]), n, n, **parts)
    with pytest.raises(ValueError, match=r"predictions has the shape \(3,\), but"):
        Explanation(v, n, np.zeros(3), **parts)
    with pytest.raises(ValueError, match=r"values has the shape \(2,\); pass"):
        Explanation(n, n, n, **parts)


def test_html_of_rows(frame_exp):
    evil = replace(frame_exp[0], names=("<script>alert(1)</script>", "b & c", "c", "d"))
    page = evil._repr_html_()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page
    assert page.count("width:") == 4
    assert "width:100.0px" in page
    assert "<caption>Explanation of 1 rows by ExpectedGradients()" in page
    # one row has a sign: both colours, unless all values have one
    assert {"#D55E00" in page, "#0072B2" in page} == {bool((evil.values > 0).any()), bool((evil.values < 0).any())}
    assert "mean |value|" in frame_exp._repr_html_()


def test_html_says_what_it_leaves_out():
    names, v = tuple(f"c{j}" for j in range(40)), np.arange(40.0)
    imp = Importances(names, v, v, v, None, "margin", "all", 9, 0)
    assert "and 10 more" in imp._repr_html_()
    assert imp._repr_html_().count("width:") == 30


def test_one_row_shows_its_sign(frame_exp):
    one = frame_exp[2]
    top = np.abs(one.values[0]).argmax()
    line = repr(one).splitlines()[2].split()
    assert line[0] == one.names[top]
    assert float(line[1]) == pytest.approx(one.values[0, top], rel=1e-3)


# --- shap


def draw_all(shap, exp):
    plots = shap.plots
    base = float(exp.base_values[0])
    return {
        "bar": lambda: plots.bar(exp, show=False),
        "beeswarm": lambda: plots.beeswarm(exp, show=False),
        "waterfall": lambda: plots.waterfall(exp[0], show=False),
        "force": lambda: plots.force(exp[0], matplotlib=True, show=False),
        "scatter": lambda: plots.scatter(exp[:, 0], color=exp, show=False),
        "heatmap": lambda: plots.heatmap(exp, show=False),
        "violin": lambda: plots.violin(exp, show=False),
        "decision": lambda: plots.decision(
            base, exp.values, features=exp.data, feature_names=exp.feature_names, show=False
        ),
    }


@shap_warns
@pytest.mark.parametrize("kind", ["numbers", "text"])
def test_every_shap_plot(blobs, kind):
    import matplotlib.pyplot as plt
    import shap

    X = pd.DataFrame(blobs[0][:30], columns=list("abcd"))
    steps = StandardScaler()
    if kind == "text":
        X["d"] = np.where(X.a > 0, "up", "down")
        X.loc[3, "d"] = None
        steps = make_column_transformer((OneHotEncoder(), ["d"]), remainder=StandardScaler())
    net = make_pipeline(steps, MLPClassifier((4,), solver="lbfgs", max_iter=200, random_state=0)).fit(X, X.a > 0)
    exp = skexplain.explain(net, X, random_state=0).to_shap()
    if kind == "text":
        np.testing.assert_array_equal(np.isnan(exp.data[:, 3]), X.d.isna())
        np.testing.assert_array_equal(exp.data[:, 3] == 1, X.d == "up")
        assert exp.display_data[0, 3] == X.d[0]
    for draw in draw_all(shap, exp).values():
        draw()
        plt.close("all")
