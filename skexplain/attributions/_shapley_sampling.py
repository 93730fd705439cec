"""Shapley sampling: what a column adds when columns enter in random order."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .._network import Network, chunks
from ..exceptions import InterruptedWarning
from ._base import Attributed, ReplacementAttribution
from ._game import (
    NUMBERS,
    Game,
    Moments,
    checked_budget,
    contributions,
    default_evals,
    keys_of,
    looks,
    orders,
    prefixes,
    unsettled,
)
from ._progress import progress

#: Fewest permutations, each with its reverse, from which a standard error is estimated.
MIN_PAIRS = 16


class ShapleySampling(ReplacementAttribution):
    """Shapley values of each row by random permutations, each with its reverse, until the error is small.

    For any number of columns, any model, with a standard error. Where the network has gradients `ExpectedGradients`
    costs less for many columns; it answers a slightly different question.

    Parameters
    ----------
    tol : float, default=0.01
        A row is settled when the largest standard error of its values is at most ``tol`` times the range of its
        values and 0 (the largest of them and 0, less the smallest of them and 0). Of several targets all must be.
    max_evals : int, default=None
        Most evaluations of the network for a row; at least 32 a group. None: 4000, or 60 a group where that is more.

    Raises
    ------
    ValueError
        For fewer ``max_evals`` than an error can be estimated from.

    See Also
    --------
    ExactShapley : all coalitions, for up to 12 groups.
    KernelSHAP : the same values by regression.

    Notes
    -----
    Columns enter in random order, from a background row b to the row x; a column's value is the mean of what it
    changes. A permutation and its reverse share b and count as one sample, and background rows are used equally
    often. The game is that of `ExactShapley`, whose values are returned where asking all coalitions with all
    background rows costs no more than ``max_evals``; nothing is sampled then.

    A sample c sums to C = f(x) - f(b), whose mean over the background is known, and so is that of b. Both serve as
    control variates, so that a linear network is exact after the first samples, and a background need not be used
    up before it is balanced. The sums are exact: what the values lack after that, they get in proportion to their
    squared errors. Once background rows come a second time, the standard error knows what they all having been
    used is worth; shortly before it is rather too large.

    Axioms: completeness with respect to the mean output over the background, exactly; dummy, exactly; symmetry and
    linearity up to the standard error. Cost: 2 predictions a column and sample, at least 16 samples and at most
    ``max_evals`` predictions a row. Random numbers come from a row's values, so that errors of different rows are
    independent. It is biased by the choice of the game, as `ExactShapley` is.

    References
    ----------
    E. Štrumbelj, I. Kononenko, "Explaining prediction models and individual predictions with feature
    contributions", Knowledge and Information Systems 2014, algorithm 1.
    R. Mitchell, J. Cooper, E. Frank, G. Holmes, "Sampling permutations for Shapley value estimation", JMLR 2022,
    sec. 2.3, on antithetic permutations.

    Examples
    --------
    >>> from skexplain.attributions import ShapleySampling
    >>> ShapleySampling(tol=0.05)
    ShapleySampling(tol=0.05)
    """

    complete = True
    stochastic = True

    def __init__(self, *, tol: float = 0.01, max_evals: int | None = None) -> None:
        self.tol = tol
        self.max_evals = max_evals

    def attribute_groups(
        self,
        network: Network,
        X: NDArray,
        background: NDArray,
        groups: Sequence[NDArray],
        targets: NDArray,
        rng: np.random.Generator,
    ) -> Attributed:
        """Mean over permutations and background rows of ``f(x_{S + j}, b) - f(x_S, b)``, S: those before j."""
        d = len(groups)
        budget = checked_budget(self.tol, self.max_evals, default_evals(d), 2 * d * MIN_PAIRS, d)
        game = Game(network, X, background, groups, targets)
        if game.is_small(budget):
            values = game.shapley_values("shapley_sampling")
            return Attributed(values, np.zeros(values.shape))
        pairs = budget // (2 * d)
        keys, order = keys_of(X, rng), rng.permutation(game.m)
        values, error = np.empty((*targets.shape, d)), np.empty((*targets.shape, d))
        with progress(2 * d * pairs * game.n, "shapley_sampling") as advance:
            for block in chunks(game.n, max(1, 4 * NUMBERS // (game.m * d * len(targets)))):
                walks = _Walks(game, np.arange(game.n)[block], keys[block].astype(np.int64), order, pairs)
                values[:, block], error[:, block] = walks.settle(self.tol, advance)
        return Attributed(values, error)


class _Walks:
    """Random walks of some rows from background rows to them, by one column after the other.

    Parameters
    ----------
    game : Game
    rows : int ndarray of shape (k,)
        Rows of the game.
    keys : int ndarray of shape (k,)
        Random bits of each.
    order : int ndarray of shape (m,)
        Order in which background rows are used; each row starts at a place of its own.
    pairs : int
        Most walks, each there and back.
    """

    def __init__(self, game: Game, rows: NDArray, keys: NDArray, order: NDArray, pairs: int) -> None:
        self.game, self.rows, self.keys, self.order, self.pairs = game, rows, keys, order, pairs
        self.moments = Moments((len(game.targets), len(rows), game.n_groups), game.m, pairs)

    def settle(self, tol: float, advance: Callable[[int], object]) -> tuple[NDArray, NDArray]:
        """Values and errors, ``(n_targets, k, d)``, each row from as many walks as it needs."""
        game, moments, active = self.game, self.moments, np.arange(len(self.rows))
        shape = moments.c.shape
        values, error, known = np.empty(shape), np.empty(shape), 0
        try:
            for start, stop in looks(MIN_PAIRS, self.pairs, tol):
                for part in chunks(stop - start, NUMBERS // (2 * game.n_groups**2)):
                    self._sample(active, start + part.start, start + part.stop, advance)
                values[:, active], error[:, active] = moments.mean(active, game.delta[:, self.rows[active]])
                known = stop
                active = active[unsettled(values[:, active], error[:, active], tol, game.rounding).any(axis=0)]
                if not len(active):
                    break
        except KeyboardInterrupt:
            if not known or self.rows[-1] + 1 < game.n:
                raise
            message = f"Interrupted: Shapley sampling of {known} or more of {self.pairs} permutations a row."
            warnings.warn(message, InterruptedWarning, stacklevel=4)
        return values, error

    def _sample(self, active: NDArray, start: int, stop: int, advance: Callable[[int], object]) -> None:
        """Add walks start to stop of the active rows to the moments."""
        game, d, q = self.game, self.game.n_groups, stop - start
        size = max(1, NUMBERS // (q * 2 * d * d))
        for k in (active[part] for part in chunks(len(active), size)):
            i, rank = self.rows[k], orders(self.keys[k], start, stop, d)
            b = self.order[(np.arange(start, stop) + self.keys[k, None]) % game.m]
            v, of_complements = game.outputs(i[:, None, None], b[..., None], prefixes(rank)).swapaxes(0, 1)
            c = contributions(v, of_complements, rank)
            self.moments.add(k, start, c, game.delta[:, i], np.broadcast_to(game.h[b], c.shape))
            advance(2 * v[0].size)
