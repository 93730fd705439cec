"""The loss of each row, from a network's outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data import label_index
from .._head import Head
from .._network import Network

#: scikit-learn keeps probabilities this far from 0 and 1.
EPS = np.finfo(np.float64).eps

#: Outputs ``(..., m, n_outputs)`` of some rows, and which rows they are, to a number for each, ``(..., m)``.
OfRows = Callable[[NDArray, slice], NDArray]


def losses(network: Network, y: NDArray) -> OfRows:
    """Negative loss of each row: log-loss for classifiers, else squared error."""
    if network.classes is None:
        if network.head.kind != "linear":
            raise ValueError("The model has several independent sigmoid outputs; pass a `scoring`.")
        truth = _targets(network, y)
        return lambda outputs, rows: -((outputs - truth[rows]) ** 2).mean(axis=-1)
    index = label_index(np.asarray(y), network.classes)
    return lambda outputs, rows: _of_own_class(network.head.log_probabilities(outputs), index[rows])


def _targets(network: Network, y: NDArray) -> NDArray:
    """A number for each output, ``(n, n_outputs)``."""
    truth = np.reshape(y, (len(y), -1)).astype(np.float64)
    if truth.shape[1] != network.n_outputs:
        raise ValueError(
            f"y has {truth.shape[1]} targets a row, but the network has {network.n_outputs} outputs; pass y of shape "
            f"({len(truth)}, {network.n_outputs})."
        )
    return truth


def _of_own_class(values: NDArray, index: NDArray) -> NDArray:
    return values[..., np.arange(len(index)), index]


def scores_of_rows(network: Network, y: NDArray, scoring: Any) -> OfRows | None:
    """A scikit-learn score as the mean of a number a row, where it is one; else None.

    For whole blocks of rows at once, without the scorer's checks of every call. None also for targets of which
    scikit-learn would warn, or that it would refuse: it is to say so itself.
    """
    y = np.asarray(y)
    if network.classes is None:
        if network.head.kind != "linear" or y.dtype.kind not in "biuf" or y.size != len(y) * network.n_outputs:
            return None
        return _regression_score(y.reshape(len(y), -1).astype(np.float64), scoring)
    found, counts = np.unique(y, return_counts=True)
    if y.ndim != 1 or not np.array_equal(found, network.classes):
        return None
    return _classification_score(network.head, label_index(y, network.classes), counts, scoring)


def _regression_score(truth: NDArray, scoring: Any) -> OfRows | None:
    if scoring == "neg_mean_squared_error":
        return lambda outputs, rows: -((outputs - truth[rows]) ** 2).mean(axis=-1)
    if scoring == "neg_mean_absolute_error":
        return lambda outputs, rows: -np.abs(outputs - truth[rows]).mean(axis=-1)
    total = ((truth - truth.mean(axis=0)) ** 2).mean(axis=0)
    if scoring == "r2" and len(truth) > 1 and total.all():
        return lambda outputs, rows: (1 - (outputs - truth[rows]) ** 2 / total).mean(axis=-1)
    return None


def _classification_score(head: Head, index: NDArray, counts: NDArray, scoring: Any) -> OfRows | None:
    if scoring in ("accuracy", "balanced_accuracy"):
        weight = np.ones(len(counts)) if scoring == "accuracy" else len(index) / (len(counts) * counts)
        return lambda outputs, rows: (outputs.argmax(axis=-1) == index[rows]) * weight[index[rows]]
    if scoring == "neg_log_loss" and (head.kind == "softmax" or head.one_unit):

        def negative_log_loss(outputs: NDArray, rows: slice) -> NDArray:
            p = np.exp(head.log_probabilities(outputs))
            if p.shape[-1] == 2:  # it is given the second class only
                p[..., 0] = 1 - p[..., 1]
            return np.log(np.clip(_of_own_class(p, index[rows]), EPS, 1 - EPS))

        return negative_log_loss
    return None


def losses_of_means(network: Network, y: NDArray) -> Callable[[NDArray, NDArray], NDArray]:
    """From outputs ``(..., k, m, s, n_outputs)`` and the k rows they answer to losses of means over m, ``(..., k, s)``.

    Means are taken where the loss is: over probabilities, or predictions.
    """
    if network.classes is None:
        if network.head.kind != "linear":
            raise ValueError(
                "The model has several independent sigmoid outputs, so there is no one loss; use "
                "attribution='permutation' with a `scoring`."
            )
        truth = _targets(network, y)
        return lambda outputs, rows: ((outputs.mean(axis=-3) - truth[rows, None]) ** 2).mean(axis=-1)
    index, tiny = label_index(np.asarray(y), network.classes), np.finfo(np.float64).tiny

    def log_loss(outputs: NDArray, rows: NDArray) -> NDArray:
        p = np.exp(network.head.log_probabilities(outputs)).mean(axis=-3)
        own = np.broadcast_to(index[rows, None, None], (*p.shape[:-1], 1))
        return -np.log(np.maximum(np.take_along_axis(p, own, axis=-1)[..., 0], tiny))

    return log_loss
