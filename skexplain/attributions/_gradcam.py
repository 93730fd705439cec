"""Grad-CAM: where the maps of a convolution speak for the output."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._network import Network, chunks, rows_at_once
from .._places import no_places
from ._base import Attribution


class GradCAM(Attribution):
    """Maps of a convolution, summed with the weight that each has for the output.

    For pictures and sequences: where a convolutional network looks. As coarse as the layer's maps are: the last
    convolution knows the most of what is where, and the least of where exactly.

    Parameters
    ----------
    layer : str, default=None
        Whose maps: a name from ``named_modules()`` in torch, of a layer in Keras. None: the last convolution that the
        output depends on.
    relu : bool, default=True
        Keep only what raises the output, as in the paper. False: what lowers it is negative.

    Raises
    ------
    UnsupportedModelError
        For a network without convolution, a layer that gives no maps or maps of a single place, or a network that
        reshapes flat rows itself.
    ValueError
        For a layer that does not exist; the message lists those that do.

    See Also
    --------
    Occlusion : covers windows, for any network.
    IntegratedGradients : each number of a row by itself, and adds up.

    Notes
    -----
    With the maps A_k of the layer, weights w_k are the means over places of the gradient of the output with respect
    to A_k, and the map is ``relu(sum_k w_k A_k)``. The output is on the scale that is asked for: by default the
    margin, where the paper has the logit (``output="logit"``). A convolution's maps are what it returns: in Keras
    behind the layer's own activation, in torch, whose activations are modules of their own, before it.

    The map is brought to the size of the rows by linear interpolation along each axis: numbers belong to the middles
    of their places, those nearer the edge than the outermost middle take its value (in torch bilinear with
    ``align_corners=False``, in Keras ``resize(interpolation="bilinear")``). Of channels nothing is known: each gets
    an equal part, so that values have the shape of a row and sum to the map over the channels. Where a layer is used
    several times, its last use that the output depends on counts.

    Axioms: implementation invariance only up to the layer, as far as its maps are the same. Not complete: maps do not
    add up to the output. Cost: one gradient a row. Biased by the layer that is chosen; by its coarseness, which
    interpolation hides; and by the mean of the gradient, which counts a map as much where it lowers the output as where
    it raises it, so that a map of both kinds cancels.

    References
    ----------
    R. R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", ICCV
    2017.

    Examples
    --------
    >>> from skexplain.attributions import GradCAM
    >>> GradCAM(relu=False)
    GradCAM(relu=False)
    """

    needs_convolution = True

    def __init__(self, *, layer: str | None = None, relu: bool = True) -> None:
        self.layer = layer
        self.relu = relu

    @property
    def signed(self) -> bool:  # type: ignore[override]
        """Whether what lowers the output is kept."""
        return not self.relu

    def attribute(
        self, network: Network, X: NDArray, background: NDArray, target: NDArray, rng: np.random.Generator
    ) -> NDArray:
        """``relu(sum_k w_k A_k)`` at each place, shared by the channels."""
        values = np.empty(X.shape)
        for block in chunks(len(X), rows_at_once(X)):
            A, gradient, axes = network.activations(X[block], self.layer, target[block])
            places = tuple(range(1, A.ndim - 1))
            if all(A.shape[k] == 1 for k in places) and any(X.shape[k] > 1 for k in axes):
                raise no_places(self.layer)
            w = gradient.mean(axis=places, keepdims=True)
            maps = (w * A).sum(axis=-1)
            maps = np.maximum(maps, 0) if self.relu else maps
            for axis, row_axis in zip(places, axes, strict=True):
                maps = resized(maps, axis, X.shape[row_axis])
            channels = tuple(k for k in range(1, X.ndim) if k not in axes)
            n_channels = int(np.prod([X.shape[k] for k in channels]))
            values[block] = np.expand_dims(maps, channels) / n_channels
        return values


def resized(maps: NDArray, axis: int, length: int) -> NDArray:
    """Linear interpolation along an axis; numbers belong to the middles of cells, and are constant beyond the last.

    Examples
    --------
    >>> resized(np.array([0.0, 4.0]), 0, 4)
    array([0., 1., 3., 4.])
    """
    n = maps.shape[axis]
    at = np.clip((np.arange(length) + 0.5) * n / length - 0.5, 0, n - 1)
    low = np.floor(at).astype(int)
    share = (at - low).reshape(-1, *[1] * (maps.ndim - 1 - axis))
    left, right = maps.take(low, axis), maps.take(np.minimum(low + 1, n - 1), axis)
    return (1 - share) * left + share * right
