"""Attribution: what every strategy declares and the one method it implements."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._network import Network

if TYPE_CHECKING:
    from ..training._watcher import Watcher


class Attributed(NamedTuple):
    """Attributions of some rows, with what is known of their accuracy.

    Attributes
    ----------
    values : ndarray of the shape of X
    error : ndarray of the shape of X, or None
        Standard error of the sampling, where there is any.
    gap : float or None
        Largest completeness gap found, as a fraction of the spread of the outputs.
    """

    values: NDArray
    error: NDArray | None = None
    gap: float | None = None


class Attribution(BaseEstimator):
    """Base class of the strategies: stateless, cloneable, its hyper-parameters grid-searchable.

    A local strategy implements `attribute`; a global-only one sets ``local = False`` and implements
    `importances`. Class attributes say what the numbers are.

    Attributes
    ----------
    local : bool
        Whether single rows are explained.
    signed : bool
        Whether a negative value means that the column lowers the output.
    stochastic : bool
        Whether the result depends on the random state.
    complete : bool
        Whether a row's values sum to f(x) minus the mean of f over `reference`.
    relative : bool
        Whether values are shares, without the unit of the output.
    shared_error : bool
        Whether rows share what was drawn, so that the error of their mean is not smaller than theirs.
    needs_y : bool
        Whether the true targets are needed.
    needs_gradient : bool
        Whether the network must be differentiable; if not, pipelines are explained from the outside.
    of_slopes : bool
        Whether values are made of slopes at single rows, in units of the columns: those of what a network encodes a
        column as are others.
    needs_convolution : bool
        Whether the network must have a layer of maps.
    needs_attention : bool
        Whether the network must have attention between tokens that are columns or steps of a row.
    needs_gates : bool
        Whether the network must have a gate for each of its columns.
    needs_training : bool
        Whether the strategy watches the training, by `watcher`, and is read off what was seen, by `watched`.
    needs_estimator : bool
        Whether the strategy trains the estimator anew, by `retrain`, rather than ask the trained network.
    """

    local = True
    signed = True
    stochastic = False
    complete = False
    relative = False
    shared_error = False
    needs_y = False
    needs_gradient = True
    of_slopes = False
    needs_convolution = False
    needs_attention = False
    needs_gates = False
    needs_training = False
    needs_estimator = False

    def attribute(
        self, network: Network, X: NDArray, background: NDArray, target: NDArray, rng: np.random.Generator
    ) -> Attributed | NDArray:
        """Attribute output ``target[i]`` of row i to its features.

        Parameters
        ----------
        network : Network
        X : ndarray of shape (n, *features)
        background : ndarray of shape (n_background, *features)
            Typical rows, for strategies that compare with a reference.
        target : int ndarray of shape (n,)
        rng : numpy.random.Generator

        Returns
        -------
        ndarray of the shape of X, or Attributed
        """
        raise TypeError(f"{type(self).__name__} explains no single rows; use `importances`.")

    def importances(
        self, network: Network, X: NDArray, y: NDArray, groups: Sequence[NDArray], rng: np.random.Generator
    ) -> tuple[NDArray, NDArray]:
        """Importance of each group of columns and its standard error, both ``(n_groups,)``."""
        raise TypeError(f"{type(self).__name__} is averaged over single rows; use `attribute`.")

    def retrain(
        self, estimator: Any, X: Any, y: NDArray, groups: Sequence[NDArray], rng: np.random.Generator
    ) -> tuple[NDArray, NDArray]:
        """Importance of each group of columns and its standard error, both ``(n_groups,)``, by training anew.

        Parameters
        ----------
        estimator : estimator
            Cloneable; not changed.
        X : ndarray or DataFrame of shape (n, n_columns)
            Rows as the estimator reads them.
        y : ndarray of shape (n,) or (n, n_outputs)
        groups : sequence of int ndarray
            Columns of each group.
        rng : numpy.random.Generator
        """
        raise TypeError(f"{type(self).__name__} does not train; use `importances` or `attribute`.")

    def watcher(self) -> Watcher:
        """What looks on while an estimator trains, for strategies that need the training."""
        raise TypeError(f"{type(self).__name__} watches no training; use `importances` or `attribute`.")

    def watched(self, watcher: Any) -> NDArray:
        """Importance of each column, ``(n_columns,)``, at least 0, after a training that ``watcher`` has seen."""
        raise TypeError(f"{type(self).__name__} watches no training; use `importances` or `attribute`.")

    def reference(self, background: NDArray) -> NDArray:
        """The rows whose mean output is the base value, ``(n_reference, *features)``."""
        return background


class ReplacementAttribution(Attribution):
    """Base of local strategies that replace columns by those of other rows.

    Groups of columns are replaced jointly, so they are part of the question rather than sums of the answer;
    and a prediction gives all outputs at once, so all targets are answered together.
    """

    needs_gradient = False

    @abstractmethod
    def attribute_groups(
        self,
        network: Network,
        X: NDArray,
        background: NDArray,
        groups: Sequence[NDArray],
        targets: NDArray,
        rng: np.random.Generator,
    ) -> Attributed | NDArray:
        """Attribute outputs ``targets[t, i]`` of row i to groups of columns.

        Parameters
        ----------
        network : Network
        X : ndarray of shape (n, *features)
        background : ndarray of shape (n_background, *features)
        groups : sequence of int ndarray
            Flat columns of each group.
        targets : int ndarray of shape (n_targets, n)
        rng : numpy.random.Generator

        Returns
        -------
        ndarray of shape (n_targets, n, n_groups), or Attributed
            With an error of the same shape, where there is one.
        """

    def attribute(
        self, network: Network, X: NDArray, background: NDArray, target: NDArray, rng: np.random.Generator
    ) -> Attributed:
        """Each column alone; see `attribute_groups`."""
        alone = [np.array([j]) for j in range(X[0].size)]
        result = self.attribute_groups(network, X, background, alone, target[None], rng)
        values, error, gap = result if isinstance(result, Attributed) else Attributed(result)
        return Attributed(values[0].reshape(X.shape), None if error is None else error[0].reshape(X.shape), gap)
