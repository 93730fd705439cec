import numpy as np
import pytest

import skexplain
from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain._network import Activations, Network
from skexplain._places import place_axes
from skexplain.attributions import ATTRIBUTIONS, GradCAM
from skexplain.attributions._gradcam import resized

RNG = np.random.default_rng(0)


class Looked(Network):
    """Gives the same maps for all rows."""

    head = Head("linear", 1)

    def __init__(self, values, gradient, axes):
        self.maps, self.axes = (np.asarray(values, float), np.asarray(gradient, float)), axes

    def raw(self, X):
        return np.zeros((len(X), 1))

    def gradient(self, X, target):
        raise AssertionError

    def activations(self, X, layer, target):
        return Activations(*(np.repeat(v[None], len(X), axis=0) for v in self.maps), self.axes)


def attribute(X, network, **params):
    return GradCAM(**params).attribute(network, X, X, np.zeros(len(X), int), None)


def test_weighted_sum_of_maps():
    # two maps on two places; their gradients average to 1 and -2
    net = Looked([[3, 1], [1, 2]], [[2, -2], [0, -2]], (1,))
    np.testing.assert_array_equal(attribute(np.zeros((4, 2)), net, relu=False), [[1, -3]] * 4)
    np.testing.assert_array_equal(attribute(np.zeros((4, 2)), net), [[1, 0]] * 4)


@pytest.mark.parametrize(("shape", "axes"), [((3, 6, 4), (2, 3)), ((6, 4, 3), (1, 2)), ((6, 4), (1, 2))])
def test_channels_share_a_map_of_the_rows_size(shape, axes):
    X = np.zeros((5, *shape))
    values = attribute(X, Looked(RNG.random((3, 2, 4)), np.ones((3, 2, 4)), axes))
    assert values.shape == X.shape
    channels = tuple(k for k in range(1, X.ndim) if k not in axes)
    total = values.sum(axis=channels)
    np.testing.assert_allclose(np.broadcast_to(values.max(axis=channels, keepdims=True), X.shape), values)
    assert total.shape == (5, 6, 4)


def test_sign():
    assert not GradCAM().signed
    assert GradCAM(relu=False).signed


@pytest.mark.parametrize(
    ("maps", "length", "expected"),
    [
        ([0, 4], 4, [0, 1, 3, 4]),
        ([0, 4], 2, [0, 4]),
        ([0, 2, 4, 6], 2, [1, 5]),
        ([5], 3, [5, 5, 5]),
        ([0, 3, 9], 1, [3]),
    ],
)
def test_resized(maps, length, expected):
    maps = np.array(maps, float)
    np.testing.assert_allclose(resized(maps, 0, length), expected)
    np.testing.assert_allclose(resized(maps[None, :, None], 1, length)[0, :, 0], expected)


@pytest.mark.parametrize(
    ("features", "n_axes", "read", "first", "expected"),
    [
        ((3, 8, 8), 2, (8, 8, 3), True, (2, 3)),
        ((8, 8, 3), 2, (8, 8, 3), True, (1, 2)),  # turned by the network
        ((8, 8, 3), 2, (10, 10, 3), False, (1, 2)),
        ((3, 8, 8), 2, (8, 8, 3), False, (2, 3)),
        ((8, 8, 8), 2, (8, 8, 8), True, (2, 3)),
        ((8, 8, 8), 2, None, False, (1, 2)),
        ((8, 8), 2, (8, 8, 1), True, (1, 2)),
        ((9,), 1, (9, 1), True, (1,)),
        ((5, 2), 1, (5, 2), False, (1,)),
        # layers before the convolution make other channels, or other places
        ((5, 3), 1, (5, 8), True, (1,)),
        ((3, 5), 1, (5, 8), False, (2,)),
        ((9, 8, 3), 2, (9, 8, 6), True, (1, 2)),
        ((3, 5), 1, (7, 3), False, (2,)),
    ],
)
def test_places(features, n_axes, read, first, expected):
    assert place_axes(features, n_axes, read, channels_first=first) == expected


@pytest.mark.parametrize(
    ("features", "n_axes", "read"),
    [((64,), 2, (8, 8, 1)), ((8,), 1, (4, 2)), ((2, 3, 4), 1, None), ((5, 3), 1, (6, 8)), ((5, 3), 1, (5, 3, 8))],
)
def test_rows_without_places(features, n_axes, read):
    with pytest.raises(skexplain.UnsupportedModelError, match="have no such axes"):
        place_axes(features, n_axes, read, channels_first=True)


def test_network_without_convolution():
    net = DenseNetwork([np.ones((3, 1))], [np.zeros(1)], "tanh", Head("linear", 1))
    with pytest.raises(skexplain.UnsupportedModelError, match="Grad-CAM looks at the maps of a convolution"):
        attribute(np.zeros((2, 3)), net)


def test_declared():
    assert [name for name, a in ATTRIBUTIONS.items() if a.needs_convolution] == ["gradcam"]
    text = GradCAM.__doc__
    assert all(section in text for section in ("Parameters", "Raises", "Notes", "References", "Examples", "Cost:"))
