import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from skexplain._head import Head, decide_head, is_distribution

RAW = np.random.default_rng(0).normal(size=(7, 4)) * 3


def test_margin_is_the_logit_minus_the_mean_of_the_others():
    got = Head("softmax", 4)(RAW)
    for k in range(4):
        np.testing.assert_allclose(got[:, k], RAW[:, k] - np.delete(RAW, k, axis=1).mean(axis=1))


def test_margin_ignores_a_constant():
    np.testing.assert_allclose(Head("softmax", 4)(RAW + 9), Head("softmax", 4)(RAW))


def test_one_sigmoid_unit_is_the_pair_of_softmax_units():
    z = RAW[:, :1]
    pair = np.concatenate([-z / 2, z / 2], axis=1)
    for output in ("margin", "probability"):
        np.testing.assert_allclose(Head("sigmoid", 1, output)(z), Head("softmax", 2, output)(pair))


@pytest.mark.parametrize("output", ["margin", "logit", "probability"])
def test_log_probabilities_from_every_scale(output):
    head = Head("softmax", 4, output)
    np.testing.assert_allclose(head.log_probabilities(head(RAW)), log_softmax(RAW, axis=1))
    head = Head("sigmoid", 1, output)
    p = 1 / (1 + np.exp(-RAW[:, 0]))
    np.testing.assert_allclose(np.exp(head.log_probabilities(head(RAW[:, :1]))), np.stack([1 - p, p], 1))


def test_regression_is_the_prediction():
    for output in ("margin", "logit", "probability"):
        np.testing.assert_array_equal(Head("linear", 4, output)(RAW), RAW)


def test_unknown_scale():
    with pytest.raises(
        ValueError, match=r"Unknown output 'odds'; valid names are \['margin', 'logit', 'probability'\]"
    ):
        Head("softmax", 3, "odds")


@pytest.mark.parametrize(
    ("activation", "n_raw", "y", "classes", "regression", "kind", "labels"),
    [
        ("softmax", 3, None, None, False, "softmax", [0, 1, 2]),
        ("softmax", 3, list("abcab"), None, False, "softmax", ["a", "b", "c"]),
        ("sigmoid", 1, None, None, False, "sigmoid", [0, 1]),
        ("sigmoid", 3, None, None, False, "sigmoid", None),
        ("linear", 3, None, None, False, "softmax", [0, 1, 2]),
        ("linear", 3, [[0.1, 2, 3]], None, False, "linear", None),
        ("linear", 3, [[0, 1, 0]], None, False, "softmax", [0, 1, 2]),
        ("linear", 1, None, None, False, "linear", None),
        ("linear", 1, [0.3, 2, 3], None, False, "linear", None),
        ("linear", 1, [3, 7, 7, 3], None, False, "sigmoid", [3, 7]),
        ("linear", 1, [1, 2, 3], None, False, "linear", None),
        ("linear", 1, None, ["no", "yes"], False, "sigmoid", ["no", "yes"]),
        ("sigmoid", 1, None, None, True, "linear", None),
        ("sigmoid", 1, [0.2, 0.7, 0.4], None, False, "linear", None),
        ("sigmoid", 2, [[0, 1], [1, 1]], None, False, "sigmoid", None),
        ("softmax", 2, [[0.2, 0.3], [0.1, 0.1]], None, False, "linear", None),
        ("softmax", 2, [[0.2, 0.8], [0.1, 0.9]], None, False, "softmax", [0, 1]),
        ("linear", 3, [[4, 20, 7], [9, 1, 3]], None, False, "linear", None),
    ],
)
def test_decisions(activation, n_raw, y, classes, regression, kind, labels):
    y = None if y is None else np.asarray(y)
    head, got = decide_head(activation, n_raw, y=y, classes=classes, regression=regression)
    assert head.kind == kind
    assert (None if got is None else got.tolist()) == labels


def test_wrong_number_of_labels():
    with pytest.raises(ValueError, match=r"classes has 2 labels \['a', 'b'\], but the network has 3 outputs"):
        decide_head("softmax", 3, classes=np.array(["a", "b"]))


def test_distributions():
    assert is_distribution(softmax(RAW, axis=1))
    assert not is_distribution(RAW)
    assert not is_distribution(np.ones((3, 1)))
