"""The two results: Importances of columns (global) and Explanation of rows."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

if TYPE_CHECKING:
    import pandas as pd
    import shap


@dataclass(frozen=True, eq=False)
class Importances:
    """How much each column, or group of columns, matters to a network.

    Attributes
    ----------
    names : tuple of str
        Columns or groups; behind them, for a pipeline, what several columns do together, such as ``"age & bmi"``.
    values : ndarray of shape (n_features,)
        Non-negative: mean absolute attribution, in units of the output; or the loss of score, at least 0.
    signed : ndarray of shape (n_features,)
        The mean before the absolute value, or the loss of score as measured.
    error : ndarray of shape (n_features,)
        Standard error of ``values``, over rows and sampling; by SAGE, or permutation with a scorer, that of the
        sampling for these rows only. NaN where it is not known.
    strategy : object
        The attribution strategy.
    output : str
        Scale of the outputs that were explained.
    target : str
        Which output of a row.
    n_rows : int
        Rows that were averaged.
    random_state : int
        Seed that repeats the numbers.
    per_class : dict, optional
        For classifiers and local strategies: label -> values averaged over the rows explained for that class.
    gap : float or None
        Largest completeness gap measured, as a fraction of the spread of the outputs.
    """

    names: tuple[str, ...]
    values: NDArray
    signed: NDArray
    error: NDArray
    strategy: Any
    output: str
    target: str
    n_rows: int
    random_state: int
    per_class: Mapping[Any, NDArray] = field(default_factory=dict)
    gap: float | None = None

    @property
    def normalized(self) -> NDArray:
        """``values`` divided by their sum; zeros if all are zero."""
        total = self.values.sum()
        return self.values / total if total > 0 else np.zeros_like(self.values)

    @property
    def ranking(self) -> NDArray:
        """Indices of the columns, most important first."""
        return np.argsort(-self.values, kind="stable")

    def interval(self, level: float = 0.95) -> tuple[NDArray, NDArray]:
        """Where the importance of each column lies, were it measured without error.

        Of the errors that ``error`` counts: where these are of the sampling only (SAGE, permutation with a scorer), the
        interval is for these very rows, and too short for what other rows would give.

        Parameters
        ----------
        level : float, default=0.95
            Probability that the interval of a column contains it, between 0 and 1.

        Returns
        -------
        low, high : ndarray of shape (n_features,)
            The measured value plus and minus a multiple of ``error``, as if errors were normal; NaN where the error is
            unknown. Around ``values`` for local strategies, around ``signed`` for global ones: a loss of score that is
            measured below 0 has an interval that begins below 0.

        Raises
        ------
        ValueError
            For a level outside (0, 1).

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import LinearRegression
        >>> import skexplain
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> result = skexplain.importances(LinearRegression(), X, y, attribution="loco", random_state=0)
        >>> low, high = result.interval()
        >>> [name for name, a in zip(result.names, low) if a > 0]
        ['bmi']
        """
        if not 0 < level < 1:
            raise ValueError(f"level={level!r} must lie between 0 and 1, such as 0.95.")
        local = getattr(self.strategy, "local", hasattr(self.strategy, "attribute"))
        centre, z = self.values if local else self.signed, norm.ppf((1 + level) / 2)
        return centre - z * self.error, centre + z * self.error

    @property
    def plot(self) -> Any:
        """Pictures: ``.plot.bar()``."""
        from .plotting import ImportancesPlot

        return ImportancesPlot(self)

    def __len__(self) -> int:
        return len(self.names)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        return np.array(self.values, dtype=dtype)

    def to_frame(self) -> pd.DataFrame:
        """One row a column of the data, most important first."""
        import pandas as pd

        columns: dict[str, Any] = {
            "feature": self.names,
            "importance": self.normalized,
            "value": self.values,
            "signed": self.signed,
            "error": self.error,
        }
        columns |= {f"class {label}": values for label, values in self.per_class.items()}
        return pd.DataFrame(columns).iloc[self.ranking].reset_index(drop=True)

    def __repr__(self) -> str:
        head = f"Importances by {self.strategy}, {self.n_rows} rows, output={self.output!r}, target={self.target!r}"
        return "\n".join([head, *_table(self._rows())])

    def _repr_html_(self) -> str:
        top = max(self.normalized.max(initial=0), np.finfo(float).tiny)
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td style='text-align:right'>{share}</td>"
            f"<td style='text-align:right'>{value}</td>"
            f"<td><div style='background:#0072B2;height:0.8em;width:{100 * s / top:.1f}px'></div></td></tr>"
            for (name, share, value), s in zip(self._rows()[1:], self.normalized[self.ranking][:30], strict=False)
        )
        caption = html.escape(f"{self.strategy}, {self.n_rows} rows, {self.output} of {self.target}")
        return (
            f"<table><caption>{caption}</caption>"
            f"<tr><th>column</th><th>share</th><th>value</th><th></th></tr>{rows}</table>"
        )

    def _rows(self, most: int = 30) -> list[tuple[str, str, str]]:
        rows = [("column", "share", "value ± error")]
        for j in self.ranking[:most]:
            error = "" if np.isnan(self.error[j]) else f" ± {self.error[j]:.2g}"
            rows.append((self.names[j], f"{self.normalized[j]:.3f}", f"{self.values[j]:.4g}{error}"))
        if len(self) > most:
            rows.append((f"and {len(self) - most} more", "", ""))
        return rows


@dataclass(frozen=True, eq=False)
class Explanation:
    """Attributions of single rows.

    Attributes
    ----------
    values : ndarray of shape (n, n_features) or (n, n_features, n_outputs)
        Attribution of each column, or group, to the explained output; with ``target="all"`` the last
        axis runs over the outputs.
    base_values : ndarray of shape (n,) or (n, n_outputs)
        Mean output over the reference. For complete strategies ``base_values + values.sum(axis=1)``
        is ``predictions``. NaN for strategies without a reference.
    predictions : ndarray of shape (n,) or (n, n_outputs)
        The explained outputs.
    data : array-like of shape (n, ...)
        The rows, as they were passed.
    names : tuple of str
        As in `Importances`.
    error : ndarray of the shape of values, or None
        Standard error of the sampling; of a group as if its columns' errors were independent.
    target : ndarray of shape (n,) or None
        Label (or index, for regressors) of the output explained for each row; None for all.
    outputs : ndarray or None
        Labels of the outputs of a classifier.
    columns : int ndarray of shape (n_features,) or None
        The column of the data that each entry is; -1 for groups, and for what several columns do together. None: one
        after the other.
    row_shape : tuple of int or None
        Shape of a row as the network reads it, if it has several axes and each of its numbers is an entry.
    strategy, output, random_state, gap
        As in `Importances`.
    """

    values: NDArray
    base_values: NDArray
    predictions: NDArray
    data: Any
    names: tuple[str, ...]
    strategy: Any
    output: str
    random_state: int
    error: NDArray | None = None
    target: NDArray | None = None
    outputs: NDArray | None = None
    gap: float | None = None
    columns: NDArray | None = None
    row_shape: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def plot(self) -> Any:
        """Pictures: ``.plot.bar()``, ``.plot.row(i)``, ``.plot.image(i)``."""
        from .plotting import ExplanationPlot

        return ExplanationPlot(self)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: int | slice | NDArray) -> Explanation:
        """Some of the rows."""
        if isinstance(rows, int | np.integer):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"row {rows} of an Explanation of {len(self)} rows")
            rows = slice(int(rows), int(rows) + 1 or None)
        data = self.data.iloc[rows] if hasattr(self.data, "iloc") else np.asarray(self.data)[rows]
        return replace(
            self,
            values=self.values[rows],
            base_values=self.base_values[rows],
            predictions=self.predictions[rows],
            data=data,
            error=None if self.error is None else self.error[rows],
            target=None if self.target is None else self.target[rows],
        )

    def to_frame(self) -> pd.DataFrame:
        """Tidy: one line a row, column and output."""
        import pandas as pd

        n, d = self.values.shape[:2]
        k = self.values.shape[2] if self.values.ndim == 3 else 1
        if self.values.ndim == 3:
            labels = np.arange(k) if self.outputs is None else np.asarray(self.outputs)
            output = np.tile(labels, n * d)
        else:
            output = np.repeat(self.target if self.target is not None else np.zeros(n, int), d)
        frame = {
            "row": np.repeat(np.arange(n), d * k),
            "feature": np.tile(np.repeat(np.asarray(self.names, dtype=object), k), n),
            "output": output,
            "value": self.values.reshape(-1),
        }
        if self.error is not None:
            frame["error"] = self.error.reshape(-1)
        return pd.DataFrame(frame)

    def to_shap(self) -> shap.Explanation:
        """The same as a `shap.Explanation`, for shap's plots."""
        import shap

        names = [str(o) for o in self.outputs] if self.values.ndim == 3 and self.outputs is not None else None
        return shap.Explanation(
            values=np.array(self.values),
            base_values=np.array(self.base_values),
            data=self._data_of_entries(),
            feature_names=list(self.names),
            output_names=names,
        )

    def _data_of_entries(self) -> NDArray | None:
        """The row's value of each entry, NaN where it is several; None if all are."""
        data = np.asarray(self.data)
        data = data.reshape(len(data), -1)
        if self.columns is None:
            return data if data.shape[1] == len(self.names) else None
        alone = self.columns >= 0
        if alone.all():
            return data[:, self.columns]
        entries = np.full(self.values.shape[:2], np.nan, dtype=np.float64 if data.dtype.kind in "biuf" else object)
        entries[:, alone] = data[:, self.columns[alone]]
        return entries if alone.any() else None

    def __repr__(self) -> str:
        what = "all outputs" if self.target is None else "one output a row"
        head = f"Explanation of {len(self)} rows by {self.strategy}, {what}, output={self.output!r}"
        size = np.abs(self.values).reshape(*self.values.shape[:2], -1).mean(axis=(0, 2))
        order = np.argsort(-size, kind="stable")[:10]
        rows = [("column", "mean |value|"), *((str(self.names[j]), f"{size[j]:.4g}") for j in order)]
        if len(self.names) > 10:
            rows.append((f"and {len(self.names) - 10} more", ""))
        return "\n".join([head, *_table(rows)])


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Left-align the first column, right-align the others."""
    width = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, width, strict=True))
        ).rstrip()
        for row in rows
    ]
