"""Outputs of rows that are mixed from two, for stacks of dense layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._network import block_of, blocks, owners

if TYPE_CHECKING:
    from ._dense_network import DenseNetwork

#: Rows that are mixed at once, each with its counterpart: small enough for the caches.
MIXED_ROWS = 1024


def outputs_of_coalitions(
    dense: DenseNetwork, X: NDArray, reference: NDArray, groups: Sequence[NDArray], coalitions: NDArray
) -> NDArray:
    """What `Network.predict_coalitions` returns, where every column is in one of the groups."""
    axes, dtype = coalitions.ndim - 1, dense.weights[0].dtype
    bits = np.dtype(f"u{dtype.itemsize}")
    n_columns, centre = len(dense.weights[0]), 0 if dense.centre is None else dense.centre
    owner = owners(groups, n_columns)
    from_x = coalitions if np.array_equal(owner, np.arange(len(groups))) else coalitions[..., owner]
    x, r = (np.asarray(v, dtype=dtype).reshape(*v.shape[:axes], -1) - centre for v in (X, reference))
    every = np.broadcast_shapes(x.shape[:-1], r.shape[:-1], coalitions.shape[:-1])
    out = np.empty((2, *every, dense.n_outputs))
    layers = _Layers(dense, 2 * min(MIXED_ROWS, math.prod(every)))
    for block in blocks(every, MIXED_ROWS):
        shape = [part.stop - part.start for part in block]
        mixed = layers.rows(2 * math.prod(shape)).reshape(2, *shape, n_columns)
        # in bits, as choosing between numbers is slow: where their difference is applied, they change sides
        u, v = block_of(x, block).view(bits), block_of(r, block).view(bits)
        difference = (u ^ v) * block_of(from_x, block).astype(bits)
        np.bitwise_xor(v, difference, out=mixed[0].view(bits))
        np.bitwise_xor(u, difference, out=mixed[1].view(bits))
        out[(slice(None), *block)] = layers(mixed.reshape(-1, n_columns)).reshape(2, *shape, -1)
    return out


class _Layers:
    """The network, in arrays that are used again and again: new ones cost as much as the products."""

    def __init__(self, dense: DenseNetwork, most: int) -> None:
        self.dense = dense
        layers = list(zip(dense.weights, dense.biases, strict=True))
        self.folded = dense._straight
        if self.folded:  # the head is linear, and part of the last layer
            W, b = layers[-1]
            M = dense.head.matrix.astype(W.dtype)
            layers[-1] = W @ M, b @ M
        self.first = np.empty((most, len(dense.weights[0])), dtype=dense.weights[0].dtype)
        # of full size, as NumPy is slow with single numbers and rows
        self.layers = [(W, np.tile(b, (most, 1)), np.zeros((most, len(b)), W.dtype)) for W, b in layers]
        self.results = [np.empty_like(b) for _, b, _ in self.layers]

    def rows(self, n: int) -> NDArray:
        """An array for n rows."""
        return self.first[:n]

    def __call__(self, rows: NDArray) -> NDArray:
        """Outputs for rows, counted from the centre."""
        n, z = len(rows), rows
        for k, (W, b, zeros) in enumerate(self.layers):
            z = np.matmul(z, W, out=self.results[k][:n])
            z += b[:n]
            if k + 1 < len(self.layers):
                z = np.maximum(z, zeros[:n], out=z) if self.dense.activation == "relu" else self.dense.function(z)
        return z if self.folded else self.dense.head(self.dense.ending(z))
