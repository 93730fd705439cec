"""Which weights of a Keras model belong to which column of its input."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ..exceptions import UnsupportedModelError
from ..training._input_weights import (
    NOISE,
    InputWeights,
    Kernel,
    looked_at,
    made_up,
    spread_of_columns,
    trace,
)
from ..training._moments import Moments
from ._activation import calling, exclusive, unchanged
from ._default import EncodeNumbers, Standardise, every_layer
from ._first_dense import PASSING, each_alone
from ._gated import GatedDense
from ._globals import without_graphs

#: Layers after which the numbers of a row are in the same order, each changed by itself if at all.
ORDER_KEPT = (
    *PASSING,
    keras.layers.Reshape,
    keras.layers.BatchNormalization,
    keras.layers.Normalization,
    keras.layers.Rescaling,
    Standardise,
)
RECURRENT = (keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU)
CELLS = (keras.layers.SimpleRNNCell, keras.layers.LSTMCell, keras.layers.GRUCell)
CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
#: Most numbers of rows that the model is run on at once.
AT_ONCE = 2**22
#: Layers that look codes up, and those that pad.
LOOKUPS = (keras.layers.Embedding, keras.layers.CategoryEncoding)
PADDING = (keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D, keras.layers.ZeroPadding3D)
#: Added to numbers to see what is made of them.
SHIFT = 8.0
REMEDY = "Use attribution='permutation' instead."


def find(model: Any, X: NDArray | None = None) -> InputWeights:
    """Find the weights on a model's input columns; see `skexplain.training._input_weights.input_weights`."""
    features = _features(model, X)
    found = _straight(model, features) or _by_trial(model, features, X)
    by_layer: dict[int, list[_Taken]] = {}
    for taken in found:  # more than once for a layer that is used more than once
        by_layer.setdefault(id(taken.taker.layer), []).append(taken)
    kernels = []
    for uses in by_layer.values():
        pairs = np.concatenate([[taken.columns, taken.inputs] for taken in uses], axis=1)
        columns, inputs = np.unique(pairs[:, pairs[0] >= 0], axis=1)
        taker = uses[0].taker
        for owner in taker.owners:
            kernels.append(Kernel(Reading(owner), tuple(owner.kernel.shape), taker.axis, columns, inputs))
    n_columns = int(np.prod(features))
    return InputWeights(tuple(kernels), n_columns, partial(_spread, model, found, n_columns))


@dataclass(frozen=True, eq=False)
class Reading:
    """Gives a layer's kernel as it is now, multiplied by its gates where it has such.

    Attributes
    ----------
    layer : keras.layers.Layer
    """

    layer: Any

    @property
    def tensor(self) -> Any:
        kernel = self.layer.gated_kernel() if isinstance(self.layer, GatedDense) else self.layer.kernel
        return keras.ops.convert_to_tensor(kernel.value if isinstance(kernel, keras.Variable) else kernel)

    def __call__(self) -> NDArray:
        tensor = self.tensor
        # not through NumPy, to which a variable of TensorFlow passes an argument that NumPy warns of
        return tensor.numpy() if keras.backend.backend() == "tensorflow" else keras.ops.convert_to_numpy(tensor)

    @property
    def n_bytes(self) -> int:
        return self().nbytes


@dataclass(frozen=True, eq=False)
class _Taker:
    """A layer whose weights may be those on the columns.

    Attributes
    ----------
    layer : keras.layers.Layer
        What is called.
    owners : tuple
        Layers or cells that have the kernels.
    axis, input_axis : int
        Of the kernel and of what enters: the axis over the layer's inputs.
    """

    layer: Any
    owners: tuple[Any, ...]
    axis: int = 0
    input_axis: int = -1


@dataclass(frozen=True, eq=False)
class _Taken:
    """Numbers that enter a layer, and the columns that they are.

    Attributes
    ----------
    taker : _Taker
    call : int
        Which of the calls of layers that are looked at.
    columns, inputs : int ndarray of shape (n_numbers,)
        Column of each number, -1 for none, and which of the layer's inputs it is.
    looked_up : bool ndarray of shape (n_numbers,), optional
        Numbers that are made of what an embedding has for a code.
    """

    taker: _Taker
    call: int
    columns: NDArray
    inputs: NDArray
    looked_up: NDArray | None = None


def _features(model: Any, X: NDArray | None) -> tuple[int, ...]:
    """Shape of a row."""
    if not isinstance(model, keras.Model) or keras.backend.backend() not in ("tensorflow", "torch"):
        raise UnsupportedModelError(
            f"The training of a {type(model).__module__}.{type(model).__name__} is watched in Keras "
            f"{keras.__version__} on TensorFlow or torch only."
        )
    if not model.built:
        raise UnsupportedModelError("The model has no weights yet; give it an Input, or call it on a batch first.")
    inputs = getattr(model, "inputs", None)
    if isinstance(inputs, list) and len(inputs) > 1:
        raise UnsupportedModelError(f"The model has {len(inputs)} inputs; only one table of columns can be watched.")
    if X is not None:
        return X.shape[1:]
    shape = inputs[0].shape if inputs else (model.get_build_config() or {}).get("input_shape")
    if not isinstance(shape, list | tuple) or not all(isinstance(n, int) for n in shape[1:]):
        raise UnsupportedModelError("The model does not say how many numbers a row has; pass X, a few rows.")
    return tuple(shape[1:])


def _taker(layer: Any) -> _Taker | None:
    """Whether it is known which of a layer's weights belong to which of its inputs."""
    if type(layer) is GatedDense:
        return _Taker(layer, (layer,))
    if not type(layer).call.__module__.startswith("keras."):
        return None
    if isinstance(layer, keras.layers.TimeDistributed):
        inner = _taker(layer.layer)
        return inner and (_Taker(layer, inner.owners, inner.axis) if inner.input_axis == -1 else None)
    if isinstance(layer, keras.layers.Bidirectional):
        both = [_taker(one) for one in (layer.forward_layer, layer.backward_layer)]
        return None if None in both else _Taker(layer, tuple(one.owners[0] for one in both if one))
    if isinstance(layer, keras.layers.RNN):
        known = isinstance(layer, RECURRENT) or isinstance(layer.cell, CELLS)
        return _Taker(layer, (layer.cell,)) if known else None
    if getattr(layer, "quantization_mode", None) not in (None, "float8"):  # no numbers that are trained
        return None
    if isinstance(layer, keras.layers.Dense):
        return _Taker(layer, (layer,))
    if isinstance(layer, CONVOLUTIONS) and layer.groups == 1:
        return _Taker(layer, (layer,), -2, -1 if layer.data_format == "channels_last" else 1)
    if isinstance(layer, keras.layers.EinsumDense):
        axis = _contracted(layer.equation)
        return None if axis is None else _Taker(layer, (layer,), axis)
    return None


def _contracted(equation: str) -> int | None:
    """Axis of the weights that runs over the last of the inputs, if ``equation`` is a dense layer on it."""
    given, out = equation.replace(" ", "").replace("...", "").split("->")
    x, kernel = given.split(",")
    shared = set(x) & set(kernel)
    return kernel.index(x[-1]) if x and shared == {x[-1]} and x[-1] not in out else None


def _own_matrices(layer: Any) -> bool:
    """Whether a layer itself, and no layer in it, has weights that may mix its inputs."""
    return any(len(v.shape) > 1 for v in layer._trainable_variables)  # not public; all but those of layers in it


def _straight(model: Any, features: tuple[int, ...]) -> list[_Taken] | None:
    """The layer, where no more than the order of the input's numbers need be known; else None."""
    columns = np.arange(int(np.prod(features)))
    for layer in each_alone(model):
        if layer is None or "call" in vars(layer):
            return None
        taker = _taker(layer)
        if taker is not None:
            n, width = len(columns), taker.owners[0].kernel.shape[taker.axis]
            if taker.input_axis != -1 or n % width:
                return None
            return [_Taken(taker, 0, columns, np.arange(n) % width)]
        if type(layer) is EncodeNumbers and len(features) == 1:
            columns = columns[list(layer.owners)]
            continue
        if type(layer) not in ORDER_KEPT or getattr(layer, "data_format", None) == "channels_first":
            return None
    return None


def _by_trial(model: Any, features: tuple[int, ...], X: NDArray | None) -> list[_Taken]:
    """The layers, by what enters them when columns are changed, many together."""
    trial = _Trial(model, features, X)
    if X is not None and len(X):
        rows = looked_at(X)
        try:
            return trial.found(rows)
        except UnsupportedModelError:
            raise
        except Exception:  # what is made up for a column that does not vary may be no code
            return trial.found(rows, with_constant=False)
    *attempts, last = made_up(int(np.prod(features)), careful=_on_another_device())
    for rows in attempts:
        try:
            return trial.found(rows)
        except UnsupportedModelError:
            raise
        except Exception:  # the model's own, of codes that it does not take
            continue
    return trial.found(last)


def _on_another_device() -> bool:
    """Where an index that is too large ends the work of the device."""
    if keras.backend.backend() != "torch":
        return False
    return keras.ops.zeros(1).device.type != "cpu"


class _Trial:
    """Runs of a model on rows that differ, to see what enters which layer.

    Parameters
    ----------
    model : keras.Model
    features : tuple of int
    X : ndarray or None
        Rows, if any are known; otherwise codes may be any.
    """

    def __init__(self, model: Any, features: tuple[int, ...], X: NDArray | None) -> None:
        self.model, self.features, self.X = model, features, X
        self.layers, self.takers = _looked_at(model)
        self.known = X is not None and len(X) > 0

    def found(self, rows: NDArray, *, with_constant: bool = True) -> list[_Taken]:
        """See `_by_trial`."""
        calls = self.entering(rows[:1])
        self.called = [(layer, v.shape[1:]) for layer, v in calls]
        per_row = max((v[0].size for _, v in calls), default=1)
        wanted = None if self.known else [~numbers for numbers in self.constants(rows[:1])]
        traced = trace(self.differ, rows, per_row, wanted=wanted, with_constant=with_constant)
        coded = any(isinstance(layer, keras.layers.Embedding) for layer in every_layer(self.model))
        looked_up = self.moved(rows[:1], code=SHIFT) if coded else [None] * len(traced)
        found = []
        for call, ((layer, v), t, codes) in enumerate(zip(calls, traced, looked_up, strict=True)):
            if t.column is not None and (t.column < 0).all() and not t.unseen.any():
                continue
            taker = self.takers.get(id(layer))
            if taker is None:
                raise UnsupportedModelError(
                    f"Columns enter layer {layer.name!r} ({type(layer).__name__}), of whose weights it is not known "
                    f"which belong to which column. {REMEDY}"
                )
            if t.column is not None and t.unseen.any() and not self.known:
                raise UnsupportedModelError(
                    f"It cannot be seen without rows which columns enter layer {layer.name!r} "
                    f"({type(layer).__name__}); show the callback some before the training, as in viann.look(X)."
                )
            if t.column is None or t.unseen.any():
                raise UnsupportedModelError(
                    f"Columns are mixed before they enter layer {layer.name!r} ({type(layer).__name__}), the first "
                    f"with weights, so no weights belong to one of them. {REMEDY}"
                )
            inputs = np.indices(v.shape[1:])[taker.input_axis % v.ndim - 1]
            found.append(_Taken(taker, call, t.column, inputs.ravel(), codes))
        if not found:
            raise UnsupportedModelError(
                f"The model has no layer with weights that takes columns of its input. {REMEDY}"
            )
        return found

    def entering(self, rows: NDArray, **changes: Any) -> list[tuple[Any, NDArray]]:
        x = _as_read(self.model, rows.reshape(-1, *self.features), self.X)
        return _entering(self.model, self.layers, x, made_up=not self.known, **changes)

    def differ(self, base: NDArray, new: NDArray) -> list[NDArray]:
        """Where the numbers of each row differ, ``(n, n_numbers)`` of each call."""
        n = len(base)
        calls = self.entering(np.concatenate([base, new]))
        if [(layer, v.shape[1:]) for layer, v in calls] != self.called:
            raise UnsupportedModelError(f"Which layers the model calls depends on the numbers in a row. {REMEDY}")
        return [_differ(v[:n], v[n:]) for _, v in calls]

    def moved(self, row: NDArray, **changes: Any) -> list[NDArray]:
        """Numbers of a row that change with what else they are made of, as in `_entering`."""
        pairs = zip(self.entering(row), self.entering(row, **changes), strict=True)
        return [_differ(a, b)[0] for (_, a), (_, b) in pairs]

    def constants(self, row: NDArray) -> list[NDArray]:
        """Numbers that are made of padding, or of what other layers give."""
        up, down = (self.moved(row, shift=sign * SHIFT) for sign in (1, -1))
        return [a | b for a, b in zip(up, down, strict=True)]


def _looked_at(model: Any) -> tuple[list[Any], dict[int, _Taker]]:
    """Layers whose calls are looked at, none inside another, and by id those that are known."""
    if _own_matrices(model):
        raise UnsupportedModelError(
            f"{type(model).__name__} has weights outside of layers, so it is not known which belong to which column. "
            f"{REMEDY}"
        )
    layers: list[Any] = []
    takers: dict[int, _Taker] = {}
    inside: set[int] = set()
    for layer in every_layer(model):
        taker = _taker(layer)
        known = isinstance(layer, keras.layers.Embedding | keras.layers.PReLU)
        recurrent = isinstance(layer, keras.layers.RNN)
        if taker is not None or (not known and (recurrent or _own_matrices(layer))):
            layers.append(layer)
            inside |= {id(one) for one in every_layer(layer)}
            if taker is not None:
                takers[id(layer)] = taker
    return [layer for layer in layers if id(layer) not in inside], takers


def _as_read(model: Any, rows: NDArray, X: NDArray | None) -> Any:
    inputs = getattr(model, "inputs", None)
    dtype = inputs[0].dtype if inputs else keras.config.floatx() if X is None else str(X.dtype)
    return keras.ops.convert_to_tensor(rows.astype(dtype))


def _differ(a: NDArray, b: NDArray) -> NDArray:
    """Where the numbers of rows differ by more than rounding, ``(n, n_numbers)``."""
    a, b = (v.reshape(len(v), -1).astype(np.float64) for v in (a, b))
    with np.errstate(invalid="ignore"):
        alike = (a == b) | (np.abs(a - b) <= NOISE * np.minimum(np.abs(a), np.abs(b)))
    return ~(alike | (np.isnan(a) & np.isnan(b)))


class _EnoughError(BaseException):
    """All that was to be seen has been; not an Exception, to which Keras adds what it knows of the call."""


def _entering(
    model: Any,
    layers: list[Any],
    x: Any,
    most: int | None = None,
    *,
    made_up: bool = False,
    apart: bool = True,
    shift: float = 0.0,
    code: float = 0.0,
) -> list[tuple[Any, NDArray]]:
    """What enters each of these layers, in the order of their calls, which give the same numbers for all rows.

    Parameters
    ----------
    model, layers
    x : tensor
        Rows, in inference mode.
    most : int, optional
        Number of calls after which to stop.
    made_up : bool
        Whether codes may be any.
    apart : bool
        Whether to see no more than what is made of what: no two codes are looked up as the same numbers. Otherwise it
        is what enters in training, where batch normalisation takes these rows' mean and variance.
    shift, code : float
        Added to what layers give in the place of their results and to padding, and to what is looked up.
    """
    seen: list[tuple[Any, NDArray]] = []

    def observed(layer: Any, own: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            entering = args[0] if args else next(iter(kwargs.values()))
            if len(entering) != len(x):
                raise UnsupportedModelError(
                    f"Layer {layer.name!r} ({type(layer).__name__}) takes parts of rows as rows, so it is not known "
                    f"which of its inputs come from which column. {REMEDY}"
                )
            seen.append((layer, keras.ops.convert_to_numpy(entering)))
            if len(seen) == most:
                raise _EnoughError
            number = len(seen)
            return keras.tree.map_structure(lambda v: _constant(v, number) + shift, own(*args, **kwargs))

        return call

    def looked_up(layer: Any, own: Callable[..., Any]) -> Callable[..., Any]:
        def call(codes: Any, *args: Any, **kwargs: Any) -> Any:
            embeds = isinstance(layer, keras.layers.Embedding)
            if made_up:
                codes = keras.ops.mod(keras.ops.cast(codes, "int32"), layer.input_dim if embeds else layer.num_tokens)
            out = own(codes, *args, **kwargs)
            if not (embeds or layer.output_mode == "one_hot"):
                return out
            numbers = keras.ops.cast(codes, out.dtype)
            numbers = numbers if len(numbers.shape) == len(out.shape) else keras.ops.expand_dims(numbers, -1)
            return out + numbers + code

        return call

    def padded(own: Callable[..., Any]) -> Callable[..., Any]:
        return lambda v: own(v) + shift * (1 - own(keras.ops.ones_like(v)))

    def spread_out(layer: Any) -> Callable[..., Any]:
        return lambda v: keras.ops.take(v, np.array(layer.owners), axis=1)

    def trained(own: Callable[..., Any]) -> Callable[..., Any]:
        return lambda v, training=None, mask=None: own(v, training=True, mask=mask)

    with exclusive, unchanged(model), keras.StatelessScope(), without_graphs(), ExitStack() as stack:
        for layer in layers:
            stack.enter_context(calling(layer, observed(layer, layer.call)))
        for layer in every_layer(model):
            if type(layer) is EncodeNumbers and apart:  # a piece does not change with all values of its column
                stack.enter_context(calling(layer, spread_out(layer)))
            if "call" in vars(layer) or not type(layer).call.__module__.startswith("keras."):
                continue
            if isinstance(layer, LOOKUPS) and apart:
                stack.enter_context(calling(layer, looked_up(layer, layer.call)))
            elif isinstance(layer, PADDING) and shift:
                stack.enter_context(calling(layer, padded(layer.call)))
            elif isinstance(layer, keras.layers.BatchNormalization) and not apart:
                stack.enter_context(calling(layer, trained(layer.call)))
        with suppress(_EnoughError):
            model(x, training=False) if getattr(model, "_call_has_training_arg", True) else model(x)
    return seen


def _constant(v: Any, seed: int) -> Any:
    """In the place of what a layer gives: neither zero nor one, which gates might be closed by."""
    shape = tuple(v.shape)
    values = np.random.default_rng(seed).uniform(0.25, 0.75, shape[1:])
    return keras.ops.cast(keras.ops.convert_to_tensor(np.broadcast_to(values, shape).copy()), v.dtype)


def _spread(model: Any, found: list[_Taken], n_columns: int, X: NDArray) -> NDArray:
    """Standard deviation with which each column reaches the layers; see `InputWeights`."""
    layers, _ = _looked_at(model)
    most = found[-1].call + 1
    moments = [Moments(len(taken.columns)) for taken in found]
    size = max(1, AT_ONCE // n_columns)
    for k in range(0, len(X), size):
        calls = _entering(model, layers, _as_read(model, X[k : k + size], X), most, apart=False)
        for taken, moment in zip(found, moments, strict=True):
            moment.add(calls[taken.call][1].reshape(len(X[k : k + size]), -1))
    kernels: dict[int, list[tuple[Moments, NDArray, NDArray]]] = {}
    codes = np.zeros(n_columns, dtype=bool)
    for taken, moment in zip(found, moments, strict=True):
        columns = taken.columns
        if taken.looked_up is not None:
            codes[columns[taken.looked_up & (columns >= 0) & (moment.variance > 0)]] = True
            columns = np.where(taken.looked_up, -1, columns)
        kernels.setdefault(id(taken.taker.layer), []).append((moment, columns, taken.inputs))
    spread = spread_of_columns(list(kernels.values()), n_columns)
    return np.where(codes & (spread == 0), np.nan, spread)
