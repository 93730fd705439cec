"""DeepLIFT: contributions of differences from a reference; DeepSHAP: averaged over many references."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._network import Network
from .._propagation import Rescale
from ._base import Attributed, Attribution
from ._baseline import baseline_rows
from ._completeness import check_sums


class DeepLIFT(Attribution):
    """Difference of the output from that at a reference, handed back operation by operation.

    As cheap as two gradients and complete like integrated gradients: choose it over them when many rows are to be
    explained against one baseline, or where a gradient is cut (integer look-ups, steps), which DeepLIFT sees through.

    Parameters
    ----------
    baseline : {"mean", "zero"} or array-like of the features' shape, default="mean"
        The reference: the mean of the background, zeros, or a row of your own (in the space that the network
        reads).

    Raises
    ------
    UnsupportedLayerError
        For an operation that there is no rule for.
    CompletenessError
        When attributions do not add up to f(x) - f(reference).

    See Also
    --------
    DeepSHAP : many references instead of one.
    IntegratedGradients : the same question, answered along a path.

    Notes
    -----
    Every operation of the network, however it is spelled, gets a multiplier: its mean slope between the reference's
    value and the row's. For a function of one number that is the rescale rule, ``(f(x) - f(r)) / (x - r)``, or the
    derivative where x and r are (almost) equal; for a product of two branches the midpoint of the other factor, which
    is the Shapley value of two players; for a maximum the share of the straight way from r to x on which an input is
    the largest; for softmax the average derivative on that way. Layer normalisation, recurrent layers and attention
    are made of these. Chained backwards, multipliers times ``x - r`` add up exactly at every operation.

    Axioms: completeness (measured), dummy, symmetry; implementation invariance for spellings of the same operation,
    but not for different networks that compute the same function: it is not a Shapley value and may differ from it
    by tens of percent on deep ReLU networks. Biased by the reference: a row that no data resemble explains the
    difference to a row that does not exist. Cost: two forward and one backward pass a row.

    References
    ----------
    A. Shrikumar, P. Greenside, A. Kundaje, "Learning important features through propagating activation
    differences", ICML 2017, sec. 3.3 and 3.5.1.

    Examples
    --------
    >>> from skexplain.attributions import DeepLIFT
    >>> DeepLIFT(baseline="zero")
    DeepLIFT(baseline='zero')
    """

    complete = True

    def __init__(self, *, baseline: str | ArrayLike = "mean") -> None:
        self.baseline = baseline

    def attribute(
        self, network: Network, X: NDArray, background: NDArray, target: NDArray, rng: np.random.Generator
    ) -> Attributed:
        """``multiplier * (x - reference)``."""
        reference = self.reference(background)
        values = network.propagate(X, reference, Rescale("deeplift"), target)
        return Attributed(values, gap=check_sums(network, values, X, reference, background, target))

    def reference(self, background: NDArray) -> NDArray:
        """The baseline as one row."""
        rows = baseline_rows(self.baseline, background)
        if len(rows) != 1:
            raise ValueError(
                f"baseline={self.baseline!r} has {len(rows)} rows, DeepLIFT compares with one; use "
                "attribution='deepshap' for many."
            )
        return rows


class DeepSHAP(Attribution):
    """DeepLIFT averaged over the background rows as references.

    Parameters
    ----------
    baseline : {"background"} or array-like of shape (m, *features), default="background"
        The references: all rows of the background, or rows of your own.

    Raises
    ------
    UnsupportedLayerError
        For an operation that there is no rule for.
    CompletenessError
        When attributions do not add up to f(x) minus the mean of f over the references.

    See Also
    --------
    DeepLIFT : one reference, and what the rules are.
    ExpectedGradients : the same question, by sampling gradients.
    ShapleySampling : Shapley values themselves, at many times the cost.

    Notes
    -----
    Approximates the Shapley values of "replace columns by those of a background row". For a sum of functions of one
    column each (and products of two) it is exact; where columns meet in a non-linearity it is not, by up to tens of
    percent on deep ReLU networks, whatever the number of references. Nothing is sampled, so there is no standard error.

    Axioms: completeness with respect to the mean output over the references (measured), dummy, symmetry; like
    `DeepLIFT` not implementation invariant. Biased by the references, which decide what a row is compared with, and, as
    an estimate of Shapley values, by the rules: it is what these say of each non-linearity by itself. Cost: two forward
    and one backward pass a row and reference.

    References
    ----------
    S. Lundberg, S.-I. Lee, "A unified approach to interpreting model predictions", NeurIPS 2017, sec. 4.2;
    H. Chen, S. Lundberg, S.-I. Lee, "Explaining a series of models by propagating Shapley values", Nature
    Communications 2022, for the average over a background.

    Examples
    --------
    >>> from skexplain.attributions import DeepSHAP
    >>> DeepSHAP()
    DeepSHAP()
    """

    complete = True

    def __init__(self, *, baseline: str | ArrayLike = "background") -> None:
        self.baseline = baseline

    def attribute(
        self, network: Network, X: NDArray, background: NDArray, target: NDArray, rng: np.random.Generator
    ) -> Attributed:
        """Mean over references r of ``multiplier * (x - r)``."""
        references = self.reference(background)
        values = network.mean_propagate(X, references, Rescale("deepshap"), target)
        return Attributed(values, gap=check_sums(network, values, X, references, background, target))

    def reference(self, background: NDArray) -> NDArray:
        """The references."""
        return baseline_rows(self.baseline, background)
