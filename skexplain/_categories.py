"""Categorical columns: which they are, and the codes of their levels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.preprocessing import OrdinalEncoder
from sklearn.utils import check_array

#: Codes of a level that was not there in training, and of a missing value; those of levels follow.
UNKNOWN, MISSING, FIRST = 0, 1, 2


def embedding_width(cardinality: int) -> int:
    """Numbers in the vector of a code, by fastai's rule: ``min(600, 1.6 cardinality^0.56)``.

    Examples
    --------
    >>> [embedding_width(n) for n in (3, 10, 100)]
    [3, 6, 21]
    """
    return min(600, round(1.6 * cardinality**0.56))


@dataclass(frozen=True, eq=False)
class Categories:
    """Categorical columns of a table and the codes of their levels, as learned in training.

    Attributes
    ----------
    columns : int ndarray of shape (n_categorical,)
    encoder : OrdinalEncoder or None
        Of these columns; None if there are none.
    """

    columns: NDArray
    encoder: OrdinalEncoder | None

    @classmethod
    def of(cls, X: Any, categorical: Any, names: Sequence[str] | None) -> Categories:
        """Learn the levels of the columns that are meant by the parameter ``categorical``.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
        categorical : "auto", or sequence of names or indices
        names : sequence of str or None
            Of the columns.

        Raises
        ------
        ValueError
            For a column that does not exist, or whose levels cannot be put into an order.
        """
        X = as_table(X)
        columns = _meant(X, categorical, names)
        if not len(columns):
            return cls(columns, None)
        levels = np.stack([_levels(X, int(j)) for j in columns], axis=1)
        try:
            return cls(columns, _encoder().fit(levels))
        except TypeError as exc:
            raise ValueError(
                f"A categorical column among {[_name(names, int(j)) for j in columns]} has levels of several types, "
                f"which have no order. Make them all text, or all numbers. ({exc})"
            ) from exc

    @classmethod
    def of_levels(cls, columns: NDArray, levels: Sequence[NDArray]) -> Categories:
        """As learned before: with the levels of each column, ``encoder.categories_``."""
        if not len(columns):
            return cls(columns, None)
        row = np.array([[column[0] for column in levels]], dtype=object)
        return cls(columns, _encoder(categories=list(levels)).fit(row))

    @property
    def levels(self) -> list[NDArray]:
        """Of each categorical column, in the order of their codes, missing last."""
        return [] if self.encoder is None else list(self.encoder.categories_)

    @property
    def cardinalities(self) -> dict[int, int]:
        """Number of codes of each categorical column: of unknown, missing, and the levels."""
        counts = [FIRST + sum(not _is_missing(level) for level in column.tolist()) for column in self.levels]
        return dict(zip(self.columns.tolist(), counts, strict=True))

    def encode(self, X: Any, names: Sequence[str] | None, dtype: Any, estimator: Any) -> NDArray:
        """Numbers as they are, codes in the place of levels: ``(n, n_columns)`` of a dtype.

        Raises
        ------
        ValueError
            For text, NaN or infinity in a column of numbers.
        """
        X = as_table(X)
        out = np.empty(X.shape, dtype=dtype)
        numbers = np.setdiff1d(np.arange(X.shape[1]), self.columns)
        for j in numbers:
            out[:, j] = _number_column(X, int(j), names)
        if self.encoder is not None:
            levels = np.stack([_levels(X, int(j)) for j in self.columns], axis=1)
            out[:, self.columns] = self.encoder.transform(levels) + FIRST
        return check_array(out, dtype=dtype, estimator=estimator, input_name="X")


def _encoder(**params: Any) -> OrdinalEncoder:
    return OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=UNKNOWN - FIRST,
        encoded_missing_value=MISSING - FIRST,
        **params,
    )


def as_table(X: Any) -> Any:
    """A pandas frame as it is, anything else as an array of two dimensions."""
    if issparse(X):
        raise TypeError("Sparse data was passed for X, but categorical columns need a dense table; use X.toarray().")
    X = X.to_pandas() if hasattr(X, "to_pandas") else X
    if hasattr(X, "iloc") and X.ndim == 2:
        return X
    X = X if isinstance(X, np.ndarray) else np.asarray(X, dtype=object)
    return check_array(X, dtype=None, ensure_all_finite=False, input_name="X")


def _meant(X: Any, categorical: Any, names: Sequence[str] | None) -> NDArray:
    """Indices of the columns that are meant, sorted."""
    n = X.shape[1]
    if isinstance(categorical, str) and categorical == "auto":
        return np.array([j for j in range(n) if _is_categorical(X, j)], dtype=int)
    if isinstance(categorical, str) or not isinstance(categorical, Iterable) or isinstance(categorical, Mapping):
        raise ValueError(
            f"categorical={categorical!r} must be 'auto', None, or a list of names or indices of columns, such as "
            "['colour', 'size']."
        )
    position = {} if names is None else {name: j for j, name in enumerate(names)}
    found = []
    for column in categorical:
        whole = isinstance(column, int | np.integer) and not isinstance(column, bool | np.bool_)
        j = position.get(column, -1) if isinstance(column, str) else int(column) if whole else -1
        if not 0 <= j < n:
            which = f"columns are {list(names)[:10]}" if names is not None else f"X has {n} columns without names"
            raise ValueError(f"categorical contains {column!r}, which is not a column; {which}.")
        found.append(j)
    return np.unique(np.array(found, dtype=int))


def _is_categorical(X: Any, j: int) -> bool:
    """Whether a column holds levels rather than numbers: text, categories, booleans."""
    if hasattr(X, "iloc"):
        dtype = X.dtypes.iloc[j]
        kind = getattr(dtype, "kind", "O")
        return kind not in "iufcmM" and (kind != "O" or not _are_numbers(X.iloc[:, j]))
    return X.dtype.kind in "bUS" or (X.dtype == object and not _are_numbers(X[:, j]))


def _are_numbers(column: Any) -> bool:
    """Whether a column of objects holds numbers, or gaps between them; a category of numbers is a category."""
    if getattr(column.dtype, "name", "") == "category":
        return False
    known = [v for v in column if not _is_missing(v)]
    return bool(known) and all(isinstance(v, Real) and not isinstance(v, bool | np.bool_) for v in known)


def _levels(X: Any, j: int) -> NDArray:
    """A column as objects, NaN where a value is missing."""
    column = X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]
    values = np.asarray(column, dtype=object).copy()
    values[[_is_missing(v) for v in values]] = np.nan
    return values


def _is_missing(value: Any) -> bool:
    """Whether it is None, NaN, NaT or pandas' NA, which to no question has an answer."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True


def _number_column(X: Any, j: int, names: Sequence[str] | None) -> NDArray:
    column = X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]
    if getattr(column.dtype, "kind", "O") in "mM":
        raise ValueError(
            f"Column {_name(names, j)!r} contains dates or times. Pass a number, such as days since the first of them, "
            "or name the column in `categorical`."
        )
    try:
        numbers = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise ValueError(
            f"Column {_name(names, j)!r} contains values that are no numbers; name it in `categorical`, or pass "
            f"categorical='auto'. ({exc})"
        ) from exc
    if not np.isfinite(numbers).all():
        raise ValueError(
            f"Input X contains NaN or infinity in the column {_name(names, j)!r} of numbers. Fill the gaps before, for "
            "instance with SimpleImputer, or name the column in `categorical`, where missing is a level of its own."
        )
    return numbers


def _name(names: Sequence[str] | None, j: int) -> str:
    return f"x{j}" if names is None else str(names[j])
