"""Scores computed for whole blocks of rows, beside scikit-learn's scorers."""

import numpy as np
import pytest
from sklearn.metrics import get_scorer

from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain.attributions import Permutation
from skexplain.attributions._losses import losses, losses_of_means, scores_of_rows
from skexplain.attributions._permutation import _scorer

RNG = np.random.default_rng(0)
N = 57
X = RNG.normal(size=(N, 3))
CLASSES = {2: np.array([False, True]), 3: np.array(["a", "b", "c"]), 4: np.array([0.0, 1, 5, 7])}


def network(head, classes=None):
    return DenseNetwork([RNG.normal(size=(3, head.n_raw)) * 5], [np.zeros(head.n_raw)], "identity", head, classes)


def check(net, y, scoring):
    """Over several sets of outputs, and in two blocks of rows."""
    outputs = np.stack([net.predict(X + shift) for shift in (0, 1, 100)])
    of_rows, scorer = scores_of_rows(net, y, scoring), _scorer(net, X, y, scoring)
    assert of_rows is not None
    values = np.concatenate([of_rows(outputs[:, rows], rows) for rows in (slice(0, 20), slice(20, N))], axis=1)
    np.testing.assert_allclose(values.mean(axis=1), [scorer(out) for out in outputs], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scoring", ["accuracy", "balanced_accuracy", "neg_log_loss"])
@pytest.mark.parametrize("output", ["margin", "logit", "probability"])
@pytest.mark.parametrize("k", CLASSES)
def test_classifiers(k, output, scoring):
    y = CLASSES[k][np.resize([*range(k), 0, 0, 1], N)]  # uneven
    check(network(Head("softmax", k, output), CLASSES[k]), y, scoring)
    if k == 2 and output != "logit":
        check(network(Head("sigmoid", 1, output), CLASSES[2]), y, scoring)


@pytest.mark.parametrize("scoring", ["r2", "neg_mean_squared_error", "neg_mean_absolute_error"])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_regressors(n_outputs, scoring):
    y = RNG.normal(size=(N, n_outputs)) * [1, 10, 100][:n_outputs]
    check(network(Head("linear", n_outputs)), y[:, 0] if n_outputs == 1 else y, scoring)


def test_all_else_is_left_to_scikit_learn():
    classifier, regressor = network(Head("softmax", 3), CLASSES[3]), network(Head("linear", 1))
    y = CLASSES[3][np.arange(N) % 3]
    assert scores_of_rows(classifier, y, "roc_auc_ovr") is None
    assert scores_of_rows(classifier, y, get_scorer("accuracy")) is None
    # a class is missing, of which it would warn
    assert scores_of_rows(classifier, np.where(y == "c", "b", y), "accuracy") is None
    assert scores_of_rows(regressor, np.ones(N), "r2") is None  # a constant target has rules of its own
    assert scores_of_rows(regressor, y, "r2") is None
    assert scores_of_rows(network(Head("sigmoid", 3)), y, "accuracy") is None


@pytest.mark.parametrize("scoring", ["accuracy", "balanced_accuracy", "neg_log_loss"])
def test_permutation_is_the_same_either_way(scoring, monkeypatch):
    net, y = network(Head("softmax", 3), CLASSES[3]), CLASSES[3][np.arange(N) % 3]
    groups = [np.array([0]), np.array([1, 2])]
    fast = Permutation(scoring=scoring).importances(net, X, y, groups, np.random.default_rng(0))
    monkeypatch.setattr("skexplain.attributions._permutation.scores_of_rows", lambda *_: None)
    plain = Permutation(scoring=scoring).importances(net, X, y, groups, np.random.default_rng(0))
    np.testing.assert_allclose(fast, plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("of", [losses, losses_of_means])
def test_as_many_targets_as_outputs(of):
    """NumPy would compare one target with each of two outputs."""
    with pytest.raises(ValueError, match=r"y has 1 targets a row, but the network has 2 outputs; .*\(57, 2\)"):
        of(network(Head("linear", 2)), X[:, 0])
