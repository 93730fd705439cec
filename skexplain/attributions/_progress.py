"""A bar for what takes long, where tqdm is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Seconds before a bar appears: most work is done by then.
DELAY = 3


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[int], object]]:
    """Give a function that is told how many of ``total`` units have been done since it was last called.

    Nothing is shown where tqdm is missing, where standard error is no terminal, or where the work is short.

    Examples
    --------
    >>> with progress(10, "counting") as advance:
    ...     for _ in range(10):
    ...         _ = advance(1)
    """
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda done: None
        return
    with tqdm(total=total, desc=what, delay=DELAY, disable=None, leave=False) as bar:
        yield bar.update
