"""Which weights belong to which column, against what one reads off the model."""

import keras
import numpy as np
import pytest
from keras import layers

from skexplain.exceptions import UnsupportedModelError
from skexplain.keras import (
    ColumnGatedMLP,
    EmbedCodes,
    EncodeNumbers,
    GatedDense,
    MeanOfMembers,
    MembersDense,
    Standardise,
    mlp,
)
from skexplain.keras._activation import calling
from skexplain.keras._input_weights import find

from .conftest import BACKEND


def sequential(*parts, features=(4,), dtype=None):
    return keras.Sequential([layers.Input(features, dtype=dtype), *parts])


def pairs(weights):
    return [set(zip(k.columns.tolist(), k.inputs.tolist(), strict=True)) for k in weights.kernels]


def straight(n, first=0):
    return {(k, k + first) for k in range(n)}


def skipping():
    x = layers.Input((4,))
    h = layers.Dense(3, "relu")(x)
    return keras.Model(x, layers.Dense(2)(layers.Concatenate()([h, x])))


def branches():
    x = layers.Input((4,))
    return keras.Model(x, layers.Add()([layers.Dense(3)(x[:, :2]), layers.Dense(3)(x[:, 1:])]))


def codes_and_numbers():
    x = layers.Input((4,))
    code = layers.Embedding(5, 3)(keras.ops.cast(x[:, 0], "int32"))
    return keras.Model(x, layers.Dense(2)(layers.Concatenate()([code, x[:, 1:]])))


def shared():
    x = layers.Input((4,))
    dense = layers.Dense(3)
    return keras.Model(x, layers.Subtract()([dense(x[:, :2]), dense(x[:, 2:])]))


def nested():
    x = layers.Input((4,))
    inner = sequential(layers.BatchNormalization(), layers.Dense(3))
    return keras.Model(x, layers.Dense(1)(inner(layers.Dropout(0.1)(x))))


def attention():
    x = layers.Input((2, 3))
    return keras.Model(x, layers.MultiHeadAttention(2, 2)(x, x))


def gated():
    x = layers.Input((4,))
    return keras.Model(x, layers.Dense(2)(x * layers.Dense(4, "relu")(x)))


def column_gated(codes=None):
    """Two pieces a number."""
    embed = [EmbedCodes(4, codes, dict.fromkeys(codes, 3))] if codes else []
    encode = EncodeNumbers(4 - len(codes or {}), bins=2)
    model = ColumnGatedMLP([layers.Input((4,)), *embed, encode])
    encode.learn(np.arange(4.0)[:, None] * np.ones(encode.n_numbers))
    owners = np.array(embed[0].owners if embed else range(4))[list(encode.owners)]
    for layer in (GatedDense(3, owners, 2), MembersDense(2, 2), MeanOfMembers(2)):
        model.add(layer)
    return model


class Backwards(keras.Model):
    """Layers in another order than they are used, the columns too."""

    def __init__(self):
        super().__init__()
        self.out, self.first = layers.Dense(2), layers.Dense(3, "relu")

    def call(self, x):
        return self.out(self.first(keras.ops.flip(x, axis=1)))


def backwards():
    model = Backwards()
    model(np.zeros((2, 4), "float32"))
    return model


STEPS = {(0, 0), (1, 1), (2, 2), (3, 0), (4, 1), (5, 2)}  # rows of two steps with three channels
MODELS = {
    "mlp": (lambda: mlp({"n_features_in_": 4, "n_outputs_": 1}), [straight(4)]),
    "gated columns": (column_gated, [{(k // 3, k) for k in range(12)}]),
    "codes and gated columns": (lambda: column_gated({1: 5}), [{((0, 2, 3, 1)[k // 3], k) for k in range(12)}]),
    "looked through": (
        lambda: sequential(
            layers.Rescaling(2.0),
            layers.Normalization(),
            layers.Dropout(0.5),
            layers.Activation("tanh"),
            layers.Dense(3),
        ),
        [straight(4)],
    ),
    "steps flattened": (lambda: sequential(layers.Flatten(), layers.Dense(3), features=(2, 2)), [straight(4)]),
    "permuted": (
        lambda: sequential(layers.Permute((2, 1)), layers.Dense(4), features=(2, 3)),
        [{(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 1)}],
    ),
    "padded": (
        lambda: sequential(layers.ZeroPadding1D(1), layers.Flatten(), layers.Dense(3), features=(2, 2)),
        [straight(4, first=2)],
    ),
    "skipping": (skipping, [straight(4), straight(4, first=3)]),
    "branches": (branches, [{(0, 0), (1, 1)}, {(1, 0), (2, 1), (3, 2)}]),
    "codes and numbers": (codes_and_numbers, [{(0, 0), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5)}]),
    "codes": (
        lambda: sequential(layers.Embedding(9, 2), layers.Flatten(), layers.Dense(3), features=(2,), dtype="int32"),
        [{(0, 0), (0, 1), (1, 2), (1, 3)}],
    ),
    "convolution": (lambda: sequential(layers.Conv1D(5, 2), features=(2, 3)), [STEPS]),
    "lstm": (lambda: sequential(layers.LSTM(4), features=(2, 3)), [STEPS]),
    "gru cell": (lambda: sequential(layers.RNN(layers.GRUCell(4)), features=(2, 3)), [STEPS]),
    "both ways": (lambda: sequential(layers.Bidirectional(layers.SimpleRNN(4)), features=(2, 3)), [STEPS, STEPS]),
    "every step": (lambda: sequential(layers.TimeDistributed(layers.Dense(4)), features=(2, 3)), [STEPS]),
    "einsum": (
        lambda: sequential(layers.EinsumDense("abc,cd->abd", output_shape=(None, 4)), features=(2, 3)),
        [STEPS],
    ),
    "attention": (attention, [STEPS] * 3),
    "shared": (shared, [{(0, 0), (1, 1), (2, 0), (3, 1)}]),
    "nested": (nested, [straight(4)]),
    "gated": (gated, [straight(4), straight(4)]),
    "subclassed": (backwards, [{(0, 3), (1, 2), (2, 1), (3, 0)}]),
}


@pytest.mark.parametrize("name", MODELS)
def test_columns_and_inputs(name):
    make, wanted = MODELS[name]
    weights = find(make())
    assert pairs(weights) == wanted
    for kernel in weights.kernels:
        assert kernel.read().shape == kernel.shape
        assert kernel.shape[kernel.axis] > kernel.inputs.max()


@pytest.mark.parametrize(
    "name", ["mlp", "skipping", "codes and numbers", "codes and gated columns", "nested", "gated", "subclassed"]
)
def test_rows_do_not_change_what_is_found(name, rng):
    make, wanted = MODELS[name]
    assert pairs(find(make(), rng.integers(0, 4, size=(9, 4)).astype("float32"))) == wanted


def test_the_kernel_as_it_is_now():
    model = sequential(layers.Conv1D(5, 2), layers.Flatten(), layers.Dense(1), features=(2, 3))
    (kernel,) = find(model).kernels
    model.layers[0].kernel.assign(np.arange(30.0).reshape(2, 3, 5))
    np.testing.assert_array_equal(kernel.read(), np.arange(30).reshape(2, 3, 5))
    assert kernel.axis == -2


def test_sums_over_a_columns_weights():
    """An embedding's column has the weights of all its dimensions, a channel's step those of the channel."""
    model = codes_and_numbers()
    model.layers[-1].kernel.assign(np.arange(12.0).reshape(6, 2))
    weights = find(model)
    values = np.empty(weights.size)
    weights.read_into(values)
    np.testing.assert_array_equal(weights.per_column(values), [0 + 1 + 2 + 3 + 4 + 5, 6 + 7, 8 + 9, 10 + 11])


def test_weights_are_read_with_their_gates():
    model = column_gated()
    model.gated_layer.gate.assign([[0, 1, 2, 3], [1, 1, 1, 1]])
    (kernel,) = find(model).kernels
    plain = np.array(model.gated_layer.kernel).reshape(12, 2, 3)
    np.testing.assert_allclose(kernel.read().reshape(12, 2, 3)[:, 0], plain[:, 0] * np.repeat([0, 1, 2, 3], 3)[:, None])
    np.testing.assert_allclose(kernel.read().reshape(12, 2, 3)[:, 1], plain[:, 1])


def test_adapted_kernels_are_read_whole():
    model = sequential(layers.Dense(3))
    (kernel,) = find(model).kernels
    model.layers[0].enable_lora(1)
    a, b = np.ones((4, 1), "float32"), np.ones((1, 3), "float32")
    model.layers[0].lora_kernel_a.assign(a)
    model.layers[0].lora_kernel_b.assign(b)
    np.testing.assert_allclose(kernel.read(), np.asarray(model.layers[0]._kernel) + a @ b, rtol=1e-6)


@pytest.mark.parametrize("name", ["mlp", "nested", "codes and numbers", "lstm", "subclassed"])
def test_nothing_is_left_on_the_model(name):
    model = MODELS[name][0]()
    before = [np.array(keras.ops.convert_to_numpy(v.value)) for v in model.variables]
    own = [sorted(vars(layer)) for layer in model._flatten_layers()]
    find(model).spread(np.ones((3, 2, 3) if name == "lstm" else (3, 4), "float32"))
    assert [sorted(vars(layer)) for layer in model._flatten_layers()] == own
    for v, old in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(v.value), old)


def test_a_layer_that_fails_is_left_as_it_was():
    class Failing(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Dense(3)

        def call(self, x):
            out = self.first(x)
            if len(x) > 2:
                raise RuntimeError("too many")
            return out

    model = Failing()
    model(np.zeros((2, 4), "float32"))
    with pytest.raises(RuntimeError, match="too many"):
        find(model)
    assert "call" not in vars(model.first)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.function is TensorFlow's")
def test_a_models_own_graphs_do_not_keep_what_was_looked_at(rng):
    import tensorflow as tf

    class Compiled(Backwards):
        @tf.function
        def call(self, x):
            return super().call(x)

    keras.utils.set_random_seed(0)
    model = Compiled()
    X = rng.normal(size=(9, 4)).astype("float32")
    model(X)
    assert pairs(find(model)) == [{(0, 3), (1, 2), (2, 1), (3, 0)}]
    for n in range(2, 10):  # as many rows as were looked at among them
        assert np.ptp(np.asarray(model(X[:n])), axis=0).max() > 0
    assert not tf.config.functions_run_eagerly()


def test_spread_is_behind_the_normalisation(rng):
    X = (rng.normal(size=(200, 4)) * [1, 10, 100, 1000]).astype("float32")
    raw, standardised = sequential(layers.Dense(3)), sequential(Standardise(), layers.Dropout(0.5), layers.Dense(3))
    standardised.layers[0].learn(X)
    np.testing.assert_allclose(find(raw).spread(X), X.std(axis=0, dtype=float), rtol=1e-5)
    np.testing.assert_allclose(find(standardised).spread(X), 1, rtol=1e-3)


def test_codes_are_on_no_scale(rng):
    X = rng.integers(0, 5, size=(50, 4)).astype("float32")
    spread = find(codes_and_numbers(), X).spread(X)
    np.testing.assert_allclose(spread, [np.nan, *X[:, 1:].std(axis=0)], rtol=1e-4)


def test_spread_is_that_of_training(rng):
    """What is learned of means and variances may not have gone far, and steps of a channel have one weight."""
    X = (rng.normal(size=(200, 4)) * [1, 10, 100, 1000] + 5).astype("float32")
    model = sequential(layers.BatchNormalization(epsilon=1e-9), layers.Dense(3))
    before = [keras.ops.convert_to_numpy(v.value) for v in model.variables]
    np.testing.assert_allclose(find(model).spread(X), 1, rtol=1e-3)
    for v, old in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(v.value), old)
    shared = sequential(layers.Reshape((2, 2)), layers.LSTM(3))
    wanted = X.reshape(400, 2).std(axis=0, dtype=float)
    np.testing.assert_allclose(find(shared).spread(X), np.tile(wanted, 2), rtol=1e-5)


def beside(recode, n):
    """The first column recoded as n numbers, beside the others."""

    def make():
        x = layers.Input((4,))
        return keras.Model(x, layers.Dense(2)(layers.Concatenate()([layers.Reshape((n,))(recode(x[:, :1])), x[:, 1:]])))

    return make


RECODED = {
    "one-hot": (beside(lambda c: layers.CategoryEncoding(32, output_mode="one_hot")(c), 32), 32, "codes"),
    "one-hot by hand": (beside(lambda c: keras.ops.one_hot(keras.ops.cast(c, "int32"), 32), 32), 32, "codes"),
    "equal": (beside(lambda c: keras.ops.cast(keras.ops.equal(c, np.arange(32)), "float32"), 32), 32, "codes"),
    "embedded bins": (
        beside(lambda c: layers.Embedding(4, 3)(layers.Discretization([18.0, 30.0, 60.0])(c)), 3),
        3,
        "codes",
    ),
    "bins": (beside(lambda c: layers.Discretization([3.0, 9.0, 27.0], output_mode="one_hot")(c), 4), 4, "codes"),
    "tables not drawn yet": (beside(lambda c: layers.Embedding(32, 2, "zeros")(c), 2), 2, "codes"),
    "tails": (beside(lambda c: layers.ReLU()(keras.ops.concatenate([c - 2.5, -2.5 - c], axis=1)), 2), 2, "numbers"),
    "missing": (
        beside(
            lambda c: keras.ops.concatenate(
                [keras.ops.nan_to_num(c), keras.ops.cast(keras.ops.isnan(c), "float32")], 1
            ),
            2,
        ),
        2,
        "missing",
    ),
}


@pytest.mark.parametrize("name", RECODED)
def test_all_that_a_column_is_recoded_as(name, rng):
    make, n, kind = RECODED[name]
    X = rng.normal(size=(1000, 4))
    if kind == "codes":
        X[:, 0] = rng.permutation(1000) % 32
    elif kind == "missing":
        X[7, 0] = np.nan
    wanted = [{(0, k) for k in range(n)} | {(j, n + j - 1) for j in (1, 2, 3)}]
    model = make()
    assert pairs(find(model, X.astype("float32"))) == wanted
    if kind == "missing":
        with pytest.raises(UnsupportedModelError, match=r"without rows.*look\(X\)"):
            find(model)
    else:
        assert pairs(find(model)) == wanted


def test_what_does_not_differ_in_the_rows_is_no_columns(rng):
    X = rng.normal(size=(50, 4)).astype("float32")
    X[:, 0] = rng.integers(0, 3, size=50)
    found = find(RECODED["equal"][0](), X)
    assert pairs(found) == [{(0, 0), (0, 1), (0, 2), (1, 32), (2, 33), (3, 34)}]


def test_many_recoded_columns(rng):
    x = layers.Input((300,))
    parts = keras.ops.cast(keras.ops.equal(keras.ops.expand_dims(x, -1), np.arange(9)), "float32")
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(parts)))
    (kernel,) = find(model, rng.integers(0, 9, size=(400, 300)).astype("float32")).kernels
    np.testing.assert_array_equal(kernel.columns, kernel.inputs // 9)
    assert len(kernel.columns) == 2700


def test_the_usual_model_is_not_run(monkeypatch):
    model = sequential(layers.Normalization(), layers.Dense(3), layers.Dense(1))
    monkeypatch.setattr(keras.Sequential, "__call__", None)
    assert pairs(find(model)) == [straight(4)]


def test_many_columns(rng):
    x = layers.Input((5000,))
    model = keras.Model(x, layers.Dense(3)(layers.Concatenate()([x[:, 2000:], x[:, :2000]])))
    (kernel,) = find(model).kernels
    np.testing.assert_array_equal(kernel.inputs, (kernel.columns + 3000) % 5000)


def test_a_few_rows_at_a_time(monkeypatch):
    from skexplain.keras import _input_weights

    monkeypatch.setattr(_input_weights, "AT_ONCE", 8)
    for name in ("skipping", "codes and numbers"):
        make, wanted = MODELS[name]
        assert pairs(find(make())) == wanted


class Own(keras.layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 2))

    def call(self, x):
        return x @ self.w


REFUSED = {
    "mixed by a normalisation": (
        lambda: sequential(layers.LayerNormalization(), layers.Dense(3)),
        "Columns are mixed.*Dense.*permutation",
    ),
    "pooled": (lambda: sequential(layers.GlobalAveragePooling1D(), layers.Dense(3), features=(4, 2)), "are mixed"),
    "softmax": (lambda: sequential(layers.Softmax(), layers.Dense(3)), "are mixed"),
    "no weights": (lambda: sequential(layers.Activation("tanh")), "no layer with weights.*permutation"),
    "layer of one's own": (lambda: sequential(Own(), layers.Dense(3)), "'own.*of whose weights it is not known"),
    "grouped": (lambda: sequential(layers.DepthwiseConv1D(2), layers.Dense(3), features=(4, 2)), "not known"),
    "stacked cells": (
        lambda: sequential(layers.RNN([layers.GRUCell(2), layers.GRUCell(2)]), features=(4, 2)),
        "not known",
    ),
    "not built": (lambda: keras.Sequential([layers.Dense(2)]), "no weights yet"),
    "any number of steps": (lambda: sequential(layers.LSTM(2), features=(None, 2)), "pass X"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    make, message = REFUSED[name]
    with pytest.raises(UnsupportedModelError, match=message):
        find(make())


def test_two_inputs_are_refused():
    a, b = layers.Input((2,)), layers.Input((2,))
    with pytest.raises(UnsupportedModelError, match="2 inputs"):
        find(keras.Model([a, b], layers.Dense(1)(layers.Concatenate()([a, b]))))


def test_a_number_of_steps_that_rows_tell(rng):
    model = sequential(layers.LSTM(2), features=(None, 3))
    assert pairs(find(model, rng.normal(size=(3, 2, 3)).astype("float32"))) == [STEPS]


def test_a_layer_with_a_call_of_its_own_is_looked_at():
    model = sequential(layers.Dropout(0.1), layers.Dense(3))
    with calling(model.layers[0], lambda x, training=None: keras.ops.flip(x, axis=1)):
        assert pairs(find(model)) == [{(0, 3), (1, 2), (2, 1), (3, 0)}]
