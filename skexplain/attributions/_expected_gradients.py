"""Expected gradients: integrated gradients averaged over training rows as baselines."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from numbers import Integral

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_scalar

from .._network import Network, rows_at_once
from ..exceptions import InterruptedWarning
from ._base import Attributed, Attribution
from ._completeness import check_paths, pick

#: Fewest samples from which a standard error, and the weight of the control variate, can be estimated.
MIN_SAMPLES = 10


class ExpectedGradients(Attribution):
    """Integrated gradients with every background row as a baseline, by sampling.

    The default strategy: "compared with the rows the network was trained on", no baseline to choose.

    Parameters
    ----------
    n_samples : int, default=100
        Gradients a row, at least 10. Background rows are used equally often and positions on the path are stratified,
        so the error falls faster than ``1 / sqrt(n_samples)``; it is reported.

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
    implementation invariance. Cost: ``n_samples`` gradients a row.

    For one sample c_j = (x_j - b_j) d_j f(b + a (x - b)) the sum C over the columns has a known mean,
    Delta = f(x) - E f(b). It serves as control variate: ``phi_j = mean(c_j) + beta_j (Delta - mean(C))`` with
    ``beta_j = Cov(c_j, C) / Var(C)``. The beta sum to one, so the values add up to Delta exactly, and their
    variance is smaller by the share that C explains. Because that would hide a gradient that is cut
    somewhere, some rows are first integrated along whole paths, where nothing is corrected.

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
        check_scalar(self.n_samples, "n_samples", Integral, min_val=MIN_SAMPLES)
        rng, checking = rng.spawn(2)
        gap = check_paths(network, X, background, target, checking)
        delta = pick(network.predict(X), target) - network.predict(background).mean(axis=0)[target]
        c = _Moments(X.shape)
        try:
            for b, a in self._draws(X, len(background), rng):
                q = len(b)
                start, stop = background[b.ravel()], np.tile(X, (q,) + (1,) * (X.ndim - 1))
                g = network.mean_gradient(start, stop, a.reshape(1, -1), np.ones(1), np.tile(target, q))
                c.add(((stop - start) * g).reshape(q, *X.shape))
        except KeyboardInterrupt:
            if c.n < MIN_SAMPLES:
                raise
            message = f"Interrupted: expected gradients of {c.n} of {self.n_samples} samples a row."
            warnings.warn(message, InterruptedWarning, stacklevel=2)
        values, error = c.controlled_mean(delta)
        return Attributed(values, error, gap)

    def _draws(self, X: NDArray, m: int, rng: np.random.Generator) -> Iterator[tuple[NDArray, NDArray]]:
        """Blocks of background indices and positions, both ``(q, n)``, that together balance both.

        All rows share one design, each from a starting point of its own: that depends on the row's
        content, not on its place, so a row is explained alike alone and in any batch.
        """
        S = self.n_samples
        order, strata, jitter = rng.permutation(m), rng.permutation(S), rng.random(S)
        key = row_hash(X, rng).astype(np.int64)
        first_b, first_a, phase = key % m, (key >> 21) % S, (key >> 42) / 2**21
        q = max(1, rows_at_once(X) // len(X))
        for k in range(0, S, q):
            s = np.arange(k, min(k + q, S))[:, None]
            a = (strata[(s + first_a) % S] + (jitter[s] + phase) % 1) / S
            yield order[(s + first_b) % m], a


def row_hash(X: NDArray, rng: np.random.Generator) -> NDArray:
    """64 random bits for each row that depend on its values only."""
    bits = np.ascontiguousarray(X.reshape(len(X), -1), dtype=np.float32).view(np.uint32).astype(np.uint64)
    odd = rng.integers(2**63, size=bits.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    h = (bits * odd).sum(axis=1, dtype=np.uint64)
    h = (h ^ (h >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    return (h ^ (h >> np.uint64(29))) & np.uint64(2**63 - 1)


class _Moments:
    """Running first and second moments of samples c (q, n, *features) and of their sums C over features."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.n = 0
        self.c, self.cc, self.cC = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.C, self.CC = np.zeros(shape[0]), np.zeros(shape[0])

    def add(self, c: NDArray) -> None:
        C = c.reshape(*c.shape[:2], -1).sum(axis=2)
        self.n += len(c)
        self.c += c.sum(axis=0)
        self.cc += (c * c).sum(axis=0)
        self.cC += np.einsum("qn...,qn->n...", c, C)
        self.C += C.sum(axis=0)
        self.CC += (C * C).sum(axis=0)

    def controlled_mean(self, delta: NDArray) -> tuple[NDArray, NDArray]:
        """Mean of c with C as control variate of known mean ``delta``, and its standard error."""
        n, wide = self.n, (slice(None),) + (None,) * (self.c.ndim - 1)
        mean, mean_C = self.c / n, self.C / n
        variance = np.maximum(self.cc / n - mean**2, 0)
        covariance = self.cC / n - mean * mean_C[wide]
        variance_C = np.maximum(self.CC / n - mean_C**2, 0)[wide]
        varies = variance_C > 1e-12 * np.maximum(mean_C[wide] ** 2, np.finfo(np.float64).tiny)
        beta = np.where(varies, covariance / np.where(varies, variance_C, 1), 0)
        left = np.maximum(variance - beta * covariance, 0)
        # two degrees of freedom are spent, on the mean and on beta
        return mean + beta * (delta - mean_C)[wide], np.sqrt(left / (n - 2))
