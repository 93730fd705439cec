"""Networks with an affine step in front of them, such as the PCA of a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from ._dense_network import Arrays, DenseNetwork, record_dense
from ._embedded import Embedded
from ._network import Activations, Network, chunks, path_rows
from ._propagation import Multipliers, Relevance, Rescale, Rule, Tape
from .exceptions import UnsupportedModelError

#: Rows, reference, rule and target, to relevance.
Propagate = Callable[[NDArray, NDArray, Relevance, NDArray], NDArray]
#: Stands in for 0 where a relevance is divided by the number that it belongs to; float32 has it too.
NEXT_TO_0 = 1e-30


@dataclass(frozen=True, eq=False)
class Affine:
    """``t = (u - centre) @ matrix + value``, in double precision.

    Attributes
    ----------
    matrix : ndarray of shape (n_units, n_columns)
    centre : ndarray of shape (n_units,)
        A typical row; differences to it keep their digits when columns are far from 0.
    value : ndarray of shape (n_columns,)
        The centre's t.
    """

    matrix: NDArray
    centre: NDArray
    value: NDArray

    def __call__(self, U: NDArray) -> NDArray:
        return (np.asarray(U, dtype=np.float64) - self.centre) @ self.matrix + self.value

    def relevance(
        self, inside: Propagate, U: NDArray, reference: NDArray, rule: Relevance, target: NDArray, eps: float
    ) -> NDArray:
        """Layer-wise relevance of u: the step is one more dense layer, which is the one that reads the input.

        Parameters
        ----------
        inside : callable
            The relevance of t, from rows, reference, rule and target.
        U, reference, rule, target
            As for `Network.propagate`.
        eps : float
            Rounding error of the network's numbers.
        """
        T = self(U)
        T = np.where(T == 0, NEXT_TO_0, T)
        R = inside(T, self(reference), replace(rule, first=None, low=None, high=None), target)
        if rule.first is None and rule.dense == "epsilon":
            # what a column got is in proportion to it, so there is a quotient also next to 0
            return U * ((R / T) @ self.matrix.T)
        tape = Tape([np.asarray(U, dtype=np.float64)])
        record_dense(tape, self.matrix, self.value - self.centre @ self.matrix)
        ends = rule.others(U, reference)
        return rule.through_weights(tape.steps[0], tape, R, True, ends, Arrays(eps))


def behind(network: Network, affine: Affine, features: tuple[int, ...]) -> Network:
    """The network as a function of u, whose affine function t it reads in rows of this shape.

    Stacks of dense layers take the matrix into their first layer.
    """
    dense = network.as_dense()
    return Behind(network, affine, features) if dense is None else DenseBehind(dense, affine)


class Behind(Network):
    """Any network behind an affine step: straight lines stay straight, slopes are multiplied by the matrix.

    Parameters
    ----------
    network : Network
    affine : Affine
    features : tuple of int
        Shape of the rows that the network reads.
    """

    def __init__(self, network: Network, affine: Affine, features: tuple[int, ...]) -> None:
        self.network, self.affine, self.features = network, affine, features
        self.head, self.classes = network.head, network.classes

    @property
    def eps(self) -> float:
        return self.network.eps

    def raw(self, X: NDArray) -> NDArray:
        return self.network.raw(self._inside(X))

    def predict(self, X: NDArray) -> NDArray:
        return self.network.predict(self._inside(X))

    def gradient(self, X: NDArray, target: NDArray) -> NDArray:
        return self._outside(self.network.gradient(self._inside(X), target))

    def mean_gradient(
        self, start: NDArray, stop: NDArray, nodes: NDArray, weights: NDArray, target: NDArray
    ) -> NDArray:
        return self._outside(
            self.network.mean_gradient(self._inside(start), self._inside(stop), nodes, weights, target)
        )

    def path_contributions(
        self, X: NDArray, background: NDArray, which: NDArray, nodes: NDArray, target: NDArray
    ) -> NDArray:
        """The lines are those of a `mean_gradient`."""
        k, weights, out = len(which), np.full(len(nodes), 1 / len(nodes)), np.empty((*which.shape, X.shape[1]))
        for block in chunks(len(X), path_rows(X) // k):
            start = background[which[:, block]]
            stop = np.broadcast_to(X[block], start.shape)
            positions = nodes[:, :, block].reshape(len(nodes), -1)
            lines = start.reshape(-1, X.shape[1]), stop.reshape(-1, X.shape[1])
            g = self.mean_gradient(*lines, positions, weights, np.tile(target[block], k))
            out[:, block] = (stop - start) * g.reshape(start.shape)
        return out

    def propagate(self, X: NDArray, reference: NDArray, rule: Rule, target: NDArray) -> NDArray:
        if isinstance(rule, Relevance):
            return self.affine.relevance(self._relevance, X, reference, rule, target, self.eps)
        if not isinstance(rule, Rescale):
            return super().propagate(X, reference, rule, target)
        rows = self._inside(X), self._inside(reference)
        return (X - reference) * self._outside(self.network.propagate(*rows, Multipliers(rule.strategy), target))

    def activations(self, X: NDArray, layer: str | None, target: NDArray) -> Activations:
        self.network.activations(self._inside(X), layer, target)  # which says so if there are no maps at all
        raise no_places()

    def encoded(self) -> Embedded | None:
        """Where the step does not mix columns, what is encoded is a function of one of them, too."""
        inside, matrix = self.network.encoded(), self.affine.matrix != 0
        if inside is None or (matrix.sum(axis=0) > 1).any():
            return None
        owners = matrix.argmax(axis=0)[inside.owners]
        return Embedded(self, inside.network, lambda U: inside.embed(self._inside(U)), owners, 0)

    def dense_weights(self) -> list[NDArray]:
        first, *others = self.network.dense_weights()
        return [self.affine.matrix @ first, *others]

    def _relevance(self, T: NDArray, reference: NDArray, rule: Relevance, target: NDArray) -> NDArray:
        """Of the columns that the network reads."""
        rows = T.reshape(-1, *self.features), reference.reshape(-1, *self.features)
        return self.network.propagate(*rows, rule, target).reshape(T.shape)

    def _inside(self, U: NDArray) -> NDArray:
        """Rows as the network reads them."""
        return self.affine(U).reshape(-1, *self.features)

    def _outside(self, slopes: NDArray) -> NDArray:
        """Slopes in u from slopes in t."""
        return slopes.reshape(len(slopes), -1) @ self.affine.matrix.T


class DenseBehind(DenseNetwork):
    """A stack of dense layers behind an affine step: the matrix is part of the first weights, in double precision.

    Parameters
    ----------
    network : DenseNetwork
    affine : Affine
    """

    def __init__(self, network: DenseNetwork, affine: Affine) -> None:
        vars(self).update(vars(network))
        self.network, self.affine = network, affine
        first = np.asarray(network.weights[0], dtype=np.float64)
        shift = affine.value if network.centre is None else affine.value - network.centre
        weights = [affine.matrix @ first, *network.weights[1:]]
        biases = [network.biases[0] + shift @ first, *network.biases[1:]]
        self.weights, self.biases = ([np.asarray(v, dtype=np.float64) for v in vs] for vs in (weights, biases))
        self.dtype, self.centre = self.weights[0].dtype, affine.centre

    def propagate(self, X: NDArray, reference: NDArray, rule: Rule, target: NDArray) -> NDArray:
        """By relevance the step is a layer of its own, as in front of any other network."""
        if not isinstance(rule, Relevance):
            return super().propagate(X, reference, rule, target)
        return self.affine.relevance(self.network.propagate, X, reference, rule, target, self.eps)


class CodesBehind(Network):
    """A network that looks codes up, where what it reads as numbers stands behind an affine step.

    It reads the step's u, and beside it t, of which it takes the codes. Strategies see it from behind its look-ups,
    where the step is one more layer in front of the numbers.

    Parameters
    ----------
    embedded : Embedded
        Of the network that reads t.
    affine : Affine
    features : tuple of int
        Shape of the rows that the network reads.
    """

    def __init__(self, embedded: Embedded, affine: Affine, features: tuple[int, ...]) -> None:
        self._inside, self.affine, self.features = embedded, affine, features
        self.network = embedded.whole
        self.head, self.classes = self.network.head, self.network.classes

    @property
    def eps(self) -> float:
        return self.network.eps

    def raw(self, X: NDArray) -> NDArray:
        return self.network.raw(self._t(X))

    def predict(self, X: NDArray) -> NDArray:
        return self.network.predict(self._t(X))

    def gradient(self, X: NDArray, target: NDArray) -> NDArray:
        """With respect to t alone, which says nothing of codes: strategies look from behind the look-ups."""
        g = self.network.gradient(self._t(X), target).reshape(len(X), -1)
        return np.concatenate([np.zeros((len(X), len(self.affine.matrix))), g], axis=1)

    def activations(self, X: NDArray, layer: str | None, target: NDArray) -> Activations:
        self.network.activations(self._t(X), layer, target)
        raise no_places()

    def embedded(self, rows: NDArray) -> Embedded:
        inside, (n_units, k) = self._inside, (len(self.affine.matrix), self._inside.n_numbers)
        columns, width = inside.owners[:k], len(inside.owners) - k
        identity = np.eye(width)
        matrix = block_diag(self.affine.matrix[:, columns], identity)
        nothing = np.zeros(width)
        affine = Affine(matrix, np.append(self.affine.centre, nothing), np.append(self.affine.value[columns], nothing))

        def embed(X: NDArray) -> NDArray:
            return np.concatenate([X[:, :n_units], inside.embed(self._t(X))[:, k:]], axis=1)

        owners = np.append(np.arange(n_units), n_units + inside.owners[k:])
        return Embedded(self, behind(inside.network, affine, (k + width,)), embed, owners, n_units)

    def _t(self, X: NDArray) -> NDArray:
        """Rows as the network reads them."""
        return X[:, len(self.affine.matrix) :].reshape(-1, *self.features)


def no_places() -> UnsupportedModelError:
    """For maps of places, asked for in front of a step that mixes columns."""
    return UnsupportedModelError(
        "Maps lie over the places of a picture or sequence, and columns in front of a step that mixes them, as PCA "
        "does, have no places in it. Explain the last step on transformed rows, or use "
        "attribution='expected_gradients'."
    )
