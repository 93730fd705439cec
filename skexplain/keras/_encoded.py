"""Models that encode each number of a row on its own: what stands behind the encoding is a plain network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from .._dense_network import DenseNetwork
from .._embedded import Embedded, in_front_of, numbers_of
from .._network import Network, chunks, rows_at_once
from .._pieces import Pieces
from ._default import EncodeNumbers
from ._gated import GatedDense, MeanOfMembers, MembersDense
from ._globals import seeded
from ._making import LAYERS


class Folded(NamedTuple):
    """A layer, with gates and members folded into its weights.

    Attributes
    ----------
    layer : keras.layers.Layer
    weights : tuple of kernel ``(n_in, n_out)`` and bias ``(n_out,)``, or None
        In double precision. None: it is not dense.
    """

    layer: Any
    weights: tuple[NDArray, NDArray] | None


def folded(layers: Sequence[Any]) -> list[Folded] | None:
    """Layers as those of one network: several networks are one, of zeros between these; None if that cannot be."""
    found: list[Folded] = []
    for layer in layers:
        if "call" in vars(layer):
            return None
        if type(layer) is not MeanOfMembers:
            found.append(Folded(layer, _weights(layer)))
            continue
        last = found.pop() if found else Folded(None, None)
        if last.weights is None or last.layer.activation is not keras.activations.linear:
            return None
        (W, b), m = last.weights, layer.n_members
        found.append(Folded(last.layer, (W.reshape(len(W), m, -1).mean(axis=1), b.reshape(m, -1).mean(axis=0))))
    return found


def _weights(layer: Any) -> tuple[NDArray, NDArray] | None:
    kind = type(layer)
    if kind is GatedDense:
        return _array(layer.gated_kernel()), _array(layer.bias)
    if kind is MembersDense:
        return block_diag(*_array(layer.kernel)), _array(layer.bias).ravel()
    if kind is keras.layers.Dense and layer.quantization_mode is None:
        W = _array(layer.kernel)
        return W, _array(layer.bias) if layer.use_bias else np.zeros(W.shape[1])
    return None


def _array(v: Any) -> NDArray:
    return np.asarray(keras.ops.convert_to_numpy(v), dtype=np.float64)


def encodes(layers: Sequence[Any]) -> bool:
    """Whether the first layer encodes numbers, and is the only one to see them, and the others are known."""
    known = bool(layers) and None not in layers and all(type(layer) in LAYERS for layer in layers)
    return known and type(layers[0]) is EncodeNumbers and not any("call" in vars(layer) for layer in layers)


def encoder_of(layer: EncodeNumbers, dtype: Any) -> Callable[[NDArray], NDArray]:
    """What the layer computes, in NumPy and in the model's precision."""
    pieces = layer.pieces
    return lambda X: pieces(X.astype(dtype)).astype(np.float64)


class Plain:
    """A model behind its encoding as a stack of Keras' own layers, with weights as they are now.

    Parameters
    ----------
    layers : sequence of keras.layers.Layer
        Behind the encoding.
    width : int
        Of an encoded row.
    """

    def __init__(self, layers: Sequence[Any], width: int) -> None:
        self.layers = layers
        with seeded(0):
            self.copies = list(self._copied(folded(layers) or []))
            self.model = keras.Sequential([keras.layers.Input((width,), dtype=layers[0].compute_dtype), *self.copies])
        self.update()

    @staticmethod
    def _copied(parts: Sequence[Folded]) -> Iterator[Any]:
        for layer, weights in parts:
            if weights is None:
                yield type(layer).from_config(layer.get_config())
            else:
                yield keras.layers.Dense(weights[1].size, layer.activation, dtype=layer.dtype_policy)

    def update(self) -> None:
        """Take the weights."""
        for copy, (layer, weights) in zip(self.copies, folded(self.layers) or [], strict=True):
            copy.set_weights(layer.get_weights() if weights is None else list(weights))

    def copy_of(self, layer: Any) -> Any:
        """The layer that does what this one does."""
        parts = zip(self.copies, folded(self.layers) or [], strict=True)
        return next((copy for copy, part in parts if part.layer is layer), None)


class Encoded(Network):
    """A network of dense layers behind an encoding of each column, in NumPy.

    Parameters
    ----------
    pieces : Pieces
    dense : DenseNetwork
        On encoded rows.
    """

    def __init__(self, pieces: Pieces, dense: DenseNetwork) -> None:
        self.pieces, self.dense = pieces, dense
        self.head, self.classes = dense.head, dense.classes

    @property
    def eps(self) -> float:
        return self.dense.eps

    def raw(self, X: NDArray) -> NDArray:
        return np.concatenate([self.dense.raw(self._encoded(X[block])) for block in self._blocks(X)])

    def gradient(self, X: NDArray, target: NDArray) -> NDArray:
        out, p = np.zeros(X.shape), self.pieces
        for block in self._blocks(X):
            z = self._encoded(X[block])
            slopes = self.dense.gradient(z, target[block]) * ((z > p.low) & (z < p.high)) / p.scale
            np.add.at(out[block].T, p.owners, slopes.T)
        return out

    def predict_replaced(
        self, X: NDArray, reference: NDArray, groups: Sequence[NDArray], coalitions: NDArray
    ) -> NDArray:
        numbers = numbers_of(self.pieces.owners, groups)
        parts = [
            self.dense.predict_replaced(self._encoded(X[block]), self._encoded(reference[block]), numbers, coalitions)
            for block in self._blocks(X)
        ]
        return np.concatenate(parts, axis=1)

    def behind(self, whole: Network, features: tuple[int, ...]) -> Embedded:
        """The dense layers, for the whole network."""
        self.dense.in_front = in_front_of(whole, np.empty((0, *features)), self.pieces.owners)
        return Embedded(whole, self.dense, self._encoded, self.pieces.owners, 0)

    def _encoded(self, X: NDArray) -> NDArray:
        return self.pieces(X.astype(self.dense.dtype))

    def _blocks(self, X: NDArray) -> Iterator[slice]:
        return chunks(len(X), rows_at_once(np.empty((0, len(self.pieces.owners)))))
