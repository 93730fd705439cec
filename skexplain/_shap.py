"""An Explanation as shap knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from ._inputs import Inputs, is_several

if TYPE_CHECKING:
    import shap

    from .explanation import Explanation

#: How values that are missing print.
MISSING = ("None", "nan", "NaT", "<NA>")


def as_shap(exp: Explanation) -> shap.Explanation:
    """Copies of the numbers, with the rows' values beside the attributions."""
    import shap

    names = [str(o) for o in exp.outputs] if exp.values.ndim == 3 and exp.outputs is not None else None
    shown = entries_of(exp)
    # shap colours by numbers, and prints what is to be displayed
    numbers = shown if shown is None or shown.dtype.kind in "biuf" else np.column_stack([_coded(c) for c in shown.T])
    return shap.Explanation(
        values=np.array(exp.values),
        base_values=np.array(exp.base_values),
        data=numbers,
        display_data=None if numbers is shown else shown,
        feature_names=list(exp.names),
        output_names=names,
    )


def entries_of(exp: Explanation) -> NDArray | None:
    """The row's value of each entry, NaN where it is several; None if all are."""
    data: Any = Inputs.of(exp.data).table(exp.data) if is_several(exp.data) else exp.data
    data = data.toarray() if issparse(data) else np.asarray(data)
    data = data.reshape(len(data), -1)
    if exp.columns is None:
        return data if data.shape[1] == len(exp.names) else None
    alone = exp.columns >= 0
    if alone.all():
        return data[:, exp.columns]
    entries = np.full(exp.values.shape[:2], np.nan, dtype=np.float64 if data.dtype.kind in "biuf" else object)
    entries[:, alone] = data[:, exp.columns[alone]]
    return entries if alone.any() else None


def _coded(column: NDArray) -> NDArray:
    """A column as numbers: as it is, or the places of its values among all in alphabetical order."""
    try:
        return column.astype(np.float64)
    except (TypeError, ValueError):
        text = column.astype(str)
        there = ~np.isin(text, MISSING)
        codes = np.full(len(text), np.nan)
        codes[there] = np.unique(text[there], return_inverse=True)[1]
        return codes
