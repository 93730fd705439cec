"""What a page is made of: tables, pictures, and parts that may be missing for a reason."""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..exceptions import CompletenessError, UnsupportedModelError

#: What a part may raise that cannot be had for this model.
REFUSALS = (ValueError, TypeError, CompletenessError, UnsupportedModelError)
#: Most lines of a table, and what is 0 but for rounding.
LINES, ROUNDING = 200, 1e-12


@dataclass
class Table:
    """A table; numbers are written short, and sorted as they are.

    Attributes
    ----------
    caption : str
    head : sequence of str
    rows : list of sequences
        Of texts and numbers.
    sortable : bool
    more : int
        Rows left out.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    sortable: bool = False
    more: int = 0

    def __post_init__(self) -> None:
        self.more += max(0, len(self.rows) - LINES)
        self.rows = self.rows[:LINES]

    @property
    def cells(self) -> list[list[tuple[str, float | None]]]:
        """Text of each cell, and the number in it if it is one."""
        return [[(written(v), float(v) if _is_number(v) else None) for v in row] for row in self.rows]


@dataclass
class Picture:
    """A picture in the page itself, what it shows in words, and the numbers behind it."""

    source: str
    alt: str
    tables: list[Table] = field(default_factory=list)


@dataclass
class Part:
    """A part of the page under a heading.

    Attributes
    ----------
    title : str
    anchor : str
        By which it is linked to.
    text : list of str
        Paragraphs.
    pictures, tables : list
    steps : list of Part
        Shown one at a time.
    parts : list of Part
        One level below.
    """

    title: str
    anchor: str
    text: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    steps: list[Part] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)


def or_reason(title: str, anchor: str, make: Callable[[], Part]) -> Part:
    """A part, or why it cannot be had: what is refused for one model is no reason to lose the page."""
    try:
        return make()
    except REFUSALS as exc:
        return Part(title, anchor, text=[f"Not shown: {' '.join(str(exc).split())}"])


def picture(draw: Callable[[Path], Any], alt: str, tables: Sequence[Table] = ()) -> Picture:
    """What ``draw(path)`` writes, as a data URI.

    In an ``<img>``, where no script of an SVG is ever run, whatever a column is called.
    """
    import matplotlib as mpl

    with tempfile.TemporaryDirectory() as folder, mpl.rc_context({"svg.hashsalt": "skexplain"}):
        path = Path(folder) / "picture.svg"
        draw(path)
        text = path.read_text(encoding="utf-8")
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)  # the same page from the same data
    encoded = base64.b64encode(text.encode()).decode()
    return Picture(f"data:image/svg+xml;base64,{encoded}", alt, list(tables))


def written(value: Any) -> str:
    """A number with four digits, anything else as it is."""
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:d}"
    if isinstance(value, float | np.floating):
        value = float(value)
        return "" if np.isnan(value) else "0" if abs(value) < ROUNDING else f"{value:.4g}"
    return str(value)


def listed(names: Sequence[Any], most: int = 3) -> str:
    """The first few in quotes, and how many more there are."""
    few = ", ".join(f"“{name}”" for name in names[:most])
    return few + (f" and {len(names) - most} more" if len(names) > most else "")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool) and value == value
