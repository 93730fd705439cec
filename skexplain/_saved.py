"""Saved models for the command line, each read without running code of the file."""

from __future__ import annotations

import importlib
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._archive import CONTENT
from ._saving import load

#: Endings of files with the weights of a torch module.
WEIGHTS = (".pt", ".pth", ".bin", ".safetensors")


def read_model(path: Path, code: str | None = None, trusted: Sequence[str] = ()) -> Any:
    """The model in a file.

    Parameters
    ----------
    path : Path
        A file of `skexplain.save`, under any name; a ``.keras`` archive; weights of a torch module (a ``state_dict``);
        or an estimator in a ``.skops`` file.
    code : str, optional
        ``package.module:name``: what makes the torch module, when called without arguments; or a class or function that
        the model in the file needs. It is imported, and so runs.
    trusted : sequence of str
        Further names in a file of `skexplain.save`, or types in a ``.skops`` file, that may be imported.

    Raises
    ------
    ImportError
        When the package that reads the file is not installed.
    ValueError
        In one sentence, for a file that is missing, of another kind, truncated, or does not fit the code.
    """
    if not path.is_file():
        raise ValueError(f"--model={str(path)!r} is no file.")
    made = None if code is None else imported(code)
    named = {} if made is None else {getattr(made, "__name__", str(code)): made}
    suffix = path.suffix.lower()
    if _is_own(path):
        return load(path, custom_objects=named, trusted=trusted)
    if suffix == ".keras":
        from .keras._reading import read_keras

        return read_keras(path, named)
    if suffix == ".skops":
        return _read_skops(path, trusted)
    if suffix in WEIGHTS:
        if made is None:
            raise ValueError(
                f"--model={str(path)!r} holds weights without the network; name what makes it: --module "
                "package.module:Class."
            )
        from .torch._reading import read_state

        return read_state(path, made, str(code))
    raise ValueError(
        f"--model={str(path)!r} is no file of skexplain.save, and ends in none of .keras, .skops, "
        f"{', '.join(WEIGHTS)}. Files that run code when they are read, such as pickles, are not read."
    )


def _is_own(path: Path) -> bool:
    """Whether it is a file of `skexplain.save`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return CONTENT in archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False


def imported(code: str) -> Any:
    """What ``package.module:name`` names, also in the working directory.

    Raises
    ------
    ValueError
        When it is not there.
    """
    module, colon, name = code.partition(":")
    if not (module and colon and name):
        raise ValueError(f"--module={code!r}; write package.module:Class.")
    sys.path.insert(0, "")
    try:
        found = importlib.import_module(module)
    except ImportError as exc:
        raise ValueError(f"--module={code!r} cannot be imported: {exc}.") from exc
    finally:
        sys.path.remove("")
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"--module={code!r}: {module!r} has no {name!r}.")
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"--module={code!r} is a {type(found).__name__}; name a class, or a function that makes one.")
    return found


def _read_skops(path: Path, trusted: Sequence[str]) -> Any:
    try:
        from skops import io
    except ImportError as exc:
        raise ImportError(f"{path} needs skops. Run: pip install skops") from exc
    try:
        unknown = sorted(set(io.get_untrusted_types(file=path)) - set(trusted))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as exc:
        raise ValueError(f"--model={str(path)!r} cannot be read as a skops file: {exc}.") from exc
    if unknown:
        raise ValueError(
            f"--model={str(path)!r} holds types whose code would run: {', '.join(unknown)}. If you trust who made it, "
            f"add {' '.join(f'--trust {name}' for name in unknown)}."
        )
    try:
        return io.load(path, trusted=list(trusted))
    except Exception as exc:  # a reader of damaged files may fail in any way
        raise ValueError(f"--model={str(path)!r} cannot be read: {' '.join(str(exc).split())}.") from exc
