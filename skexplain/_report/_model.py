"""The chapter on one model: what it uses, in the mean and for single rows, and how it came to that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from .._columns import evenly, rows_of
from .._estimator import spread_rows
from .._explain import importances
from .._neighbours import Neighbours
from .._subject import BACKGROUND_ROWS, is_network
from .._wrap import unnested
from ..attributions import Permutation, get_attribution
from ..explanation import Explanation, Importances
from ..methods import MethodComparison, compare_methods, relative_error
from ..plotting import partial_dependence
from ..plotting._canvas import MOST_LEVELS, one_axes, save
from ..row_report import RowReport, explain_row
from ._data import Data, telling_rows
from ._learning import learning
from ._parts import REFUSALS, Part, Picture, Table, listed, or_reason, picture, written

#: Rows that importances are computed from, and strategies are compared on; columns in pictures; of single rows.
ROWS, METHOD_ROWS, SHOWN, STEP = 1000, 200, 15, 10
#: Backgrounds with which a single row is explained again.
RESAMPLES = 10
#: Strategies that ask different questions, and take seconds.
METHODS = ("expected_gradients", "deepshap", "input_x_gradient", "saliency", "ablation", "permutation")
#: For models that are no networks.
OUTSIDE = ("ablation", "permutation")
#: Columns whose partial dependence is drawn, and most that are set side by side, by strategies or models.
TOP, WIDE = 4, 500


@dataclass
class Chapter:
    """A model, its importances, and the parts of its chapter; ``methods`` is None where strategies were not "
    "compared."""

    name: str
    model: Any
    importances: Importances
    background: Any
    methods: MethodComparison | None = None
    training: Any = None

    @property
    def network(self) -> bool:
        return is_network(last_of(self.model))


def last_of(model: Any) -> Any:
    model = unnested(model)
    return model[-1] if isinstance(model, Pipeline) else model


def check_width(data: Data) -> None:
    """Refuse what looks at each column anew, or at each pair of them."""
    if len(data.names) > WIDE:
        raise ValueError(f"there are {len(data.names)} columns, and at most {WIDE} are compared here.")


def measure(name: str, model: Any, data: Data, attribution: Any, seed: int) -> Chapter:
    """Importances on at most 1000 of the rows."""
    network = is_network(last_of(model))
    if attribution is None:
        attribution = getattr(last_of(model), "attribution", None) if network else Permutation()
    rows = spread_rows(data.y, ROWS, np.random.default_rng(seed))
    known = getattr(model, "_kept_background", None) is not None or getattr(model, "_known_rows", None) is not None
    background = None if known else rows_of(data.X, evenly(len(data.y), BACKGROUND_ROWS))
    found = importances(
        model,
        rows_of(data.X, rows),
        data.y[rows],
        attribution=attribution,
        background=background,
        feature_names=data.names,
        random_state=seed,
    )
    return Chapter(name, model, found, background)


def write_chapter(chapter: Chapter, data: Data, methods: Any, n_rows: int, seed: int, number: int) -> Part:
    """All parts on one model."""
    a = f"model-{number}"
    parts = [
        _importances(chapter, f"{a}-importances"),
        or_reason(
            "Do strategies agree?", f"{a}-methods", lambda: _methods(chapter, data, methods, f"{a}-methods", seed)
        ),
        or_reason("Partial dependence", f"{a}-dependence", lambda: _dependence(chapter, data, f"{a}-dependence")),
        or_reason("Single predictions", f"{a}-rows", lambda: _rows(chapter, data, n_rows, f"{a}-rows", seed)),
        *learning(last_of(chapter.model), f"{a}-learning"),
    ]
    kind = type(last_of(chapter.model)).__name__
    return Part(chapter.name, a, [f"A {kind}."] if kind != chapter.name else [], parts=parts)


def _importances(chapter: Chapter, anchor: str) -> Part:
    imp = chapter.importances
    low, high = imp.interval()
    local = getattr(imp.strategy, "local", hasattr(imp.strategy, "attribute"))
    head = ["rank", "column", "share", "value", "from", "to", "signed mean" if local else "as measured"]
    lines = [
        (k, imp.names[j], imp.normalized[j], imp.values[j], low[j], high[j], imp.signed[j])
        for k, j in enumerate(imp.ranking, 1)
    ]
    table = Table("Importances; from and to: the 95 % interval of the value", head, lines, sortable=True)
    top = listed([imp.names[j] for j in imp.ranking])
    what = (
        f"How far each column moves the output, in the mean over {imp.n_rows} rows (the mean size of what "
        f"{imp.strategy} "
        "attributes to it)."
        if local
        else f"How much worse the model predicts {imp.n_rows} rows when a column is shuffled, by {imp.strategy}."
    )
    unit = f" The output is the {imp.output} of the class predicted." if local and imp.per_class else ""
    drawn = picture(
        lambda path: imp.plot.bar(max_display=SHOWN, path=path),
        f"Bars of the importances, the largest first: {top}. The numbers are in the table below.",
    )
    return Part("Importances", anchor, [what + unit], [drawn], [table])


def _methods(chapter: Chapter, data: Data, methods: Any, anchor: str, seed: int) -> Part:
    if methods is None:
        return Part("Do strategies agree?", anchor, ["Not asked for (methods=None)."])
    check_width(data)
    default = METHODS if chapter.network else OUTSIDE
    result = chapter.methods = compare_methods(
        chapter.model,
        data.X,
        data.y,
        methods=default if isinstance(methods, str) and methods == "default" else methods,
        background=chapter.background,
        feature_names=data.names,
        max_rows=METHOD_ROWS,
        random_state=seed,
    )
    text = [
        f"Several strategies on the same {result.n_rows} rows. They ask different questions, so they may disagree "
        "and all "
        "be right; where most put a column among the first, it is there whichever way one asks."
    ]
    head = ["column", "mean rank", *result.methods]
    shares = Table(
        "Shares by each strategy; mean rank: over what the strategies measure, 1 the most important",
        head,
        [(result.names[j], result.consensus[j], *result.shares[:, j]) for j in result.ranking],
        sortable=True,
    )
    cost = Table(
        "Strategies",
        ["strategy", "measures", "error of all values together", "completeness gap"],
        [(m, result.families[m], relative_error(r), r.gap) for m, r in result.results.items()],
    )
    tables = [shares, cost]
    if result.refused:
        tables.append(Table("Strategies that refused", ["strategy", "why"], list(result.refused.items())))
    pictures = []
    if len(result.methods) > 1:
        tau = Table(
            "Kendall's tau",
            ["", *result.methods],
            [(m, *row) for m, row in zip(result.methods, result.kendall, strict=True)],
        )
        least = np.nanmin(result.kendall) if np.isfinite(result.kendall).any() else np.nan
        alt = f"Heat map of the agreement of {len(result.methods)} strategies; the least tau is {written(least)}."
        pictures = [picture(lambda path: result.plot.agreement(path=path), alt, [tau])]
    return Part("Do strategies agree?", anchor, text, pictures, tables)


def _dependence(chapter: Chapter, data: Data, anchor: str) -> Part:
    imp = chapter.importances
    position = {name: j for j, name in enumerate(data.names)}
    known = [position[imp.names[j]] for j in imp.ranking if imp.names[j] in position]
    columns = [j for j in known[: 2 * TOP] if data.numbers(j) is not None or data.n_distinct(j) <= MOST_LEVELS][:TOP]
    tables: list[Table] = []

    def draw(path: Any) -> None:
        axes = partial_dependence(chapter.model, data.X, columns, path=path)
        for ax, j in zip(axes, columns, strict=True):
            if not ax.lines or data.numbers(j) is None:
                continue
            x, y = ax.lines[-1].get_data()
            some = np.unique(np.linspace(0, len(x) - 1, 9).astype(int))
            lines = [(float(x[k]), float(y[k])) for k in some]
            tables.append(Table(f"Mean prediction by {data.names[j]}", [data.names[j], axes[0].get_ylabel()], lines))

    names = [data.names[j] for j in columns]
    drawn = picture(draw, f"Curves of the mean prediction, and thin lines of 30 rows, over {listed(names, TOP)}.")
    drawn.tables = tables
    text = [
        "How the prediction moves when a column is set to other values: the thick line in the mean, thin lines "
        "for single "
        "rows. Where columns go together, the ends are rows that do not exist."
    ]
    return Part("Partial dependence", anchor, text, [drawn])


def _rows(chapter: Chapter, data: Data, n_rows: int, anchor: str, seed: int) -> Part:
    title = "Single predictions"
    if not chapter.network:
        return Part(title, anchor, ["Shown for networks, whose strategies explain single rows."])
    strategies = [chapter.importances.strategy, getattr(last_of(chapter.model), "attribution", None)]
    local = next((s for s in strategies if s is not None and _explains_rows(s)), "expected_gradients")
    steps = []
    for k, (i, why) in enumerate(telling_rows(chapter.model, data, n_rows), 1):
        found = explain_row(
            chapter.model,
            rows_of(data.X, np.array([i])),
            training=chapter.training,
            attribution=local,
            background=chapter.background,
            feature_names=data.names,
            n_resamples=RESAMPLES,
            random_state=seed,
        )
        text = [f"Row {i}, {why}; the truth is {written(data.y[i])}.", found.explanation.to_text(most=3)]
        text += found.cautions or ["Nothing was found that speaks against trusting this."]
        tables = [_row_table(found, data, i)]
        if found.neighbours is not None:
            tables.append(_neighbours_table(found.neighbours))
        steps.append(Part(f"Row {i}", f"{anchor}-{k}", text, [_row_picture(found.explanation, i)], tables))
    text = [
        f"{len(steps)} rows by {get_attribution(local)}, each compared with typical rows. Orange raises the output, "
        "blue lowers it."
    ]
    return Part(title, anchor, text, steps=steps)


def _row_picture(exp: Explanation, i: int) -> Picture:
    order = np.argsort(-np.abs(exp.values[0]), kind="stable")

    def draw(path: Any) -> None:
        ax = one_axes(None, path, min(len(order), STEP) + 2)
        exp.plot.row(0, ax, max_display=STEP)
        ax.set_title(ax.get_title(loc="left").replace("Row 0", f"Row {i}", 1), fontsize="medium", loc="left")
        save(ax.figure, path)

    names = listed([exp.names[j] for j in order])
    return picture(draw, f"Waterfall of row {i}; the largest attributions are those of {names}.")


def _row_table(found: RowReport, data: Data, i: int) -> Table:
    position = {name: j for j, name in enumerate(data.names)}
    order = np.argsort(-np.abs(found.values), kind="stable")
    names, lines = found.explanation.names, []
    for j in order[:STEP]:
        value = data.column(position[names[j]])[i] if names[j] in position else None
        lines.append((names[j], value, float(found.values[j]), float(found.spread[j])))
    head = ["column", "value", "attribution", "± over backgrounds"]
    return Table("Largest attributions", head, lines, more=len(order) - len(lines))


def _neighbours_table(near: Neighbours) -> Table:
    lines = [
        (str(label), near.distance[k], *([] if near.y is None else [near.y[k]])) for k, label in enumerate(near.index)
    ]
    head = ["row", "distance", *([] if near.y is None else ["target"])]
    return Table("Nearest training rows; distance in standard deviations a column", head, lines)


def _explains_rows(strategy: Any) -> bool:
    try:
        strategy = get_attribution(strategy)
    except REFUSALS:
        return False
    return bool(getattr(strategy, "local", hasattr(strategy, "attribute")))
