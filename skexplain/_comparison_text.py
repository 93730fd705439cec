"""A Comparison as text and as HTML: scores on top, columns ranked, correlations below."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np

from ._result_text import text_table

if TYPE_CHECKING:
    from .comparison import Comparison

#: Columns of the data that are listed.
MOST = 10
TITLES = {
    "importances": "Own importances (share)",
    "permutation": "Permutation importance (fall of {scoring}, held-out rows)",
}

Rows = list[tuple[str, ...]]


def comparison_text(c: Comparison) -> str:
    """What ``print`` shows."""
    lines = [caption(c)]
    for title, rows in sections(c):
        lines += ["", title, *text_table(rows)]
    lines += notes(c)
    return "\n".join(lines)


def comparison_html(c: Comparison) -> str:
    """What a notebook shows."""
    return tables_html(caption(c), sections(c)) + "".join(f"<p>{html.escape(note)}</p>" for note in notes(c))


def tables_html(caption: str, sections: list[tuple[str, Rows]]) -> str:
    """A line, and tables with titles."""
    parts = [f"<p>{html.escape(caption)}</p>"]
    for title, (head, *rows) in sections:
        cells = "".join(f"<th>{html.escape(h)}</th>" for h in head)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(v)}</td>" for v in row) + "</tr>" for row in rows)
        parts.append(f"<table><caption>{html.escape(title)}</caption><tr>{cells}</tr>{body}</table>")
    return "".join(parts)


def notes(c: Comparison) -> list[str]:
    """A sentence on each model that has one."""
    without = [model for model, own in zip(c.models, c.importances, strict=True) if np.isnan(own).any()]
    return [f"{model}: {'no own importances, ' * (str(model) in without)}{note}" for model, note in c.notes.items()]


def caption(c: Comparison) -> str:
    n_models, folds = c.scores.shape
    models = f"{n_models} model" + "s" * (n_models > 1)
    return f"Comparison of {models}: {c.n_rows} rows, {len(c.names)} columns, {folds} folds, seed {c.random_state}"


def sections(c: Comparison) -> list[tuple[str, Rows]]:
    """Titles and tables, the first row of each the head."""
    mean, interval = c.mean("scores"), c.score_intervals
    scores: Rows = [
        ("", *c.models),
        (c.scoring, *(f"{m:.3f}" for m in mean)),
        ("95 % interval", *(f"{low:.3f} to {high:.3f}" for low, high in interval)),
    ]
    result = [("Score on held-out rows (mean over folds)", scores)]
    for kind, title in TITLES.items():
        values, error = c.mean(kind), c.error(kind)
        shown = [i for i in range(len(c.models)) if not np.isnan(values[i]).any()]
        rows: Rows = [("", *(c.models[i] for i in shown))]
        rows += [(c.names[j], *(_cell(values[i, j], error[i, j]) for i in shown)) for j in c.ranking[:MOST]]
        if len(c.names) > MOST:
            rows.append((f"and {len(c.names) - MOST} more", *("" for _ in shown)))
        if shown:
            result.append((title.format(scoring=c.scoring), rows))
    if c.correlations:
        k = c.correlations[0].k
        rows = [("", "Spearman", "95 % interval", "Kendall", "95 % interval", f"top {k} shared")]
        for r in c.correlations:
            (a, b), (d, e) = r.spearman_interval, r.kendall_interval
            what = f"{r.first} ~ {r.second}, {'own' if r.kind == 'importances' else 'permutation'}"
            cells = f"{r.spearman:.2f}", f"{a:.2f} to {b:.2f}", f"{r.kendall:.2f}", f"{d:.2f} to {e:.2f}"
            rows.append((what, *cells, f"{r.overlap} of {k}"))
        result.append(("Agreement on the order of the columns (rank correlation)", rows))
    return result


def _cell(value: float, error: float) -> str:
    return f"{value:z.3f}" if np.isnan(error) else f"{value:z.3f} ± {error:.3f}"
