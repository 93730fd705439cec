"""Models whose activation is not literally their last call, and those whose activation is part of the prediction."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from sklearn.base import is_regressor

import skexplain
from skexplain._wrap import as_network
from skexplain.exceptions import UnsupportedModelError
from skexplain.keras import KerasClassifier, KerasRegressor
from skexplain.keras._network import ending_of
from skexplain.keras._squashing import behind_the_weights

from . import nets


@pytest.fixture(name="X")
def rows(rng):
    return rng.normal(size=(30, nets.D)).astype(np.float32)


@pytest.fixture(name="two")
def two_classes(X):
    return X, np.array(["no", "yes"])[(X[:, 0] + 0.3 * X[:, 1] > 0).astype(int)]


def ended(units, after):
    """A functional model whose logits go through ``after``."""

    def build():
        x = layers.Input((nets.D,))
        return keras.Model(x, after(layers.Dense(units)(layers.Dense(6, "tanh")(x))))

    return build


class Squashed(keras.Model):
    """Its activation is written in ``call``, where no graph of Keras shows it."""

    def __init__(self, units, after):
        super().__init__()
        self.out, self.after = layers.Dense(units), after

    def call(self, inputs):
        return self.after(self.out(inputs))


#: One column of probabilities of class 1, whose activation cannot be taken off.
ONE = {
    "complement": ended(1, lambda z: 1 - ops.sigmoid(-z)),
    "second column": ended(2, lambda z: ops.softmax(z)[:, 1:]),
    "by hand": ended(1, lambda z: 1 / (1 + ops.exp(-z))),
    "hard": ended(1, layers.Activation("hard_sigmoid")),
    "rescaled": ended(1, lambda z: layers.Rescaling(0.5, 0.5)(2 * ops.sigmoid(z) - 1)),
    "subclassed": lambda: Squashed(1, lambda z: 1 - ops.sigmoid(-z)),
}
#: Its activation can be looked up behind what only changes the shape.
RESHAPED = {
    "sigmoid, flatten": (1, "sigmoid", layers.Flatten),
    "softmax, reshape": (3, "softmax", lambda: layers.Reshape((3,))),
    "softmax, to another shape": (4, "softmax", lambda: layers.Reshape((2, 2))),
    "sigmoid, identity": (1, "sigmoid", layers.Identity),
    "softmax, dropout": (3, "softmax", lambda: layers.Dropout(0.5)),
}


def plain(model, X):
    return keras.ops.convert_to_numpy(model(X)).reshape(len(X), -1)


@pytest.mark.parametrize("name", ONE)
def test_one_column_of_probabilities_is_that_of_class_1(name, two):
    X, y = two
    model = ONE[name]()
    p = plain(model, X)[:, 0]
    fitted = skexplain.from_fitted(model, X, y)
    np.testing.assert_allclose(fitted.predict_proba(X)[:, 1], p, atol=1e-5)
    np.testing.assert_array_equal(fitted.predict(X), np.array(["no", "yes"])[(p > 0.5).astype(int)])
    np.testing.assert_allclose(
        as_network(model, X, classes=fitted.classes_).raw(X)[:, 0], np.log(p / (1 - p)), atol=1e-3
    )


@pytest.mark.parametrize("name", ["complement", "second column", "subclassed"])
def test_and_so_it_is_trained(name, two):
    X, y = two
    clf = KerasClassifier(
        lambda: ONE[name](), epochs=60, optimizer="adam", optimizer__learning_rate=0.1, random_state=0
    )
    clf.fit(X, y)
    np.testing.assert_allclose(clf.predict_proba(X)[:, 1], plain(clf.model_, X)[:, 0], atol=1e-5)
    assert clf.score(X, y) > 0.85
    assert clf.history_["loss"][-1] < 0.4  # a cross-entropy of probabilities, not of logits
    with pytest.raises(ValueError, match="would be applied twice"):
        KerasClassifier(lambda: ONE[name](), loss=keras.losses.BinaryCrossentropy(from_logits=True)).fit(X, y)


@pytest.mark.parametrize("functional", [True, False])
@pytest.mark.parametrize("name", RESHAPED)
def test_an_activation_behind_a_change_of_shape_is_taken_off(name, functional, X):
    units, activation, after = RESHAPED[name]
    dense = layers.Dense(units)
    if functional:
        x = layers.Input((nets.D,))
        model = keras.Model(x, after()(layers.Activation(activation)(dense(x))))
    else:
        model = keras.Sequential([layers.Input((nets.D,)), dense, layers.Activation(activation), after()])
    dense.set_weights([50 * w for w in dense.get_weights()])  # saturated: logits recovered from them would be wrong
    expected = X @ dense.get_weights()[0]
    network = as_network(model, X, classes=np.arange(max(units, 2)), output="logit")
    assert network.head.kind == activation
    np.testing.assert_allclose(network.raw(X), expected, atol=1e-3)


def test_an_activation_that_is_read_elsewhere_too_is_not_taken_off(X):
    x = layers.Input((nets.D,))
    p = layers.Softmax()(layers.Dense(3)(x))
    model = keras.Model(x, layers.Flatten()(p) * ops.max(p, axis=1, keepdims=True))
    with pytest.raises(UnsupportedModelError, match="End the model in"):
        as_network(model, X, classes=np.arange(3))


@pytest.mark.parametrize(
    "after",
    [lambda z: 0.5 * ops.softmax(z), lambda z: 1 - ops.sigmoid(-z), lambda z: layers.Rescaling(0.9)(ops.sigmoid(z))],
)
def test_what_several_outputs_are_is_not_guessed(after, X):
    """Neither logits, nor a distribution: predicting with either would be wrong without a word."""
    build, y = ended(3, after), np.arange(30) % 3
    with pytest.raises(UnsupportedModelError, match=r"3 outputs lie between 0 and 1.*or let it return logits"):
        skexplain.from_fitted(build(), X, y)
    with pytest.raises(UnsupportedModelError, match="3 outputs lie between 0 and 1"):
        KerasClassifier(build).fit(X, y)
    Y = np.stack([plain(build(), X)[:, k] for k in range(3)], axis=1)
    assert KerasRegressor(build).fit(X, Y).predict(X).shape == (30, 3)


def test_a_loss_of_units_tells_what_several_outputs_are(X):
    clf = KerasClassifier(ended(3, lambda z: 1 - ops.sigmoid(-z)), loss="binary_crossentropy").fit(X, np.arange(30) % 3)
    p = plain(clf.model_, X)
    np.testing.assert_allclose(clf.predict_proba(X), p / p.sum(axis=1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize("units", [1, 3])
def test_a_sigmoid_in_a_subclass(units, X):
    model = Squashed(units, ops.sigmoid)
    network = as_network(model, X, classes=np.arange(max(units, 2)))
    assert network.head.kind == "sigmoid"
    p = plain(model, X)
    np.testing.assert_allclose(network.raw(X), np.log(p / (1 - p)), atol=1e-4)


def test_logits_between_0_and_1_are_logits(X):
    """A sigmoid before the last weights says nothing, and far from the rows logits leave the interval."""
    model = keras.Sequential([layers.Input((nets.D,)), layers.Dense(6, "sigmoid"), layers.Dense(1)])
    model.set_weights([*model.get_weights()[:2], np.full((6, 1), 0.1), np.full(1, 0.2)])
    p = plain(model, X)
    assert 0 < p.min() < p.max() < 1
    assert ending_of(model, X) == ("linear", None)
    np.testing.assert_allclose(as_network(model, X, classes=np.arange(2)).raw(X), p, atol=1e-5)
    swish = keras.Sequential([layers.Input((nets.D,)), layers.Dense(1, "silu")])
    swish.set_weights([np.full((nets.D, 1), 0.02), np.full(1, 0.3)])
    assert 0 < plain(swish, X).min() < plain(swish, X).max() < 1
    assert ending_of(swish, 5 * X) == ("linear", None)


@pytest.mark.parametrize("ending", ["softmax", "sigmoid"])
def test_half_precision(ending, X):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = nets.mlp(3, ending)
    finally:
        keras.config.set_dtype_policy(policy)
    activation, operation = ending_of(model, X)
    assert activation == ending
    assert operation is model.layers[-1]


def test_other_back_ends_go_by_the_layers(X, monkeypatch):
    x = layers.Input((nets.D,))
    free, squashed = keras.Model(x, layers.Dense(1)(x)), ONE["complement"]()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert behind_the_weights(free, X) == "free"
    assert behind_the_weights(squashed, X) == "bounded"


def test_gradients_that_are_switched_off_change_nothing(X):
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        assert ending_of(ONE["complement"](), X) == ("sigmoid", None)


@pytest.mark.parametrize("ending", ["sigmoid", "softmax"])
def test_a_regressor_predicts_what_its_activation_gives(ending, X):
    units = 1 if ending == "sigmoid" else 3

    def build():
        return nets.mlp(units, ending)

    Y = np.random.default_rng(1).uniform(0.1, 0.9, (30, units))
    y = Y[:, 0] if units == 1 else Y
    reg = KerasRegressor(build, epochs=2, random_state=0).fit(X, y)
    np.testing.assert_allclose(reg.predict(X).reshape(30, -1), plain(reg.model_, X), atol=1e-6)
    assert reg._network().head.kind == "linear"
    fitted = skexplain.from_fitted(reg.model_, X, y) if units == 1 else reg
    assert is_regressor(fitted)
    np.testing.assert_allclose(fitted.predict(X).reshape(30, -1), plain(reg.model_, X), atol=1e-6)
    np.testing.assert_allclose(fitted.feature_importances_.sum(), 1)
