"""Models that end, begin and are written in different ways."""

import keras
import numpy as np
from keras import layers

D = 5


def mlp(units=3, activation=None, *, first=(), hidden="relu"):
    model = keras.Sequential([layers.Input((D,)), *first, layers.Dense(8, hidden), layers.Dense(6, "tanh")])
    model.add(layers.Dense(units, activation))
    return model


def functional(units=3, ending="softmax"):
    x = layers.Input((D,))
    h = layers.Dense(8, "relu")(x)
    h = layers.Concatenate()([h, layers.Dense(4, "tanh")(h)])
    out = layers.Dense(units)(h)
    if ending == "layer":
        out = layers.Softmax()(out)
    elif ending == "operation":
        out = keras.ops.softmax(out)
    elif ending:
        out = layers.Activation(ending)(out)
    return keras.Model(x, out)


def skipping():
    """The input is looked at twice: the first dense layer does not see all of it alone."""
    x = layers.Input((D,))
    h = layers.Dense(6, "relu")(x)
    return keras.Model(x, layers.Dense(3)(layers.Concatenate()([h, x])))


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """Layers in another order than they are used, as its author pleases."""

    def __init__(self, units=3, ending="softmax", **kwargs):
        super().__init__(**kwargs)
        self.units, self.ending = units, ending
        self.out = layers.Dense(units, None if ending == "operation" else ending)
        self.first = layers.Dense(8, "relu")

    def call(self, inputs):
        out = self.out(self.first(inputs))
        return keras.ops.softmax(out) if self.ending == "operation" else out

    def get_config(self):
        return {**super().get_config(), "units": self.units, "ending": self.ending}


def convolutional():
    return keras.Sequential(
        [
            layers.Input((D,)),
            layers.Reshape((D, 1)),
            layers.Conv1D(4, 2, activation="relu"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def learned(model, X):
    """Give normalisations something else than 0 and 1."""
    rng = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
        if isinstance(layer, layers.Normalization):
            layer.adapt(X)
        if hasattr(layer, "learn"):
            layer.learn(X)
    return model
