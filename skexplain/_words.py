"""Explanations of single rows in plain words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_scalar

if TYPE_CHECKING:
    from .explanation import Explanation

#: Characters of a value that is text.
LONGEST = 30


class One(NamedTuple):
    """One output of one row: values ``(n_features,)``, and what they explain."""

    values: NDArray
    base: float
    prediction: float
    probability: float | None
    label: Any


def one_of(exp: Explanation, i: int, output: Any) -> One:
    """The output of row i that is to be shown: the only one, the one with this label, or else the largest.

    Raises
    ------
    ValueError
        For a label that does not exist.
    """
    if exp.values.ndim == 2:
        if output is not None:
            raise ValueError(f"output={output!r}, but one output a row was explained; explain with target='all'.")
        p = None if exp.probabilities is None else float(exp.probabilities[i])
        label = None if exp.target is None else exp.target[i]
        return One(exp.values[i], float(exp.base_values[i]), float(exp.predictions[i]), p, label)
    labels = list(range(exp.values.shape[2])) if exp.outputs is None else np.asarray(exp.outputs).tolist()
    if output is not None and output not in labels:
        raise ValueError(f"output={output!r} does not exist; outputs are {labels}.")
    k = int(exp.predictions[i].argmax()) if output is None else labels.index(output)
    p = None if exp.probabilities is None else float(exp.probabilities[i, k])
    return One(exp.values[i, :, k], float(exp.base_values[i, k]), float(exp.predictions[i, k]), p, labels[k])


def value_of(exp: Explanation, i: int, j: int) -> str | None:
    """What row i has in the column that is entry j, as text; None for groups, and for rows that are no table."""
    width = exp.data.shape[1] if len(getattr(exp.data, "shape", ())) == 2 else 0
    column = exp.columns[j] if exp.columns is not None else j if width == len(exp.names) else -1
    if not 0 <= column < width:
        return None
    value = exp.data.iloc[i, column] if hasattr(exp.data, "iloc") else exp.data[i, column]
    try:
        return f"{float(value):.4g}"
    except (TypeError, ValueError):
        text = " ".join(str(value).split())
        return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def row_text(exp: Explanation, i: int, most: int, output: Any) -> str:
    """What row i is predicted to be, and by which columns."""
    check_scalar(most, "most", int, min_val=1)
    one = one_of(exp, i, output)
    order = np.argsort(-np.abs(one.values), kind="stable")[:most]
    shown = [int(j) for j in order if one.values[j] != 0]
    what = _predicted(exp, one)
    if not shown:
        return f"{what}: no column moves it."

    def listed(columns: Iterable[int], sign: str = "+") -> str:
        return ", ".join(_named(exp, i, j, f"{one.values[j]:{sign}.3g}") for j in columns)

    up, down = [j for j in shown if one.values[j] > 0], [j for j in shown if one.values[j] < 0]
    if not getattr(exp.strategy, "signed", True):
        text = f"{what}. What it depends on most: {listed(shown, '')}."
    elif exp.outputs is None:
        parts = [*([f"raised by {listed(up)}"] if up else []), *([f"lowered by {listed(down)}"] if down else [])]
        text = f"{what}: {'; '.join(parts)}."
    else:
        parts = [listed(up) if up else "nothing for it", *([f"against it {listed(down)}"] if down else [])]
        text = f"{what}: {'; '.join(parts)}."
    share = np.abs(one.values[shown]).sum() / np.abs(one.values).sum()
    n, d = len(shown), len(one.values)
    if n < d:
        subject = "This 1" if n == 1 else f"These {n}"
        text += f" {subject} of {d} columns make{'s' * (n == 1)} up {100 * share:.0f} % of all contributions, by size."
    # what does not add up, or is of some columns only, leads nowhere
    if abs(one.base + one.values.sum() - one.prediction) <= 0.02 * np.abs(one.values).sum():
        scale = "prediction" if exp.outputs is None else exp.output
        text += f" All together take the {scale} from {one.base:.3g}, the reference's, to {one.prediction:.3g}."
    return text


def _predicted(exp: Explanation, one: One) -> str:
    label = one.label if isinstance(one.label, str) else f"class {one.label}"
    if one.probability is not None:
        return f"{probability_text(one.probability)} {label}"
    if exp.outputs is not None:  # the classes of what has no probabilities, or a function of them
        return f"{exp.output} {one.prediction:.4g} of {one.label if isinstance(one.label, str) else label}"
    several = exp.values.ndim == 3 or (exp.target is not None and isinstance(one.label, str))
    return f"{one.prediction:.4g}" + (f" of output {one.label}" if several else "")


def probability_text(p: float) -> str:
    """Two digits, which never read as certainty.

    Examples
    --------
    >>> probability_text(0.934), probability_text(0.9999), probability_text(0.0)
    ('0.93', 'over 0.99', 'under 0.01')
    """
    return "over 0.99" if p >= 0.995 else "under 0.01" if p < 0.005 else f"{p:.2f}"


def _named(exp: Explanation, i: int, j: int, amount: str) -> str:
    value = value_of(exp, i, j)
    return f"{exp.names[j]}{'' if value is None else f' = {value}'} ({amount})"
