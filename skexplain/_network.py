"""Network: the one boundary between attribution strategies and frameworks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._attended import no_attention
from ._head import Head
from ._places import no_convolution
from ._propagation import Rule
from .exceptions import UnsupportedLayerError, UnsupportedModelError

if TYPE_CHECKING:
    from ._dense_network import DenseNetwork
    from ._embedded import Embedded

#: Most rows handed to a framework at once: enough to hide its per-call cost, few enough for the caches.
CHUNK = 4096
#: Rows formed at once along paths: small enough for the caches.
PATH_ROWS = 2048
#: Numbers formed at once along paths, where rows are long.
PATH_NUMBERS = 2**17
#: Most numbers handed over at once, where rows are long.
CHUNK_NUMBERS = 2**20
#: Most attention weights of a head held at once: there is one for each pair of tokens.
ATTENTION_NUMBERS = 2**18


def rows_at_once(X: NDArray) -> int:
    """How many rows of X's width are handed to a framework at once."""
    return int(np.clip(CHUNK_NUMBERS // max(1, math.prod(X.shape[1:])), 16, CHUNK))


def path_rows(X: NDArray) -> int:
    """How many rows of X's width are formed at once along paths."""
    return int(np.clip(PATH_NUMBERS // max(1, math.prod(X.shape[1:])), 256, PATH_ROWS))


def attention_rows(X: NDArray) -> int:
    """How many rows of X's tokens are handed over at once where attention is looked at."""
    return int(np.clip(ATTENTION_NUMBERS // max(1, X.shape[1]) ** 2, 1, rows_at_once(X)))


def chunks(n: int, size: int = CHUNK) -> Iterator[slice]:
    """Consecutive slices of at most ``size`` that cover ``range(n)``."""
    for start in range(0, n, max(1, size)):
        yield slice(start, min(start + max(1, size), n))


def blocks(shape: tuple[int, ...], size: int) -> Iterator[tuple[slice, ...]]:
    """Blocks, of at most ``size`` numbers where that can be, that cover an array of this shape once."""
    axis, inner = len(shape), 1
    while axis and inner * shape[axis - 1] <= size:
        axis -= 1
        inner *= shape[axis]
    whole = [slice(0, n) for n in shape[axis:]]
    if not axis:
        yield tuple(whole)
        return
    for outer in np.ndindex(shape[: axis - 1]):
        for part in chunks(shape[axis - 1], size // inner):
            yield (*(slice(k, k + 1) for k in outer), part, *whole)


def block_of(v: Any, block: tuple[slice, ...]) -> Any:
    """The part of an array that is broadcast to this block."""
    return v[tuple(slice(None) if n == 1 else part for n, part in zip(v.shape, block, strict=False))]


def owners(groups: Sequence[NDArray], n_columns: int) -> NDArray:
    """The group of each flat column; one more than the last for columns in none."""
    owner = np.full(n_columns, len(groups))
    for g, columns in enumerate(groups):
        owner[columns] = g
    return owner


def rowwise(v: NDArray, X: NDArray) -> NDArray:
    """Shape one number a row so that it multiplies rows of X."""
    return np.reshape(v, (-1,) + (1,) * (X.ndim - 1))


class Activations(NamedTuple):
    """What a layer gives for rows, and how the outputs depend on it.

    Attributes
    ----------
    values : ndarray of shape (n, *places, n_channels)
    gradient : ndarray of the shape of values
        Of each row's output ``target[i]``.
    axes : tuple of int
        The axes of X along which the places lie, one for each axis of places.
    """

    values: NDArray
    gradient: NDArray
    axes: tuple[int, ...]


class Attentions(NamedTuple):
    """The attention of a network for rows, in the order in which it is used.

    Attributes
    ----------
    weights : list of ndarray of shape (n, n_heads, n_queries, n_keys)
        After the softmax; of each query they sum to 1.
    gradients : list of ndarray of the shapes of weights, or None
        Of each row's output ``target[i]``; None where no target was given.
    """

    weights: list[NDArray]
    gradients: list[NDArray] | None


def joined(parts: Iterable[Attentions]) -> Attentions:
    """The attention of rows from that of blocks of rows."""
    weights, gradients = zip(*parts, strict=True)
    together = [np.concatenate(of_blocks) for of_blocks in zip(*weights, strict=True)]
    if gradients[0] is None:
        return Attentions(together, None)
    return Attentions(together, [np.concatenate(of_blocks) for of_blocks in zip(*gradients, strict=True)])


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
    in_front : tuple of tuple of int and ndarray, or None
        Of a network behind look-ups or an encoding: the shape of a row in front of them, and the flat column of it that
        each number of a row comes from.
    unit : float
        Difference between outputs in whose parts gaps are measured where the background is one row, which has no
        spread; 0: that of the row and the background.
    """

    head: Head
    classes: NDArray | None = None
    in_front: tuple[tuple[int, ...], NDArray] | None = None
    unit: float = 0.0

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

    def _mean_gradient_in_batches(
        self, start: NDArray, stop: NDArray, nodes: NDArray, weights: NDArray, target: NDArray
    ) -> NDArray:
        """The same, several nodes at once when the rows are few: for frameworks, which cost by the call."""
        total = np.zeros(stop.shape)
        for block in chunks(len(nodes), path_rows(stop) // max(1, len(stop))):
            a = nodes[block].reshape(block.stop - block.start, -1, *[1] * (stop.ndim - 1))
            points = start + a * (stop - start)
            g = self.gradient(points.reshape(-1, *stop.shape[1:]), np.tile(target, len(a)))
            total += np.tensordot(weights[block], g.reshape(points.shape), axes=1)
        return total

    def path_contributions(
        self, X: NDArray, background: NDArray, which: NDArray, nodes: NDArray, target: NDArray
    ) -> NDArray:
        """Way times mean gradient at some points of the straight lines from background rows to rows.

        Parameters
        ----------
        X : ndarray of shape (n, *features)
        background : ndarray of shape (m, *features)
        which : int ndarray of shape (k, n)
            Row of the background where each line starts.
        nodes : ndarray of shape (p, k, n)
            Positions on the line, 0 at the background row and 1 at the row.
        target : int ndarray of shape (n,)

        Returns
        -------
        ndarray of shape (k, n, *features)
            ``(x - b) * mean over a of gradient(b + a (x - b), target)`` for b = background[which] and a = nodes; in
            the precision of the network.
        """
        way = X - background[which]
        total = np.zeros(way.shape)
        for a in nodes:
            points = background[which] + a.reshape(*a.shape, *[1] * (X.ndim - 1)) * way
            g = self.gradient(points.reshape(-1, *X.shape[1:]), np.tile(target, len(which)))
            total += g.reshape(way.shape)
        return way * total / len(nodes)

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

    def predict_coalitions(
        self, X: NDArray, reference: NDArray, groups: Sequence[NDArray], coalitions: NDArray
    ) -> NDArray:
        """Outputs of rows with the groups of a coalition from X and the others from ``reference``, and the reverse.

        Parameters
        ----------
        X, reference : ndarray of shape (*any, *features)
        groups : sequence of int ndarray
            Flat column indices of each group; columns in none are always from X.
        coalitions : bool ndarray of shape (*any, n_groups)

        Returns
        -------
        ndarray of shape (2, *every, n_outputs)
            For the coalitions and for their complements. The leading axes of the three arrays are equally many and
            are broadcast to ``every``.
        """
        axes = coalitions.ndim - 1
        features = X.shape[axes:]
        owner = owners(groups, math.prod(features))
        every = np.broadcast_shapes(X.shape[:axes], reference.shape[:axes], coalitions.shape[:-1])
        out = np.empty((2, *every, self.n_outputs))
        for block in blocks(every, rows_at_once(np.empty((0, *features)))):
            x, r, S = (block_of(v, block) for v in (X, reference, coalitions))
            for k, members in enumerate((S, ~S)):
                from_x = np.concatenate([members, np.ones_like(members[..., :1])], axis=-1)[..., owner]
                Z = np.where(from_x.reshape(*members.shape[:-1], *features), x, r)
                out[k][block] = self.predict(Z.reshape(-1, *features)).reshape(*Z.shape[:axes], -1)
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

    def mean_propagate(self, X: NDArray, references: NDArray, rule: Rule, target: NDArray) -> NDArray:
        """Mean over references r of ``propagate(X, r, rule, target)``.

        Parameters
        ----------
        X : ndarray of shape (n, *features)
        references : ndarray of shape (m, *features)
        rule, target
            As for `propagate`.

        Returns
        -------
        ndarray of the shape of X
        """
        total = np.zeros(X.shape)
        for block in chunks(len(references), rows_at_once(X) // len(X)):
            r = references[block]
            pairs = np.tile(X, (len(r),) + (1,) * (X.ndim - 1)), np.repeat(r, len(X), axis=0)
            values = self.propagate(*pairs, rule, np.tile(target, len(r)))
            total += values.reshape(len(r), *X.shape).sum(axis=0)
        return total / len(references)

    def activations(self, X: NDArray, layer: str | None, target: NDArray) -> Activations:
        """What a layer gives for each row, and the gradient of output ``target[i]`` with respect to it.

        Parameters
        ----------
        X : ndarray of shape (n, *features)
        layer : str or None
            Name of the layer, as its framework has it. None: the last convolution that the output depends on.
        target : int ndarray of shape (n,)

        Raises
        ------
        ValueError
            For a layer that does not exist.
        UnsupportedModelError
            Where there is no convolution, or the layer gives no channels of places in the row.
        """
        raise no_convolution()

    def embedded(self, rows: NDArray) -> Embedded | None:
        """The network behind its look-ups, such as embeddings of codes; None if it has none, or none that is seen.

        Parameters
        ----------
        rows : ndarray of shape (n, *features)
            Rows that differ in the columns that matter.
        """
        return None

    def encoded(self) -> Embedded | None:
        """The network behind its encoding of each number of a row on its own; None if it does not begin with such."""
        return None

    def gates(self) -> NDArray:
        """Size of the gate of each flat column, ``(n_columns,)``.

        Raises
        ------
        UnsupportedModelError
            For a network that does not multiply each of its columns by a gate.
        """
        raise UnsupportedModelError(
            "The network has no gates, by which columns are multiplied before it reads several together. Those of "
            "estimators without a module or model of yours have; else use attribution='expected_gradients'."
        )

    def attentions(self, X: NDArray, target: NDArray | None = None) -> Attentions:
        """The weights of each attention of the network, as used in evaluation, for all rows.

        Parameters
        ----------
        X : ndarray of shape (n, *features)
        target : int ndarray of shape (n,), default=None
            Output of each row whose gradient with respect to the weights is wanted. None: no gradients.

        Raises
        ------
        UnsupportedModelError
            Where no attention is seen, or its weights do not belong to rows.
        """
        raise no_attention()

    def as_dense(self) -> DenseNetwork | None:
        """The network in NumPy, if all it is is a stack of dense layers that `DenseNetwork` has; else None."""
        return None

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
