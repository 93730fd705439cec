"""Saliency: the gradient's size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._network import Network
from ._base import Attributed, Attribution
from ._completeness import check_paths
from ._spread import mean_deviation


class Saliency(Attribution):
    """Absolute gradient of the output, by default times each column's spread.

    The cheapest look at a network: one gradient a row. It tells how strongly the output *reacts* near a
    row, not how much of the output a column accounts for; where the network is flat it is 0 whatever the
    column did on the way there.

    Parameters
    ----------
    scaled : bool, default=True
        Multiply by the column's mean absolute deviation over the background, so that columns in
        different units can be compared. False: the bare ``|gradient|``, in outputs per unit of the column.

    Raises
    ------
    ValueError
        With ``scaled=True``, for a background without two different rows.
    CompletenessError
        When the network is not the integral of its gradient, e.g. behind an integer look-up, where the gradient
        is 0 whatever the column does.

    See Also
    --------
    IntegratedGradients : averages the gradient along a path, and adds up.

    Notes
    -----
    Cost: one gradient a row. Axioms: dummy, implementation invariance. Not complete, not signed. On a linear
    network the scaled values are ``|w_j| E|x_j - mean_j|``. Biased where the network bends: a column on which it has
    saturated gets nothing, and at a kink the next row may get another answer.

    References
    ----------
    K. Simonyan, A. Vedaldi, A. Zisserman, "Deep inside convolutional networks", ICLR workshop 2014.

    Examples
    --------
    >>> from skexplain.attributions import Saliency
    >>> Saliency(scaled=False)
    Saliency(scaled=False)
    """

    signed = False
    of_slopes = True

    def __init__(self, *, scaled: bool = True) -> None:
        self.scaled = scaled

    def attribute(
        self, network: Network, X: NDArray, background: NDArray, target: NDArray, rng: np.random.Generator
    ) -> Attributed:
        """``|d f_target / d x|``, scaled; see the class."""
        scale = mean_deviation(background, self) if self.scaled else 1.0
        gap = check_paths(network, X, background, target, rng)
        size = np.abs(network.gradient(X, target))
        return Attributed(size * scale, gap=gap)
