"""The one-standard-error rule: the simplest of several models that is not shown to be worse than the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Tried(NamedTuple):
    """One sparsity, and how well the network of its best epoch does on the rows held out.

    Attributes
    ----------
    sparsity : float
    losses, weight : ndarray of shape (n_held_out,)
        Of the rows.
    weights : object
        Of the network, as its framework has them.
    """

    sparsity: float
    losses: NDArray
    weight: NDArray
    weights: Any


def simplest(losses: Sequence[NDArray], weight: NDArray) -> int:
    """The first model, simplest first, whose mean loss is within one standard error of the best.

    The error is that of the difference between the two models on the same rows, which is what is compared; that of the
    best loss alone is mostly how much rows differ, and lets pass what is clearly worse (T. Hastie, R. Tibshirani, J.
    Friedman, "The Elements of Statistical Learning", 2009, section 7.10, for the rule).

    Parameters
    ----------
    losses : sequence of ndarray of shape (n,)
        Of the same held-out rows by each model.
    weight : ndarray of shape (n,)
        Of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> best = np.array([1.0, 3.0, 2.0, 4.0])
    >>> simplest([best + 1, best + [0.2, -0.2, 0.1, 0.0], best], np.ones(4))
    1
    """
    means = [np.average(loss, weights=weight) for loss in losses]
    best = int(np.argmin(means))
    for k, loss in enumerate(losses):
        behind = means[k] - means[best]
        error = np.sqrt(np.sum((weight * (loss - losses[best] - behind)) ** 2)) / weight.sum()
        if behind <= error:
            return k
    return best
