"""DenseNetwork: stacks of dense layers in NumPy, with the kernels that the linear first layer allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from ._coalitions import outputs_of_coalitions
from ._head import Head
from ._network import PATH_ROWS, Network, chunks, rows_at_once
from ._propagation import Kind, Rescale, Rule, Step, Tape, Weights, far_apart

#: Points of paths, and pairs of rows and references, that are formed at once: what the caches hold.
POINTS_AT_ONCE = 1024


class DenseNetwork(Network):
    """A stack of dense layers in NumPy: scikit-learn's MLPs, and models of the frameworks that are nothing else.

    Pre-activations of the first layer are linear in the input. So a straight path is straight in them, and its
    gradients are multiplied by the first weights once, not once a node; and pairs of rows and references, which
    DeepSHAP compares, are formed in the hidden layers only.

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
    centre : ndarray of shape (n_features,) or None
        A typical row, from which the first layer counts: its outputs are ``(x - centre) @ weights[0] + biases[0]``.
        Differences keep the digits of columns that are far from 0.
    """

    def __init__(
        self,
        weights: list[NDArray],
        biases: list[NDArray],
        activation: str,
        head: Head,
        classes: NDArray | None = None,
        ending: str = "identity",
        centre: NDArray | None = None,
    ) -> None:
        self.weights, self.biases, self.head, self.classes = weights, biases, head, classes
        self.activation, (self.function, self.slope) = activation, ACTIVATIONS[activation]
        self.ending, self.ending_slope = ACTIVATIONS[ending]
        self.dtype, self.centre = weights[0].dtype, centre
        self._straight = ending == "identity" and head.squash is None

    @property
    def eps(self) -> float:
        return float(np.finfo(self.weights[0].dtype).eps)

    def agrees_with(self, network: Network, X: NDArray) -> bool:
        """Whether another network has the same raw outputs and gradients, to rounding, also far from rows it has seen.

        Gradients may be cut there on purpose.
        """
        target = np.arange(len(X)) % self.n_outputs
        for rows in (X, 10 * X - 3):
            for ours, theirs in (
                (self.raw(rows), network.raw(rows)),
                (self.gradient(rows, target), network.gradient(rows, target)),
            ):
                if not np.abs(ours - theirs).max(initial=0) <= 200 * self.eps * np.abs(theirs).max(initial=0):
                    return False
        return True

    def raw(self, X: NDArray) -> NDArray:
        return self.ending(self._forward(X)[-1])

    def gradient(self, X: NDArray, target: NDArray) -> NDArray:
        g = self._gradient_behind(self._first(X), target) @ self.weights[0].T
        return g.astype(np.float64).reshape(X.shape)

    def mean_gradient(
        self, start: NDArray, stop: NDArray, nodes: NDArray, weights: NDArray, target: NDArray
    ) -> NDArray:
        total, k, w = np.empty(stop.shape), len(nodes), np.asarray(weights, dtype=self.dtype)
        for rows in chunks(len(stop), POINTS_AT_ONCE // k):
            a = nodes[:, rows, None] if nodes.ndim == 2 else nodes[:, None, None]
            z = self._between(self._first(start if len(start) == 1 else start[rows]), self._first(stop[rows]), a)
            g = self._gradient_behind(z.reshape(-1, z.shape[-1]), np.tile(target[rows], k))
            mean = (w @ g.reshape(k, -1)).reshape(z.shape[1:])
            total[rows] = (mean @ self.weights[0].T).reshape(total[rows].shape)
        return total

    def path_contributions(
        self, X: NDArray, background: NDArray, which: NDArray, nodes: NDArray, target: NDArray
    ) -> NDArray:
        b, x, out = self._rows(background), self._rows(X), np.empty((len(which), *X.shape), dtype=self.dtype)
        zb, zx, flat = self._first(background), self._first(X), out.reshape(len(which), len(X), -1)
        p, k = nodes.shape[:2]
        for rows in chunks(len(X), POINTS_AT_ONCE // (p * k)):
            i = which[:, rows]
            z = self._between(zb[i], zx[rows], nodes[:, :, rows, None])
            g = self._gradient_behind(z.reshape(-1, z.shape[-1]), np.tile(target[rows], p * k))
            g = g.reshape(p, -1, z.shape[-1])
            part = np.subtract(x[rows], b[i], out=flat[:, rows])
            part *= (g.mean(axis=0) @ self.weights[0].T).reshape(part.shape)
        return out

    def mean_propagate(self, X: NDArray, references: NDArray, rule: Rule, target: NDArray) -> NDArray:
        """Each row and each reference is run once; only the hidden multipliers are formed for pairs of them."""
        if not self.runs_once(rule):
            return super().mean_propagate(X, references, rule, target)
        out, m, first = np.empty(X.shape), len(references), self.weights[0]
        b, zs_b, slopes = self._rows(references, centred=True), self._forward(references), self.head.slopes
        for rows in chunks(len(X), POINTS_AT_ONCE // m):
            x, zs_x = self._rows(X[rows], centred=True), self._forward(X[rows])
            g = slopes[target[rows], None].astype(self.dtype)  # of each row, then of each pair
            for k in reversed(range(1, len(self.weights))):
                g = (g.reshape(-1, g.shape[-1]) @ self.weights[k].T).reshape(*g.shape[:2], -1)
                g = self._multiplied(zs_x[k - 1][:, None], zs_b[k - 1], g)
            g = np.broadcast_to(g, (len(x), m, g.shape[-1]))
            # the mean over b of (x - b) * (g W'), without its columns for each pair
            values = x * (g.mean(axis=1) @ first.T) - np.einsum("njh,jh->nj", b.T @ g, first) / m
            out[rows] = values.reshape(out[rows].shape)
        return out

    def runs_once(self, rule: Rule) -> bool:
        """Whether `mean_propagate` runs each row and reference once, not each pair of them."""
        return isinstance(rule, Rescale) and self._straight

    def _multiplied(self, p: NDArray, q: NDArray, g: NDArray) -> NDArray:
        """g times the mean slope of the activation between q and p."""
        f = self.function
        dz, slope = p - q, f(p) - f(q)
        # no digits are lost in differences of a function that is linear on either side of 0
        apart = dz != 0 if self.activation in ("relu", "identity") else far_apart(p, q, self.eps)
        with np.errstate(divide="ignore", invalid="ignore"):  # where it happens the quotient is not used
            slope /= dz
        if not apart.all():
            slope[~apart] = self.slope(((p + q) / 2)[~apart])
        slope *= g
        return slope

    def _gradient_behind(self, z: NDArray, target: NDArray) -> NDArray:
        """Gradient of output ``target[i]`` with respect to row i of the first layer's outputs."""
        layers, zs = list(zip(self.weights[1:], self.biases[1:], strict=True)), [z]
        for W, b in layers[:-1] if self._straight else layers:
            zs.append(self.function(zs[-1]) @ W)
            zs[-1] += b
        if self._straight:
            g = self.head.slopes[target]
        else:
            g = self._output_slope(self.ending(zs[-1]), target) * self.ending_slope(zs[-1])
        g = g.astype(self.dtype)
        for (W, _), v in zip(reversed(layers), reversed(zs[: len(layers)]), strict=True):
            g = g @ W.T
            g *= self.slope(v)
        return g

    def predict_replaced(
        self, X: NDArray, reference: NDArray, groups: Sequence[NDArray], coalitions: NDArray
    ) -> NDArray:
        """A replaced group only adds ``(x'_g - x_g) W_g`` to the first layer's outputs."""
        W, out = self.weights[0], np.empty((len(coalitions), len(X), self.n_outputs))
        columns = [
            np.concatenate([groups[int(g)] for g in np.flatnonzero(members)] or [np.empty(0, int)])
            for members in coalitions
        ]
        for block in chunks(len(X), PATH_ROWS):
            z = self._first(X[block])
            change = np.subtract(reference[block], X[block], dtype=np.float64).reshape(len(z), -1).astype(self.dtype)
            for k, replaced in enumerate(columns):
                raw = z + change[:, replaced] @ W[replaced]
                for V, b in zip(self.weights[1:], self.biases[1:], strict=True):
                    raw = self.function(raw) @ V + b
                out[k, block] = self.head(self.ending(raw))
        return out

    def predict_coalitions(
        self, X: NDArray, reference: NDArray, groups: Sequence[NDArray], coalitions: NDArray
    ) -> NDArray:
        if sum(len(g) for g in groups) < len(self.weights[0]):
            return super().predict_coalitions(X, reference, groups, coalitions)
        return outputs_of_coalitions(self, X, reference, groups, coalitions)

    def as_dense(self) -> DenseNetwork:
        return self

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
            record_dense(tape, W, b if k or self.centre is None else b - self.centre @ W)
            f, slope = (self.function, self.slope) if k < last else (self.ending, self.ending_slope)
            _record_function(tape, f, slope)
        if self.head.squash is not None:
            record_dense(tape, self.head.matrix, np.zeros(self.n_outputs))
            _record_squash(tape, self.head.squash)
        return tape

    def _forward(self, X: NDArray) -> list[NDArray]:
        """Pre-activations of every layer."""
        z = [self._first(X)]
        for W, b in zip(self.weights[1:], self.biases[1:], strict=True):
            z.append(self.function(z[-1]) @ W + b)
        return z

    def _rows(self, X: NDArray, centred: bool = False) -> NDArray:
        """Rows as the network reads them."""
        rows = np.asarray(X, dtype=self.dtype).reshape(len(X), -1)
        return rows - self.centre if centred and self.centre is not None else rows

    def _first(self, X: NDArray) -> NDArray:
        """Pre-activations of the first layer."""
        return self._rows(X, centred=True) @ self.weights[0] + self.biases[0]

    def _between(self, start: NDArray, stop: NDArray, a: NDArray) -> NDArray:
        """Points on the way from start to stop."""
        z = np.asarray(a, dtype=self.dtype) * (stop - start)
        z += start
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
    def sum(a: NDArray, axis: int) -> NDArray:
        return a.sum(axis=axis, keepdims=True)

    @staticmethod
    def max(a: NDArray, axis: int) -> NDArray:
        return a.max(axis=axis, keepdims=True)

    @staticmethod
    def last_to_front(a: NDArray) -> NDArray:
        return np.ascontiguousarray(np.moveaxis(a, -1, 0))

    @staticmethod
    def stack_last(arrays: Sequence[NDArray]) -> NDArray:
        return np.stack(arrays, axis=-1)

    @staticmethod
    def cast(a: NDArray, like: NDArray) -> NDArray:
        return np.asarray(a, dtype=like.dtype)


def _append(tape: Tape, value: NDArray, name: str, kind: Kind, **facts: Any) -> None:
    position = len(tape.values)
    tape.steps.append(Step(name, kind, (position - 1,), position, **facts))
    tape.values.append(value)
    tape.output = position


def record_dense(tape: Tape, W: NDArray, b: NDArray) -> None:
    """Put a dense layer at the end of a tape."""
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
    "relu": (lambda z: np.maximum(z, 0), lambda z: z > 0),
}
