"""A MethodComparison as text and as HTML: what each strategy costs, the columns, agreement, cautions."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import numpy as np

from ._agreement import _tau_rho
from ._comparison_text import MOST, Rows, tables_html
from ._result_text import text_table
from .methods import measured, relative_error

if TYPE_CHECKING:
    from .methods import MethodComparison

#: Cautions that are written out.
CAUTIONS = 5
#: What a reason begins with that stands in front of it already.
SUBJECT = re.compile(r"^attribution=('\w+'|\w+\(.*?\)) ")


def methods_text(c: MethodComparison) -> str:
    """What ``print`` shows."""
    lines = [caption(c)]
    for title, rows in sections(c):
        lines += ["", title, *text_table(rows)]
    for title, sentences in lists(c):
        lines += ["", title, *(f"  {sentence}" for sentence in sentences)]
    return "\n".join(lines)


def methods_html(c: MethodComparison) -> str:
    """What a notebook shows."""
    parts = [tables_html(caption(c), sections(c))]
    for title, sentences in lists(c):
        items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
        parts.append(f"<p>{html.escape(title)}</p><ul>{items}</ul>")
    return "".join(parts)


def caption(c: MethodComparison) -> str:
    n = len(c.methods)
    return (
        f"Comparison of {n} strateg{'y' if n == 1 else 'ies'}: {c.n_rows} rows, {len(c.names)} columns, "
        f"output={c.output!r}, seed {c.random_state}"
    )


def sections(c: MethodComparison) -> list[tuple[str, Rows]]:
    """Titles and tables, the first row of each the head."""
    rows: Rows = [("", "measures", "seconds", "error", "gap", "tau")]
    for method, r in c.results.items():
        error = relative_error(r)
        with_consensus = _tau_rho(-c.consensus, measured(r))[1]
        rows.append(
            (
                method,
                c.families[method],
                f"{c.seconds[method]:.2f}",
                "" if np.isnan(error) else f"{100 * error:.1f} %",
                "" if r.gap is None else f"{r.gap:.1g}",
                "" if np.isnan(with_consensus) else f"{with_consensus:.2f}",
            )
        )
    title = "Strategies (error: of the values, together; gap: of completeness; tau: Kendall's, with the consensus)"
    result = [(title, rows)]
    families = list(dict.fromkeys(c.families.values()))
    members = [[k for k, m in enumerate(c.methods) if c.families[m] == f] for f in families]
    rows = [("", "mean rank", *families)]
    for j in c.ranking[:MOST]:
        rows.append((c.names[j], f"{c.consensus[j]:.1f}", *(f"{c.shares[k, j].mean():.3f}" for k in members)))
    if len(c.names) > MOST:
        rows.append((f"and {len(c.names) - MOST} more", "", *("" for _ in families)))
    result.append((f"Consensus (mean rank by {', '.join(c.voters)}) and mean share by what is measured", rows))
    if len(c.methods) > 1:
        tau = c.kendall
        rows = [("", *(str(k + 1) for k in range(len(tau))))]
        for k, method in enumerate(c.methods):
            cells = ("" if np.isnan(t) or i > k else f"{t:.2f}" for i, t in enumerate(tau[k]))
            rows.append((f"{k + 1} {method}", *cells))
        result.append(("Agreement on the order of the columns (Kendall's tau)", rows))
    return result


def lists(c: MethodComparison) -> list[tuple[str, list[str]]]:
    """Titles and sentences: what to be wary of, and which strategies refused."""
    result = []
    if c.cautions:
        shown = list(c.cautions[:CAUTIONS])
        if len(c.cautions) > CAUTIONS:
            shown.append(f"and {len(c.cautions) - CAUTIONS} more in .cautions")
        result.append(("Caution", shown))
    if c.refused:
        alike: dict[str, list[str]] = {}
        for method, why in c.refused.items():
            alike.setdefault(SUBJECT.sub("", why), []).append(method)
        result.append(("Refused", [f"{', '.join(methods)}: {why}" for why, methods in alike.items()]))
    return result
