"""What a job returns."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Record:
    """A line of the results.

    Attributes
    ----------
    part : {"recovery", "selection"}
    data : str
    draw : int
    model : str
        That was asked, or that was trained on the columns chosen.
    method : str
        That ranked the columns.
    auc, best_p : float
        By `skexplain.metrics.recovery`; NaN where the method did not answer.
    score : float
        The model's accuracy or R² on rows that it was not trained on.
    seconds : float
        Of the processor for the ranking, the training of a model that is asked not counted; see `trained`.
    trained : float
        Of the processor for that training.
    remark : str
        Why the method did not answer.
    """

    part: str
    data: str
    draw: int
    model: str
    method: str
    auc: float = np.nan
    best_p: float = np.nan
    score: float = np.nan
    seconds: float = np.nan
    trained: float = np.nan
    remark: str = ""


class Split(NamedTuple):
    """Rows to train on and others, the columns (and a target of numbers) standardised by those trained on."""

    X: NDArray
    y: NDArray
    X_other: NDArray
    y_other: NDArray

    @property
    def labels(self) -> bool:
        return self.y.dtype.kind in "iu"

    def columns(self, chosen: NDArray) -> Split:
        return self._replace(X=self.X[:, chosen], X_other=self.X_other[:, chosen])


def standardised(X: NDArray, y: NDArray, train: NDArray, other: NDArray) -> Split:
    """Both parts on the scale of the first; constant columns become 0."""

    def scaled(values: NDArray) -> NDArray:
        deviation = values[train].std(axis=0)
        return (values - values[train].mean(axis=0)) / np.where(deviation > 0, deviation, 1)

    X = scaled(np.asarray(X, dtype=np.float64))
    y = y if y.dtype.kind in "iu" else scaled(y)
    return Split(X[train], y[train], X[other], y[other])


def generator(name: str, draw: int) -> np.random.Generator:
    """What is drawn for the comparison itself: another order for each data set."""
    return np.random.default_rng([draw, *name.encode()])


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and the processor's seconds: others may be at work on the machine."""
    start = time.process_time()
    return call(), time.process_time() - start
