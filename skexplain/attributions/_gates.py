"""The gates of a network that has one for each column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .._network import Network
from ._base import Attribution


class Gates(Attribution):
    """Size of the gate by which a column is multiplied, in a network that learned which columns to read.

    Says which columns the network reads at all: those whose gate is exactly 0 cannot matter to it. Choose it for that
    question, and another strategy for how much the others matter: weights behind a gate make up for its size, so that
    of two open gates the larger need not be that of the more important column.

    Raises
    ------
    UnsupportedModelError
        For networks without gates; those that the estimators build when no module or model is given have them.

    See Also
    --------
    IntegratedGradients : what a column adds to the outputs, through its gate and all weights.
    Permutation : what the loss is without it.

    Notes
    -----
    ``phi_j = |g_j|``, mean over the networks of an ensemble, summed over the columns of a group. In training
    ``g_j <- sign(g_j) max(|g_j| - lr * sparsity, 0)`` follows each step of the optimizer, a proximal step of an L1
    penalty, which only gates that lower the loss withstand.

    Axioms: dummy (a column whose gate is 0 is not read). Not complete, not symmetric (of two equal columns training may
    close either), not implementation invariant. Cost: none. Biased by the optimizer: all gates begin at 1, so that
    after few steps they are nearly equal, and those of weak columns close first, whether these are noise or not.

    References
    ----------
    I. Lemhadri, F. Ruan, L. Abraham, R. Tibshirani, "LassoNet: a neural network with feature sparsity", JMLR 2021.
    N. Parikh, S. Boyd, "Proximal algorithms", Foundations and Trends in Optimization 2014 (soft threshold).

    Examples
    --------
    >>> from skexplain.attributions import Gates
    >>> Gates()
    Gates()
    """

    local = False
    signed = False
    relative = True
    needs_gates = True

    def importances(
        self, network: Network, X: NDArray, y: NDArray, groups: Sequence[NDArray], rng: np.random.Generator
    ) -> tuple[NDArray, NDArray]:
        gates = network.gates()
        return np.array([gates[g].sum() for g in groups]), np.zeros(len(groups))
