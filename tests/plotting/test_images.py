"""Pictures of pictures: what is drawn where, and what is refused."""

import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from sklearn.neural_network import MLPRegressor

import skexplain
from skexplain import Explanation
from skexplain.attributions import GradCAM, Occlusion
from skexplain.plotting import images
from skexplain.plotting._canvas import DOWN, UP

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def explanation(values, data=None, strategy=None, **parts):
    """Of rows in the shape of their values."""
    values = np.asarray(values, dtype=float)
    n, flat = len(values), values.reshape(len(values), -1)
    data = np.zeros(values.shape) if data is None else data
    names = tuple(f"p{j}" for j in range(flat.shape[1]))
    return Explanation(flat, np.zeros(n), np.zeros(n), data, names, strategy or Occlusion(), "margin", 0, **parts)


def colours(ax):
    return np.asarray(ax.images[0].get_array())[..., :3]


def test_map_alone():
    ax = explanation([[[2, -2], [0, 1]]]).plot.image(overlay=False)
    (first, second), (third, fourth) = colours(ax)
    np.testing.assert_allclose(first, to_rgb(UP), atol=0.01)
    np.testing.assert_allclose(second, to_rgb(DOWN), atol=0.01)
    np.testing.assert_allclose(third, 1, atol=0.01)
    np.testing.assert_allclose(fourth, (1 + np.array(to_rgb(UP))) / 2, atol=0.01)
    bar = ax.figure.axes[1]
    assert bar.get_ylim() == (-2, 2)
    assert bar.get_ylabel() == "attribution to the prediction"


def test_overlay_is_grey_where_there_is_nothing():
    data = np.array([[[0.0, 4.0], [2.0, 4.0]]])
    ax = explanation([[[0, 0], [0, -3]]], data).plot.image()
    grey = colours(ax)
    np.testing.assert_allclose(grey[0, 0], 0.5)
    np.testing.assert_allclose(grey[0, 1], 1)
    np.testing.assert_allclose(grey[1, 0], 0.75)
    np.testing.assert_allclose(grey[1, 1], to_rgb(DOWN), atol=0.06)


@pytest.mark.parametrize(("shape", "axis"), [((4, 5, 3), 2), ((3, 4, 5), 0), ((2, 6, 6), 0), ((6, 6, 2), 2)])
def test_channels_are_summed(shape, axis):
    values = RNG.normal(size=(2, *shape))
    ax = explanation(values).plot.image(1, overlay=False)
    total = values[1].sum(axis=axis)
    assert colours(ax).shape[:2] == total.shape
    warm = colours(ax)[..., 0] > colours(ax)[..., 2]
    np.testing.assert_array_equal(warm, total > 0)


def test_unsigned_starts_at_zero():
    ax = explanation([[[1, 3]]], strategy=GradCAM()).plot.image()
    assert ax.figure.axes[1].get_ylim() == (0, 3)


def test_shape_of_flat_rows():
    values = RNG.normal(size=(2, 12))
    frame = pd.DataFrame(RNG.normal(size=(2, 12)))
    assert colours(explanation(values, frame).plot.image(shape=(3, 4))).shape == (3, 4, 3)
    assert colours(explanation(values, frame, row_shape=(4, 3)).plot.image()).shape == (4, 3, 3)
    words = np.full((2, 12), "word", dtype=object)
    np.testing.assert_allclose(colours(explanation(0 * values, words).plot.image(shape=(3, 4))), 1, atol=0.01)


def test_row_shape_is_what_the_network_reads():
    class Picture:
        """A network of the user's own on rows of several dimensions."""

        def __init__(self, net):
            self._network = lambda output: net

    from skexplain._dense_network import DenseNetwork
    from skexplain._head import Head

    class Shaped(DenseNetwork):
        def raw(self, X):
            return super().raw(X.reshape(len(X), -1))

    net = Picture(Shaped([RNG.normal(size=(6, 1))], [np.zeros(1)], "identity", Head("linear", 1)))
    X = RNG.normal(size=(5, 2, 3))
    assert skexplain.explain(net, X, attribution="occlusion").row_shape == (2, 3)
    assert skexplain.explain(net, X, attribution="occlusion", groups={"a": [0, 1]}).row_shape is None
    table = MLPRegressor(hidden_layer_sizes=(3,), max_iter=500, tol=1).fit(X.reshape(5, 6), X[:, 0, 0])
    assert skexplain.explain(table, X.reshape(5, 6), attribution="occlusion").row_shape is None


def test_grid(tmp_path):
    signed = explanation(RNG.normal(size=(10, 3, 4)), target=np.array(["cat"] * 10), outputs=np.array(["cat", "dog"]))
    sizes = explanation(RNG.random(size=(10, 3, 4)), strategy=GradCAM())
    axes = images({"occlusion": signed, "gradcam": sizes}, rows=[0, 7, -1], path=tmp_path / "grid.png")
    assert axes.shape == (2, 3)
    assert [ax.get_title() for ax in axes[0]] == ["cat (row 0)", "cat (row 7)", "cat (row -1)"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["occlusion", "gradcam"]
    assert len(axes[0, 0].figure.axes) == 7  # one colour bar
    assert (tmp_path / "grid.png").stat().st_size > 1000
    assert not plt.get_fignums()
    assert images(signed).shape == (1, 8)


@pytest.mark.parametrize("shape", [(2, 40), (40, 2), (8, 8)])
@pytest.mark.parametrize("n", [1, 3])
def test_nothing_sticks_out(shape, n):
    figure = images({f"strategy {k}": explanation(RNG.normal(size=(3, *shape))) for k in range(n)})[0, 0].figure
    figure.canvas.draw()
    for ax in figure.axes:
        tight, box = ax.get_tightbbox(), figure.bbox
        assert tight.x0 >= box.x0 - 1
        assert tight.x1 <= box.x1 + 1
        assert tight.y0 >= box.y0 - 1
        assert tight.y1 <= box.y1 + 1


def test_on_the_users_axes():
    figure, ax = plt.subplots()
    assert explanation([[[1, -1]]]).plot.image(ax=ax) is ax
    assert len(figure.axes) == 2


def test_output_of_all():
    values = np.zeros((1, 4, 2))
    values[0, 1, 1] = 5
    exp = Explanation(
        values, np.zeros((1, 2)), np.array([[0.0, 1.0]]), np.zeros((1, 2, 2)), tuple("abcd"), Occlusion(), "margin", 0,
        outputs=np.array(["cat", "dog"]),
    )  # fmt: skip
    assert exp.plot.image(overlay=False).figure.axes[1].get_ylim() == (-5, 5)
    np.testing.assert_allclose(colours(exp.plot.image(output="cat", overlay=False)), 1, atol=0.01)
    with pytest.raises(ValueError, match="output='cow' does not exist"):
        exp.plot.image(output="cow")


def test_refusals():
    table = explanation(np.ones((2, 12)))
    with pytest.raises(ValueError, match=r"Rows of shape \(12,\) are no pictures. Pass shape="):
        table.plot.image()
    with pytest.raises(ValueError, match=r"shape \(3, 5\) has 15 numbers, but 12 values"):
        table.plot.image(shape=(3, 5))
    with pytest.raises(ValueError, match="i=2; the explanation has 2 rows"):
        table.plot.image(2, shape=(3, 4))
    with pytest.raises(ValueError, match=r"rows=\[0, 2\]; the explanations have 2 rows"):
        images(table, rows=[0, 2], shape=(3, 4))
    for rows in ([], range(0)):
        with pytest.raises(ValueError, match="rows="):
            images(table, rows=rows, shape=(3, 4))
    with pytest.raises(ValueError, match="explanations is empty"):
        images({})


def test_files_without_pyplot(tmp_path):
    code = (
        "import sys, numpy as np; from tests.plotting.test_images import explanation;"
        "sys.modules.pop('matplotlib.pyplot');"
        f"explanation(np.ones((1, 2, 2))).plot.image(path={str(tmp_path / 'a.png')!r});"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
