"""The weights of a stack of dense layers are found, with the scales between them, and nothing else is taken for one."""

import keras
import numpy as np
import pytest
from keras import layers

from skexplain._wrap import as_network
from skexplain.exceptions import UnsupportedLayerError
from skexplain.keras import Standardise

from . import nets
from .conftest import BACKEND

D = nets.D
X = np.random.default_rng(0).normal(size=(30, D)).astype(np.float32) * [1, 2, 0.5, 3, 1] + [0, 5, 0, -2, 1]


def of(*stack, end=3):
    return keras.Sequential([layers.Input((D,)), *stack, layers.Dense(end)])


def functional(middle):
    x = layers.Input((D,))
    return keras.Model(x, layers.Dense(3)(middle(layers.Dense(8)(x))))


def found(model, **kwargs):
    nets.learned(model, X)
    return as_network(model, X, **kwargs).dense_weights()


def kernels(layer):
    if isinstance(layer, keras.Model):
        return [kernel for inner in layer.layers for kernel in kernels(inner)]
    dense = type(layer) is layers.Dense
    return [np.asarray(keras.ops.convert_to_numpy(layer.kernel), dtype=np.float64)] if dense else []


STACKS = {
    "plain": lambda: of(layers.Dense(8, "relu"), layers.Dense(6, "tanh")),
    "softmax": lambda: nets.mlp(3, "softmax"),
    "sigmoid": lambda: nets.mlp(1, "sigmoid"),
    "softmax layer": lambda: keras.Sequential([of(layers.Dense(8, "gelu")), layers.Softmax()]),
    "functional": lambda: functional(layers.Activation("silu")),
    "operation": lambda: functional(keras.ops.relu),
    "layers": lambda: of(layers.Dense(8), layers.LeakyReLU(), layers.Dense(4), layers.ELU(), layers.Dropout(0.5)),
    "own function": lambda: of(layers.Dense(8, lambda z: keras.ops.sin(z) * z)),
    "reused": lambda: functional((lambda a: lambda h: a(a(h)))(layers.ReLU())),
    "nested": lambda: keras.Sequential([layers.Input((D,)), functional(layers.PReLU()), layers.Dense(2)]),
}


@pytest.mark.parametrize("name", STACKS)
def test_found(name):
    model = STACKS[name]()
    for got, kernel in zip(found(model), kernels(model), strict=True):
        np.testing.assert_allclose(got, kernel, rtol=1e-6)


def test_scales_belong_to_the_layer_on_their_side_of_the_activation():
    """Fold by hand; and the chain is the gradient of the network with its activation left out."""
    first, before, after = layers.Normalization(), layers.BatchNormalization(), layers.BatchNormalization()
    a, b, last = layers.Dense(8), layers.Dense(1), Standardise(inverse=True)
    activation = layers.Activation("tanh")
    model = keras.Sequential(
        [layers.Input((D,)), first, layers.Rescaling(0.5), a, before, activation, after, b, layers.Identity()]
    )
    nets.learned(model, X)
    model = keras.Sequential([layers.Input((D,)), model, last])
    last.learn(np.array([[0.0], [14.0]]))  # its scale is 7

    def scale(norm):
        gamma, variance = (np.asarray(keras.ops.convert_to_numpy(v)) for v in (norm.gamma, norm.moving_variance))
        return gamma / np.sqrt(variance + norm.epsilon)

    A, B = kernels(model)
    got = as_network(model, X, regression=True).dense_weights()
    np.testing.assert_allclose(got[0], 0.5 / X.std(axis=0)[:, None] * A * scale(before), rtol=1e-4)
    np.testing.assert_allclose(got[1], scale(after)[:, None] * B * 7, rtol=1e-4)
    activation.activation = keras.activations.linear
    straight = as_network(model, X, regression=True)
    slope = straight.gradient(X[:1], np.zeros(1, int))[0]
    np.testing.assert_allclose(np.linalg.multi_dot(straight.dense_weights())[:, 0], slope, rtol=1e-4)


def test_pictures():
    model = keras.Sequential([layers.Input((2, 3)), layers.Flatten(), layers.Dense(4, "relu"), layers.Dense(2)])
    rows = np.random.default_rng(0).normal(size=(9, 2, 3)).astype(np.float32)
    first, _ = as_network(model, rows, regression=True).dense_weights()
    np.testing.assert_allclose(first, kernels(model)[0], rtol=1e-6)


OTHERS = {
    "residual": lambda: functional(lambda h: layers.Add()([h, layers.Dense(8)(h)])),
    "skipping": nets.skipping,
    "convolution": nets.convolutional,
    "layer norm": lambda: of(layers.LayerNormalization(), layers.Dense(8)),
    "softmax within": lambda: of(layers.Dense(8, "softmax")),
    "softmax layer within": lambda: of(layers.Dense(8), layers.Softmax()),
    "tokens": lambda: keras.Sequential(
        [layers.Input((D,)), layers.Reshape((D, 1)), layers.Dense(2), layers.Flatten(), layers.Dense(3)]
    ),
    "gate": lambda: functional(lambda h: layers.Multiply()([h, layers.Activation("sigmoid")(layers.Dense(8)(h))])),
}
NAMES = {  # as TensorFlow calls it, as torch does
    "residual": ("Add", "add"),
    "skipping": ("Concat", "cat"),
    "convolution": ("Conv", "permute"),
    "layer norm": ("Mul", "mul"),
    "softmax within": ("Softmax", "softmax"),
    "softmax layer within": ("Softmax", "softmax"),
    "tokens": ("MatMul|Reshape", "mm"),
    "gate": ("Mul", "mul"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_refused_by_name(name):
    with pytest.raises(UnsupportedLayerError, match=NAMES[name][BACKEND == "torch"]):
        found(OTHERS[name](), regression=True)


@pytest.mark.parametrize("factor", [lambda h: h * 2.0, keras.ops.negative], ids=["double", "negative"])
def test_a_constant_factor_belongs_to_its_layer(factor):
    model = functional(factor)
    first, second = found(model, regression=True)
    kernel, last = kernels(model)
    sign = 2 if factor is not keras.ops.negative else -1
    np.testing.assert_allclose(first, sign * kernel, rtol=1e-5)
    np.testing.assert_allclose(second, last, rtol=1e-5)


class Written(keras.Model):
    """Without a graph that Keras knows."""

    def __init__(self):
        super().__init__()
        self.a, self.b = layers.Dense(8), layers.Dense(3)

    def call(self, x):
        return self.b(keras.ops.silu(self.a(x)))


def test_subclassed_models():
    model = Written()
    model(X[:1])
    for got, layer in zip(as_network(model, X, regression=True).dense_weights(), (model.a, model.b), strict=True):
        np.testing.assert_allclose(got, kernels(layer)[0], rtol=1e-6)
