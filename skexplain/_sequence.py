"""Rows of two axes as sequences: which of their numbers are one step, and which are one feature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ._network import Network
from .exceptions import UnsupportedModelError

#: What ``groups=`` may say of sequences.
WORDS = ("steps", "features")
#: Rows on which it is seen what a convolution slides over.
ROWS = 2

REMEDY = "Name the groups in a dict, from a name to the columns that belong to it."


def places_of(network: Network, rows: NDArray) -> NDArray:
    """The flat column of each feature at each step, ``(n_steps, n_features)``.

    Time is the first axis of a row, unless a convolution slides over the second.

    Raises
    ------
    ValueError
        For rows that are no sequences, or of which it cannot be said.
    """
    if rows.ndim != 3:
        raise ValueError(
            f"The model reads rows of shape {rows.shape[1:]}, which are no sequences of shape (steps, features). "
            f"Pass such rows, or flat ones to an estimator with input_shape=(steps, features). {REMEDY}"
        )
    shape = rows.shape[1:]
    place = np.arange(np.prod(shape)).reshape(shape)
    try:
        axes = network.activations(rows[:ROWS], None, np.zeros(len(rows[:ROWS]), dtype=int))[2]
    except UnsupportedModelError:  # there is no convolution
        return place
    if len(axes) == 1 and shape[0] == shape[1]:
        raise ValueError(
            f"Rows of shape {shape} go through a convolution, and have as many steps as features, so it cannot be seen "
            f"which axis is time. {REMEDY}"
        )
    return place.T if tuple(axes) == (2,) else place


def sequence_groups(place: NDArray, word: str, feature_names: Sequence[str] | None) -> dict[str, list[int]]:
    """The columns of each step, or of each feature at all steps."""
    if word == "steps":
        return {f"step {k}": columns.tolist() for k, columns in enumerate(place)}
    n = place.shape[1]
    names = [f"feature {k}" for k in range(n)]
    if feature_names is not None and len(feature_names) == n:
        names = [str(name) for name in feature_names]
    if len(set(names)) < n:
        raise ValueError(f"feature_names={names} must differ, as groups='features' is called after them.")
    return dict(zip(names, place.T.tolist(), strict=True))


def sequence_names(place: NDArray, feature_names: Sequence[str]) -> list[str]:
    """A name for each column, from one for each feature."""
    names = [""] * place.size
    for (step, feature), column in np.ndenumerate(place):
        names[column] = f"{feature_names[feature]}, step {step}"
    return names
