"""Outputs of rows that are mixed from two, on the device where the module is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._network import block_of, blocks, owners, rows_at_once


def outputs_of_coalitions(
    outputs: Callable[[Tensor], NDArray],
    n_outputs: int,
    x: Tensor,
    r: Tensor,
    groups: Sequence[NDArray],
    coalitions: NDArray,
) -> NDArray:
    """What `Network.predict_coalitions` returns, where every column is in one of the groups.

    Parameters
    ----------
    outputs : callable
        From rows ``(n, *features)`` to outputs ``(n, n_outputs)``.
    n_outputs : int
    x, r : Tensor of shape (*any, *features)
        Rows, and where columns outside a coalition come from.
    groups, coalitions
        As for `Network.predict_coalitions`.
    """
    axes = coalitions.ndim - 1
    features = x.shape[axes:]
    owner = owners(groups, features.numel())
    from_x = torch.as_tensor(coalitions[..., owner], device=x.device).reshape(*coalitions.shape[:-1], *features)
    every = np.broadcast_shapes(x.shape[:axes], r.shape[:axes], coalitions.shape[:-1])
    out = np.empty((2, *every, n_outputs))
    for block in blocks(every, rows_at_once(np.empty((0, *features)))):
        X, R, S = (block_of(v, block) for v in (x, r, from_x))
        for k, mixed in enumerate((torch.where(S, X, R), torch.where(S, R, X))):
            out[k][block] = outputs(mixed.reshape(-1, *features)).reshape(*mixed.shape[:axes], n_outputs)
    return out
