"""The cooperative game behind Shapley values: the columns play, a coalition's worth is the output it brings about."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from math import comb
from numbers import Integral

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_scalar

from .._network import Network, chunks
from ._checks import check_finite
from ._expected_gradients import row_hash
from ._progress import progress

#: Most numbers held at once while coalitions are evaluated.
NUMBERS = 2**22
#: Samples with rows that came before, from which it is estimated how much samples with the same row differ.
AGAIN = 20


class Game:
    """``v(S) = mean over background rows b of f(x_S, b_rest)``, for each row x and each target.

    Parameters
    ----------
    network : Network
    X : ndarray of shape (n, *features)
    background : ndarray of shape (m, *features)
    groups : sequence of int ndarray
        The players: flat columns of each.
    targets : int ndarray of shape (n_targets, n)

    Attributes
    ----------
    delta : ndarray of shape (n_targets, n)
        ``v(all) - v(none)``, what is to be shared out.
    rounding : float
        Size below which differences of outputs are noise.
    h : ndarray of shape (m, n_groups)
        One number for each group of a background row, centred: its column, or of several columns the combination
        that tells most about the outputs. How outputs depend on it can be subtracted, for its mean is known.
    """

    def __init__(
        self, network: Network, X: NDArray, background: NDArray, groups: Sequence[NDArray], targets: NDArray
    ) -> None:
        self.network, self.X, self.background, self.groups, self.targets = network, X, background, groups, targets
        self.n, self.m, self.n_groups = len(X), len(background), len(groups)
        of_X, of_background = network.predict(X), network.predict(background)
        self.delta = of_X[np.arange(self.n), targets] - of_background.mean(axis=0)[targets]
        self.rounding = 8 * network.eps * max(np.abs(of_X).max(initial=0), np.abs(of_background).max(initial=0))
        self.h = _summaries(background, of_background, groups)

    def is_small(self, budget: int) -> bool:
        """Whether all coalitions can be asked with ``budget`` evaluations a row; a single group needs no sampling."""
        return self.n_groups == 1 or 2**self.n_groups * self.m <= budget

    def outputs(self, rows: NDArray, of_background: NDArray, coalitions: NDArray) -> NDArray:
        """Outputs of ``X[rows]`` where groups outside a coalition are from ``background[of_background]``; and reversed.

        Parameters
        ----------
        rows : int ndarray of shape (n_rows, 1, ...)
        of_background : int ndarray
        coalitions : bool ndarray of shape (..., n_groups)
            Its leading axes, and those of the others, are broadcast.

        Returns
        -------
        ndarray of shape (n_targets, 2, n_rows, ...)
            Of the coalitions and of their complements.
        """
        b, S = (
            np.expand_dims(v, tuple(range(rows.ndim - axes)))
            for v, axes in ((of_background, of_background.ndim), (coalitions, coalitions.ndim - 1))
        )
        out = self.network.predict_coalitions(self.X[rows], self.background[b], self.groups, S)
        picked = np.empty((len(self.targets), *out.shape[:-1]))
        for i, row in enumerate(rows.ravel()):
            for v, targets in zip(picked, self.targets, strict=True):
                v[:, i] = out[:, i, ..., targets[row]]
        return picked

    @property
    def cost_of_pairwise(self) -> int:
        """Evaluations that `pairwise` takes for a row."""
        return 2 * (self.n_groups + 1) * self.m

    def pairwise(self, rows: NDArray) -> tuple[NDArray, NDArray]:
        """Values of some rows against each background row, from few coalitions, and what they lack to their sum.

        What a group changes when none and when all of the others have changed, the mean of both: exact if groups
        interact in pairs only.

        Returns
        -------
        values : ndarray of shape (n_targets, n_rows, m, n_groups)
        missing : ndarray of shape (n_targets, n_rows, m)
        """
        none_and_alone = np.eye(self.n_groups + 1, self.n_groups, k=-1, dtype=bool)
        v, of_complements = self.outputs(rows[:, None, None], np.arange(self.m)[:, None], none_and_alone).swapaxes(0, 1)
        none, every = v[..., 0], of_complements[..., 0]
        values = (v[..., 1:] - none[..., None] + every[..., None] - of_complements[..., 1:]) / 2
        return values, every - none - values.sum(axis=-1)

    def shapley_values(self, strategy: str) -> NDArray:
        """By all coalitions, ``(n_targets, n, n_groups)``; ``strategy`` is named beside the bar.

        ``phi_j = sum over S without j of |S|! (d - |S| - 1)! / d! (v(S + j) - v(S))``
        """
        d, values = self.n_groups, np.empty((*self.targets.shape, self.n_groups))
        coalitions = (np.arange(2**d)[:, None] >> np.arange(d)) & 1 == 1
        size = coalitions.sum(axis=1)
        weight = np.array([1 / (d * comb(d - 1, s)) for s in range(d)])
        with progress(len(coalitions) * self.m * self.n, strategy) as advance:
            for block in chunks(self.n, max(1, NUMBERS // (len(coalitions) * len(self.targets)))):
                v = self._worths(block, coalitions, advance)
                for j in range(d):
                    without = np.flatnonzero(~coalitions[:, j])
                    # differences first: of a column that nothing depends on they are 0 to the last bit
                    gains = v[without + 2**j] - v[without]
                    values[:, block, j] = np.einsum("s,sti->ti", weight[size[without]], gains)
        return values

    def _worths(self, block: slice, coalitions: NDArray, advance: Callable[[int], object]) -> NDArray:
        """v of every coalition, ``(n_coalitions, n_targets, rows of the block)``."""
        half, m = len(coalitions) // 2, self.m
        v = np.zeros((len(coalitions), len(self.targets), block.stop - block.start))
        at_once = max(1, NUMBERS // (len(coalitions) * self.network.n_outputs))
        for part in chunks(v.shape[2], at_once // m):
            rows = block.start + np.arange(part.start, part.stop)
            for b in chunks(m, at_once):
                # the second half are the complements of the first, backwards
                out = self.outputs(rows[:, None, None], np.arange(m)[b, None], coalitions[:half]).sum(axis=3)
                v[:half, :, part] += out[:, 0].transpose(2, 0, 1)
                v[half:, :, part] += out[:, 1].transpose(2, 0, 1)[::-1]
                advance(len(coalitions) * len(rows) * (b.stop - b.start))
        return v / m


def orders(keys: NDArray, start: int, stop: int, n_groups: int) -> NDArray:
    """Random ranks of the groups, ``(len(keys), stop - start, n_groups)``: permutations start to stop of each key.

    By a counter-based generator (splitmix64): a key's permutations depend on nothing but the key.
    """
    count = np.arange(start * n_groups, stop * n_groups, dtype=np.uint64).reshape(-1, n_groups) + np.uint64(1)
    z = keys.astype(np.uint64)[:, None, None] + count * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))).argsort(axis=-1).argsort(axis=-1)


def prefixes(rank: NDArray) -> NDArray:
    """Coalitions of a permutation, ``(..., d, d)`` of ranks ``(..., d)``: from none to all but the last.

    The prefixes of the reverse are their complements.
    """
    return rank[..., None, :] < np.arange(rank.shape[-1])[:, None]


def contributions(v: NDArray, of_complements: NDArray, rank: NDArray) -> NDArray:
    """What each group adds to those before it, mean of a permutation and its reverse: ``(..., d)``.

    Parameters
    ----------
    v, of_complements : ndarray of shape (..., d)
        Worths of `prefixes`, and of their complements.
    rank : int ndarray of shape (..., d)
    """
    forward = np.concatenate([v, of_complements[..., :1]], axis=-1)
    backward = np.concatenate([of_complements, v[..., :1]], axis=-1)
    gain = (np.diff(forward, axis=-1) - np.diff(backward, axis=-1)) / 2
    return np.take_along_axis(gain, np.broadcast_to(rank, gain.shape), axis=-1)


def keys_of(X: NDArray, rng: np.random.Generator) -> NDArray:
    """Random bits for each row that depend on its values only; values may be words."""
    if X.dtype.kind not in "fiub":
        words = [zlib.crc32(repr(value).encode()) & 0xFFFFFF for value in X.ravel().tolist()]
        X = np.array(words, dtype=np.float32).reshape(X.shape)
    return row_hash(X, rng)


def unsettled(values: NDArray, error: NDArray, tol: float, rounding: float) -> NDArray:
    """Where the largest error of a row's values is still above ``tol`` times the range of the values and 0."""
    spread = np.maximum(values.max(axis=-1), 0) - np.minimum(values.min(axis=-1), 0)
    return error.max(axis=-1) > np.maximum(tol * spread, rounding)


def looks(first: int, last: int, tol: float, growth: float = 0.25) -> Iterator[tuple[int, int]]:
    """Consecutive ranges ``(start, stop)`` after which to look whether the values are settled.

    Each time by ``growth`` more: looking all the time would stop at errors that happen to be estimated low. Where
    nothing is small enough, looks are for interruptions only.
    """
    growth = growth if tol > 0 else 1.0
    start, stop = 0, min(first, last)
    while start < last:
        yield start, stop
        start, stop = stop, min(last, stop + max(1, int(growth * stop)))


def default_evals(n_groups: int) -> int:
    """Evaluations of a row."""
    return max(4000, 60 * n_groups)


def checked_budget(tol: float, max_evals: int | None, default: int, fewest: int, n_groups: int) -> int:
    """Evaluations allowed, where at least ``fewest`` are needed."""
    check_finite(tol, "tol", min_val=0)
    if max_evals is None:
        return default
    check_scalar(max_evals, "max_evals", Integral, min_val=1)
    if max_evals < fewest:
        raise ValueError(
            f"max_evals={max_evals} is too few to estimate {n_groups} values and their errors; pass at least {fewest}, "
            "or fewer `groups=`."
        )
    return max_evals


def _summaries(background: NDArray, outputs: NDArray, groups: Sequence[NDArray]) -> NDArray:
    """See `Game.h`."""
    main = np.linalg.svd(outputs - outputs.mean(axis=0), full_matrices=False)[0][:, 0]
    flat = background.reshape(len(background), -1)
    if flat.dtype.kind not in "fiub":
        flat = np.stack([_numbers(column, main) for column in flat.T], axis=1)
    Z = flat - flat.mean(axis=0, dtype=np.float64)
    scale = Z.std(axis=0)
    known = np.isfinite(scale) & (scale > 1e-12 * np.abs(flat).max(axis=0))
    Z = np.where(known, Z, 0) / np.where(known, scale, 1)
    slopes = np.linalg.lstsq(Z, main)[0] if any(len(g) > 1 for g in groups) else np.ones(Z.shape[1])
    h = np.zeros((len(background), len(groups)))
    for j, columns in enumerate(groups):
        total = Z[:, columns] @ slopes[columns]
        h[:, j] = total / (total.std() or 1)
    return h


def _numbers(column: NDArray, main: NDArray) -> NDArray:
    """A column as numbers: what is missing as the mean, and words as the mean of ``main`` over rows with that word."""
    try:
        numbers = column.astype(np.float64)
    except (TypeError, ValueError):
        level = np.unique([repr(value) for value in column.tolist()], return_inverse=True)[1]
        return (np.bincount(level, main) / np.bincount(level))[level]
    given = np.isfinite(numbers)
    return np.where(given, numbers, numbers[given].mean() if given.any() else 0)


class Moments:
    """Running moments of samples c, each with one of m rows that are used in turn.

    The sum C of a sample and its companion h have known means, ``delta`` and 0, by which the mean of c is corrected:
    ``phi_j = mean(c_j) - gamma_j mean(h_j) - beta_j (mean(C) - delta)`` with the coefficients of the regression
    of c_j on both. What the phi then lack to ``delta`` is shared out in proportion to their squared errors.

    Parameters
    ----------
    shape : tuple of int
        ``(..., d)``.
    m : int
        Number of rows that are used in turn.
    most : int
        Most samples that will come.
    """

    def __init__(self, shape: tuple[int, ...], m: int, most: int) -> None:
        self.m, self.n = m, np.zeros(shape[:-1], dtype=int)
        self.c, self.cc, self.cC, self.ch = (np.zeros(shape) for _ in range(4))
        self.h, self.hh, self.hC = (np.zeros(shape) for _ in range(3))
        self.C, self.CC = np.zeros(shape[:-1]), np.zeros(shape[:-1])
        # sums of the samples with each of the m rows; of no use before some of them have come twice
        self.turn = np.zeros((*shape[:-1], m, shape[-1])) if most >= m + AGAIN else None

    def add(self, rows: NDArray, start: int, c: NDArray, delta: NDArray, h: NDArray) -> None:
        """Add samples start, start + 1, ... of some rows.

        Parameters
        ----------
        rows : int ndarray of shape (k,)
            Places in the last but one axis of ``shape``.
        start : int
        c, h : ndarray of shape (..., k, q, d)
        delta : ndarray of shape (..., k)
        """
        C, q = c.sum(axis=-1) - delta[..., None], c.shape[-2]
        self.n[..., rows] += q
        self.c[..., rows, :] += c.sum(axis=-2)
        self.cc[..., rows, :] += (c * c).sum(axis=-2)
        self.cC[..., rows, :] += (c * C[..., None]).sum(axis=-2)
        self.ch[..., rows, :] += (c * h).sum(axis=-2)
        self.h[..., rows, :] += h.sum(axis=-2)
        self.hh[..., rows, :] += (h * h).sum(axis=-2)
        self.hC[..., rows, :] += (h * C[..., None]).sum(axis=-2)
        self.C[..., rows] += C.sum(axis=-1)
        self.CC[..., rows] += (C * C).sum(axis=-1)
        if self.turn is not None:
            for part in chunks(q, self.m):
                place = (start + np.arange(part.start, part.stop)) % self.m
                self.turn[..., rows[:, None], place, :] += c[..., part, :]

    def mean(self, rows: NDArray, delta: NDArray) -> tuple[NDArray, NDArray]:
        """The corrected mean of some rows, all with equally many samples, and its standard error."""
        n = self.n[..., rows][..., None]
        c, h, C = self.c[..., rows, :] / n, self.h[..., rows, :] / n, self.C[..., rows][..., None] / n
        size_h, size_C = self.hh[..., rows, :] / n, self.CC[..., rows][..., None] / n
        hh, CC, hC = size_h - h * h, size_C - C * C, self.hC[..., rows, :] / n - h * C
        cc, ch = self.cc[..., rows, :] / n - c * c, self.ch[..., rows, :] / n - c * h
        cC = self.cC[..., rows, :] / n - c * C
        # regression on h first, then on what h leaves of C: the two may be proportional
        gamma, slope = _ratio(ch, hh, size_h), _ratio(hC, hh, size_h)
        left_CC = CC - slope * hC
        beta = _ratio(cC - slope * ch, left_CC, size_C)
        values = c - gamma * h - beta * (C - slope * h)
        # three degrees of freedom are spent, on the mean and on two coefficients
        variance = np.maximum(cc - gamma * ch - beta * beta * left_CC, 0) * n / (n - 3)
        error = self._error(rows, n, variance)
        missing = delta[..., None] - values.sum(axis=-1, keepdims=True)
        total = (error**2).sum(axis=-1, keepdims=True)
        share = np.where(total > 0, error**2 / np.where(total > 0, total, 1), 0)
        return values + share * missing, error

    def _error(self, rows: NDArray, n: NDArray, variance: NDArray) -> NDArray:
        """Error of a mean of n samples, the last r of them the beginning of a turn.

        Whole turns leave nothing to chance but what differs from turn to turn, which is known as soon as some of
        the m rows have come twice; of the r last rows a share r / m is not to chance either.
        """
        m = self.m
        if self.turn is None or n.flat[0] < m + AGAIN:
            return np.sqrt(variance / n)
        times, left = np.divmod(n[..., None], m)
        times = times + (np.arange(m)[:, None] < left)
        squares = self.cc[..., rows, :] - (self.turn[..., rows, :, :] ** 2 / times).sum(axis=-2)
        inner = np.clip(squares / (n - m), 0, variance)
        r = n % m
        return np.sqrt(inner / n + (variance - inner) * r * (1 - r / m) / n**2)


def _ratio(covariance: NDArray, variance: NDArray, size: NDArray) -> NDArray:
    """``covariance / variance``; 0 where the variance is rounding."""
    varies = variance > 1e-10 * size
    return np.where(varies, covariance / np.where(varies, variance, 1), 0)
