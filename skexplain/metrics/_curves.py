"""Deletion and insertion curves."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_scalar

from .._subject import seed_of
from ..explanation import Explanation
from ._judged import check_signed, judged
from ._no_model import by_importance, unusual
from ._removal import Removal
from ._results import Curve


def deletion(
    model: Any,
    explanation: Explanation,
    *,
    removal: Any = "background",
    by: Literal["value", "size"] = "value",
    n_steps: int = 10,
    n_draws: int = 5,
    n_random: int = 5,
    background: Any = None,
    random_state: Any = 0,
) -> Curve:
    """What is left of the output when each row's columns are taken away, the highest value first.

    The lower the curve, the better: the columns named first held the output up.

    Parameters
    ----------
    model : object
        The model that was explained.
    explanation : Explanation
        Of one output of each row.
    removal : {"background", "mean", "zero", "conditional"} or array-like, default="background"
        What columns are replaced by: those of random rows of the background, of its mean, zeros, one or several rows of
        your own, or a draw given the columns that are left, by a Gaussian fitted to the background. No removal is
        neutral, and they can rank strategies differently; say which one was used, and look at two.
    by : {"value", "size"}, default="value"
        "value": the explained output, by descending value. "size": how far the output has moved,
        ``-|f(x) - f(what is left)|``, by descending absolute value; for strategies without a sign.
    n_steps : int, default=10
        Points of the curve beside the first, at most one for each column or group.
    n_draws : int, default=5
        Draws for each row, where the removal has any.
    n_random : int, default=5
        Random orders beside it.
    background : array-like, default=None
        As passed to `explain`.
    random_state : int, RandomState or None, default=0

    Returns
    -------
    Curve
        Its controls: random orders, and columns by how unusual the row's value is, which asks no model.

    Raises
    ------
    ValueError
        For another model than was explained, an explanation of all outputs, an unknown removal, and
        ``by="value"`` for a strategy without a sign.

    See Also
    --------
    insertion : the reverse. roar : with training in between.

    Notes
    -----
    Replaced columns make rows that may not exist, on which the network was never trained; "conditional" makes likelier
    ones. Cost: ``(2 + n_random) n_steps n_draws`` predictions a row.

    References
    ----------
    W. Samek et al., "Evaluating the visualization of what a deep neural network has learned", IEEE TNNLS 28, 2017.
    V. Petsiuk, A. Das, K. Saenko, "RISE: randomized input sampling for explanation of black-box models", BMVC 2018.
    Y. Rong et al., "A consistent and efficient evaluation strategy for attribution methods", ICML 2022 (draws given the
    rest).

    Examples
    --------
    >>> from sklearn.neural_network import MLPRegressor
    >>> import skexplain
    >>> from skexplain.metrics import deletion
    >>> data = skexplain.datasets.make_linear(random_state=0)
    >>> net = MLPRegressor(max_iter=500, random_state=0).fit(data.data, data.target)
    >>> explanation = skexplain.explain(net, data.data[:50], random_state=0)
    >>> curve = deletion(net, explanation)
    >>> bool(curve.area < curve.random_areas.min())
    True
    """
    return _curve("Deletion", model, explanation, removal, by, n_steps, n_draws, n_random, background, random_state)


def insertion(
    model: Any,
    explanation: Explanation,
    *,
    removal: Any = "background",
    by: Literal["value", "size"] = "value",
    n_steps: int = 10,
    n_draws: int = 5,
    n_random: int = 5,
    background: Any = None,
    random_state: Any = 0,
) -> Curve:
    """What comes back of the output when all columns are taken away and given back, the highest value first.

    The higher the curve, the better.

    Parameters
    ----------
    model, explanation, removal, by, n_steps, n_draws, n_random, background, random_state
        As for `deletion`.

    Returns
    -------
    Curve

    Raises
    ------
    ValueError
        As `deletion`.

    See Also
    --------
    deletion

    References
    ----------
    V. Petsiuk, A. Das, K. Saenko, "RISE: randomized input sampling for explanation of black-box models", BMVC 2018.

    Examples
    --------
    >>> from sklearn.neural_network import MLPRegressor
    >>> import skexplain
    >>> from skexplain.metrics import insertion
    >>> data = skexplain.datasets.make_linear(random_state=0)
    >>> net = MLPRegressor(max_iter=500, random_state=0).fit(data.data, data.target)
    >>> curve = insertion(net, skexplain.explain(net, data.data[:50], random_state=0))
    >>> curve.gain > 0
    True
    """
    return _curve("Insertion", model, explanation, removal, by, n_steps, n_draws, n_random, background, random_state)


def _curve(
    name: Literal["Deletion", "Insertion"],
    model: Any,
    explanation: Explanation,
    removal: Any,
    by: str,
    n_steps: int,
    n_draws: int,
    n_random: int,
    background: Any,
    random_state: Any,
) -> Curve:
    for word, number in (("n_steps", n_steps), ("n_draws", n_draws), ("n_random", n_random)):
        check_scalar(number, word, Integral, min_val=1)
    if by not in ("value", "size"):
        raise ValueError(f"by={by!r}; choose 'value' or 'size'.")
    j = judged(model, explanation, background)
    if by == "value":
        check_signed(explanation, "by='value'")
    rng = np.random.default_rng(seed_of(None, random_state))
    remove = Removal(removal, j, n_draws, rng)
    n, d = j.values.shape
    taken = np.unique(np.round(np.linspace(0, d, min(n_steps, d) + 1)).astype(int))
    orders = [
        np.abs(j.values) if by == "size" else j.values,
        unusual(j.rows, j.background, j.groups),
        *rng.random((n_random, n, d)),
    ]
    whole = j.outputs(j.rows)[0]
    curves = []
    for scores in orders:
        points = []
        for rows in _stages(remove, by_importance(scores, rng), taken, name == "Insertion"):
            f = j.outputs(rows)
            points.append(-np.abs(f - whole).mean() if by == "size" else f.mean())
        curves.append(np.array(points))
    values, no_model, *random = curves
    return Curve(name, taken / d, values, np.array(random), no_model, "low" if name == "Deletion" else "high")


def _stages(remove: Removal, order: NDArray, taken: NDArray, back: bool) -> Iterator[NDArray]:
    """The rows when so many groups have been taken away, or given back, in each row's order."""
    rank = np.argsort(order, axis=1)
    for k in taken:
        yield remove((rank >= k) if back else (rank < k))
