"""Input x gradient: the gradient times the way from a baseline."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._network import Network
from ._base import Attributed, Attribution
from ._baseline import baseline_rows
from ._completeness import check_paths


class InputXGradient(Attribution):
    """Gradient at the row times the row's difference to a baseline: what the tangent at x says of the way from there.

    As cheap as `Saliency`, with a sign and in units of the output. Exact for linear networks; elsewhere a first
    guess of what `IntegratedGradients` measures.

    Parameters
    ----------
    baseline : {"zero", "mean", "background"} or array-like, default="zero"
        What the row is compared with: zeros, as in the paper, the mean of the background, or a row of your own (in the
        space that the network reads). Several rows count as their mean, which for a tangent is the same.

    Raises
    ------
    CompletenessError
        When the network is not the integral of its gradient, e.g. behind an integer look-up, where the gradient
        is 0 whatever the column does.

    See Also
    --------
    IntegratedGradients : averages the gradient on the way, and adds up.
    Saliency : the gradient's size alone.

    Notes
    -----
    Axioms: dummy, linearity, implementation invariance. Not complete, except on linear networks, and with
    ``baseline="zero"`` on networks of linear layers and ReLU without biases: their output grows in proportion with the
    input, so the values add up to f(x). There, and on any ReLU network if biases keep their share, it equals
    epsilon-LRP with a small epsilon. Cost: one gradient a row.

    Biased where the network bends: the slope at x is not the slope on the way to x. And a column at its baseline gets
    0 whatever the network does with it, so zero suits columns for which 0 means that nothing is there, such as dark
    pixels; ``"mean"`` suits the others.

    References
    ----------
    A. Shrikumar, P. Greenside, A. Shcherbina, A. Kundaje, "Not just a black box: learning important features through
    propagating activation differences", arXiv:1605.01713, 2016.

    Examples
    --------
    >>> from skexplain.attributions import InputXGradient
    >>> InputXGradient(baseline="mean")
    InputXGradient(baseline='mean')
    """

    of_slopes = True

    def __init__(self, *, baseline: str | ArrayLike = "zero") -> None:
        self.baseline = baseline

    def attribute(
        self, network: Network, X: NDArray, background: NDArray, target: NDArray, rng: np.random.Generator
    ) -> Attributed:
        """``(x - b) * grad f(x)``."""
        b = self.reference(background).mean(axis=0)
        gap = check_paths(network, X, background, target, rng)
        return Attributed((X - b) * network.gradient(X, target), gap=gap)

    def reference(self, background: NDArray) -> NDArray:
        """The baselines, ``(m, *features)``."""
        return baseline_rows(self.baseline, background)
