"""Path integrals that add up, or are refused."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from .._network import Network
from ..exceptions import CompletenessError
from ._base import Attributed

#: Largest accepted |sum(phi) - (f(x) - f(reference))| as a fraction of the spread of f.
TOLERANCE = 1e-3
#: Rows on which a network is checked to be the integral of its gradient.
CHECKED_ROWS = 32
#: Steps after which a row that is still not complete is given up.
MAX_STEPS = 4096


@cache
def gauss_legendre(n_steps: int) -> tuple[NDArray, NDArray]:
    """Nodes and weights of the Gauss-Legendre rule on [0, 1], in panels when there are many.

    A single rule of n nodes costs n³ to set up, and the kinks that call for many nodes gain nothing from its order.
    """
    panels = max(1, n_steps // 128)
    nodes, weights = np.polynomial.legendre.leggauss(n_steps // panels)
    nodes = (np.arange(panels)[:, None] + (nodes + 1) / 2).ravel() / panels
    return nodes, np.tile(weights / 2 / panels, panels)


def pick(outputs: NDArray, target: NDArray) -> NDArray:
    """Output ``target[i]`` of row i; one row of outputs serves all targets."""
    rows = np.arange(len(outputs)) if len(outputs) > 1 else 0
    return outputs[rows, target]


def integrate(
    network: Network,
    start: NDArray,
    X: NDArray,
    background: NDArray,
    target: NDArray,
    n_steps: int,
) -> Attributed:
    """``(x - start) * integral of the gradient`` on the straight line, refined row by row until complete.

    The difference f(x) - f(start) is known, so the error of the quadrature is too. Rows above
    ``TOLERANCE`` times the spread of f (over X, the start and the background) get twice the steps,
    up to ``MAX_STEPS``.

    Raises
    ------
    CompletenessError
        When rows stay incomplete: the function jumps along the path, or part of it has its gradient cut
        (integer look-ups, rounding), so no gradient method can see it.
    """
    f_x, f_start = network.predict(X), network.predict(start)
    delta = pick(f_x, target) - pick(f_start, target)
    every = np.concatenate([f_x, f_start, network.predict(background)])
    rounding = 64 * np.finfo(np.float32).eps * np.abs(every).max(axis=0)
    spread = np.maximum(every.std(axis=0), np.finfo(np.float64).tiny)
    allowed = (TOLERANCE * spread + rounding)[target]

    values, gap, rows = np.empty(X.shape), np.zeros(len(X)), np.arange(len(X))
    while True:
        s = start if len(start) == 1 else start[rows]
        nodes, weights = gauss_legendre(n_steps)
        values[rows] = (X[rows] - s) * network.mean_gradient(s, X[rows], nodes, weights, target[rows])
        if not np.isfinite(values[rows]).all():
            raise CompletenessError(
                "The network's gradient is not finite on the way from the reference to some rows; "
                "look for a division, a logarithm or a square root near zero in the model, "
                "or use attribution='permutation'."
            )
        before = gap.copy()
        gap[rows] = np.abs(values[rows].reshape(len(rows), -1).sum(axis=1) - delta[rows])
        rows = rows[gap[rows] > allowed[rows]]
        if len(rows) == 0:
            return Attributed(values, gap=float(np.max(gap / spread[target], initial=0.0)))
        # a cut gradient leaves the gap where it is, kinks that are merely steep shrink it step by step
        stuck = np.median(gap[rows]) > 0.7 * np.median(before[rows])
        hopeless = n_steps >= 512 and len(rows) > max(8, len(X) // 5) and stuck
        if n_steps >= MAX_STEPS or hopeless:
            worst = float(np.max(gap[rows] / spread[target[rows]]))
            raise CompletenessError(
                f"For {len(rows)} of {len(X)} rows the attributions miss f(x) - f(reference) by up to "
                f"{worst:.2g} of the spread of the outputs after {n_steps} steps. The gradient of this "
                "network does not see all it does (an integer look-up such as an embedding, rounding, "
                "a step). Use a strategy without gradients, such as attribution='permutation'."
            )
        n_steps = min(2 * n_steps, MAX_STEPS)


def check_paths(
    network: Network, X: NDArray, background: NDArray, target: NDArray, rng: np.random.Generator
) -> float | None:
    """Completeness gap of whole paths between some rows and some background rows.

    For strategies that do not notice themselves when a gradient is cut.

    Raises
    ------
    CompletenessError
        When the network is not the integral of its gradient.
    """
    rows = rng.permutation(len(X))[:CHECKED_ROWS]
    start = background[rng.integers(len(background), size=len(rows))]
    return integrate(network, start, X[rows], background, target[rows], 32).gap
