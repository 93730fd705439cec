"""How far a score falls when groups of columns are shuffled, and the standard error of that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._network import chunks
from ._losses import OfRows

#: Rows in other orders held at once.
BLOCK = 2**22
#: Most numbers of rows, or of outputs, formed at once.
NUMBERS = 2**19
#: Falls of single rows kept for the error of their mean: of all rows, or evenly spaced ones, and of how many at least.
KEPT, FEWEST = 2**18, 200


def spacing(n: int, n_groups: int) -> int:
    """Of every so many of n rows the single falls are kept."""
    return max(1, min(-(-n * n_groups // KEPT), n // FEWEST))


def error_over_rows(of_some: NDArray, n_repeats: int, n: int) -> NDArray:
    """Standard error of the mean of falls g(x, x'), each of a row x that got a column of a row x'.

    A row takes part in the falls where it gets and in those where it gives, and the mean has the variance of the sums
    of both, over n. In these the variance of single falls is counted twice, as each has a row on either side.

    Parameters
    ----------
    of_some : ndarray of shape (3, n_groups, n_some)
        Of some rows the sum over the repeats of the falls where they get, where they give, and of the first squared.
    """
    variance = np.empty(of_some.shape[1])
    for g, (got, given, squares) in enumerate(of_some.swapaxes(0, 1)):
        single = squares.mean() / n_repeats - (got.mean() / n_repeats) ** 2
        both = (got + given).var(ddof=1) / n_repeats**2 - single / n_repeats
        variance[g] = max(both, got.var(ddof=1) / n_repeats**2)
    return np.sqrt(variance / n)


@dataclass(frozen=True)
class Falls:
    """How far a score falls when groups are shuffled.

    Attributes
    ----------
    of_rows : callable or None
        From outputs to a number a row, whose mean is the score.
    score : callable or None
        Otherwise: from all outputs, or an estimator that stands in for the model, to the score.
    ask_model : bool
        Whether from an estimator.
    step : int
        Of every so many rows the single falls are kept.
    """

    network: Any
    X: NDArray
    groups: Sequence[NDArray]
    of_rows: OfRows | None
    score: Callable[[Any], float] | None
    ask_model: bool
    step: int

    def __call__(self, shuffles: Sequence[Callable], seeds: NDArray) -> tuple[NDArray, NDArray]:
        """Falls of the score ``(n_groups,)``, and of some rows, see `error_over_rows`, ``(3, n_groups, n_some)``."""
        blocks = chunks(len(self.groups), BLOCK // len(self.X))
        means, some = zip(*(self._of_block(self.groups[b], shuffles[b], seeds[b]) for b in blocks), strict=True)
        return np.concatenate(means), np.concatenate(some, axis=1)

    def _of_block(
        self, groups: Sequence[NDArray], shuffles: Sequence[Callable], seeds: NDArray
    ) -> tuple[NDArray, NDArray]:
        generators, n = [np.random.default_rng(seed) for seed in seeds], len(self.X)
        orders = [rng.permutation(n) for rng in generators]
        draws = [shuffle(*drawn) for shuffle, *drawn in zip(shuffles, orders, generators, strict=True)]
        # nothing replaced, then each group alone: in one call, so that both are rounded alike
        which = np.eye(len(groups) + 1, len(groups), k=-1, dtype=bool)
        if self.ask_model:
            return self._of_scores(self.network.stand_ins(*self._rows(slice(n), groups, draws), groups, which))
        size = min(NUMBERS // self.X[0].size, NUMBERS // (len(which) * self.network.n_outputs))
        blocks = list(chunks(n, size))
        outputs = (self.network.predict_replaced(*self._rows(b, groups, draws), groups, which) for b in blocks)
        if self.of_rows is None:
            return self._of_scores(np.concatenate(list(outputs), axis=1))
        total, some = np.zeros(len(groups)), np.zeros((3, len(groups), -(-n // self.step)))
        for rows, out in zip(blocks, outputs, strict=True):
            values = self.of_rows(out, rows)
            falls = values[0] - values[1:]
            total += falls.sum(axis=1)
            got, place = falls[:, -rows.start % self.step :: self.step], -(-rows.start // self.step)
            some[::2, :, place : place + got.shape[1]] = got, got**2
            for given, order, fall in zip(some[1], orders, falls, strict=True):
                giver, left = np.divmod(order[rows], self.step)
                given[giver[left == 0]] = fall[left == 0]
        return total / n, some

    def _rows(self, rows: slice, groups: Sequence[NDArray], draws: list[Any]) -> tuple[NDArray, NDArray]:
        """Some rows of X, and what their columns are replaced by."""
        X = self.X[rows]
        shuffled = X.reshape(len(X), -1).astype(np.result_type(X.dtype, draws[0].dtype))
        for columns, draw in zip(groups, draws, strict=True):
            shuffled[:, columns] = draw[rows]
        return X, shuffled.reshape(X.shape)

    def _of_scores(self, answers: Iterable[Any]) -> tuple[NDArray, NDArray]:
        assert self.score is not None
        baseline, *alone = map(self.score, answers)
        return baseline - np.array(alone), np.empty((3, len(alone), 0))
