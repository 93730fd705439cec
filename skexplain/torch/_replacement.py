"""Columns replaced in a network whose first layer is linear: only what they add to its outputs is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._network import CHUNK, chunks, rows_at_once
from ._first_layer import FirstLayer

#: How many times more is done at once on a GPU, which has no caches to keep to but many cores to fill.
GPU = 64


class Replacement:
    """Pre-activations ``z + sum over replaced g of (x'_g - x_g) W_g``.

    Parameters
    ----------
    first : FirstLayer
    groups : sequence of int ndarray
        Flat columns of each group.
    coalitions : bool ndarray of shape (n_coalitions, n_groups)
        True where a group is replaced.
    """

    def __init__(self, first: FirstLayer, groups: Sequence[NDArray], coalitions: NDArray) -> None:
        self.first, self.n = first, len(coalitions)
        device = first.weight.device
        self.scale = 1 if device.type == "cpu" else GPU
        self.groups = [torch.as_tensor(g, device=device) for g in groups]
        self.single = np.array([len(g) == 1 for g in groups] + [True])  # none, at the end, is as good as a single one
        column = [int(g[0]) if len(g) else 0 for g in groups]
        self.column = torch.as_tensor([*column, 0], device=device)
        self.several = bool(len(groups)) and bool((coalitions.sum(axis=1) > 1).any())
        if self.several:
            self.member = torch.as_tensor(coalitions, dtype=first.weight.dtype, device=device)
        else:
            none = np.full(self.n, len(groups))
            self.only = np.where(coalitions.any(axis=1), coalitions.argmax(axis=1), none) if len(groups) else none

    def blocks(self, X: NDArray) -> Iterator[slice]:
        """Rows whose changes are held at once."""
        size = CHUNK // max(1, self.n) if self.several else min(CHUNK, rows_at_once(X))
        return chunks(len(X), self.scale * max(1, size))

    def preactivations(self, x: Tensor, r: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Slices of the coalitions, and their pre-activations ``(coalitions of the slice, n, width)``.

        Parameters
        ----------
        x, r : Tensor of shape (n, n_features)
            Rows, and what their columns are replaced by.
        """
        z, change = self.first(x), (r - x).T
        if self.several:
            every = np.arange(len(self.groups))
            added = self._alone(torch.zeros_like(z), change, every).flatten(1)
        for part in chunks(self.n, self.scale * CHUNK // max(1, len(x))):
            if self.several:
                yield part, z + (self.member[part] @ added).view(-1, *z.shape)
            else:
                yield part, self._alone(z, change, self.only[part])

    def _alone(self, z: Tensor, change: Tensor, only: NDArray) -> Tensor:
        """Each of these groups replaced alone, ``(len(only), n, width)``."""
        W = self.first.weight
        if self.single[only].all():
            column = self.column[torch.as_tensor(only, device=W.device)]
            factor = change[column]
            factor[np.flatnonzero(only == len(self.groups))] = 0
            return torch.addcmul(z, factor[:, :, None], W[column][:, None])
        columns = [self.groups[g] if g < len(self.groups) else self.column[:0] for g in only]
        return torch.stack([torch.addmm(z, change[g].T, W[g]) for g in columns])
