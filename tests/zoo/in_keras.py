"""The zoo in Keras, with the weights of the torch networks of the same names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from . import NAMES, D, in_torch, rows, training_data
from .in_torch import H

Spellings = dict[str, keras.Model]


class Net(keras.Model):
    """A function of layers and input."""

    def __init__(self, function: Callable[[Any, Any], Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def call(self, x: Any) -> Any:
        return self.function(self, x)


def functional(function: Callable[[Any, Any], Any], parts: list[Any]) -> keras.Model:
    x = layers.Input((D,))
    return keras.Model(x, function(SimpleNamespace(**{part.name: part for part in parts}), x))


def subclassed(function: Callable[[Any, Any], Any], parts: list[Any]) -> keras.Model:
    model = Net(function, **{part.name: part for part in parts})
    model(rows()[0])
    return model


def both(function: Callable[[Any, Any], Any], make: Callable[[], list[Any]]) -> Spellings:
    """The function of layers as a functional model and as a subclass."""
    return {"functional": functional(function, make()), "subclass": subclassed(function, make())}


def dense(name: str, units: int = H, activation: Any = None) -> Any:
    return layers.Dense(units, activation, name=name)


def sequential(*parts: Any) -> keras.Model:
    return keras.Sequential([layers.Input((D,)), *parts])


def activation(name: str | None, layer: Callable[..., Any], operation: Callable | None) -> Spellings:
    """A perceptron with two hidden layers and an activation in several spellings."""

    def parts() -> list[Any]:
        return [dense("a"), dense("b"), dense("out", 3), layer(name="f"), layer(name="g")]

    def with_layers(n: Any, x: Any) -> Any:
        return n.out(n.g(n.b(n.f(n.a(x)))))

    def with_one_layer(n: Any, x: Any) -> Any:
        return n.out(n.f(n.b(n.f(n.a(x)))))

    def with_operations(n: Any, x: Any) -> Any:
        return n.out(operation(n.b(operation(n.a(x)))))

    models = {"layers": functional(with_layers, parts()), "subclass": subclassed(with_layers, parts())}
    if operation is not None:
        models["one layer"] = functional(with_one_layer, parts())
        models["operations"] = functional(with_operations, parts()[:3])
        models["subclass with operations"] = subclassed(with_operations, parts()[:3])
    if name is not None:
        models["in dense"] = sequential(dense("a", H, name), dense("b", H, name), dense("out", 3))
        models["activation layers"] = sequential(
            dense("a"), layers.Activation(name), dense("b"), layers.Activation(name), dense("out", 3)
        )
    return models


def relu() -> Spellings:
    return activation("relu", layers.ReLU, ops.relu) | {
        "maximum": functional(
            lambda n, x: n.out(ops.maximum(n.b(ops.maximum(n.a(x), 0.0)), 0.0)),
            [dense("a"), dense("b"), dense("out", 3)],
        ),
    }


def gelu() -> Spellings:
    return activation("gelu", _layer("gelu"), lambda h: ops.gelu(h, approximate=False))


def gelu_tanh() -> Spellings:
    return activation(None, lambda name: layers.Activation(ops.gelu, name=name), ops.gelu)


def silu() -> Spellings:
    return activation("silu", _layer("silu"), ops.silu) | {
        "by hand": functional(
            lambda n, x: n.out((h := n.b((g := n.a(x)) * ops.sigmoid(g))) * ops.sigmoid(h)),
            [dense("a"), dense("b"), dense("out", 3)],
        ),
    }


def prelu() -> Spellings:
    return activation(None, layers.PReLU, None)


def leaky_relu() -> Spellings:
    layer = lambda name: layers.LeakyReLU(negative_slope=0.1, name=name)  # noqa: E731
    return activation(None, layer, lambda h: ops.leaky_relu(h, negative_slope=0.1))


def elu() -> Spellings:
    return activation("elu", layers.ELU, ops.elu)


def selu() -> Spellings:
    return activation("selu", _layer("selu"), ops.selu)


def softplus() -> Spellings:
    return activation("softplus", _layer("softplus"), ops.softplus)


def tanh() -> Spellings:
    return activation("tanh", _layer("tanh"), ops.tanh)


def sigmoid() -> Spellings:
    return activation("sigmoid", _layer("sigmoid"), ops.sigmoid)


def _layer(name: str) -> Callable[..., Any]:
    return lambda **kwargs: layers.Activation(name, **kwargs)


def exp() -> Spellings:
    return both(lambda n, x: n.out(ops.exp(0.5 * n.a(x))), lambda: [dense("a"), dense("out", 3)])


def linear() -> Spellings:
    """Only the products with weights are written in several ways."""

    def parts() -> list[Any]:
        return [dense("a"), dense("b"), dense("out", 3)]

    def by_hand(product: Callable) -> keras.Model:
        def times(x: Any, layer: Any) -> Any:
            return product(x, layer.kernel) + layer.bias

        def function(n: Any, x: Any) -> Any:
            return times(ops.tanh(times(ops.tanh(times(x, n.a)), n.b)), n.out)

        model = Net(function, **{part.name: part for part in parts()})
        for layer, width in ((model.a, D), (model.b, H), (model.out, H)):
            layer.build((None, width))
        model(rows()[0])
        return model

    return both(lambda n, x: n.out(ops.tanh(n.b(ops.tanh(n.a(x))))), parts) | {
        "sequential": sequential(dense("a", H, "tanh"), dense("b", H, "tanh"), dense("out", 3)),
        "matmul": by_hand(ops.matmul),
        "einsum": by_hand(lambda x, W: ops.einsum("ni,io->no", x, W)),
    }


def layer_norm() -> Spellings:
    def parts() -> list[Any]:
        return [dense("a"), layers.LayerNormalization(epsilon=1e-3, name="norm"), dense("out", 3)]

    first, norm, out = parts()
    return both(lambda n, x: n.out(ops.relu(n.norm(n.a(x)))), parts) | {
        "sequential": sequential(first, norm, layers.ReLU(), out)
    }


def batch_norm_first() -> Spellings:
    def parts() -> list[Any]:
        return [layers.BatchNormalization(epsilon=1e-3, name="norm"), dense("a"), dense("out", 3)]

    norm, first, out = parts()
    return both(lambda n, x: n.out(ops.relu(n.a(n.norm(x)))), parts) | {
        "sequential": sequential(norm, first, layers.ReLU(), out)
    }


def batch_norm() -> Spellings:
    def parts() -> list[Any]:
        return [dense("a"), layers.BatchNormalization(epsilon=1e-3, name="norm"), dense("out", 3)]

    first, norm, out = parts()
    return both(lambda n, x: n.out(ops.relu(n.norm(n.a(x)))), parts) | {
        "sequential": sequential(first, norm, layers.ReLU(), out)
    }


def dropout() -> Spellings:
    def parts() -> list[Any]:
        return [dense("a"), layers.Dropout(0.2, name="drop"), dense("out", 3)]

    return both(lambda n, x: n.out(n.drop(ops.relu(n.a(n.drop(x))))), parts) | {
        "without": sequential(dense("a", H, "relu"), dense("out", 3))
    }


def embedding() -> Spellings:
    def function(n: Any, x: Any) -> Any:
        return n.out(ops.relu(n.a(ops.concatenate([n.code(ops.cast(x[:, 0], "int32")), x[:, 1:]], axis=1))))

    return both(function, lambda: [layers.Embedding(4, 3, name="code"), dense("a"), dense("out", 3)])


def conv1d() -> Spellings:
    def parts() -> list[Any]:
        return [layers.Reshape((D, 1), name="rows"), layers.Conv1D(4, 3, name="a"), _flat(2, 1), dense("out", 3)]

    shape, conv, flat, out = parts()
    return both(lambda n, x: n.out(n.flat(ops.relu(n.a(n.rows(x))))), parts) | {
        "sequential": sequential(shape, conv, layers.Activation("relu"), flat, out)
    }


def conv2d() -> Spellings:
    def parts() -> list[Any]:
        return [layers.Reshape((2, 3, 1), name="rows"), _conv2d(), _flat(3, 1, 2), dense("out", 3)]

    shape, conv, flat, out = parts()
    return both(lambda n, x: n.out(n.flat(ops.relu(n.a(n.rows(x))))), parts) | {
        "sequential": sequential(shape, conv, layers.ReLU(), flat, out)
    }


def _conv2d() -> Any:
    return layers.Conv2D(4, (1, 2), name="a")


def _flat(*order: int) -> Any:
    """Channels first, as in torch, and flat."""
    return keras.Sequential([layers.Permute(order), layers.Flatten()], name="flat")


def max_pool1d() -> Spellings:
    return _pooled(layers.MaxPooling1D)


def average_pool() -> Spellings:
    return _pooled(layers.AveragePooling1D)


def _pooled(pool: Callable[..., Any]) -> Spellings:
    def parts() -> list[Any]:
        convolution = [layers.Reshape((D, 1), name="rows"), layers.Conv1D(4, 3, activation="relu", name="a")]
        return [*convolution, pool(2, name="pool"), _flat(2, 1), dense("out", 3)]

    return both(lambda n, x: n.out(n.flat(n.pool(n.a(n.rows(x))))), parts) | {"sequential": sequential(*parts())}


def max_pool2d() -> Spellings:
    def parts() -> list[Any]:
        pool = layers.MaxPooling2D((2, 1), name="pool")
        return [layers.Reshape((2, 3, 1), name="rows"), _conv2d(), pool, _flat(3, 1, 2), dense("out", 3)]

    return both(lambda n, x: n.out(n.flat(n.pool(n.a(n.rows(x))))), parts) | {
        "operation": functional(lambda n, x: n.out(n.flat(ops.max(n.a(n.rows(x)), axis=1, keepdims=True))), parts())
    }


def lstm() -> Spellings:
    return _recurrent(layers.LSTM)


def gru() -> Spellings:
    return _recurrent(layers.GRU)


def _recurrent(kind: Callable[..., Any]) -> Spellings:
    def parts() -> list[Any]:
        return [layers.Reshape((3, 2), name="rows"), kind(4, name="a"), dense("out", 3)]

    return both(lambda n, x: n.out(n.a(n.rows(x))), parts) | {"sequential": sequential(*parts())}


def attention() -> Spellings:
    def function(n: Any, x: Any) -> Any:
        h = n.a(n.rows(x))
        return n.out(n.flat(n.look(h, h)))

    def parts() -> list[Any]:
        look = layers.MultiHeadAttention(num_heads=2, key_dim=2, name="look")
        shapes = [layers.Reshape((3, 2), name="rows"), layers.Flatten(name="flat")]
        return [*shapes, dense("a", 4), look, dense("out", 3)]

    return both(function, parts)


def residual() -> Spellings:
    def parts() -> list[Any]:
        return [dense("a"), dense("b"), dense("out", 3), layers.Add(name="add")]

    return both(lambda n, x: n.out((h := n.a(x)) + ops.relu(n.b(h))), lambda: parts()[:3]) | {
        "layer": functional(lambda n, x: n.out(n.add([h := n.a(x), ops.relu(n.b(h))])), parts())
    }


def gate() -> Spellings:
    def parts() -> list[Any]:
        return [dense("a"), dense("b"), dense("out", 3), layers.Multiply(name="multiply")]

    return both(lambda n, x: n.out(n.a(x) * ops.sigmoid(n.b(x))), lambda: parts()[:3]) | {
        "layer": functional(lambda n, x: n.out(n.multiply([n.a(x), ops.sigmoid(n.b(x))])), parts())
    }


def product() -> Spellings:
    parts = lambda: [dense("a", H, "relu"), dense("b", H, "tanh"), dense("out", 3)]  # noqa: E731
    return both(lambda n, x: n.out(n.a(x) * n.b(x)), parts) | {
        "operation": functional(lambda n, x: n.out(ops.multiply(n.a(x), n.b(x))), parts())
    }


def square() -> Spellings:
    parts = lambda: [dense("a"), dense("out", 3)]  # noqa: E731
    return both(lambda n, x: n.out(n.a(x) ** 2), parts) | {
        "operation": functional(lambda n, x: n.out(ops.square(n.a(x))), parts()),
        "product": functional(lambda n, x: n.out((h := n.a(x)) * h), parts()),
    }


def softmax() -> Spellings:
    parts = lambda: [dense("a"), dense("out", 3)]  # noqa: E731
    return both(lambda n, x: n.out(ops.softmax(n.a(x))), parts) | {
        "in dense": sequential(dense("a", H, "softmax"), dense("out", 3)),
        "layer": sequential(dense("a"), layers.Softmax(), dense("out", 3)),
    }


def one_number() -> Spellings:
    parts = lambda: [dense("a", H, "relu"), dense("out", 1)]  # noqa: E731
    return both(lambda n, x: n.out(n.a(x))[:, 0], parts) | {
        "squeeze": functional(lambda n, x: ops.squeeze(n.out(n.a(x)), axis=1), parts())
    }


def concatenation() -> Spellings:
    def parts() -> list[Any]:
        return [dense("a"), dense("out", 3), layers.Concatenate(name="join")]

    def branches(n: Any, x: Any) -> list[Any]:
        h = n.a(x)
        return [ops.relu(h), ops.tanh(h), x]

    return both(lambda n, x: n.out(ops.concatenate(branches(n, x), axis=1)), lambda: parts()[:2]) | {
        "layer": functional(lambda n, x: n.out(n.join(branches(n, x))), parts())
    }


@cache
def nets() -> dict[str, Spellings]:
    return {name: _made(name) for name in NAMES}


def _made(name: str) -> Spellings:
    """The spellings of a network, each with the weights of the torch network."""
    teacher = next(iter(in_torch.nets()[name].values()))
    spellings = globals()[name.replace(" ", "_")]()
    for model in spellings.values():
        _take(model, dict(teacher.named_children()))
    return spellings


def _take(model: keras.Model, teachers: dict[str, Any]) -> None:
    """Weights of the torch modules that are called as the layers are."""
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(in_torch.numbers(teachers[layer.name]))


def outputs(model: keras.Model, X: NDArray) -> NDArray:
    """What the model itself says."""
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.stop_gradient(model(X, training=False))), dtype=np.float64)


def multiplied(name: str, factor: float) -> keras.Model:
    """A network of the zoo with larger or smaller outputs."""
    model = next(iter(_made(name).values()))
    out = model.get_layer("out")
    out.set_weights([factor * w for w in out.get_weights()])
    return model


def snapshot(model: keras.Model) -> dict[str, Any]:
    """All that a strategy must leave as it was."""
    every = list(model._flatten_layers())
    before = {
        "weights": [keras.ops.convert_to_numpy(v).tobytes() for v in model.variables],
        "names": [v.path for v in model.variables],
        "trainable": [layer.trainable for layer in every],
        "attributes": [sorted(vars(layer)) for layer in every],
        "calls": [vars(layer).get("call") for layer in every],
        "activations": [getattr(layer, "activation", None) for layer in every],
        "nodes": [len(layer._inbound_nodes) for layer in every],
        "losses": len(model.losses),
        "policy": keras.config.dtype_policy().name,
    }
    if keras.backend.backend() == "torch":
        before |= {
            "grad": [v.value.grad for v in model.variables],
            "hooks": [[len(h) for a, h in vars(m).items() if a.endswith("hooks")] for m in model.modules()],
        }
    return before


class BreakError(Exception):
    """What a network raises in the middle."""


def breaking(calls: int) -> keras.Model:
    """A network that can be run so many times."""
    left = [100]  # it is run to be built

    def function(n: Any, x: Any) -> Any:
        h = n.drop(ops.relu(n.norm(n.a(x))))
        left[0] -= 1
        if left[0] < 0:
            raise BreakError
        return n.out(h)

    parts = [dense("a"), layers.BatchNormalization(name="norm"), layers.Dropout(0.5, name="drop"), dense("out", 3)]
    model = subclassed(function, parts)
    left[0] = calls
    return model


def learns() -> bool:
    """Whether a fresh, unrelated network still trains in this process."""
    X, classes, _ = training_data()
    net = sequential(layers.Dense(H), layers.BatchNormalization(), layers.Activation("relu"), layers.Dense(3))
    net.compile(keras.optimizers.Adam(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = net.fit(X, classes, epochs=4, batch_size=32, verbose=0).history["loss"]
    return losses[-1] < 0.9 * losses[0]


def draw() -> list[float]:
    """Numbers from the global generator."""
    if keras.backend.backend() == "torch":
        return in_torch.draw()
    import tensorflow as tf

    return tf.random.uniform([3]).numpy().tolist()


def seed() -> None:
    if keras.backend.backend() == "torch":
        return in_torch.seed()
    import tensorflow as tf

    return tf.random.set_seed(5)
