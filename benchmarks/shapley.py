"""Shapley values by sampling, of outputs and of the loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sage as sage_importance
import shap
import torch
from torch import nn

from skexplain.attributions import SAGE, ExactShapley, KernelSHAP, ShapleySampling
from skexplain.torch._network import torch_network

from ._case import Case, Setting
from ._problems import MLP, data, products, rms

ROWS, BACKGROUND = 20, 100
#: Root mean squared error to reach, in units of the spread of the exact values.
ERROR = 0.01
MEASURE = "root mean squared error beside exact values"


def fitted_module(d: int, seed: int) -> nn.Module:
    """A network of ten columns, fitted to a function with interactions."""
    torch.manual_seed(seed)
    module = MLP(10, (64, 32) if d == 10 else (22, 11), 1)
    X = torch.as_tensor(data(2000, 10)[0])
    y = X[:, 0] * X[:, 1] + torch.sin(2 * X[:, 2]) + X[:, 3] + 0.4 * X[:, 4] * X[:, 5] + X[:, 6].abs()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(30):
        for rows in torch.randperm(len(X)).split(128):
            optimizer.zero_grad()
            nn.functional.mse_loss(module(X[rows]), y[rows, None]).backward()
            optimizer.step()
    return module.eval()


def side_by_side(parts: list[nn.Module]) -> nn.Module:
    """The sum of networks on ten columns each, as one: its weights between them are 0."""
    weights = [[p[k].weight for p in parts] for k in range(0, len(parts[0]), 2)]
    module = MLP(10 * len(parts), tuple(sum(len(w) for w in layer) for layer in weights[:-1]), 1)
    with torch.no_grad():
        for k, layer in enumerate(weights[:-1]):
            module[2 * k].weight.copy_(torch.block_diag(*layer))
            module[2 * k].bias.copy_(torch.cat([p[2 * k].bias for p in parts]))
        module[-1].weight.copy_(torch.cat(weights[-1], dim=1))
        module[-1].bias.copy_(sum(p[-1].bias for p in parts))
    return module.eval()


class Problem:
    """Rows, background, a network, and its exact Shapley values: those of the networks that it is the sum of."""

    def __init__(self, setting: Setting, d: int) -> None:
        n = setting.size(ROWS, 3)
        X, _ = data(n + BACKGROUND, d)
        self.X, self.B, self.target = X[:n], X[n:], np.zeros(n, int)
        parts = [fitted_module(d, seed) for seed in range(d // 10)]
        self.exact = np.concatenate(
            [
                self.values(ExactShapley(), torch_network(part, X[:, k : k + 10], regression=True), slice(k, k + 10))
                for k, part in zip(range(0, d, 10), parts, strict=True)
            ],
            axis=1,
        )
        self.module = side_by_side(parts).to(setting.device)
        self.network = torch_network(self.module, X, regression=True)
        self.device, self.tiny = setting.device, setting.tiny

    def values(self, strategy, network=None, columns: slice = slice(None)) -> np.ndarray:
        X, B = self.X[:, columns], self.B[:, columns]
        return strategy.attribute(network or self.network, X, B, self.target, np.random.default_rng(0)).values

    def predict(self, X: np.ndarray) -> np.ndarray:
        """What the peer asks."""
        with torch.no_grad():
            return self.module(torch.as_tensor(X, dtype=torch.float32).to(self.device))[:, 0].cpu().numpy()

    def accurate(self, values: Callable[[int], np.ndarray], budget: int) -> tuple[int, float]:
        """The smallest budget that is accurate enough, in steps of the root of 2, and its error."""
        while (error := rms(values(budget), self.exact)) > (0.3 if self.tiny else ERROR):
            budget = int(np.ceil(budget * np.sqrt(2)))
        return budget, error

    def case(self, theirs: Callable[[int], np.ndarray], least: int, strategy: type) -> Case:
        d, widths = self.X.shape[1], [layer.weight.shape[::-1] for layer in self.module if isinstance(layer, nn.Linear)]

        def ours(budget: int) -> np.ndarray:
            return self.values(strategy(tol=0, max_evals=budget))

        peer_budget, peer_error = self.accurate(theirs, least)
        budget, error = self.accurate(ours, 50 * d)
        bare = products([(len(self.X) * budget, *shape) for shape in widths], self.device)
        return Case(
            "shap",
            lambda: theirs(peer_budget),
            lambda: ours(budget),
            50,
            (peer_error, error),
            MEASURE,
            0.3 if self.tiny else ERROR,
            bare,
        )


def kernel_shap(setting: Setting, d: int) -> Case:
    """Without the peer's selection of ten columns, which has no limit that is right."""
    problem = Problem(setting, d)
    explainer = shap.KernelExplainer(problem.predict, problem.B)

    def theirs(budget: int) -> np.ndarray:
        np.random.seed(0)
        return explainer.shap_values(problem.X, nsamples=budget, l1_reg=False, silent=True)

    return problem.case(theirs, 4 * d, KernelSHAP)


def shapley_sampling(setting: Setting, d: int) -> Case:
    problem = Problem(setting, d)
    explainer = shap.PermutationExplainer(problem.predict, problem.B, seed=0)

    def theirs(budget: int) -> np.ndarray:
        np.random.seed(0)
        return explainer(problem.X, max_evals=budget, silent=True).values

    return problem.case(theirs, 2 * (2 * d + 1), ShapleySampling)


def kernel_shap_10(setting: Setting) -> Case:
    """kernel SHAP to 1 % of exact, 20 x 10, background 100, MLP 64-32

    The peer asks hundreds of the 1022 coalitions, of all background rows, in large products. Ours needs less than a
    tenth of these evaluations; what interactions of three columns and more differ from one background row to
    the next is chance that neither has a way around. Beside the products stand activations, mixing rows, and calls.
    """
    return kernel_shap(setting, 10)


def kernel_shap_30(setting: Setting) -> Case:
    """kernel SHAP to 1 % of exact, 20 x 30, background 100, MLP 66-33"""
    return kernel_shap(setting, 30)


def shapley_sampling_10(setting: Setting) -> Case:
    """Shapley sampling to 1 % of exact, 20 x 10, background 100, MLP 64-32

    The peer spends its time in the products too, for each permutation with all background rows. Ours takes one row
    a permutation, a fifth to a tenth of the evaluations at the same error, as chance is in pairs of both.
    """
    return shapley_sampling(setting, 10)


def shapley_sampling_30(setting: Setting) -> Case:
    """Shapley sampling to 1 % of exact, 20 x 30, background 100, MLP 66-33

    As with 10 columns.
    """
    return shapley_sampling(setting, 30)


def sage(setting: Setting) -> Case:
    """SAGE to the same standard error, 500 x 10, background 100, MLP 64-32, two classes

    The standard error with which the peer stops at 1 % of the range of the values. Each row differs, and the less is
    wanted the more it is worth that ours asks all rows equally often and knows their mean loss.
    """
    n, m = setting.size(500), setting.size(BACKGROUND, 10)
    X, y = data(n, 10)
    torch.manual_seed(0)
    module = MLP(X.shape[1]).to(setting.device)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    x, labels = torch.as_tensor(X).to(setting.device), torch.as_tensor(y).to(setting.device)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), labels).backward()
        optimizer.step()
    network = torch_network(module.eval(), X, y=y)

    def probabilities(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.as_tensor(rows).to(setting.device)).softmax(1).cpu().numpy()

    def theirs() -> float:
        imputer = sage_importance.MarginalImputer(probabilities, X[:m])
        estimator = sage_importance.PermutationEstimator(imputer, "cross entropy", random_state=0)
        size, threshold = setting.size(128, 16), 0.5 if setting.tiny else 0.01
        return estimator(X, y, batch_size=size, bar=False, thresh=threshold).std.max()

    def ours(budget: int) -> float:
        strategy, groups = SAGE(tol=0, max_evals=budget, n_background=m), [np.array([j]) for j in range(X.shape[1])]
        return strategy.importances(network, X, y, groups, np.random.default_rng(0))[1].max()

    wanted, budget = theirs(), 128 * m * X.shape[1]
    while (error := ours(budget)) > wanted:
        budget = int(np.ceil(budget * np.sqrt(2)))
    bare = products([(budget, 10, 64), (budget, 64, 32), (budget, 32, 2)], setting.device)
    return Case("sage-importance", theirs, lambda: ours(budget), 20, (wanted, error), "standard error", 0.0, bare)
