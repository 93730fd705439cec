"""Kernel SHAP: Shapley values as the coefficients of a weighted regression on coalitions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .._network import Network, chunks
from ..exceptions import InterruptedWarning
from ._base import Attributed, ReplacementAttribution
from ._game import NUMBERS, Game, checked_budget, default_evals, looks, unsettled
from ._progress import progress

#: Fewest pairs of coalitions beyond two for each coefficient.
MIN_PAIRS = 16
#: More pairs before the next look; each costs a regression.
GROWTH = 0.5


class KernelSHAP(ReplacementAttribution):
    """Shapley values of each row by regression on random coalitions, until the error is small.

    The same values as `ShapleySampling`. For the same number of predictions the error is smaller with dozens of columns
    and larger with few; and rows share it.

    Parameters
    ----------
    tol : float, default=0.01
        A row is settled when the largest standard error of its values is at most ``tol`` times the range of its
        values and 0 (the largest of them and 0, less the smallest of them and 0). Of several targets all must be.
    max_evals : int, default=None
        Most evaluations of the network for a row; at least 4 a group and 32 more. None: 4000, or 60 a group where
        that is more.

    Raises
    ------
    ValueError
        For fewer ``max_evals`` than an error can be estimated from.

    See Also
    --------
    ExactShapley : all coalitions, for up to 12 groups.
    ShapleySampling : independent rows, an exact 0 for columns that are not used.

    Notes
    -----
    Coalitions come in pairs, S and its complement, with one background row a pair. Their sizes are uniform (leverage
    scores) and of each size all columns are used equally often. The difference of the two outputs is
    regressed on which columns are in S, with the weights of the Shapley kernel over those of the sampling, under
    the constraint that the coefficients sum to f(x) minus the mean of f over the background. Columns are never
    selected, none is set to 0. The game is that of `ExactShapley`, whose values are returned where asking all
    coalitions with all background rows costs no more than ``max_evals``; nothing is sampled then.

    Which background row was drawn enters the regression as well: a column's effect may depend linearly on the
    column's value in b, whose mean is known. So a network that is linear is exact, to rounding, as soon as there are
    more pairs than coefficients, and others lose the part of the noise that is linear in b. Standard errors are those
    of heteroscedastic regression (jackknife, HC3).

    With n background rows and d columns, ``2 n (d + 1)`` predictions tell what each column changes between x and each
    b when none and when all of the others have changed. The mean of the two is exact where columns interact in pairs
    only. Where ``max_evals`` is one and a half times as much, this is done first, and what is left to chance and
    regressed is how coalitions of two columns and more differ from it. For 10 columns and 4000 predictions the error
    was a sixth of that without.

    Axioms: completeness with respect to the mean output over the background, exactly; symmetry, dummy and
    linearity up to the standard error. Cost: 2 predictions a pair, at most ``max_evals`` predictions a row, and a least
    squares problem of twice as many unknowns as groups for all rows together. All rows share coalitions and
    background rows, so their errors are not independent: a mean over rows keeps part of the error of one row.
    It is biased by the choice of the game, as `ExactShapley` is, and by the ratio of two samples that a
    regression is, by less than its error.

    References
    ----------
    S. Lundberg, S.-I. Lee, "A unified approach to interpreting model predictions", NeurIPS 2017, theorem 2.
    I. Covert, S.-I. Lee, "Improving KernelSHAP: practical Shapley value estimation using linear regression",
    AISTATS 2021, sec. 3.3, on pairs.
    C. Musco, R. T. Witter, "Provably accurate Shapley value estimation via leverage score sampling", ICLR 2025,
    sec. 3.

    Examples
    --------
    >>> from skexplain.attributions import KernelSHAP
    >>> KernelSHAP(max_evals=10_000)
    KernelSHAP(max_evals=10000)
    """

    complete = True
    stochastic = True
    shared_error = True

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
        """``argmin sum_S w_S (v(S) - v(none) - sum of phi over S)^2`` with the phi summing to v(all) - v(none)."""
        d = len(groups)
        fewest = 2 * d + MIN_PAIRS
        budget = checked_budget(self.tol, self.max_evals, default_evals(d), 2 * fewest, d)
        game = Game(network, X, background, groups, targets)
        if game.is_small(budget):
            values = game.shapley_values("kernel_shap")
            return Attributed(values, np.zeros(values.shape))
        beforehand = game.cost_of_pairwise
        if d < 4 or budget < max(1.5 * beforehand, beforehand + 2 * fewest):
            beforehand = 0
        pairs = (budget - beforehand) // 2
        design = _Design(game, pairs, rng, beforehand > 0)
        values, error = np.empty((*targets.shape, d)), np.empty((*targets.shape, d))
        with progress((2 * pairs + beforehand) * game.n, "kernel_shap") as advance:
            for block in chunks(game.n, max(1, NUMBERS // (max(pairs, beforehand) * len(targets)))):
                values[:, block], error[:, block] = self._fit(game, design, block, fewest, advance)
        return Attributed(values, error)

    def _fit(
        self, game: Game, design: _Design, block: slice, fewest: int, advance: Callable[[int], object]
    ) -> tuple[NDArray, NDArray]:
        """Values and errors of some rows, each from as many pairs as it needs."""
        every = np.arange(block.start, block.stop)
        pairs = len(design.S)
        y = np.empty((pairs, len(game.targets), len(every)))
        values, error = np.empty((2, len(game.targets), len(every), game.n_groups))
        active, known = np.arange(len(every)), 0
        try:
            pairwise = design.pairwise(game, every, advance)
            base = pairwise.mean(axis=2)
            delta = game.delta[:, every] - base.sum(axis=-1)
            for start, stop in looks(fewest, pairs, self.tol, GROWTH):
                for k in chunks(stop - start, NUMBERS // (len(active) * game.n_groups)):
                    k = slice(start + k.start, start + k.stop)
                    y[k, :, active] = design.differences(game, every[active], k, pairwise[:, active])
                    advance(2 * len(active) * (k.stop - k.start))
                at = np.s_[:, active]
                rest, spread = design.solve(y[:stop, :, active], delta[at])
                values[at], error[at] = base[at] + rest, spread
                known = stop
                active = active[unsettled(values[at], error[at], self.tol, game.rounding).any(axis=0)]
                if not len(active):
                    break
        except KeyboardInterrupt:
            if not known or block.stop < game.n:
                raise
            message = f"Interrupted: kernel SHAP of {known} or more of {pairs} pairs of coalitions a row."
            warnings.warn(message, InterruptedWarning, stacklevel=4)
        return values, error


class _Design:
    """Pairs of coalitions and the background row of each, the same for all rows.

    Parameters
    ----------
    game : Game
    n_pairs : int
    rng : numpy.random.Generator
    pairwise : bool
        Whether values by `Game.pairwise` are subtracted from what is regressed.

    Attributes
    ----------
    S : bool ndarray of shape (n_pairs, d)
    b : int ndarray of shape (n_pairs,)
    """

    def __init__(self, game: Game, n_pairs: int, rng: np.random.Generator, pairwise: bool) -> None:
        d, m = game.n_groups, game.m
        self.is_pairwise = pairwise
        size = _sizes(n_pairs, d, rng, 2 if pairwise else 1)
        self.S = np.empty((n_pairs, d), dtype=bool)
        for s in np.unique(size):
            self.S[size == s] = _coalitions(int(s), int((size == s).sum()), d, rng)
        self.b = np.concatenate([rng.permutation(m) for _ in range(-(-n_pairs // m))])[:n_pairs]
        # the Shapley kernel, (d - 1) / (C(d, s) s (d - s)), over the probability 1 / ((d - 1) C(d, s))
        self.root_weight = 1 / np.sqrt(size * (d - size))
        self.Z = np.where(self.S, 1.0, -1.0)
        # coefficients that sum to 0, in an orthonormal basis
        self.basis = np.linalg.qr(np.eye(d) - 1 / d)[0][:, : d - 1]
        self.even = self.Z.mean(axis=1)
        self.columns = self.Z @ self.basis
        # Of single groups and their complements all is known beforehand, and nothing is left; as pairs of these
        # two sizes they would add to each diagonal element of the normal equations, for each pair of the others:
        self.of_single = 8 / (d * (d - 1) * (d - 3)) if pairwise else 0.0
        if not pairwise:
            self.columns = np.concatenate([self.columns, self.Z * game.h[self.b]], axis=1)

    def pairwise(self, game: Game, rows: NDArray, advance: Callable[[int], object]) -> NDArray:
        """Values of rows against each background row, ``(n_targets, n_rows, m, d)``, that are subtracted; or 0."""
        if not self.is_pairwise:
            return np.zeros((len(game.targets), len(rows), 1, game.n_groups))
        values, missing = game.pairwise(rows)
        advance(game.cost_of_pairwise * len(rows))
        return values + missing[..., None] / game.n_groups

    def differences(self, game: Game, rows: NDArray, pairs: slice, pairwise: NDArray) -> NDArray:
        """``f(x_S, b_rest) - f(x_rest, b_S)``, less what pairwise values say, ``(n_pairs, n_targets, n_rows)``."""
        v = game.outputs(rows[:, None], self.b[pairs], self.S[pairs])
        y = v[:, 0] - v[:, 1]
        if self.is_pairwise:
            y -= np.einsum("kd,tnkd->tnk", self.Z[pairs], pairwise[:, :, self.b[pairs]])
        return y.transpose(2, 0, 1)

    def solve(self, y: NDArray, delta: NDArray) -> tuple[NDArray, NDArray]:
        """Coefficients and their errors, ``(n_targets, n_rows, d)``, from ``y`` of shape (n_pairs, n_targets, n_rows).

        The differences are those of the coefficients in S and out of it: ``y = sum_j z_j phi_j``, z_j = 1 in S and
        -1 elsewhere.
        """
        n, d = len(y), self.S.shape[1]
        root = self.root_weight[:n, None]
        D = root * self.columns[:n]
        if n < 2 * D.shape[1]:
            D = D[:, : d - 1]
        r = root * (y - self.even[:n, None, None] * delta).reshape(n, -1)
        # by the normal equations: columns are of like size and far from dependent, or 0
        eigenvalue, V = np.linalg.eigh(D.T @ D + n * self.of_single * np.eye(D.shape[1]))
        kept = eigenvalue > 1e-10 * eigenvalue[-1]
        half = V[:, kept] / np.sqrt(eigenvalue[kept])
        U = D @ half
        residual = r - U @ (U.T @ r)
        leverage = np.minimum((U**2).sum(axis=1), 1 - 1e-6)[:, None]
        to_values = self.basis @ half[: d - 1] @ U.T
        values = delta[..., None] / d + (to_values @ r).T.reshape(*delta.shape, d)
        variance = to_values**2 @ (residual / (1 - leverage)) ** 2
        return values, np.sqrt(variance).T.reshape(*delta.shape, d)


def _sizes(n_pairs: int, d: int, rng: np.random.Generator, least: int = 1) -> NDArray:
    """Sizes of the coalitions of pairs, uniform on ``least`` to d - ``least`` and even in any part of the sequence."""
    golden = (np.sqrt(5) - 1) / 2
    u = (rng.random() + golden * np.arange(n_pairs)) % 1
    size = least + np.floor(u * (d + 1 - 2 * least)).astype(int)
    return np.minimum(size, d - size)


def _coalitions(size: int, count: int, d: int, rng: np.random.Generator) -> NDArray:
    """Random coalitions of a size that use all groups equally often: runs of permutations."""
    runs = d // size
    rank = rng.permuted(np.tile(np.arange(d), (-(-count // runs), 1)), axis=1)
    run = rank[:, None, :] // size == np.arange(runs)[:, None]
    return run.reshape(-1, d)[:count]
