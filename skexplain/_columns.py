"""Columns: names, groups of them, and where a pipeline's columns come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .exceptions import UnsupportedModelError

#: Rows on which a pipeline's columns are traced first.
TRACED_ROWS = 256

Groups = Mapping[str, Sequence[str | int] | str | int]


def column_names(X: Any, given: Sequence[str] | None, model: Any, n: int) -> list[str]:
    """Names from the caller, the data, the model, or ``x0, x1, ...``."""
    if given is None:
        columns = getattr(X, "columns", None)
        given = columns if columns is not None else getattr(model, "feature_names_in_", None)
    names = [f"x{j}" for j in range(n)] if given is None else [str(c) for c in given]
    if len(names) != n:
        raise ValueError(f"feature_names has {len(names)} names, but there are {n} columns.")
    return names


def resolve_groups(groups: Groups | None, names: Sequence[str]) -> tuple[tuple[str, ...], list[NDArray]]:
    """Names and column indices of the groups; columns in no group are groups of their own.

    Raises
    ------
    ValueError
        For a column that does not exist, or stands in two groups.
    """
    if groups is None:
        return tuple(names), [np.array([j]) for j in range(len(names))]
    if not isinstance(groups, Mapping):
        raise ValueError(f"groups={groups!r} must be a dict from a group's name to its columns.")
    position = {name: j for j, name in enumerate(names)}
    owner: dict[int, str] = {}
    members: dict[str, list[int]] = {}
    for group, columns in groups.items():
        listed = list(columns) if isinstance(columns, Iterable) and not isinstance(columns, str) else [columns]
        members[str(group)] = []
        for column in listed:
            whole = isinstance(column, int | np.integer) and not isinstance(column, bool)
            known = column in position if isinstance(column, str) else whole and 0 <= column < len(names)
            if not known:
                raise ValueError(
                    f"groups[{group!r}] contains {column!r}, which is not a column; columns are {_some(names)}."
                )
            j = position[column] if isinstance(column, str) else int(column)
            if j in owner:
                raise ValueError(
                    f"Column {names[j]!r} is in the groups {owner[j]!r} and {group!r}; groups must not overlap."
                )
            owner[j] = str(group)
            members[str(group)].append(j)
        if not members[str(group)]:
            raise ValueError(f"groups[{group!r}] is empty; name at least one column or leave it out.")
    for j, name in enumerate(names):
        if j not in owner:
            if name in members:
                raise ValueError(
                    f"groups has a group called {name!r}, which is also a column outside it; rename the group."
                )
            members[name] = [j]
    return tuple(members), [np.array(m) for m in members.values()]


def _some(names: Sequence[str], most: int = 10) -> str:
    return str(list(names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def sum_groups(values: NDArray, groups: Sequence[NDArray]) -> NDArray:
    """Sum attributions ``(n, n_columns, ...)`` over the columns of each group."""
    if all(len(g) == 1 for g in groups):
        return values[:, np.concatenate(groups)]
    return np.stack([values[:, g].sum(axis=1) for g in groups], axis=1)


def trace_columns(
    transform: Callable[[Any], Any], X: Any, names: Sequence[str], background: Any = None
) -> tuple[NDArray, list[NDArray]]:
    """Transform X and find which transformed columns come from each of its columns.

    Seen, not guessed from names: a transformed column belongs to the column whose change changes it.

    Parameters
    ----------
    transform : callable
        From the user's columns to a two-dimensional array.
    X : array-like or DataFrame of shape (n, n_columns)
    names : sequence of str
    background : array-like or DataFrame of the same columns, optional
        More rows to take other values from.

    Returns
    -------
    transformed : ndarray of shape (n, n_transformed)
    origin : list of int ndarray
        For each column of X the transformed columns that depend on it, and on no other.

    Raises
    ------
    UnsupportedModelError
        When a transformed column depends on several columns of X.
    """
    T, more = dense(transform(X)), X if background is None else _stacked(X, background)
    few = _rows(more, np.linspace(0, len(more) - 1, min(TRACED_ROWS, len(more))).astype(int))
    depends = _dependences(transform, few, len(names))
    everything = T if background is None else dense(transform(more))
    if np.any(varying(everything) & ~depends.any(axis=0)) and len(few) < len(more):
        depends |= _dependences(transform, more, len(names))  # a level too rare for a few rows
    mixed = np.flatnonzero(depends.sum(axis=0) > 1)
    if len(mixed):
        sources = [names[int(j)] for j in np.flatnonzero(depends[:, mixed[0]])]
        raise UnsupportedModelError(
            f"{len(mixed)} columns of the pipeline's output depend on several input columns, the first on "
            f"{_some(sources)}; their attribution cannot be divided. Use attribution='permutation', which "
            "changes the columns in front of the pipeline, or explain the last step on transformed data."
        )
    return T, [np.flatnonzero(row) for row in depends]


def _dependences(transform: Callable[[Any], Any], X: Any, n_columns: int) -> NDArray:
    """Which columns of the output change with which column of X, ``(n_columns, n_transformed)``."""
    T = dense(transform(X))
    depends = np.zeros((n_columns, T.shape[1]), dtype=bool)
    for j in range(n_columns):
        for changed in _changed(X, j):
            try:
                S = dense(transform(changed))
            except ValueError:  # a number that was moved may be a category unknown to the pipeline
                continue
            depends[j] |= ((S != T) & ~(np.isnan(S) & np.isnan(T))).any(axis=0)
    return depends


def _changed(X: Any, j: int) -> Iterator[Any]:
    """X with other values in column j: those of other rows; a number that is the same in all rows is moved."""
    column = X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]
    for shift in {1, max(1, len(X) // 2)}:
        yield _with_column(X, j, np.roll(np.arange(len(X)), shift))
    values = np.asarray(column)
    if values.dtype.kind in "fiu" and np.all(values == values[:1]):
        moved = X.copy()
        if hasattr(X, "iloc"):
            moved.isetitem(j, column + column.dtype.type(1))
        else:
            moved[:, j] = column + 1
        yield moved


def varying(T: NDArray) -> NDArray:
    """Which columns are not constant."""
    return ((T[:1] != T) & ~(np.isnan(T) & np.isnan(T[:1]))).any(axis=0)


def _stacked(X: Any, background: Any) -> Any:
    if hasattr(X, "iloc"):
        import pandas as pd

        return pd.concat([X, background], ignore_index=True)
    return np.concatenate([X, np.asarray(background)])


def _rows(X: Any, index: NDArray) -> Any:
    return X.iloc[index] if hasattr(X, "iloc") else X[index]


def dense(T: Any) -> NDArray:
    """A transformer's output as a float array."""
    return np.asarray(T.toarray() if sparse.issparse(T) else T, dtype=np.float64)


def _with_column(X: Any, j: int, rows: NDArray) -> Any:
    """X with column j taken from other rows."""
    Z = X.copy()
    if hasattr(Z, "iloc"):
        # as a new column, so that its dtype survives
        Z.isetitem(j, X.iloc[rows, j].array)
    else:
        Z[:, j] = X[rows, j]
    return Z
