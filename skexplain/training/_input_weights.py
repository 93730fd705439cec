"""InputWeights: the weights that a network puts on its input columns, while it trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._wrap import frameworks
from ..exceptions import UnsupportedModelError
from ._moments import Moments

#: Rows that are looked at, numbers of them at most, and numbers that a model is run on at once.
ROWS, KEPT, NUMBERS = 1000, 2**23, 2**21
#: Rows that are enough for most models, and numbers of columns that are changed at least.
FEW, TRIALS = 32, 16
#: Integers that may be codes, and other numbers: columns may have any size.
CODES = 255
SIZES = 10.0 ** np.arange(-1, 7)
#: Part of a number that may be rounding.
NOISE = 1e-6
#: Bytes that weights by column may take if they are more than those of the layers.
BYTES = 2**28


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
        layers: after standardisation that stands before them, batch normalisation with the rows' own mean and variance.
        Columns that share an input, as the steps of a channel, have that of all of them together; of several inputs of
        a column it is the largest. 0 for what is no more than rounding; NaN for codes that are embedded, which are on
        no scale.
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
            shape = len(values), self.n_columns, count.max(initial=0), units
            n_bytes = math.prod(shape) * values.itemsize
            if n_bytes > max(BYTES, 2 * values.nbytes):
                raise ValueError(
                    f"The weights of {self.n_columns} columns would take {n_bytes / 1e9:.1f} GB, as many share them; "
                    "take figures that need no copy for each column: std(), range(), mean_abs() or path_length()."
                )
            part = np.full(shape, np.nan, dtype=values.dtype)
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


@dataclass(frozen=True)
class Traced:
    """Numbers that are computed from rows, and where they come from.

    Attributes
    ----------
    column : int ndarray of shape (n_numbers,) or None
        As `spelled`.
    unseen : bool ndarray of shape (n_numbers,)
        Numbers that no column changes, although they were to be changed.
    """

    column: NDArray | None
    unseen: NDArray


def trace(
    differs: Callable[[NDArray, NDArray], list[NDArray]],
    rows: NDArray,
    per_row: int,
    *,
    wanted: list[NDArray] | None = None,
    with_constant: bool = True,
) -> list[Traced]:
    """Find the column that each number comes from, by changing columns, many together.

    A column takes all its values in the rows one after the other, so that each number that depends on it alone changes
    at least once if it differs in the rows at all.

    Parameters
    ----------
    differs : callable
        From rows and as many others to where the numbers computed from the two differ: bool ndarrays
        ``(n_rows, n_numbers)``, one for each place that is looked at.
    rows : ndarray of shape (n_rows, n_columns)
    per_row : int
        Most numbers that are computed from a row at one place.
    wanted : list of bool ndarray, optional
        Numbers to be found, ``(n_numbers,)`` of each place; by default those that differ in the rows.
    with_constant : bool
        Whether a column that does not vary is to take 0 or 1.
    """
    at_once = max(2, NUMBERS // max(per_row, rows.shape[1]))
    if wanted is None:
        parts = [rows[k : k + at_once] for k in range(0, len(rows), at_once)]
        seen = [differs(np.repeat(rows[:1], len(part), axis=0), part) for part in parts]
        wanted = [np.any([d.any(axis=0) for d in place], axis=0) for place in zip(*seen, strict=True)]
    changed = [np.zeros((len(switches(rows.shape[1])), len(numbers)), dtype=bool) for numbers in wanted]
    for some in (rows[spread_index(len(rows), FEW)], rows) if len(rows) > FEW else (rows,):
        _change(differs, _in_turn(some, with_constant), at_once, wanted, changed)
        if _all_found(wanted, changed):
            break
    return [Traced(spelled(c), want & ~c.any(axis=0)) for want, c in zip(wanted, changed, strict=True)]


def _change(
    differs: Callable[[NDArray, NDArray], list[NDArray]],
    values: NDArray,
    at_once: int,
    wanted: list[NDArray],
    changed: list[NDArray],
) -> None:
    """From each of the values to the next one; remember what changes, until there is all that is wanted."""
    sets = switches(values.shape[1])
    size = min(max(1, at_once // len(sets)), 64)
    for k in range(0, len(values) - 1, size):
        base = np.repeat(values[k : k + size][: len(values) - 1 - k], len(sets), axis=0)
        n = len(base) // len(sets)
        new = np.where(np.tile(sets, (n, 1)), np.repeat(values[k + 1 : k + 1 + n], len(sets), axis=0), base)
        parts = [differs(base[i : i + at_once], new[i : i + at_once]) for i in range(0, len(base), at_once)]
        for seen, place in zip(changed, zip(*parts, strict=True), strict=True):
            seen |= np.concatenate(place).reshape(n, len(sets), -1).any(axis=0)
        if k + n >= TRIALS and _all_found(wanted, changed):
            return


def _all_found(wanted: list[NDArray], changed: list[NDArray]) -> bool:
    return all((seen.any(axis=0) | ~want).all() for want, seen in zip(wanted, changed, strict=True))


def _in_turn(rows: NDArray, with_constant: bool) -> NDArray:
    """Values of each column, each at least once and none twice in a row: the extreme ones early, the rest at random."""
    ordered = np.sort(rows, axis=0)  # NaN last
    before, after = ordered[:-1], ordered[1:]
    repeated = np.zeros(ordered.shape, dtype=bool)
    repeated[1:] = (before == after) | ((before != before) & (after != after))
    extreme = (ordered == ordered[:1]) | (ordered == np.fmax.reduce(ordered, axis=0)) | (ordered != ordered)
    order = np.argsort(np.random.default_rng(0).random(ordered.shape) - extreme + 9.0 * repeated, axis=0)
    count = (~repeated).sum(axis=0)
    turns = np.arange(max(count.max(initial=1), TRIALS) + 1)[:, None]
    values = np.take_along_axis(ordered, np.take_along_axis(order, turns % count, axis=0), axis=0)
    if with_constant:
        other = np.where(ordered[0] == 0, 1, 0).astype(rows.dtype)
        values[1::2] = np.where(count == 1, other, values[1::2])
    return values


def made_up(n_columns: int, *, careful: bool) -> list[NDArray]:
    """Rows for a model of which none are known, to be tried in this order, as models may not take every code."""
    parts = np.linspace(0, 1, 5)
    values = [np.union1d(parts, np.arange(2 ** (k + 1))) for k in range(CODES.bit_length() - 1, -1, -1)]
    wide = np.concatenate([values[0], SIZES[2:], -SIZES])
    return [np.repeat(v[:, None], n_columns, axis=1) for v in ([values[-1]] if careful else [wide, *values])]


def spread_index(n: int, most: int) -> NDArray:
    """Indices of at most so many of n rows, at equal distances."""
    return np.unique(np.linspace(0, n - 1, min(n, max(most, 1))).astype(int))


def looked_at(X: NDArray) -> NDArray:
    """The rows that are looked at, ``(n_rows, n_columns)``."""
    X = X.reshape(len(X), -1)
    return X[spread_index(len(X), min(ROWS, max(FEW, KEPT // max(X.shape[1], 1))))]


def spread_of_columns(kernels: Sequence[Sequence[tuple[Moments, NDArray, NDArray]]], n: int) -> NDArray:
    """Standard deviation with which each of n columns reaches kernels; see `InputWeights`.

    Parameters
    ----------
    kernels : sequence
        For each kernel, for each time that numbers meet it: their moments, columns and inputs, -1 for none.
    """
    spread = np.zeros(n)
    for uses in kernels:
        mean = np.concatenate([moments.mean for moments, _, _ in uses])
        variance = np.concatenate([moments.variance for moments, _, _ in uses])
        columns, inputs = (np.concatenate([use[k] for use in uses]) for k in (1, 2))
        known = (columns >= 0) & (inputs >= 0)
        mean, variance, columns, inputs = (values[known] for values in (mean, variance, columns, inputs))
        count = np.maximum(np.bincount(inputs), 1)
        centre = np.bincount(inputs, mean) / count
        deviation = np.sqrt(np.bincount(inputs, variance + (mean - centre[inputs]) ** 2) / count)
        deviation[deviation <= NOISE * np.abs(centre)] = 0
        with np.errstate(invalid="ignore"):  # of columns with missing values
            np.maximum.at(spread, columns, deviation[inputs])
    return spread
