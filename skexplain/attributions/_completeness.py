"""Path integrals that add up, or are refused."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from .._network import Network
from ..exceptions import CompletenessError
from ._base import Attributed
from ._spread import alike

#: Largest accepted |sum(phi) - (f(x) - f(reference))| as a fraction of the spread of f.
TOLERANCE = 1e-3
#: Rows on which a network is checked to be the integral of its gradient.
CHECKED_ROWS = 32
#: Gap accepted in this check. Enough to see a gradient that is cut; kinks of ReLU cost steps like 1 / gap.
PATH_TOLERANCE = 1e-2
#: Largest rounding error of an output, as a fraction of the spread of f, at which completeness can be checked.
ROUNDING = 0.02
#: Most doublings of the steps, from this many or more, before a row that is still not complete is given up.
MAX_DOUBLINGS, STEPS = 8, 32


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
    tolerance: float = TOLERANCE,
) -> Attributed:
    """``(x - start) * integral of the gradient`` on the straight line, refined row by row until complete.

    The difference f(x) - f(start) is known, so the error of the quadrature is too. Rows above
    ``tolerance`` times the spread of f (over the background, and a start that all share) get twice the steps. At a kink
    the error falls like 1 / steps; where it does not fall at all, more steps are no remedy.

    Raises
    ------
    CompletenessError
        When rows stay incomplete: the function jumps along the path, or part of it has its gradient cut
        (integer look-ups, rounding), so no gradient method can see it.
    """
    f_x, f_start = network.predict(X), network.predict(start)
    known = np.concatenate([network.predict(background), f_start if len(f_start) == 1 else f_start[:0]])
    sums = Sums.of(network, pick(f_x, target), pick(f_start, target), known, target, 8)

    values, rows = np.empty(X.shape), np.arange(len(X))
    gap, spread, worst = np.zeros(len(X)), np.zeros(len(X)), np.zeros(len(X))
    few = ((STEPS - 1) // n_steps).bit_length()  # doublings that lead from n_steps to STEPS
    for doubling in range(few + MAX_DOUBLINGS + 1):
        s = start if len(start) == 1 else start[rows]
        nodes, weights = gauss_legendre(n_steps << doubling)
        values[rows] = (X[rows] - s) * network.mean_gradient(s, X[rows], nodes, weights, target[rows])
        if not np.isfinite(values[rows]).all():
            raise CompletenessError(
                "The network's gradient is not finite on the way from the reference to some rows; "
                "look for a division, a logarithm or a square root near zero in the model, "
                "or use attribution='permutation'."
            )
        gap[rows], spread[rows], allowed = sums[rows].gaps(values[rows], tolerance)
        worst = np.maximum(worst, gap)
        rows = rows[gap[rows] > allowed]
        if len(rows) == 0:
            return Attributed(values, gap=float(np.max(gap / spread, initial=0.0)))
        # many rows tell early whether steps help; for a few it is cheap to find out
        if doubling >= few + 3 and len(rows) > CHECKED_ROWS and np.median(gap[rows] / worst[rows]) > 0.5:
            break
    share = float(np.max(gap[rows] / spread[rows]))
    raise CompletenessError(
        f"For {len(rows)} of {len(X)} rows the attributions miss f(x) - f(reference) by up to {share:.2g} of the "
        f"spread of the outputs with up to {n_steps << doubling} steps. The gradient of this network does not see all "
        "it does (an integer look-up such as an embedding, rounding, a step). Use a strategy without gradients, such "
        "as attribution='permutation'."
    )


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
    return integrate(network, start, X[rows], background, target[rows], 32, PATH_TOLERANCE).gap


def check_sums(
    network: Network, values: NDArray, X: NDArray, reference: NDArray, background: NDArray, target: NDArray
) -> float:
    """Largest ``|sum(values) - (f(x) - mean f(reference))|`` as a fraction of the spread of f.

    Raises
    ------
    CompletenessError
        When it is above `TOLERANCE`, or values are not finite.
    """
    f_x, f_r = network.predict(X), network.predict(reference)
    known = np.concatenate([f_r, network.predict(background)])
    # differences are averaged, so that the mean of one and the same number is that number
    base = f_r[0] + (f_r - f_r[0]).mean(axis=0)
    sums = Sums.of(network, pick(f_x, target), base[target], known, target, 32)
    # a row that is the only reference gets nothing, whose rounding has nothing to be measured by
    own = (reference[:1] == X).reshape(len(X), -1).all(axis=1) & alike(reference)
    gap, spread, allowed = sums[~own].gaps(values[~own])
    nothing = np.abs(values[own]).sum(axis=tuple(range(1, X.ndim)))
    gap, allowed = np.concatenate([gap, nothing]), np.concatenate([allowed, sums.rounding[own]])
    spread = np.concatenate([spread, np.maximum(sums.size[own], np.finfo(np.float64).tiny)])
    bad = ~(gap <= allowed)  # also NaN
    if np.any(bad):
        raise CompletenessError(
            f"For {np.count_nonzero(bad)} of {len(X)} rows the attributions miss f(x) - f(reference) by up to "
            f"{np.max((gap / spread)[bad]):.2g} of the spread of the outputs: an operation of the network is not what "
            "its rule takes it for, or rounding hides the sum. Use attribution='integrated_gradients', or "
            "'shapley_sampling'."
        )
    return float(np.max(gap / spread, initial=0.0))


class Sums:
    """What the attributions of rows should add up to, and how exactly that can be known.

    Attributes
    ----------
    delta : ndarray of shape (n,)
        The sums.
    spread : ndarray of shape (n,)
        Standard deviation of each row's output over rows that are always the same; 0 where it is no more than their
        rounding. How a row is explained may not depend on the rows explained with it.
    size, rounding : ndarray of shape (n,)
        Of the outputs, and of their differences.
    unit : float
        See `Network.unit`.
    """

    def __init__(self, delta: NDArray, spread: NDArray, size: NDArray, rounding: NDArray, unit: float = 0.0) -> None:
        self.delta, self.spread, self.size, self.rounding, self.unit = delta, spread, size, rounding, unit

    @classmethod
    def of(cls, network: Network, f_x: NDArray, f_r: NDArray, known: NDArray, target: NDArray, roundings: int) -> Sums:
        """Of outputs ``f_x`` and ``f_r`` ``(n,)`` and those of known rows ``(m, n_outputs)``."""
        size = np.maximum(np.abs(known).max(axis=0)[target], np.abs(f_x))
        spread = known.std(axis=0)[target]
        spread = np.where(spread > 8 * network.eps * size, spread, 0)
        return cls(f_x - f_r, spread, size, roundings * network.eps * size, network.unit)

    def __getitem__(self, rows: NDArray) -> Sums:
        """Some of the rows."""
        return Sums(self.delta[rows], self.spread[rows], self.size[rows], self.rounding[rows], self.unit)

    def gaps(self, values: NDArray, tolerance: float = TOLERANCE) -> tuple[NDArray, NDArray, NDArray]:
        """Size of each row's gap, the spread in whose units it is reported, and the largest gap accepted, all ``(n,)``.

        Raises
        ------
        CompletenessError
            When outputs differ by so little that their rounding hides the sums.
        """
        flat = values.reshape(len(values), -1)
        # where the known rows give one and the same output, what has to be added up
        alone = np.maximum(np.maximum(np.abs(self.delta), np.abs(flat).sum(axis=1)), self.unit)
        spread = np.where(self.spread > 0, self.spread, alone)
        drowned = (self.rounding > ROUNDING * spread) & (spread > 0)
        if drowned.any():
            raise CompletenessError(
                f"The outputs, of size {self.size[drowned].max():.2g}, differ so little, by about "
                f"{spread[drowned].min():.2g}, that their rounding hides whether attributions add up. Train in "
                "dtype='float64', or subtract a constant from the target."
            )
        gap, allowed = np.abs(flat.sum(axis=1) - self.delta), np.maximum(tolerance * spread, self.rounding)
        return gap, np.maximum(spread, np.maximum(self.rounding, np.finfo(np.float64).tiny)), allowed


def spread_of(known: NDArray, target: NDArray, otherwise: NDArray, rounding: NDArray) -> NDArray:
    """Standard deviation of each row's output over known rows, ``(n,)``; ``otherwise`` where it is but rounding."""
    spread = known.std(axis=0)[target]
    return np.maximum(np.where(spread > 8 * rounding, spread, np.abs(otherwise)), np.finfo(np.float64).tiny)
