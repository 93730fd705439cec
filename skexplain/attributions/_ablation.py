"""Ablation: what the output loses when columns are replaced by those of a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._network import Network, chunks, rows_at_once
from ._base import Attributed, ReplacementAttribution
from ._baseline import baseline_rows

#: Outputs held at once.
OUTPUTS = 2**22


class Ablation(ReplacementAttribution):
    """Fall of the output when a column, or a group of columns, is replaced by that of other rows.

    The plainest question to a network, "what would it say without knowing this column?", for any model: it needs no
    gradient, and sees integer look-ups and steps too.

    Parameters
    ----------
    baseline : {"background", "mean", "zero"} or array-like, default="background"
        What columns are replaced by: those of each row of the background in turn, of their mean, zeros, or of a row
        or several of your own (in the space that the network reads). Falls are averaged over several rows.

    Raises
    ------
    ValueError
        For a baseline that is no row of finite numbers.

    See Also
    --------
    Permutation : the same in units of the loss.
    Occlusion : neighbouring columns together.

    Notes
    -----
    ``phi_g = f(x) - mean_b f(x with the columns g of b)``. Axioms: dummy, linearity, implementation invariance,
    symmetry. Not complete: what two columns do together is counted for both, or, where one can stand in for the other,
    for neither; group such columns. A group is replaced jointly. Cost: ``m`` predictions a row and group, for m
    baseline rows, of which all but the first layer's update is shared; all outputs together.

    With several baseline rows, which are all used, the standard error is that of the mean over rows like them;
    with one there is none. It is biased by rows that do not exist: a column of another row need not go with the
    rest of this one. A single baseline, such as the mean, may itself be a row that no data resembles (half of a
    category), which several real rows avoid.

    References
    ----------
    M. Robnik-Šikonja, I. Kononenko, "Explaining classifications for individual instances", IEEE Transactions on
    Knowledge and Data Engineering 20(5), 2008 (difference of predictions).

    Examples
    --------
    >>> from skexplain.attributions import Ablation
    >>> Ablation(baseline="mean")
    Ablation(baseline='mean')
    """

    shared_error = True

    def __init__(self, *, baseline: str | ArrayLike = "background") -> None:
        self.baseline = baseline

    def attribute_groups(
        self,
        network: Network,
        X: NDArray,
        background: NDArray,
        groups: Sequence[NDArray],
        targets: NDArray,
        rng: np.random.Generator,
    ) -> Attributed:
        """``f(x) - E_b f(x with x_g = b_g)``."""
        return mean_falls(network, X, self.reference(background), groups, targets)

    def reference(self, background: NDArray) -> NDArray:
        """The baselines, ``(m, *features)``."""
        return baseline_rows(self.baseline, background)


def mean_falls(
    network: Network,
    X: NDArray,
    baselines: NDArray,
    windows: Sequence[NDArray],
    targets: NDArray,
    shares: Any = None,
) -> Attributed:
    """Mean fall of the outputs when windows of columns are taken from baselines.

    Parameters
    ----------
    network : Network
    X : ndarray of shape (n, *features)
    baselines : ndarray of shape (m, *features)
    windows : sequence of int ndarray
        Flat columns that are replaced together.
    targets : int ndarray of shape (n_targets, n)
    shares : matrix of shape (n_windows, n_players), optional
        What is reported are sums of falls with these weights, instead of the falls.

    Returns
    -------
    Attributed
        Values ``(n_targets, n, n_players)``, and their standard error if there are several baselines.
    """
    players, m = len(windows) if shares is None else shares.shape[1], len(baselines)
    values = np.empty((*targets.shape, players))
    error = np.empty(values.shape)
    # whole numbers would round what replaces them
    dtype = np.float64 if X.dtype.kind in "biuf" else X.dtype
    pairs = min(rows_at_once(X), OUTPUTS // (len(targets) * len(windows)))
    for rows in chunks(len(X), pairs // m):
        every = np.tile(baselines, (rows.stop - rows.start,) + (1,) * (X.ndim - 1))
        x = np.repeat(X[rows].astype(dtype), m, axis=0)
        t = np.repeat(targets[:, rows], m, axis=1)
        falls = np.empty((len(t), len(x), len(windows)))
        for part in chunks(len(windows), OUTPUTS // (len(x) * network.n_outputs)):
            block = windows[part]
            # nothing replaced, then each window alone: in one call, so that both are rounded alike
            none_and_alone = np.eye(len(block) + 1, len(block), k=-1, dtype=bool)
            outputs = network.predict_replaced(x, every, block, none_and_alone)
            picked = outputs[:, np.arange(len(x)), t]
            falls[:, :, part] = np.moveaxis(picked[0] - picked[1:], 0, -1)
        shared = falls if shares is None else (falls.reshape(-1, len(windows)) @ shares).reshape(*t.shape, players)
        of_rows = shared.reshape(len(t), -1, m, players)
        values[:, rows] = of_rows.mean(axis=2)
        if m > 1:
            error[:, rows] = of_rows.std(axis=2, ddof=1) / np.sqrt(m)
    return Attributed(values, error if m > 1 else None)
