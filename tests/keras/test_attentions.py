"""The attention of Keras models beside what their layers give on request."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import skexplain
from skexplain.attributions import Attention, AttentionRollout
from skexplain.keras import KerasClassifier
from skexplain.keras._network import keras_network

from .conftest import BACKEND

pytestmark = pytest.mark.xdist_group("keras attention")
X = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
TARGET = np.arange(7) % 3


def asked(layer, *inputs, **options):
    """A layer's output, and what it gives of its attention; an attention without heads has one."""
    out, A = layer(*inputs, return_attention_scores=True, **options)
    A = np.asarray(ops.convert_to_numpy(ops.stop_gradient(A)))
    return out, A if A.ndim == 4 else A[:, None]


class Every:
    """A model of every kind of attention, one of them in a model of its own, and each attention by hand."""

    def __init__(self):
        keras.utils.set_random_seed(0)
        self.tokens = layers.Dense(4)
        self.many = layers.MultiHeadAttention(2, 3, dropout=0.3)
        self.grouped = layers.GroupQueryAttention(3, 4, 2)
        self.plain, self.additive = layers.Attention(use_scale=True, dropout=0.2), layers.AdditiveAttention()
        h = keras.Input((5, 4))
        self.inner = keras.Model(h, self.grouped(h, h, use_causal_mask=True))
        x = keras.Input((5,))
        h = self.tokens(layers.Reshape((5, 1))(x))
        h = self.inner(self.many(query=h, value=h))
        h = self.additive([self.plain([h, h]), h])
        self.model = keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(h)))

    def attentions(self, rows):
        h = self.tokens(ops.convert_to_tensor(rows[..., None]))
        h, first = asked(self.many, h, h)
        h, second = asked(self.grouped, h, h, use_causal_mask=True)
        out, third = asked(self.plain, [h, h])
        _, fourth = asked(self.additive, [out, h])
        return [first, second, third, fourth]


@pytest.fixture(scope="module")
def every():
    return Every()


def test_weights_are_the_layers_own(every):
    expected = every.attentions(X)
    network = keras_network(every.model, X)
    for target in (None, TARGET):
        found = network.attentions(X, target)
        assert [A.shape for A in found.weights] == [(7, h, 5, 5) for h in (2, 4, 1, 1)]
        for got, theirs in zip(found.weights, expected, strict=True):
            assert got.dtype == np.float64
            np.testing.assert_allclose(got, theirs, atol=1e-6)
    for G, A in zip(found.gradients, found.weights, strict=True):
        assert G.shape == A.shape
        assert np.abs(G).max() > 0


class Pools(keras.Model):
    """A subclass, in which an attention is asked for its weights and what it gives is used again."""

    def __init__(self, **options):
        super().__init__()
        keras.utils.set_random_seed(0)
        self.tokens, self.look = layers.Dense(4), layers.MultiHeadAttention(2, 3, **options)
        self.out = layers.Dense(2)

    def mixed(self, h, A):
        """What the attention computes from its weights."""
        v = ops.einsum("nkhd,nhqk->nqhd", self.look._value_dense(h), A)
        return self.look._output_dense(v)

    def ending(self, h):
        return self.out(ops.tanh(h[:, 0]))

    def call(self, x):
        h = self.tokens(ops.expand_dims(x, -1))
        out, _ = self.look(h, h, return_attention_scores=True)
        return self.ending(out)


def test_gradient_is_the_slope_of_the_output():
    """Differences, with the attention's values put in by hand."""
    model = Pools()
    network = keras_network(model, X)
    found = network.attentions(X, TARGET % 2)
    A, G = found.weights[0], found.gradients[0]
    h = model.tokens(ops.convert_to_tensor(X[..., None]))

    def output(weights):
        z = model.ending(model.mixed(h, ops.convert_to_tensor(weights.astype(np.float32))))
        z = np.asarray(ops.convert_to_numpy(ops.stop_gradient(z)), dtype=float)
        margins = z - z[:, ::-1]
        return margins[np.arange(7), TARGET % 2]

    np.testing.assert_allclose(output(A), network.predict(X)[np.arange(7), TARGET % 2], atol=1e-5)
    assert not G[:, :, 1:].any()  # only the first query is read
    for head, key in ((0, 0), (1, 3)):
        step = np.zeros_like(A)
        step[:, head, 0, key] = 1e-2
        slope = (output(A + step) - output(A - step)) / 2e-2
        np.testing.assert_allclose(G[:, head, 0, key], slope, atol=2e-3 * np.abs(G).max())


def test_masks_reach_the_attention():
    """Padding is looked at by none, also where gradients need other tensors than the masked ones."""
    codes = np.random.default_rng(0).integers(1, 9, size=(7, 5))
    codes[:, 3:] = 0
    x = keras.Input((5,))
    h = layers.Embedding(9, 4, mask_zero=True)(x)
    h = layers.MultiHeadAttention(2, 3)(h, h)
    model = keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(h)))
    model.trainable = False
    network = keras_network(model, codes)
    plain, found = network.attentions(codes), network.attentions(codes, TARGET)
    (A,), (G,) = found
    np.testing.assert_allclose(A, plain.weights[0], atol=1e-6)
    np.testing.assert_allclose(A[:, :, :3, :3].sum(axis=-1), 1, atol=1e-6)
    assert A[:, :, :3, 3:].max() < 1e-6
    assert G[:, :, :3].any()
    assert not G[:, :, 3:].any()  # nor does the mean behind it count what padding looks at


def test_all_rows(every):
    rows = np.random.default_rng(1).normal(size=(300, 5)).astype(np.float32)  # more than are run at once
    network = keras_network(every.model, X)
    A = network.attentions(rows, np.zeros(300, int))
    for got, theirs in zip(A.weights, every.attentions(rows), strict=True):
        np.testing.assert_allclose(got, theirs, atol=1e-6)
    some = network.attentions(rows[290:], np.zeros(10, int))
    np.testing.assert_allclose(A.gradients[1][290:], some.gradients[1], atol=1e-6)


def tokens_net(meta):
    """A step of three features a token; the mean over the steps at the end."""
    x = keras.Input(meta["X_shape_"][1:])
    h = layers.Dense(8)(x)
    h = layers.Add()([h, layers.MultiHeadAttention(2, 4)(h, h)])
    h = layers.Dense(8, "relu")(h)
    return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(h)))


def test_deciding_step_ranks_first():
    """One step is marked by its first feature, and its second decides; the rest is noise."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=300)
    rows = 0.1 * rng.normal(size=(300, 4, 3))
    rows[:, 2, 0] += 3
    rows[:, 2, 1] += 3 * (2 * y - 1)
    flat = rows.reshape(300, 12).astype(np.float32)
    net = KerasClassifier(
        tokens_net, input_shape=(4, 3), epochs=15, optimizer="adam", optimizer__learning_rate=0.02, random_state=0
    ).fit(flat, y)
    assert net.score(flat, y) > 0.95
    steps = {f"step {k}": columns for k, columns in enumerate(np.arange(12).reshape(4, 3))}
    for strategy in (Attention(query="mean"), AttentionRollout(query="mean"), "gradient_x_attention", "permutation"):
        found = net.importances(flat[:100], y[:100], attribution=strategy, groups=steps, random_state=0)
        assert found.names[found.ranking[0]] == "step 2"
    values = net.explain(flat[:5], attribution="gradient_x_attention").values.reshape(5, 4, 3)
    np.testing.assert_allclose(values, np.repeat(values[..., :1], 3, axis=2))
    with pytest.raises(skexplain.UnsupportedModelError, match="Set query='mean'"):
        net.importances(flat, attribution="attention")


class OwnCall(layers.MultiHeadAttention):
    def call(self, query, value, key=None):
        return super().call(query, value, key)


def test_refused():
    dense = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
    with pytest.raises(skexplain.UnsupportedModelError, match=r"none is seen.*in Keras the layers MultiHead"):
        keras_network(dense, X).attentions(X)
    x = keras.Input((5, 1))
    model = keras.Model(x, layers.Flatten()(OwnCall(1, 2, name="mine")(x, x)))
    with pytest.raises(skexplain.UnsupportedModelError, match="Layer 'mine' is a OwnCall, whose `call` has no"):
        keras_network(model, X[..., None], regression=True).attentions(X[..., None])
    x = keras.Input((5, 2, 3))
    model = keras.Model(x, layers.Flatten()(layers.MultiHeadAttention(1, 2, attention_axes=(1,))(x, x)))
    rows = np.zeros((7, 5, 2, 3), np.float32)
    with pytest.raises(skexplain.UnsupportedModelError, match="which are not those of rows, heads, queries and keys"):
        keras_network(model, rows, regression=True).attentions(rows)


class Breaks(layers.Layer):
    """Stops whatever is run while it is armed."""

    armed = False

    def call(self, x):
        if self.armed:
            raise ArithmeticError
        return x


@pytest.mark.parametrize("breaks", [False, True])
def test_no_trace(breaks):
    x = keras.Input((5,))
    h = layers.Dense(4)(layers.Reshape((5, 1))(x))
    look, group, stop = layers.MultiHeadAttention(2, 3), layers.GroupQueryAttention(3, 4, 2), Breaks()
    model = keras.Model(x, layers.Dense(3)(layers.Flatten()(stop(group(look(h, h), h)))))
    network = keras_network(model, X)
    look._flash_attention = True  # which gives no weights
    before = [dict(vars(layer)) for layer in (look, group)], [np.array(w) for w in model.get_weights()]
    stop.armed = breaks
    for target in (None, TARGET):
        try:
            network.attentions(X, target)
        except ArithmeticError:
            assert breaks
    stop.armed = False
    after = [dict(vars(layer)) for layer in (look, group)]
    for then, now in zip(before[0], after, strict=True):
        assert now.keys() == then.keys()
        assert all(now[name] is then[name] or now[name] == then[name] for name in now)
    for then, now in zip(before[1], model.get_weights(), strict=True):
        np.testing.assert_array_equal(now, then)
    if BACKEND == "torch":
        assert all(p.grad is None and p.requires_grad for p in model.parameters())
