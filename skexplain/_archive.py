"""One file of this library: a zip archive of JSON, NumPy arrays and weights, written whole or not at all."""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

#: Of the file format; a reader refuses a later one.
VERSION = 1
CONTENT = "skexplain.json"
#: Members that there may be. No member is ever written to the disk under its name.
MEMBER = re.compile(r"skexplain\.json|arrays/\d+\.npy|weights\.safetensors|(model|parameter)\.keras")
#: What members may expand to: times the size of the file, and bytes that are no harm.
EXPANSION, HARMLESS = 100, 2**26


class UnreadableError(ValueError):
    """The file is not what it should be, in one sentence that names it."""


def write(path: Any, kind: str, content: Any, arrays: Sequence[NDArray], blobs: Mapping[str, bytes]) -> None:
    """Write an archive.

    Parameters
    ----------
    path : str or Path
    kind : str
        What it holds.
    content : object
        That `json` can write.
    arrays : sequence of ndarray
        Without objects.
    blobs : dict of str to bytes
        Name of a member -> what is in it.
    """
    from . import __version__

    head = {"format": VERSION, "skexplain": __version__, "kind": kind, "content": content}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(CONTENT, json.dumps(head, allow_nan=False), compress_type=zipfile.ZIP_DEFLATED)
        for k, array in enumerate(arrays):
            with archive.open(f"arrays/{k}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        for name, data in blobs.items():
            archive.writestr(name, data)


class Archive:
    """An archive that was opened, and whose members are those that there may be.

    Attributes
    ----------
    kind : str
    content : object
    """

    def __init__(self, file: BinaryIO, path: Any) -> None:
        self._zip = zipfile.ZipFile(file)
        members = self._zip.infolist()
        names = [member.filename for member in members]
        strange = [f"holds {name!r}" for name in names if not MEMBER.fullmatch(name)]
        strange += [f"lacks {CONTENT}"] * (CONTENT not in names) + ["holds a name twice"] * (
            len(set(names)) < len(names)
        )
        if strange:
            raise UnreadableError(f"{path} is not a file that skexplain wrote: it {strange[0]}.")
        size = file.seek(0, io.SEEK_END)
        declared = sum(member.file_size for member in members)
        if declared > max(HARMLESS, EXPANSION * size):
            raise UnreadableError(f"{path} has {size} bytes and claims to hold {declared}; it is not read.")
        head = json.loads(self.blob(CONTENT))
        if head["format"] != VERSION:
            raise UnreadableError(
                f"{path} has the format {head['format']} of skexplain {head['skexplain']}, and this version reads "
                f"{VERSION}; install the version that wrote it, or a later one."
            )
        self.kind, self.content = head["kind"], head["content"]

    def blob(self, name: str) -> bytes:
        """What is in a member; `zipfile` compares it with its checksum."""
        return self._zip.read(name)

    def array(self, k: int) -> NDArray:
        """An array, of the size that its member has, whatever its header claims."""
        data = self.blob(f"arrays/{int(k)}.npy")
        file = io.BytesIO(data)
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
        if math.prod(shape) * dtype.itemsize != len(data) - file.tell():
            raise ValueError(f"array {k} claims the shape {shape}")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


@contextmanager
def opened(path: Any, kinds: Sequence[str]) -> Iterator[Archive]:
    """An archive of one of these kinds; whatever goes wrong while it is read is one sentence.

    Raises
    ------
    UnreadableError
        A ValueError that names the file.
    OSError
        When it cannot be opened.
    """
    path = Path(path)
    with open(path, "rb") as file:
        try:
            archive = Archive(file, path)
            if archive.kind not in kinds:
                raise UnreadableError(f"{path} holds {archive.kind!r}, not {' or '.join(map(repr, kinds))}.")
            yield archive
        except (UnreadableError, ImportError):  # which says what to install
            raise
        except Exception as exc:  # bytes can be wrong in more ways than can be listed
            why = next(iter(str(exc).splitlines()), "").rstrip(".")
            raise UnreadableError(
                f"{path} is damaged, or not a file that skexplain wrote, or what it names has changed "
                f"({type(exc).__name__}: {why})."
            ) from exc
