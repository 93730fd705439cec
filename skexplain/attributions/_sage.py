"""SAGE: how much of the network's performance each column accounts for."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from numbers import Integral

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_scalar

from .._network import Network, chunks
from ..exceptions import InterruptedWarning
from ._base import Attribution
from ._game import NUMBERS, Moments, checked_budget, contributions, looks, prefixes, unsettled
from ._losses import losses_of_means
from ._progress import progress
from ._spread import check_rows_differ

#: Fewest samples from which a standard error is estimated: losses of single rows are skewed.
MIN_SAMPLES = 64
#: Evaluations by default, and samples where columns are so many that these are few.
EVALS, SAMPLES = 4_000_000, 256
#: Samples whose losses are computed between two looks at the bar.
AT_ONCE = 32


class SAGE(Attribution):
    """Shapley values of the loss: how much of the fall of the loss, from no columns to all, is due to each.

    A global measure like `Permutation`, of which it differs by what the other columns are while one is
    missing: in permutation importance they are all there, so that of two columns that say the same neither
    matters; here they share what they are worth. Use rows that the model was not trained on.

    Parameters
    ----------
    tol : float, default=0.025
        Stop when the largest standard error is at most ``tol`` times the range of the values and 0 (the largest of
        them and 0, less the smallest of them and 0).
    max_evals : int, default=None
        Most evaluations of the network in all; at least 128 ``n_background`` a group. None: 4 million, or
        512 ``n_background`` a group where that is more.
    n_background : int, default=128
        Rows of X by which missing columns are replaced, at most all. They always come from the rows that are
        averaged over; ``background=`` of `skexplain.importances` is not used.

    Raises
    ------
    ValueError
        For rows that are all alike, fewer ``max_evals`` than an error can be estimated from, and models with several
        independent sigmoid outputs, which have no one loss.

    See Also
    --------
    Permutation : one column at a time, in units of any score.
    ShapleySampling : of the output of a row, instead of the loss.

    Notes
    -----
    The worth of a coalition S is ``-E loss(mean over b of f(x_S, b_rest), y)`` over the rows of X, with log-loss of
    the mean probabilities for classifiers, and squared error of the mean prediction (mean over outputs) otherwise.
    A sample is a row, a random permutation of the columns and its reverse; rows are used equally often. The fall
    of the loss of a row, from no columns to all, has a known mean over X, and serves as control variate. Values sum
    to the mean loss without columns minus the mean loss with all, exactly. A negative value means that the network
    would do better without.

    Axioms: completeness in this sense, dummy; symmetry up to the standard error. Cost: ``2 n_background``
    predictions a column and sample; at least 64 samples. The standard error is that of the sampling, for these rows
    and this background; other rows would give other values, which it does not tell. It is biased by replacing
    missing columns independently of those that are there, and by a finite background: the loss of
    a mean over m rows is larger than that of a mean over all, under squared error by Var(f) / m where everything
    is replaced, so that values are too large by about one part in ``n_background``.

    References
    ----------
    I. Covert, S. Lundberg, S.-I. Lee, "Understanding global feature contributions with additive importance
    measures", NeurIPS 2020, algorithm 1.

    Examples
    --------
    >>> from skexplain.attributions import SAGE
    >>> SAGE(tol=0.05)
    SAGE(tol=0.05)
    """

    local = False
    stochastic = True
    needs_y = True
    needs_gradient = False

    def __init__(self, *, tol: float = 0.025, max_evals: int | None = None, n_background: int = 128) -> None:
        self.tol = tol
        self.max_evals = max_evals
        self.n_background = n_background

    def importances(
        self, network: Network, X: NDArray, y: NDArray, groups: Sequence[NDArray], rng: np.random.Generator
    ) -> tuple[NDArray, NDArray]:
        """Mean over rows and permutations of ``loss(S) - loss(S + j)``, S: the columns before j."""
        check_scalar(self.n_background, "n_background", Integral, min_val=1)
        check_rows_differ(X, self)
        background = X[np.sort(rng.permutation(len(X))[: self.n_background])]
        d = len(groups)
        cost = 2 * d * len(background)
        budget = checked_budget(self.tol, self.max_evals, max(EVALS, SAMPLES * cost), MIN_SAMPLES * cost, d)
        loss = _loss(network, X, y, background, groups)
        falls = _falls(loss, len(X), d)
        delta, rounding = np.array([falls.mean()]), 8 * network.eps * np.abs(falls).max()
        order, samples = rng.permutation(len(X)), budget // cost
        moments, one = Moments((1, d), len(X), samples), np.array([0])
        values, error, known = np.empty((1, d)), np.empty((1, d)), 0
        try:
            with progress(samples * cost, "sage") as advance:
                for start, stop in looks(MIN_SAMPLES, samples, self.tol):
                    for part in chunks(stop - start, AT_ONCE):
                        k = np.arange(start + part.start, start + part.stop)
                        rows = order[k % len(X)]
                        rank = rng.permuted(np.tile(np.arange(d), (len(rows), 1)), axis=1)
                        losses, of_complements = loss(rows, prefixes(rank))
                        c = -contributions(losses, of_complements, rank)[None]
                        moments.add(one, k[0], c, delta, np.zeros(c.shape))
                        advance(len(rows) * cost)
                    values, error = moments.mean(one, delta)
                    known = stop
                    if not unsettled(values, error, self.tol, rounding).any():
                        break
        except KeyboardInterrupt:
            if not known:
                raise
            message = f"Interrupted: SAGE of {known} of at most {samples} samples."
            warnings.warn(message, InterruptedWarning, stacklevel=2)
        return values[0], error[0]


#: Rows ``(k,)`` and coalitions of each ``(k, s, d)`` to the losses of these and of their complements ``(2, k, s)``.
_Loss = Callable[[NDArray, NDArray], NDArray]


def _loss(network: Network, X: NDArray, y: NDArray, background: NDArray, groups: Sequence[NDArray]) -> _Loss:
    m, of_means = len(background), losses_of_means(network, y)

    def loss(rows: NDArray, coalitions: NDArray) -> NDArray:
        shape = coalitions.shape[:2]
        out = np.empty((2, *shape))
        for part in chunks(len(rows), NUMBERS // (2 * m * shape[1] * network.n_outputs)):
            i = rows[part]
            Z = network.predict_coalitions(X[i, None, None], background[:, None][None], groups, coalitions[part, None])
            out[:, part] = of_means(Z, i)
        return out

    return loss


def _falls(loss: _Loss, n: int, d: int) -> NDArray:
    """Fall of each row's loss from no columns to all."""
    none, every = loss(np.arange(n), np.zeros((n, 1, d), dtype=bool))
    return (none - every)[:, 0]
