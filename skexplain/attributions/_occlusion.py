"""Occlusion: what the output loses when a window over neighbouring features is covered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from .._embedded import numbers_of
from .._network import Network
from ._ablation import mean_falls
from ._base import Attributed, ReplacementAttribution
from ._baseline import baseline_rows


class Occlusion(ReplacementAttribution):
    """Fall of the output when a window that slides over the features is replaced by a baseline.

    For rows whose neighbouring features belong together: pictures, time series, spectra. Needs no gradient.

    Parameters
    ----------
    window : int or tuple of int, default=1
        Size of the window on each axis of a row. A tuple that is shorter than the row has axes is meant for the
        leading ones and takes all of the others: of rows ``(steps, features)`` the window ``(3,)`` covers three steps,
        of pictures ``(height, width, channels)`` the window ``(8, 8)`` a patch in all channels. A number is the size
        on every axis, or the whole of an axis that is shorter.
    stride : int or tuple of int, default=1
        How far the window moves on each axis; at most its size, so that all features are covered.
    baseline : {"mean", "zero", "background"} or array-like, default="mean"
        What the window is covered with: the mean of the background, zeros, each row of the background in turn, or a
        row or several of your own (in the space that the network reads). Columns of text have no mean; use
        ``"background"``.

    Raises
    ------
    ValueError
        For a window or stride that does not fit the rows, or a baseline that is no row of finite numbers.

    See Also
    --------
    Ablation : groups of columns instead of windows; the same if the window covers one column.

    Notes
    -----
    A feature's value is the mean, over the windows that cover it, of ``f(x) - f(x with the window covered)``; at the
    far end a window may reach over the edge, where it is cut. A feature gets the whole fall and not its share, so
    values of large windows are on the scale of the window. The values of a group of columns are summed: here windows
    are replaced jointly, not groups. Axioms: linearity, implementation invariance; with a window of one feature dummy
    and symmetry, with larger ones a feature that is not used takes from its neighbours. Not complete. Cost: a
    prediction a row, window and baseline row. With several baselines there is a standard error, over them. It is
    biased by what a covered picture looks like: edges of the window, and a patch of mean colour, are unknown to the
    network.

    References
    ----------
    M. D. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, sec. 4.2.

    Examples
    --------
    >>> from skexplain.attributions import Occlusion
    >>> Occlusion(window=(8, 8), stride=4)
    Occlusion(stride=4, window=(8, 8))
    """

    shared_error = True

    def __init__(
        self,
        *,
        window: int | tuple[int, ...] = 1,
        stride: int | tuple[int, ...] = 1,
        baseline: str | ArrayLike = "mean",
    ) -> None:
        self.window = window
        self.stride = stride
        self.baseline = baseline

    def attribute_groups(
        self,
        network: Network,
        X: NDArray,
        background: NDArray,
        groups: Sequence[NDArray],
        targets: NDArray,
        rng: np.random.Generator,
    ) -> Attributed:
        """Mean over the windows w that cover j of ``f(x) - E_b f(x with x_w = b_w)``, summed over each group's j."""
        if network.in_front is None:
            windows = self._windows(X.shape[1:])
            shares = _shares(windows, groups, X[0].size)
        else:  # codes are covered by covering what is looked up for them
            features, owners = network.in_front
            in_front = self._windows(features)
            shares = _shares(in_front, [np.unique(owners[g]) for g in groups], math.prod(features))
            windows = numbers_of(owners, in_front)
        return mean_falls(network, X, self.reference(background), windows, targets, shares)

    def reference(self, background: NDArray) -> NDArray:
        """The baselines, ``(m, *features)``."""
        return baseline_rows(self.baseline, background)

    def _windows(self, features: tuple[int, ...]) -> list[NDArray]:
        """Flat columns in each position of the window."""
        size = _on_each_axis("window", self.window, features)
        stride = _on_each_axis("stride", self.stride, features)
        if any(s > w for s, w, length in zip(stride, size, features, strict=True) if w < length):
            raise ValueError(f"stride={self.stride!r} is larger than window={self.window!r}: it would leave gaps.")
        starts = [
            range(0, length - w + s, s) if w < length else range(1)
            for length, w, s in zip(features, size, stride, strict=True)
        ]
        columns = np.arange(np.prod(features)).reshape(features)
        return [
            columns[tuple(slice(a, a + w) for a, w in zip(start, size, strict=True))].ravel()
            for start in product(*starts)
        ]


def _on_each_axis(name: str, given: Any, features: tuple[int, ...]) -> tuple[int, ...]:
    """The window's size, or its stride, on each axis of a row."""
    several = isinstance(given, Sequence | np.ndarray) and not isinstance(given, str)
    numbers = tuple(given) if several else (given,) * len(features)
    whole = all(isinstance(k, int | np.integer) and not isinstance(k, bool) and k >= 1 for k in numbers)
    if not whole or not 1 <= len(numbers) <= len(features):
        raise ValueError(
            f"{name}={given!r} must be a positive whole number, or one for each of the leading axes of rows of shape "
            f"{features}."
        )
    fits = [k <= length for k, length in zip(numbers, features, strict=False)]
    if not (all(fits) if several else any(fits)):
        raise ValueError(f"{name}={given!r} is larger than rows of shape {features}.")
    sizes = tuple(min(k, length) for k, length in zip(numbers, features, strict=False))
    return sizes + features[len(sizes) :]


def _shares(windows: Sequence[NDArray], groups: Sequence[NDArray], n_columns: int) -> Any:
    """Weight of each window's fall in each group's value, ``(n_windows, n_groups)``, sparse."""
    columns, of_window = np.concatenate(windows), np.repeat(np.arange(len(windows)), [len(w) for w in windows])
    share = 1 / np.bincount(columns, minlength=n_columns)[columns]
    means = sparse.csr_array((share, (of_window, columns)), shape=(len(windows), n_columns))
    members, of_group = np.concatenate(groups), np.repeat(np.arange(len(groups)), [len(g) for g in groups])
    sums = sparse.csr_array((np.ones(len(members)), (members, of_group)), shape=(n_columns, len(groups)))
    return means @ sums
