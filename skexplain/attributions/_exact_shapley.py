"""Exact Shapley values: every coalition of columns is asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .._network import Network
from ._base import ReplacementAttribution
from ._game import Game

#: Most groups whose coalitions are all asked: 4096.
MAX_GROUPS = 12


class ExactShapley(ReplacementAttribution):
    """Shapley values of each row, by enumeration of all coalitions of up to 12 columns or groups.

    The reference that the sampled strategies approximate: no random numbers, no error. Use it where columns are few,
    or gather them in `groups`.

    Raises
    ------
    ValueError
        For more than 12 groups.

    See Also
    --------
    ShapleySampling, KernelSHAP : for any number of columns, with a standard error.

    Notes
    -----
    The game is ``v(S) = mean over background rows b of f(x_S, b_rest)``: columns outside S are replaced by those of
    rows of the background, whatever the columns in S are (the marginal, or interventional, game). It has no
    parameters.

    Axioms: completeness, f(x) minus the mean of f over the background, exactly; symmetry; dummy; linearity;
    implementation invariance. Cost: ``2^d m`` predictions a row for d groups and m background rows. It is biased
    by nothing but the choice of the game: correlated columns are separated, which asks the network about rows that
    do not exist, and the answer depends on the background.

    References
    ----------
    L. S. Shapley, "A value for n-person games", 1953.
    S. Lundberg, S.-I. Lee, "A unified approach to interpreting model predictions", NeurIPS 2017, eq. 4.
    D. Janzing, L. Minorics, P. Blöbaum, "Feature relevance quantification in explainable AI: a causal problem",
    AISTATS 2020, on the choice of the game.

    Examples
    --------
    >>> from skexplain.attributions import ExactShapley
    >>> ExactShapley()
    ExactShapley()
    """

    complete = True

    def attribute_groups(
        self,
        network: Network,
        X: NDArray,
        background: NDArray,
        groups: Sequence[NDArray],
        targets: NDArray,
        rng: np.random.Generator,
    ) -> NDArray:
        """``sum over S without j of |S|! (d - |S| - 1)! / d! (v(S + j) - v(S))``."""
        d = len(groups)
        if d > MAX_GROUPS:
            raise ValueError(
                f"attribution='exact_shapley' asks 2^d coalitions; {d} columns or groups are too many, {MAX_GROUPS} "
                "the most. Gather columns by `groups=`, or use 'shapley_sampling' or 'kernel_shap'."
            )
        return Game(network, X, background, groups, targets).shapley_values("exact_shapley")
