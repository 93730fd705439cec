"""``text_explanation.plot``: coloured words as HTML, and a map of them."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._files import written
from ._canvas import DOWN, UP, check_display, label, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..text import TextExplanation

#: Width of a word of the map, and height of a text, in inches; and the most letters of a word that is written out.
CELL, LETTERS = (0.85, 0.42), 11
STYLE = (
    "font:15px/2 system-ui,sans-serif;color:#000;background:#fff;padding:.4em .6em;margin:0 0 .4em;"
    "border-bottom:1px solid #ddd;overflow-wrap:anywhere"
)


class Markup(str):
    """HTML that a notebook shows as such."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)


class TextPlot:
    """Pictures of `skexplain.text.TextExplanation`.

    Parameters
    ----------
    explanation : TextExplanation
    """

    def __init__(self, explanation: TextExplanation) -> None:
        self._explanation = explanation

    def text(self, *, words: bool = True, output: Any = None, path: Any = None) -> Markup:
        """The texts with their words coloured: orange raises the output, blue lowers it.

        All texts share one scale; a word's value is shown where the mouse rests on it.

        Parameters
        ----------
        words : bool, default=True
            False: by tokens.
        output : label, default=None
            Which output, if all were explained. None: the largest.
        path : str or Path, default=None
            Where to write it, as a page by itself.

        Returns
        -------
        Markup
            A str of HTML, that a notebook shows.
        """
        exp = self._shown(words)
        values, titles = self._one(exp, output)
        top = _largest(values)
        signed = getattr(exp.strategy, "signed", True)
        parts = [
            f'<div style="{STYLE}"><small style="color:#555">{html.escape(title)}</small><br>'
            f"{_coloured(exp, i, v, top)}</div>"
            for i, (v, title) in enumerate(zip(values, titles, strict=True))
        ]
        made = Markup(f"<div>{_legend(top, signed)}{''.join(parts)}</div>")
        if path is not None:
            _write(made, path)
        return made

    def heat_map(
        self,
        ax: Axes | None = None,
        *,
        words: bool = True,
        output: Any = None,
        max_display: int = 20,
        path: Any = None,
    ) -> Axes:
        """A row a text, with its words one after the other in the colours of their values.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw. None: a new figure.
        words, output
            As in `text`.
        max_display : int, default=20
            Words of a text, from its beginning, and texts.
        path : str or Path, default=None
            Where to write the picture.

        Returns
        -------
        Axes
        """
        check_display(max_display)
        exp = self._shown(words)[:max_display]
        values, titles = self._one(exp, output)
        widths = [min(len(v), max_display) for v in values]
        grid = np.full((len(values), max(widths)), np.nan)
        for i, v in enumerate(values):
            grid[i, : widths[i]] = v[: widths[i]]
        n, d = grid.shape
        if ax is None:
            ax = new_figure((1.8 + CELL[0] * d + 1.2, 0.9 + CELL[1] * n), path).add_subplot()
        top = _largest([grid[np.isfinite(grid)]])
        from matplotlib.colors import LinearSegmentedColormap

        signed = getattr(exp.strategy, "signed", True)
        colours = [DOWN, "#ffffff", UP] if signed else ["#ffffff", UP]
        scale = LinearSegmentedColormap.from_list("attribution", colours)
        picture = ax.imshow(grid, cmap=scale, vmin=-top if signed else 0, vmax=top, aspect="auto")
        for i, tokens in enumerate(exp.tokens):
            for j, token in enumerate(tokens[: widths[i]]):
                ink = "white" if _is_dark(_mixed(grid[i, j] / top, 1.0)) else "black"
                ax.text(j, i, label(token, LETTERS), ha="center", va="center", fontsize="small", color=ink)
            if len(tokens) > widths[i]:
                ax.text(widths[i] - 0.45, i, "…", ha="left", va="center", fontsize="small")
        ax.set_yticks(range(n), [label(title, 24) for title in titles], fontsize="small")
        ax.set_xticks([])
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        ax.set_title(
            f"{type(exp.strategy).__name__}, {n} of {len(self._explanation)} texts", fontsize="medium", loc="left"
        )
        what = "prediction" if exp.outputs is None else exp.output
        ax.figure.colorbar(picture, ax=ax, label=f"attribution to the {what}")
        save(ax.figure, path)
        return ax

    def _shown(self, words: bool) -> TextExplanation:
        return self._explanation.words() if words else self._explanation

    def _one(self, exp: TextExplanation, output: Any) -> tuple[list[NDArray], list[str]]:
        """Values of one output, and what is said of each text."""
        what = "prediction" if exp.outputs is None else exp.output
        if exp.predictions.ndim == 1:
            if output is not None:
                raise ValueError(f"output={output!r}, but one output a text was explained; explain with target='all'.")
            of = [""] * len(exp) if exp.target is None or exp.outputs is None else [f" of {t}" for t in exp.target]
            titles = [f"{what}{t}: {p:.3g}" for t, p in zip(of, exp.predictions, strict=True)]
            return list(exp.values), titles
        labels = list(range(exp.predictions.shape[1])) if exp.outputs is None else list(exp.outputs)
        if output is not None and output not in labels:
            raise ValueError(f"output={output!r} does not exist; outputs are {labels}.")
        which = exp.predictions.argmax(axis=1) if output is None else np.full(len(exp), labels.index(output))
        titles = [f"{what} of {labels[k]}: {exp.predictions[i, k]:.3g}" for i, k in enumerate(which)]
        return [v[:, k] for v, k in zip(exp.values, which, strict=True)], titles


def _largest(values: list[NDArray]) -> float:
    return max((float(np.abs(v).max(initial=0)) for v in values), default=0.0) or 1.0


def _coloured(exp: TextExplanation, i: int, values: NDArray, top: float) -> str:
    pieces, tokens = exp.pieces[i], exp.tokens[i]
    ends = _ends(exp, i)
    parts, at = [], 0
    for token, value, (start, stop) in zip(tokens, values, ends, strict=True):
        if exp.joined and start >= at:
            parts.append(html.escape(pieces.text[at:start]))
            token, at = pieces.text[start:stop], stop
        elif parts:
            parts.append(" ")
        parts.append(_span(token, value, top))
    if exp.joined and at:
        parts.append(html.escape(pieces.text[at:]))
    return "".join(parts)


def _ends(exp: TextExplanation, i: int) -> NDArray:
    """Where each token, or word, begins and ends."""
    pieces = exp.pieces[i]
    if not exp.joined:
        return pieces.spans
    starts = np.searchsorted(pieces.word, np.arange(len(pieces.words)))
    stops = np.append(starts[1:], len(pieces.word))
    return np.stack([pieces.spans[starts, 0], pieces.spans[stops - 1, 1]], axis=1)


def _span(token: str, value: float, top: float) -> str:
    colour = _mixed(value / top)
    ink = "#fff" if _is_dark(colour) else "#000"
    back = "#" + "".join(f"{round(255 * c):02x}" for c in colour)
    return (
        f'<span title="{value:+.3g}" style="background:{back};color:{ink};border-radius:3px;padding:1px 2px">'
        f"{html.escape(token)}</span>"
    )


def _mixed(share: float, most: float = 0.9) -> tuple[float, ...]:
    """White, with as much of the colour of its sign as the share says."""
    colour = UP if share > 0 else DOWN
    a = most * min(abs(share), 1.0)
    return tuple(1 - a + a * int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))


def _is_dark(colour: tuple[float, ...]) -> bool:
    """Whether white letters are read better on it than black ones."""
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b < 0.179  # WCAG: where both contrasts are the same


def _legend(top: float, signed: bool) -> str:
    marks = (
        [(-top, f"{-top:.3g} lowers the output"), (top, f"+{top:.3g} raises it")] if signed else [(top, f"{top:.3g}")]
    )
    shown = " ".join(_span(text, value, top) for value, text in marks)
    return f'<div style="{STYLE};border:0">{shown}</div>'


def _write(made: str, path: Any) -> None:
    """As a page, under another name first."""
    head = '<head><meta charset="utf-8"><title>Explained texts</title></head>'
    page = f"<!DOCTYPE html>\n<html>{head}<body>{made}</body></html>\n"
    with written(path, ".html") as temporary:
        Path(temporary).write_text(page, encoding="utf-8")
