"""Kinds of input with a planted truth: which column, place, step or word decides, row by row."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import skexplain
from skexplain.attributions import get_attribution

from .outcome import REFUSALS

#: Rows that are explained, and rows of the background.
EXPLAINED, BACKGROUND = 40, 40
#: Share of the rows in which what decides must have the largest value.
FOUND = 0.9


class Planted(NamedTuple):
    """Data of one kind.

    Attributes
    ----------
    X : ndarray of shape (n, *features), or dict of such
        Channels of pictures last.
    y : int ndarray of shape (n,)
    decides : bool ndarray of shape (n, n_columns)
        What the class of the row can be read off.
    """

    X: Any
    y: NDArray
    decides: NDArray

    def rows(self, index: Any) -> Any:
        return {k: v[index] for k, v in self.X.items()} if isinstance(self.X, dict) else self.X[index]


def categories() -> Planted:
    """Codes in columns 1 and 3, of which the first decides; numbers in the others."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4)).astype(np.float32)
    X[:, 1], X[:, 3] = rng.integers(5, size=300), rng.integers(4, size=300)
    decides = np.zeros(X.shape, dtype=bool)
    decides[:, 1] = True
    return Planted(X, np.array([0, 2, 1, 0, 2])[X[:, 1].astype(int)], decides)


def pictures() -> Planted:
    """Noise, and somewhere a patch of 2 x 2 pixels: bright, dark, or chequered."""
    rng = np.random.default_rng(0)
    X = 0.1 * rng.normal(size=(300, 6, 6, 1)).astype(np.float32)
    y = rng.integers(3, size=300)
    patches = np.array([[[1, 1], [1, 1]], [[-1, -1], [-1, -1]], [[1, -1], [-1, 1]]], dtype=np.float32)
    decides = np.zeros((300, 6, 6), dtype=bool)
    for i, (row, column) in enumerate(rng.integers(5, size=(300, 2))):
        X[i, row : row + 2, column : column + 2, 0] += patches[y[i]]
        decides[i, row : row + 2, column : column + 2] = True
    return Planted(X, y, decides.reshape(300, -1))


def sequences() -> Planted:
    """Six steps of two features; the sign of the first feature of the third step decides."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6, 2)).astype(np.float32)
    X[:, 2, 0] += 0.5 * np.sign(X[:, 2, 0])  # none is so near to the mean that nothing is to be seen
    decides = np.zeros((300, 6, 2), dtype=bool)
    decides[:, 2, 0] = True
    return Planted(X, (X[:, 2, 0] > 0).astype(int), decides.reshape(300, -1))


def words() -> Planted:
    """Five ids of words, among them one of three that decide, anywhere."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(3, 12, size=(300, 5)), rng.integers(3, size=300)
    at = rng.integers(5, size=300)
    X[np.arange(300), at] = y
    return Planted(X.astype(np.float32), y, at[:, None] == np.arange(5))


def several() -> Planted:
    """Codes and numbers as two inputs; the code decides."""
    rng = np.random.default_rng(0)
    codes, numbers = rng.integers(5, size=(300, 1)), rng.normal(size=(300, 2)).astype(np.float32)
    decides = np.tile([True, False, False], (300, 1))
    return Planted({"codes": codes, "numbers": numbers}, np.array([0, 2, 1, 0, 2])[codes[:, 0]], decides)


KINDS: dict[str, Callable[[], Planted]] = {
    "categories": categories,
    "pictures": pictures,
    "sequences": sequences,
    "words": words,
    "several inputs": several,
}
#: Kinds in which it is not the same columns that decide in all rows, so that measures of columns say nothing.
MOVING = ("pictures", "words")


def nets(framework: str) -> Any:
    """The module that builds the networks of a framework."""
    return importlib.import_module(
        "tests.zoo.planted_in_torch" if framework == "torch" else "tests.zoo.planted_in_keras"
    )


@cache
def verdict(strategy: str, framework: str, kind: str) -> str:
    """Whether what decides is found: "found", "in x % of the rows", "not asked", or the refusal."""
    asked = get_attribution(strategy)
    asked = asked.set_params(tol=0.2) if "tol" in asked.get_params() else asked
    if (kind in MOVING and not asked.local) or asked.needs_training or asked.needs_estimator:
        return "not asked"
    data, half = KINDS[kind](), nets(framework)
    model, X = half.net(kind), half.readable(kind, data.rows(slice(0, EXPLAINED)))
    background = half.readable(kind, data.rows(slice(-BACKGROUND, None)))
    try:
        if not asked.local:
            y = data.y[:EXPLAINED]
            found = skexplain.importances(model, X, y, attribution=asked, background=background, random_state=0)
            return "found" if data.decides[0][found.ranking[0]] else "not found"
        found = skexplain.explain(model, X, attribution=asked, background=background, random_state=0)
    except (*REFUSALS, ValueError) as error:  # more than 12 columns are too many for the exact Shapley values
        return f"refused: {type(error).__name__}"
    values = half.columns_last(kind, np.abs(found.values))
    hits = data.decides[np.arange(EXPLAINED), values.argmax(axis=1)].mean()
    return "found" if hits >= FOUND else f"in {10 * int(10 * hits)} % of the rows"
