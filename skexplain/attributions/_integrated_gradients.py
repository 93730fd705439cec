"""Integrated gradients: from one baseline to the row."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_scalar

from .._network import Network
from ._base import Attributed, Attribution
from ._completeness import integrate


class IntegratedGradients(Attribution):
    """Gradient averaged on the straight line from a baseline to the row, times the way walked.

    Choose it when there is a meaningful baseline: "compared with the average row". Without one,
    `ExpectedGradients` compares with many training rows instead.

    Parameters
    ----------
    n_steps : int, default=32
        Nodes of the Gauss-Legendre rule. Rows whose attributions do not add up get more by themselves.
    baseline : {"mean", "zero"} or array-like of the features' shape, default="mean"
        Where the path starts: the mean of the background, zeros, or a row of your own (in the space
        that the network reads).

    Raises
    ------
    CompletenessError
        When attributions do not add up to f(x) - f(baseline), e.g. behind an integer look-up.

    See Also
    --------
    ExpectedGradients : no baseline to choose.

    Notes
    -----
    Axioms: completeness (measured, within 0.1 % of the spread of the outputs), dummy, linearity,
    implementation invariance. Cost: ``n_steps`` gradients a row. A baseline that no row resembles (zeros for
    one-hot or unscaled columns) explains the difference to a row that does not exist.

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
        """``(x - b) * integral_0^1 grad f(b + a (x - b)) da``."""
        check_scalar(self.n_steps, "n_steps", Integral, min_val=1)
        b = self.reference(background)
        return integrate(network, b, X, background, target, self.n_steps)

    def reference(self, background: NDArray) -> NDArray:
        """The baseline as one row."""
        if isinstance(self.baseline, str):
            if self.baseline == "mean":
                return background.mean(axis=0, keepdims=True)
            if self.baseline == "zero":
                return np.zeros_like(background[:1])
            raise ValueError(f"Unknown baseline {self.baseline!r}; valid names are ['mean', 'zero'], or pass a row.")
        row = np.asarray(self.baseline, dtype=background.dtype)
        if row.size != background[0].size or not np.isfinite(row).all():
            raise ValueError(
                f"baseline has shape {row.shape}, but a row of the network's input has shape "
                f"{background.shape[1:]}, and it must be finite."
            )
        return row.reshape(background[:1].shape)
