"""The cases: each returns the peer's call and ours, and how far their results are apart.

Peer and ours run in turn in one process on one thread; a case checks that both compute the same thing, or that
ours is at least as good, before it is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from skexplain.attributions import DeepSHAP, ExpectedGradients, Permutation
from skexplain.attributions._completeness import gauss_legendre
from skexplain.torch import NeuralNetClassifier
from skexplain.torch._network import torch_network


@dataclass(frozen=True)
class Case:
    """Two ways to the same result.

    Attributes
    ----------
    peer, ours : callable
    gap : float
        Largest difference of the results, relative to the peer's spread; for training the difference of accuracy.
    """

    peer: Callable[[], object]
    ours: Callable[[], object]
    gap: float


class Net(nn.Sequential):
    def __init__(self, n_features: int = 30, n_outputs: int = 2) -> None:
        super().__init__(nn.Linear(n_features, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, n_outputs))


def data(n: int, d: int = 30) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(np.int64)


def relative(ours: np.ndarray, peer: np.ndarray) -> float:
    return float(np.abs(ours - peer).max() / np.std(peer))


def nets(X: np.ndarray) -> dict:
    import skorch

    common = {"max_epochs": 10, "batch_size": 128, "iterator_train__shuffle": True, "verbose": 0}
    peer = skorch.NeuralNetClassifier(
        Net, module__n_features=X.shape[1], criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, **common
    )
    return {"peer": peer, "ours": NeuralNetClassifier(Net, optimizer=torch.optim.Adam, lr=0.01, **common)}


def fit_skorch(n: int) -> Case:
    """fit, 10 epochs of batches of 128, against skorch"""
    X, y = data(n)
    both = nets(X)
    torch.manual_seed(0)
    scores = {name: net.fit(X, y).score(X, y) for name, net in both.items()}
    return Case(
        lambda: both["peer"].fit(X, y), lambda: both["ours"].fit(X, y), max(0.0, scores["peer"] - scores["ours"])
    )


def predict_skorch(n: int) -> Case:
    """predict, against skorch"""
    X, y = data(n)
    both = nets(X)
    both["ours"].fit(X, y)
    both["peer"].initialize()
    both["peer"].module_.load_state_dict(both["ours"].module_.state_dict())
    gap = relative(both["ours"].predict_proba(X), both["peer"].predict_proba(X))
    return Case(lambda: both["peer"].predict(X), lambda: both["ours"].predict(X), gap)


def integrated_gradients_captum(n: int) -> Case:
    """integrated gradients, 50 nodes, against captum"""
    from captum.attr import IntegratedGradients

    X, _ = data(n)
    torch.manual_seed(0)
    module = Net().eval()
    network, target = torch_network(module, X, output="logit"), np.ones(n, int)
    nodes, weights = gauss_legendre(50)
    x, zero = torch.as_tensor(X), np.zeros((1, X.shape[1]), np.float32)

    def peer() -> np.ndarray:
        return IntegratedGradients(module).attribute(x, target=1, n_steps=50, internal_batch_size=5000).numpy()

    def ours() -> np.ndarray:
        return X * network.mean_gradient(zero, X, nodes, weights, target)

    return Case(peer, ours, relative(ours(), peer()))


def expected_gradients_shap(n: int) -> Case:
    """expected gradients, 200 samples, against shap.GradientExplainer"""
    import shap

    X, _ = data(n + 100)
    torch.manual_seed(0)
    module = Net().eval()
    X, B = X[:n], X[n:]
    network, target = torch_network(module, X, output="logit"), np.ones(n, int)
    explainer = shap.GradientExplainer(module, torch.as_tensor(B))

    def peer() -> np.ndarray:
        return explainer.shap_values(torch.as_tensor(X), nsamples=200, rseed=0)[..., 1]

    def ours() -> np.ndarray:
        strategy = ExpectedGradients(n_samples=200)
        return strategy.attribute(network, X, B, target, np.random.default_rng(0)).values

    return Case(peer, ours, float(np.std(ours() - peer()) / np.std(peer())))


def deepshap_shap(n: int) -> Case:
    """DeepSHAP, 100 references, 2 outputs, against shap.DeepExplainer"""
    import shap

    X, B, module, network = explained(n)
    explainer = shap.DeepExplainer(module, torch.as_tensor(B))

    def peer() -> np.ndarray:
        return explainer.shap_values(torch.as_tensor(X))

    def ours() -> np.ndarray:
        targets = [np.full(n, k) for k in range(2)]
        return np.stack([DeepSHAP().attribute(network, X, B, t, np.random.default_rng(0)).values for t in targets], -1)

    return Case(peer, ours, relative(ours(), peer()))


def deepshap_captum(n: int) -> Case:
    """DeepSHAP, 100 references, against captum.DeepLiftShap"""
    from captum.attr import DeepLiftShap

    X, B, module, network = explained(n)
    target, x, b = np.ones(n, int), torch.as_tensor(X), torch.as_tensor(B)

    def peer() -> np.ndarray:  # in blocks of rows, as it forms all pairs
        parts = [DeepLiftShap(module).attribute(x[k : k + 50], b, target=1).detach() for k in range(0, n, 50)]
        return torch.cat(parts).numpy()

    def ours() -> np.ndarray:
        return DeepSHAP().attribute(network, X, B, target, np.random.default_rng(0)).values

    return Case(peer, ours, relative(ours(), peer()))


def explained(n: int) -> tuple[np.ndarray, np.ndarray, nn.Module, Any]:
    """Rows, 100 background rows, a module, and the network of its logits."""
    X, _ = data(n + 100)
    torch.manual_seed(0)
    module = Net().eval()
    return X[:n], X[n:], module, torch_network(module, X, output="logit")


def permutation_scikit_learn(n: int) -> Case:
    """permutation importance, 5 repeats, against scikit-learn on skorch"""
    from sklearn.inspection import permutation_importance

    X, y = data(n)
    both = nets(X)
    both["ours"].fit(X, y)
    both["peer"].initialize()
    both["peer"].classes_inferred_ = np.unique(y)
    both["peer"].module_.load_state_dict(both["ours"].module_.state_dict())
    strategy = Permutation(scoring="accuracy")

    def peer() -> np.ndarray:
        return permutation_importance(both["peer"], X, y, n_repeats=5, random_state=0).importances_mean

    def ours() -> np.ndarray:
        return both["ours"].importances(X, y, attribution=strategy, random_state=0).signed

    return Case(peer, ours, float(np.abs(ours() - peer()).max()))


CASES = {
    "fit_skorch": (fit_skorch, 5000),
    "predict_skorch": (predict_skorch, 5000),
    "integrated_gradients_captum": (integrated_gradients_captum, 500),
    "expected_gradients_shap": (expected_gradients_shap, 100),
    "deepshap_shap": (deepshap_shap, 500),
    "deepshap_captum": (deepshap_captum, 500),
    "permutation_scikit_learn": (permutation_scikit_learn, 1000),
}
