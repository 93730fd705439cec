"""A model behind its look-ups, on TensorFlow: a function of what embeddings return, where there are slopes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework import op_callbacks  # not public; how tf.debugging sees every operation

from ._activation import call, calling, exclusive
from ._first_dense import each_alone
from ._globals import without_graphs

#: Operations that look codes up, and which of their inputs the codes are.
LOOK_UPS = {"GatherV2": 1, "ResourceGather": 1, "OneHot": 0}


class Call(NamedTuple):
    """One call of a look-up.

    Attributes
    ----------
    codes : Tensor of shape (n, *places)
    result : Tensor of shape (n, *places, *numbers)
    """

    codes: tf.Tensor
    result: tf.Tensor


class Replaced(NamedTuple):
    """Which places of a look-up's result are replaced.

    Attributes
    ----------
    places : int ndarray
        Flat.
    order : int ndarray
        Where each place stands once those that are replaced come first.
    shape : tuple of int
        Of a row of the result.
    """

    places: NDArray
    order: NDArray
    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        """Numbers in a place."""
        return int(np.prod(self.shape)) // len(self.order)


@contextmanager
def look_ups(replaced: Sequence[Replaced | None] = (), blocks: tf.Tensor | None = None) -> Iterator[list[Call]]:
    """In the block, see every look-up in the graph that is traced, whatever layer or function it is called by.

    Parameters
    ----------
    replaced : sequence of Replaced or None
        For each look-up, in order.
    blocks : Tensor of shape (n, p)
        The numbers that are given in these places, one look-up after the other.
    """
    calls: list[Call] = []
    traced, start = tf.compat.v1.get_default_graph(), 0

    def see(kind: str, inputs: Any, attributes: Any, outputs: Any, op_name: Any = None, graph: Any = None) -> Any:
        nonlocal start
        if graph is not traced or not _looks_up(kind, inputs, outputs, _as_dict(attributes)):
            return outputs
        calls.append(Call(inputs[LOOK_UPS[kind]], outputs[0]))
        k = len(calls) - 1
        part = replaced[k] if k < len(replaced) else None
        if part is None:
            return outputs
        size = len(part.places) * part.width
        block, start = blocks[:, start : start + size], start + size  # type: ignore[index]
        return (_with_block(outputs[0], block, part),)

    with without_graphs():  # a function of the user's would keep what is given to it
        op_callbacks.add_op_callback(see)
        try:
            yield calls
        finally:
            op_callbacks.remove_op_callback(see)


def _looks_up(kind: str, inputs: Any, outputs: Any, attributes: dict[str, Any]) -> bool:
    """Whether an operation looks up rows of a table of numbers, or makes a code an indicator."""
    if kind not in LOOK_UPS or not outputs[0].dtype.is_floating:
        return False
    codes, result = inputs[LOOK_UPS[kind]].shape, outputs[0].shape
    if not codes.rank or any(n is None for n in (*codes[1:], *result[1:])):
        return False
    if kind == "OneHot":
        return attributes["axis"].i in (-1, codes.rank)
    if attributes["batch_dims"].i != 0:
        return False
    return kind == "ResourceGather" or tf.get_static_value(inputs[2]) == 0


def _as_dict(attributes: Sequence[Any]) -> dict[str, Any]:
    """Names and values, given in turn."""
    return dict(zip(attributes[::2], attributes[1::2], strict=True))


def _with_block(result: tf.Tensor, block: tf.Tensor, part: Replaced) -> tf.Tensor:
    if len(part.places) < len(part.order):
        own = tf.reshape(tf.cast(result, block.dtype), (-1, len(part.order), part.width))
        others = tf.gather(own, np.setdiff1d(np.arange(len(part.order)), part.places), axis=1)
        whole = tf.concat([tf.reshape(block, (-1, len(part.places), part.width)), others], axis=1)
        block = tf.gather(whole, part.order, axis=1)
    return tf.cast(tf.reshape(block, (-1, *part.shape)), result.dtype)


class LookedUp:
    """Codes and results of all of a model's look-ups, as a function of rows: side by side, in one matrix.

    Parameters
    ----------
    model : keras.Model
        Not changed.

    Attributes
    ----------
    shapes : list of tuple of int
        Of a row of the codes and of the result of each look-up in turn; known when the function has been traced.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        with look_ups() as calls:
            call(self.model, x)
        every = [tf.cast(v, tf.float64) for seen in calls for v in seen]
        self.shapes = [tuple(v.shape[1:]) for v in every]
        flat = [tf.reshape(v, (tf.shape(v)[0], s)) for v, s in zip(every, self._sizes, strict=True)]
        return tf.concat(flat, axis=1) if flat else x

    def codes(self, both: NDArray) -> list[NDArray]:
        """What each look-up was asked for."""
        return self._parts(both)[::2]

    def results(self, both: NDArray) -> list[NDArray]:
        """What each look-up returned."""
        return self._parts(both)[1::2]

    @property
    def _sizes(self) -> list[int]:
        return [int(np.prod(shape)) for shape in self.shapes]

    def _parts(self, both: NDArray) -> list[NDArray]:
        return np.split(both, np.cumsum(self._sizes)[:-1], axis=1)


class BehindLookUps:
    """A model as a function of embedded rows.

    Parameters
    ----------
    model : keras.Model
        Not changed.
    rows : ndarray of shape (n, *features)
        A few in front. The first stands for all in the columns that are looked up and matter in no other way.
    numbers : ndarray of int
        Flat columns that stand, as they are, at the front of embedded rows.
    owners : list of ndarray
        For each look-up and each of its places, the column that it depends on; negative for none, or several.
    shapes : list of tuple of int
        Of a row of each look-up's result.
    results : callable, optional
        What each look-up returns for rows; for `embed`.
    """

    #: Layers behind the look-ups, as far as each is the only reader of the one before: it is not known.
    layers: tuple[Any, ...] = (None,)

    def __init__(
        self,
        model: keras.Model,
        rows: NDArray,
        numbers: NDArray,
        owners: Sequence[NDArray],
        shapes: Sequence[tuple[int, ...]],
        results: Callable[[NDArray], Sequence[NDArray]] | None = None,
    ) -> None:
        self.model, self.rows, self.numbers, self._results = model, rows, numbers, results
        self.fixed = np.setdiff1d(np.arange(rows[0].size), numbers)
        self.replaced = [_replaced(columns, shape) for columns, shape in zip(owners, shapes, strict=True)]
        self._places = owners

    def __call__(self, z: tf.Tensor) -> Any:
        """The model's output, in a graph that is traced."""
        template = self.rows[0]
        k, d = len(self.numbers), template.size
        x = z[:, :k]
        if k < d:
            fixed = tf.constant(template.ravel()[self.fixed], z.dtype)
            x = tf.concat([x, tf.broadcast_to(fixed, (tf.shape(z)[0], d - k))], axis=1)
            x = tf.gather(x, np.argsort(np.concatenate([self.numbers, self.fixed])), axis=1)
        with look_ups(self.replaced, z[:, k:]):
            return call(self.model, tf.reshape(x, (-1, *template.shape)))

    @property
    def owners(self) -> NDArray:
        """The flat column that each number of an embedded row comes from."""
        looked_up = [
            np.repeat(columns[columns >= 0], part.width)
            for columns, part in zip(self._places, self.replaced, strict=True)
            if part is not None
        ]
        return np.concatenate([self.numbers, *looked_up])

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_results": None}  # a graph stays where it is

    def embed(self, X: NDArray) -> NDArray:
        """Embedded rows."""
        assert self._results is not None
        flat, results = X.reshape(len(X), -1), self._results(X)
        parts = [
            result.reshape(len(X), len(part.order), -1)[:, part.places].reshape(len(X), -1)
            for result, part in zip(results, self.replaced, strict=True)
            if part is not None
        ]
        return np.concatenate([flat[:, self.numbers], *parts], axis=1)


def _replaced(columns: NDArray, shape: tuple[int, ...]) -> Replaced | None:
    places, others = np.flatnonzero(columns >= 0), np.flatnonzero(columns < 0)
    return Replaced(places, np.argsort(np.concatenate([places, others])), shape) if len(places) else None


class BehindEncoder:
    """A model whose first layer embeds codes, as a function of what that layer returns.

    Parameters
    ----------
    model : keras.Model
        Not changed.
    rows : ndarray of shape (n, n_features)
        A few in front.

    Attributes
    ----------
    layers : list
        Behind the first one, as far as each is the only reader of the one before.
    owners : int ndarray of shape (p,)
        The column that each number of an embedded row comes from.
    numbers : int ndarray
        Columns that stand, as they are, at the front of embedded rows.
    """

    def __init__(self, model: keras.Model, rows: NDArray) -> None:
        self.model, self.rows = model, rows
        self.encoder, *self.layers = each_alone(model)
        self.owners, self.numbers = np.array(self.encoder.owners), np.array(self.encoder.numbers)

    def __reduce__(self) -> tuple:
        return type(self), (self.model, self.rows)  # the layers are those of the copy

    def __call__(self, z: tf.Tensor) -> Any:
        with calling(self.encoder, lambda inputs, *args, **kwargs: tf.cast(z, self.encoder.compute_dtype)):
            return call(self.model, tf.zeros((tf.shape(z)[0], *self.rows.shape[1:]), z.dtype))

    def embed(self, X: NDArray) -> NDArray:
        """Embedded rows."""
        with exclusive:
            return np.asarray(self.encoder(tf.constant(X, self.encoder.compute_dtype)), dtype=np.float64)
