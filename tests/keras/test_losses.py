"""Losses and last layers that fit each other are trained; the others are refused in a sentence."""

import keras
import numpy as np
import pytest
from keras import layers

from skexplain.keras import KerasClassifier, KerasRegressor
from skexplain.keras._losses import from_logits, loss_name

from . import nets
from .conftest import BACKEND


def net(units, activation):
    def build(meta):
        return keras.Sequential([layers.Input((meta["n_features_in_"],)), layers.Dense(units, activation)])

    return build


@pytest.fixture
def three(blobs):
    return blobs


@pytest.fixture
def two(blobs):
    return blobs[0], np.array(["no", "yes"])[(blobs[1] > 0).astype(int)]


def fit(units, activation, data, loss=None, epochs=8):
    clf = KerasClassifier(net(units, activation), loss=loss, epochs=epochs, optimizer="adam", random_state=0)
    return clf.set_params(optimizer__learning_rate=0.1).fit(*data)


@pytest.mark.parametrize(
    ("units", "activation", "loss"),
    [
        (3, "softmax", "sparse_categorical_crossentropy"),
        (3, "softmax", "categorical_crossentropy"),
        (3, "softmax", "kl_divergence"),
        (3, "softmax", "mse"),
        (3, "sigmoid", "binary_crossentropy"),
        (3, None, keras.losses.CategoricalCrossentropy(from_logits=True)),
        (3, None, keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        (3, None, "categorical_hinge"),
        (3, "softmax", None),
        (3, None, None),
        (3, "sigmoid", None),
    ],
)
def test_three_classes(units, activation, loss, three):
    clf = fit(units, activation, three, loss)
    assert clf.score(*three) > 0.75
    p = clf.predict_proba(three[0])
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(clf.classes_[p.argmax(axis=1)], clf.predict(three[0]))
    assert clf.decision_function(three[0]).shape == (150, 3)


@pytest.mark.parametrize(
    ("units", "activation", "loss"),
    [
        (1, "sigmoid", "binary_crossentropy"),
        (1, "sigmoid", "bce"),
        (1, "sigmoid", "mse"),
        (1, None, keras.losses.BinaryCrossentropy(from_logits=True)),
        (1, None, "hinge"),
        (1, "sigmoid", None),
        (1, None, None),
        (2, "softmax", "sparse_categorical_crossentropy"),
        (2, "softmax", "categorical_crossentropy"),
        (2, None, None),
    ],
)
def test_two_classes(units, activation, loss, two):
    clf = fit(units, activation, two, loss)
    assert clf.score(*two) > 0.75
    p = clf.predict_proba(two[0])
    assert p.shape == (150, 2)
    assert p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    margin = clf.decision_function(two[0])
    assert margin.shape == (150,)
    np.testing.assert_array_equal(margin > 0, clf.predict(two[0]) == "yes")
    if activation == "sigmoid":
        direct = keras.ops.convert_to_numpy(clf.model_(two[0]))[:, 0]
        np.testing.assert_allclose(p[:, 1], direct, atol=1e-5)


@pytest.mark.parametrize(
    ("units", "activation", "loss", "message"),
    [
        (3, "softmax", keras.losses.SparseCategoricalCrossentropy(from_logits=True), "applied twice"),
        (3, None, "sparse_categorical_crossentropy", "does not end in a softmax"),
        (3, None, "categorical_crossentropy", "does not end in a softmax"),
        (3, "relu", "categorical_crossentropy", "does not end in a softmax"),
        (4, "softmax", "sparse_categorical_crossentropy", "4 output units for 3 classes"),
        (2, "softmax", None, "2 output units for 3 classes"),
        (1, "sigmoid", "binary_crossentropy", "1 output units for 3 classes"),
        (3, "sigmoid", "sparse_categorical_crossentropy", "sum to 1"),
    ],
)
def test_wrong_pairs_of_three_classes(units, activation, loss, message, three):
    with pytest.raises(ValueError, match=message):
        fit(units, activation, three, loss)


@pytest.mark.parametrize(
    ("units", "activation", "loss", "message"),
    [
        (1, "softmax", None, "softmax over one unit"),
        (1, None, "binary_crossentropy", "does not end in a sigmoid"),
        (1, None, "mse", "does not end in a sigmoid"),
        (1, "sigmoid", keras.losses.BinaryCrossentropy(from_logits=True), "applied twice"),
        (1, "sigmoid", "sparse_categorical_crossentropy", "one unit a class"),
    ],
)
@pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1")
def test_wrong_pairs_of_two_classes(units, activation, loss, message, two):
    with pytest.raises(ValueError, match=message):
        fit(units, activation, two, loss)


def test_models_without_a_graph(three):
    """A subclassed model is judged by what it gives."""

    def build(ending="operation"):
        return nets.Subclassed(3, ending)

    good = KerasClassifier(build, loss="sparse_categorical_crossentropy", epochs=30, random_state=0).fit(*three)
    np.testing.assert_allclose(
        good.predict_proba(three[0]), keras.ops.convert_to_numpy(good.model_(three[0])), atol=1e-5
    )
    assert good.feature_importances_.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="does not end in a softmax"):
        KerasClassifier(build, loss="categorical_crossentropy", model__ending=None, random_state=0).fit(*three)


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1")
def test_regressors(line):
    X, y = line
    with pytest.raises(ValueError, match=r"3 output units for 1 target columns; end it in Dense\(1\)"):
        KerasRegressor(net(3, None)).fit(X, y)
    with pytest.raises(ValueError, match="softmax over one unit"):
        KerasRegressor(net(1, "softmax")).fit(X, y)
    with pytest.raises(ValueError, match="diverged"):
        KerasRegressor(net(1, None), optimizer="sgd", optimizer__learning_rate=1e25, epochs=3).fit(X, y)


def test_one_hot_and_column_targets(three):
    X, y = three
    plain = fit(3, "softmax", three).predict_proba(X)
    for form in (np.eye(3)[y], y.reshape(-1, 1)):
        with pytest.warns(UserWarning, match="column-vector") if form.shape[1] == 1 else _silence():
            np.testing.assert_array_equal(fit(3, "softmax", (X, form)).predict_proba(X), plain)


def _silence():
    import contextlib

    return contextlib.nullcontext()


def test_names_of_losses():
    assert loss_name("mse") == loss_name(keras.losses.MeanSquaredError()) == "mean_squared_error"
    assert loss_name(keras.losses.binary_crossentropy) == loss_name("bce") == "binary_crossentropy"
    assert loss_name(lambda a, b: a) == "custom"
    assert from_logits(keras.losses.BinaryCrossentropy(from_logits=True))
    assert not from_logits("binary_crossentropy")


def test_own_loss_function(three):
    def own(y_true, y_pred):
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred)

    assert fit(3, "softmax", three, own).score(*three) > 0.75


@pytest.mark.skipif(BACKEND != "tensorflow", reason="one back end is enough")
def test_losses_of_a_compiled_model_are_read_too(three):
    def build():
        model = net(3, "softmax")({"n_features_in_": 4})
        model.compile("adam", "categorical_crossentropy")
        return model

    assert KerasClassifier(build, epochs=2).fit(*three).history_["loss"]
    with pytest.raises(ValueError, match="comes compiled with 'categorical_crossentropy'"):
        KerasClassifier(build, loss="mse").fit(*three)
