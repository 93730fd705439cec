"""Mean and variance of a stream, without the stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Numbers of a block, unless a single vector has more: they stay in the processor's cache.
ROOM = 2**16


class Moments:
    """Running mean and variance of vectors, in float64.

    Parameters
    ----------
    size : int
        Numbers in a vector.

    Attributes
    ----------
    count : int
        Vectors seen.
    mean : ndarray of shape (size,)
    variance : ndarray of shape (size,)
        Of the vectors seen (divided by their number, as `numpy.var`); 0 for fewer than two.

    References
    ----------
    B. P. Welford, "Note on a method for calculating corrected sums of squares and products", Technometrics 1962.
    T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
    COMPSTAT 1982.
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean = np.zeros(size)
        self._squares = np.zeros(size)  # sum of (x - mean)^2
        self._room: NDArray | None = None  # for deviations: new memory for each block would cost more than the sums

    @property
    def variance(self) -> NDArray:
        return self._squares / max(self.count, 1)

    def add(self, samples: NDArray) -> None:
        """Take in samples ``(n, size)``: the moments of a block of them are merged with those before."""
        if self._room is None:
            self._room = np.empty((max(1, ROOM // max(1, len(self.mean))), len(self.mean)))
        for start in range(0, len(samples), len(self._room)):
            self._add(samples[start : start + len(self._room)], self._room)

    def _add(self, samples: NDArray, room: NDArray) -> None:
        n = len(samples)
        ones = np.ones(n)  # sums over rows as products are the fastest
        deviations = room[:n]
        deviations[...] = samples
        mean = ones @ deviations / n
        deviations -= mean
        total = self.count + n
        step = mean - self.mean
        self._squares += ones @ np.square(deviations, out=deviations) + step**2 * (self.count * n / total)
        self.mean += step * (n / total)
        self.count = total

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_room": None}
