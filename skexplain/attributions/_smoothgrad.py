"""SmoothGrad: the gradient averaged over noisy copies of the row."""

from __future__ import annotations

import math
import warnings
from numbers import Integral

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.utils.validation import check_scalar

from .._network import Network, rows_at_once
from ..exceptions import InterruptedWarning
from ._base import Attributed, Attribution
from ._checks import check_finite
from ._completeness import check_paths
from ._expected_gradients import row_hash
from ._spread import alike, mean_deviation

#: Fewest pairs of samples from which a standard error can be estimated.
MIN_PAIRS = 5


class SmoothGrad(Attribution):
    """Size of the mean gradient around a row, by default times each column's spread.

    `Saliency` of a network that is blurred: it tells how strongly the output reacts *in the neighbourhood* of a row,
    where the gradient at the row itself may jump with every kink of a ReLU.

    Parameters
    ----------
    noise : float, default=0.15
        Standard deviation of the normal noise, as a fraction of each column's standard deviation over the background.
        Constant columns get no noise; 0 is `Saliency`.
    n_samples : int, default=50
        Gradients a row, at least 10. They are drawn in pairs x + z and x - z, so an odd number is rounded up.
    scaled : bool, default=True
        Multiply by the column's mean absolute deviation over the background, so that columns in
        different units can be compared. False: the bare ``|mean gradient|``, in outputs per unit of the column.

    Raises
    ------
    ValueError
        With noise or ``scaled=True``, for a background without two different rows.
    CompletenessError
        When the network is not the integral of its gradient, e.g. behind an integer look-up, where the gradient
        is 0 whatever the column does.

    See Also
    --------
    Saliency : without noise.
    ExpectedGradients : averages the gradient along paths, and adds up.

    Notes
    -----
    Cost: ``n_samples + 1`` gradients a row. Axioms: dummy, implementation invariance. Not complete, not signed. On a
    linear network the scaled values are ``|w_j| E|x_j - mean_j|``. The pairs remove the odd part of the sampling error;
    what is left is reported as standard error, over pairs; of fewer than 50 samples, intervals that are made of it are
    too short.

    Biased where noise leads to rows that do not exist: it moves one-hot columns off 0 and 1, and correlated columns
    apart. The blur is a choice: with more noise it is another network that is explained.

    References
    ----------
    D. Smilkov, N. Thorat, B. Kim, F. Viégas, M. Wattenberg, "SmoothGrad: removing noise by adding noise", ICML
    workshop on visualization for deep learning 2017, arXiv:1706.03825.

    Examples
    --------
    >>> from skexplain.attributions import SmoothGrad
    >>> SmoothGrad(noise=0.1)
    SmoothGrad(noise=0.1)
    """

    signed = False
    of_slopes = True
    stochastic = True

    def __init__(self, *, noise: float = 0.15, n_samples: int = 50, scaled: bool = True) -> None:
        self.noise = noise
        self.n_samples = n_samples
        self.scaled = scaled

    def attribute(
        self, network: Network, X: NDArray, background: NDArray, target: NDArray, rng: np.random.Generator
    ) -> Attributed:
        """``|E_z grad f(x + z)|`` with z ~ N(0, (noise * spread)²), scaled; see the class."""
        check_finite(self.noise, "noise", min_val=0)
        check_scalar(self.n_samples, "n_samples", Integral, min_val=2 * MIN_PAIRS)
        scale = mean_deviation(background, self) if self.scaled else 1.0
        if self.noise > 0 and alike(background):
            raise ValueError(
                f"noise={self.noise} is a fraction of each column's standard deviation over the background, which has "
                f"{len(background)} row(s), all alike. Pass `background=` with rows that differ, for instance some of "
                "the training data, or use attribution='saliency' with scaled=False."
            )
        rng, checking = rng.spawn(2)
        gap = check_paths(network, X, background, target, checking)
        sigma = self.noise * background.std(axis=0)
        key, pairs = row_hash(X, rng), math.ceil(self.n_samples / 2)
        counters = rng.integers(2**63, size=pairs, dtype=np.uint64)
        sums = 0, np.zeros(X.shape), np.zeros(X.shape)
        first = network.gradient(X, target)
        size = max(1, rows_at_once(X) // len(X))
        try:
            for k in range(0, pairs, size):
                z = sigma * _normals(key, counters[k : k + size], X.shape[1:])
                q, x = len(z), np.tile(X, (len(z),) + (1,) * (X.ndim - 1))
                # nodes 1 and -1 of the line from x to x + z: the pair
                ends, halves = np.array([1.0, -1.0]), np.array([0.5, 0.5])
                g = network.mean_gradient(x, x + z.reshape(x.shape), ends, halves, np.tile(target, q))
                # the gradient at the row, subtracted, keeps the squares from cancelling
                g = g.reshape(q, *X.shape) - first
                # all at once: an interruption leaves them as they are
                sums = sums[0] + q, sums[1] + g.sum(axis=0), sums[2] + (g * g).sum(axis=0)
        except KeyboardInterrupt:
            if sums[0] < MIN_PAIRS:
                raise
            message = f"Interrupted: SmoothGrad of {2 * sums[0]} of {2 * pairs} samples a row."
            warnings.warn(message, InterruptedWarning, stacklevel=2)
        n, total, squares = sums
        mean = total / n
        variance = np.maximum(squares / n - mean**2, 0) / (n - 1)
        return Attributed(np.abs(first + mean) * scale, np.sqrt(variance) * scale, gap)


def _normals(key: NDArray, counters: NDArray, features: tuple[int, ...]) -> NDArray:
    """Standard normal draws ``(len(counters), len(key), *features)``, each a function of its key, counter and place.

    The keys are the rows' own, so a row gets the same draws alone and in any batch; SplitMix64's output function
    makes them independent between rows, counters and places.
    """
    place = _mixed(np.arange(1, math.prod(features) + 1, dtype=np.uint64))
    start = _mixed(key + counters[:, None])
    bits = _mixed(start[..., None] + place) >> np.uint64(11)
    return ndtri((bits + 0.5) / 2**53).reshape(len(counters), len(key), *features)


def _mixed(h: NDArray) -> NDArray:
    """Output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a bijection of 64-bit words."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))
