"""Attention strategies on weights that are made up: the formulas, and which key is which column."""

import numpy as np
import pytest

import skexplain
from skexplain._dense_network import DenseNetwork
from skexplain._head import Head
from skexplain._network import Attentions, Network, attention_rows
from skexplain.attributions import ATTRIBUTIONS, Attention, AttentionRollout, GradientXAttention

RNG = np.random.default_rng(0)
NAMES = ["attention", "attention_rollout", "gradient_x_attention"]


def softmaxed(*shape):
    A = RNG.random(shape)
    return A / A.sum(axis=-1, keepdims=True)


class Looked(Network):
    """Gives the same attention for all rows."""

    head = Head("linear", 1)

    def __init__(self, weights, gradients=None):
        self.weights, self.gradients, self.asked = weights, gradients, []

    def raw(self, X):
        return np.zeros((len(X), 1))

    def gradient(self, X, target):
        raise AssertionError

    def attentions(self, X, target=None):
        self.asked.append((len(X), target is not None))
        every = [np.repeat(A[None], len(X), axis=0) for A in self.weights]
        return Attentions(every, None if target is None else [np.repeat(G[None], len(X), 0) for G in self.gradients])


def of(strategy, network, *features, n=2):
    X = np.zeros((n, *features))
    values = strategy.attribute(network, X, X, np.zeros(n, int), None)
    assert values.shape == X.shape
    assert (values == values[:1]).all()
    return values[0]


TWO = [softmaxed(2, 4, 4), softmaxed(2, 4, 4)]
SLOPES = [RNG.normal(size=(2, 4, 4)), RNG.normal(size=(2, 4, 4))]


class TestAttention:
    def test_classification_tokens_row_over_heads_and_layers(self):
        expected = np.mean([A[h, 0, 1:] for A in TWO for h in range(2)], axis=0)
        np.testing.assert_allclose(of(Attention(), Looked(TWO), 3), expected)

    @pytest.mark.parametrize("layer", [0, 1, -1, -2])
    def test_one_layer(self, layer):
        np.testing.assert_allclose(
            of(Attention(layer=layer), Looked(TWO), 3), TWO[layer].mean(axis=0)[0, 1:], rtol=1e-12
        )

    def test_heads(self):
        A = TWO[0]
        np.testing.assert_allclose(of(Attention(layer=0, head=1), Looked(TWO), 3), A[1, 0, 1:])
        np.testing.assert_allclose(of(Attention(layer=0, head="max"), Looked(TWO), 3), A[:, 0, 1:].max(axis=0))

    def test_queries(self):
        A = TWO[0].mean(axis=0)
        np.testing.assert_allclose(of(Attention(layer=0, query="mean"), Looked(TWO), 4), A.mean(axis=0))
        np.testing.assert_allclose(of(Attention(layer=0, query=-2), Looked(TWO), 4), A[2])

    def test_classification_token_behind_the_others(self):
        got = of(Attention(layer=0, cls=-1), Looked(TWO), 3)
        np.testing.assert_allclose(got, TWO[0].mean(axis=0)[3, :3])

    def test_only_one_looks(self):
        """At the classification token too, or to pool the tokens."""
        A = softmaxed(2, 1, 4)
        np.testing.assert_allclose(of(Attention(), Looked([A]), 3), A.mean(axis=0)[0, 1:])
        np.testing.assert_allclose(of(Attention(query="mean"), Looked([A]), 4), A.mean(axis=0)[0])

    def test_steps_share_with_their_features(self):
        steps = of(Attention(), Looked(TWO), 3)
        np.testing.assert_allclose(of(Attention(), Looked(TWO), 3, 5), np.repeat(steps[:, None] / 5, 5, axis=1))

    def test_no_classification_token(self):
        with pytest.raises(
            skexplain.UnsupportedModelError,
            match=r"4 queries and 4 keys, for rows of 4 tokens, has none. Set query='mean'",
        ):
            of(Attention(), Looked(TWO), 4)
        with pytest.raises(skexplain.UnsupportedModelError, match="3 queries and 5 keys"):
            of(Attention(), Looked([softmaxed(1, 3, 5)]), 4)

    def test_layers_of_other_widths_have_no_mean(self):
        net = Looked([softmaxed(1, 4, 4), softmaxed(1, 4, 3)])
        with pytest.raises(skexplain.UnsupportedModelError, match=r"have \[4, 3\] keys, which have no mean. Set layer"):
            of(Attention(query="mean"), net, 3)
        of(Attention(query="mean", layer=1), net, 3)

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"layer": 2}, r'layer=2 must be "mean" or a place among the 2 attentions of the network: -2 to 1'),
            ({"layer": "last"}, "layer='last' must be"),
            ({"head": 2}, r'head=2 must be "mean" or "max" or a place among the 2 heads of an attention'),
            ({"query": 4}, r'query=4 must be "cls" or "mean" or a place among the 4 queries'),
            ({"query": True}, "query=True must be"),
            ({"cls": 4}, r"cls=4 must be a place among the 4 keys of an attention: -4 to 3"),
        ],
    )
    def test_what_does_not_exist(self, params, message):
        with pytest.raises(ValueError, match=message):
            of(Attention(**params), Looked(TWO), 3)


class TestRollout:
    def test_product_of_the_layers(self):
        first, second = ((A.mean(axis=0) + np.eye(4)) / 2 for A in TWO)
        R = second @ first
        np.testing.assert_allclose(R.sum(axis=1), 1)
        np.testing.assert_allclose(of(AttentionRollout(), Looked(TWO), 3), R[0, 1:])
        np.testing.assert_allclose(of(AttentionRollout(query="mean"), Looked(TWO), 4), R.mean(axis=0))

    def test_nobody_looks_elsewhere(self):
        still = [np.eye(4)[None]] * 3
        np.testing.assert_array_equal(of(AttentionRollout(), Looked(still), 3), [0, 0, 0])
        np.testing.assert_array_equal(of(AttentionRollout(query=2), Looked(still), 4), [0, 0, 1, 0])

    def test_last_layer_for_the_classification_token_only(self):
        first, last = softmaxed(2, 4, 4), softmaxed(2, 1, 4)
        whole = np.concatenate([last, softmaxed(2, 3, 4)], axis=1)
        expected = of(AttentionRollout(), Looked([first, whole]), 3)
        np.testing.assert_allclose(of(AttentionRollout(), Looked([first, last]), 3), expected)

    def test_last_layer_pools(self):
        first, last = softmaxed(2, 4, 4), softmaxed(2, 1, 4)
        expected = last.mean(axis=0)[0] @ ((first.mean(axis=0) + np.eye(4)) / 2)
        np.testing.assert_allclose(of(AttentionRollout(query="mean"), Looked([first, last]), 4), expected)

    def test_layers_that_do_not_follow_each_other(self):
        with pytest.raises(
            skexplain.UnsupportedModelError, match="one with 4 keys comes after one that gives 3 tokens"
        ):
            of(AttentionRollout(query="mean"), Looked([softmaxed(1, 3, 4), softmaxed(1, 4, 4)]), 4)


class TestGradientXAttention:
    def test_positive_part_of_the_product(self):
        H = [A * np.maximum(G, 0) for A, G in zip(TWO, SLOPES, strict=True)]
        expected = np.mean(H, axis=(0, 1, 2))
        np.testing.assert_allclose(of(GradientXAttention(), Looked(TWO, SLOPES), 4), expected)
        np.testing.assert_allclose(of(GradientXAttention(), Looked(TWO, SLOPES), 3), expected[1:])
        np.testing.assert_allclose(
            of(GradientXAttention(layer=1), Looked(TWO, SLOPES), 4), H[1].mean(axis=(0, 1)), rtol=1e-12
        )

    def test_signed(self):
        assert not GradientXAttention().signed
        assert GradientXAttention(relu=False).signed
        expected = np.mean([A * G for A, G in zip(TWO, SLOPES, strict=True)], axis=(0, 1, 2))
        np.testing.assert_allclose(of(GradientXAttention(relu=False), Looked(TWO, SLOPES), 4), expected)


@pytest.mark.parametrize("name", NAMES)
class TestEach:
    def test_keys_that_are_not_the_columns(self, name):
        with pytest.raises(
            skexplain.UnsupportedModelError, match=r"has 4 keys, but a row has 6 tokens .* have to be 6, or 7 with"
        ):
            of(ATTRIBUTIONS[name](), Looked(TWO, SLOPES), 6)

    def test_rows_without_tokens(self, name):
        with pytest.raises(skexplain.UnsupportedModelError, match=r"Rows of shape \(2, 2, 1\) have neither"):
            of(ATTRIBUTIONS[name](), Looked(TWO, SLOPES), 2, 2, 1)

    def test_network_without_attention(self, name):
        net = DenseNetwork([np.ones((3, 1))], [np.zeros(1)], "tanh", Head("linear", 1))
        with pytest.raises(skexplain.UnsupportedModelError, match=r"none is seen in this network\. Recognised are"):
            of(ATTRIBUTIONS[name](), net, 3)

    def test_all_rows_a_few_at_a_time(self, name):
        n = attention_rows(np.zeros((1, 3))) + 5
        network = Looked(TWO, SLOPES)
        of(ATTRIBUTIONS[name](), network, 3, n=n)
        assert network.asked == [(n - 5, "gradient" in name), (5, "gradient" in name)]

    def test_says_what_it_is(self, name):
        text = ATTRIBUTIONS[name].__doc__
        for section in ("Parameters", "Raises", "Notes", "References", "Examples", "Cost:"):
            assert section in text


def test_declared():
    assert [name for name, a in ATTRIBUTIONS.items() if a.needs_attention] == NAMES


def test_memory_does_not_grow_with_the_width():
    for width in (4, 64, 1000, 10_000):
        assert attention_rows(np.zeros((1, width))) * width**2 <= max(2**18, width**2)
