"""The two results: Importances of columns (global) and Explanation of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from ._result_checks import check_finite, check_shape
from ._result_text import html_table, text_table
from ._selection import positions, rows_of

if TYPE_CHECKING:
    import pandas as pd
    import shap


#: Columns that a table of results lists.
SHOWN = 30


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
    groups : dict of str to tuple of str
        Columns of each group that was asked for.

    Raises
    ------
    ValueError
        When the parts do not belong together, or importances are NaN, infinite or negative.
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
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = {"values": self.values, "signed": self.signed, "error": self.error}
        parts |= {f"per_class[{label!r}]": values for label, values in self.per_class.items()}
        for name, part in parts.items():
            check_shape(name, part, (len(self.names),))
            if name != "error":
                check_finite(name, part, self.names)
        if np.min(self.values, initial=0) < 0:
            j = int(np.argmin(self.values))
            raise ValueError(f"values[{j}]={self.values[j]} of {self.names[j]!r} is negative; pass it as signed.")

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

    def save(self, path: Any) -> None:
        """Write everything to a file that holds no code, and that `load` reads.

        Parameters
        ----------
        path : str or Path
            Of the file, under any name; it is there when it is whole.

        Notes
        -----
        A zip archive of JSON and NumPy arrays. A strategy of this library is written as its name and parameters;
        another one, or one with a function among its parameters, as its ``repr``, which can be read but not run.
        """
        from ._result_files import save_result

        save_result(self, path)

    @classmethod
    def load(cls, path: Any) -> Importances:
        """Read a file of `save`; no code in it is run.

        Raises
        ------
        ValueError
            For a file that is truncated, foreign, damaged or of a later version, or holds something else.
        OSError
            For a file that cannot be opened.
        """
        from ._result_files import load_result

        return load_result("importances", path)

    def __repr__(self) -> str:
        head = f"Importances by {self.strategy}, {self.n_rows} rows, output={self.output!r}, target={self.target!r}"
        return "\n".join([head, *text_table(self._rows())])

    def _repr_html_(self) -> str:
        caption = f"{self.strategy}, {self.n_rows} rows, {self.output} of {self.target}"
        rows = self._rows()
        return html_table(caption, rows, self.normalized[self.ranking][:SHOWN])

    def _rows(self, most: int = SHOWN) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("column", "share", "value ± error")]
        for j in self.ranking[:most]:
            error = "" if np.isnan(self.error[j]) else f" ± {self.error[j]:.2g}"
            rows.append((str(self.names[j]), f"{self.normalized[j]:.3f}", f"{self.values[j]:.4g}{error}"))
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
    probabilities : ndarray of the shape of predictions, or None
        Probabilities of the explained outputs, whatever the scale; None where there are none.
    strategy, output, random_state, gap, groups
        As in `Importances`.

    Raises
    ------
    ValueError
        When the parts do not belong together, or attributions are NaN or infinite.
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
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    probabilities: NDArray | None = None

    def __post_init__(self) -> None:
        if np.ndim(self.values) not in (2, 3):
            raise ValueError(
                f"values has the shape {np.shape(self.values)}; pass (n, n_features) or (n, n_features, n_outputs)."
            )
        n, d, *k = self.values.shape
        shapes: dict[str, tuple[int, ...]] = {
            "names": (d,),
            "columns": (d,),
            "error": self.values.shape,
            "target": (n,),
        }
        shapes |= dict.fromkeys(("base_values", "predictions", "probabilities"), (n, *k)) | (
            {"outputs": tuple(k)} if k else {}
        )
        for name, shape in shapes.items():
            if getattr(self, name) is not None:
                check_shape(name, getattr(self, name), shape)
        check_finite("values", np.moveaxis(self.values, 1, -1), self.names)

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

    def __getitem__(self, key: Any) -> Explanation:
        """Some of the rows, and after a comma some of the columns.

        Parameters
        ----------
        key : int, slice, mask or list of positions, or a pair of such
            Rows, and columns, which may also be named: ``exp[3]``, ``exp[:5]``, ``exp[y == 1]``, ``exp[:, "age"]``,
            ``exp[:5, ["age", "bmi"]]``. Predictions and base values stay those of all columns.

        Raises
        ------
        IndexError
            For a row or column that is not there.
        KeyError
            For a name that is not there, or that several columns have.
        """
        rows, columns = key if isinstance(key, tuple) else (key, None)
        rows = positions(rows, len(self), "row")
        chosen = replace(
            self,
            values=self.values[rows],
            base_values=self.base_values[rows],
            predictions=self.predictions[rows],
            data=rows_of(self.data, rows),
            error=None if self.error is None else self.error[rows],
            target=None if self.target is None else self.target[rows],
            probabilities=None if self.probabilities is None else self.probabilities[rows],
        )
        if columns is None or (isinstance(columns, slice) and columns == slice(None)):
            return chosen
        columns = positions(columns, len(self.names), "column", self.names)
        own = np.arange(len(self.names)) if self.columns is None else self.columns
        return replace(
            chosen,
            values=chosen.values[:, columns],
            error=None if chosen.error is None else chosen.error[:, columns],
            names=tuple(self.names[j] for j in columns),
            columns=own[columns],
            row_shape=None,
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

    def to_text(self, *, most: int = 5, output: Any = None) -> str:
        """Each row in plain words, a line a row: the prediction, and the columns that speak for it and against it.

        Parameters
        ----------
        most : int, default=5
            Columns that are named: those of the largest values, with the row's value in each.
        output : label, default=None
            Which output, if all were explained. None: the largest.

        See Also
        --------
        explain_row : how far to trust it.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import LinearRegression
        >>> import skexplain
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> model = LinearRegression().fit(X, y)
        >>> print(skexplain.explain(model, X.iloc[[2]], attribution="ablation", background=X).to_text(most=3))
        176.9: raised by s1 = -0.0456 (+36.1), bmi = 0.04445 (+23.1); lowered by s2 = -0.03419 (-16.3). These 3 of 10
        columns make up 77 % of all contributions, by size.
        """
        from ._words import row_text

        return "\n".join(row_text(self, i, most, output) for i in range(len(self)))

    def to_shap(self) -> shap.Explanation:
        """The same as a `shap.Explanation`, for shap's plots.

        Those of a single row take ``exp.to_shap()[3]``, those of a single output ``exp.to_shap()[..., 1]``. Those that
        begin at the base value, such as force plots, need a strategy that has one.
        """
        from ._shap import as_shap

        return as_shap(self)

    def save(self, path: Any) -> None:
        """Write everything, the rows too, to a file that holds no code; see `Importances.save`."""
        from ._result_files import save_result

        save_result(self, path)

    @classmethod
    def load(cls, path: Any) -> Explanation:
        """Read a file of `save`; see `Importances.load`."""
        from ._result_files import load_result

        return load_result("explanation", path)

    def __repr__(self) -> str:
        return "\n".join([self._head, *text_table(self._table()[0])])

    def _repr_html_(self) -> str:
        rows, sizes = self._table(SHOWN)
        return html_table(self._head, rows, sizes, signed=self._is_of_one)

    @property
    def _head(self) -> str:
        what = "all outputs" if self.target is None else "one output a row"
        return f"Explanation of {len(self)} rows by {self.strategy}, {what}, output={self.output!r}"

    @property
    def _is_of_one(self) -> bool:
        """Whether it is one row and one output, so that there is a sign to show."""
        return len(self) == 1 and self.values.ndim == 2

    def _table(self, most: int = 10) -> tuple[list[tuple[str, str]], NDArray]:
        """Columns with the largest attributions, and these."""
        each = np.abs(self.values).reshape(*self.values.shape[:2], -1)
        n, _, k = each.shape
        size = self.values[0] if self._is_of_one else each.sum(axis=(0, 2)) / max(1, n * k)
        order = np.argsort(-np.abs(size), kind="stable")[:most]
        rows = [("column", "value" if self._is_of_one else "mean |value|")]
        rows += [(str(self.names[j]), f"{size[j]:.4g}") for j in order]
        if len(self.names) > most:
            rows.append((f"and {len(self.names) - most} more", ""))
        return rows, size[order]
