"""Pictures and sequences on Keras; Grad-CAM beside the published recipe."""

import keras
import numpy as np
import pytest
from keras import layers

import skexplain
from skexplain.attributions import GradCAM
from skexplain.keras import KerasClassifier, KerasRegressor
from skexplain.keras._network import keras_network
from tests.pictures_contract import FEATURES, SIDE, STEPS, PicturesContract

from .conftest import BACKEND

pytestmark = pytest.mark.xdist_group("keras pictures")
X = np.random.default_rng(0).normal(size=(5, 12, 8, 3)).astype(np.float32)


def picture_net(meta):
    return keras.Sequential(
        [
            keras.Input(meta["X_shape_"][1:]),
            layers.Conv2D(6, 3, padding="same", activation="relu"),
            layers.Conv2D(6, 1, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )


def sequence_net(meta):
    return keras.Sequential(
        [
            keras.Input(meta["X_shape_"][1:]),
            layers.Conv1D(6, 1, activation="relu"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(1),
        ]
    )


class TestKeras(PicturesContract):
    picture, sequence, window = (SIDE, SIDE, 1), (STEPS, FEATURES), (2, 2)
    adam = {"optimizer": "adam", "optimizer__learning_rate": 0.03, "random_state": 0}

    def classifier(self, **params):
        params = {"input_shape": self.picture, "epochs": 20} | params
        return KerasClassifier(picture_net, **self.adam, **params)

    def regressor(self, **params):
        return KerasRegressor(sequence_net, input_shape=self.sequence, epochs=20, **self.adam, **params)

    def default(self, **params):
        return KerasClassifier(epochs=2, **params)


def model(first=False):
    """Two convolutions, the second in a model of its own and with its activation inside."""
    form = "channels_first" if first else "channels_last"
    shape, inside = ((3, 12, 8), (4, 10, 6)) if first else ((12, 8, 3), (10, 6, 4))
    nested = keras.Sequential(
        [
            keras.Input(inside),
            layers.MaxPooling2D(2, data_format=form),
            layers.Conv2D(6, 2, activation="relu", name="last", data_format=form),
        ],
        name="nested",
    )
    rows = keras.Input(shape)
    h = layers.Conv2D(4, 3, name="first", data_format=form)(rows)
    h = nested(layers.Activation("relu", name="relu")(h))
    h = layers.GlobalAveragePooling2D(data_format=form)(h)
    net = keras.Model(rows, layers.Dense(3, activation="softmax", name="out")(h))
    rng = np.random.default_rng(0)
    net.set_weights([rng.normal(scale=0.5, size=w.shape) for w in net.get_weights()])
    return net


@pytest.fixture(scope="module")
def net():
    return model()


def cam(net, rows=X, target=1, **params):
    """Grad-CAM of a logit, with values of each channel."""
    explained = skexplain.explain(net, rows, attribution=GradCAM(**params), output="logit", target=target)
    return explained.values.reshape(rows.shape)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the recipe is TensorFlow's")
@pytest.mark.parametrize("layer", [None, "last", "first", "relu"])
def test_equals_the_recipe(net, layer):
    """Gradients of the class's logit by a tape, pooled over all places, one picture at a time."""
    import tensorflow as tf

    first, relu, nested, out = (net.get_layer(name) for name in ("first", "relu", "nested", "out"))
    for target in range(3):
        got = cam(net, target=target, layer=layer)
        for picture, values in zip(X, got, strict=True):
            with tf.GradientTape() as tape:
                maps = first(picture[None])
                if layer == "first":
                    tape.watch(maps)
                h = relu(maps)
                if layer == "relu":
                    maps = h
                    tape.watch(maps)
                h = nested(h)
                if layer in (None, "last"):
                    maps = h
                    tape.watch(maps)
                z = (tf.reduce_mean(h, axis=(1, 2)) @ out.kernel + out.bias)[:, target]
            pooled = tf.reduce_mean(tape.gradient(z, maps), axis=(0, 1, 2))
            heatmap = tf.maximum(tf.squeeze(maps[0] @ pooled[..., tf.newaxis]), 0)
            expected = tf.image.resize(heatmap[..., None], X.shape[1:3], method="bilinear")[..., 0].numpy()
            np.testing.assert_allclose(values.sum(axis=-1), expected, atol=1e-5 * expected.max() + 1e-12)


def test_channels_first_and_last_give_the_same(net):
    other = model(first=True)
    other.set_weights(net.get_weights())
    for layer in (None, "first", "relu"):
        got = cam(other, X.transpose(0, 3, 1, 2), layer=layer).transpose(0, 2, 3, 1)
        np.testing.assert_allclose(got, cam(net, layer=layer), atol=1e-6)


def test_operation_of_a_graph(net):
    """A convolution that is no layer."""
    rows, kernel = keras.Input((12, 8, 3)), np.random.default_rng(1).normal(size=(3, 3, 3, 2)).astype(np.float32)
    head = [layers.Flatten(), layers.Dense(2)]
    layer = layers.Conv2D(2, 3, use_bias=False)
    plain = keras.Sequential([rows, layer, *head])
    layer.set_weights([kernel])
    operation = keras.Model(rows, head[1](head[0](keras.ops.conv(rows, kernel))))
    np.testing.assert_allclose(cam(operation), cam(plain), atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("nope", r"layer='nope' is not a layer of the network; its layers are \[.*'first', .*'last'"),
        ("out", r"Layer 'out' gives numbers of shape \(\d+, 3\) for \d+ rows, which are not maps"),
    ],
)
def test_layers_without_maps(net, layer, message):
    error = ValueError if layer == "nope" else skexplain.UnsupportedModelError
    with pytest.raises(error, match=message):
        cam(net, layer=layer)


def test_two_layers_of_one_name():
    inner = [keras.Sequential([keras.Input((8, 3)), layers.Conv1D(3, 1, name="conv")], name=n) for n in "ab"]
    net = keras.Sequential([keras.Input((8, 3)), *inner, layers.Flatten(), layers.Dense(2)])
    with pytest.raises(ValueError, match="layer='conv' is the name of 2 layers"):
        cam(net, X[:, 0], layer="conv")
    assert cam(net, X[:, 0], layer="b").shape == (5, 8, 3)


def test_refusals():
    dense = keras.Sequential([keras.Input((8,)), layers.Dense(2)])
    with pytest.raises(
        skexplain.UnsupportedModelError, match="the output of this network depends on none that is seen"
    ):
        cam(dense, X[:, 0, :, 0])
    cut = keras.Sequential(
        [keras.Input((8,)), layers.Reshape((4, 2)), layers.Conv1D(2, 2), layers.Flatten(), layers.Dense(2)]
    )
    with pytest.raises(skexplain.UnsupportedModelError, match=r"rows of shape \(8,\) have no such axes.*input_shape="):
        cam(cut, X[:, 0, :, 0])


def test_pictures_taken_apart():
    """A convolution of each step is one of other rows."""
    each = layers.TimeDistributed(layers.Conv1D(2, 2))
    net = keras.Sequential([keras.Input((12, 8, 3)), each, layers.Flatten(), layers.Dense(2)])
    with pytest.raises(skexplain.UnsupportedModelError):
        cam(net)


def test_no_trace(net):
    network = keras_network(net, X)
    every = net._flatten_layers()
    before = [dict(vars(layer)) for layer in every], [np.array(w) for w in net.get_weights()]
    for layer in (None, "first", "out"):
        try:
            network.activations(X, layer, np.zeros(len(X), int))
        except skexplain.UnsupportedModelError:
            assert layer == "out"
    assert [set(vars(layer)) for layer in every] == [set(names) for names in before[0]]
    assert all(vars(layer).get(k) is v for layer, kept in zip(every, before[0], strict=True) for k, v in kept.items())
    assert all(np.array_equal(a, b) for a, b in zip(net.get_weights(), before[1], strict=True))
