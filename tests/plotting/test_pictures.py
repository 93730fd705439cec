"""Pictures: what is in them, where they go, and what they leave alone."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.neural_network import MLPClassifier, MLPRegressor

import skexplain
from skexplain import Comparison, Explanation, Importances
from skexplain._agreement import correlate
from skexplain.attributions import ExpectedGradients, Permutation, Saliency
from skexplain.plotting import comparison
from skexplain.plotting._canvas import label, labels


def importances(d, strategy=None, names=None):
    values = np.linspace(1, 2, d)
    names = tuple(f"column {j}" for j in range(d)) if names is None else tuple(names)
    return Importances(names, values, values, values / 10, strategy or ExpectedGradients(), "margin", "predicted", 9, 0)


def explanation(n=3, d=5, k=None, base=0.5):
    shape = (n, d) if k is None else (n, d, k)
    values = np.arange(np.prod(shape), dtype=float).reshape(shape) - 4
    base_values = np.full((n,) if k is None else (n, k), base)
    return Explanation(
        values,
        base_values,
        base_values + values.sum(axis=1),
        np.ones((n, d)),
        tuple(f"column {j}" for j in range(d)),
        ExpectedGradients() if np.isfinite(base) else Saliency(),
        "margin",
        0,
        target=np.array(["cat"] * n) if k is None else None,
        outputs=np.array(["cat", "dog"]),
    )


def compared(d=4, models=("a", "b"), missing=()):
    rng = np.random.default_rng(0)
    own = rng.dirichlet(np.ones(d), size=(len(models), 5))
    for m in missing:
        own[m] = np.nan
    permuted = rng.normal(0.1, 0.05, size=own.shape)
    return Comparison(
        models, tuple(f"column {j}" for j in range(d)), "accuracy", rng.random((len(models), 5)), own, permuted, 0.25,
        99, 0, {},
        (*correlate("importances", models, own, 0.25, 0), *correlate("permutation", models, permuted, 0.25, 0)),
    )  # fmt: skip


def ticks(ax):
    return [t.get_text() for t in ax.get_yticklabels()]


def inside(figure):
    """Nothing sticks out of the picture, and no row label runs into the next."""
    figure.canvas.draw()
    box = figure.bbox
    for ax in figure.axes:
        tight = ax.get_tightbbox()
        assert tight.x0 >= box.x0 - 1
        assert tight.x1 <= box.x1 + 1
        assert tight.y0 >= box.y0 - 1
        assert tight.y1 <= box.y1 + 1
        extents = [t.get_window_extent() for t in ax.get_yticklabels() if t.get_text()]
        extents.sort(key=lambda extent: -extent.y0)
        for upper, lower in pairwise(extents):
            assert lower.y1 <= upper.y0 + 1


@pytest.mark.parametrize("d", [3, 20, 100])
def test_bars_are_ranked_and_the_rest_is_counted(d, tmp_path):
    imp = importances(d)
    ax = imp.plot.bar(path=tmp_path / "p.png")
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == sorted(imp.values, reverse=True)[:20]
    assert ticks(ax)[0] == f"column {d - 1}"
    share = 100 * (1 - sum(widths) / imp.values.sum())
    assert (ticks(ax)[-1] == f"and {d - 20} more ({share:.0f} %)") == (d > 20)
    assert len(ticks(ax)) == (d if d <= 20 else 21)
    assert ax.containers[0].has_xerr  # the error bars
    inside(ax.figure)


def test_permutation_shows_its_noise():
    imp = replace(importances(2, Permutation(scoring="roc_auc")), signed=np.array([-0.5, 2.0]))
    ax = imp.plot.bar()
    assert [bar.get_width() for bar in ax.patches] == [2.0, -0.5]
    assert ax.get_xlabel() == "fall of roc_auc"
    plt.close(ax.figure)


def test_errors_that_are_not_known_are_not_drawn(tmp_path):
    imp = replace(importances(3), error=np.full(3, np.nan))
    assert not imp.plot.bar(path=tmp_path / "p.png").lines[:-1]


def test_explanation_bars(tmp_path):
    exp = explanation()
    ax = exp.plot.bar(path=tmp_path / "p.svg")
    mean = np.abs(exp.values).mean(axis=0)
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], np.sort(mean)[::-1])
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")
    explanation(k=2).plot.bar(path=tmp_path / "p.png", max_display=2)
    explanation(n=1).plot.bar(path=tmp_path / "p.png")


def test_a_row_leads_from_base_to_prediction(tmp_path):
    exp = explanation()
    ax = exp.plot.row(1, path=tmp_path / "p.png", max_display=3)
    bars = ax.patches
    assert len(bars) == 4
    assert bars[0].get_x() == pytest.approx(exp.base_values[1])
    assert bars[-1].get_x() + bars[-1].get_width() == pytest.approx(exp.predictions[1])
    assert ticks(ax)[0] == "column 4 = 1"
    assert ticks(ax)[-1] == "and 2 more"
    assert "margin of cat from 0.5 (base) to" in ax.get_title(loc="left")
    inside(ax.figure)


def test_a_row_without_base_starts_at_zero(tmp_path):
    ax = explanation(base=np.nan).plot.row(0, path=tmp_path / "p.png")
    assert {bar.get_x() for bar in ax.patches} == {0.0}


def test_a_row_of_all_outputs(tmp_path):
    exp = explanation(k=2)
    likely = exp.plot.row(0, path=tmp_path / "p.png")
    assert "dog" in likely.get_title(loc="left")
    chosen = exp.plot.row(0, output="cat", path=tmp_path / "p.png")
    assert sum(bar.get_width() for bar in chosen.patches) == pytest.approx(exp.values[0, :, 0].sum())


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: explanation().plot.row(3), "i=3"),
        (lambda: explanation().plot.row(0, output="cat"), "target='all'"),
        (lambda: explanation(k=2).plot.row(0, output="cow"), "'cow' does not exist"),
        (lambda: importances(3).plot.bar(max_display=0), "max_display=0"),
        (lambda: compared().plot(max_display=0), "max_display=0"),
        (lambda: compared().plot(ax=[None, None, None]), "3 Axes"),
        (lambda: importances(3).plot.bar(max_display=10_000), "max_display=10000 must be at least 1, and at most 200"),
        (lambda: importances(3).plot.bar(probe="noise"), "probe='noise' is none of the 3 columns"),
    ],
)
def test_bad_input(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


@pytest.mark.parametrize(
    ("d", "models"), [(4, ("a",)), (4, tuple("abcdefghij")), (30, ("a", "b")), (100, ("a", "b", "c"))]
)
def test_comparison(d, models, tmp_path):
    result = compared(d, models)
    figure = result.plot(path=tmp_path / "p.png")
    left, right = figure.axes
    shown = min(d, 15)
    assert len(left.patches) == len(right.patches) == shown * len(models)
    assert ticks(left)[0] == result.names[result.ranking[0]]
    assert (ticks(left)[-1] == f"and {d - 15} more") == (d > 15)
    assert left.patches[0].get_width() == pytest.approx(result.mean("importances")[0, result.ranking[0]])
    assert right.patches[0].get_width() == pytest.approx(result.mean("permutation")[0, result.ranking[0]])
    assert len(figure.legends[0].get_texts()) == len(models)
    assert figure.legends[0].get_texts()[0].get_text().startswith("a: accuracy 0.")
    inside(figure)


def test_comparison_with_a_model_without_own_importances(tmp_path):
    figure = comparison(compared(4, ("a", "b"), missing=[1]), path=tmp_path / "p.png")
    assert [bar.get_width() for bar in figure.axes[0].patches[4:]] == [0.0] * 4


def test_the_callers_axes_are_used():
    figure, (one, two) = plt.subplots(1, 2)
    try:
        assert importances(3).plot.bar(one) is one
        assert compared().plot(ax=two) is figure
        assert compared().plot(ax=[one, two]) is figure
    finally:
        plt.close(figure)


def test_without_a_path_the_figure_is_pyplots():
    figure = compared().plot()
    assert plt.gcf() is figure
    plt.close(figure)


def test_with_a_path_pyplot_is_not_touched(tmp_path):
    figures = plt.get_fignums()
    figure = compared().plot(path=tmp_path / "p.png")
    assert type(figure) is Figure
    assert plt.get_fignums() == figures
    code = (
        "import sys, numpy as np; from skexplain import Importances\n"
        "v = np.ones(2)\n"
        "Importances(('a', 'b'), v, v, v, None, 'margin', 'all', 9, 0).plot.bar(path=sys.argv[1])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "q.png"], check=True)
    assert (tmp_path / "q.png").read_bytes().startswith(b"\x89PNG")


def test_a_failing_save_leaves_nothing(tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise OSError("the disk is full")

    monkeypatch.setattr(Figure, "savefig", broken)
    with pytest.raises(OSError, match="disk"):
        importances(3).plot.bar(path=tmp_path / "p.png")
    assert not list(tmp_path.iterdir())


def test_missing_matplotlib_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'skexplain\[plot\]'"):
        importances(3).plot.bar()


def test_names_that_are_long_alike_or_mathematics(tmp_path):
    assert label("short") == "short"
    assert len(label("x" * 50)) == 30
    assert label("a\nb  c") == "a b c"
    names = [f"a very long name of column number {j} in a unit ($/kg$)" for j in range(50)]
    assert len(set(labels(names))) == 50
    assert max(map(len, labels(names))) <= 36
    inside(importances(50, names=names).plot.bar(path=tmp_path / "p.png").figure)
    assert labels(["same", "same"]) == ["same", "same"]


@pytest.mark.parametrize("regression", [False, True])
def test_from_a_fitted_network(regression, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    make = MLPRegressor if regression else MLPClassifier
    y = X[:, 0] if regression else X[:, 0] > 0
    net = make(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=200, alpha=1).fit(X, y)
    assert ticks(skexplain.importances(net, X, random_state=0).plot.bar(path=tmp_path / "a.png"))[0] == "x0"
    exp = skexplain.explain(net, X, random_state=0)
    ax = exp.plot.row(0, path=tmp_path / "b.png")
    assert sum(bar.get_width() for bar in ax.patches) == pytest.approx(
        exp.predictions[0] - exp.base_values[0], rel=1e-3
    )
