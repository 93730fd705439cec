"""Values as JSON and arrays, and back. No value is code: classes and functions are names, which a reader may refuse."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ._archive import UnreadableError

#: What to do with what is not data.
INSTEAD = "Use pickle or joblib, and load their files only if you trust who wrote them."


class Kind(NamedTuple):
    """How values of one kind are written and read.

    Attributes
    ----------
    tag : str
        Key under which the value stands in the JSON.
    holds : callable
        Whether a value is of this kind.
    write : callable
        From the value, a `Writer` and where it stands, to JSON.
    read : callable
        From that JSON and a `Reader` to the value.
    """

    tag: str
    holds: Callable[[Any], bool]
    write: Callable[[Any, Writer, str], Any]
    read: Callable[[Any, Reader], Any]


class Writer:
    """Turns values into JSON, and collects their arrays.

    Parameters
    ----------
    kinds : iterable of Kind
        The first that holds a value writes it.
    known : dict of str to object
        Classes and functions that every reader has.

    Attributes
    ----------
    arrays : list of ndarray
    tensors : dict of str to object
        A framework's, by where they stand, for its half to make a blob of.
    blobs : dict of str to bytes
    named : dict of str to object
        Classes and functions that a reader will ask for.
    """

    def __init__(self, kinds: Iterable[Kind], known: Mapping[str, Any]) -> None:
        self._kinds = tuple(kinds)
        self.arrays: list[NDArray] = []
        self.tensors: dict[str, Any] = {}
        self.blobs: dict[str, bytes] = {}
        self.named: dict[str, Any] = {}
        self._known = {id(item): name for name, item in known.items()}

    def plain(self, value: Any, where: str) -> Any:
        """The value as JSON; ``where`` is what the user calls it.

        Raises
        ------
        TypeError
            For what cannot be written without code, by name, with what to do instead.
        """
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        for kind in self._kinds:
            if kind.holds(value):
                return {kind.tag: kind.write(value, self, where)}
        raise TypeError(
            f"{where}={value!r} cannot be saved safely, as an instance of {type(value).__name__} may hold any code. "
            f"Use numbers, text, arrays, or a class and its parameters. {INSTEAD}"
        )

    def name(self, item: Any, where: str) -> str:
        """The name by which a reader finds a class or a function."""
        if id(item) in self._known:
            return self._known[id(item)]
        name = f"{item.__module__}:{item.__qualname__}"
        if _found(name, sys.modules.get) is not item:
            raise TypeError(
                f"{where}={item!r} cannot be saved safely: {item.__qualname__} cannot be imported by its name. Define "
                f"it with `class` or `def` at the top level of a module. {INSTEAD}"
            )
        self.named[name] = item
        return name


class Reader:
    """Turns JSON back into values.

    Parameters
    ----------
    array, blob : callable
        Of an `Archive`.
    kinds : iterable of Kind
        Those of the writer.
    known : dict of str to object
        Those of the writer.
    custom_objects : dict of str to object
        Classes and functions of the caller, by their whole name or the last part of it.
    trusted : iterable of str
        Whole names that may be imported.

    Attributes
    ----------
    cache : dict
        For kinds that read something once.
    """

    def __init__(
        self,
        array: Callable[[int], NDArray],
        blob: Callable[[str], bytes],
        kinds: Iterable[Kind],
        known: Mapping[str, Any],
        custom_objects: Mapping[str, Any] | None = None,
        trusted: Iterable[str] = (),
    ) -> None:
        self.array, self.blob = array, blob
        self._kinds = {kind.tag: kind for kind in kinds}
        self.cache: dict[str, Any] = {}
        self._known = dict(known)
        self._custom = dict(custom_objects or {})
        self._trusted = {name.replace(":", ".") for name in trusted}

    def value(self, plain: Any) -> Any:
        """The value that was written as ``plain``."""
        if not isinstance(plain, dict):
            if isinstance(plain, list):
                raise ValueError("a list without a tag")
            return plain
        ((tag, content),) = plain.items()
        return float(content) if tag == "float" else self._kinds[tag].read(content, self)

    def refuse_unknown(self, names: Iterable[str], path: Any) -> None:
        """Say which classes and functions the caller has neither passed nor trusted."""
        missing = [name for name in names if not self._may_name(name)]
        if missing:
            first = missing[0].replace(":", ".")
            needed = ", ".join(name.replace(":", ".") for name in missing)
            raise UnreadableError(
                f"{path} needs {needed}, and nothing is imported because a file says so. Pass "
                f"custom_objects={{{first.rpartition('.')[2]!r}: ...}} with what you have under that name, or "
                f"trusted=[{first!r}] to have it imported."
            )

    def _may_name(self, name: str) -> bool:
        dotted = name.replace(":", ".")
        return (
            name in self._known
            or bool({dotted, dotted.rpartition(".")[2]} & self._custom.keys())
            or (dotted in self._trusted)
        )

    def named(self, name: str) -> Any:
        """The class or function of this name, if the caller wants it."""
        if name in self._known:
            return self._known[name]
        dotted = name.replace(":", ".")
        for given in (dotted, dotted.rpartition(".")[2]):
            if given in self._custom:
                return self._custom[given]
        if dotted not in self._trusted:
            raise ValueError(f"{dotted} is neither in custom_objects nor in trusted")
        try:
            found = _found(name, importlib.import_module)
        except ImportError as exc:
            raise UnreadableError(f"{dotted} is trusted, but cannot be imported ({exc}).") from exc
        if found is None:
            raise UnreadableError(f"{dotted} is trusted, but its module does not have it; pass it in custom_objects.")
        return found


def _found(name: str, module_of: Callable[[str], Any]) -> Any:
    module, _, path = name.partition(":")
    found = module_of(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found
