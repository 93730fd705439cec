"""Integrated and expected gradients."""

from __future__ import annotations

import numpy as np
import shap
import torch
from captum.attr import IntegratedGradients
from torch import nn

from skexplain.attributions import ExpectedGradients
from skexplain.attributions._completeness import gauss_legendre
from skexplain.torch._network import torch_network

from ._case import Case, Setting
from ._problems import LSTM, convolutions, data, exact_network, network, products, rms

NODES = 50


def integrated_gradients(setting: Setting, n: int, d: int, widths: tuple[int, ...], wanted: float) -> Case:
    """Both with 50 nodes, from zero; captum in blocks of rows, as 50 copies of all do not fit into memory."""
    n = setting.size(n)
    X, _ = data(n, d)
    module, ours_network = network(X, widths, setting.device)
    x, zero, target = torch.as_tensor(X).to(setting.device), np.zeros((1, d), np.float32), np.ones(n, int)
    peer = IntegratedGradients(module)

    def theirs() -> np.ndarray:
        return peer.attribute(x, target=1, n_steps=NODES, internal_batch_size=5000).cpu().numpy()

    def ours() -> np.ndarray:
        return X * ours_network.mean_gradient(zero, X, *gauss_legendre(NODES), target)

    exact = X * exact_network(module, X).mean_gradient(zero, X, *gauss_legendre(1024), target)
    # the first layer's products for the ends of the paths and for the mean gradient, the others forward and backward
    layers = [(NODES * n, a, b) for a, b in zip(widths, (*widths[1:], 2), strict=True)]
    bare = products([(n, d, widths[0]), (n, widths[0], d), *layers, *[(r, b, a) for r, a, b in layers]], setting.device)
    errors = (rms(theirs(), exact), rms(ours(), exact))
    return Case(
        "captum", theirs, ours, wanted, errors, "root mean squared error beside 1024 nodes in float64", 0.0, bare
    )


def integrated_gradients_30(setting: Setting) -> Case:
    """integrated gradients, 50 nodes, 500 x 30, MLP 64-64

    The first layer is applied once a row, not once a node, and there is no autograd. Beside the products: making the
    points of the paths, and activations with their slopes.
    """
    return integrated_gradients(setting, 500, 30, (64, 64), 10)


def integrated_gradients_200(setting: Setting) -> Case:
    """integrated gradients, 50 nodes, 500 x 200, MLP 128-128

    The first layer is applied once a row, not once a node, and there is no autograd. Beside the products: making the
    points of the paths, and activations with their slopes.
    """
    return integrated_gradients(setting, 500, 200, (128, 128), 8)


def integrated_gradients_5000(setting: Setting) -> Case:
    """integrated gradients, 50 nodes, 1000 x 5000, MLP 5 x 58

    The first layer is applied once a row, not once a node, and there is no autograd. Beside the products: making the
    points of the paths, and activations with their slopes.
    """
    return integrated_gradients(setting, 1000, 5000, (58,) * 5, 15)


def expected_gradients(setting: Setting, n: int, d: int, widths: tuple[int, ...]) -> Case:
    """Both with 200 samples a row and 100 background rows, for one output."""
    n = setting.size(n)
    X, _ = data(n + 100, d)
    module, ours_network = network(X, widths, setting.device)
    X, B = X[:n], X[n:]
    target = np.ones(n, int)
    peer = shap.GradientExplainer(module, torch.as_tensor(B).to(setting.device))
    x = torch.as_tensor(X).to(setting.device)
    strategy = ExpectedGradients(n_samples=200)

    def theirs() -> np.ndarray:
        return peer.shap_values(x, nsamples=200, rseed=0)[..., 1]

    def ours() -> np.ndarray:
        return strategy.attribute(ours_network, X, B, target, np.random.default_rng(0)).values

    few, reference = slice(0, 20), exact_network(module, X)
    paths = [(X[few] - b) * reference.mean_gradient(b[None], X[few], *gauss_legendre(256), target[few]) for b in B]
    exact = np.mean(paths, axis=0)
    errors = (rms(theirs()[few], exact), rms(ours()[few], exact))
    layers = [(200 * n, a, b) for a, b in zip(widths, (*widths[1:], 2), strict=True)]
    bare = products([*layers, *[(r, b, a) for r, a, b in layers]], setting.device)
    return Case("shap", theirs, ours, 50, errors, "root mean squared error beside all whole paths", 0.0, bare)


def expected_gradients_30(setting: Setting) -> Case:
    """expected gradients, 200 samples, 500 x 30, MLP 64-64

    Samples share the runs of the first layer. Beside the products: what each path gives each column, which the standard
    error and the control variate are made of, in five passes over rows x paths x columns.
    """
    return expected_gradients(setting, 500, 30, (64, 64))


def expected_gradients_200(setting: Setting) -> Case:
    """expected gradients, 200 samples, 500 x 200, MLP 128-128

    Samples share the runs of the first layer. Beside the products: what each path gives each column, which the standard
    error and the control variate are made of, in five passes over rows x paths x columns.
    """
    return expected_gradients(setting, 500, 200, (128, 128))


def expected_gradients_5000(setting: Setting) -> Case:
    """expected gradients, 200 samples, 100 x 5000, MLP 5 x 58

    Each of the 100 paths of a row costs a product with all 5000 x 58 first weights (a sixth of our time), and passes
    over 5000 numbers, as each column's spread over the paths is its standard error. The peer gives no error.
    """
    return expected_gradients(setting, 100, 5000, (58,) * 5)


def integrated_gradients_of(setting: Setting, module: nn.Module, shape: tuple[int, ...], wanted: float) -> Case:
    """Where no linear layer takes all of the input: nothing is saved but overhead."""
    n = setting.size(200)
    X = np.random.default_rng(0).normal(size=(n, *shape)).astype(np.float32)
    module = module.eval().to(setting.device)
    ours_network, peer = torch_network(module, X, output="logit"), IntegratedGradients(module)
    x, zero, target = torch.as_tensor(X).to(setting.device), np.zeros((1, *shape), np.float32), np.ones(n, int)

    def theirs() -> np.ndarray:
        return peer.attribute(x, target=1, n_steps=NODES, internal_batch_size=5000).cpu().numpy()

    def ours() -> np.ndarray:
        return X * ours_network.mean_gradient(zero, X, *gauss_legendre(NODES), target)

    exact = X * exact_network(module, X).mean_gradient(zero, X, *gauss_legendre(512), target)
    errors = (rms(theirs(), exact), rms(ours(), exact))
    return Case("captum", theirs, ours, wanted, errors, "root mean squared error beside 512 nodes in float64")


def integrated_gradients_convolutions(setting: Setting) -> Case:
    """integrated gradients, 50 nodes, 200 images of 8 x 8, two Conv2D

    Forward and backward by torch on both sides; ours works in blocks that fit the caches.
    """
    return integrated_gradients_of(setting, convolutions(), (1, 8, 8), 1.5)


def integrated_gradients_lstm(setting: Setting) -> Case:
    """integrated gradients, 50 nodes, 200 sequences of 20 x 8, LSTM of 32

    Forward and backward by torch on both sides; ours works in blocks that fit the caches.
    """
    return integrated_gradients_of(setting, LSTM(), (20, 8), 1.5)
