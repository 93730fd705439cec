"""The loss of each row, from a network's outputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .._data import label_index
from .._network import Network


def losses(network: Network, y: NDArray) -> Callable[[NDArray], NDArray]:
    """Outputs to the negative loss of each row, ``(n,)``: log-loss for classifiers, else squared error."""
    if network.classes is None:
        if network.head.kind != "linear":
            raise ValueError("The model has several independent sigmoid outputs; pass a `scoring`.")
        truth = np.reshape(y, (len(y), -1)).astype(np.float64)
        return lambda outputs: -((outputs - truth) ** 2).mean(axis=1)
    index, rows = label_index(np.asarray(y), network.classes), np.arange(len(y))
    return lambda outputs: network.head.log_probabilities(outputs)[rows, index]
