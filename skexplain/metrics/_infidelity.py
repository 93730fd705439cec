"""Infidelity: whether values foretell what the output does when columns are taken away."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_scalar

from .._subject import seed_of
from ..explanation import Explanation
from ._judged import check_signed, judged
from ._removal import Removal
from ._results import Score


def infidelity(
    model: Any,
    explanation: Explanation,
    *,
    removal: Any = "background",
    n_samples: int = 50,
    n_draws: int = 5,
    normalize: bool = False,
    background: Any = None,
    random_state: Any = 0,
) -> Score:
    """Mean squared error of the values as a forecast of what the output loses with some of the columns.

    For random sets S of columns: ``(sum over S of phi_j - (f(x) - f(x without S)))^2``. 0 for a function that is
    additive in the columns and its Shapley values; not 0 for one with interactions, whatever the values.

    Parameters
    ----------
    model : object
        The model that was explained.
    explanation : Explanation
        Of one output of each row, by a strategy with signs.
    removal : {"background", "mean", "zero", "conditional"} or array-like, default="background"
        As for `deletion`. Take what the strategy compares with, such as its baseline.
    n_samples : int, default=50
        Random sets for each row; first their size is drawn, from 1 to all.
    n_draws : int, default=5
        Draws for each set, where the removal has any; f(x without S) is their mean.
    normalize : bool, default=False
        Multiply the values of each row by the factor that fits best, for values that are not in units of the output.
    background : array-like, default=None
        As passed to `explain`.
    random_state : int, RandomState or None, default=0

    Returns
    -------
    Score
        In squared units of the output. Its controls: values that are all 0, which ask no model and foretell that
        nothing happens, and each row's own values in a random order.

    Raises
    ------
    ValueError
        As `deletion`, and for a strategy without signs.

    Notes
    -----
    Yeh et al. let the perturbation I be anything; here it says which columns go, so that ``I' phi`` is the sum of
    values in units of the output. Cost: ``n_samples n_draws`` predictions a row.

    References
    ----------
    C. Yeh, C. Hsieh, A. Suggala, D. Inouye, P. Ravikumar, "On the (in)fidelity and sensitivity of explanations",
    NeurIPS 2019.

    Examples
    --------
    >>> from sklearn.neural_network import MLPRegressor
    >>> import skexplain
    >>> from skexplain.metrics import infidelity
    >>> data = skexplain.datasets.make_linear(random_state=0)
    >>> net = MLPRegressor(max_iter=500, random_state=0).fit(data.data, data.target)
    >>> explanation = skexplain.explain(net, data.data[:50], random_state=0)
    >>> measured = infidelity(net, explanation, n_draws=50)
    >>> bool(measured.value < 0.2 * measured.no_model < measured.random)
    True
    """
    check_scalar(n_samples, "n_samples", Integral, min_val=1)
    check_scalar(n_draws, "n_draws", Integral, min_val=1)
    j = judged(model, explanation, background)
    check_signed(explanation, "infidelity")
    rng = np.random.default_rng(seed_of(None, random_state))
    remove = Removal(removal, j, n_draws, rng)
    shuffled = rng.permuted(j.values, axis=1)
    whole = j.outputs(j.rows)[0]
    lost, foretold, by_chance = np.empty((3, n_samples, len(whole)))
    for k, S in enumerate(random_sets(n_samples, j.values.shape, rng)):
        lost[k] = whole - j.outputs(remove(S)).mean(axis=0)
        foretold[k], by_chance[k] = (j.values * S).sum(axis=1), (shuffled * S).sum(axis=1)
    return Score(
        "Infidelity",
        _error(foretold, lost, normalize),
        no_model=float(np.mean(lost**2)),
        random=float(_error(by_chance, lost, normalize).mean()),
    )


def random_sets(n_samples: int, shape: tuple[int, int], rng: np.random.Generator) -> Iterator[NDArray]:
    """Random sets of columns for each row, ``(n, n_groups)``: of any size, and of a size any set."""
    n, d = shape
    for _ in range(n_samples):
        rank = rng.permuted(np.tile(np.arange(d), (n, 1)), axis=1)
        yield rank < rng.integers(1, d + 1, size=(n, 1))


def _error(foretold: NDArray, lost: NDArray, normalize: bool) -> NDArray:
    """Mean squared error of each row over the sets."""
    if normalize:
        size = (foretold**2).mean(axis=0)
        foretold = foretold * (foretold * lost).mean(axis=0) / np.where(size > 0, size, 1)
    return ((foretold - lost) ** 2).mean(axis=0)
