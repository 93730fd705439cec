"""Pictures of trainings: what is in them, that names do not overlap, where they go, and what they leave alone."""

import re
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.animation import FuncAnimation
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from scipy.stats import gaussian_kde

from skexplain.plotting import (
    importance_history,
    weight_animation,
    weight_boxes,
    weight_density,
    weight_deviation,
    weight_scatter,
)
from skexplain.plotting._training import COLOURS, CURVE, OTHERS

LONG = "concentration of solids in the water, sample {} of the week ($/kg$)"


def weights(d=4, units=3, n=20, seed=0, names=None):
    """Column j's weights take steps that are the larger the smaller j is."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(n, d, units)) / np.arange(1, d + 1)[:, None] ** 2
    return SimpleNamespace(weights=steps.cumsum(axis=0), times=np.arange(n), per="epoch", names=names)


def shares(d=4, n=20, seed=0, names=None, strategy="saliency"):
    values = np.random.default_rng(seed).dirichlet(np.ones(d), size=n)
    return SimpleNamespace(values=values, epochs=np.arange(1, n + 1), names=names, strategy=strategy)


@pytest.fixture(autouse=True)
def coarse_films(monkeypatch):
    """Coarse, which is fast."""
    monkeypatch.setattr("skexplain.plotting._training.FILM_DPI", 20)


STILL = [weight_boxes, weight_deviation, weight_density, weight_scatter, importance_history]


def history_of(draw, **kwargs):
    return (
        shares(**{k: v for k, v in kwargs.items() if k != "units"}) if draw is importance_history else weights(**kwargs)
    )


def ticks(ax):
    return [t.get_text() for t in ax.get_yticklabels()]


def moved(history):
    return history.weights.std(axis=0).sum(axis=1)


def check_layout(ax):
    """Nothing sticks out of the picture, and no name runs into another."""
    figure = ax.figure
    figure.draw_without_rendering()
    tight, box = ax.get_tightbbox(), figure.bbox
    assert tight.x0 >= box.x0 - 1
    assert tight.x1 <= box.x1 + 1
    assert tight.y0 >= box.y0 - 1
    assert tight.y1 <= box.y1 + 1
    for texts in (ax.get_yticklabels(), ax.texts):
        # of the texts, without the lines that lead to them
        extents = sorted((Text.get_window_extent(t) for t in texts if t.get_text()), key=lambda e: e.y0)
        for lower, upper in pairwise(extents):
            assert lower.y1 <= upper.y0 + 1


@pytest.mark.parametrize("draw", STILL)
@pytest.mark.parametrize("size", [{}, {"d": 40}, {"n": 1}, {"d": 1, "units": 1, "n": 1}])
def test_any_size_is_legible(draw, size):
    names = tuple(LONG.format(j) for j in range(40)) if size.get("d") == 40 else None
    ax = draw(history_of(draw, **size, names=names))
    check_layout(ax)
    n = 6 if draw in (weight_scatter, importance_history) else 20
    texts = [*ticks(ax), *(t.get_text() for t in ax.texts)]
    assert any(f"and {40 - n} more" in t for t in texts) == (size.get("d") == 40)
    plt.close(ax.figure)


@pytest.mark.parametrize("draw", STILL)
@pytest.mark.parametrize("value", [0.3, 0])
def test_weights_that_never_vary(draw, value):
    history = history_of(draw, n=5)
    (history.values if draw is importance_history else history.weights)[:] = value
    ax = draw(history)
    check_layout(ax)
    plt.close(ax.figure)


def test_deviation_is_that_of_the_strategy(tmp_path):
    history = weights(names=("a", "b", "c", "d"))
    history.weights = history.weights[:, [3, 0, 1, 2]]
    ax = weight_deviation(history, path=tmp_path / "p.png")
    assert ticks(ax) == ["b", "c", "d", "a"]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], moved(history)[[1, 2, 3, 0]])
    assert [to_hex(bar.get_facecolor()).upper() for bar in ax.patches] == [COLOURS[j] for j in (1, 2, 3, 0)]
    assert ax.get_title(loc="left") == "Deviation of weights, epochs 0 to 19"
    history.weights = history.weights[:1]
    history.times = history.times[:1]
    assert weight_deviation(history, path=tmp_path / "p.png").get_title(loc="left") == "No weight moved, epoch 0"


def test_of_many_columns_the_first_have_colours(tmp_path):
    ax = weight_deviation(weights(30), max_display=10, path=tmp_path / "p.png")
    assert [to_hex(bar.get_facecolor()).upper() for bar in ax.patches] == [*COLOURS, *[OTHERS] * 4]
    assert ticks(ax)[-1] == "and 20 more"


def test_boxes_are_the_quantiles(tmp_path):
    history = weights(units=50)
    ax = weight_boxes(history, path=tmp_path / "p.png")
    boxes, marks = ax.patches[::2], ax.lines[:4]
    assert ticks(ax) == ["column 0", "column 1", "column 2", "column 3"]
    whiskers, medians = ax.collections[::2], ax.collections[1::2]
    for j in range(4):
        values = history.weights[:, j].ravel()
        low, start, middle, end, high = np.percentile(values, [5, 25, 50, 75, 95])
        assert boxes[j].get_x() == pytest.approx(start)
        assert boxes[j].get_x() + boxes[j].get_width() == pytest.approx(end)
        assert whiskers[j].get_segments()[0][:, 0] == pytest.approx([low, high])
        assert medians[j].get_segments()[0][:, 0] == pytest.approx([middle, middle])
        assert marks[j].get_xdata() == pytest.approx([values.min(), values.max()])


@pytest.mark.parametrize("units", [4, 50])
def test_density_is_that_of_the_weights(units, tmp_path):
    history = weights(units=units, n=60)
    ax = weight_density(history, path=tmp_path / "p.png")
    for j, line in enumerate(ax.lines[:4]):
        x, y = line.get_data()
        assert len(x) == CURVE
        density = gaussian_kde(history.weights[:, j].ravel())(x)
        # 0.85 of a row is as high as the peak; with many weights quantiles stand for them
        np.testing.assert_allclose((j + 0.4 - y) / 0.85, density / density.max(), atol=0.01)
        assert float(ax.texts[j].get_text()) == pytest.approx(density.max(), rel=0.01)
    assert ax.texts[-1].get_text() == "peak"


def test_density_of_weights_that_never_vary_is_a_line(tmp_path):
    history = weights()
    history.weights[:, 3] = 0.3
    history.weights[:, 2] = 0
    ax = weight_density(history, path=tmp_path / "p.png")
    assert [t.get_text() for t in ax.texts[2:4]] == ["constant"] * 2
    lines = [c.get_segments()[0][:, 0] for c in ax.collections if hasattr(c, "get_segments")]
    np.testing.assert_array_equal(sorted(map(list, lines)), [[0.0, 0.0], [0.3, 0.3]])


def test_scatter_has_every_weight_and_lines_their_mean(tmp_path):
    history = weights(n=12)
    ax = weight_scatter(history, path=tmp_path / "p.png")
    size = np.abs(history.weights)
    dots, lines = ax.lines[:4], ax.lines[4:][::-1]
    for j in range(4):
        np.testing.assert_allclose(dots[j].get_ydata(), size[:, j].ravel())
        assert np.abs(dots[j].get_xdata() - np.repeat(history.times, 3)).max() < 0.36
        np.testing.assert_allclose(lines[j].get_ydata(), size[:, j].mean(axis=1))
        assert lines[j].get_color() == dots[j].get_color() == COLOURS[j]


def test_scatter_of_a_long_training_shows_some_epochs(tmp_path):
    history = weights(30, n=500)
    ax = weight_scatter(history, path=tmp_path / "p.png")
    grey = [line for line in ax.lines if line.get_color() == OTHERS and line.get_marker() == "o"]
    assert len(grey) == 24
    assert np.unique(grey[0].get_xdata()).tolist() == list(range(0, 500, 34))
    assert len(ax.lines[-1].get_xdata()) == 500  # lines have all


def test_gaps_that_make_columns_equally_long_are_no_weights(tmp_path):
    history = weights(2, units=6)
    history.weights[:, 1, 2:] = np.nan
    ax = weight_scatter(history, path=tmp_path / "p.png")
    np.testing.assert_allclose(ax.lines[-2].get_ydata(), np.abs(history.weights[:, 1, :2]).mean(axis=1))
    ax = weight_boxes(history, path=tmp_path / "p.png")
    assert ax.patches[2].get_x() == pytest.approx(np.quantile(history.weights[:, 1, :2], 0.25))


def test_importance_lines_are_named_at_their_ends(tmp_path):
    history = shares(40, names=tuple(f"x{j}" for j in range(40)))
    history.values[3, 17] = 2  # learned, and forgotten
    ax = importance_history(history, path=tmp_path / "p.png")
    top = np.argsort(-history.values.max(axis=0))[:6]
    assert top[0] == 17
    for j, line, text in zip(top, ax.lines[::-1], ax.texts, strict=False):
        np.testing.assert_array_equal(line.get_data(), (history.epochs, history.values[:, j]))
        assert text.get_text() == f"x{j}  {100 * history.values[-1, j]:.0f} %"
        assert text.xy == (20, history.values[-1, j])
        assert text.arrow_patch.get_edgecolor()[:3] == pytest.approx(plt.matplotlib.colors.to_rgb(line.get_color()))
    left = 1 - history.values[-1, top].sum()
    assert ax.texts[-1].get_text() == f"and 34 more  {100 * left:.0f} %"
    assert ax.get_title(loc="left") == "Importance by saliency"


def test_more_names_than_colours(tmp_path):
    ax = importance_history(shares(24), max_display=24, path=tmp_path / "p.png")
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 24
    check_layout(ax)


def test_names_stay_near_their_lines(tmp_path):
    history = shares(3, n=2)
    history.values[-1] = [0.1, 0.5, 0.9]
    ax = importance_history(history, path=tmp_path / "p.png")
    ax.figure.draw_without_rendering()
    for text in ax.texts:
        y = ax.transData.transform(text.xy)[1]
        assert ax.transAxes.transform(text.xyann)[1] == pytest.approx(y, abs=3)


def bars(film):
    """Ends of the bars of the frame that is drawn."""
    (drawn,) = (c for c in film._fig.axes[0].collections if isinstance(c, PolyCollection))
    return np.array([path.vertices[1, 0] for path in drawn.get_paths()])


def test_an_animation_moves_as_the_weights_did(tmp_path):
    history = weights(names=("a", "b", "c", "d"), n=5)
    film = weight_animation(history, path=tmp_path / "p.gif")
    assert isinstance(film, FuncAnimation)
    ax = film._fig.axes[0]
    assert ticks(ax) == ["a", "b", "c", "d"]
    for k, title in enumerate(["Initial weights", *(f"Weights after epoch {k}" for k in range(1, 5))]):
        film._func(k)
        np.testing.assert_allclose(bars(film), history.weights[k].ravel())
        assert ax.get_title(loc="left") == title
    low, high = ax.get_xlim()
    assert low < history.weights.min()
    assert high > history.weights.max()
    with Image.open(tmp_path / "p.gif") as gif:
        assert gif.n_frames == 5
        assert gif.info["loop"] == 0
        gif.seek(4)
        assert gif.info["duration"] == 1100  # the last one stays
    check_layout(ax)


def test_an_animation_of_a_long_training_shows_some_epochs(tmp_path):
    history = weights(40, units=2, n=1000)
    film = weight_animation(history, max_frames=3, path=tmp_path / "p.gif")
    with Image.open(tmp_path / "p.gif") as gif:
        assert gif.n_frames == 3
    ax = film._fig.axes[0]
    titles = []
    for k in range(3):
        film._func(k)
        titles.append(ax.get_title(loc="left"))
    assert titles == ["Initial weights", "Weights after epoch 500", "Weights after epoch 999"]
    assert ticks(ax)[10:] == ["and 30 more"]
    np.testing.assert_allclose(bars(film), history.weights[-1, np.argsort(-moved(history))[:10]].ravel())


def test_an_animation_of_one_sample_of_zeros(tmp_path):
    history = weights(d=1, units=1, n=1)
    history.weights[:] = 0
    film = weight_animation(history, path=tmp_path / "p.HTML")
    assert bars(film).tolist() == [0]
    assert (tmp_path / "p.HTML").read_text(encoding="utf-8").count("data:image/png;base64") == 1


def test_the_page_of_an_animation_needs_nothing_else(tmp_path):
    weight_animation(weights(n=3), path=tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("data:image/png;base64") == 3
    assert "http" not in page
    assert "<link" not in page
    for name in set(re.findall(r'class="fa fa-([\w-]+)', page)):
        assert f".fa-{name}" in page.split("</style>")[0]  # every button has a text


def test_an_animation_to_show(tmp_path):
    film = weight_animation(weights(n=3))
    assert plt.gcf() is film._fig
    film.save(tmp_path / "p.gif", writer="pillow")
    plt.close(film._fig)


@pytest.mark.parametrize("draw", [*STILL, weight_animation])
def test_bad_input(draw, tmp_path):
    empty = history_of(draw)
    for name in ("weights", "values", "times", "epochs"):
        if hasattr(empty, name):
            setattr(empty, name, getattr(empty, name)[:0])
    with pytest.raises(ValueError, match="no samples"):
        draw(empty)
    with pytest.raises(ValueError, match="max_display=0 must be at least 1"):
        draw(history_of(draw), max_display=0)


def test_bad_input_of_animations(tmp_path):
    with pytest.raises(ValueError, match="max_frames=0 must be at least 1"):
        weight_animation(weights(), max_frames=0)
    for name in ("p.mp4", "p"):
        with pytest.raises(ValueError, match=f"{name}' must end in '.gif' or '.html'"):
            weight_animation(weights(), path=tmp_path / name)
    assert not list(tmp_path.iterdir())
    assert not plt.get_fignums()


@pytest.mark.parametrize("draw", [*STILL, weight_animation])
def test_the_callers_axes_are_used(draw, tmp_path):
    figure, (one, two) = plt.subplots(1, 2, layout="constrained")
    layout = figure.get_layout_engine()
    try:
        drawn = draw(history_of(draw, n=3), ax=two, path=tmp_path / "p.html" if draw is weight_animation else None)
        assert drawn is two or drawn._fig is figure
        assert two.get_title(loc="left")
        assert not one.has_data()
        assert figure.get_layout_engine() is layout
        check_layout(two)
    finally:
        plt.close(figure)


def test_without_a_path_the_figure_is_pyplots():
    ax = weight_boxes(weights())
    assert plt.gcf() is ax.figure
    plt.close(ax.figure)


def test_with_a_path_pyplot_is_not_touched(tmp_path):
    code = (
        "import sys, numpy as np; from types import SimpleNamespace as N; from skexplain import plotting as p\n"
        "w = np.arange(24.0).reshape(2, 3, 4)\n"
        "h = N(weights=w, times=np.arange(2), per='step', names=None)\n"
        "for draw in (p.weight_boxes, p.weight_deviation, p.weight_density, p.weight_scatter):\n"
        "    draw(h, path=sys.argv[1] + '/p.png')\n"
        "p.weight_animation(h, path=sys.argv[1] + '/p.gif')\n"
        "p.weight_animation(h, path=sys.argv[1] + '/p.html')\n"
        "h = N(values=w[0], epochs=np.arange(3), names=None, strategy='saliency')\n"
        "p.importance_history(h, path=sys.argv[1] + '/p.svg')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, tmp_path], check=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.gif", "p.html", "p.png", "p.svg"]


@pytest.mark.parametrize("name", ["p.gif", "p.html"])
def test_an_animation_that_fails_leaves_nothing(name, tmp_path, monkeypatch):
    (tmp_path / name).write_text("before")
    calls = []

    def breaks(self, *args, **kwargs):
        calls.append(list(tmp_path.iterdir()))
        if len(calls) == 2:
            raise OSError("the disk is full")
        return savefig(self, *args, **kwargs)

    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", breaks)
    with pytest.raises(OSError, match="disk"):
        weight_animation(weights(n=3), path=tmp_path / name)
    assert len(calls[0]) == 2  # it is written beside what was there
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "before"
