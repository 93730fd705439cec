"""DeepSHAP."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import shap
import torch
from captum.attr import DeepLiftShap

from skexplain.attributions import DeepSHAP
from skexplain.torch._network import torch_network

from ._case import Case, Setting
from ._problems import convolutions, data, exact_network, network, products, relative

REFERENCES = 100


def problem(setting: Setting, d: int, widths: tuple[int, ...]) -> tuple:
    """Rows, background, module, our network, exact values for both outputs, and the bare products."""
    n = setting.size(500)
    X, _ = data(n + REFERENCES, d)
    module, ours = network(X, widths, setting.device)
    X, B = X[:n], X[n:]
    exact = deepshap(exact_network(module, X), X, B, (0, 1))
    pairs = n * REFERENCES
    layers = [(pairs, b, a) for a, b in pairwise(widths)]
    first = [(n, widths[0], d), (pairs // n, d, widths[0]), (n, d, widths[0])]
    return X, B, module, ours, exact, [*first, *layers]


def deepshap(ours, X: np.ndarray, B: np.ndarray, outputs: tuple[int, ...]) -> np.ndarray:
    targets = [np.full(len(X), k) for k in outputs]
    return np.stack([DeepSHAP().attribute(ours, X, B, t, np.random.default_rng(0)).values for t in targets], -1)


def deepshap_shap(setting: Setting, d: int, widths: tuple[int, ...], wanted: float) -> Case:
    """For both outputs: shap's explainer knows no other way."""
    X, B, module, ours, exact, sizes = problem(setting, d, widths)
    explainer = shap.DeepExplainer(module, torch.as_tensor(B).to(setting.device))
    x = torch.as_tensor(X).to(setting.device)

    def theirs() -> np.ndarray:
        return explainer.shap_values(x, check_additivity=True)

    errors = (relative(theirs(), exact), relative(deepshap(ours, X, B, (0, 1)), exact))
    bare = products(2 * sizes, setting.device)
    return Case("shap", theirs, lambda: deepshap(ours, X, B, (0, 1)), wanted, errors, ERROR, 1e-4, bare)


def deepshap_captum(setting: Setting, d: int, widths: tuple[int, ...], wanted: float) -> Case:
    """For one output; captum in blocks of 50 rows, as it forms all pairs."""
    X, B, module, ours, exact, sizes = problem(setting, d, widths)
    x, b = (torch.as_tensor(v).to(setting.device) for v in (X, B))
    explainer = DeepLiftShap(module)

    def theirs() -> np.ndarray:
        parts = [explainer.attribute(x[k : k + 50], b, target=1).detach() for k in range(0, len(x), 50)]
        return torch.cat(parts).cpu().numpy()

    errors = (relative(theirs(), exact[..., 1]), relative(deepshap(ours, X, B, (1,))[..., 0], exact[..., 1]))
    bare = products(sizes, setting.device)
    return Case("captum", theirs, lambda: deepshap(ours, X, B, (1,)), wanted, errors, ERROR, 1e-4, bare)


ERROR = "largest error beside float64"


def deepshap_shap_30(setting: Setting) -> Case:
    """DeepSHAP, 100 background rows, 500 x 30, MLP 64-64, both outputs

    Each row and each background row is run once; pairs are formed in the hidden layers only. Beside the products: the
    slopes of activations between row and background row, a division a unit and pair.
    """
    return deepshap_shap(setting, 30, (64, 64), 30)


def deepshap_shap_200(setting: Setting) -> Case:
    """DeepSHAP, 100 background rows, 500 x 200, MLP 128-128, both outputs

    Each row and each background row is run once; pairs are formed in the hidden layers only. Beside the products: the
    slopes of activations between row and background row, a division a unit and pair.
    """
    return deepshap_shap(setting, 200, (128, 128), 15)


def deepshap_captum_30(setting: Setting) -> Case:
    """DeepSHAP, 100 background rows, 500 x 30, MLP 64-64, one output

    Each row and each background row is run once; pairs are formed in the hidden layers only. Beside the products: the
    slopes of activations between row and background row, a division a unit and pair.
    """
    return deepshap_captum(setting, 30, (64, 64), 30)


def deepshap_captum_200(setting: Setting) -> Case:
    """DeepSHAP, 100 background rows, 500 x 200, MLP 128-128, one output

    Each row and each background row is run once; pairs are formed in the hidden layers only. Beside the products: the
    slopes of activations between row and background row, a division a unit and pair.
    """
    return deepshap_captum(setting, 200, (128, 128), 15)


def deepshap_convolutions(setting: Setting) -> Case:
    """DeepSHAP, 50 background images, 50 images of 8 x 8, two Conv2D, one output

    Pairs are run as they are: what is saved is the forward run of a convolution in each step back. With an LSTM neither
    captum nor shap add up (both leave out its gates), so there is nothing to compare with.
    """
    n = setting.size(50, 10)
    X = np.random.default_rng(0).normal(size=(n + 50, 1, 8, 8)).astype(np.float32)
    X, B = X[:n], X[n:]
    module = convolutions().eval().to(setting.device)
    ours_network, explainer = torch_network(module, X, output="logit"), DeepLiftShap(module)
    x, b = (torch.as_tensor(v).to(setting.device) for v in (X, B))
    exact = deepshap(exact_network(module, X), X, B, (1,))[..., 0]

    def theirs() -> np.ndarray:
        return explainer.attribute(x, b, target=1).detach().cpu().numpy()

    def ours() -> np.ndarray:
        return deepshap(ours_network, X, B, (1,))[..., 0]

    return Case("captum", theirs, ours, 1.5, (relative(theirs(), exact), relative(ours(), exact)), ERROR, 1e-4)
