"""Models behind their look-ups: what is seen, that it is the same network, and that it is torch's."""

import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import keras
from keras import layers, ops

import skexplain
from skexplain._wrap import as_network
from skexplain.attributions import ExactShapley, IntegratedGradients
from skexplain.exceptions import CompletenessError, UnsupportedModelError
from tests.torch.test_embedded import SPELLINGS as IN_TORCH
from tests.torch.test_embedded import Codes, rows, shapley_of_codes

from .conftest import BACKEND


def code(x, j):
    return ops.cast(x[:, j], "int32")


class Subclassed(keras.Model):
    """Tables that are no layers, read in the middle of a call."""

    def __init__(self):
        super().__init__()
        self.a, self.b = (self.add_weight(shape=shape, name=name) for name, shape in (("a", (5, 3)), ("b", (4, 2))))
        self.hidden, self.out = layers.Dense(8, "tanh"), layers.Dense(3)
        self(np.zeros((1, 4)))

    def call(self, x):
        a = ops.take(ops.convert_to_tensor(self.a), code(x, 1), axis=0)
        b = ops.take(ops.convert_to_tensor(self.b), code(x, 3), axis=0)
        return self.out(self.hidden(ops.concatenate([x[:, :1], a, x[:, 2:3], b], 1)))


def functional(look_up):
    x = layers.Input((4,))
    a, b = look_up(x)
    h = layers.Concatenate()([x[:, :1], a, x[:, 2:3], b])
    return keras.Model(x, layers.Dense(3)(layers.Dense(8, "tanh")(h)))


def one_table(x):
    """Both columns in one table, those of the second behind those of the first."""
    found = layers.Embedding(9, 3, name="both")(ops.cast(ops.take(x, [1, 3], axis=1), "int32") + np.array([0, 5]))
    return found[:, 0], found[:, 1, :2]


def called_twice(x):
    table = layers.Embedding(9, 3, name="both")
    return table(code(x, 1)), table(code(x, 3) + 5)[:, :2]


def nested(x):
    """Each look-up in a model of its own."""
    parts = []
    for j, name, shape in ((1, "a", (5, 3)), (3, "b", (4, 2))):
        c = layers.Input((4,))
        parts.append(keras.Model(c, layers.Embedding(*shape, name=name)(code(c, j)))(x))
    return parts


def one_hot(encode):
    def look_up(x):
        dense = layers.Dense(3, use_bias=False, name="a"), layers.Dense(2, use_bias=False, name="b")
        return [layer(encode(x, j, n)) for layer, j, n in zip(dense, (1, 3), (5, 4), strict=True)]

    return look_up


MODELS = {
    "layers": lambda: functional(
        lambda x: (layers.Embedding(5, 3, name="a")(x[:, 1]), layers.Embedding(4, 2, name="b")(code(x, 3)))
    ),
    "one table": lambda: functional(one_table),
    "called twice": lambda: functional(called_twice),
    "nested": lambda: functional(nested),
    "one-hot": lambda: functional(one_hot(lambda x, j, n: ops.one_hot(code(x, j), n))),
    "encoding": lambda: functional(
        one_hot(lambda x, j, n: layers.CategoryEncoding(n, output_mode="one_hot")(code(x, j)[:, None]))
    ),
    "subclassed": Subclassed,
}


def same_weights(model, module):
    """The weights of the torch module in the model, by shape and place."""
    a, b, *dense = (v.detach().numpy() for v in (module.a.weight, module.b.weight, *module.layers.parameters()))
    both = np.concatenate([a, np.pad(b, ((0, 0), (0, 1)))])
    tables = {(5, 3): a, (4, 2): b, (9, 3): both}
    dense = iter(v.T if v.ndim == 2 else v for v in dense)
    for v in model.weights:
        v.assign(tables[tuple(v.shape)] if tuple(v.shape) in tables else next(dense))
    return model


def made(spelling="layers"):
    return same_weights(MODELS[spelling](), Codes(IN_TORCH["modules"]))


@pytest.mark.parametrize("spelling", MODELS)
def test_same_network_same_numbers_as_in_torch(spelling):
    X, module = rows(), Codes(IN_TORCH["modules"]).double()
    strategy = IntegratedGradients(n_steps=16)
    got, want = (
        skexplain.explain(m, X[:8], background=X, attribution=strategy, target=0) for m in (made(spelling), module)
    )
    np.testing.assert_allclose(got.values, want.values, atol=1e-4)


@pytest.mark.parametrize("strategy", ["deeplift", "lrp", "exact_shapley"])
def test_other_strategies_are_those_of_torch(strategy):
    X, module = rows(), Codes(IN_TORCH["modules"]).double()
    got, want = (skexplain.explain(m, X[:8], background=X, attribution=strategy, target=1) for m in (made(), module))
    np.testing.assert_allclose(got.values, want.values, atol=1e-4)


def test_complete_and_exact():
    X, model = rows(), made()
    exp = skexplain.explain(model, X, background=X[:10], attribution="expected_gradients", target=0, random_state=0)
    np.testing.assert_allclose(exp.values.sum(axis=1) + exp.base_values, exp.predictions, atol=1e-4)
    exact = skexplain.explain(model, X, background=X[:10], attribution=ExactShapley(), target=0)
    np.testing.assert_allclose(exact.values[0], shapley_of_codes(model, X[0], X[:10]), atol=1e-5)


def test_relabelled_codes_are_the_same_network():
    """The mean is one of vectors and not of codes."""
    X, order = rows(), np.array([3, 0, 4, 1, 2])
    model, other = made(), made()
    table = next(v for v in other.weights if tuple(v.shape) == (5, 3))
    old = keras.ops.convert_to_numpy(table.value)
    table.assign(old[np.argsort(order)])
    relabelled = X.copy()
    relabelled[:, 1] = order[X[:, 1].astype(int)]
    got, want = (
        skexplain.importances(m, v, attribution="integrated_gradients", background=v)
        for m, v in ((other, relabelled), (model, X))
    )
    np.testing.assert_allclose(got.values, want.values, rtol=1e-4)


def masked():
    """Words, 0 for padding: a recurrent layer leaves out the steps of it."""
    x = layers.Input((4,))
    h = layers.LSTM(4)(layers.Embedding(7, 3, mask_zero=True)(x))
    return keras.Model(x, layers.Dense(2)(h))


def test_masks_are_those_of_the_codes():
    rng = np.random.default_rng(0)
    X = rng.integers(1, 7, size=(30, 4)).astype(float)
    X[::3, 2:] = 0
    model = masked()
    embedded = as_network(model, X).embedded(X)
    assert embedded.owners.tolist() == [0, 1, 2, 3, *np.repeat(range(4), 3)]  # codes count beside their vectors
    Z = embedded.checked(X)
    np.testing.assert_allclose(embedded.network.predict(Z), as_network(model, X).predict(X), atol=1e-6)
    full = X[1::3]
    exp = skexplain.explain(model, full, background=full, attribution="integrated_gradients", target=0)
    np.testing.assert_allclose(exp.values.sum(axis=1) + exp.base_values, exp.predictions, atol=1e-3)
    exp = skexplain.explain(model, X[:2], background=X[3:6], attribution="exact_shapley", target=0)
    np.testing.assert_allclose(exp.values.sum(axis=1) + exp.base_values, exp.predictions, atol=1e-5)


def test_a_code_that_is_read_in_yet_another_way_is_refused():
    x = layers.Input((4,))
    more = 1 + 2 * ops.cast(ops.equal(x[:, 1:2], 4), "float32")  # for codes that the trial does not see
    h = layers.Concatenate()([layers.Embedding(5, 3)(code(x, 1)) * more, x[:, ::2]])
    model = keras.Model(x, layers.Dense(1)(h))
    with pytest.raises((UnsupportedModelError, CompletenessError), match="permutation"):
        skexplain.explain(model, rows(), attribution="integrated_gradients")


def test_a_baseline_in_the_columns_of_the_user():
    X = rows()
    exp = skexplain.explain(made(), X[5:9], background=X, attribution=IntegratedGradients(baseline=X[7]), target=1)
    np.testing.assert_allclose(exp.base_values, exp.predictions[2], atol=1e-5)
    np.testing.assert_allclose(exp.values[2], 0, atol=1e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of the network on TensorFlow")
def test_sent_to_another_process():
    X = rows()
    network = as_network(made(), X).embedded(X)
    Z = network.embed(X)
    copy = pickle.loads(pickle.dumps(network.network))
    np.testing.assert_allclose(copy.predict(Z), network.network.predict(Z), atol=1e-6)
    assert copy.in_front[0] == (4,)


def test_the_model_is_as_it_was():
    model, X = made(), rows()
    parts = (model, *model._flatten_layers())

    def state():
        calls = [len(part._inbound_nodes) for part in parts]
        return (
            [keras.ops.convert_to_numpy(v.value).tolist() for v in model.weights],
            [set(vars(p)) for p in parts],
            calls,
        )

    before = state()
    skexplain.explain(model, X, attribution="integrated_gradients")
    assert state() == before
    if BACKEND == "tensorflow":
        import tensorflow as tf
        from tensorflow.python.eager import context

        assert not context.context().op_callbacks
        assert not tf.config.functions_run_eagerly()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a function of TensorFlow")
def test_a_function_of_the_users_is_seen_and_keeps_nothing():
    import tensorflow as tf

    class WithFunction(Subclassed):
        @tf.function
        def call(self, x):
            return super().call(x)

    X = rows()
    model = WithFunction()
    before = np.asarray(model(X.astype("float32")))
    assert as_network(model, X).embedded(X).owners.tolist() == [0, 2, 1, 1, 1, 3, 3]
    skexplain.explain(model, X[:4], background=X, attribution="integrated_gradients")
    np.testing.assert_allclose(np.asarray(model(X.astype("float32"))), before)


def test_places_that_are_not_looked_up_for_a_column_keep_their_own():
    """Columns 0 and 2 are the same in all rows, so that what is looked up for them is nobody's."""
    places = np.array([1.0, 10.0, 100.0, 1000.0], dtype="float32")[:, None]
    x = layers.Input((4,))
    model = keras.Model(x, ops.sum(layers.Embedding(6, 3)(x) * places, axis=1))
    X = np.array([[1, 2, 3, 4], [1, 4, 3, 5], [1, 0, 3, 2.0]])
    network = as_network(model, X, regression=True)
    embedded = network.embedded(X)
    assert np.isin([1, 3], embedded.owners).all()
    np.testing.assert_allclose(embedded.network.predict(embedded.embed(X)), network.predict(X), rtol=1e-5)
