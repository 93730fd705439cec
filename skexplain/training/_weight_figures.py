"""WeightFigures: how far and how much the weights on each column moved, without a record of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._moments import Moments
from ._weight_watcher import WeightWatcher


class WeightFigures(WeightWatcher):
    """Figures of each weight over the training, exact, in the memory of a few samples."""

    def __init__(self, *, per: str = "epoch") -> None:
        self.per = per

    def std(self) -> NDArray:
        """Standard deviation of each weight over the training, summed over a column's weights, ``(n_columns,)``."""
        return self._summed(np.sqrt(self._moments.variance))

    def range(self) -> NDArray:
        """Largest less smallest value of each weight, summed over a column's weights, ``(n_columns,)``."""
        return self._summed(self._high - self._low)

    def mean_abs(self) -> NDArray:
        """Mean size of each weight over the training, summed over a column's weights, ``(n_columns,)``."""
        return self._summed(self._sizes / self._moments.count)

    def path_length(self) -> NDArray:
        """Sum of all changes of each weight, whatever their sign, summed over a column's weights, ``(n_columns,)``.

        Changes from one sample to the next.
        """
        return self._summed(self._way)

    def _summed(self, values: NDArray) -> NDArray:
        return self._watched().per_column(values)

    def _reset(self, size: int) -> None:
        self._moments = Moments(size)
        self._low, self._high = np.full(size, np.inf), np.full(size, -np.inf)
        self._sizes, self._way = np.zeros(size), np.zeros(size)
        self._newest = np.empty((0, size))

    def _take(self, samples: NDArray, times: NDArray) -> None:
        self._moments.add(samples)
        np.minimum(self._low, samples.min(axis=0), out=self._low)
        np.maximum(self._high, samples.max(axis=0), out=self._high)
        self._sizes += np.abs(samples).sum(axis=0, dtype=np.float64)
        way = np.diff(np.concatenate([self._newest, samples]), axis=0)
        self._way += np.abs(way).sum(axis=0, dtype=np.float64)
        self._newest = samples[-1:].copy()
