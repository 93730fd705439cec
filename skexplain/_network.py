"""Network: the one boundary between attribution strategies and frameworks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ._head import Head
from .exceptions import UnsupportedLayerError

#: Most rows handed to a framework at once: enough to hide its per-call cost, few enough for the caches.
CHUNK = 4096
#: Most numbers handed over at once, where rows are long.
CHUNK_NUMBERS = 2**20


def rows_at_once(X: NDArray) -> int:
    """How many rows of X's width are handed to a framework at once."""
    return int(np.clip(CHUNK_NUMBERS // max(1, math.prod(X.shape[1:])), 16, CHUNK))


def chunks(n: int, size: int = CHUNK) -> Iterator[slice]:
    """Consecutive slices of at most ``size`` that cover ``range(n)``."""
    for start in range(0, n, max(1, size)):
        yield slice(start, min(start + max(1, size), n))


def rowwise(v: NDArray, X: NDArray) -> NDArray:
    """Shape one number a row so that it multiplies rows of X."""
    return np.reshape(v, (-1,) + (1,) * (X.ndim - 1))


class Network(ABC):
    """A trained network as strategies see it: a handful of verbs on NumPy arrays.

    Each verb has a plain definition here, in terms of `predict` and `gradient`, that reads like its formula.
    Frameworks override it where they can be faster; one test compares every override with the plain one.
    No verb leaves a trace on the model: weights, flags, gradients and random states are as before,
    also after an exception.

    Attributes
    ----------
    head : Head
        What the outputs are; its scale is the one explained.
    classes : ndarray of shape (n_outputs,) or None
        Labels of the outputs of a classifier.
    """

    head: Head
    classes: NDArray | None = None

    @property
    def n_outputs(self) -> int:
        return self.head.n_outputs

    @property
    def eps(self) -> float:
        """Relative rounding error of the numbers the model computes in."""
        return float(np.finfo(np.float32).eps)

    @abstractmethod
    def raw(self, X: NDArray) -> NDArray:
        """Raw outputs (logits or predictions) of shape ``(n, n_raw)`` for rows ``(n, *features)``."""

    @abstractmethod
    def gradient(self, X: NDArray, target: NDArray) -> NDArray:
        """Gradient of output ``target[i]`` at row i, of the shape of X."""

    def predict(self, X: NDArray) -> NDArray:
        """Outputs on the explained scale, float64 ``(n, n_outputs)``."""
        return self.head(self.raw(X))

    def mean_gradient(
        self, start: NDArray, stop: NDArray, nodes: NDArray, weights: NDArray, target: NDArray
    ) -> NDArray:
        """Weighted sum of gradients along the straight lines from ``start`` to ``stop``.

        Parameters
        ----------
        start, stop : ndarray of shape (n, *features)
            ``start`` may have one row, which then serves all.
        nodes : ndarray of shape (n_nodes,) or (n_nodes, n)
            Positions on the line, 0 at ``start`` and 1 at ``stop``.
        weights : ndarray of shape (n_nodes,)
        target : int ndarray of shape (n,)

        Returns
        -------
        ndarray of the shape of ``stop``
            ``sum_k weights[k] * gradient(start + nodes[k] * (stop - start), target)``
        """
        total = np.zeros(stop.shape)
        for a, w in zip(nodes, weights, strict=True):
            total += w * self.gradient(start + rowwise(a, stop) * (stop - start), target)
        return total

    def predict_replaced(
        self, X: NDArray, reference: NDArray, groups: Sequence[NDArray], coalitions: NDArray
    ) -> NDArray:
        """Outputs after groups of columns have been taken from ``reference``.

        Parameters
        ----------
        X, reference : ndarray of shape (n, *features)
        groups : sequence of int ndarray
            Flat column indices of each group.
        coalitions : bool ndarray of shape (n_coalitions, n_groups)
            True where a group is taken from ``reference``.

        Returns
        -------
        ndarray of shape (n_coalitions, n, n_outputs)
        """
        out = np.empty((len(coalitions), len(X), self.n_outputs))
        for k, members in enumerate(coalitions):
            columns = np.concatenate([groups[int(g)] for g in np.flatnonzero(members)] or [np.empty(0, int)])
            out[k] = self.predict(replace_columns(X, reference, columns))
        return out

    def dense_weights(self) -> list[NDArray]:
        """Weights ``(n_in, n_out)`` of each layer of a stack of dense layers, from the columns to the raw outputs.

        Between two of them stand activations that act on each number alone. Scales (standardisation, batch
        normalisation in evaluation) are folded in; biases are left out.

        Raises
        ------
        UnsupportedLayerError
            When the network is anything else, or it cannot be known.
        """
        raise UnsupportedLayerError(type(getattr(self, "model", self)).__name__, "A method of weights")


def replace_columns(X: NDArray, reference: NDArray, columns: NDArray) -> NDArray:
    """A copy of X with the (flat) columns of ``reference``."""
    flat = X.reshape(len(X), -1).copy()
    flat[:, columns] = reference.reshape(len(reference), -1)[:, columns]
    return flat.reshape(X.shape)


class DenseNetwork(Network):
    """A stack of dense layers in NumPy: scikit-learn's MLPs, and the reference that others are tested against.

    Parameters
    ----------
    weights : list of ndarray of shape (n_in, n_out)
    biases : list of ndarray of shape (n_out,)
    activation : {"identity", "logistic", "tanh", "relu"}
        Of the hidden layers, in scikit-learn's names.
    head : Head
    classes : ndarray or None
    ending : str, default="identity"
        Activation that belongs to the predictions of a regressor.
    """

    def __init__(
        self,
        weights: list[NDArray],
        biases: list[NDArray],
        activation: str,
        head: Head,
        classes: NDArray | None = None,
        ending: str = "identity",
    ) -> None:
        self.weights, self.biases, self.head, self.classes = weights, biases, head, classes
        self.function, self.slope = ACTIVATIONS[activation]
        self.ending, self.ending_slope = ACTIVATIONS[ending]

    @property
    def eps(self) -> float:
        return float(np.finfo(self.weights[0].dtype).eps)

    def raw(self, X: NDArray) -> NDArray:
        return self.ending(self._forward(X)[-1])

    def gradient(self, X: NDArray, target: NDArray) -> NDArray:
        *hidden, z = self._forward(X)
        g = self._output_slope(self.ending(z), target) * self.ending_slope(z)
        for W, z in zip(self.weights[:0:-1], reversed(hidden), strict=True):
            g = (g @ W.T) * self.slope(z)
        return g @ self.weights[0].T

    def dense_weights(self) -> list[NDArray]:
        return [np.asarray(W, dtype=np.float64) for W in self.weights]

    def _forward(self, X: NDArray) -> list[NDArray]:
        """Pre-activations of every layer."""
        z, a = [], np.asarray(X, dtype=self.weights[0].dtype)
        for W, b in zip(self.weights, self.biases, strict=True):
            z.append(a @ W + b)
            a = self.function(z[-1])
        return z

    def _output_slope(self, raw: NDArray, target: NDArray) -> NDArray:
        """d output[target] / d raw."""
        M = self.head.matrix
        if self.head.squash is None:
            return M.T[target]
        p = self.head(raw)
        picked = np.take_along_axis(p, target[:, None], 1)
        own = np.eye(p.shape[1])[target]
        inner = picked * (own - p) if self.head.squash == "softmax" else own * picked * (1 - picked)
        return inner @ M.T


Function = Callable[[NDArray], NDArray]


def _logistic(z: NDArray) -> NDArray:
    return 0.5 * (1 + np.tanh(0.5 * z))


#: Of hidden layers and endings, with their slopes.
ACTIVATIONS: dict[str, tuple[Function, Function]] = {
    "identity": (lambda z: z, np.ones_like),
    "exp": (np.exp, np.exp),
    "logistic": (_logistic, lambda z: _logistic(z) * _logistic(-z)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype)),
}
