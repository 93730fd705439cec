"""The weights of a stack of dense layers are found however it is written, and nothing else is taken for one."""

import copy
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from skexplain._wrap import as_network
from skexplain.exceptions import UnsupportedLayerError
from skexplain.torch import MLP
from tests.torch.nets import D, crooked, stack, straight

X = np.random.default_rng(0).normal(size=(8, D))
STRAIGHT, CROOKED = straight(), crooked()
# the first three are dense stacks, though not straight ones: the input may go through an activation
NOT_DENSE = {
    "product of weights": None,
    "activation first": None,
    "square first": None,
    "residual": "the operation 'add'",
    "two heads": "the operation 'mul'",
    "layernorm first": "the operation 'mul'",
    "gate": "the operation 'mul'",
    "code for missing": "the operation 'where'",
    "convolution": "the operation 'convolution'",
    "lstm": "the operation 'select'",
    "part of the columns": "the operation 'cat'",
}


def weights(module, **kwargs):
    return as_network(copy.deepcopy(module).double(), X, **kwargs).dense_weights()


class Written(nn.Module):
    """Two layers with an activation, in any spelling."""

    def __init__(self, forward):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.spelling = nn.Linear(D, 8), nn.Linear(8, 3), forward

    def forward(self, x):
        return self.spelling(self, x)


SPELLINGS = {
    "modules": lambda m, x: m.b(m.a(x).relu()),
    "F.linear": lambda m, x: F.linear(F.relu(F.linear(x, m.a.weight, m.a.bias)), m.b.weight, m.b.bias),
    "matmul": lambda m, x: torch.tanh(x @ m.a.weight.T + m.a.bias) @ m.b.weight.T + m.b.bias,
    "addmm": lambda m, x: torch.addmm(m.b.bias, torch.addmm(m.a.bias, x, m.a.weight.T).sigmoid(), m.b.weight.t()),
    "in place": lambda m, x: m.b(m.a(x).add_(1).relu_().add_(2)),
    "by hand": lambda m, x: m.b((h := m.a(x)) * torch.sigmoid(h)),
    "square by hand": lambda m, x: m.b((h := m.a(x)) * h),
    "where": lambda m, x: m.b(torch.where((h := m.a(x)) > 0, h, torch.zeros_like(h))),
    "dropout": lambda m, x: m.b(F.dropout(F.gelu(m.a(x.reshape(len(x), -1))), 0.5, m.training)),
    "there and back": lambda m, x: m.b(F.silu(m.a(x[:, None, :].flatten(1))).unsqueeze(2)[:, :, 0]),
    "side branch": lambda m, x: (m.a(x).sum(), m.b(F.relu(m.a(x))))[1],
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings(spelling):
    module = Written(SPELLINGS[spelling])
    first, second = weights(module)
    np.testing.assert_allclose(first, module.a.weight.detach().double().numpy().T, rtol=1e-12)
    np.testing.assert_allclose(second, module.b.weight.detach().double().numpy().T, rtol=1e-12)


def test_two_falling_factors_are_a_rising_one():
    by_hand = Written(lambda m, x: m.b(1 / (1 + torch.exp(-m.a(x)))))
    of_torch = Written(lambda m, x: m.b(torch.sigmoid(m.a(x))))
    np.testing.assert_allclose(np.linalg.multi_dot(weights(by_hand)), np.linalg.multi_dot(weights(of_torch)))


@pytest.mark.parametrize("name", STRAIGHT)
def test_networks_of_the_zoo(name):
    module = STRAIGHT[name]
    if name == "one number":  # the first of three outputs
        with pytest.raises(UnsupportedLayerError, match="select"):
            weights(module)
        return
    found = weights(module)
    assert found[0].shape[0] == D
    assert all(a.shape[1] == b.shape[0] for a, b in itertools.pairwise(found))
    if "softmax" in name:
        np.testing.assert_array_equal(found[1], module[2].weight.detach().double().numpy().T)


@pytest.mark.parametrize("name", CROOKED)
def test_refused_by_name(name):
    if NOT_DENSE[name] is None:
        assert weights(CROOKED[name])[0].shape[0] == D
        return
    with pytest.raises(UnsupportedLayerError) as caught:
        weights(CROOKED[name])
    assert caught.value.layer == NOT_DENSE[name]


def test_scales_belong_to_the_layer_on_their_side_of_the_activation():
    """Fold by hand; the whole chain is the gradient of the network with its activation left out."""
    norms = [nn.BatchNorm1d(n) for n in (D, 8, 8)]
    for i, norm in enumerate(norms):
        torch.manual_seed(i)
        for t in (norm.running_var, norm.weight.data):
            t.uniform_(0.5, 2)
    a, b = nn.Linear(D, 8), nn.Linear(8, 3)
    s = [(n.weight / torch.sqrt(n.running_var + n.eps)).detach().double().numpy() for n in norms]
    A, B = (m.weight.detach().double().numpy().T for m in (a, b))
    first, second = weights(nn.Sequential(norms[0], a, norms[1], nn.Tanh(), norms[2], b))
    np.testing.assert_allclose(first, s[0][:, None] * A * s[1], rtol=1e-6)
    np.testing.assert_allclose(second, s[2][:, None] * B, rtol=1e-6)
    chain = as_network(nn.Sequential(norms[0], a, norms[1], norms[2], b).double(), X, regression=True)
    product = np.linalg.multi_dot(chain.dense_weights())
    for k in range(3):
        slope = chain.gradient(X, np.full(len(X), k))
        np.testing.assert_allclose(np.tile(product[:, k], (8, 1)), slope, rtol=1e-9)


def test_default_module_far_from_zero():
    rows = X + 1e6
    torch.manual_seed(0)
    module = MLP(D, 1, hidden=(5,), mean=rows.mean(0), scale=[2.0] * D, target_mean=[1e5], target_scale=[7.0])
    first, second = weights(module)
    np.testing.assert_allclose(first, module[1].weight.detach().double().numpy().T / 2, rtol=1e-12)
    np.testing.assert_allclose(second, module[3].weight.detach().double().numpy().T * 7, rtol=1e-12)


OTHERS = {
    "softmax within": (lambda m, x: m.b(torch.softmax(m.a(x), 1)), "softmax"),
    "values read": (lambda m, x: m.b(m.a(x) * (2 if m.a(x).sum() > 0 else 1)), "branch"),
    "values taken": (lambda m, x: m.b(m.a(x) * float(m.a(x).detach().abs().max() > 0)), "branch"),
    "order changed": (lambda m, x: m.b(m.a(x)[:, [1, 0, *range(2, 8)]]), "index"),
    "tokens": (lambda m, x: m.b(m.a(x[:, None, :]).mean(1)), "mean"),
    "factor of a row": (lambda m, x: m.b(m.a(x) * torch.where(torch.arange(len(x)) < 4, 1.0, 1.0)[:, None]), "rows"),
    "nothing": (lambda m, x: x, "without dense layers"),
    "constant": (lambda m, x: torch.ones(len(x), 3), "does not depend"),
}


def through_a_view(h):
    h.view(-1).mul_(2)
    return h


@pytest.mark.parametrize("name", OTHERS)
def test_not_a_stack(name):
    forward, layer = OTHERS[name]
    with pytest.raises(UnsupportedLayerError, match=layer):
        weights(Written(forward))


@pytest.mark.parametrize("double", [lambda h: h + h, lambda h: 2 * h, lambda h: through_a_view(h)])
def test_a_line_is_a_factor(double):
    twice, once = Written(lambda m, x: m.b(double(m.a(x)))), Written(lambda m, x: m.b(m.a(x)))
    np.testing.assert_allclose(np.linalg.multi_dot(weights(twice)), 2 * np.linalg.multi_dot(weights(once)))


def test_pictures():
    module = stack(nn.Flatten(), nn.Linear(D, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    first, _ = as_network(module, X.reshape(8, 2, -1)).dense_weights()
    np.testing.assert_array_equal(first, module[1].weight.detach().numpy().T)


def test_no_trace():
    module = copy.deepcopy(STRAIGHT["batchnorm"]).train()
    before = copy.deepcopy(module.state_dict())
    network, state = as_network(module, X), torch.get_rng_state()
    network.dense_weights()
    assert module.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in module.parameters())
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])
