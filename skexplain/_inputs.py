"""Several inputs of one network as the columns of one table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Largest whole number up to which single precision holds each.
MOST_WHOLE = 2**24


@dataclass(frozen=True, eq=False)
class Input:
    """One input of a network.

    Attributes
    ----------
    name : str or None
        Under which the network takes it; None: by its place.
    columns : int ndarray of shape (k,)
        Of the table.
    shape : tuple of int
        Of a row.
    whole : bool
        Whether the network reads whole numbers, such as codes.
    names : tuple of str
        Of the columns.
    constant : ndarray of the shape, or None
        What the network is given for every row, of an input that has no columns.
    framed : bool
        Whether these are a frame's.
    boolean : bool
        Whether the network reads truth values, such as a mask.
    """

    name: str | None
    columns: NDArray
    shape: tuple[int, ...]
    whole: bool
    names: tuple[str, ...] = ()
    constant: NDArray | None = None
    framed: bool = False
    boolean: bool = False

    def check(self, values: NDArray, columns: Any) -> None:
        """Refuse a frame of other columns, or in another order, and codes that would be rounded to others."""
        if self.framed and columns is not None and [str(c) for c in columns] != list(self.names):
            raise ValueError(
                f"The columns of an input are {list(self.names)}, got {[str(c) for c in columns]}; pass them in the "
                "order in which the network reads them."
            )
        if self.whole and np.abs(values).max(initial=0) > MOST_WHOLE:
            raise ValueError(
                f"An input of whole numbers goes up to {np.abs(values).max():.0f}, and networks in single precision "
                f"hold those up to {MOST_WHOLE} only. Number codes anew, or pass numbers as floats."
            )


@dataclass(frozen=True, eq=False)
class Inputs:
    """How the columns of a table become the inputs of a network.

    Attributes
    ----------
    parts : tuple of Input
    """

    parts: tuple[Input, ...]

    @classmethod
    def of(cls, X: Any) -> Inputs:
        """The layout of a dict or tuple of arrays or frames.

        Raises
        ------
        ValueError
            For no input, or inputs of different numbers of rows.
        """
        named = isinstance(X, Mapping)
        keys: Sequence[Any] = list(X) if named else range(len(X))
        if not keys:
            raise ValueError("X has no input; pass a dict or tuple with an array for each input of the network.")
        arrays = [np.asarray(X[k]) for k in keys]
        lengths = [len(a) if a.ndim else 0 for a in arrays]
        if len(set(lengths)) > 1:
            raise ValueError(f"The inputs have different numbers of rows: {dict(zip(keys, lengths, strict=True))}.")
        parts, start = [], 0
        for key, array in zip(keys, arrays, strict=True):
            if array.dtype.kind not in "biuf":
                raise ValueError(f"Input {key!r} has the dtype {array.dtype}; the inputs of a network are numbers.")
            size = math.prod(array.shape[1:])
            name = str(key) if named else None
            names = _column_names(X[key], f"{key}" if named else f"input {key}", array.shape[1:])
            columns = np.arange(start, start + size)
            kind, framed = array.dtype.kind, hasattr(X[key], "columns")
            parts.append(Input(name, columns, array.shape[1:], kind in "iu", names, framed=framed, boolean=kind == "b"))
            start += size
        return cls(tuple(parts))

    @property
    def named(self) -> bool:
        """Whether the network takes its inputs by name."""
        return self.parts[0].name is not None

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for layouts that are alike."""
        return tuple(
            (part.name, tuple(part.columns.tolist()), part.shape, part.whole, part.boolean) for part in self.parts
        )

    @property
    def n_columns(self) -> int:
        return sum(len(part.columns) for part in self.parts)

    @property
    def names(self) -> list[str]:
        """Of the table's columns."""
        return [name for part in self.parts for name in part.names]

    def table(self, X: Any) -> NDArray:
        """The inputs side by side, ``(n, n_columns)``, in double precision; a table of them as it is.

        Raises
        ------
        ValueError
            For inputs of other names or shapes than those of the layout, frames of other columns, and whole numbers
            that single precision does not hold.
        """
        if not is_several(X):
            rows = np.asarray(X, dtype=np.float64)
            if rows.ndim != 2 or rows.shape[1] != self.n_columns:
                raise ValueError(
                    f"X has the shape {rows.shape}, but the network's inputs {self.describe()} have "
                    f"{self.n_columns} columns together."
                )
            for part in self.parts:
                part.check(rows[:, part.columns], X.columns[part.columns] if hasattr(X, "columns") else None)
            return rows
        keys = [part.name for part in self.parts] if self.named else list(range(len(self.parts)))
        if isinstance(X, Mapping) != self.named or (set(X) != set(keys) if self.named else len(X) != len(keys)):
            found = list(X) if isinstance(X, Mapping) else f"a tuple of {len(X)}"
            raise ValueError(f"The network's inputs are {self.describe()}, got {found}.")
        arrays = [np.asarray(X[k], dtype=np.float64) for k in keys]
        for key, part, array in zip(keys, self.parts, arrays, strict=True):
            if array.shape[1:] != part.shape:
                raise ValueError(
                    f"The network's inputs are {self.describe()}, got rows of shape {array.shape[1:]} for one of them."
                )
            part.check(array, getattr(X[key], "columns", None))
        return np.concatenate([a.reshape(len(a), -1) for a in arrays], axis=1)

    def describe(self) -> str:
        """Names and shapes, for errors."""
        return ", ".join(f"{part.name or k} {part.shape}" for k, part in enumerate(self.parts))


@dataclass(frozen=True, eq=False)
class Tabled:
    """A model of several inputs, seen as a model of one table.

    Attributes
    ----------
    model : object
    inputs : Inputs
    """

    model: Any
    inputs: Inputs

    @property
    def feature_names_in_(self) -> list[str]:
        return self.inputs.names

    def _check_rows(self, X: Any) -> NDArray:
        return self.inputs.table(X)


def codes_and_numbers(codes: NDArray, n_columns: int) -> Inputs:
    """The inputs ``(codes, numbers)`` of a table with codes in some of its columns."""
    numbers = np.setdiff1d(np.arange(n_columns), codes)
    return Inputs((Input(None, codes, (len(codes),), True), Input(None, numbers, (len(numbers),), False)))


def inputs_of(X: Any) -> Inputs | None:
    """The layout of several inputs in memory; None for one table, and for data that only a framework can read."""
    if not is_several(X):
        return None
    parts = list(X.values()) if isinstance(X, Mapping) else list(X)
    arrays = all(hasattr(part, "shape") or isinstance(part, list) for part in parts)
    return Inputs.of(X) if arrays and all(np.asarray(part).dtype.kind in "biuf" for part in parts) else None


def is_several(X: Any) -> bool:
    """Whether X is a dict or tuple of inputs rather than one table."""
    if isinstance(X, Mapping):
        return not hasattr(X, "nnz")  # a dok matrix is a dict
    return isinstance(X, tuple) and bool(X) and min(ndim := [np.ndim(part) for part in X]) >= 1 and max(ndim) > 1


def _column_names(part: Any, prefix: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    """A frame's names; else the input's, with the place in it."""
    columns = getattr(part, "columns", None)
    if columns is not None:
        return tuple(str(c) for c in columns)
    if math.prod(shape) == 1:
        return (prefix,)
    return tuple(f"{prefix}[{', '.join(map(str, at))}]" for at in np.ndindex(shape))
