"""Beeswarm, dependence and force: what is in them, at any number of columns, and what they refuse."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from skexplain import Explanation
from skexplain.attributions import ExpectedGradients, Saliency
from tests.plotting.test_pictures import importances, inside, ticks


def explained(n=40, d=5, k=None, base=0.5, long=False):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    values = X * np.linspace(1, 0.1, d)
    values = values if k is None else np.stack([values, -values], axis=2)
    base_values = np.full(values.shape[:1] + values.shape[2:], base)
    name = "a very long name of column {}, in some unit ($/kg$) <b>" if long else "column {}"
    return Explanation(
        values, base_values, base_values + values.sum(axis=1), X, tuple(name.format(j) for j in range(d)),
        ExpectedGradients() if np.isfinite(base) else Saliency(), "margin", 0,
        target=np.array(["cat"] * n) if k is None else None, outputs=np.array(["dog", "cat"]),
    )  # fmt: skip


@pytest.mark.parametrize("d", [3, 30, 100])
def test_beeswarm(d, tmp_path):
    exp = explained(d=d, long=d > 3)
    ax = exp.plot.beeswarm(path=tmp_path / "p.png", max_display=12)
    dots = ax.collections[-1]
    x, y = dots.get_offsets().T
    assert len(x) == 40 * min(d, 12)
    first = np.abs(y) <= 0.5  # the row on top is the first column, each dot at its value
    np.testing.assert_allclose(np.sort(x[first]), np.sort(exp.values[:, np.abs(exp.values).mean(axis=0).argmax()]))
    # the value raises the output, so dots get lighter to the right
    assert np.corrcoef(x[first], dots.get_array()[first])[0, 1] > 0.9
    assert (ticks(ax)[-1].startswith(f"and {d - 12} more")) == (d > 12)
    inside(ax.figure)


def test_beeswarm_leaves_the_random_state_and_shows_words_in_grey(tmp_path):
    pd = pytest.importorskip("pandas")
    exp = explained()
    frame = pd.DataFrame(exp.data).assign(word=np.where(exp.data[:, 0] > 0, "yes", "no"))
    exp = replace(exp, data=frame, columns=np.array([5, 1, -1, 3, 4]))
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    ax = exp.plot.beeswarm(path=tmp_path / "p.png")
    assert (np.random.get_state()[1] == before).all()
    grey, coloured = ax.collections[-2:]
    assert len(grey.get_offsets()) == 2 * 40  # words, and a group
    assert len(coloured.get_offsets()) == 3 * 40
    words = exp.plot.dependence(0, path=tmp_path / "q.png")
    assert [t.get_text() for t in words.get_xticklabels()] == ["no", "yes"]


def test_dependence(tmp_path):
    exp = explained()
    ax = exp.plot.dependence("column 1", color_by=0, path=tmp_path / "p.png")
    np.testing.assert_allclose(ax.collections[0].get_offsets(), np.stack([exp.data[:, 1], exp.values[:, 1]], axis=1))
    assert ax.get_xlabel() == "column 1"
    assert ax.get_ylabel() == "attribution to the margin of cat"
    inside(ax.figure)
    figure, own = plt.subplots()
    assert exp.plot.dependence(-1, own) is own
    assert exp.plot.beeswarm(own) is own
    assert exp.plot.force(0, own) is own
    plt.close(figure)


@pytest.mark.parametrize("d", [3, 100])
def test_force_meets_at_the_prediction(d, tmp_path):
    exp = explained(d=d, long=d > 3)
    ax = exp.plot.force(1, path=tmp_path / "p.png")
    up = exp.values[1][exp.values[1] > 0].sum()
    edges = np.array([(min(b.get_x(), b.get_x() + b.get_width()), abs(b.get_width())) for b in ax.patches])
    at = exp.predictions[1]
    left = edges[:, 0] < at - 1e-9
    assert edges[left, 1].sum() == pytest.approx(up)
    assert at - edges[left, 1].sum() + edges[~left, 1].sum() == pytest.approx(exp.base_values[1])
    texts = [t.get_text() for t in ax.texts]
    assert any(t.startswith("prediction") for t in texts)
    assert any(t.startswith("These raise it") for t in texts)
    if d > 3:
        assert any("more (" in t for t in texts)
    inside(ax.figure)


def test_one_of_all_outputs(tmp_path):
    exp = explained(k=2)
    ax = exp.plot.dependence(0, output="cat", path=tmp_path / "p.png")
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 1], exp.values[:, 0, 1])


def test_probe_is_a_line_at_the_largest_random_column(tmp_path):
    imp = importances(5)
    ax = imp.plot.bar(probe=["column 0", "column 2"], path=tmp_path / "p.png")
    assert any(line.get_xdata()[0] == imp.values[2] for line in ax.lines)
    assert "largest of 2 random columns" in [t.get_text() for t in ax.texts]
    colours = [bar.get_facecolor() for bar in ax.patches]
    assert colours[0] == colours[1] == colours[3] != colours[2]
    assert colours[2] == colours[4]
    inside(ax.figure)


def test_ten_thousand_columns(tmp_path):
    names = [f"x{j}" for j in range(10_000)]
    assert ticks(importances(10_000, names=names).plot.bar(path=tmp_path / "p.png"))[-1].startswith("and 9980 more")
    explained(n=3, d=10_000).plot.beeswarm(path=tmp_path / "q.png", max_display=3)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: explained().plot.dependence("nope"), "column='nope' does not exist; the columns are 'column 0'"),
        (lambda: explained().plot.dependence(9), "column=9; the explanation has 5 columns"),
        (lambda: explained(k=2).plot.beeswarm(), r"pass output=, one of \['dog', 'cat'\]"),
        (lambda: explained(k=2).plot.dependence(0, output="cow"), "'cow' does not exist"),
        (lambda: explained().plot.beeswarm(output="cat"), "one output a row was explained"),
        (lambda: explained(base=np.nan).plot.force(0), "has no base value"),
        (lambda: replace(explained(), columns=np.full(5, -1)).plot.dependence(0), "several columns"),
        (lambda: replace(explained(), data=np.zeros((40, 2, 2))).plot.dependence(0), "no table of these columns"),
        (lambda: replace(explained(), data=np.full((40, 5), 1.0)).plot.dependence(0, color_by=1), "no two different"),
        (lambda: explained()[:0].plot.beeswarm(), "no rows"),
    ],
)
def test_bad_input(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
