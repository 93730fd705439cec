"""Results as files that hold no code."""

from __future__ import annotations

from typing import Any

from ._archive import opened, write
from ._encoding import Reader, Writer
from ._files import written
from ._kinds import KINDS, own_names


def save_result(result: Any, path: Any) -> None:
    """Write an `Importances` or an `Explanation`; see there."""
    writer = Writer(KINDS, own_names())
    ((kind, content),) = writer.plain(result, "result").items()
    with written(path) as temporary:
        write(temporary, kind, content, writer.arrays, writer.blobs)


def load_result(kind: str, path: Any) -> Any:
    """Read an `Importances` or an `Explanation`; see there."""
    with opened(path, [kind]) as archive:
        reader = Reader(archive.array, archive.blob, KINDS, own_names())
        return reader.value({kind: archive.content})
