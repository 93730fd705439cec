"""Network: the one boundary between attribution strategies and frameworks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from ._head import Head
from ._propagation import Kind, Rule, Step, Tape, Weights
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

    def propagate(self, X: NDArray, reference: NDArray, rule: Rule, target: NDArray) -> NDArray:
        """Attributions by a backward rule on the network's operations.

        Parameters
        ----------
        X : ndarray of shape (n, *features)
        reference : ndarray of shape (n, *features) or (1, *features)
            What the rule compares with, if it does.
        rule : Rule
            `Rescale` or `Relevance`.
        target : int ndarray of shape (n,)

        Returns
        -------
        ndarray of the shape of X

        Raises
        ------
        UnsupportedLayerError
            For an operation that the rule does not know, and for models whose operations cannot be seen.
        """
        raise UnsupportedLayerError(f"a {type(self).__name__}, whose operations cannot be seen,", rule.strategy)

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

    def propagate(self, X: NDArray, reference: NDArray, rule: Rule, target: NDArray) -> NDArray:
        out = np.empty(X.shape)
        for block in chunks(len(X), rows_at_once(X)):
            r = reference if len(reference) == 1 else reference[block]
            tapes = [self._tape(rows) for rows in (X[block], *rule.others(X[block], r))]
            if self.head.squash is None:
                slope = self.head.matrix.T[target[block]]
            else:
                slope = np.eye(self.n_outputs)[target[block]]
            out[block] = rule.backward(tapes, slope, Arrays(self.eps))
        return out

    def _tape(self, X: NDArray) -> Tape:
        """The operations: dense layers and activations in turn."""
        tape = Tape([np.asarray(X, dtype=np.float64)])
        last = len(self.weights) - 1
        for k, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            _record_dense(tape, W, b)
            f, slope = (self.function, self.slope) if k < last else (self.ending, self.ending_slope)
            _record_function(tape, f, slope)
        if self.head.squash is not None:
            _record_dense(tape, self.head.matrix, np.zeros(self.n_outputs))
            _record_squash(tape, self.head.squash)
        return tape

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


@dataclass(frozen=True)
class Arrays:
    """The functions that rules need, for NumPy arrays."""

    eps: float
    where = staticmethod(np.where)
    zeros_like = staticmethod(np.zeros_like)
    ones_like = staticmethod(np.ones_like)

    @staticmethod
    def sum_last(a: NDArray) -> NDArray:
        return a.sum(axis=-1, keepdims=True)

    @staticmethod
    def concat_last(arrays: Sequence[NDArray]) -> NDArray:
        return np.concatenate(arrays, axis=-1)

    @staticmethod
    def cast(a: NDArray, like: NDArray) -> NDArray:
        return np.asarray(a, dtype=like.dtype)


def _append(tape: Tape, value: NDArray, name: str, kind: Kind, **facts: Any) -> None:
    position = len(tape.values)
    tape.steps.append(Step(name, kind, (position - 1,), position, **facts))
    tape.values.append(value)
    tape.output = position


def _record_dense(tape: Tape, W: NDArray, b: NDArray) -> None:
    weights = Weights("dense", W, b, np.matmul, lambda g, V, like: g @ V.T, lambda V, s: V * s)
    _append(tape, tape.values[-1] @ W + b, "dense", "linear", vjp=lambda v, g: [g @ W.T], weights=weights)


def _record_function(tape: Tape, f: Function, slope: Function) -> None:
    value = f(tape.values[-1])
    _append(tape, value, "activation", "elementwise", vjp=lambda v, g: [g * slope(v[0])], pointwise=True)


def _record_squash(tape: Tape, squash: str) -> None:
    if squash == "sigmoid":
        _record_function(tape, *ACTIVATIONS["logistic"])
        return

    def vjp(values: Sequence[NDArray], g: NDArray) -> list[NDArray]:
        p = softmax(values[0], axis=-1)
        return [p * (g - (g * p).sum(axis=-1, keepdims=True))]

    _append(tape, softmax(tape.values[-1], axis=-1), "softmax", "softmax", vjp=vjp)


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
