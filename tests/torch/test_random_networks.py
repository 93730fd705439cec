"""Every fast verb equals the plain one on networks drawn at random."""

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from skexplain._network import Network
from skexplain._propagation import Rescale
from skexplain.torch._network import torch_network

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "leaky": nn.LeakyReLU}
FRONTS = {
    "nothing": lambda d: [],
    "batch norm": lambda d: [nn.BatchNorm1d(d)],
    "dropout": lambda d: [nn.Dropout(0.3)],
    "flatten": lambda d: [nn.Flatten(), nn.BatchNorm1d(d)],
}


@st.composite
def problems(draw):
    """A module, its dtype and scale, and a seed for the rows."""
    d, outputs = draw(st.integers(1, 7)), draw(st.integers(1, 3))
    widths = draw(st.lists(st.integers(1, 9), max_size=4))
    same = draw(st.sampled_from(sorted(ACTIVATIONS)))
    layers, n = FRONTS[draw(st.sampled_from(sorted(FRONTS)))](d), d
    for width in widths:
        # mostly one activation throughout, which is what stacks in NumPy are
        name = same if draw(st.booleans()) else draw(st.sampled_from([same, "tanh"]))
        layers += [nn.Linear(n, width, bias=draw(st.booleans())), ACTIVATIONS[name]()]
        layers += draw(st.sampled_from([[], [], [nn.BatchNorm1d(width)], [nn.Dropout(0.5)]]))
        n = width
    layers.append(nn.Linear(n, outputs))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    output = draw(st.sampled_from(["margin", "logit", "probability"]))
    return nn.Sequential(*layers), d, dtype, output, draw(st.integers(0, 2**16))


def trained(module, d, seed):
    """Weights and statistics as after some training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) / max(1, p.shape[-1]) ** 0.5)
        for layer in module:
            if isinstance(layer, nn.BatchNorm1d):
                layer.running_mean.copy_(torch.randn(layer.num_features, generator=generator))
                layer.running_var.copy_(0.5 + torch.rand(layer.num_features, generator=generator))
    return module.eval()


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(problems())
def test_fast_verbs_equal_the_plain_ones(problem):
    module, d, dtype, output, seed = problem
    module, rng = trained(module, d, seed).to(dtype), np.random.default_rng(seed)
    X, R = rng.normal(size=(2, 6, d)).astype(np.float32 if dtype == torch.float32 else np.float64)
    net = torch_network(module, X, y=np.arange(6) % 3, output=output)
    target = rng.integers(net.n_outputs, size=6)

    def same(fast, plain, error=3000 * net.eps):
        size = np.abs(plain).max(initial=0) + np.abs(net.gradient(X, target)).max(initial=0)
        np.testing.assert_allclose(fast, plain, rtol=0, atol=error * max(size, 1e-3))

    nodes, weights = rng.random(5), rng.random(5)
    if dtype == torch.float64:  # float32 may put a point on the other side of a kink
        for start in (R, R[:1]):
            arguments = start, X, nodes, weights, target
            same(net.mean_gradient(*arguments), Network.mean_gradient(net, *arguments))
        paths = X, R, rng.integers(6, size=(3, 6)), rng.random((2, 3, 6)), target
        same(net.path_contributions(*paths), Network.path_contributions(net, *paths))
    rule = Rescale("deepshap")
    # differences that a slope is divided by may have lost half of their digits
    same(net.mean_propagate(X, R, rule, target), Network.mean_propagate(net, X, R, rule, target), 10 * net.eps**0.5)
    cut = np.sort(rng.choice(d + 1, size=2))
    groups = [g for g in np.split(rng.permutation(d), cut) if len(g)]
    coalitions = rng.random((5, len(groups))) < 0.5
    same(net.predict_replaced(X, R, groups, coalitions), Network.predict_replaced(net, X, R, groups, coalitions))
    mixed = X, R, groups, coalitions[:1].repeat(6, axis=0)
    same(net.predict_coalitions(*mixed), Network.predict_coalitions(net, *mixed))


def test_stacks_are_found():
    """The draws above do reach the kernels in NumPy."""
    torch.manual_seed(0)
    layers = nn.BatchNorm1d(4), nn.Linear(4, 5), nn.ReLU(), nn.BatchNorm1d(5), nn.Dropout(), nn.Linear(5, 2)
    X = np.random.default_rng(0).normal(size=(6, 4))
    assert torch_network(nn.Sequential(*layers).eval(), X)._dense is not None
    assert torch_network(nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 2)), X)._dense is None
