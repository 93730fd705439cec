"""The attention of torch modules beside what the modules themselves say."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import skexplain
from skexplain.attributions import Attention
from skexplain.torch._attentions import Attended, _Attending
from skexplain.torch._network import torch_network

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 5)).astype(np.float32)
TARGET = np.arange(7) % 3


class Net(nn.Module):
    """A token a column, two attentions of two heads, written as is asked for."""

    def __init__(self, attend):
        super().__init__()
        torch.manual_seed(0)
        self.tokens = nn.Linear(1, 4)
        self.looks = nn.ModuleList(nn.MultiheadAttention(4, 2, batch_first=True, dropout=0.5) for _ in range(2))
        self.out = nn.Linear(4, 3)
        self.attend = attend
        self.open = []  # weights that an attention is to use, for differences

    def forward(self, x):
        h = self.tokens(x[..., None])
        for look in self.looks:
            h = h + self.attend(self, look, h)
        return self.out(h.mean(1).tanh())


def module(net, look, h):
    return look(h, h, h)[0]


def heads_apart(net, look, h):
    out, weights = look(h, h, h, average_attn_weights=False)
    assert weights.shape == (len(h), 2, 5, 5)
    return out


def averaged(net, look, h):
    out, weights = look(h, h, h)
    assert weights.shape == (len(h), 5, 5)
    return out


def without_weights(net, look, h):
    out, weights = look(h, h, h, need_weights=False)
    assert weights is None
    return out


def batch_second(net, look, h):
    look = copy.copy(look)
    look.batch_first = False
    z = h.transpose(0, 1)
    return look(z, z, z)[0].transpose(0, 1)


def parts(look, h):
    qkv = F.linear(h, look.in_proj_weight, look.in_proj_bias)
    return [v.unflatten(2, (2, 2)).transpose(1, 2) for v in qkv.chunk(3, 2)]


def together(look, mixed):
    return look.out_proj(mixed.transpose(1, 2).flatten(2))


def functional(net, look, h):
    return together(look, F.scaled_dot_product_attention(*parts(look, h)))


def by_hand(net, look, h):
    q, k, v = parts(look, h)
    A = F.dropout(torch.softmax(q @ k.mT / math.sqrt(2), -1), 0.5, net.training)
    net.open.append(A)
    return together(look, A.to(v.dtype) @ v)


def einsum(net, look, h):
    q, k, v = parts(look, h)
    A = (torch.einsum("nhqd, nhkd -> nhqk", q, k) / math.sqrt(2)).softmax(dim=3)
    return together(look, torch.einsum("nhkd,nhqk->nhqd", v, A))


def merged(net, look, h):
    """Rows and heads in one axis, as in the FT-Transformer's own code."""
    q, k, v = (p.flatten(0, 1) for p in parts(look, h))
    A = nn.functional.softmax(torch.bmm(q, k.transpose(1, 2)) / math.sqrt(2), dim=-1)
    return together(look, torch.bmm(A, v).unflatten(0, (len(h), 2)))


def with_bias(net, look, h):
    q, k, v = (p.flatten(0, 1) for p in parts(look, h))
    A = torch.baddbmm(torch.zeros(1, 5, 5), q, k.mT, alpha=1 / math.sqrt(2)).view(-1, 2, 5, 5).add_(1).view(-1, 5, 5)
    return together(look, torch.bmm(A.softmax(2), v).view(len(h), 2, 5, 2))


SPELLINGS = [
    *(module, heads_apart, averaged, without_weights, batch_second),
    *(functional, by_hand, einsum, merged, with_bias),
]


def own_weights():
    """What the modules say, asked one after the other."""
    net, found = Net(None).eval(), []
    with torch.no_grad():
        h = net.tokens(torch.tensor(X)[..., None])
        for look in net.looks:
            out, weights = look(h, h, h, average_attn_weights=False)
            found.append(weights.numpy())
            h = h + out
    return found


def own_gradients():
    net = Net(by_hand).eval()
    margins = net(torch.tensor(X)) @ (1.5 * torch.eye(3) - 0.5)
    picked = margins.gather(1, torch.tensor(TARGET)[:, None]).sum()
    return [g.numpy() for g in torch.autograd.grad(picked, net.open)]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("attend", SPELLINGS, ids=lambda f: f.__name__)
def test_weights_are_the_modules_own(attend, frozen):
    net = Net(attend).requires_grad_(not frozen)
    network = torch_network(net, X)
    found = network.attentions(X, TARGET)
    for got, expected in zip(found.weights, own_weights(), strict=True):
        assert got.shape == (7, 2, 5, 5)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, expected, atol=1e-6)
    for got, expected in zip(found.gradients, own_gradients(), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)
    again = network.attentions(X)
    assert again.gradients is None
    for got, expected in zip(again.weights, found.weights, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


class Codes(nn.Module):
    """No gradient comes from the rows, and the weights are frozen."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.look_up, self.net = nn.Embedding(9, 4), Net(module)
        self.requires_grad_(False)

    def forward(self, x):
        h = self.look_up(x.long())
        return self.net.out(self.net.attend(None, self.net.looks[0], h).mean(1))


def test_codes_into_frozen_weights():
    rows = RNG.integers(9, size=(7, 5))
    found = torch_network(Codes(), rows).attentions(rows, TARGET)
    assert found.weights[0].shape == (7, 2, 5, 5)
    assert np.abs(found.gradients[0]).max() > 0


@pytest.mark.parametrize("norm_first", [True, False])
def test_encoders(norm_first):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, norm_first=norm_first)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=not norm_first)
    net = nn.Sequential(nn.Unflatten(1, (5, 1)), nn.Linear(1, 4), encoder, nn.Flatten(), nn.Linear(20, 3)).eval()
    found = torch_network(net, X).attentions(X)
    h = net[:2](torch.tensor(X))
    first = encoder.layers[0]
    h = first.norm1(h) if norm_first else h
    expected = first.self_attn(h, h, h, average_attn_weights=False)[1].detach()
    np.testing.assert_allclose(found.weights[0], expected, atol=1e-6)
    assert len(found.weights) == 2


MASK = torch.tensor(RNG.random((4, 6)) < 0.6)
MASK[1] = False  # nowhere to look


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 0.3},
        {"is_causal": True},
        {"attn_mask": MASK},
        {"attn_mask": torch.randn(7, 1, 4, 6, generator=torch.Generator().manual_seed(0))},
        {"attn_mask": torch.where(MASK, 0.0, -torch.inf)},
        {"enable_gqa": True},
    ],
    ids=lambda o: " ".join(f"{k}" for k in o) or "plain",
)
def test_open_attention_is_the_fused_one(options):
    generator = torch.Generator().manual_seed(0)
    n_heads = 2 if "enable_gqa" in options else 4
    q, k, v = (
        torch.randn(7, h, n, d, generator=generator, requires_grad=True)
        for h, n, d in ((4, 4, 3), (n_heads, 6, 3), (n_heads, 6, 5))
    )
    expected = F.scaled_dot_product_attention(q, k, v, **options)
    attended = Attended()
    with _Attending(attended):
        got = F.scaled_dot_product_attention(q, k, v, **options)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad(got.sum(), (q, k, v)), torch.autograd.grad(expected.sum(), (q, k, v)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert attended.of_rows(7, None).weights[0].shape == (7, 4, 4, 6)


def test_all_rows():
    rows = RNG.normal(size=(4100, 5)).astype(np.float32)  # more than are run at once
    network = torch_network(Net(module), rows)
    every = network.attentions(rows, np.zeros(4100, int))
    for part in (slice(0, 3), slice(4094, 4098), slice(4099, 4100)):
        some = network.attentions(rows[part], np.zeros(part.stop - part.start, int))
        np.testing.assert_allclose(every.weights[1][part], some.weights[1], atol=1e-6)
        np.testing.assert_allclose(every.gradients[0][part], some.gradients[0], atol=1e-6)


def test_pooling_by_a_learned_query():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.tokens, self.query = nn.Linear(1, 4), nn.Parameter(torch.randn(1, 1, 4))
            self.look, self.out = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

        def forward(self, x):
            h = self.tokens(x[..., None])
            return self.out(self.look(self.query.expand(len(x), 1, 4), h, h)[0][:, 0])

    net = Pooled()
    A = torch_network(net, X).attentions(X).weights[0]
    assert A.shape == (7, 2, 1, 5)
    found = skexplain.explain(net, X, attribution=Attention(query="mean"))
    np.testing.assert_allclose(found.values, A[:, :, 0].mean(axis=1))


class Gated(nn.Module):
    """Attention whose weights are not those of a softmax, or not of rows."""

    def __init__(self, how):
        super().__init__()
        self.tokens, self.out, self.how = nn.Linear(1, 4), nn.Linear(4, 3), how

    def forward(self, x):
        h = self.tokens(x[..., None])
        A = torch.softmax(h @ h.transpose(1, 2), -1)
        if self.how == "gated":
            A = A * 0.5
        if self.how == "turned":
            A = A.mT
        if self.how == "windows":
            h = torch.cat([h, h], 0)
            return self.out(F.scaled_dot_product_attention(*[h[:, None]] * 3)[: len(x), 0].mean(1))
        if self.how == "heads first":
            q = torch.cat([h, 2 * h], 0)  # the heads stand in front of the rows
            return self.out((torch.softmax(q @ q.mT, -1) @ q)[: len(x)].mean(1))
        return self.out((A @ h).mean(1))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("gated", "changes its weights after the softmax"),
        ("turned", "changes its weights after the softmax"),
        ("windows", r"weights of shape \(14, 1, 5, 5\) for 7 rows, which are not those of rows"),
        ("heads first", r"weights of shape \(14, 5, 5\) for 7 rows, which are not those of rows"),
    ],
)
def test_refused(how, message):
    network = torch_network(Gated(how), X)
    with pytest.raises(skexplain.UnsupportedModelError, match=message):
        network.attentions(X)


def test_none():
    linear = nn.Sequential(nn.Linear(5, 5), nn.Softmax(-1), nn.Linear(5, 3))
    with pytest.raises(skexplain.UnsupportedModelError, match=r"none is seen.*nn.MultiheadAttention.*'permutation'"):
        torch_network(linear, X).attentions(X)


def test_products_that_are_no_attention():
    """A softmax over features, and one of what is no product, weigh nothing between tokens."""

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.out = nn.Linear(1, 5), nn.Linear(5, 3)

        def forward(self, x):
            h = self.tokens(x[..., None])
            return self.out((h.softmax(-1) @ (h.softmax(1).mT @ h)).mean(1))

    with pytest.raises(skexplain.UnsupportedModelError, match="none is seen"):
        torch_network(Linear(), X).attentions(X)


@pytest.mark.parametrize("breaks", [False, True])
@pytest.mark.parametrize("target", [None, TARGET])
def test_no_trace(target, breaks):
    def attend(net, look, h):
        if breaks and look is net.looks[1] and net.armed:
            raise ArithmeticError
        return look(h, h, h)[0]

    net = Net(attend).train()
    net.armed = False
    before = copy.deepcopy(net.state_dict()), [dict(vars(m)) for m in net.modules()]
    state, fast = torch.random.get_rng_state(), torch.backends.mha.get_fastpath_enabled()
    network = torch_network(net, X)
    net.armed = True
    before[1][0]["armed"] = True
    for _ in range(2):
        try:
            network.attentions(X, target)
        except ArithmeticError:
            assert breaks
    assert all(torch.equal(v, before[0][k]) for k, v in net.state_dict().items())
    assert [dict(vars(m)) for m in net.modules()] == before[1]
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert torch.overrides._get_current_function_mode_stack() == []
    assert torch.is_grad_enabled()
