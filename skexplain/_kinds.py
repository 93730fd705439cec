"""The kinds of values that results and estimators hold, apart from a framework's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix, issparse

from ._categories import Categories
from ._encoding import INSTEAD, Kind, Reader, Writer
from ._inputs import Input, Inputs, is_several
from ._refit_result import RefitImportances
from .attributions._registry import ATTRIBUTIONS
from .explanation import Explanation, Importances
from .text import TextExplanation, WordImportances
from .text._texts import Pieces

#: What results read of a strategy, beside its name.
FLAGS = ("local", "signed", "stochastic", "complete", "relative", "shared_error", "needs_training")


@dataclass(frozen=True)
class SavedStrategy:
    """What a file says of a strategy that is not this library's, or that has parameters that are code.

    Attributes
    ----------
    text : str
        Its ``repr`` when it was saved.
    local, signed, stochastic, complete, relative, shared_error, needs_training : bool
        As in `skexplain.attributions.Attribution`.
    """

    text: str
    local: bool = True
    signed: bool = True
    stochastic: bool = False
    complete: bool = False
    relative: bool = False
    shared_error: bool = False
    needs_training: bool = False

    def __repr__(self) -> str:
        return self.text


# --- arrays and containers


def _write_array(value: Any, writer: Writer, where: str) -> Any:
    writer.arrays.append(np.asarray(value))
    return len(writer.arrays) - 1


def _read_scalar(content: Any, reader: Reader) -> Any:
    return reader.array(content)[()]


def _is_plain_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biufcSUmM"


def _write_objects(value: Any, writer: Writer, where: str) -> Any:
    return {"shape": list(value.shape), "items": [writer.plain(item, where) for item in value.ravel().tolist()]}


def _read_objects(content: Any, reader: Reader) -> NDArray:
    items = [reader.value(item) for item in content["items"]]
    flat = np.empty(len(items), dtype=object)
    flat[:] = items
    return flat.reshape(content["shape"])


def _write_items(value: Any, writer: Writer, where: str) -> Any:
    return [writer.plain(item, f"{where}[{k}]") for k, item in enumerate(value)]


def _write_map(value: Any, writer: Writer, where: str) -> Any:
    return {key: writer.plain(item, f"{where}.{key}") for key, item in value.items()}


def _write_pairs(value: Any, writer: Writer, where: str) -> Any:
    return [[writer.plain(key, where), writer.plain(item, f"{where}[{key!r}]")] for key, item in value.items()]


def _write_sparse(value: Any, writer: Writer, where: str) -> Any:
    rows = value.tocsr()
    parts = [_write_array(part, writer, where) for part in (rows.data, rows.indices, rows.indptr)]
    return {"array": isinstance(rows, csr_array), "shape": list(value.shape), "parts": parts}


def _read_sparse(content: Any, reader: Reader) -> Any:
    make = csr_array if content["array"] else csr_matrix
    rows = make(tuple(map(reader.array, content["parts"])), shape=tuple(content["shape"]))
    rows.check_format(full_check=True)  # indices beyond the arrays would be read all the same
    return rows


def _is_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and not hasattr(value, "_fields")


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping) and all(type(key) is str for key in value)


def _has_name(value: Any) -> bool:
    return isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__"))


# --- tables of pandas


def _is_frame(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "iloc")


def _write_frame(value: Any, writer: Writer, where: str) -> Any:
    frame = value.to_frame() if value.ndim == 1 else value
    columns = [frame.iloc[:, j] for j in range(frame.shape[1])]
    return {
        "series": value.ndim == 1,
        "names": _write_items(frame.columns.tolist(), writer, f"{where}.columns"),
        "columns": [_write_column(column, writer, f"{where}[{column.name!r}]") for column in columns],
        "index": None if _counts(frame.index) else _write_column(frame.index, writer, f"{where}.index"),
        "rows": len(frame),
    }


def _counts(index: Any) -> bool:
    return type(index).__name__ == "RangeIndex" and index.start == 0 and index.step == 1


def _write_column(column: Any, writer: Writer, where: str) -> Any:
    values, dtype = column.array, column.dtype
    if hasattr(values, "codes"):
        categories = _write_column(values.categories, writer, where)
        return {"codes": _write_array(values.codes, writer, where), "of": categories, "ordered": bool(values.ordered)}
    if isinstance(dtype, np.dtype) and dtype.kind in "biufcmM":
        return {"array": _write_array(column.to_numpy(), writer, where)}
    items = np.asarray(values, dtype=object).copy()
    if not isinstance(dtype, np.dtype):  # such write what is missing as an object of pandas
        items[values.isna()] = None
    return {"dtype": str(dtype), "items": _write_items(items.tolist(), writer, where)}


def _read_frame(content: Any, reader: Reader) -> Any:
    import pandas as pd

    columns = [_read_column(column, reader) for column in content["columns"]]
    index = (
        pd.RangeIndex(content["rows"]) if content["index"] is None else pd.Index(_read_column(content["index"], reader))
    )
    frame = pd.DataFrame(dict(enumerate(columns)), index=range(content["rows"]))
    frame.index = index
    frame.columns = pd.Index([reader.value(name) for name in content["names"]])
    return frame.iloc[:, 0] if content["series"] else frame


def _read_column(content: Any, reader: Reader) -> Any:
    import pandas as pd

    if "codes" in content:
        categories = _read_column(content["of"], reader)
        return pd.Categorical.from_codes(reader.array(content["codes"]), categories, ordered=content["ordered"])
    if "array" in content:
        return reader.array(content["array"])
    return pd.array([reader.value(item) for item in content["items"]], dtype=content["dtype"])


# --- what this library made


def _is_strategy(value: Any) -> bool:
    return not isinstance(value, type) and (hasattr(value, "attribute") or hasattr(value, "importances"))


def _write_strategy(value: Any, writer: Writer, where: str, foreign: bool = False) -> Any:
    """By name and parameters; one that has no name as its ``repr`` if ``foreign`` allows, as nobody is to run it."""
    name = next((name for name, kind in ATTRIBUTIONS.items() if type(value) is kind), None)
    if name is not None and _is_data(value.get_params(deep=False)):
        return {"name": name, "parameters": _write_map(value.get_params(deep=False), writer, where)}
    if not foreign:
        raise TypeError(
            f"{where}={value!r} cannot be saved safely, as it is not one of this library's strategies, or has a "
            f"function among its parameters. Set one of {sorted(ATTRIBUTIONS)}. {INSTEAD}"
        )
    flags = {flag: bool(getattr(value, flag)) for flag in FLAGS if hasattr(value, flag)}
    return {"text": repr(value), "local": hasattr(value, "attribute")} | flags


def _is_data(parameters: dict[str, Any]) -> bool:
    """Whether no parameter is code."""
    attempt = Writer(KINDS, {})
    try:
        attempt.plain(parameters, "")
    except TypeError:
        return False
    return not attempt.named


def _read_strategy(content: Any, reader: Reader) -> Any:
    if "text" in content:
        return SavedStrategy(**content)
    parameters = {name: reader.value(item) for name, item in content["parameters"].items()}
    return ATTRIBUTIONS[content["name"]](**parameters)


def _write_result(value: Any, writer: Writer, where: str) -> Any:
    parts = {field.name: getattr(value, field.name) for field in fields(value)}
    strategy = parts.pop("strategy")
    named = strategy is None or isinstance(strategy, str)
    said = strategy if named else {"strategy": _write_strategy(strategy, writer, "strategy", foreign=True)}
    data = parts.get("data")
    if data is not None and not (_is_frame(data) or issparse(data) or is_several(data)):
        parts["data"] = np.asarray(data)
    return {"strategy": said} | _write_map(parts, writer, where)


def _read_result(kind: type) -> Callable[[Any, Reader], Any]:
    return lambda content, reader: kind(**{name: reader.value(item) for name, item in content.items()})


def _write_pieces(value: Any, writer: Writer, where: str) -> Any:
    return _write_map(value._asdict(), writer, where)


def own_names() -> dict[str, Any]:
    """Functions that stand in what a strategy keeps."""
    from .training._weight_watcher import _gone

    return {"skexplain:gone": _gone}


def _write_categories(value: Any, writer: Writer, where: str) -> Any:
    return {"columns": writer.plain(value.columns, where), "levels": writer.plain(value.levels, where)}


def _read_categories(content: Any, reader: Reader) -> Categories:
    return Categories.of_levels(reader.value(content["columns"]), reader.value(content["levels"]))


def _internal() -> dict[str, type]:
    """What a strategy keeps of the training that it watched, and how several inputs lie in a table."""
    from .training._input_weights import InputWeights, Kernel
    from .training._moments import Moments
    from .training._variance import VarianceImportance
    from .training._weight_figures import WeightFigures

    kinds = (Input, Inputs, InputWeights, Kernel, Moments, VarianceImportance, WeightFigures)
    return {kind.__name__: kind for kind in kinds}


def _is_internal(value: Any) -> bool:
    return type(value).__module__.startswith("skexplain.") and type(value) in _internal().values()


def _write_internal(value: Any, writer: Writer, where: str) -> Any:
    return {"of": type(value).__name__, "state": _write_map(value.__getstate__(), writer, where)}


def _read_internal(content: Any, reader: Reader) -> Any:
    made: Any = object.__new__(_internal()[content["of"]])
    vars(made).update({name: reader.value(item) for name, item in content["state"].items()})
    return made


#: In the order in which they are tried. A fitted piece of another class is one more line here.
KINDS = (
    Kind("scalar", lambda v: isinstance(v, np.generic) and not v.dtype.hasobject, _write_array, _read_scalar),
    Kind("array", _is_plain_array, _write_array, lambda c, r: r.array(c)),
    Kind("objects", lambda v: isinstance(v, np.ndarray) and v.dtype.kind in "OT", _write_objects, _read_objects),
    Kind("frame", _is_frame, _write_frame, _read_frame),
    Kind("sparse", issparse, _write_sparse, _read_sparse),
    Kind("words", lambda v: isinstance(v, WordImportances), _write_result, _read_result(WordImportances)),
    Kind("texts", lambda v: isinstance(v, TextExplanation), _write_result, _read_result(TextExplanation)),
    Kind("pieces", lambda v: isinstance(v, Pieces), _write_pieces, _read_result(Pieces)),
    Kind(
        "refit_importances",
        lambda v: isinstance(v, RefitImportances),
        _write_result,
        _read_result(RefitImportances),
    ),
    Kind("importances", lambda v: isinstance(v, Importances), _write_result, _read_result(Importances)),
    Kind("explanation", lambda v: isinstance(v, Explanation), _write_result, _read_result(Explanation)),
    Kind("categories", lambda v: isinstance(v, Categories), _write_categories, _read_categories),
    Kind("name", _has_name, lambda v, w, where: w.name(v, where), lambda c, r: r.named(c)),
    Kind("internal", _is_internal, _write_internal, _read_internal),
    Kind("strategy", _is_strategy, _write_strategy, _read_strategy),
    Kind("tuple", _is_tuple, _write_items, lambda c, r: tuple(map(r.value, c))),
    Kind("list", lambda v: isinstance(v, list), _write_items, lambda c, r: list(map(r.value, c))),
    Kind("map", _is_map, _write_map, lambda c, r: {key: r.value(item) for key, item in c.items()}),
    Kind("pairs", lambda v: isinstance(v, Mapping), _write_pairs, lambda c, r: {r.value(k): r.value(v) for k, v in c}),
)
