"""Integrated gradients: from a baseline to the row."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_scalar

from .._network import Network
from ._base import Attributed, Attribution
from ._baseline import baseline_rows
from ._completeness import integrate


class IntegratedGradients(Attribution):
    """Gradient averaged on the straight line from a baseline to the row, times the way walked.

    Choose it when there is a meaningful baseline: "compared with the average row". Without one,
    `ExpectedGradients` compares with many training rows instead.

    Parameters
    ----------
    n_steps : int, default=32
        Nodes of the Gauss-Legendre rule. Rows whose attributions do not add up get more by themselves.
    baseline : {"mean", "zero", "background"} or array-like, default="mean"
        Where the path starts: the mean of the background, zeros, each row of the background in turn, or a row or
        several of your own (in the space that the network reads). The attributions are averaged over several starts.

    Raises
    ------
    CompletenessError
        When attributions do not add up to f(x) - f(baseline), e.g. behind an integer look-up.
    ValueError
        For fewer than one step, or a baseline that is no row of finite numbers.

    See Also
    --------
    ExpectedGradients : no baseline to choose.

    Notes
    -----
    Axioms: completeness (measured, within 0.1 % of the spread of the outputs, for every baseline), dummy, linearity,
    implementation invariance. Cost: ``n_steps`` gradients a row and baseline. Biased by the baseline: one that no row
    resembles (zeros for one-hot or unscaled columns) explains the difference to a row that does not exist, and a column
    that is at its baseline gets 0 whatever the network does with it.

    With ``baseline="background"`` it is what `ExpectedGradients` estimates, without sampling, at as many times the
    cost as the background has rows.

    References
    ----------
    M. Sundararajan, A. Taly, Q. Yan, "Axiomatic attribution for deep networks", ICML 2017, eq. 1.

    Examples
    --------
    >>> from skexplain.attributions import IntegratedGradients
    >>> IntegratedGradients(n_steps=64)
    IntegratedGradients(n_steps=64)
    """

    complete = True

    def __init__(self, *, n_steps: int = 32, baseline: str | ArrayLike = "mean") -> None:
        self.n_steps = n_steps
        self.baseline = baseline

    def attribute(
        self, network: Network, X: NDArray, background: NDArray, target: NDArray, rng: np.random.Generator
    ) -> Attributed:
        """``(x - b) * integral_0^1 grad f(b + a (x - b)) da``, averaged over the baselines b."""
        check_scalar(self.n_steps, "n_steps", Integral, min_val=1)
        baselines = self.reference(background)
        values, gap = np.zeros(X.shape), 0.0
        for b in baselines:
            path = integrate(network, b[None], X, background, target, self.n_steps)
            values += path.values / len(baselines)
            gap = max(gap, path.gap or 0.0)
        return Attributed(values, gap=gap)

    def reference(self, background: NDArray) -> NDArray:
        """The baselines, ``(m, *features)``."""
        return baseline_rows(self.baseline, background)
