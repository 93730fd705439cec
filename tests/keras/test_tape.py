"""Backward rules on Keras models: right, the same for every spelling, refused by name, and without a trace."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from skexplain._dense_network import DenseNetwork
from skexplain._wrap import as_network
from skexplain.attributions import LRP, DeepLIFT, DeepSHAP
from skexplain.exceptions import UnsupportedLayerError

from .conftest import BACKEND

D = 12
RNG = np.random.default_rng(0)
X, B = (RNG.normal(size=(n, D)).astype(np.float32) for n in (20, 4))
TARGET = np.arange(20) % 3

on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="what TensorFlow has")


class Own(layers.Layer):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


def net(*parts):
    """A model that ends in three logits, with weights that are all different from 0."""
    model = keras.Sequential([layers.Input((D,)), *parts, layers.Flatten(), layers.Dense(3)])
    return learned(model)


def learned(model):
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.2, 0.8, w.shape) * rng.choice([-1, 1], w.shape) for w in model.get_weights()])
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_variance.assign(np.abs(layer.moving_variance))
    return model


def image(*parts):
    return net(layers.Reshape((3, 2, 2)), *parts)


def sequence(*parts):
    return net(layers.Reshape((3, 4)), *parts)


def attribute(strategy, model, target=TARGET, output="logit"):
    network = as_network(model, X, output=output)
    return strategy.attribute(network, X, B, target, np.random.default_rng(0)).values


def attention():
    x = layers.Input((D,))
    h = layers.Reshape((3, 4))(x)
    h = layers.LayerNormalization()(h + layers.MultiHeadAttention(2, 2)(h, h, use_causal_mask=True))
    return learned(keras.Model(x, layers.Dense(3)(layers.Flatten()(h))))


def codes(x):
    """Whole numbers from 0 to 3."""
    return ops.cast(ops.clip(ops.abs(2 * x), 0, 3), "int32")


NETS = {
    "activations": lambda: net(*(layers.Dense(6, a) for a in ("gelu", "silu", "mish", "elu", "softplus", "hard_silu"))),
    "convolution": lambda: image(layers.Conv2D(4, (3, 2), strides=2, padding="same", activation="relu")),
    "dilated": lambda: sequence(layers.Conv1D(4, 2, dilation_rate=2, padding="causal", activation="relu")),
    "transposed": lambda: image(layers.Conv2DTranspose(4, 2, activation="relu")),
    "separable": lambda: image(layers.SeparableConv2D(4, 2, activation="relu"), layers.DepthwiseConv2D((2, 1))),
    "max pool": lambda: image(layers.MaxPooling2D((3, 2), strides=(2, 1), padding="same")),
    "largest": lambda: sequence(layers.GlobalMaxPooling1D()),
    "average pool": lambda: image(layers.AveragePooling2D(2, strides=1, padding="same")),
    "normalisations": lambda: image(
        layers.LayerNormalization(axis=(1, 2, 3)), layers.GroupNormalization(2), layers.UnitNormalization()
    ),
    "batch normalisation": lambda: image(layers.Conv2D(4, 2), layers.BatchNormalization(), layers.ReLU()),
    "simple": lambda: sequence(layers.Bidirectional(layers.SimpleRNN(3))),
    "lstm": lambda: sequence(layers.LSTM(3)),
    "gru": lambda: sequence(layers.GRU(3, return_sequences=True, reset_after=False)),
    "attention": attention,
    "einsum": lambda: sequence(layers.EinsumDense("abc,cde->abde", (3, 2, 3), bias_axes="de", activation="relu")),
    "products": lambda: net(Own(lambda x: x[:, :4] * x[:, 4:8] / (1 + ops.square(x[:, 8:])))),
    "maximum": lambda: net(Own(lambda x: ops.maximum(x[:, :6], x[:, 6:]) + ops.min(x, axis=1, keepdims=True))),
    "softmax": lambda: sequence(Own(lambda x: ops.softmax(x, axis=1) * ops.log_softmax(x))),
    "branches": lambda: net(Own(lambda x: ops.where(x[:, :6] > x[:, 6:], x[:, :6], ops.exp(x[:, :6])))),
    "steps": lambda: net(Own(lambda x: ops.sign(x) * x + ops.round(x))),
    "embedding": lambda: net(Own(codes), layers.Embedding(4, 3)),
    "one-hot": lambda: net(Own(lambda x: ops.one_hot(codes(x), 4))),
    "scale": lambda: net(layers.Rescaling(0.5, 1), layers.Dense(4), Own(lambda h: 2 - 3 * h), layers.ReLU()),
}


@pytest.mark.parametrize("name", NETS)
def test_deeplift_adds_up(name):
    network = as_network(NETS[name](), X)
    got = DeepLIFT().attribute(network, X, B, TARGET, None)
    assert got.gap < 1e-5
    f = network.predict(X) - network.predict(B.mean(axis=0, keepdims=True))
    delta = f[np.arange(20), TARGET]
    np.testing.assert_allclose(got.values.sum(axis=1), delta, atol=1e-5 * np.abs(delta).max())


@pytest.mark.parametrize("name", ["attention", "lstm", "normalisations"])
def test_relevance_is_finite(name):
    assert np.isfinite(attribute(LRP(rule="gamma"), NETS[name]())).all()


RULES = [DeepLIFT(), DeepSHAP(), *(LRP(rule=r) for r in ("epsilon", "gamma", "alpha_beta", "z_plus", "z_box", "flat"))]


@pytest.mark.parametrize("strategy", RULES, ids=str)
def test_agrees_with_the_numpy_network(strategy):
    model = net(layers.Dense(7, "tanh"), layers.Dense(5, "tanh"))
    weights = [w.astype(np.float64) for w in model.get_weights()]
    network = as_network(model, X, output="margin")
    dense = DenseNetwork(weights[::2], weights[1::2], "tanh", network.head)
    got, expected = (strategy.attribute(v, X, B, TARGET, None).values for v in (network, dense))
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


def test_probabilities_add_up_too():
    model = keras.Sequential([layers.Input((D,)), layers.Dense(5, "relu"), layers.Dense(3, "softmax")])
    got = attribute(DeepLIFT(), model, output="probability")
    p = ops.convert_to_numpy(ops.stop_gradient(model(np.concatenate([X, B.mean(axis=0, keepdims=True)]))))
    np.testing.assert_allclose(got.sum(axis=1), (p[:-1] - p[-1])[np.arange(20), TARGET], atol=1e-5)


def by_hand(h, gamma, beta):
    """Layer normalisation."""
    h = h - ops.mean(h, axis=-1, keepdims=True)
    h = h * ops.rsqrt(ops.mean(h * h, axis=-1, keepdims=True) + 1e-3)
    return h * ops.convert_to_tensor(gamma) + ops.convert_to_tensor(beta)


def times(x, weight, bias):
    """A dense layer."""
    return ops.matmul(x, ops.convert_to_tensor(weight)) + ops.convert_to_tensor(bias)


WEIGHTS = [RNG.normal(size=shape).astype(np.float32) for shape in ((4, 5), (5,), (5,), (5,))]
#: Spellings of the same network, with the weights above in the order of its layers.
TWINS = {
    "dense on several dimensions": (
        lambda: sequence(layers.Dense(5, "relu")),
        lambda: sequence(layers.TimeDistributed(layers.Dense(5, "relu"))),
        lambda: sequence(layers.EinsumDense("btc,cd->btd", (3, 5), bias_axes="d", activation="relu")),
        lambda: sequence(Own(lambda x: ops.relu(times(x, *WEIGHTS[:2])))),
        lambda: sequence(layers.Conv1D(5, 1, activation="relu")),
    ),
    "layer normalisation": (
        lambda: sequence(layers.Dense(5), layers.LayerNormalization()),
        lambda: sequence(layers.Dense(5), Own(lambda h: by_hand(h, *WEIGHTS[2:]))),
    ),
    "gelu": (
        lambda: sequence(layers.Dense(5, "gelu")),
        lambda: sequence(layers.Dense(5), Own(lambda h: 0.5 * h * (1 + ops.erf(h / 2**0.5)))),
    ),
    "silu": (
        lambda: sequence(layers.Dense(5, "silu")),
        lambda: sequence(layers.Dense(5), Own(lambda h: h * ops.sigmoid(h))),
        lambda: sequence(layers.Dense(5), Own(lambda h: h / (1 + ops.exp(-h)))),
    ),
    "max pool": (
        lambda: sequence(layers.Dense(5), layers.MaxPooling1D(3)),
        lambda: sequence(layers.Dense(5), Own(lambda h: ops.max(h, axis=1))),
        lambda: sequence(layers.Dense(5), Own(lambda h: -ops.min(ops.stack([-h[:, k] for k in range(3)], 1), 1))),
    ),
}


@pytest.mark.parametrize("strategy", [DeepLIFT(), LRP(rule="gamma")], ids=str)
@pytest.mark.parametrize("name", TWINS)
def test_spellings_agree(strategy, name):
    if BACKEND == "torch" and name.startswith("dense") and isinstance(strategy, LRP):
        pytest.skip("Keras adds the bias behind a reshape, and only the tape of TensorFlow brings the two together")
    found = []
    for build in TWINS[name]:
        model = build()
        for layer in model.layers[:-1]:
            if isinstance(layer, layers.LayerNormalization):
                layer.set_weights(WEIGHTS[2:])
            elif layer.weights:
                layer.set_weights([np.reshape(w, v.shape) for w, v in zip(WEIGHTS, layer.get_weights(), strict=False)])
        model.layers[-1].set_weights([np.random.default_rng(2).normal(size=v.shape) for v in model.layers[-1].weights])
        found.append(attribute(strategy, model))
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-4 * np.abs(found[0]).max())


def test_the_bias_of_an_lstm_belongs_to_its_weights():
    """At a single step there is no state, and each gate is a dense layer."""
    lstm = layers.LSTM(2, use_bias=True)
    model = net(layers.Reshape((1, D)), lstm)
    W, _, b = lstm.get_weights()
    i, _, c, o = (slice(2 * k, 2 * k + 2) for k in range(4))

    def step(x):
        z = [times(x, W[:, k], b[k]) for k in (i, c, o)]
        return ops.sigmoid(z[2]) * ops.tanh(ops.sigmoid(z[0]) * ops.tanh(z[1]))

    other = net(Own(step))
    other.layers[-1].set_weights(model.layers[-1].get_weights())
    got, expected = attribute(LRP(rule="gamma"), model), attribute(LRP(rule="gamma"), other)
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


@on_tensorflow
def test_functions_are_looked_into():
    import tensorflow as tf

    inner = tf.function(lambda h: tf.nn.relu(h) + tf.nn.softplus(h))
    found = [attribute(DeepLIFT(), net(layers.Dense(4), Own(f))) for f in (inner, inner.python_function)]
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)


REFUSED = {
    "Cumprod": lambda x: ops.cumprod(x, axis=1),
    "TopKV2": lambda x: ops.sort(x, axis=1),
    "StatelessWhile": lambda x: ops.fori_loop(0, 3, lambda i, h: 1.1 * h, x),
    "StatelessIf": lambda x: ops.cond(ops.mean(x) > 0, lambda: x, lambda: -x),
    "GatherV2": lambda x: ops.take_along_axis(x, codes(x), axis=1),
}


def additive(h):
    """Attention whose mask is added, as the first transformers were written."""
    pad = ops.cast(ops.all(ops.equal(h, 0), axis=-1), "float32")[:, None]
    scores = ops.matmul(h, ops.swapaxes(h, 1, 2)) - 1e9 * pad
    return ops.matmul(ops.softmax(scores), h) * ops.swapaxes(1 - pad, 1, 2)


MASKED = {
    "multi-head": lambda: layers.MultiHeadAttention(2, 3),
    "dropping out": lambda: layers.MultiHeadAttention(2, 3, dropout=0.1),
    "attention": layers.Attention,
    "added": lambda: Own(additive),
}


def padded(name, length, dtype="float32", codes=False):
    """Attention over a sequence whose last steps may be zeros; the same weights for every length."""
    keras.config.set_dtype_policy(dtype)
    try:
        x = layers.Input((length,) if codes else (length, 4), dtype=dtype)
        h = layers.Embedding(9, 4, mask_zero=True)(x) if codes else layers.Masking()(x)
        attend = MASKED[name]()
        attend.supports_masking = True
        h = attend(h) if name == "added" else attend([h, h]) if name == "attention" else attend(h, h)
        return learned(keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(h))))
    finally:
        keras.config.set_dtype_policy("float32")


STEPS = RNG.normal(size=(20, 6, 4)) * (np.arange(6)[:, None] < 6 - np.arange(20)[:, None, None] % 4)


@on_tensorflow
@pytest.mark.parametrize("name", MASKED)
def test_masks_that_differ_from_the_references(name):
    found = []
    for dtype in ("float32", "float64") if name != "added" else ("float32",):
        network = as_network(padded(name, 6, dtype), STEPS, output="logit")
        got = DeepSHAP().attribute(network, STEPS, STEPS[:4], TARGET, None)
        assert got.gap < 1e-3
        found.append(got.values)
        relevance = LRP().attribute(network, STEPS, STEPS[:4], TARGET, None).values
        assert np.abs(relevance).max() < 100
        found.append(relevance)
    for single, double in zip(found[:2], found[2:], strict=False):
        np.testing.assert_allclose(single, double, atol=2e-3 * np.abs(double).max())


@on_tensorflow
@pytest.mark.parametrize("name", ["multi-head", "attention", "added"])
def test_padding_is_as_if_it_were_not_there(name):
    """Where the reference is padded like the row."""
    X, r = np.pad(STEPS[::4, :4], ((0, 0), (0, 2), (0, 0))), np.pad(STEPS[1:2, :4], ((0, 0), (0, 2), (0, 0)))
    for strategy in (DeepSHAP(), LRP(rule="epsilon")):
        got, expected = (
            strategy.attribute(as_network(padded(name, n), v, output="logit"), v, b, TARGET[:5], None).values
            for n, v, b in ((6, X, r), (4, X[:, :4], r[:, :4]))
        )
        assert np.abs(got[:, 4:]).max() < 1e-5
        np.testing.assert_allclose(got[:, :4], expected, atol=1e-4 * np.abs(expected).max())


@on_tensorflow
def test_masks_of_codes():
    X = np.where(STEPS[..., 0] != 0, RNG.integers(1, 9, (20, 6)), 0)
    network = as_network(padded("multi-head", 6, codes=True), X, output="logit")
    for strategy in (DeepLIFT(baseline=X[2:3]), DeepSHAP()):
        assert strategy.attribute(network, X, X[:4], TARGET, None).gap < 1e-3
    assert np.abs(LRP().attribute(network, X, X[:4], TARGET, None).values).max() < 100


@on_tensorflow
def test_a_condition_takes_no_relevance():
    bodies = (
        lambda x: ops.where(x[:, :4] > 0, 2 * x[:, 4:8], -1000.0),
        lambda x: ops.where(x[:, :4] <= 0, -1000.0, 2 * x[:, 4:8]),
    )
    first, other = (attribute(LRP(rule="epsilon"), net(Own(body))) for body in bodies)
    assert not first[:, :4].any()
    np.testing.assert_allclose(other, first, rtol=1e-5, atol=1e-5)


def snapshot(model):
    """What could be left behind."""
    every = model._flatten_layers()
    return [
        *((sorted(vars(layer)), getattr(layer, "unroll", None), vars(layer).get("call")) for layer in every),
        *(w.tobytes() for w in model.get_weights()),
    ]


@on_tensorflow
@pytest.mark.parametrize("operation", REFUSED)
def test_what_no_rule_knows_is_refused_by_name(operation):
    network = as_network(net(layers.Reshape((3, 4)), layers.SimpleRNN(4), Own(REFUSED[operation])), X)
    before = snapshot(network.model)
    for strategy in (DeepLIFT(), LRP(rule="gamma")):
        with pytest.raises(UnsupportedLayerError, match=operation) as caught:
            strategy.attribute(network, X, B, TARGET, None)
    assert "integrated_gradients" in caught.value.alternatives
    assert snapshot(network.model) == before


@pytest.mark.skipif(BACKEND != "torch", reason="operations of torch")
def test_the_refused_operation_is_named_without_what_keras_says_of_its_layers():
    network = as_network(net(layers.Dense(5), Own(lambda x: ops.top_k(x, 3)[0])), X)
    with pytest.raises(UnsupportedLayerError) as caught:
        DeepLIFT().attribute(network, X, B, TARGET, None)
    assert caught.value.layer == "the operation 'topk'"


@pytest.mark.parametrize("name", ["lstm", "attention"])
def test_leaves_no_trace(name):
    model = NETS[name]()
    network = as_network(model, X)
    before = snapshot(model)
    DeepLIFT().attribute(network, X, B, TARGET, None)
    assert snapshot(model) == before


@on_tensorflow
def test_low_precision_is_refused():
    for policy in ("mixed_float16", "mixed_bfloat16"):
        model = keras.Sequential([layers.Input((D,)), layers.Dense(3, dtype=policy)])
        with pytest.raises(UnsupportedLayerError, match="float16"):
            attribute(DeepLIFT(), model)


@on_tensorflow
def test_double_precision():
    keras.config.set_dtype_policy("float64")
    try:
        model = keras.Sequential([layers.Input((D,), dtype="float64"), layers.Dense(4, "gelu"), layers.Dense(3)])
    finally:
        keras.config.set_dtype_policy("float32")
    network = as_network(model, X)
    assert DeepLIFT().attribute(network, X, B, TARGET, None).gap < 1e-12
    assert np.isfinite(LRP(rule="gamma").attribute(network, X, B, TARGET, None).values).all()


@on_tensorflow
@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float64", "float32")])
def test_two_precisions(dtypes):
    parts = [layers.Dense(4, "gelu", dtype=dtype) for dtype in dtypes]
    network = as_network(net(*parts, layers.Dense(2, dtype="float64")), X)
    assert DeepLIFT().attribute(network, X, B, TARGET, None).gap < 1e-5
    assert np.isfinite(LRP(rule="gamma").attribute(network, X, B, TARGET, None).values).all()


@on_tensorflow
def test_rows_in_blocks_of_a_graph_that_is_traced_once(monkeypatch):
    from skexplain.keras import _tensorflow

    network = as_network(NETS["convolution"](), X)
    whole = [s.attribute(network, X, B, TARGET, None).values for s in (DeepLIFT(), LRP(rule="z_box"))]
    graphs = len(network._graphs)
    for s in (DeepLIFT(), LRP(rule="z_box", low=-9, high=9)):
        s.attribute(network, X[:7], B, TARGET[:7], None)
    assert len(network._graphs) == graphs
    monkeypatch.setattr(_tensorflow, "BLOCK", 3)
    monkeypatch.setattr(_tensorflow, "LARGE_BLOCK", 8)
    for n in (8, 5):
        for s, expected in zip((DeepLIFT(), LRP(rule="z_box")), whole, strict=True):
            got = s.attribute(network, X[:n], np.concatenate([B, X]) if "box" in str(s) else B, TARGET[:n], None)
            if "box" not in str(s):
                np.testing.assert_allclose(got.values, expected[:n], rtol=1e-4, atol=1e-6)


@on_tensorflow
def test_new_weights_are_seen():
    model = NETS["scale"]()
    network = as_network(model, X)
    before = DeepLIFT().attribute(network, X, B, TARGET, None).values
    model.layers[-1].set_weights([2 * w for w in model.layers[-1].get_weights()])
    np.testing.assert_allclose(
        DeepLIFT().attribute(network, X, B, TARGET, None).values, 2 * before, rtol=1e-4, atol=1e-6
    )
