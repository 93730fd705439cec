"""Which rows and columns of a result are meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from ._inputs import is_several


def positions(key: Any, n: int, what: str, names: Sequence[str] = ()) -> NDArray:
    """Positions ``(n_chosen,)`` of the rows or columns that a key means.

    Parameters
    ----------
    key : int, str, slice, mask or sequence of int or str
    n : int
        How many there are.
    what : str
        "row" or "column", for errors.
    names : sequence of str
        Of them, if they have any.

    Raises
    ------
    IndexError
        For one that is not there, or a mask of another length.
    KeyError
        For a name that is not there, or not unique.
    """
    if isinstance(key, slice):
        return np.arange(n)[key]
    if isinstance(key, str):
        return np.array([_position(key, names, what)])
    keys = np.asarray(key)
    if keys.dtype == bool:
        if keys.shape != (n,):
            raise IndexError(f"a mask of shape {keys.shape} for {n} {what}s")
        return np.flatnonzero(keys)
    keys = np.atleast_1d(keys) if keys.size else np.zeros(0, dtype=int)
    if keys.ndim > 1:
        raise IndexError(f"{what}s are chosen by one number, name, slice, mask or list of these, not by {key!r}")
    if keys.dtype.kind in "UO":
        keys = np.array([_position(name, names, what) for name in keys.tolist()], dtype=int)
    if keys.dtype.kind not in "iu":
        raise IndexError(f"{key!r} is no {what}; pass a number, a name, a slice, a mask or a list of these")
    outside = keys[(keys < -n) | (keys >= n)]
    if len(outside):
        raise IndexError(f"{what} {outside[0]} of an Explanation of {n} {what}s")
    return keys


def _position(name: Any, names: Sequence[str], what: str) -> int:
    found = [j for j, known in enumerate(names) if known == name]
    if not found:
        raise KeyError(f"{name!r} is no {what}" + (f"; there are {', '.join(map(str, names[:20]))}" if names else ""))
    if len(found) > 1:
        raise KeyError(f"{len(found)} {what}s are called {name!r}; choose one by its number, {found}")
    return found[0]


def rows_of(data: Any, rows: NDArray) -> Any:
    """Rows of a frame, a sparse matrix or anything that is an array; of each of several inputs."""
    if is_several(data):
        parts = {k: rows_of(data[k], rows) for k in (data if isinstance(data, Mapping) else range(len(data)))}
        return parts if isinstance(data, Mapping) else tuple(parts.values())
    if hasattr(data, "iloc"):
        return data.iloc[rows]
    return data.tocsr()[rows] if issparse(data) else np.asarray(data)[rows]
