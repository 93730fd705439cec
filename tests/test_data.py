import numpy as np
import pytest
from sklearn.base import BaseEstimator

from skexplain._data import (
    check_loss,
    classification_data,
    held_out,
    label_index,
    regression_data,
    standardisation,
)


class Any(BaseEstimator):
    dtype = "float32"


X = np.arange(12.0).reshape(6, 2)


def test_one_hot_rows_are_labels():
    data = classification_data(Any(), X, np.eye(3)[[0, 1, 2, 0, 1, 2]], None)
    assert data.y.tolist() == [0, 1, 2, 0, 1, 2]


def test_several_labels_a_row_are_refused():
    with pytest.raises(ValueError, match="MultiOutputClassifier"):
        classification_data(Any(), X, np.ones((6, 2)), None)


def test_rows_of_weight_zero_are_absent():
    data = classification_data(Any(), X, list("aabbab"), [1, 0, 2, 1, 1, 1])
    assert len(data.X) == 5
    assert data.weight.tolist() == [1, 2, 1, 1, 1]
    with pytest.raises(ValueError, match=r"sample_weight is 0 for every row|at least one non-zero"):
        classification_data(Any(), X, list("aabbab"), np.zeros(6))
    with pytest.raises(ValueError, match=r"contains -1.0; weights must not be negative"):
        regression_data(Any(), X, X[:, 0], [1, 1, 1, 1, 1, -1])


def test_equal_weights_are_none():
    assert regression_data(Any(), X, X[:, 0], np.full(6, 0.3)).weight is None


def test_class_weights_multiply_row_weights():
    data = classification_data(Any(), X, list("aaaabb"), [1, 1, 1, 2, 1, 1], class_weight={"a": 3, "b": 5})
    assert data.weight.tolist() == [3, 3, 3, 6, 5, 5]


def test_target_shapes():
    est = Any()
    assert regression_data(est, X, X[:, :1], None).y.shape == (6, 1)
    assert est.y_ndim_ == 1
    assert regression_data(est, X, X, None).y.shape == (6, 2)
    assert est.y_ndim_ == 2
    with pytest.raises(ValueError, match="y has 1 columns, but 2 in the first call"):
        regression_data(est, X, X[:, 0], None, reset=False)
    with pytest.raises(ValueError, match="requires y to be passed"):
        regression_data(est, X, None, None)


def test_standardisation_is_weighted_and_keeps_constants():
    weight = np.array([1, 2, 3, 1, 1, 1.0])
    mean, scale = standardisation(np.c_[X, np.full(6, 1e6)], weight)
    repeated = np.repeat(X, weight.astype(int), axis=0)
    np.testing.assert_allclose(mean[:2], repeated.mean(axis=0))
    np.testing.assert_allclose(scale[:2], repeated.std(axis=0))
    assert scale[2] == 1


def test_held_out_rows_are_stratified():
    y = np.repeat([0, 1, 2], [50, 30, 20])
    train, valid = held_out(y, True, 0.1, np.random.RandomState(0))
    assert np.bincount(y[valid]).tolist() == [5, 3, 2]
    assert sorted([*train, *valid]) == list(range(100))


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_diverged(loss):
    with pytest.raises(ValueError, match=r"in epoch 3: the fit has diverged. Lower the learning rate \(it is 0.1"):
        check_loss(loss, 3, 0.1)
    check_loss(1.0, 3, 0.1)


def test_columns_too_far_from_zero_are_named():
    rng = np.random.default_rng(0)
    far = np.c_[rng.normal(size=50), 1e7 + rng.normal(size=50)]
    with pytest.warns(UserWarning, match=r"1 column\(s\) of X, such as \['X\[:, 1\]'\].*dtype='float64'"):
        classification_data(Any(), far, np.arange(50) % 2, None)
    with pytest.warns(UserWarning, match="of y"):
        regression_data(Any(), far[:, :1], 1e8 + 3 * far[:, 0], None)
    gone = np.c_[far[:, :1], 1e9 + far[:, :1]]  # one value, in float32
    with pytest.warns(UserWarning, match=r"1 column\(s\) of X"):
        classification_data(Any(), gone, np.arange(50) % 2, None)
    classification_data(Any(), np.c_[far[:, :1], np.full(50, 1e9)], np.arange(50) % 2, None)  # constant indeed
    double = Any()
    double.dtype = "float64"
    regression_data(double, far, 1e8 + 3 * far[:, 0], None)  # no warning


def test_label_index():
    classes = np.array(["high", "low", "mid"])
    assert label_index(np.array(["low", "high"]), classes).tolist() == [1, 0]
    assert label_index(np.array(["b", "a"]), np.array(["b", "a"])).tolist() == [0, 1]
    with pytest.raises(ValueError, match="y contains the label 'odd', which is not among the classes"):
        label_index(np.array(["odd"]), classes)
