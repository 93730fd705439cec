"""Results as tables, in plain text and in HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Colours of what raises and of what lowers the output, as in the pictures.
UP, DOWN = "#D55E00", "#0072B2"
#: Pixels of the longest bar.
WIDTH = 100


def text_table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Left-align the first column, right-align the others."""
    width = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, width, strict=True))
        ).rstrip()
        for row in rows
    ]


def html_table(caption: str, rows: Sequence[tuple[str, ...]], sizes: NDArray, signed: bool = False) -> str:
    """The same in HTML, with bars; whatever the text is, it stays text.

    Parameters
    ----------
    caption : str
    rows : sequence of tuple of str
        The first has the headings.
    sizes : ndarray of shape (n_bars,)
        Lengths of the bars of the rows after the first; further rows have none.
    signed : bool
        Whether bars of numbers below 0 have another colour.
    """
    top = max(np.abs(sizes).max(initial=0), np.finfo(float).tiny)
    lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in (*rows[0], "")) + "</tr>"]
    for k, (name, *cells) in enumerate(rows[1:]):
        bar = ""
        if k < len(sizes):
            colour = UP if signed and sizes[k] > 0 else DOWN
            bar = f"<div style='background:{colour};height:0.8em;width:{WIDTH * abs(sizes[k]) / top:.1f}px'></div>"
        numbers = "".join(f"<td style='text-align:right'>{html.escape(cell)}</td>" for cell in cells)
        lines.append(f"<tr><td style='text-align:left'>{html.escape(name)}</td>{numbers}<td>{bar}</td></tr>")
    return f"<table><caption>{html.escape(caption)}</caption>{''.join(lines)}</table>"
