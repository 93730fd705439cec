"""How near is each strategy to exact Shapley values, and what does it cost? Prints the table of the user guide.

Run ``python -m benchmarks.exact_values``. One network: ReLU, 8 columns of which 5 matter (Friedman's first function),
two of the others copies with noise of columns that do. Exact values enumerate all 2^8 coalitions.
"""

from __future__ import annotations

import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.datasets import make_friedman1

from skexplain.attributions import ATTRIBUTIONS, get_attribution
from skexplain.torch import NeuralNetRegressor

ROWS = 100


def network() -> tuple[NeuralNetRegressor, np.ndarray, np.ndarray]:
    """A trained network and held-out rows."""
    X, y = make_friedman1(1500, n_features=8, noise=0.5, random_state=0)
    rng = np.random.default_rng(0)
    X[:, 5:7] = X[:, [3, 0]] + 0.1 * rng.normal(size=(1500, 2))
    net = NeuralNetRegressor(random_state=0).fit(X[:1000], y[:1000])
    return net, X[1000 : 1000 + ROWS], y[1000 : 1000 + ROWS]


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    net, X, y = network()
    exact = net.explain(X, attribution="exact_shapley", random_state=0).values
    order = np.abs(exact).mean(axis=0)
    print(f"R2 {net.score(X, y):.3f}; {ROWS} rows, background {len(net._kept_background)} rows")
    print(f"{'strategy':<22} {'error':>7} {'rank':>6} {'seconds':>8}")
    for name in ATTRIBUTIONS:
        strategy = get_attribution(name)
        if strategy.needs_training or strategy.needs_convolution or strategy.needs_attention:
            continue  # nothing to read off a dense network that is trained
        result = net.importances(X, y, attribution=name, random_state=0)  # warm
        start = time.perf_counter()
        result = net.importances(X, y, attribution=name, random_state=0)
        seconds = time.perf_counter() - start
        error = ""
        if strategy.local and strategy.complete:
            values = net.explain(X, attribution=name, random_state=0).values
            error = f"{np.sqrt(np.mean((values - exact) ** 2)) / np.std(exact):.1%}"
        print(f"{name:<22} {error:>7} {spearmanr(result.values, order).statistic:6.2f} {seconds:8.3f}")


if __name__ == "__main__":
    main()
