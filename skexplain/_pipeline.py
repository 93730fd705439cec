"""What the steps in front of a network compute: numbers of single columns, and what is linear in these."""

from __future__ import annotations

import warnings
from collections import UserList
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import block_diag
from sklearn.compose import ColumnTransformer as Columns
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils import _safe_indexing

from ._behind import Affine
from ._columns import TRACED_ROWS, comparable, dense, dependences, evenly, rows_of, stacked, varying
from ._network import chunks

#: Most columns of a table for which it is found out whether a step is linear in them.
MOST_COLUMNS = 5000
#: Rows handed to a step at once, and combinations of rows on which it is tried.
ROWS, COMBINATIONS = 256, 64
#: How far a linear step may be from its matrix, as a fraction of what it gives, in double and single precision.
ROUNDING, COARSE_ROUNDING = 1e-9, 1e-5
#: An entry of a matrix below which it is rounding, as a fraction of what the column can do.
NOTHING = 1e-12


class Units(NamedTuple):
    """What the output of a pipeline's steps is a linear function of.

    Attributes
    ----------
    transformed : ndarray of shape (n, n_transformed)
        The output, t; text as numbers.
    values : ndarray of shape (n, n_units)
        The units, u.
    owners : bool ndarray of shape (n_columns, n_units)
        The columns that each unit depends on.
    affine : Affine or None
        How t is computed from u. None: it is u.
    """

    transformed: NDArray
    values: NDArray
    owners: NDArray
    affine: Affine | None

    @property
    def owners_of_transformed(self) -> NDArray:
        """The columns that each transformed column depends on, ``(n_columns, n_transformed)``."""
        return self.owners if self.affine is None else self.owners @ (self.affine.matrix != 0)

    def as_they_are(self) -> Units:
        """The same with the output's own columns as units."""
        return Units(self.transformed, self.transformed, self.owners_of_transformed, None)


def units_of(steps: Any, X: Any, n_columns: int, background: Any = None) -> Units:
    """Take fitted steps apart into numbers of single columns, as far as possible, and what is linear in them.

    Seen, not guessed from names: a number belongs to the columns whose change changes it, and a step is linear if that
    is what it does. Pipelines, unions and column transformers are taken apart, the steps in them are asked.

    Parameters
    ----------
    steps : transformer
        Fitted; from the user's columns to a table of numbers, or of numbers and text.
    X : array-like or DataFrame of shape (n, n_columns)
    n_columns : int
    background : array-like or DataFrame of the same columns, optional
        More rows; they follow those of X in the result.

    Returns
    -------
    Units
    """
    X = X if background is None else stacked(X, background)
    T, split = _Steps(X).split(steps, _Table(X, np.eye(n_columns, dtype=bool), np.zeros(n_columns, dtype=bool), _same))
    t = comparable(T)
    if split.matrix is None:
        return Units(t, t, split.owners, None)
    split = _without_copies(split)
    assert split.matrix is not None
    # the mean of what is linear is that of the mean
    return Units(t, split.values, split.owners, Affine(split.matrix, split.values.mean(axis=0), t.mean(axis=0)))


@dataclass(frozen=True, eq=False)
class _Table:
    """What a step reads.

    Attributes
    ----------
    rows : array-like, DataFrame or sparse matrix of shape (n, q)
    owners : bool ndarray of shape (n_columns, q)
        Which of the user's columns each column of the table depends on.
    mixed : bool ndarray of shape (q,)
        Whether it is a sum of numbers that depend on different columns.
    make : callable
        From the user's rows to the table's.
    """

    rows: Any
    owners: NDArray
    mixed: NDArray
    make: Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class _Split:
    """A step's output as ``u @ matrix`` and a constant; without a matrix it is u.

    Attributes
    ----------
    values : ndarray of shape (n, p)
        The units u of the table's rows.
    owners, mixed : bool ndarray of shape (n_columns, p) and (p,)
        As in `_Table`.
    column : int ndarray of shape (p,)
        The column of the table that a unit is; -1 for numbers that the step makes.
    matrix : ndarray of shape (p, d), or None
    """

    values: NDArray
    owners: NDArray
    mixed: NDArray
    column: NDArray
    matrix: NDArray | None = None

    def take(self, units: NDArray) -> _Split:
        """Some of the units."""
        M = None if self.matrix is None else self.matrix[units]
        return _Split(self.values[:, units], self.owners[:, units], self.mixed[units], self.column[units], M)

    def beside(self, other: _Split) -> _Split:
        """The units of both, without a matrix."""
        return _Split(
            np.concatenate([self.values, other.values], axis=1),
            np.concatenate([self.owners, other.owners], axis=1),
            np.concatenate([self.mixed, other.mixed]),
            np.concatenate([self.column, other.column]),
        )

    def table(self, rows: Any, make: Callable[[Any], Any]) -> _Table:
        """The output as what the next step reads."""
        if self.matrix is None:
            return _Table(rows, self.owners, self.mixed, make)
        used = self.matrix != 0
        mixed = _differ(self.owners, used) | self.mixed @ used
        return _Table(rows, self.owners @ used, mixed, make)


def _same(rows: Any) -> Any:
    return rows


def _differ(owners: NDArray, used: NDArray) -> NDArray:
    """For each sum of numbers whether these depend on different columns; ``used`` says which numbers are in it."""
    each, together = owners.sum(axis=0), (owners @ used).sum(axis=0)
    counts = np.where(used & (each > 0)[:, None], each[:, None], len(owners))
    return np.less(counts.min(axis=0, initial=len(owners)), together)


def _columns_of(table: _Table, values: NDArray) -> _Split:
    """The table's columns as they are."""
    return _Split(values, table.owners, table.mixed, np.arange(values.shape[1]))


def _made(values: NDArray, owners: NDArray) -> _Split:
    """Numbers that a step makes."""
    k = values.shape[1]
    return _Split(values, owners, np.zeros(k, dtype=bool), np.full(k, -1))


def _is_no_step(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")


class _Steps:
    """Takes steps apart on some rows of the user's."""

    def __init__(self, X: Any) -> None:
        self.X = X
        self.few = rows_of(X, evenly(len(X), TRACED_ROWS))

    def split(self, step: Any, table: _Table) -> tuple[Any, _Split]:
        """A step's output, and what it is a linear function of."""
        if _is_no_step(step):
            return table.rows, _columns_of(table, comparable(table.rows))
        T = step.transform(table.rows)
        for kind, parts in ((Pipeline, self.of_pipeline), (FeatureUnion, self.of_union), (Columns, self.of_columns)):
            if isinstance(step, kind):
                split = parts(step, table)
                # a class derived from one of these may do anything
                if split is not None and _is_computed_so(split, comparable(T)):
                    return T, split
        return T, self.asked(step.transform, table, T)

    def of_pipeline(self, pipeline: Pipeline, table: _Table) -> _Split | None:
        """What one step makes of the output of the one before."""
        whole: _Split | None = None
        for _, step in pipeline.steps:
            if not (_is_no_step(step) or hasattr(step, "transform")):
                return None
            rows, split = self.split(step, table)
            whole = split if whole is None else _after(whole, split)
            make = table.make if _is_no_step(step) else _then(table.make, step.transform)
            table = whole.table(rows, make)
        return whole

    def of_union(self, union: FeatureUnion, table: _Table) -> _Split | None:
        """Side by side what the branches make of the whole table."""
        weights, every = union.transformer_weights or {}, np.arange(len(table.mixed))
        branches = []
        for name, step in union.transformer_list:
            if not isinstance(step, str) or step != "drop":
                branches.append(_placed(self.split(step, table)[1], every, weights.get(name, 1.0)))
        return _side_by_side(branches)

    def of_columns(self, step: Columns, table: _Table) -> _Split | None:
        """Side by side what the branches make of some columns each."""
        rows, frame, order = table.rows, hasattr(table.rows, "iloc"), np.arange(len(table.mixed))
        names = getattr(step, "feature_names_in_", None)
        if frame and names is not None:  # which may stand in another order
            if not rows.columns.is_unique:
                return None
            order = rows.columns.get_indexer(names)
        branches = {}
        for name, transformer, columns in step.transformers_:
            where = step.output_indices_[name]
            if where.start == where.stop:
                continue
            chosen = list(columns) if isinstance(columns, UserList) else columns

            def pick(Z: Any, chosen: Any = chosen) -> Any:
                return _safe_indexing(Z.iloc[:, order] if frame else Z, chosen, axis=1)

            index = np.ravel(np.asarray(pick(_numbered(rows, frame))))
            part = _Table(pick(rows), table.owners[:, index], table.mixed[index], _then(table.make, pick))
            branches[where.start] = _placed(self.split(transformer, part)[1], index)
        return _side_by_side([branches[start] for start in sorted(branches)])

    def asked(self, transform: Callable[[Any], Any], table: _Table, T: Any) -> _Split:
        """What is found out about a step by asking it."""
        t, columns = comparable(T), np.flatnonzero(table.owners.any(axis=1))
        owners = np.repeat(table.owners.any(axis=1, keepdims=True), t.shape[1], axis=1)
        if len(columns) <= 1:
            return _made(t, owners)
        make = _then(table.make, transform)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that no row has
            if 3 * len(columns) < len(table.mixed) and not table.mixed.any():  # the columns are asked sooner
                owners[columns] = self._seen(lambda X: comparable(make(X)), columns)
                if owners.sum(axis=0).max() <= 1:
                    return _made(t, owners)
            A = _numbers(table.rows) if np.isfinite(t).all() else None
            found = None if A is None else _matrix(lambda Z: transform(_like(table.rows, Z)), A, T)
            if found is None:
                found = np.zeros((len(table.mixed), t.shape[1])), np.zeros(t.shape[1], dtype=bool)
            M, known = found
            if not known.all():
                owners[:, ~known] = False
                owners[np.ix_(columns, ~known)] = self._seen(lambda X: comparable(make(X))[:, ~known], columns)
        used = M != 0
        owners[:, known] = (table.owners @ used)[:, known]
        linear = known & (_differ(table.owners, used) | table.mixed @ used)
        if A is None or not linear.any():
            return _made(t, owners)
        rest = np.flatnonzero(~linear)
        units = _columns_of(table, A).beside(_made(t, owners).take(rest))
        return replace(units, matrix=np.concatenate([np.where(linear, M, 0.0), np.eye(len(linear))[rest]]))

    def _seen(self, make: Callable[[Any], NDArray], columns: NDArray) -> NDArray:
        """Which of some columns the numbers made of the user's rows depend on."""
        owners = dependences(make, self.few, columns)
        if len(self.few) < len(self.X) and np.any(varying(make(self.X)) & ~owners.any(axis=0)):
            owners |= dependences(make, self.X, columns)  # a level too rare for a few rows
        return owners


def _then(make: Callable[[Any], Any], transform: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda X: transform(make(X))


def _numbered(rows: Any, frame: bool) -> Any:
    """A row that holds the number of each column."""
    numbers = np.arange(rows.shape[1])[None]
    if not frame:
        return numbers
    import pandas as pd

    return pd.DataFrame(numbers, columns=rows.columns)


def _is_computed_so(split: _Split, t: NDArray) -> bool:
    """Whether the output is what the units say, up to a constant."""
    if split.matrix is None:
        return t.shape == split.values.shape and np.allclose(t, split.values, rtol=COARSE_ROUNDING, equal_nan=True)
    if t.shape[1] != split.matrix.shape[1] or not (np.isfinite(split.values).all() and np.isfinite(t).all()):
        return False
    U = split.values - split.values.mean(axis=0)
    size = np.abs(U).max(axis=0) @ np.abs(split.matrix) + np.abs(t).max(axis=0)
    return bool(np.all(np.abs(U @ split.matrix - (t - t.mean(axis=0))) <= COARSE_ROUNDING * size))


def _after(first: _Split, second: _Split) -> _Split:
    """What the second step makes of the first one's output."""
    made = second.column < 0
    if first.matrix is None and second.matrix is None:
        p = first.values.shape[1]
        return first.beside(second).take(np.where(made, p + np.arange(len(made)), second.column))
    P = np.eye(first.values.shape[1]) if first.matrix is None else first.matrix
    N = np.eye(len(made)) if second.matrix is None else second.matrix
    units = first.beside(second.take(np.flatnonzero(made)))
    return replace(units, matrix=np.concatenate([P[:, second.column[~made]] @ N[~made], N[made]]))


def _placed(split: _Split, index: NDArray, weight: float = 1.0) -> _Split:
    """A branch that reads some columns of a table, times a weight."""
    column = np.where(split.column >= 0, index[split.column], -1)
    if weight == 1.0:
        return replace(split, column=column)
    if split.matrix is None and not split.mixed.any():
        return _made(weight * split.values, split.owners)
    M = np.eye(len(column)) if split.matrix is None else split.matrix
    return replace(split, column=column, matrix=weight * M)


def _side_by_side(branches: Sequence[_Split]) -> _Split | None:
    if not branches:
        return None
    units = branches[0]
    for branch in branches[1:]:
        units = units.beside(branch)
    if all(branch.matrix is None for branch in branches):
        return units
    matrices = [np.eye(len(b.column)) if b.matrix is None else b.matrix for b in branches]
    return replace(units, matrix=block_diag(*matrices))


def _numbers(rows: Any) -> NDArray | None:
    """The table as finite numbers, None if it is something else or too wide."""
    if getattr(rows, "ndim", 0) != 2 or rows.shape[1] > MOST_COLUMNS:
        return None
    try:
        A = dense(rows)
    except (TypeError, ValueError):
        return None
    return A if np.isfinite(A).all() else None


def _like(rows: Any, Z: NDArray) -> Any:
    """Numbers as a table of the same kind."""
    if hasattr(rows, "iloc"):
        import pandas as pd

        return pd.DataFrame(Z, columns=rows.columns)
    return sparse.csr_array(Z) if sparse.issparse(rows) else Z


def _matrix(transform: Callable[[NDArray], Any], A: NDArray, T: Any) -> tuple[NDArray, NDArray] | None:
    """Slopes of the outputs ``(q, d)`` by moving one column at a time, and whether these say all.

    Tried are the rows, combinations of them, far rows, and single columns moved by another step.
    """
    centre = A.mean(axis=0)
    step = np.abs(A - centre).max(axis=0)
    step = np.where(step > 0, step, np.maximum(1.0, np.abs(centre)))
    try:
        start = dense(transform(centre[None]))
        M = (_moved(transform, centre, step) - start) / step[:, None]
        a, b = (A[np.random.default_rng(k).integers(len(A), size=COMBINATIONS)] for k in (0, 1))
        share = np.linspace(-2, 3, COMBINATIONS)[:, None]
        tried = np.concatenate([a + share * (b - a), centre + 30 * (a - centre)])
        other = np.concatenate([dense(transform(tried)), _moved(transform, centre, -0.37 * step)])
    except Exception:  # a step may answer numbers it does not know in any way
        return None
    if M.shape[1] != T.shape[1]:
        return None
    t = comparable(T)
    size = np.abs(t).max(axis=0) + np.abs(start[0])
    M[np.abs(M) * step[:, None] <= NOTHING * size] = 0
    # what is lost of numbers far from 0
    lost = 1e3 * np.finfo(np.float64).eps * (np.abs(A).max(axis=0) @ np.abs(M))
    rounding = COARSE_ROUNDING if _is_coarse(T) else ROUNDING
    known = np.isfinite(M).all(axis=0)
    with np.errstate(invalid="ignore"):
        for rows, got in ((A, t), (tried, other[: len(tried)])):
            expected = start + (rows - centre) @ M
            allowed = rounding * (size + np.abs(expected)) + 30 * lost
            known &= (np.abs(got - expected) <= allowed).all(axis=0)
        expected = start - 0.37 * step[:, None] * M
        known &= (np.abs(other[len(tried) :] - expected) <= rounding * size + lost).all(axis=0)
    return np.where(known, M, 0.0), known


def _moved(transform: Callable[[NDArray], Any], centre: NDArray, step: NDArray) -> NDArray:
    """Outputs of a row with each of its columns moved alone, ``(q, d)``."""
    parts = []
    for block in chunks(len(step), ROWS):
        Z = np.repeat(centre[None], block.stop - block.start, axis=0)
        Z[np.arange(len(Z)), np.arange(block.start, block.stop)] += step[block]
        parts.append(dense(transform(Z)))
    return np.concatenate(parts)


def _is_coarse(T: Any) -> bool:
    """Whether some of the numbers are in single precision, or less."""
    dtypes = list(T.dtypes) if hasattr(T, "dtypes") and hasattr(T, "iloc") else [np.asarray(T).dtype]
    dtypes = [T.dtype] if sparse.issparse(T) else dtypes
    return any(d.kind == "f" and d.itemsize < 8 for d in dtypes)


def _without_copies(split: _Split) -> _Split:
    """Units that matter, those that are equal in all rows and belong to the same columns as one."""
    assert split.matrix is not None
    first: dict[bytes, int] = {}
    keys = [split.values[:, i].tobytes() + split.owners[:, i].tobytes() for i in range(len(split.matrix))]
    same = [first.setdefault(key, i) for i, key in enumerate(keys)]
    matrix = np.zeros_like(split.matrix)
    np.add.at(matrix, same, split.matrix)
    return replace(split, matrix=matrix).take(np.flatnonzero((matrix != 0).any(axis=1)))
