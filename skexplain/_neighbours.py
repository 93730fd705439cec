"""Which training rows a row is like, and whether it is like any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.pipeline import Pipeline

from ._columns import dense
from ._wrap import unnested

#: Most training rows whose distances from each other are measured.
MOST = 1000
#: Share of the training rows that are nearer to another one than a row that counts as far.
NEARER = 0.99


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The training rows that are nearest to a row.

    Attributes
    ----------
    index : ndarray of shape (n,)
        Labels of a DataFrame's index, otherwise positions among the training rows; nearest first.
    distance : ndarray of shape (n,)
        Root of the mean squared difference over the columns, each in units of its standard deviation over the training
        rows. Columns of text or codes, and those that are constant there, differ by 0 or 1, as does a missing value
        from a given one. All columns count alike, whether the model uses them or not.
    y : ndarray of shape (n,) or None
        Their targets, where the estimator has kept them.
    usual : float
        99 of 100 training rows have another at most so far away.
    n_rows : int
        Training rows that were compared with.
    """

    index: NDArray
    distance: NDArray
    y: NDArray | None
    usual: float
    n_rows: int

    @property
    def far(self) -> bool:
        """Whether the row is unlike all training rows."""
        return bool(self.distance[0] > self.usual)


@dataclass(frozen=True, eq=False)
class Training:
    """Training rows, and a row to be compared with them in the same columns."""

    rows: Any
    row: Any
    y: NDArray | None = None
    index: NDArray | None = None
    codes: NDArray | None = None


def training_of(model: Any, row: Any, given: Any) -> Training | None:
    """The caller's training rows, else those that the estimator has kept, else None.

    Raises
    ------
    ValueError
        For training rows of other columns.
    """
    if given is not None:
        if hasattr(given, "columns") and hasattr(row, "columns"):
            missing = [c for c in row.columns if c not in given.columns]
            if missing:
                raise ValueError(f"training has no column {missing[0]!r}, which the row has.")
            given = given[list(row.columns)]
        if np.shape(given)[1:] != np.shape(row)[1:] or not len(given):
            raise ValueError(f"training has the shape {np.shape(given)}; pass rows like the row, {np.shape(row)}.")
        return Training(given, row)
    model = unnested(model)
    if isinstance(model, Pipeline):
        row = dense(model[:-1].transform(row)) if len(model) > 1 else row
        model = model[-1]
    kept = getattr(model, "_kept", None)
    if kept is None:
        return None
    own = model._on_kept_rows is model  # it keeps rows as the user passed them
    if not own or getattr(model, "_inputs", None) is not None:
        row = model._check_rows(row)
    categories = getattr(model, "categories_", None)
    codes = None if categories is None or own else categories.columns
    return Training(kept[0], row, kept[1], getattr(model, "_kept_index", None), codes)


def neighbours(t: Training, n: int, rng: np.random.Generator) -> Neighbours:
    """The n training rows that are nearest to the row."""
    numbers, codes = _encoded(t)
    d = np.sqrt((_squares(numbers[-1:], numbers[:-1]) + _mismatches(codes[-1:], codes[:-1]))[0] / _width(t))
    order = np.argsort(d, kind="stable")[:n]
    some = np.sort(rng.permutation(len(d))[:MOST])
    numbers, codes = numbers[some], codes[some]
    among = np.sqrt((_squares(numbers, numbers) + _mismatches(codes, codes)) / _width(t))
    np.fill_diagonal(among, np.inf)
    nearest = among.min(axis=1)
    labels = np.arange(len(d)) if t.index is None else t.index
    labels = np.asarray(t.rows.index) if hasattr(t.rows, "iloc") else labels
    return Neighbours(
        index=labels[order],
        distance=d[order],
        y=None if t.y is None else np.asarray(t.y)[order],
        usual=float(np.quantile(nearest, NEARER)) if len(some) > 1 else np.inf,
        n_rows=len(d),
    )


def _width(t: Training) -> int:
    return int(np.prod(np.shape(t.row)[1:]))


def _encoded(t: Training) -> tuple[NDArray, NDArray]:
    """Standardised numbers and whole codes of the training rows and, as the last one, the row."""
    columns = [np.concatenate([a, b]) for a, b in zip(_columns(t.rows), _columns(t.row), strict=True)]
    is_code = np.zeros(len(columns), dtype=bool)
    if t.codes is not None:
        is_code[t.codes] = True
    numbers: list[NDArray] = []
    codes: list[NDArray] = []
    for column, coded in zip(columns, is_code, strict=True):
        if coded or column.dtype.kind not in "biuf":
            codes.append(np.unique(column.astype(str), return_inverse=True)[1])
            continue
        column = column.astype(np.float64)
        gone = np.isnan(column)
        known = column[:-1][~gone[:-1]]
        scale = known.std() if len(known) else 0.0
        if not scale > 0:
            codes.append(np.unique(column, return_inverse=True)[1])
            continue
        numbers.append(np.where(gone, 0, (column - known.mean()) / scale))
        if gone.any():
            codes.append(gone.astype(int))
    n = len(columns[0]) if columns else 0
    return _side_by_side(numbers, n), _side_by_side(codes, n)


def _columns(rows: Any) -> list[NDArray]:
    if hasattr(rows, "iloc"):
        return [np.asarray(rows.iloc[:, j]) for j in range(rows.shape[1])]
    flat = np.asarray(rows)
    return list(flat.reshape(len(flat), -1).T)


def _side_by_side(columns: list[NDArray], n: int) -> NDArray:
    return np.stack(columns, axis=1).astype(np.float64) if columns else np.empty((n, 0))


def _squares(a: NDArray, b: NDArray) -> NDArray:
    return cdist(a, b, "sqeuclidean") if a.shape[1] else np.zeros((len(a), len(b)))


def _mismatches(a: NDArray, b: NDArray) -> NDArray:
    return cdist(a, b, "hamming") * a.shape[1] if a.shape[1] else np.zeros((len(a), len(b)))
