import numpy as np
import pytest

import skexplain
from skexplain._head import Head
from skexplain._network import Network
from skexplain.attributions import Ablation, Occlusion

RNG = np.random.default_rng(0)


class Sum(Network):
    """The features' weighted sum."""

    head = Head("linear", 1)

    def __init__(self, w):
        self.w = np.asarray(w, dtype=float)

    def raw(self, X):
        return (X.reshape(len(X), -1) @ self.w.ravel())[:, None]

    def gradient(self, X, target):
        raise AssertionError


def attribute(X, w, **params):
    rows = np.array(X, dtype=float)[None]
    return Occlusion(**params).attribute(Sum(w), rows, rows, np.zeros(1, int), None).values[0]


def test_windows_of_two_by_hand():
    """Falls of the windows 01, 12, 23 are 3, 5 and 7; inner features are in two of them."""
    got = attribute([1, 2, 3, 4], np.ones(4), window=2, baseline="zero")
    np.testing.assert_allclose(got, [3, 4, 6, 7])


def test_last_window_is_cut_at_the_edge():
    """Windows 01, 23 and 4."""
    got = attribute([1, 2, 3, 4, 5], np.ones(5), window=2, stride=2, baseline="zero")
    np.testing.assert_allclose(got, [3, 3, 7, 7, 5])


def test_windows_over_the_leading_axes():
    """Rows of 3 steps and 2 features, one step at a time."""
    X = np.arange(1.0, 7).reshape(3, 2)
    got = attribute(X, np.ones((3, 2)), window=(1,), baseline="zero")
    np.testing.assert_allclose(got, [[3, 3], [7, 7], [11, 11]])
    # a number is the size on every axis, and the whole of a shorter one
    np.testing.assert_allclose(attribute(X, np.ones((3, 2)), window=3, baseline="zero"), np.full((3, 2), 21))


def test_window_of_one_is_ablation():
    X, B = RNG.normal(size=(5, 2, 3)), RNG.normal(size=(7, 2, 3))
    for baseline in ("mean", "background"):
        got = Occlusion(baseline=baseline).attribute(Sum(np.arange(6)), X, B, np.zeros(5, int), None)
        want = Ablation(baseline=baseline).attribute(Sum(np.arange(6)), X, B, np.zeros(5, int), None)
        np.testing.assert_allclose(got.values, want.values)
        assert (got.error is None) == (want.error is None)


def test_standard_error_of_overlapping_windows():
    """Of a sum of columns, whose windows share baselines: their errors are not independent."""
    X, B = RNG.normal(size=(1, 3)), RNG.normal(size=(50, 3))
    got = Occlusion(window=2, baseline="background").attribute(Sum(np.ones(3)), X, B, np.zeros(1, int), None)
    middle = (B[:, 0] + 2 * B[:, 1] + B[:, 2]) / 2
    np.testing.assert_allclose(got.error[0, 1], middle.std(ddof=1) / np.sqrt(50))


def test_groups_are_sums():
    X, B = RNG.normal(size=(5, 4)), RNG.normal(size=(7, 4))
    groups = [np.array([0, 3]), np.array([1]), np.array([2])]
    strategy, targets = Occlusion(window=2), np.zeros((1, 5), int)
    got = strategy.attribute_groups(Sum([1, 2, 3, 4]), X, B, groups, targets, None).values[0]
    each = strategy.attribute(Sum([1, 2, 3, 4]), X, B, targets[0], None).values
    np.testing.assert_allclose(got, np.stack([each[:, 0] + each[:, 3], each[:, 1], each[:, 2]], axis=1))


def test_through_explain(blobs):
    from sklearn.neural_network import MLPClassifier

    X, y = blobs
    net = MLPClassifier((8,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0).fit(X, y)
    got = skexplain.importances(net, X, attribution=Occlusion(window=2))
    assert set(got.ranking[:3]) >= {0, 1}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"window": 0}, "window=0 must be a positive whole number"),
        ({"window": 1.5}, "window=1.5 must be"),
        ({"window": (1, 1, 1)}, r"one for each of the leading axes of rows of shape \(3, 2\)"),
        ({"window": ()}, "window="),
        ({"window": 4}, r"window=4 is larger than rows of shape \(3, 2\)"),
        ({"window": (1, 3)}, r"window=\(1, 3\) is larger"),
        ({"window": 2, "stride": 3}, "stride=3 is larger than window=2: it would leave gaps"),
        ({"stride": "1"}, "stride='1' must be"),
        ({"baseline": "grey"}, "Unknown baseline 'grey'"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        attribute(np.ones((3, 2)), np.ones((3, 2)), **params)
