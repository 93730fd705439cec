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


def losses_of_means(network: Network, y: NDArray) -> Callable[[NDArray, NDArray], NDArray]:
    """Outputs ``(k, m, n_outputs)`` and the k rows they answer to the loss of the mean prediction of each, ``(k,)``.

    Means are taken where the loss is: over probabilities, or predictions.
    """
    if network.classes is None:
        if network.head.kind != "linear":
            raise ValueError(
                "The model has several independent sigmoid outputs, so there is no one loss; use "
                "attribution='permutation' with a `scoring`."
            )
        truth = np.reshape(y, (len(y), -1)).astype(np.float64)
        return lambda outputs, rows: ((outputs.mean(axis=1) - truth[rows]) ** 2).mean(axis=1)
    index, tiny = label_index(np.asarray(y), network.classes), np.finfo(np.float64).tiny

    def log_loss(outputs: NDArray, rows: NDArray) -> NDArray:
        p = np.exp(network.head.log_probabilities(outputs)).mean(axis=1)
        return -np.log(np.maximum(p[np.arange(len(p)), index[rows]], tiny))

    return log_loss
