"""Files that are written under another name until they are whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written(path: Any, suffix: str = "") -> Iterator[str]:
    """A new file beside ``path``, which takes its place if the block ends well, and else goes."""
    temporary = unfinished(path, suffix)
    try:
        yield temporary
        finished(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def unfinished(path: Any, suffix: str = "") -> str:
    """A new, empty file beside ``path``, to be written and then handed to `finished`."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=suffix or path.suffix)
    os.close(handle)
    return temporary


def finished(temporary: str, path: Any) -> None:
    """Give the file its name, and the rights of any new file."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(temporary, 0o666 & ~mask)
    os.replace(temporary, path)
