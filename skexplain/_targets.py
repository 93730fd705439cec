"""Targets: which output of a network is explained, or which sum of its outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._network import Network

#: Rows of outputs on which a function of them is tried.
MADE_UP = 16


class _Word(str):
    """A target that is the word and no label, should a class be called so."""


#: The class that the network predicts for each row, whatever the classes are called.
PREDICTED = _Word("predicted")


def checked_target(target: Any, n: int, classes: NDArray | None) -> Any:
    """A word, a label or a function as it is, labels of rows as an array of the rows' number."""
    if callable(target):
        return target
    if np.ndim(target) == 0:
        reserved = {"predicted", "all"} & set(() if classes is None else classes.tolist())
        if isinstance(target, str) and not isinstance(target, _Word) and target in reserved:
            raise ValueError(f"target={target!r} is also a class; pass an array with a label for each row.")
        return target
    target = np.asarray(target)
    target = target.ravel() if target.ndim == 2 and target.shape[1] == 1 else target
    if target.shape != (n,):
        raise ValueError(f"target has shape {target.shape}; pass one label, or one for each of the {n} rows.")
    return target


def is_all(target: Any, network: Network) -> bool:
    several = network.classes is None and network.n_outputs > 1
    return isinstance(target, str) and (target == "all" or (target == "predicted" and several))


class Asked(NamedTuple):
    """Outputs to explain.

    Attributes
    ----------
    targets : list of int ndarray of shape (n,)
        Indices of outputs, one array for each output that is asked for.
    contrast : ndarray of shape (n_targets,) or None
        Coefficients with which the outputs are summed to the one that is asked for.
    """

    targets: list[NDArray]
    contrast: NDArray | None = None


def asked_of(target: Any, outputs: NDArray, network: Network) -> Asked:
    n, k = outputs.shape
    every = [np.full(n, j) for j in range(k)]
    if callable(target):
        return Asked(every, contrast_of(target, outputs))
    if is_all(target, network):
        return Asked(every)
    if isinstance(target, str) and target == "predicted":
        return Asked([outputs.argmax(axis=1)])
    labels: list[Any] = list(range(k)) if network.classes is None else network.classes.tolist()
    position = {label: j for j, label in enumerate(labels)}
    wanted = np.asarray(target)
    asked = wanted.tolist() if wanted.ndim else [wanted.item()] * n
    missing = [label for label in asked if label not in position]
    if missing:
        what = "outputs are" if network.classes is None else "classes are"
        raise ValueError(
            f"target={missing[0]!r} does not exist; {what} {labels}, or 'predicted', or 'all', or a function of the "
            "outputs."
        )
    return Asked([np.array([position[label] for label in asked])])


def contrast_of(target: Callable[[NDArray], Any], outputs: NDArray) -> NDArray:
    """Coefficients c of a function of the outputs ``(n, k)`` that is ``outputs @ c``.

    Raises
    ------
    ValueError
        When it is not: attributions of a sum are sums of attributions, which holds for nothing else.
    """
    k = outputs.shape[1]
    c = np.asarray(target(np.eye(k)), dtype=np.float64)
    size = np.abs(outputs).max(initial=0) or 1.0
    made_up = size * np.geomspace(1, 1000, MADE_UP)[:, None] * np.random.default_rng(0).normal(size=(MADE_UP, k))

    def is_sum(rows: NDArray) -> bool:
        got = np.asarray(target(rows), dtype=np.float64)
        return got.shape == rows.shape[:1] and bool(np.all(np.abs(got - rows @ c) <= 1e-6 * np.abs(rows) @ np.abs(c)))

    # rows of both signs, since those that are asked about may lie where it looks linear; alone, so that none counts
    # for another
    if c.shape != (k,) or not all(map(is_sum, (outputs, made_up, *made_up[:, None]))):
        raise ValueError(
            f"target={target_name(target)} must map outputs of shape (n, {k}) to n numbers, linearly, without a "
            "constant and each row by itself, such as lambda outputs: outputs[:, 1] - outputs[:, 0]."
        )
    return c


def target_name(target: Any) -> str:
    """How a result says what was asked for."""
    if isinstance(target, np.ndarray):
        return "given for each row"
    return getattr(target, "__name__", repr(target)) if callable(target) else str(target)


def names_of(target: Any, asked: Asked, classes: NDArray | None) -> NDArray:
    """What is explained of each row."""
    rows = asked.targets[0]
    if callable(target):
        return np.full(len(rows), target_name(target), dtype=object)
    return rows if classes is None else classes[rows]


def contrasted(parts: list[NDArray], asked: Asked) -> list[NDArray]:
    """The parts of each output, or the one of their contrast."""
    return parts if asked.contrast is None else [np.tensordot(asked.contrast, np.array(parts), 1)]
