"""Overrides against the plain definitions, heads, and models written in every way."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import expit, softmax

from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain._network import Network
from skexplain._propagation import Rescale
from skexplain._wrap import as_network
from skexplain.exceptions import CompletenessError, UnsupportedModelError
from skexplain.keras import Standardise

from . import nets
from .conftest import BACKEND

FIRST = {
    "none": lambda: (),
    "standardise": lambda: (Standardise(),),
    "normalization": lambda: (layers.Normalization(),),
    "batchnorm": lambda: (layers.BatchNormalization(),),
    "rescaling": lambda: (layers.Rescaling(0.5, 1.0),),
    "dropout": lambda: (layers.Dropout(0.5), layers.GaussianNoise(1.0), layers.Flatten()),
    "both": lambda: (layers.Normalization(), layers.BatchNormalization(), layers.Dropout(0.3)),
}
OTHERS = {
    "functional": nets.functional,
    "skipping": nets.skipping,
    "subclassed": nets.Subclassed,
    "convolutional": nets.convolutional,
    "linear model": lambda: keras.Sequential([layers.Input((nets.D,)), layers.Dense(3, "softmax")]),
}


@pytest.fixture(name="X")
def rows(rng):
    return (rng.normal(size=(30, nets.D)) * [1, 2, 0.5, 3, 1] + [0, 5, 0, -2, 1]).astype(np.float32)


def build(name, X):
    model = nets.mlp(first=FIRST[name]()) if name in FIRST else OTHERS[name]()
    model(X[:1])
    return nets.learned(model, X)


@pytest.mark.parametrize("name", [*FIRST, *OTHERS])
@pytest.mark.parametrize("output", ["margin", "probability"])
def test_verbs_equal_their_plain_definitions(name, output, X, rng):
    network = as_network(build(name, X), X, output=output, classes=np.arange(3))
    if BACKEND == "tensorflow":
        fast = name in FIRST or name in ("functional", "linear model")
        assert (network._first is not None) == fast
    target = rng.integers(3, size=len(X))
    nodes, weights = rng.random((4, len(X))), rng.normal(size=4)
    for start in (X[:1], X[::-1].copy()):
        got = network.mean_gradient(start, X, nodes, weights, target)
        plain = Network.mean_gradient(network, start, X, nodes, weights, target)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, plain, atol=1e-5 * np.abs(plain).max())
    np.testing.assert_allclose(
        network.mean_gradient(X[:1], X, nodes[:, 0], weights, target),
        Network.mean_gradient(network, X[:1], X, nodes[:, 0], weights, target),
        atol=1e-5,
    )
    groups = [np.array([0]), np.array([1, 4]), np.array([2, 3])]
    coalitions = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1]], dtype=bool)
    got = network.predict_replaced(X, X[::-1], groups, coalitions)
    plain = Network.predict_replaced(network, X, X[::-1], groups, coalitions)
    np.testing.assert_allclose(got, plain, atol=1e-4 * np.abs(plain).max())


@pytest.mark.skipif(BACKEND != "tensorflow", reason="graphs of TensorFlow")
@pytest.mark.parametrize("name", ["none", "functional"])
def test_a_network_can_be_sent_to_another_process(name, X):
    network, one = as_network(build(name, X), X), np.eye(2, 1, k=-1, dtype=bool)
    network.predict(X)
    copy = pickle.loads(pickle.dumps(network))
    np.testing.assert_array_equal(copy.predict(X), network.predict(X))
    for groups in ([np.array([0])], [np.array([1, 2])]):
        got, expected = (net.predict_replaced(X, X[::-1], groups, one) for net in (copy, network))
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("output", ["margin", "logit", "probability"])
@pytest.mark.parametrize("units", [1, 3])
def test_agrees_with_a_dense_network(units, output, X, rng):
    ending = "sigmoid" if units == 1 else "softmax"
    model = keras.Sequential([layers.Input((nets.D,)), layers.Dense(7, "relu"), layers.Dense(4, "relu")])
    model.add(layers.Dense(units, ending))
    weights = model.get_weights()
    truth = DenseNetwork(weights[::2], weights[1::2], "relu", Head(ending, units, output))
    network = as_network(model, X, output=output)
    target = rng.integers(truth.n_outputs, size=len(X))
    np.testing.assert_allclose(network.predict(X), truth.predict(X), atol=1e-4)
    np.testing.assert_allclose(network.gradient(X, target), truth.gradient(X, target), atol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nets.mlp(3, "softmax"),
        lambda: nets.functional(3, "layer"),
        lambda: nets.functional(3, "operation"),
        lambda: nets.functional(3, "softmax"),
        lambda: nets.functional(1, "sigmoid"),
        lambda: keras.Sequential([layers.Input((nets.D,)), nets.mlp(3, "softmax")]),
        lambda: nets.Subclassed(3, "softmax"),
        lambda: nets.Subclassed(1, "sigmoid"),
        lambda: nets.Subclassed(3, "operation"),
    ],
)
def test_logits_before_the_last_activation(make, X):
    """Adding 40 to a logit saturates the probabilities in float32; logits taken before that do not notice."""
    model = make()
    p = keras.ops.convert_to_numpy(model(X))
    network = as_network(model, X, output="logit")
    z = network.raw(X)
    back = expit(z) if p.shape[1] == 1 else softmax(z, axis=1)
    np.testing.assert_allclose(back, p, atol=1e-5)
    if isinstance(model, nets.Subclassed) and model.ending == "operation":
        return  # recovered from the probabilities, so it does saturate
    last = [w for w in model.weights if w.shape[-1:] == p.shape[1:] and len(w.shape) == 1][-1]
    moved = np.zeros(p.shape[1])
    moved[0] = 40
    last.assign(last + moved)
    moved_z = as_network(model, X, output="logit").raw(X)
    np.testing.assert_allclose(moved_z - z, np.tile(moved, (len(X), 1)), atol=1e-4)


def test_a_layer_used_twice_is_left_alone(X):
    """Taking the softmax off the last layer would also take it off in the middle."""
    twice = layers.Dense(nets.D, "softmax")
    x = layers.Input((nets.D,))
    model = keras.Model(x, twice(twice(x)))
    z = as_network(model, X, output="logit").raw(X)
    np.testing.assert_allclose(softmax(z, axis=1), keras.ops.convert_to_numpy(model(X)), atol=1e-5)


def test_kinds_of_models(X):
    assert as_network(nets.mlp(1), X).head.kind == "linear"
    assert as_network(nets.mlp(1), X, y=np.array([0, 1] * 15)).head.kind == "sigmoid"
    assert as_network(nets.mlp(3), X, y=np.array([0, 1, 2] * 10)).classes.tolist() == [0, 1, 2]
    assert as_network(nets.mlp(3, "sigmoid"), X).head.n_outputs == 3
    two = as_network(nets.mlp(1, "sigmoid"), X, classes=np.array(["a", "b"]))
    np.testing.assert_allclose(two.predict(X)[:, 0], -two.predict(X)[:, 1])


def test_heads_agree(X, rng):
    """A sigmoid unit, the softmax pair with the same probabilities and its logits have the same importances."""
    one = nets.mlp(1, "sigmoid")
    *weights, w, b = one.get_weights()
    pairs = [nets.mlp(2, "softmax"), nets.mlp(2)]
    for pair in pairs:
        pair.set_weights([*weights, np.hstack([-w / 2, w / 2]), np.hstack([-b / 2, b / 2])])
    target = rng.integers(2, size=len(X))
    expected = as_network(one, X).gradient(X, target)
    for pair in pairs:
        network = as_network(pair, X, classes=np.arange(2))
        np.testing.assert_allclose(network.gradient(X, target), expected, atol=1e-5)


def test_saved_models_and_models_never_called(X, tmp_path):
    model = nets.mlp(3, "softmax")
    expected = as_network(model, X).predict(X)
    model.save(tmp_path / "model.keras")
    back = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(as_network(back, X).predict(X), expected, rtol=1e-5)
    lazy = keras.Sequential([layers.Dense(4, "relu"), layers.Dense(3, "softmax")])
    assert as_network(lazy, X).predict(X).shape == (30, 3)


def test_a_row_does_not_depend_on_its_batch(X, rng):
    network = as_network(nets.mlp(first=(layers.BatchNormalization(),)), X)
    target = rng.integers(3, size=len(X))
    every = network.gradient(X, target)
    one = np.concatenate([network.gradient(X[i : i + 1], target[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(one, every[:5], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(network.gradient(X[::-1].copy(), target[::-1].copy()), every[::-1], rtol=1e-5, atol=1e-7)


def state_of(model):
    every = model._flatten_layers()
    return (
        [w.copy() for w in model.get_weights()],
        [(v.path, v.trainable) for v in model.variables],
        [(layer.name, layer.trainable, sorted(vars(layer)), getattr(layer, "activation", None)) for layer in every],
        [len(layer._inbound_nodes) for layer in every],
    )


def assert_same_state(a, b):
    for u, v in zip(a[0], b[0], strict=True):
        np.testing.assert_array_equal(u, v)
    assert a[1:] == b[1:]


def use_all_verbs(network, X):
    target, one = np.zeros(len(X), int), np.ones((1, 1), dtype=bool)
    network.predict(X)
    network.gradient(X, target)
    network.mean_gradient(X[:1], X, np.array([0.3, 0.6]), np.ones(2), target)
    network.predict_replaced(X, X[::-1], [np.array([0])], one)


def test_no_trace(X):
    import random

    for make in (lambda: nets.mlp(first=FIRST["both"](), activation="softmax"), nets.functional, nets.Subclassed):
        model = make()
        model(X[:1])
        before, numpy_state, python_state = state_of(model), np.random.get_state()[1].copy(), random.getstate()
        use_all_verbs(as_network(model, X), X)
        assert_same_state(before, state_of(model))
        assert (np.random.get_state()[1] == numpy_state).all()
        assert random.getstate() == python_state


class Failing(layers.Layer):
    """Fails when asked to, in the middle of a model."""

    fails = False

    def call(self, inputs):
        if self.fails:
            raise RuntimeError("as asked")
        return inputs


def test_no_trace_after_a_failure(X):
    failing = Failing()
    model = keras.Sequential([layers.Input((nets.D,)), layers.Dense(4, "relu"), failing, layers.Dense(3, "softmax")])
    network = as_network(model, X)
    failing.fails = True
    before = state_of(model)
    for verb in (
        lambda: network.raw(X),
        lambda: network.gradient(X, np.zeros(len(X), int)),
        lambda: network.mean_gradient(X[:1], X, np.array([0.5]), np.ones(1), np.zeros(len(X), int)),
        lambda: as_network(model, X),
    ):
        with pytest.raises(Exception, match="as asked"):
            verb()
        assert_same_state(before, state_of(model))
    failing.fails = False
    fresh = nets.mlp(3, "softmax")
    fresh.compile("sgd", "sparse_categorical_crossentropy")
    history = fresh.fit(X, np.arange(30) % 3, epochs=2, verbose=0).history["loss"]
    assert history[1] < history[0]


def test_a_cut_gradient_is_not_a_silent_zero(X):
    import skexplain

    x = layers.Input((nets.D,))
    model = keras.Model(x, layers.Dense(3)(layers.Concatenate()([10 * keras.ops.floor(x[:, :1]), x[:, 1:]])))
    network = as_network(model, X, classes=np.arange(3))
    assert network.predict(X).shape == (30, 3)
    with pytest.raises(CompletenessError):
        skexplain.explain(model, X[:4], attribution="integrated_gradients", random_state=0)


def test_what_cannot_be_explained(X):
    a, b = layers.Input((2,)), layers.Input((2,))
    with pytest.raises(UnsupportedModelError, match="2 inputs"):
        as_network(keras.Model([a, b], layers.Dense(1)(layers.Concatenate()([a, b]))), X)
    c = layers.Input((nets.D,))
    with pytest.raises((UnsupportedModelError, ValueError), match="2 outputs"):
        as_network(keras.Model(c, [layers.Dense(1)(c), layers.Dense(1)(c)]), X)


class Counting(layers.Layer):
    """Multiplies with the number of its calls."""

    def __init__(self, make_count):
        super().__init__()
        self.n = make_count(self)

    def call(self, inputs):
        self.n.assign_add(1.0)
        return inputs * self.n


COUNTS = {"keras": lambda layer: layer.add_weight(shape=(), initializer="zeros", trainable=False)}
if BACKEND == "tensorflow":
    import tensorflow as tf

    COUNTS["tensorflow"] = lambda layer: tf.Variable(0.0, trainable=False)


@pytest.mark.parametrize("whose", COUNTS)
@pytest.mark.parametrize("built", [True, False])
def test_what_a_call_changes_is_put_back(whose, built, X):
    counting = Counting(COUNTS[whose])
    first = [layers.Input((nets.D,))] if built else []
    model = keras.Sequential([*first, layers.Dense(4, "relu"), counting, layers.Dense(3, "softmax")])
    network = as_network(model, X, output="logit")
    assert float(counting.n) == 0
    once = network.raw(X)
    assert float(counting.n) == 0
    use_all_verbs(network, X)
    network.propagate(X, X[:1], Rescale(), np.zeros(len(X), int))
    np.testing.assert_array_equal(network.raw(X), once)
    assert float(counting.n) == 0
    np.testing.assert_allclose(softmax(once, axis=1), keras.ops.convert_to_numpy(model(X)), atol=1e-5)
    assert float(counting.n) == 1


def test_a_layer_that_is_never_used_changes_nothing(X):
    class Forgetful(keras.Model):
        def __init__(self):
            super().__init__()
            self.unused, self.counting, self.out = layers.Dense(2), Counting(COUNTS["keras"]), layers.Dense(3)

        def build(self, input_shape):
            self.out.build(input_shape)

        def call(self, inputs):
            return self.out(self.counting(inputs))

    model = Forgetful()
    use_all_verbs(as_network(model, X), X)
    assert float(model.counting.n) == 0


def test_the_seeds_of_a_noisy_layer_are_put_back(X):
    class Noisy(layers.Layer):
        def __init__(self):
            super().__init__()
            self.seeds = keras.random.SeedGenerator(0)

        def call(self, inputs):
            return inputs + keras.random.normal((1, 4), seed=self.seeds)

    noisy = Noisy()
    model = keras.Sequential([layers.Input((nets.D,)), layers.Dense(4), noisy, layers.Dense(3)])
    before = keras.ops.convert_to_numpy(noisy.seeds.state).copy()
    network = as_network(model, X, output="logit")
    np.testing.assert_array_equal(network.raw(X), network.raw(X))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(noisy.seeds.state), before)


@pytest.mark.parametrize("attribution", ["deeplift", "saliency"])
def test_threads_share_a_model(attribution, X):
    import skexplain

    model = keras.Sequential([layers.Input((nets.D,)), layers.Dense(8, "relu"), layers.Dropout(0.5)])
    model.add(layers.Dense(3, "softmax"))
    p, before = keras.ops.convert_to_numpy(keras.ops.stop_gradient(model(X))), state_of(model)

    def explained(_):
        return skexplain.explain(model, X[:4], background=X, attribution=attribution, random_state=0).values

    expected = explained(0)
    with ThreadPoolExecutor(4) as threads:
        for values in threads.map(explained, range(8)):
            np.testing.assert_allclose(values, expected, atol=1e-5)
    assert_same_state(before, state_of(model))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(keras.ops.stop_gradient(model(X))), p)


@pytest.mark.parametrize("attribution", ["expected_gradients", "saliency", "smoothgrad"])
def test_booleans_are_numbers(attribution, rng):
    import skexplain

    X, model = rng.random((12, nets.D)) > 0.5, nets.mlp(1)
    got, expected = (
        skexplain.explain(model, v[:4], background=v, attribution=attribution, random_state=0).values
        for v in (X, X.astype(float))
    )
    np.testing.assert_array_equal(got, expected)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="graphs are TensorFlow's")
def test_traced_once(X):
    calls = []

    class Calls(layers.Layer):
        def call(self, inputs):
            calls.append(1)
            return inputs

    model = keras.Sequential([layers.Input((nets.D,)), layers.Dense(4, "relu"), Calls(), layers.Dense(3)])
    network = as_network(model, X, classes=np.arange(3))
    use_all_verbs(network, X)
    traced = len(calls)
    for n in (1, 7, 30):
        use_all_verbs(network, X[:n])
    assert len(calls) == traced
