"""Agreement and slope charts of rankings, and partial dependence through scikit-learn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from skexplain import Importances
from skexplain.attributions import ExpectedGradients
from skexplain.plotting import agreement, partial_dependence, slope
from tests.plotting.test_pictures import compared, inside


def rankings(d, m, long=False):
    rng = np.random.default_rng(0)
    name = "a very long name of column {}, in some unit ($/kg$)" if long else "x{}"
    names = tuple(name.format(j) for j in range(d))
    values = rng.random((m, d))
    return {
        f"method {k}": Importances(names, v, v, v, ExpectedGradients(), "margin", "all", 9, 0)
        for k, v in enumerate(values)
    }


@pytest.mark.parametrize(("d", "m"), [(3, 2), (30, 4), (100, 20)])
def test_agreement(d, m, tmp_path):
    results = rankings(d, m)
    ax = agreement(results, path=tmp_path / "p.png")
    drawn = ax.images[0].get_array()
    a, b = (results[f"method {k}"].values for k in (0, 1))
    assert drawn[0, 1] == drawn[1, 0] == pytest.approx(kendalltau(a, b).statistic)
    written = [t.get_text() for t in ax.texts]
    assert written == [f"{drawn[i, j]:.2f}" for i in range(m) for j in range(m)]
    inside(ax.figure)


@pytest.mark.parametrize(("d", "m", "long"), [(3, 2, False), (30, 3, True), (100, 5, True)])
def test_slope(d, m, long, tmp_path):
    results = rankings(d, m, long)
    ax = slope(results, path=tmp_path / "p.png", max_display=6)
    lines = [line for line in ax.lines if len(line.get_xdata()) == m and line.get_marker() == "o"]
    assert len(lines) == min(d, 6)
    shares = np.array([r.normalized for r in results.values()])
    best = shares.mean(axis=0).argmax()
    ranks = [1 + np.count_nonzero(row > row[best]) for row in shares]
    np.testing.assert_array_equal(lines[-1].get_ydata(), np.minimum(ranks, 7))  # the first column is drawn last
    inside(ax.figure)


def test_of_a_comparison(tmp_path):
    result = compared(4, ("a", "b", "c"), missing=[1])
    ax = agreement(result, path=tmp_path / "p.png")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "c"]  # b has no importances of its own
    ax = agreement(result, kind="permutation", path=tmp_path / "p.png")
    assert len(ax.get_yticklabels()) == 3
    assert "permutation" in slope(result, kind="permutation", path=tmp_path / "p.png").get_title(loc="left")


def test_bad_rankings():
    with pytest.raises(ValueError, match="There are 1 rankings"):
        agreement(rankings(3, 1))
    with pytest.raises(ValueError, match="'other' has other columns than 'method 0'"):
        slope({**rankings(3, 1), "other": rankings(2, 1)["method 0"]})
    with pytest.raises(TypeError, match="pass a Comparison"):
        agreement(7)


def frame():
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "the $c$"]).assign(whole=np.arange(60) % 5)


def test_partial_dependence_of_a_line(tmp_path):
    X = frame()
    model = LinearRegression().fit(X, 3 * X["a"] - X["b"])
    figures = plt.get_fignums()
    axes = partial_dependence(model, X, ["a", "whole"], path=tmp_path / "p.png")
    mean = axes[0].lines[-1]
    assert np.polyfit(*mean.get_data(), 1)[0] == pytest.approx(3)
    assert len(axes[0].lines) == 31  # single rows, and their mean
    assert axes[1].get_xlabel() == "whole"
    assert len(partial_dependence(model, X, [0], single_rows=False, path=tmp_path / "p.png")[0].lines) == 1
    assert plt.get_fignums() == figures


def test_partial_dependence_of_classes_and_words(tmp_path):
    X = frame()
    tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X, np.digitize(X["a"], [-0.5, 0.5]))
    axes = partial_dependence(tree, X, max_display=2, target=2, path=tmp_path / "p.png")
    assert axes[0].get_xlabel() == "a"  # the most important
    assert axes[0].get_ylabel() == "probability of 2"
    assert axes[0].lines[-1].get_ydata()[-1] == 1
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    X = X.assign(word=np.where(X["b"] > 0, "yes", "no"))
    pipe = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["word"]), remainder="passthrough"), LogisticRegression()
    ).fit(X, X["b"] > 0)
    axes = partial_dependence(pipe, X, ["word", "a"], path=tmp_path / "p.png")
    no, yes = (bar.get_height() for bar in axes[0].patches)
    assert yes > no
    X.loc[:30, "word"] = np.nan  # rows without a word are left out
    axes = partial_dependence(pipe, X, ["word"], path=tmp_path / "p.png")
    assert [t.get_text() for t in axes[0].get_xticklabels()] == ["no", "yes"]
    many = X.assign(word=[f"word {j % 30}" for j in range(60)])
    with pytest.raises(ValueError, match="Column 'word' has 30 levels; at most 20"):
        partial_dependence(pipe, many, ["word"])
    with pytest.raises(ValueError, match="Every row lacks a value in one of"):
        partial_dependence(pipe, X.assign(word=np.nan), ["word"])
    inside(axes[0].figure)


def test_bad_partial_dependence():
    X = frame()
    model = LinearRegression().fit(X, X["a"])
    classifier = LogisticRegression().fit(X, X["a"] > 0)
    with pytest.raises(TypeError, match=r"skexplain\.from_fitted"):
        partial_dependence(object(), X)
    with pytest.raises(ValueError, match="does not say which columns are important"):
        partial_dependence(model, X)
    with pytest.raises(ValueError, match="columns contains 'd', which does not exist"):
        partial_dependence(model, X, ["d"])
    with pytest.raises(ValueError, match="columns is empty"):
        partial_dependence(model, X, [])
    with pytest.raises(ValueError, match="target='cow' does not exist"):
        partial_dependence(classifier, X, ["a"], target="cow")
    with pytest.raises(ValueError, match="axes has 2 Axes for 1 columns"):
        partial_dependence(model, X, ["a"], axes=[None, None])
