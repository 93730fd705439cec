"""Expected gradients: integrated gradients averaged over training rows as baselines."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from numbers import Integral

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_scalar

from .._network import Network, chunks, rows_at_once
from ..exceptions import InterruptedWarning
from ._base import Attributed, Attribution
from ._completeness import check_paths, pick

#: Fewest paths from which a standard error, and the weight of the control variate, can be estimated.
MIN_PATHS = 10
#: Paths of a row that are formed together, and the fewest rows they are formed for, however wide.
PATHS_AT_ONCE, ROWS_AT_ONCE = 16, 64


class ExpectedGradients(Attribution):
    """Integrated gradients with every background row as a baseline, by sampling.

    The default strategy: "compared with the rows the network was trained on", no baseline to choose.

    Parameters
    ----------
    n_samples : int, default=100
        Gradients a row, at least 10: one on each path, or two if there are samples enough for paths from all
        background rows. Background rows are used equally often and positions on the paths are stratified, so the error
        falls faster than ``1 / sqrt(n_samples)``. The standard error that is reported knows only a part of this; see
        Notes.

    Raises
    ------
    CompletenessError
        When the network is not the integral of its gradient, e.g. behind an integer look-up.

    See Also
    --------
    IntegratedGradients : one baseline, no sampling.

    Notes
    -----
    Axioms: completeness with respect to the mean output over the background, dummy, linearity,
    implementation invariance. Cost: ``n_samples`` gradients a row. Biased by the background, which is what rows are
    compared with, and by rows that do not exist: between two real rows a straight line leads through points that no
    data resemble, where the network's gradient counts all the same.

    For one path c_j = (x_j - b_j) d_j f(b + a (x - b)) the sum C over the columns has a known mean,
    Delta = f(x) - E f(b). It serves as control variate: ``phi_j = mean(c_j) + beta_j (Delta - mean(C))`` with
    ``beta_j = Cov(c_j, C) / Var(C)``. The beta sum to one, so the values add up to Delta exactly, and their
    variance is smaller by the share that C explains. Because that would hide a gradient that is cut
    somewhere, some rows are first integrated along whole paths, where nothing is corrected.

    The standard error is over paths. What of c_j goes linearly with b_j is left to chance only as far as a last turn
    through the background is not complete, and is counted so. That the positions are stratified, and all else that the
    background rows have been used equally often for, makes the values better than it says: on smooth networks with
    many samples its 95 % intervals cover nearly always. Of fewer than 20 paths they are too short.

    References
    ----------
    G. Erion et al., "Improving performance of deep learning models with axiomatic attribution priors and
    expected gradients", Nature Machine Intelligence 2021, eq. 3.

    Examples
    --------
    >>> from skexplain.attributions import ExpectedGradients
    >>> ExpectedGradients(n_samples=200)
    ExpectedGradients(n_samples=200)
    """

    complete = True
    stochastic = True

    def __init__(self, *, n_samples: int = 100) -> None:
        self.n_samples = n_samples

    def attribute(
        self, network: Network, X: NDArray, background: NDArray, target: NDArray, rng: np.random.Generator
    ) -> Attributed:
        """``E_b,a [(x - b) * grad f(b + a (x - b))]``."""
        check_scalar(self.n_samples, "n_samples", Integral, min_val=MIN_PATHS)
        rng, checking = rng.spawn(2)
        gap = check_paths(network, X, background, target, checking)
        delta = pick(network.predict(X), target) - network.predict(background).mean(axis=0)[target]
        c = _Moments(X.shape, background)
        try:
            for rows, which, nodes in self._draws(X, len(background), rng):
                c.add(rows, which, network.path_contributions(X[rows], background, which, nodes, target[rows]))
        except KeyboardInterrupt:
            if c.n.min() < MIN_PATHS:
                raise
            message = f"Interrupted: expected gradients of the first {c.n.min()} paths a row."
            warnings.warn(message, InterruptedWarning, stacklevel=2)
        values, error = c.controlled_mean(delta)
        return Attributed(values, error, gap)

    def _draws(self, X: NDArray, m: int, rng: np.random.Generator) -> Iterator[tuple[slice, NDArray, NDArray]]:
        """Blocks of rows with background indices ``(q, n)`` and positions ``(p, q, n)``, that together balance both.

        All rows share one design, each from a starting point of its own: that depends on the row's
        content, not on its place, so a row is explained alike alone and in any batch.
        """
        # not more than two, so that there are ever more paths, whose spread gives the standard error
        p = 2 if self.n_samples >= 2 * max(m, MIN_PATHS) else 1
        K = -(-self.n_samples // p)
        order, strata, jitter = rng.permutation(m), rng.permutation(K), rng.random(K)
        key = row_hash(X, rng).astype(np.int64)
        first_b, first_a, phase = key % m, (key >> 21) % K, (key >> 42) / 2**21
        parts = np.arange(p)[:, None, None]
        for k in range(0, K, PATHS_AT_ONCE):
            s = np.arange(k, min(k + PATHS_AT_ONCE, K))[:, None]
            for rows in chunks(len(X), max(ROWS_AT_ONCE, rows_at_once(X) // PATHS_AT_ONCE)):
                a = (strata[(s + first_a[rows]) % K] + (jitter[s] + phase[rows]) % 1) / K
                yield rows, order[(s + first_b[rows]) % m], (parts + a) / p


def row_hash(X: NDArray, rng: np.random.Generator) -> NDArray:
    """64 random bits for each row that depend on its values only."""
    bits = np.ascontiguousarray(X.reshape(len(X), -1), dtype=np.float32).view(np.uint32).astype(np.uint64)
    odd = rng.integers(2**63, size=bits.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    h = (bits * odd).sum(axis=1, dtype=np.uint64)
    h = (h ^ (h >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    return (h ^ (h >> np.uint64(29))) & np.uint64(2**63 - 1)


class _Moments:
    """First and second moments of samples c (q, n, *features), of their sums C over features, and of their starts h.

    Of c as differences to each row's first sample, so that what all samples share takes no digits; of the background
    rows, in which the paths start, each column by itself, with mean 0 and deviation 1.
    """

    def __init__(self, shape: tuple[int, ...], background: NDArray) -> None:
        self.shape, self.width = shape, math.prod(shape[1:])
        self.origin = np.zeros((shape[0], self.width))
        flat = background.reshape(len(background), -1)
        h, spread = flat - flat.mean(axis=0, dtype=np.float64), flat.std(axis=0, dtype=np.float64)
        self.h = np.divide(h, spread, out=np.zeros(h.shape), where=spread > 1e-12 * np.abs(flat).max(axis=0))
        # of each row: c, c², cC, ch, h, h², hC, C, C² and their number; one array, so that an interruption finds all or
        # nothing added
        self.sums = np.zeros((shape[0], 7 * self.width + 3))

    @property
    def n(self) -> NDArray:
        """Samples of each row."""
        return self.sums[:, -1].astype(int)

    def add(self, rows: slice, which: NDArray, c: NDArray) -> None:
        """More samples of some rows, on paths from rows ``which`` of the background; ``c`` is changed."""
        c = c.reshape(*c.shape[:2], self.width)
        if not self.sums[rows, -1].any():
            self.origin[rows] = c[0]
        c -= self.origin[rows].astype(c.dtype)
        C, h = c.sum(axis=2, dtype=c.dtype), self.h.astype(c.dtype)[which]
        of_c = np.einsum("qnj,qnj->nj", c, c), np.einsum("qnj,qn->nj", c, C), np.einsum("qnj,qnj->nj", c, h)
        of_h = h.sum(axis=0), np.einsum("qnj,qnj->nj", h, h), np.einsum("qnj,qn->nj", h, C)
        totals = np.stack([C.sum(axis=0), (C * C).sum(axis=0), np.full(c.shape[1], len(c))], axis=1)
        self.sums[rows] += np.concatenate([c.sum(axis=0), *of_c, *of_h, totals], axis=1)

    def controlled_mean(self, delta: NDArray) -> tuple[NDArray, NDArray]:
        """Mean of c with C as control variate of known mean ``delta``, and its standard error."""
        n, d = self.sums[:, -1:], self.width
        c, cc, cC, ch, h, hh, hC = (self.sums[:, k * d : (k + 1) * d] / n for k in range(7))
        C, CC = self.sums[:, [-3]] / n, self.sums[:, [-2]] / n
        origin_C = self.origin.sum(axis=1, keepdims=True)
        var_C, size_C = CC - C**2, (C + origin_C) ** 2
        beta, gamma = _ratio(cC - c * C, var_C, size_C), _ratio(hC - h * C, var_C, size_C)
        values = self.origin + c + beta * (delta[:, None] - origin_C - C)
        left = np.maximum(cc - c**2 - beta * (cC - c * C), 0)
        # of that, what the regression on h explains too
        along = ch - c * h - gamma * (cC - c * C)
        explained = along * _ratio(along, hh - h**2 - gamma * (hC - h * C), hh)
        # degrees of freedom are spent on the mean, on beta, and on the slope of h
        left, inner = left * n / (n - 2), np.maximum(left - explained, 0) * n / (n - 3)
        inner, m = np.minimum(inner, left), len(self.h)
        # whole turns through the background balance it, and so does the last one, of r paths, to a share of r / m
        r = n % m
        variance = inner / n + (left - inner) * r * (1 - r / m) / n**2
        return values.reshape(self.shape), np.sqrt(variance).reshape(self.shape)


def _ratio(covariance: NDArray, variance: NDArray, size: NDArray) -> NDArray:
    """``covariance / variance``; 0 where the variance is rounding."""
    varies = variance > 1e-12 * np.maximum(size, np.finfo(np.float64).tiny)
    return np.where(varies, covariance / np.where(varies, variance, 1), 0)
