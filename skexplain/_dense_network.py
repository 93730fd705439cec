"""DenseNetwork: scikit-learn's MLPs behind the boundary, and the reference that the frameworks are tested against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from ._head import Head
from ._network import Network, chunks, rows_at_once
from ._propagation import Kind, Rule, Step, Tape, Weights


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
        out, slopes = np.empty(X.shape), self.head.slopes
        for block in chunks(len(X), rows_at_once(X)):
            r = reference if len(reference) == 1 else reference[block]
            tapes = [self._tape(rows) for rows in (X[block], *rule.others(X[block], r))]
            with np.errstate(divide="ignore", invalid="ignore"):  # where it happens the quotient is not used
                values = rule.backward(tapes, slopes[target[block]], Arrays(self.eps))
            out[block] = values.reshape(out[block].shape)
        return out

    def _tape(self, X: NDArray) -> Tape:
        """The operations: dense layers and activations in turn."""
        tape = Tape([np.asarray(X, dtype=np.float64).reshape(len(X), -1)])
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
    def unless(condition: NDArray, value: NDArray, otherwise: Callable[[Callable], NDArray]) -> NDArray:
        if not np.all(condition):
            value[~condition] = otherwise(lambda v: np.broadcast_to(v, condition.shape)[~condition])
        return value

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
