"""Columns: names, groups of them, and where a pipeline's columns come from."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata
from sklearn.utils.validation import check_scalar

from .exceptions import UnsupportedModelError

#: Rows on which a pipeline's columns are traced first.
TRACED_ROWS = 256

#: Columns from which on halves of them are changed before each alone.
MANY = 16
#: Most columns that the name of what they do together lists.
MOST_NAMED = 4

#: Most columns whose correlations are computed: all pairs are.
MOST_CORRELATED = 2000
#: Fewest rows for correlations: among 20, unrelated columns reach 0.8 in 2 of 100,000 pairs.
FEWEST_CORRELATED = 20

Groups = Mapping[str, Sequence[str | int] | str | int] | Literal["correlated", "steps", "features"]


def column_names(X: Any, given: Sequence[str] | None, model: Any, n: int) -> list[str]:
    """Names from the caller, the data, the model, or ``x0, x1, ...``."""
    if given is None:
        columns = getattr(X, "columns", None)
        given = columns if columns is not None else getattr(model, "feature_names_in_", None)
    names = [f"x{j}" for j in range(n)] if given is None else [str(c) for c in given]
    if len(names) != n:
        raise ValueError(f"feature_names has {len(names)} names, but there are {n} columns.")
    return names


def resolve_groups(
    groups: Groups | None, names: Sequence[str], typical: Any = None
) -> tuple[tuple[str, ...], list[NDArray]]:
    """Names and column indices of the groups; columns in no group are groups of their own.

    Parameters
    ----------
    groups : dict of str to list of columns, "correlated" or None
    names : sequence of str
        Of the columns.
    typical : array-like or DataFrame, optional
        Rows on which ``"correlated"`` is decided.

    Raises
    ------
    ValueError
        For a column that does not exist, or stands in two groups.
    """
    if groups is None:
        return tuple(names), [np.array([j]) for j in range(len(names))]
    if isinstance(groups, str) and groups == "correlated":
        groups = correlated_groups(typical, feature_names=names)
    if not isinstance(groups, Mapping):
        raise ValueError(
            f"groups={groups!r} must be a dict from a group's name to its columns, or 'correlated'; or, "
            "where one network reads sequences, 'steps' or 'features'."
        )
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


def columns_of_groups(
    names: Sequence[str], columns: Sequence[str], members: Sequence[NDArray]
) -> dict[str, tuple[str, ...]]:
    """Columns of each group that is not simply a column."""
    groups = {name: tuple(columns[j] for j in g) for name, g in zip(names, members, strict=True)}
    return {name: g for name, g in groups.items() if g != (name,)}


def correlated_groups(
    X: Any, threshold: float = 0.8, feature_names: Sequence[str] | None = None
) -> dict[str, list[str]]:
    """Groups of columns that go together, to be explained together.

    Of columns that say the same, a network may use any, and attributions divide what they say among them as chance
    would have it. ``groups="correlated"`` means these groups with the threshold 0.8; call this to see them or to
    choose another.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n, n_columns)
        At least 20 rows.
    threshold : float, default=0.8
        Least mean absolute rank correlation at which columns are put together, in (0, 1].
    feature_names : sequence of str, default=None
        Names of the columns, if X has none.

    Returns
    -------
    dict of str to list of str
        Columns of each group of two or more. It is named after its first column.

    Raises
    ------
    ValueError
        For too few rows, too many columns (more than 2000), or a threshold outside (0, 1].

    See Also
    --------
    importances : takes the result as ``groups``.

    Notes
    -----
    Average linkage (UPGMA) on 1 less the absolute rank correlation (Spearman's). A constant column has no correlation
    and stays alone, as do columns that are no numbers. Where values are missing, a pair is compared on the rows that
    have both.

    Examples
    --------
    >>> import skexplain
    >>> from sklearn.datasets import load_iris
    >>> skexplain.correlated_groups(load_iris(as_frame=True).data)
    {'sepal length (cm) + 2 more': ['sepal length (cm)', 'petal length (cm)', 'petal width (cm)']}
    """
    check_scalar(threshold, "threshold", Real, min_val=0, max_val=1, include_boundaries="right")
    X = X if hasattr(X, "columns") else np.asarray(X)
    X = X.reshape(len(X), -1) if isinstance(X, np.ndarray) else X
    names = column_names(X, feature_names, None, X.shape[1])
    if len(X) < FEWEST_CORRELATED or len(names) > MOST_CORRELATED:
        raise ValueError(
            f"Correlated groups need at least {FEWEST_CORRELATED} rows and at most {MOST_CORRELATED} columns, got "
            f"{len(X)} rows of {len(names)}. Pass more rows as `background`, or name the groups in a dict."
        )
    if len(set(names)) < len(names):
        raise ValueError(f"Correlated groups need columns with different names, got {_some(names)}.")
    distance = 1 - _rank_correlation(_numbers(X))
    if len(names) < 2:
        return {}
    tree = linkage(squareform(distance, checks=False), method="average")
    # the tolerance is for rounding, so that a copy is at no distance
    clusters = fcluster(tree, 1 - threshold + 1e-9, criterion="distance")
    groups: dict[str, list[str]] = {}
    for cluster in dict.fromkeys(clusters):
        members = [names[j] for j in np.flatnonzero(clusters == cluster)]
        if len(members) > 1:
            groups[_group_name(members, names)] = members
    return groups


def _group_name(members: Sequence[str], taken: Sequence[str]) -> str:
    """A name for the group that no column has."""
    name = " + ".join(members) if len(members) == 2 else f"{members[0]} + {len(members) - 1} more"
    while name in taken:
        name += " (group)"
    return name


def _numbers(X: Any) -> NDArray:
    """X as floats, with NaN throughout columns that are no numbers."""
    numbers = np.full(X.shape, np.nan)
    for j in range(X.shape[1]):
        column = X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]
        if column.dtype.kind in "biuf" or (column.dtype == object and all(isinstance(v, Real) for v in column)):
            numbers[:, j] = np.asarray(column, dtype=np.float64)
    return numbers


def _rank_correlation(X: NDArray) -> NDArray:
    """Absolute Spearman correlation of each pair of columns on the rows that have both; 0 where there is none."""
    known = np.isfinite(X)
    R = np.where(known, rankdata(np.where(known, X, np.nan), axis=0, nan_policy="omit"), 0)
    known = known.astype(np.float64)
    n = np.maximum(known.T @ known, 1)
    # moments of column i on the rows that have j too; centred first, so that they do not cancel
    R = np.where(known > 0, R - R.sum(axis=0) / np.maximum(known.sum(axis=0), 1), 0)
    mean, square = R.T @ known / n, (R * R).T @ known / n
    variance = np.maximum(square - mean**2, 0)
    covariance = R.T @ R / n - mean * mean.T
    size = np.sqrt(variance * variance.T)
    few = (n < FEWEST_CORRELATED) | (size <= 1e-12 * n**2)
    return np.clip(np.where(few, 0, np.abs(covariance) / np.where(few, 1, size)), 0, 1)


def _some(names: Sequence[str], most: int = 10) -> str:
    return str(list(names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def sum_groups(values: NDArray, groups: Sequence[NDArray]) -> NDArray:
    """Sum attributions ``(n, n_columns, ...)`` over the columns of each group."""
    if all(len(g) == 1 for g in groups):
        return values[:, np.concatenate(groups)]
    return np.stack([values[:, g].sum(axis=1) for g in groups], axis=1)


def origins(owners: NDArray) -> tuple[list[NDArray], dict[tuple[int, ...], NDArray]]:
    """What comes from each column alone, and what comes from each set of several.

    Parameters
    ----------
    owners : bool ndarray of shape (n_columns, n)
        The columns that each of n numbers depends on.

    Returns
    -------
    alone : list of int ndarray
        For each column the numbers that depend on it and on no other.
    joint : dict
        From the indices of several columns to the numbers that depend on just these.
    """
    several = owners.sum(axis=0) > 1
    sets: dict[tuple[int, ...], list[int]] = {}
    for k in np.flatnonzero(several):
        sets.setdefault(tuple(np.flatnonzero(owners[:, k]).tolist()), []).append(int(k))
    return [np.flatnonzero(row & ~several) for row in owners], {s: np.array(sets[s]) for s in sorted(sets)}


def joint_name(columns: Sequence[str], taken: Sequence[str]) -> str:
    """A name for what several columns do together, that nothing else has."""
    first = columns if len(columns) <= MOST_NAMED else columns[: MOST_NAMED - 1]
    name = " & ".join(first) + (f" & {len(columns) - len(first)} more" if len(first) < len(columns) else "")
    ending = ""
    while name + ending in taken:
        ending = f" ({int(ending[2:-1]) + 1})" if ending else " (2)"
    return name + ending


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
    T, more = dense(transform(X)), X if background is None else stacked(X, background)
    few = rows_of(more, evenly(len(more), TRACED_ROWS))
    depends = dependences(transform, few, range(len(names)))
    everything = T if background is None else dense(transform(more))
    if np.any(varying(everything) & ~depends.any(axis=0)) and len(few) < len(more):
        depends |= dependences(transform, more, range(len(names)))  # a level too rare for a few rows
    mixed = np.flatnonzero(depends.sum(axis=0) > 1)
    if len(mixed):
        sources = [names[int(j)] for j in np.flatnonzero(depends[:, mixed[0]])]
        raise UnsupportedModelError(
            f"{len(mixed)} columns of the pipeline's output depend on several input columns, the first on "
            f"{_some(sources)}; their attribution cannot be divided. Use attribution='permutation', which "
            "changes the columns in front of the pipeline, or explain the last step on transformed data."
        )
    return T, [np.flatnonzero(row) for row in depends]


def dependences(transform: Callable[[Any], Any], X: Any, columns: Sequence[int] | NDArray) -> NDArray:
    """Which columns of the output change with which of some columns of X, ``(n_columns, n_transformed)``."""
    T, columns = dense(transform(X)), np.asarray(columns)
    numbers = np.arange(len(columns))
    depends = np.zeros((len(columns), T.shape[1]), dtype=bool)
    asked = np.arange(T.shape[1])
    if len(columns) > MANY:
        # an output of one column changes with every half of the columns that the column is in, and with no other half
        halves = [(numbers >> k) & 1 == side for k in range(len(columns).bit_length()) for side in (0, 1)]
        try:
            hits = np.array([_change(transform, X, T, columns[half]) for half in halves])
        except ValueError:  # of one of them; which, is seen when each is changed alone
            hits = np.ones((len(halves), T.shape[1]), dtype=bool)
        alone = (hits[::2] != hits[1::2]).all(axis=0)
        depends[(hits[1::2].T @ (1 << np.arange(len(halves) // 2)))[alone], np.flatnonzero(alone)] = True
        asked = np.flatnonzero(~alone & hits.any(axis=0))
        if not len(asked):
            return depends
    for i in numbers:
        depends[i, asked] = _change(transform, X, T, columns[[i]], strict=False)[asked]
    return depends


def _change(transform: Callable[[Any], Any], X: Any, T: NDArray, columns: NDArray, strict: bool = True) -> NDArray:
    """Which columns of the output T change with any of some columns of X, ``(n_transformed,)``."""
    hit = np.zeros(T.shape[1], dtype=bool)
    for changed in _changed(X, columns):
        try:
            S = dense(transform(changed))
        except ValueError:  # a number that was moved may be a category unknown to the pipeline
            if strict:
                raise
            continue
        hit |= ((S != T) & ~(np.isnan(S) & np.isnan(T))).any(axis=0)
    return hit


def _changed(X: Any, columns: NDArray) -> Iterator[Any]:
    """X with other values in some columns: those of other rows; numbers that are the same in all rows are moved."""
    if not len(columns):
        return
    for shift in {1, max(1, len(X) // 2)}:
        yield _with_columns(X, columns, np.roll(np.arange(len(X)), shift))
    moved, constant = X.copy(), False
    for j in columns:
        column = X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]
        values = np.asarray(column)
        if values.dtype.kind in "fiu" and np.all(values == values[:1]):
            constant = True
            if hasattr(X, "iloc"):
                moved.isetitem(j, column + column.dtype.type(1))
            else:
                moved[:, j] = column + 1
    if constant:
        yield moved


def varying(T: NDArray) -> NDArray:
    """Which columns are not constant."""
    return ((T[:1] != T) & ~(np.isnan(T) & np.isnan(T[:1]))).any(axis=0)


def stacked(X: Any, background: Any) -> Any:
    """The rows of both."""
    if hasattr(X, "iloc"):
        import pandas as pd

        return pd.concat([X, background], ignore_index=True)
    return np.concatenate([X, np.asarray(background)])


def evenly(n: int, most: int) -> NDArray:
    """Positions of n rows at equal distances, not more than ``most``, the first and the last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))


def rows_of(X: Any, index: NDArray) -> Any:
    """Some of the rows."""
    return X.iloc[index] if hasattr(X, "iloc") else X[index]


def dense(T: Any) -> NDArray:
    """A transformer's output as a float array."""
    return np.asarray(T.toarray() if sparse.issparse(T) else T, dtype=np.float64)


def is_text(T: Any) -> bool:
    """Whether a transformer's output has values that are no numbers."""
    return not sparse.issparse(T) and np.asarray(T).dtype.kind not in "biuf"


def comparable(T: Any) -> NDArray:
    """As `dense`; each text is replaced by a number of its own, so that it is seen where texts differ."""
    if not is_text(T):
        return dense(T)
    values = np.asarray(T, dtype=object)
    return np.array([_number(value) for value in values.ravel()], dtype=np.float64).reshape(values.shape)


def _number(value: Any) -> float:
    number = isinstance(value, Real | np.bool_) and value == value  # missing text is one of the texts
    return float(value) if number else float(zlib.crc32(str(value).encode()))


def _with_columns(X: Any, columns: NDArray, rows: NDArray) -> Any:
    """X with some columns taken from other rows."""
    if not hasattr(X, "iloc"):
        Z = X.copy()
        Z[:, columns] = X[np.ix_(rows, columns)]
        return Z
    import pandas as pd

    others = np.setdiff1d(np.arange(X.shape[1]), columns)
    taken = X.iloc[rows, columns].set_axis(X.index)  # whole columns, so that their dtypes survive
    return pd.concat([X.iloc[:, others], taken], axis=1).iloc[:, np.argsort(np.concatenate([others, columns]))]
