"""Stacks of dense layers are computed in NumPy, and by nothing else than what the model would compute."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
from keras import layers

from skexplain._propagation import Rescale
from skexplain._wrap import as_network
from skexplain.keras import Standardise

from . import nets
from .conftest import BACKEND

if BACKEND != "tensorflow":
    pytest.skip("on torch it is the torch network that does this", allow_module_level=True)

from skexplain.keras import _tensorflow

D = nets.D


@pytest.fixture(name="X")
def _rows(rng):
    return (rng.normal(size=(40, D)) * [1, 10, 0.1, 1, 1] + [0, 100, 0, 0, -5]).astype("float32")


def stack(*hidden, shape=(D,), ending=None, units=3):
    return keras.Sequential([layers.Input(shape), *hidden, layers.Dense(units, ending)])


def functional():
    x = layers.Input((D,))
    h = layers.Activation("tanh")(layers.BatchNormalization()(layers.Dense(6)(Standardise()(x))))
    return keras.Model(x, layers.Softmax()(layers.Dense(3)(layers.Dropout(0.5)(h))))


class OwnDense(layers.Dense):
    def call(self, inputs, training=None):
        return super().call(inputs)


class OwnRescaling(layers.Rescaling):
    """The parent's work on the rows that are seen, and something else far from them."""

    def call(self, inputs):
        return super().call(keras.ops.clip(inputs, -1e3, 1e3))


class OwnIdentity(layers.Identity):
    def call(self, inputs):
        return keras.ops.clip(inputs, -1e3, 1e3)


class OwnStandardise(Standardise):
    def call(self, inputs):
        return super().call(keras.ops.clip(inputs, -1e3, 1e3))


@dataclass
class OwnActivation:
    """Without a hash, as it can be compared."""

    slope: float = 0.1

    def __call__(self, x):
        return keras.ops.leaky_relu(x, self.slope)


STACKS = {
    "linear": lambda: stack(),
    "relu": lambda: stack(layers.Dense(8, "relu"), layers.Dense(6, "relu")),
    "tanh": lambda: stack(Standardise(), layers.Dense(8, "tanh", use_bias=False), ending="softmax"),
    "sigmoid": lambda: stack(layers.Dense(8), layers.Activation("sigmoid"), ending="sigmoid", units=1),
    "scaled": lambda: stack(Standardise(), layers.Dense(8), layers.BatchNormalization(), layers.ReLU()),
    "scaled behind": lambda: stack(layers.Dense(8, "relu"), layers.BatchNormalization(), layers.Rescaling(2.0, 1.0)),
    "normalised": lambda: stack(layers.Normalization(), Standardise(inverse=True), layers.Dense(8, "relu")),
    "functional": functional,
}
OTHERS = {
    "two kinds": lambda: stack(layers.Dense(8, "relu"), layers.Dense(6, "tanh")),
    "another function": lambda: stack(layers.Dense(8, "gelu")),
    "leaky": lambda: stack(layers.Dense(8), layers.ReLU(negative_slope=0.1)),
    "bounded": lambda: stack(layers.Dense(8), layers.ReLU(max_value=1.0)),
    "not dense": lambda: stack(layers.Reshape((D, 1)), layers.Conv1D(3, 2), layers.Flatten(), layers.Dense(4, "relu")),
    "activation first": lambda: stack(layers.ReLU(), layers.Dense(4)),
    "a network's own ending": lambda: stack(layers.Dense(8, "relu"), ending="relu"),
    "branches": nets.functional,
    "skipping": nets.skipping,
    "subclass": nets.Subclassed,
    "whole numbers": lambda: keras.Sequential([layers.Input((D,), dtype="int32"), layers.Dense(3)]),
    "half": lambda: stack(layers.Dense(8, "relu", dtype="mixed_bfloat16")),
    "normalised rows": lambda: stack(layers.Dense(8, "relu"), layers.LayerNormalization()),
    "own layer": lambda: stack(OwnDense(4)),
    "own scale": lambda: stack(OwnRescaling(2.0), layers.Dense(4, "relu")),
    "own identity": lambda: stack(OwnIdentity(), layers.Dense(4, "relu")),
    "own standardisation": lambda: stack(OwnStandardise(), layers.Dense(4, "relu")),
    "own activation": lambda: stack(layers.Dense(4, OwnActivation())),
}


def pair(model, X, monkeypatch, **options):
    """The network that is used, and the one on TensorFlow's graphs."""
    network = as_network(model, X, **options)
    monkeypatch.setattr(_tensorflow, "dense_stack", lambda *args: None)
    return network, as_network(model, X, **options)


@pytest.mark.parametrize("name", STACKS)
def test_equals_the_model(name, X, monkeypatch, rng):
    keras.utils.set_random_seed(0)
    model = nets.learned(STACKS[name](), X)
    ours, plain = pair(model, X, monkeypatch, output="probability" if name == "sigmoid" else "margin")
    assert ours._in_numpy is not None
    assert plain._in_numpy is None
    target, reference = rng.integers(ours.n_outputs, size=len(X)), X[::-1].copy()
    groups, members = [np.array([0]), np.array([1, 3]), np.array([2]), np.array([4])], rng.random((6, 4)) < 0.5
    for verb, arguments in {
        "predict": (X,),
        "gradient": (X, target),
        "mean_gradient": (reference, X, np.linspace(0, 1, 7), np.full(7, 1 / 7), target),
        "predict_replaced": (X, reference, groups, members),
        "path_contributions": (
            X,
            reference,
            rng.integers(len(X), size=(3, len(X))),
            rng.random((2, 3, len(X))),
            target,
        ),
        "mean_propagate": (X, reference[:5], Rescale(), target),
    }.items():
        got, expected = (getattr(network, verb)(*arguments) for network in (ours, plain))
        size = np.abs(expected).max()
        np.testing.assert_allclose(got, expected, atol=2e-5 * size, err_msg=verb)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_something_else(name, X):
    keras.utils.set_random_seed(0)
    assert as_network(nets.learned(OTHERS[name](), X), np.abs(X), regression=True)._in_numpy is None


def test_a_patched_layer_is_something_else(X):
    model = stack(layers.Dense(8, "relu"))
    layer = model.layers[0]
    object.__setattr__(layer, "call", lambda x, training=None: layers.Dense.call(layer, x) + 1)
    assert as_network(model, X, regression=True)._in_numpy is None


def test_rows_of_several_dimensions(rng, monkeypatch):
    X = rng.normal(size=(30, 2, 3)).astype("float32")
    model = nets.learned(stack(layers.BatchNormalization(), layers.Flatten(), layers.Dense(5, "relu"), shape=(2, 3)), X)
    ours, plain = pair(model, X, monkeypatch)
    assert ours._in_numpy is not None
    target, groups = np.zeros(30, dtype=int), [np.arange(2), np.arange(2, 6)]
    for verb, arguments in {
        "gradient": (X, target),
        "mean_gradient": (X[:1], X, np.array([0.2, 0.7]), np.array([0.5, 0.5]), target),
        "predict_replaced": (X, X[::-1], groups, np.eye(2, dtype=bool)),
        "mean_propagate": (X, X[:3], Rescale(), target),
    }.items():
        got, expected = (getattr(network, verb)(*arguments) for network in (ours, plain))
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max(), err_msg=verb)


def test_other_weights_are_seen(X):
    model = stack(layers.Dense(8, "relu"))
    network = as_network(model, X, regression=True)
    network.predict(X)
    model.set_weights([2 * w + 0.1 for w in model.get_weights()])
    np.testing.assert_allclose(network.predict(X), model.predict(X, verbose=0), rtol=1e-4, atol=1e-4)


def test_a_row_does_not_depend_on_its_neighbours(X):
    network = as_network(stack(layers.Dense(64, "relu"), layers.Dense(32, "relu")), X, regression=True)
    many = np.concatenate([X] * 8)
    alone = np.concatenate([network.predict(row[None]) for row in X])
    np.testing.assert_array_equal(network.predict(X), alone)
    np.testing.assert_array_equal(network.predict(many)[:40], alone)


def test_columns_far_from_zero(rng, monkeypatch):
    """Digits are not lost where the model's own layers would keep them."""
    X = (rng.normal(size=(40, D)) + 1e5).astype("float32")
    model = nets.learned(stack(Standardise(), layers.Dense(8, "relu")), X)
    ours, plain = pair(model, X, monkeypatch, regression=True)
    assert ours._in_numpy is not None
    np.testing.assert_allclose(ours.predict(X), plain.predict(X), atol=2e-5)


def test_graphs_are_traced_once_for_any_number_of_rows(X, monkeypatch, rng):
    traced = []
    original = _tensorflow._traced
    monkeypatch.setattr(_tensorflow, "_traced", lambda *args: traced.append(1) or original(*args))
    network = as_network(nets.mlp(), X)  # two kinds of activations

    def ask(n):
        rows = X[np.arange(n) % len(X)]
        target = np.zeros(n, dtype=int)
        network.predict(rows)
        network.gradient(rows, target)
        network.mean_gradient(rows[:1], rows, np.linspace(0, 1, 3), np.ones(3), target)
        network.predict_replaced(rows, rows[::-1], [np.array([0])], np.array([[True]]))
        network.propagate(rows, rows[:1], Rescale(), target)

    ask(2)
    ask(2500)
    count = len(traced)
    for n in (1, 3, 127, 129, 2049):
        ask(n)
    assert len(traced) == count == len(network._graphs)
