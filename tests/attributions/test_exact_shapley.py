import numpy as np
import pytest

import skexplain
from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain.attributions import ExactShapley

from .games import alone, attribute, dense, rows, shapley

X, B = rows(6, 5), rows(7, 5, seed=2)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_equals_the_definition(activation):
    net = dense(5, activation=activation)
    want = [shapley(net, x, B, alone(5)) for x in X]
    np.testing.assert_allclose(attribute(ExactShapley(), net, X, B)[0][0], want, atol=1e-12)


def test_groups_play_together():
    net, groups = dense(5), [np.array([0, 3]), np.array([4]), np.array([1, 2])]
    want = [shapley(net, x, B, groups) for x in X]
    got = attribute(ExactShapley(), net, X, B, groups)[0][0]
    np.testing.assert_allclose(got, want, atol=1e-12)
    # which is not the sum of their columns' values
    each = attribute(ExactShapley(), net, X, B)[0][0]
    assert np.abs(got[:, 0] - each[:, [0, 3]].sum(axis=1)).max() > 1e-3


def test_all_targets_at_once():
    net = dense(5, outputs=3)
    targets = np.array([np.zeros(len(X), int), np.arange(len(X)) % 3])
    got = attribute(ExactShapley(), net, X, B, targets=targets)[0]
    want = [[shapley(net, x, B, alone(5), k) for x, k in zip(X, t, strict=True)] for t in targets]
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_blocks_do_not_change_the_result(monkeypatch):
    net = dense(5, outputs=2)
    whole = attribute(ExactShapley(), net, X, B)[0]
    monkeypatch.setattr("skexplain.attributions._game.NUMBERS", 64)
    np.testing.assert_allclose(attribute(ExactShapley(), net, X, B)[0], whole, atol=1e-12)


def test_sums_are_exact():
    net = dense(5)
    delta = net.predict(X)[:, 0] - net.predict(B).mean()
    np.testing.assert_allclose(attribute(ExactShapley(), net, X, B)[0][0].sum(axis=1), delta, atol=1e-12)


def test_twelve_groups_are_the_most():
    X, B = rows(1, 13), rows(2, 13, seed=2)
    with pytest.raises(
        ValueError, match=r"13 columns or groups .* 12 .*`groups=`.*'shapley_sampling' or 'kernel_shap'"
    ):
        attribute(ExactShapley(), dense(13), X, B)
    twelve = [np.array([0, 1]), *(np.array([j]) for j in range(2, 13))]
    assert attribute(ExactShapley(), dense(13), X, B, twelve)[0].shape == (1, 1, 12)


def test_agrees_with_shap():
    """KernelExplainer enumerates as well, where columns are few."""
    shap = pytest.importorskip("shap")
    net = dense(5)
    theirs = shap.KernelExplainer(lambda Z: net.predict(Z)[:, 0], B).shap_values(X, l1_reg=False, silent=True)
    np.testing.assert_allclose(attribute(ExactShapley(), net, X, B)[0][0], theirs, atol=1e-6)


def test_by_name_on_a_model_that_only_predicts():
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(5, random_state=0).fit(rows(50, 3), rows(50, 3) @ [2.0, 1, 0])
    got = skexplain.explain(forest, rows(4, 3), attribution="exact_shapley", background=rows(9, 3, seed=3))
    np.testing.assert_allclose(got.values.sum(axis=1) + got.base_values, got.predictions)


def test_columns_of_words():
    import pandas as pd
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame = pd.DataFrame({"a": list("xyzxyzxy"), "b": list("uuvvuuvv")})
    y = np.array([1.0, 2, 4, 1, 2, 4, 1, 2])
    model = make_pipeline(OneHotEncoder(), LinearRegression()).fit(frame, y)
    got = skexplain.explain(model, frame, attribution="exact_shapley", background=frame)
    np.testing.assert_allclose(got.values[:, 0], y - y.mean(), atol=1e-9)
    np.testing.assert_allclose(got.values[:, 1], 0, atol=1e-9)


def test_a_column_in_no_group_stays():
    net = DenseNetwork([np.array([[1.0], [2.0], [4.0]])], [np.zeros(1)], "identity", Head("linear", 1))
    X, B = rows(3, 3), rows(4, 3, seed=2)
    B[:, 2] = X[:, 2] = 1
    got = attribute(ExactShapley(), net, X, B, [np.array([0]), np.array([1])])[0][0]
    np.testing.assert_allclose(got, (X - B.mean(axis=0))[:, :2] * [1, 2], atol=1e-12)
