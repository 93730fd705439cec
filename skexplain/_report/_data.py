"""The rows that a report is about: what is in them, and whether a model was trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

from .._columns import evenly
from .._fitted import _Fitted
from .._wrap import unnested
from ._parts import Part, Table

#: From which correlation on columns can stand in for each other, rows it is computed from, and the most columns.
CORRELATED, ROWS, COLUMNS = 0.9, 5000, 500


@dataclass
class Data:
    """Rows, and what is said of them.

    Attributes
    ----------
    X : ndarray or DataFrame of shape (n, n_columns)
    y : ndarray of shape (n,)
    names : list of str
    classification : bool
    """

    X: Any
    y: NDArray
    names: list[str]
    classification: bool

    def column(self, j: int) -> NDArray:
        return np.asarray(self.X.iloc[:, j] if hasattr(self.X, "iloc") else self.X[:, j])

    def numbers(self, j: int) -> NDArray | None:
        """The column as numbers; None if it has others than these."""
        try:
            return self.column(j).astype(float)
        except (TypeError, ValueError):
            return None

    def n_distinct(self, j: int) -> int:
        numbers = self.numbers(j)
        return len(np.unique(self.words(j) if numbers is None else numbers[~np.isnan(numbers)]))

    def words(self, j: int) -> NDArray:
        """The column's values as text, without missing ones."""
        return np.array([str(v) for v in self.column(j).tolist() if v is not None and v == v])

    def correlated(self, order: NDArray) -> list[tuple[str, str, float]]:
        """Pairs of columns with a correlation above 0.9 or below -0.9, the closest first; among the first of an "
        "order."""
        rows = evenly(len(self.y), ROWS)
        kept, columns = [], []
        for j in order[:COLUMNS]:
            numbers = self.numbers(int(j))
            if numbers is not None and np.isfinite(numbers[rows]).all() and np.ptp(numbers[rows]) > 0:
                kept.append(int(j))
                columns.append(numbers[rows])
        if len(kept) < 2 or len(rows) < 3:
            return []
        r = np.corrcoef(np.array(columns))
        first, second = np.nonzero(np.triu(np.abs(r) > CORRELATED, k=1))
        pairs = [(self.names[kept[a]], self.names[kept[b]], float(r[a, b])) for a, b in zip(first, second, strict=True)]
        return sorted(pairs, key=lambda pair: -abs(pair[2]))

    def part(self, order: NDArray) -> Part:
        """The data in tables, columns in the order of their importance."""
        n, d = len(self.y), len(self.names)
        if self.classification:
            labels, counts = np.unique(self.y, return_counts=True)
            target = Table(
                "The classes",
                ["class", "rows", "share"],
                [(str(c), k, k / n) for c, k in zip(labels, counts, strict=True)],
            )
            text = f"{n} rows of {d} columns; the target has {len(labels)} classes."
        else:
            y = self.y.astype(float)
            quartiles = np.quantile(y, [0, 0.25, 0.5, 0.75, 1])
            target = Table(
                "The target",
                ["mean", "standard deviation", "least", "lower quartile", "median", "upper quartile", "largest"],
                [(y.mean(), y.std(), *quartiles)],
            )
            text = f"{n} rows of {d} columns; the target is a number."
        head = [
            "column",
            "kind",
            "missing",
            "different",
            "mean",
            "standard deviation",
            "least",
            "largest",
            "most common",
        ]
        rows = [self._line(int(j)) for j in order[:200]]
        columns = Table("The columns, the most important first", head, rows, sortable=True, more=len(order) - len(rows))
        return Part("Data", "data", [text], tables=[target, columns])

    def _line(self, j: int) -> tuple[Any, ...]:
        numbers = self.numbers(j)
        if numbers is None:
            words = self.words(j)
            levels, counts = np.unique(words, return_counts=True)
            most = f"{levels[counts.argmax()]} ({counts.max()})" if len(words) else None
            return self.names[j], "words", len(self.y) - len(words), len(levels), None, None, None, None, most
        known = numbers[np.isfinite(numbers)]
        missing = len(numbers) - len(known)
        if not len(known):
            return self.names[j], "numbers", missing, 0, None, None, None, None, None
        stats = known.mean(), known.std(), known.min(), known.max()
        return self.names[j], "numbers", missing, self.n_distinct(j), *stats, None


def share_trained_on(model: Any, X: Any) -> float | None:
    """Of the training rows that a model keeps, the share that is among X; None where it keeps none.

    Kept rows are a sample of the training rows: where X are the training rows, the share is 1.
    """
    model = unnested(model)
    last = model[-1] if isinstance(model, Pipeline) else model
    kept = getattr(last, "_kept", None)
    if kept is None or isinstance(last, _Fitted):  # which keeps the rows that it was shown
        return None
    Z = X if last is model or len(model) == 1 else model[:-1].transform(X)
    rows = np.asarray(last._check_rows(Z))
    here = {np.ascontiguousarray(row).tobytes() for row in rows.astype(kept[0].dtype)}
    return float(np.mean([np.ascontiguousarray(row).tobytes() in here for row in kept[0]]))


def telling_rows(model: Any, data: Data, n: int) -> list[tuple[int, str]]:
    """Positions of a handful of rows, and why each is worth a look: sure ones, unsure ones, and what goes wrong."""
    predicted = np.asarray(model.predict(data.X))
    kinds: list[tuple[NDArray, str]]
    if is_classifier(model):
        right = predicted == data.y
        if hasattr(model, "predict_proba"):
            p = np.sort(np.asarray(model.predict_proba(data.X)), axis=1)
            surest, closest = np.argsort(-p[:, -1], kind="stable"), np.argsort(p[:, -1] - p[:, -2], kind="stable")
        else:
            surest = closest = np.arange(len(predicted))
        good = [(c, surest[right[surest] & (predicted[surest] == c)]) for c in model.classes_[:3]]
        kinds = [(rows, f"surely and rightly predicted to be {c}") for c, rows in good]
        kinds += [(surest[~right[surest]], "surely predicted, and wrong"), (closest, "among the least sure")]
    else:
        order = np.argsort(predicted, kind="stable")
        off = np.argsort(-np.abs(predicted - data.y.astype(float)), kind="stable")
        kinds = [(order[::-1], "among the highest predictions"), (order, "among the lowest predictions")]
        kinds += [(off, "among the largest errors"), (off[::-1], "among the smallest errors")]
    found: dict[int, str] = {}
    for _ in range(n):
        for rows, why in kinds:
            free = next((int(i) for i in rows if int(i) not in found), None)
            if free is not None and len(found) < n:
                found[free] = why
    return list(found.items())
