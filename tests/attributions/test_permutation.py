import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.neural_network import MLPClassifier

import skexplain
from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain.attributions import Permutation

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
W = np.array([3.0, -1, 0.5, 0])
Y = X @ W
NET = DenseNetwork([W[:, None]], [np.zeros(1)], "identity", Head("linear", 1))
ALONE = [np.array([j]) for j in range(4)]


def importances(scoring=None, groups=ALONE, n_repeats=20, seed=0, y=Y):
    return Permutation(n_repeats=n_repeats, scoring=scoring).importances(NET, X, y, groups, np.random.default_rng(seed))


def test_closed_form_under_squared_error():
    mean, error = importances()
    np.testing.assert_allclose(mean, 2 * W**2 * X.var(axis=0), rtol=0.15)
    assert mean[3] == 0
    assert error[3] == 0


@pytest.mark.parametrize(("n_repeats", "noise"), [(1, 0.0), (5, 0.0), (20, 0.0), (5, 3.0)])
def test_standard_error_covers_other_samples(n_repeats, noise):
    """Of rows whose columns are what others get, too: without that, intervals of 20 repeats covered in 70 %."""
    inside = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(200, 4))
        y = rows @ W + noise * rng.normal(size=200)
        mean, error = Permutation(n_repeats=n_repeats).importances(NET, rows, y, ALONE, rng)
        inside.append(np.abs(mean - 2 * W**2)[:3] <= 1.96 * error[:3])
    assert 0.9 <= np.mean(inside) <= 0.99


def test_standard_error_by_hand():
    """From all falls, of each row and repeat, looked up one by one."""
    got = []

    class Looked(DenseNetwork):
        def predict_replaced(self, X, reference, groups, coalitions):
            got.append(reference.copy())
            return super().predict_replaced(X, reference, groups, coalitions)

    net = Looked([W[:, None]], [np.zeros(1)], "identity", Head("linear", 1))
    rows, y = X[:30], Y[:30] + RNG.normal(size=30)
    _, error = Permutation(n_repeats=3).importances(net, rows, y, ALONE, np.random.default_rng(0))
    for j in range(3):
        gets, gives, falls = np.zeros(30), np.zeros(30), []
        for reference in got:
            for i, value in enumerate(reference[:, j]):
                giver = int(np.flatnonzero(rows[:, j] == value)[0])
                falls.append((rows[i] @ W + W[j] * (value - rows[i, j]) - y[i]) ** 2 - (rows[i] @ W - y[i]) ** 2)
                gets[i] += falls[-1] / 3
                gives[giver] += falls[-1] / 3
        variance = max((gets + gives).var(ddof=1) - np.var(falls) / 3, gets.var(ddof=1))
        assert error[j] == pytest.approx(np.sqrt(variance / 30))


def test_groups_are_shuffled_together():
    mean, _ = importances(groups=[np.array([0, 1]), np.array([2]), np.array([3])])
    assert mean[0] == pytest.approx(2 * (9 + 1), rel=0.2)
    # a column and its negative copy cancel, together they do not change the prediction
    cancel = DenseNetwork([np.array([[1.0], [-1]])], [np.zeros(1)], "identity", Head("linear", 1))
    same = X[:, [0, 0]]
    joint, _ = Permutation().importances(cancel, same, np.zeros(400), [np.array([0, 1])], RNG)
    assert joint[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    "scoring", ["r2", "neg_mean_absolute_error", make_scorer(mean_absolute_error, greater_is_better=False)]
)
def test_scorers_of_scikit_learn(scoring):
    """The same shuffles through the estimator itself."""
    model = LinearRegression().fit(X, Y)
    ours = skexplain.importances(model, X, Y, attribution=Permutation(scoring=scoring), random_state=0)
    mean, _ = Permutation(scoring=scoring).importances(NET, X, Y, ALONE, np.random.default_rng(0))
    np.testing.assert_allclose(ours.signed, mean, rtol=1e-6, atol=1e-9)
    assert ours.ranking.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc_ovr", "neg_log_loss", "f1_macro", "loss"])
def test_classifier_scorers(blobs, scoring):
    X, y = blobs
    labels = np.array(["a", "b", "c"])[y]
    net = MLPClassifier((8,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0).fit(X, labels)
    got = skexplain.importances(net, X, labels, attribution=Permutation(scoring=scoring), random_state=0)
    assert set(got.ranking[:2]) == {0, 1}
    assert got.signed[3] == 0


def test_binary_scorers(blobs):
    X, y = blobs
    net = MLPClassifier((8,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0).fit(X, y > 0)
    for scoring in ("roc_auc", "average_precision", "brier_score_loss" if False else "neg_brier_score"):
        got = skexplain.importances(net, X, y > 0, attribution=Permutation(scoring=scoring), random_state=0)
        assert set(got.ranking[:2]) == {0, 1}


def test_baseline_uses_the_same_rows():
    """scikit-learn's max_samples compares other rows: unused columns came out at -0.13 to -0.78."""
    noisy = Y + RNG.normal(size=400) * 5
    mean, _ = importances("r2", y=noisy)
    assert mean[3] == 0


def test_signed_values_are_kept():
    """A column that the network uses the wrong way round helps when it is shuffled."""
    mean, _ = importances(y=X @ [3.0, 1, 0.5, 0])
    assert mean[1] < 0


def test_seeds_belong_to_columns():
    first = importances(n_repeats=3)[0]
    again = importances(n_repeats=3, seed=0)[0]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, importances(n_repeats=3, seed=1)[0])


def test_blocks_of_rows_and_groups_change_nothing(monkeypatch):
    """Of many rows the error comes from evenly spaced ones."""
    noisy = Y + RNG.normal(size=400)
    whole = {scoring: importances(scoring, y=noisy) for scoring in (None, "r2", "neg_max_error")}
    monkeypatch.setattr("skexplain.attributions._falls.NUMBERS", 70)
    monkeypatch.setattr("skexplain.attributions._falls.BLOCK", 800)
    for scoring, (mean, error) in whole.items():
        np.testing.assert_allclose(importances(scoring, y=noisy), (mean, error), rtol=1e-9, atol=1e-12)
    monkeypatch.setattr("skexplain.attributions._falls.KEPT", 800)
    mean, error = importances(y=noisy)
    np.testing.assert_allclose(mean, whole[None][0], rtol=1e-9)
    np.testing.assert_allclose(error, whole[None][1], rtol=0.25)
    assert not np.array_equal(error, whole[None][1])


def test_n_jobs_does_not_change_the_result():
    for scoring in (None, "neg_max_error"):
        one, two = (
            Permutation(scoring=scoring, n_jobs=n_jobs).importances(NET, X, Y, ALONE, np.random.default_rng(0))
            for n_jobs in (None, 2)
        )
        np.testing.assert_array_equal(one, two)


def test_interruption_gives_whole_repeats():
    calls = []

    class Interrupted(DenseNetwork):
        def predict_replaced(self, *args):
            calls.append(1)
            if len(calls) > 2:
                raise KeyboardInterrupt
            return super().predict_replaced(*args)

    net = Interrupted([W[:, None]], [np.zeros(1)], "identity", Head("linear", 1))
    with pytest.warns(UserWarning, match="of 2 of 20 repeats"):
        mean, _ = Permutation(n_repeats=20).importances(net, X, Y, ALONE, RNG)
    assert mean.argmax() == 0


@pytest.mark.parametrize(("params", "message"), [({"n_repeats": 0}, "n_repeats"), ({"scoring": "acc"}, "acc")])
def test_bad_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        Permutation(**params).importances(NET, X, Y, ALONE, RNG)
