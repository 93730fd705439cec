"""Tables for the command line: CSV and Parquet files as people have them, and scikit-learn's data sets."""

from __future__ import annotations

import csv
import difflib
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

if TYPE_CHECKING:
    import pandas as pd

#: Name -> loader; the second entry tells classification from regression.
DATASETS: dict[str, tuple[Callable[..., Any], bool]] = {
    "breast_cancer": (datasets.load_breast_cancer, True),
    "iris": (datasets.load_iris, True),
    "wine": (datasets.load_wine, True),
    "digits": (datasets.load_digits, True),
    "diabetes": (datasets.load_diabetes, False),
    "friedman1": (datasets.make_friedman1, False),
}
#: Most texts of a column that get an indicator of their own; the rarer ones share one.
CATEGORIES = 30
#: Endings of Parquet files.
PARQUET = (".parquet", ".pq")
#: Most different integers that are taken for classes.
CLASSES = 20
#: Share of a text column that must read as numbers, or dates, for it to be taken as such.
MOSTLY = 0.9
#: What numbers are adorned with where people read them.
ORNAMENT = re.compile(r"[%$€£,'\s]")
DATE = re.compile(r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})([ T].*)?")


@dataclass
class Table:
    """Rows ready for `skexplain.compare`.

    Attributes
    ----------
    name : str
        What files are named after.
    X : DataFrame of shape (n, n_columns)
        Float columns, and columns of text.
    y : ndarray of shape (n,) or None
    classification : bool
    texts : list of int
        Positions of the columns of text.
    notes : list of str
        What was decided or changed on the way, for the reader.
    """

    name: str
    X: pd.DataFrame
    y: NDArray | None
    classification: bool
    texts: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def behind(self, model: Any) -> Any:
        """The model, after a step that encodes text and fills gaps if the table has any."""
        if not self.texts and not self.X.isna().any(axis=None):
            return model
        numbers = [j for j in range(self.X.shape[1]) if j not in self.texts]
        # an indicator that is set in a handful of rows only invites a network to learn them by heart
        rare = min(10, max(2, len(self.X) // 50))
        encode = make_pipeline(
            SimpleImputer(strategy="constant", fill_value="missing"),
            OneHotEncoder(
                handle_unknown="infrequent_if_exist", max_categories=CATEGORIES, min_frequency=rare, sparse_output=False
            ),
        )
        # a column may be empty in one fold only, and must not move the others when it is
        fill = SimpleImputer(strategy="median", keep_empty_features=True)
        return make_pipeline(ColumnTransformer([("numbers", fill, numbers), ("texts", encode, self.texts)]), model)


def load_dataset(name: str) -> Table:
    """One of `DATASETS`."""
    loader, classification = DATASETS[name]
    if name == "friedman1":
        import pandas as pd

        X, y = loader(n_samples=500, noise=1.0, random_state=0)
        X = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    else:
        X, y = loader(return_X_y=True, as_frame=True)
    return Table(name, X, np.asarray(y), classification)


def read_table(
    path: str | Path,
    target: str | None,
    *,
    task: str | None = None,
    drop: Sequence[str] = (),
    needs_target: bool = True,
) -> Table:
    """Read a CSV or Parquet file and take it apart into columns and target.

    Parameters
    ----------
    path : str or Path
        A text file with a header; commas, semicolons, tabs or bars between columns. Or a Parquet file, which pyarrow
        reads, by its ending.
    target : str
        Name of the column to predict.
    task : {"classification", "regression"}, default=None
        None: seen from the target.
    drop : sequence of str
        Columns to leave out.
    needs_target : bool, default=True
        Whether a file without a target is refused.

    Raises
    ------
    ImportError
        For a Parquet file without pyarrow.
    ValueError
        In one sentence, for whatever is wrong with the file or does not fit it.
    """
    path = Path(path)
    notes: list[str] = []
    frame = _read_parquet(path) if path.suffix.lower() in PARQUET else _read(path, notes)
    columns = list(frame.columns)
    if target is None and needs_target:
        raise ValueError(f"--target is missing; name the column of {path.name} to predict, one of {_some(columns)}.")
    for option, column in [("--target", target), *(("--drop", c) for c in drop)]:
        if column is not None and column not in columns:
            close = difflib.get_close_matches(column.lower(), [c.lower() for c in columns], n=1, cutoff=0.5)
            hint = next((f"Did you mean {c!r}? " for c in columns if [c.lower()] == close), "")
            raise ValueError(f"{option}={column!r} is not a column of {path.name}. {hint}Columns are {_some(columns)}.")
    if target in drop:
        raise ValueError(f"--drop={target!r} is also the target; it cannot be left out.")
    y, classification = None, task == "classification"
    if target is not None:
        missing = int(frame[target].isna().sum())
        if missing:
            frame = frame[frame[target].notna()]
            notes.append(f"{missing} rows have no {target!r} and are left out.")
        if frame.empty:
            raise ValueError(f"{path.name} has no row with a value in {target!r}.")
        y, classification = _target(frame[target].infer_objects(), target, task, notes)
    X = frame.drop(columns=[c for c in (target, *drop) if c is not None]).reset_index(drop=True)
    if X.shape[1] == 0:
        raise ValueError(f"{path.name} has no column{'' if target is None else f' besides the target {target!r}'}.")
    X, texts = _columns(X, notes)
    return Table(path.name.split(".")[0] or "table", X, y, classification, texts, notes)


def _read(path: Path, notes: list[str]) -> pd.DataFrame:
    import pandas as pd

    if path.is_dir():
        raise ValueError(f"{path} is a folder; pass a CSV file.")
    try:
        separator = _separator(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # not even a header that is too short makes an index of the first column
            frame = pd.read_csv(path, sep=separator, index_col=False, low_memory=False, skipinitialspace=True)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} is empty; a header and rows are needed.") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file in UTF-8; save it as CSV UTF-8.") from None
    except pd.errors.ParserWarning:
        line = next((line for line, _ in _head(path, separator)[1:]), 2)
        raise ValueError(
            f"{path} has more values in line {line} than names in the header; name every column."
        ) from None
    except pd.errors.ParserError as exc:
        raise ValueError(f"{path} cannot be read as a table: {str(exc).split('C error: ')[-1].strip()}.") from None
    except OSError as exc:
        raise ValueError(f"{path} cannot be read: {exc.strerror or exc}.") from None
    frame.columns = [str(c).strip() for c in frame.columns]
    if frame.empty:
        raise ValueError(f"{path} has a header but no rows.")
    return frame if separator == "," else _with_points(frame, notes)


def _read_parquet(path: Path) -> pd.DataFrame:
    """The columns in the types that a CSV file gives."""
    import pandas as pd

    if path.is_dir():
        raise ValueError(f"{path} is a folder; pass a file.")
    try:
        import pyarrow as pa
    except ImportError as exc:
        raise ImportError("Parquet files need pyarrow. Run: pip install 'skexplain[parquet]'") from exc
    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except (pa.ArrowException, OSError) as exc:
        raise ValueError(f"{path} cannot be read as Parquet: {str(exc).splitlines()[0].rstrip('.')}.") from None
    if any(name is not None for name in frame.index.names):  # somebody's columns
        frame = frame.reset_index()
    if frame.empty:
        raise ValueError(f"{path} has {'columns but no rows' if frame.shape[1] else 'no columns'}.")
    plain = {j: _plain(frame.iloc[:, j]) for j in range(frame.shape[1])}
    return pd.DataFrame(plain).set_axis([str(c).strip() for c in frame.columns], axis=1)


def _plain(column: pd.Series) -> pd.Series:
    """In a type that a CSV file might have given: numbers, or objects that are text, booleans or missing."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column.astype(np.float64) if pd.api.types.is_extension_array_dtype(column) else column
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        return column.astype(str).astype(object).where(column.notna(), np.nan)
    return column.astype(object).where(column.notna(), np.nan)


def _with_points(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Columns with decimal commas as numbers."""
    import pandas as pd

    changed = []
    for j, name in enumerate(frame.columns):
        text = frame.iloc[:, j].dropna().astype(str)
        if pd.api.types.is_numeric_dtype(frame.iloc[:, j]) or not text.str.contains(",").any():
            continue
        # where a point stands beside a comma, one of them divides thousands
        points = text.str.replace(",", ".")
        numbers = pd.to_numeric(points, errors="coerce")
        if numbers.notna().mean() >= MOSTLY and not text.str.contains(".", regex=False).any():
            frame.isetitem(
                j, (points.where(numbers.notna(), text) if numbers.isna().any() else numbers).reindex(frame.index)
            )
            changed.append(name)
    if changed:
        notes.append(f"{_some(changed)} are read with decimal commas.")
    return frame


def _separator(path: Path) -> str:
    """Whichever divides the most rows as it divides the header; of commas and another the other, for commas also
    stand in numbers and texts."""

    def share(separator: str) -> tuple[float, int]:
        header, *rows = [len(row) for _, row in _head(path, separator)] or [0]
        alike = sum(n == header for n in rows) / max(1, len(rows))
        return (alike, header) if header > 1 else (0.0, 0)

    best = max(";\t|,", key=share)
    return best if share(best)[1] else ","


def _head(path: Path, separator: str, most: int = 50) -> list[tuple[int, list[str]]]:
    """The first rows that are not blank, each with its line number; none of a compressed file."""
    if path.suffix in (".gz", ".bz2", ".xz", ".zip", ".zst"):
        return []
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        try:
            return [(reader.line_num, row) for row in islice(reader, most) if any(row)]
        except csv.Error:  # read by this separator, a value is too long
            return []


def _target(y: pd.Series, name: str, task: str | None, notes: list[str]) -> tuple[NDArray, bool]:
    import pandas as pd

    numeric = pd.api.types.is_numeric_dtype(y) and not pd.api.types.is_bool_dtype(y)
    different = y.nunique()
    if numeric and not np.isfinite(y).all():
        raise ValueError(f"The target {name!r} contains infinity; correct or delete these rows.")
    whole = numeric and bool((y == y.round()).all())
    few = whole and different <= min(CLASSES, max(2, len(y) // 5))
    classification = (few or not numeric) if task is None else task == "classification"
    if not classification and not numeric:
        text = next(v for v in y if not _is_number(v))
        raise ValueError(
            f"--task=regression needs numbers, but the target {name!r} contains {str(text)!r}; "
            "use --task classification."
        )
    if classification and different > max(2, len(y) // 2):
        remedy = "use --task regression" if numeric else "name another --target"
        raise ValueError(
            f"The target {name!r} has {different} different values in {len(y)} rows, no classes; {remedy}."
        )
    if classification and different < 2:
        raise ValueError(f"The target {name!r} is {str(y.iloc[0])!r} in every row; at least two classes are needed.")
    if task is None:
        kind, other = ("classification", "regression") if classification else ("regression", "classification")
        change = f" (--task {other} if not)" if numeric else ""
        notes.append(f"The target {name!r} has {different} different values: {kind}{change}.")
    if not classification:
        return y.to_numpy(dtype=np.float64), False
    whole = whole and bool(y.between(-(2**62), 2**62).all())
    return (y.to_numpy(dtype=np.int64) if whole else y.astype(str).to_numpy(dtype=str)), True


def _columns(X: pd.DataFrame, notes: list[str]) -> tuple[pd.DataFrame, list[int]]:
    """Every column as numbers or as text, and the positions of those that are text."""
    import pandas as pd

    columns = {j: _column(X.iloc[:, j].infer_objects(), notes) for j in range(X.shape[1])}
    frame = pd.DataFrame(columns).set_axis(X.columns, axis=1)
    constant = [c for j, c in enumerate(X.columns) if frame.iloc[:, j].nunique(dropna=False) < 2]
    if constant:
        notes.append(f"{_some(constant)} never vary, so their importance is 0.")
    texts = [j for j, dtype in enumerate(frame.dtypes) if pd.api.types.is_object_dtype(dtype)]
    for j in texts:
        _judge_text(frame.iloc[:, j], notes)
    return frame, texts


def _column(column: pd.Series, notes: list[str]) -> pd.Series:
    """Floats, or objects that are text or NaN."""
    import pandas as pd

    name, given = column.name, column.dropna()
    nested = given.map(lambda value: isinstance(value, list | tuple | dict | set | bytes | np.ndarray))
    if nested.any():
        kind = type(given[nested].iloc[0]).__name__
        raise ValueError(f"The column {name!r} holds values of type {kind}, neither numbers nor text; --drop {name!r}.")
    if pd.api.types.is_bool_dtype(column) or set(given.map(type)) == {bool}:
        return column.map({True: 1.0, False: 0.0}).astype(np.float64)
    if pd.api.types.is_numeric_dtype(column):
        infinite = int(np.isinf(column).sum())
        if infinite:
            raise ValueError(
                f"The column {name!r} contains infinity in {infinite} rows; correct it or use --drop {name}."
            )
        steps = np.diff(column.to_numpy(dtype=np.float64))
        if len(steps) > 20 and (steps == 1).all():
            notes.append(f"{name!r} only counts the rows; --drop {name!r} leaves it out.")
        return column.astype(np.float64)
    text = given.astype(str)
    numbers = pd.to_numeric(text, errors="coerce")
    if numbers.notna().mean() >= MOSTLY:
        odd = text[numbers.isna()]
        if len(odd):  # integers beyond 64 bit are text to pandas, too
            notes.append(
                f"{name!r} has {len(odd)} values that are no numbers, such as {odd.iloc[0]!r}; they count as missing."
            )
        return numbers.reindex(column.index).astype(np.float64)
    if text.map(lambda t: DATE.fullmatch(t) is not None).mean() >= MOSTLY:
        days = pd.to_datetime(text, errors="coerce", format="mixed", utc=True) - pd.Timestamp("1970-01-01", tz="UTC")
        notes.append(f"{name!r} holds dates; they are read as days since 1970-01-01.")
        return (days / pd.Timedelta(days=1)).reindex(column.index).astype(np.float64)
    if pd.to_numeric(text.str.replace(ORNAMENT, "", regex=True), errors="coerce").notna().mean() >= MOSTLY:
        odd = text[numbers.isna()].iloc[0]
        notes.append(
            f"{name!r} is read as text because of values such as {odd!r}; write plain digits if it is a number."
        )
    return text.astype(object).reindex(column.index)


def _judge_text(column: pd.Series, notes: list[str]) -> None:
    name, different = column.name, column.nunique()
    if len(column) >= 20 and different > MOSTLY * column.notna().sum():
        notes.append(
            f"{name!r} has another text in almost every row, so models learn nothing from it; "
            f"--drop {name!r} leaves it out."
        )
    elif different > CATEGORIES:
        notes.append(f"{name!r} has {different} different texts; the rarer ones count as one.")


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool)


def _some(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(repr(str(n)) for n in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
