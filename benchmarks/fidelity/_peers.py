"""What the networks are compared with: a forest, LassoNet, and a network trained with the Deep Lasso's penalty."""

from __future__ import annotations

import copy
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.inspection import permutation_importance
from sklearn.model_selection import train_test_split
from torch import nn

from skexplain import _defaults
from skexplain.torch import MLP

from ._record import Split

TREES = 100
#: Rows of TreeSHAP, whose time grows with the square of the depth, and repeats of permutation.
SHAP_ROWS, REPEATS = 50, 3
#: LassoNet's path: first penalty (the search for one takes longer than the path itself; no column has left at this
#: one), its growth, and epochs and patience before the path and at each penalty. A path with steps of half the size and
#: twice the patience took three times as long and found no more
#: of the blocks' columns.
PATH = {"lambda_start": 20.0, "path_multiplier": 1.1, "n_iters": (1000, 30), "patience": (50, 5)}
#: Weights of the Deep Lasso's penalty; the one with the best held-out loss is taken.
PENALTIES = (0.0, 0.1, 1.0)
HAS_LASSONET = find_spec("lassonet") is not None


def forest(labels: bool, seed: int) -> Any:
    return (RandomForestClassifier if labels else RandomForestRegressor)(TREES, random_state=seed)


def mdi(trees: Any, split: Split, seed: int) -> NDArray:
    return trees.feature_importances_


def permutation(trees: Any, split: Split, seed: int) -> NDArray:
    """Of the score, on the rows not trained on."""
    result = permutation_importance(trees, split.X_other, split.y_other, n_repeats=REPEATS, random_state=seed)
    return result.importances_mean


def tree_shap(trees: Any, split: Split, seed: int) -> NDArray:
    """Mean size of the values of rows not trained on, and over classes."""
    import shap

    phi = np.asarray(shap.TreeExplainer(trees).shap_values(split.X_other[:SHAP_ROWS], check_additivity=False))
    sizes = np.abs(phi).mean(axis=0)
    return sizes if sizes.ndim == 1 else sizes.mean(axis=1)


FOREST = {"MDI": mdi, "permutation": permutation, "TreeSHAP": tree_shap}


def lasso_net(split: Split, seed: int) -> tuple[NDArray, Any]:
    """The penalty at which each column leaves the network, and the network before any did."""
    from lassonet import LassoNetClassifier, LassoNetRegressor

    make = LassoNetClassifier if split.labels else LassoNetRegressor
    net = make(hidden_dims=_defaults.HIDDEN, device="cpu", verbose=0, random_state=seed, torch_seed=seed, **PATH)
    dense: list[dict] = []

    def first(net: Any, history: list) -> None:
        if not dense:
            dense.append(copy.deepcopy(net.model.state_dict()))

    net.path(split.X, split.y, callback=first)
    values = net.feature_importances_.numpy().astype(float)
    net.load(dense[0])
    return values, net


def lasso_net_score(net: Any, split: Split) -> float:
    predicted, y = net.predict(split.X_other), split.y_other
    if split.labels:
        return float(np.mean(predicted == y))
    return float(1 - np.mean((predicted.ravel() - y) ** 2) / np.var(y))


def deep_lasso(split: Split, seed: int) -> NDArray:
    """Norm over rows of the loss' gradient on each column, of an MLP trained with the sum of these norms as a penalty.

    ``L + weight * sum_j ||dL / dX_j||_2`` on each batch, where ``dL / dX_j`` has an entry for each row. The MLP, Adam
    and early stopping are those of the default; the weight is the one of `PENALTIES` with the best held-out loss.

    References
    ----------
    V. Cherepanova et al., "A performance-driven benchmark for feature selection in tabular deep learning",
    NeurIPS 2023, who tune the weight together with the model that is trained on the columns.
    """
    trained = [_penalised(split, weight, seed) for weight in PENALTIES]
    _, module = min(trained, key=lambda pair: pair[0])
    X, y = _tensors(split, np.arange(len(split.y)))
    (gradient,) = torch.autograd.grad(_criterion(split)(module(X.requires_grad_()), y), X)
    return gradient.norm(dim=0).double().numpy()


def _penalised(split: Split, weight: float, seed: int) -> tuple[float, nn.Module]:
    """Best held-out loss, and the module at that epoch."""
    train, held_out = train_test_split(
        np.arange(len(split.y)),
        test_size=_defaults.HELD_OUT,
        stratify=split.y if split.labels else None,
        random_state=seed,
    )
    (X, y), (X_out, y_out), loss = _tensors(split, train), _tensors(split, held_out), _criterion(split)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = MLP(X.shape[1], int(split.y.max()) + 1 if split.labels else 1)
        optimizer = torch.optim.Adam(module.parameters(), lr=_defaults.LEARNING_RATE)
        best, since, kept = np.inf, 0, copy.deepcopy(module)
        for _ in range(_defaults.MAX_EPOCHS):
            for rows in torch.randperm(len(X)).split(_defaults.BATCH_SIZE):
                x = X[rows].requires_grad_(weight > 0)
                value = loss(module(x), y[rows])
                if weight:
                    (gradient,) = torch.autograd.grad(value, x, create_graph=True)
                    value = value + weight * (gradient.pow(2).sum(dim=0) + 1e-8).sqrt().sum()
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
            with torch.no_grad():
                reached = float(loss(module(X_out), y_out))
            since += 1
            if reached < best:
                best, since, kept = reached, 0, copy.deepcopy(module)
            if since == _defaults.PATIENCE:
                break
    return best, kept


def _criterion(split: Split) -> nn.Module:
    return nn.CrossEntropyLoss() if split.labels else nn.MSELoss()


def _tensors(split: Split, rows: NDArray) -> tuple[torch.Tensor, torch.Tensor]:
    X = torch.as_tensor(split.X[rows], dtype=torch.float32)
    y = torch.as_tensor(split.y[rows])
    return X, y.long() if split.labels else y.float()[:, None]
