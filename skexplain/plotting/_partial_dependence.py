"""How a prediction moves with a column: partial dependence and single rows, through scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_regressor
from sklearn.inspection import PartialDependenceDisplay

from .._columns import column_names, evenly, rows_of
from ._canvas import MOST_LEVELS, PALETTE, UP, check_display, label, new_figure, save

#: Rows that the mean is taken over, lines of single rows, points on a line.
ROWS, LINES, POINTS = 500, 30, 40


def partial_dependence(
    model: Any,
    X: Any,
    columns: Sequence[str | int] | None = None,
    *,
    axes: Any = None,
    target: Any = None,
    single_rows: bool = True,
    max_display: int = 4,
    path: Any = None,
) -> NDArray:
    """How the prediction moves when a column is set to other values: in the mean, and for single rows.

    Through `sklearn.inspection.PartialDependenceDisplay`. Where columns are correlated, rows are made up that do not
    exist: read the ends with care. The ticks below a panel are deciles of the column.

    Parameters
    ----------
    model : fitted estimator
        A classifier or regressor of scikit-learn's kind; of a raw network make one by `from_fitted`.
    X : array-like or DataFrame of shape (n, n_columns)
        At most 500 of its rows, at equal distances, are used; those without a value in one of the columns are not.
    columns : sequence of str or int, default=None
        None: the most important by the model's ``feature_importances_``.
    axes : sequence of Axes, default=None
        One for each column. None: a new figure.
    target : label, default=None
        Class whose probability is drawn. None: of two classes the second, of more the one that is predicted most often.
    single_rows : bool, default=True
        Draw 30 single rows too, as thin lines (individual conditional expectation): where these are not parallel, other
        columns have a say.
    max_display : int, default=4
        Columns that are drawn if none are named.
    path : str or Path, default=None
        Where to write the picture.

    Returns
    -------
    ndarray of Axes of shape (n_columns,)

    Raises
    ------
    TypeError
        For a model that is no estimator.
    ValueError
        For a column or class that does not exist, and a column of more than 20 words.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.neural_network import MLPRegressor
    >>> import skexplain
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> net = MLPRegressor(solver="lbfgs", max_iter=20, random_state=0, tol=10).fit(X, y)
    >>> skexplain.plotting.partial_dependence(net, X, ["bmi", "s5"]).shape
    (2,)
    """
    check_display(max_display)
    if not hasattr(model, "__sklearn_tags__") or not (is_classifier(model) or is_regressor(model)):
        raise TypeError(
            f"A {type(model).__name__} is no estimator that scikit-learn can ask; make one by "
            "skexplain.from_fitted(model, X, y)."
        )
    X = X if hasattr(X, "iloc") else np.asarray(X)
    names = column_names(X, None, model, X.shape[1])
    chosen = _chosen(columns, model, names, max_display)
    known = np.flatnonzero(np.all([_known(X, j) for j in chosen], axis=0))
    if not len(known):
        raise ValueError(f"Every row lacks a value in one of {[names[j] for j in chosen]!r}; draw them one by one.")
    # whole numbers would be cut to whole numbers on the grid
    rows = _as_floats(rows_of(X, known[evenly(len(known), ROWS)]))
    categorical: list[int] = [j for j in chosen if not _is_numeric(rows, j)]
    for j in categorical:
        n_levels = len({str(value) for value in (rows.iloc[:, j] if hasattr(rows, "iloc") else rows[:, j])})
        if n_levels > MOST_LEVELS:
            raise ValueError(f"Column {names[j]!r} has {n_levels} levels; at most {MOST_LEVELS} can be drawn.")
    kwargs, of = _class(model, rows, target) if is_classifier(model) else ({}, "prediction")
    if axes is None:
        across = min(len(chosen), 4)
        down = -(-len(chosen) // across)
        figure = new_figure((1 + 2.6 * across, 0.4 + 2.6 * down), path)
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for spare in panels[len(chosen) :]:
            spare.set_visible(False)
        panels = panels[: len(chosen)]
    else:
        panels = np.ravel(np.asarray(axes, dtype=object))
    if len(panels) != len(chosen):
        raise ValueError(f"axes has {len(panels)} Axes for {len(chosen)} columns; pass one for each.")
    kinds = ["both" if single_rows and j not in categorical else "average" for j in chosen]
    PartialDependenceDisplay.from_estimator(
        model,
        rows,
        chosen,
        feature_names=names,
        categorical_features=categorical or None,
        kind=kinds,
        subsample=min(LINES, len(rows)),
        grid_resolution=POINTS,
        random_state=0,
        ax=panels,
        ice_lines_kw={"color": PALETTE[0], "alpha": 0.25, "linewidth": 0.7},
        pd_line_kw={"color": UP, "linewidth": 2.2, "linestyle": "-"},
        **kwargs,
    )
    for ax, j in zip(panels, chosen, strict=True):
        ax.set_xlabel(label(names[j]))
        if ax.get_legend() is not None:
            ax.get_legend().remove()
        if j not in categorical:
            ax.locator_params(axis="x", nbins=4)
        for bar in ax.patches:
            bar.set_facecolor(PALETTE[0])
        ax.set_ylabel("")
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        ax.set_axisbelow(True)
    panels[0].set_ylabel(of)
    save(panels[0].figure, path)
    return panels


def _chosen(columns: Any, model: Any, names: list[str], max_display: int) -> list[int]:
    """Positions of the columns."""
    if columns is None:
        shares = getattr(model, "feature_importances_", None)
        if shares is None or len(shares) != len(names):
            raise ValueError(
                f"A {type(model).__name__} does not say which columns are important; pass columns=, such as "
                f"{names[:2]!r}."
            )
        return list(np.argsort(-np.asarray(shares), kind="stable")[:max_display])
    position = {name: j for j, name in enumerate(names)}
    chosen = []
    for column in columns:
        j = position.get(column, -1) if isinstance(column, str) else int(column)
        if not 0 <= j < len(names):
            few = ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")
            raise ValueError(f"columns contains {column!r}, which does not exist; the columns are {few}.")
        chosen.append(j)
    if not chosen:
        raise ValueError("columns is empty; name at least one.")
    return chosen


def _class(model: Any, rows: Any, target: Any) -> tuple[dict[str, Any], str]:
    """The class to draw, as scikit-learn is told of it, and what that is called."""
    classes = list(model.classes_)
    if target is None:
        predicted = list(model.predict(rows))
        target = classes[1] if len(classes) == 2 else max(classes, key=predicted.count)
    if target not in classes:
        raise ValueError(f"target={target!r} does not exist; classes are {classes}.")
    proba = hasattr(model, "predict_proba")
    kwargs = {"target": target} if len(classes) > 2 else {}
    if len(classes) == 2 and target == classes[0]:
        raise ValueError(f"target={target!r} mirrors {classes[1]!r}, which is what can be drawn of two classes.")
    return kwargs, f"{'probability' if proba else 'decision'} of {label(str(target), 16)}"


def _known(X: Any, j: int) -> NDArray:
    """Rows that have a value in a column."""
    column = np.asarray(X.iloc[:, j] if hasattr(X, "iloc") else X[:, j])
    return np.array([value is not None and value == value for value in column.tolist()], dtype=bool)


def _is_numeric(rows: Any, j: int) -> bool:
    kind = rows.iloc[:, j].dtype.kind if hasattr(rows, "iloc") else rows.dtype.kind
    return kind in "biuf"


def _as_floats(rows: Any) -> Any:
    if not hasattr(rows, "iloc"):
        return rows.astype(float) if rows.dtype.kind in "iu" else rows
    whole = [c for c, dtype in zip(rows.columns, rows.dtypes, strict=True) if dtype.kind in "iu"]
    return rows.astype(dict.fromkeys(whole, float))
