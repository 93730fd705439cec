"""InputWeights: the weights that a network puts on its input columns, while it trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._wrap import frameworks
from ..exceptions import UnsupportedModelError
from ._moments import Moments


@dataclass(frozen=True)
class Kernel:
    """Weights of one layer that takes columns, and which of its inputs come from which column.

    Attributes
    ----------
    read : callable
        The weights as they are now, in the framework's layout; may share the framework's memory.
    shape : tuple of int
        Of what is read.
    axis : int
        Axis of the weights that runs over the layer's inputs.
    columns, inputs : int ndarray of shape (n_entries,)
        Column ``columns[e]`` is, or becomes, the layer's input ``inputs[e]``. A column may be several inputs (of an
        embedding, or where it is used twice), and several columns may be one (a convolution's channel at each step).
    """

    read: Callable[[], NDArray]
    shape: tuple[int, ...]
    axis: int
    columns: NDArray
    inputs: NDArray


@dataclass(frozen=True)
class InputWeights:
    """All weights on the input columns: of the first layers that have weights, however many there are.

    Attributes
    ----------
    kernels : tuple of Kernel
    n_columns : int
        Numbers in a row of the model's input.
    spread : callable
        From rows ``(n, *features)`` to the standard deviation, ``(n_columns,)``, with which each column reaches these
        layers: after standardisation that stands before them. Of several inputs of a column the largest.
    """

    kernels: tuple[Kernel, ...]
    n_columns: int
    spread: Callable[[NDArray], NDArray]

    @cached_property
    def sizes(self) -> list[int]:
        return [int(np.prod(kernel.shape)) for kernel in self.kernels]

    @property
    def size(self) -> int:
        """Number of weights."""
        return sum(self.sizes)

    def read_into(self, out: NDArray) -> None:
        """Write the weights as they are now to ``out`` of shape ``(size,)``, one kernel after the other."""
        start = 0
        for kernel, size in zip(self.kernels, self.sizes, strict=True):
            out[start : start + size] = kernel.read().reshape(-1)
            start += size

    def per_column(self, values: NDArray) -> NDArray:
        """Sums over all weights of each column, ``(n_columns,)``, of values ``(size,)`` that belong to the weights."""
        total = np.zeros(self.n_columns)
        for kernel, block in self._blocks(values):
            total += np.bincount(kernel.columns, block.sum(axis=-1)[kernel.inputs], minlength=self.n_columns)
        return total

    def by_column(self, values: NDArray) -> NDArray:
        """Values ``(n_samples, size)`` as ``(n_samples, n_columns, n_weights)``; NaN where columns have fewer."""
        parts = []
        for kernel, block in self._blocks(values):
            order = np.argsort(kernel.columns, kind="stable")
            columns, inputs = kernel.columns[order], kernel.inputs[order]
            count = np.bincount(columns, minlength=self.n_columns)
            place = np.arange(len(columns)) - (np.cumsum(count) - count)[columns]  # which of its column's inputs it is
            units = block.shape[-1]
            part = np.full((len(values), self.n_columns, count.max(initial=0), units), np.nan, dtype=values.dtype)
            part[:, columns, place] = block[:, inputs]
            parts.append(part.reshape(len(values), self.n_columns, -1))
        return np.concatenate(parts, axis=-1)

    def _blocks(self, values: NDArray) -> list[tuple[Kernel, NDArray]]:
        """Values of each kernel, ``(..., n_inputs, n_weights of an input)``."""
        found, start = [], 0
        for kernel, size in zip(self.kernels, self.sizes, strict=True):
            block = values[..., start : start + size].reshape(*values.shape[:-1], *kernel.shape)
            axis = kernel.axis % len(kernel.shape) + values.ndim - 1
            block = np.moveaxis(block, axis, values.ndim - 1)
            found.append((kernel, block.reshape(*values.shape[:-1], kernel.shape[kernel.axis], -1)))
            start += size
        return found


def input_weights(model: Any, X: NDArray | None = None) -> InputWeights:
    """Find the weights that a model puts on its input columns.

    Parameters
    ----------
    model : keras.Model or torch.nn.Module
    X : ndarray of shape (n, *features), optional
        A few rows. Needed where a module does not say what rows it takes.

    Raises
    ------
    UnsupportedModelError
        When no layer has weights on single columns, or it is not known which layer it is.
    """
    if "keras" in frameworks(model):
        from ..keras._input_weights import find
    elif "torch" in frameworks(model):
        from ..torch._input_weights import find  # type: ignore[assignment]
    else:
        raise UnsupportedModelError(
            f"A {type(model).__name__} is no network whose training can be watched; pass a keras.Model or a "
            "torch.nn.Module."
        )
    return find(model, X)


def switches(n: int) -> NDArray:
    """Sets of columns that are changed together, to see which column each number comes from, ``(2 * n_digits, n)``.

    Each column has a binary code. For each digit one set has the columns with a 0, and one, further down, those with a
    1. A number that comes from one column changes with one of the two at each digit, which spells the column.
    """
    digits = 2 ** np.arange(max(1, (n - 1).bit_length()))[:, None]
    ones = np.arange(n) & digits != 0
    return np.concatenate([~ones, ones])


def spelled(changed: NDArray) -> NDArray | None:
    """Column that each number comes from, ``(n_numbers,)``, -1 for none; None if a number comes from several.

    Parameters
    ----------
    changed : bool ndarray of shape (2 * n_digits, n_numbers)
        With which of the `switches` each number changes.
    """
    by_zeros, by_ones = np.split(changed, 2)
    reached = changed.any(axis=0)
    if (reached & (by_zeros == by_ones)).any():
        return None
    return np.where(reached, (by_ones * 2 ** np.arange(len(by_ones))[:, None]).sum(axis=0), -1)


def largest_spread(moments: Sequence[Moments], columns: Sequence[NDArray], n: int) -> NDArray:
    """Standard deviation of each of n columns, of several numbers that come from it the largest."""
    spread = np.zeros(n)
    for moment, column in zip(moments, columns, strict=True):
        known = column >= 0
        with np.errstate(invalid="ignore"):  # of columns with missing values
            np.maximum.at(spread, column[known], np.sqrt(moment.variance[known]))
    return spread
