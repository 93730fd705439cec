"""Stack: the weights of dense layers, collected from the input to the output."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Stack:
    """Weights between activations, with the scales of what stands between folded in.

    A scale before an activation belongs to the layer before it, one after it to the layer that follows.

    Parameters
    ----------
    features : tuple of int
        Shape of one row.

    Attributes
    ----------
    shape : tuple of int
        Of what has been computed from one row so far.
    """

    def __init__(self, features: tuple[int, ...]) -> None:
        self.shape = tuple(features)
        self._weights: list[NDArray] = []
        self._pending = np.ones(int(np.prod(features)))
        self._bent = True

    def scale(self, factor: ArrayLike) -> None:
        """Each number is multiplied by its own factor (or all by one)."""
        factor = np.broadcast_to(np.asarray(factor, dtype=np.float64), self.shape).ravel()
        if self._bent:
            self._pending = self._pending * factor
        else:
            self._weights[-1] = self._weights[-1] * factor

    def multiply(self, W: NDArray) -> None:
        """The numbers, in a row, are multiplied by ``W`` of shape ``(n_in, n_out)``."""
        W = np.asarray(W, dtype=np.float64)
        self._weights.append(self._pending[:, None] * W)
        self.shape = W.shape[1:]
        self._pending, self._bent = np.ones(W.shape[1]), False

    def bend(self, falls: bool = False) -> None:
        """An activation, number by number; of one that falls the sign is folded in."""
        self._bent = True
        self.scale(-1.0 if falls else 1.0)

    def weights(self) -> list[NDArray]:
        """``(n_in, n_out)`` of each layer; their product maps columns to outputs."""
        if not self._weights:
            return []
        return [*self._weights[:-1], self._weights[-1] * self._pending if self._bent else self._weights[-1]]


def falls(z: NDArray, a: NDArray) -> bool:
    """Whether numbers ``a``, made of numbers ``z`` in the same places, fall where these rise."""
    steps = np.diff(np.asarray(a, dtype=np.float64).ravel()[np.argsort(z, axis=None, kind="stable")])
    return bool((steps <= 0).all() and (steps < 0).any())
