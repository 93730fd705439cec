"""Importances read from the weights of a stack of dense layers."""

from __future__ import annotations

from functools import reduce

import numpy as np
from numpy.typing import NDArray

from .._network import Network
from ..exceptions import UnsupportedLayerError
from ._base import Attribution
from ._spread import mean_deviation


class _Weights(Attribution):
    """Base: each output has one value a column, the same for all rows."""

    def __init__(self, *, scaled: bool = True) -> None:
        self.scaled = scaled

    def attribute(
        self, network: Network, X: NDArray, background: NDArray, target: NDArray, rng: np.random.Generator
    ) -> NDArray:
        """The value of each column for output ``target[i]``, whatever row i holds."""
        try:
            first, *others = network.dense_weights()
        except UnsupportedLayerError as exc:
            raise UnsupportedLayerError(exc.layer, str(self), exc.alternatives) from exc
        if self.scaled:
            first = first * mean_deviation(background, self).reshape(-1, 1)
        *layers, last = [first, *others]
        values = self._along([*layers, last @ network.head.matrix])
        return values.T[target].reshape(X.shape)

    @staticmethod
    def _along(weights: list[NDArray]) -> NDArray:
        """Values ``(n_columns, n_outputs)`` of a chain of weights."""
        raise NotImplementedError


class ConnectionWeights(_Weights):
    """Products of the weights on the ways from a column to the output, summed over all ways, with their sign.

    Reads the network without running it. Choose it to compare with papers that report it, or as the slope that a dense
    network would have if its activations were lines; it does not know where on its activations a row lies.

    Parameters
    ----------
    scaled : bool, default=True
        Multiply by the column's mean absolute deviation over the background, so that columns in different units can
        be compared. False: the papers' values, for columns that are standardised already.

    Raises
    ------
    ValueError
        With ``scaled=True``, for a background without two different rows.
    UnsupportedLayerError
        When the network is not a stack of dense layers: sums or products of branches, convolutions, recurrence,
        attention, layer normalisation, embeddings.

    See Also
    --------
    Garson : shares of absolute weights.
    Saliency : the slope that the network really has at a row.

    Notes
    -----
    ``phi_j = s_j (W_1 W_2 ... W_L M)_jk`` with the layers' weights W, in which standardisation and batch
    normalisation are folded, the head's matrix M (logits to margins) and the column's deviation ``s_j``. A value
    belongs to an output k; all rows explained for it get the same. Probabilities are explained as their logits.

    Axioms: dummy (a column whose weights are 0), linearity in the last layer. Not complete, and not implementation
    invariant: two networks that compute the same can have different values. Cost: a product of the weights, no
    prediction. Biased by the activations it leaves out: a unit that is never active counts like one that always is,
    and weights of units of opposite use cancel; activations are taken to rise. On a linear network ``phi_j`` is
    ``w_j E|x_j - mean_j|``.

    References
    ----------
    J. D. Olden, D. A. Jackson, "Illuminating the black box: a randomization approach for understanding variable
    contributions in artificial neural networks", Ecological Modelling 2002.
    J. D. Olden, M. K. Joy, R. G. Death, "An accurate comparison of methods for quantifying variable importance in
    artificial neural networks using simulated data", Ecological Modelling 2004.

    Examples
    --------
    >>> from skexplain.attributions import ConnectionWeights
    >>> ConnectionWeights(scaled=False)
    ConnectionWeights(scaled=False)
    """

    @staticmethod
    def _along(weights: list[NDArray]) -> NDArray:
        return reduce(np.matmul, weights)


class Garson(_Weights):
    """Share of a column in the absolute weights on the ways to the output.

    Reads the network without running it. Choose it to compare with papers that report it; `ConnectionWeights` keeps
    signs, and was the more accurate of the two on simulated data (Olden 2004).

    Parameters
    ----------
    scaled : bool, default=True
        Multiply a column's weights by its mean absolute deviation over the background, so that columns in different
        units can be compared. False: the papers' shares, for columns that are standardised already.

    Raises
    ------
    ValueError
        With ``scaled=True``, for a background without two different rows.
    UnsupportedLayerError
        When the network is not a stack of dense layers; see `ConnectionWeights`.

    See Also
    --------
    ConnectionWeights : the same ways, with their signs.

    Notes
    -----
    Each unit is divided among the units before it in proportion to ``|weight|``, back to the columns: with the
    absolute weights of a layer divided by their sum over its inputs, ``phi = A_1 A_2 ... A_L``. The last layer is taken
    with the head's matrix (logits to margins); scales are folded into the weights. Shares have no unit and no
    sign, add up to 1 for each output, and are the same for all rows explained for it.

    Axioms: dummy (a column whose weights are 0). Not complete, not linear, not implementation invariant. Cost: a
    product of the weights, no prediction. Biased by what it leaves out: signs, so that ways that cancel count double;
    activations; and the size of a unit's inputs, so that a unit with small weights passes on its whole share. On a
    linear network ``phi_j`` is the share of ``|w_j| E|x_j - mean_j|``.

    References
    ----------
    G. D. Garson, "Interpreting neural-network connection weights", AI Expert 1991.
    A. T. C. Goh, "Back-propagation neural networks for modeling complex systems", Artificial Intelligence in
    Engineering 1995.

    Examples
    --------
    >>> from skexplain.attributions import Garson
    >>> Garson()
    Garson()
    """

    signed = False
    relative = True

    @staticmethod
    def _along(weights: list[NDArray]) -> NDArray:
        # units that no column reaches leave less than 1 to divide, hence the last division
        return _shares(reduce(np.matmul, [_shares(np.abs(W)) for W in weights]))


def _shares(A: NDArray) -> NDArray:
    """Columns divided by their sums; columns of zeros stay."""
    total = A.sum(axis=0)
    return np.divide(A, total, out=np.zeros_like(A), where=total > 0)
