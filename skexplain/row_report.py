"""explain_row: one prediction in plain words, and how far to trust the explanation."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_scalar

from ._agreement import _tau_rho
from ._columns import Groups
from ._explain import attributions_of, explain
from ._head import Output
from ._inputs import Inputs, is_several
from ._neighbours import Neighbours, neighbours, training_of
from ._result_text import text_table
from ._subject import seed_of, subject_of
from .explanation import Explanation

#: Fewer background rows are not resampled.
MIN_BACKGROUND = 10
#: Share of the resampled backgrounds in which something must differ to be said.
OFTEN = 0.1
#: Columns that are named.
MOST = 5


@dataclass(frozen=True, eq=False)
class RowReport:
    """One prediction explained, and reasons not to trust the explanation.

    Attributes
    ----------
    explanation : Explanation
        Of the one row.
    resampled : ndarray of shape (n_resamples, n_features)
        The same values, each time with a bootstrap sample of the background rows; no rows when the background is too
        small for that.
    background_rows : int
    neighbours : Neighbours or None
        The nearest training rows; None where none are known.
    """

    explanation: Explanation
    resampled: NDArray
    background_rows: int
    neighbours: Neighbours | None

    @property
    def values(self) -> NDArray:
        """``(n_features,)``"""
        return self.explanation.values[0]

    @property
    def spread(self) -> NDArray:
        """Standard deviation of each value over the resampled backgrounds, ``(n_features,)``; NaN without any."""
        return self.resampled.std(axis=0, ddof=1) if len(self.resampled) else np.full(len(self.values), np.nan)

    @property
    def same_sign(self) -> NDArray:
        """Share of the resampled backgrounds in which each value keeps its sign, ``(n_features,)``."""
        return self._share(np.sign(self.resampled) == np.sign(self.values))

    @property
    def same_first(self) -> float:
        """Share of the resampled backgrounds in which the same column has the largest value."""
        sizes = np.abs(self.resampled)
        return float(self._share((sizes.argmax(axis=1) == np.abs(self.values).argmax())[:, None])[0])

    @property
    def kendall(self) -> float:
        """Mean of Kendall's tau between the sizes of the values and those with a resampled background."""
        if not len(self.resampled):
            return np.nan
        return float(np.mean([_tau_rho(np.abs(self.values), np.abs(r))[1] for r in self.resampled]))

    @property
    def cautions(self) -> tuple[str, ...]:
        """Sentences on when not to trust it; none if nothing was found."""
        exp, n = self.explanation, len(self.resampled)
        shown = [int(j) for j in np.argsort(-np.abs(self.values), kind="stable")[:MOST] if self.values[j] != 0]
        result = []
        if self.neighbours is not None and self.neighbours.far:
            result.append(
                f"The row is unlike the {self.neighbours.n_rows} training rows: {self.neighbours.distance[0]:.2g} "
                f"standard deviations a column from the nearest, and 99 % of these are at most "
                f"{self.neighbours.usual:.2g} from another. What a model says so far out, few data support."
            )
        if n and shown and 1 - self.same_first >= OFTEN:
            result.append(
                f"With {round(n * (1 - self.same_first))} of {n} resampled backgrounds another column than "
                f"{exp.names[shown[0]]!r} comes first."
            )
        turned = [j for j in shown if n and 1 - self.same_sign[j] >= OFTEN]
        if turned:
            most = round(n * max(1 - self.same_sign[j] for j in turned))
            result.append(f"The sign of {self._list(turned)} changes with the background, in up to {most} of {n}.")
        if exp.error is not None:
            vague = [j for j in shown if exp.error[0, j] >= abs(self.values[j])]
            if vague:
                result.append(
                    f"The standard error of {self._list(vague)} is as large as the value; let the strategy sample more."
                )
        if not n:
            result.append(
                f"The background has {self.background_rows} row{'s' * (self.background_rows != 1)}, too few to see how "
                f"values depend on it; pass at least {MIN_BACKGROUND} typical rows as `background=`."
            )
        return tuple(result)

    def to_text(self) -> str:
        """The prediction and its columns in plain words, and the cautions."""
        doubts = " ".join(self.cautions) or "Nothing was found that speaks against trusting this."
        return f"{self.explanation.to_text(most=MOST)}\n{doubts}"

    def __repr__(self) -> str:
        exp, steady = self.explanation, len(self.resampled) > 0
        rows = [("column", "value", "over backgrounds", "same sign")]
        order = np.argsort(-np.abs(self.values), kind="stable")[:MOST]
        for j in order:
            spread = f"± {self.spread[j]:.2g}" if steady else ""
            sign = f"{100 * self.same_sign[j]:.0f} %" if steady else ""
            rows.append((str(exp.names[j]), f"{self.values[j]:+.3g}", spread, sign))
        if len(self.values) > MOST:
            rows.append((f"and {len(self.values) - MOST} more", "", "", ""))
        lines = [exp.to_text(most=MOST), "", f"Values by {exp.strategy}, {len(self.resampled)} resampled backgrounds"]
        lines += text_table(rows)
        if self.neighbours is not None:
            near = self.neighbours
            lines += ["", "Nearest training rows (distance in standard deviations a column)"]
            rows_near = [("row", "distance", *(["target"] if near.y is not None else []))]
            for k, label in enumerate(near.index):
                target = [] if near.y is None else [_target(near.y[k])]
                rows_near.append((str(label), f"{near.distance[k]:.2g}", *target))
            lines += text_table(rows_near)
        lines += ["", "Caution", *(f"  {c}" for c in self.cautions)] if self.cautions else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"

    def _share(self, same: NDArray) -> NDArray:
        return same.mean(axis=0) if len(self.resampled) else np.full(same.shape[1], np.nan)

    def _list(self, columns: Sequence[int]) -> str:
        return ", ".join(repr(str(self.explanation.names[j])) for j in columns)


def _target(value: Any) -> str:
    return str(value) if np.ndim(value) or not isinstance(value, float | np.floating) else f"{value:.4g}"


def explain_row(
    model: Any,
    row: Any,
    *,
    training: Any = None,
    attribution: Any = None,
    background: Any = None,
    target: Any = "predicted",
    output: Output = "margin",
    groups: Groups | None = None,
    feature_names: Sequence[str] | None = None,
    n_resamples: int = 20,
    n_neighbours: int = 5,
    random_state: Any = None,
) -> RowReport:
    """Explain one prediction in plain words, and look for reasons not to trust the explanation.

    For a decision about a single case. For many rows use `explain`.

    Parameters
    ----------
    model, attribution, background, target, output, groups, feature_names, random_state
        As in `explain`.
    row : DataFrame or array-like of one row
        As in ``X.iloc[[3]]`` or ``X[[3]]``.
    training : DataFrame or array-like, default=None
        Rows that the model was trained on, in the columns of the row. None: those that the estimator has kept.
    n_resamples : int, default=20
        Bootstrap samples of the background with which the row is explained again.
    n_neighbours : int, default=5
        Nearest training rows that are told.

    Returns
    -------
    RowReport

    Raises
    ------
    ValueError
        For several rows or outputs; training rows of other columns; and as in `explain`.

    Notes
    -----
    The background is part of the question: what is explained is the difference from it. If the largest column or a sign
    depends on which 100 rows happened to be drawn, it is no property of the prediction. All resamples use the same
    random numbers otherwise, so that they differ by the background only; what sampling adds is in the standard error.

    Cost: ``n_resamples + 1`` explanations of one row, and the distances of the row and of 1000 training rows from each
    other.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> import skexplain
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> net = MLPClassifier(max_iter=2000, random_state=0).fit(X, y)
    >>> report = skexplain.explain_row(net, X.iloc[[0]], background=X, training=X, random_state=0)
    >>> int(report.neighbours.index[0]), report.neighbours.far
    (0, False)
    >>> odd = X.iloc[[0]] * -10
    >>> report = skexplain.explain_row(net, odd, background=X, training=X, random_state=0)
    >>> report.cautions[0][:40]
    'The row is unlike the 150 training rows:'
    """
    several = is_several(row)
    n = len(Inputs.of(row).table(row)) if several else row.shape[0] if hasattr(row, "shape") else len(row)
    if n != 1 or not (several or np.ndim(row) >= 2):
        raise ValueError(
            f"row has {f'{n} rows' if several else f'the shape {np.shape(row)}'}; pass one row with two dimensions, "
            "such as X.iloc[[0]] or X[[0]]."
        )
    check_scalar(n_resamples, "n_resamples", Integral, min_val=1)
    check_scalar(n_neighbours, "n_neighbours", Integral, min_val=1)
    seed = seed_of(model, random_state)
    common: dict[str, Any] = {"output": output, "groups": groups, "feature_names": feature_names, "random_state": seed}
    exp = explain(model, row, attribution=attribution, background=background, target=target, **common)
    assert isinstance(exp, Explanation)  # a text has one dimension, and was refused
    if exp.values.ndim == 3:
        raise ValueError(
            f"target={target!r} means {exp.values.shape[2]} outputs; pass the label or index of one as target."
        )
    s = subject_of(model, row, None, attribution, background, **common)
    rng = np.random.default_rng(seed)
    m = len(s.background)
    resampled = np.empty((0, exp.values.shape[1]))
    if m >= MIN_BACKGROUND:
        draws = rng.integers(m, size=(n_resamples, m))
        resampled = np.concatenate([attributions_of(replace(s, background=s.background[d]), target) for d in draws])
    known = training_of(model, row, training)
    near = None if known is None else neighbours(known, n_neighbours, rng)
    return RowReport(exp, resampled, m, near)
