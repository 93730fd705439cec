"""A pass over rows as one TensorFlow graph, which models of the same making share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from numpy.typing import NDArray

from ._making import making
from ._table import arranged

if TYPE_CHECKING:
    from ._input_weights import Reading
    from ._training import Rows

#: Bytes of watched kernels that an execution may give back.
STACKED = 2**24
INDEX = tf.TensorSpec([None], tf.int32)
SIZE = tf.TensorSpec([], tf.int32)

#: Graphs kept for later models of the same making, latest last, and the most of them.
_KEPT: OrderedDict[Hashable, _Graph] = OrderedDict()
MOST = 16
_LOCK = threading.Lock()


@dataclass(frozen=True)
class _Graph:
    """A traced function of rows, and for each tensor that it reads besides the position of the variable it belongs to.

    Attributes
    ----------
    function : ConcreteFunction
    places : list of int or None
        None if something else than variables is read.
    """

    function: Any
    places: list[int] | None

    def __call__(self, arguments: list[tf.Tensor], variables: list[Any]) -> Any:
        if self.places is None:
            return self.function(*arguments)
        # not public: a function whose variables are handed over like arguments
        return self.function._call_flat(arguments, [variables[k].value.handle for k in self.places])


def batch_graph(model: keras.Model, step: Callable[[Any], Any], rows: Rows) -> Callable[[NDArray], Any]:
    """A step on the rows of given indices."""
    graph, data, variables = _graph(model, step, rows)
    return lambda index: graph([tf.constant(index, tf.int32), *data], variables)


def epoch_graph(
    model: keras.Model,
    step: Callable[[Any], Any],
    rows: Rows,
    size: int,
    kernels: Sequence[Reading] = (),
    show: Callable[[list[NDArray]], Any] = list,
) -> Callable[[NDArray], Any]:
    """All batches of rows in a given order; what the last one gave is the result.

    Parameters
    ----------
    model, step, rows
    size : int
        Rows of a batch.
    kernels : sequence of Reading, optional
        Kernels to be seen after each step.
    show : callable, optional
        Is given them, of several steps at a time, as arrays ``(n_steps, *kernel.shape)``.
    """
    graph, data, variables = _graph(model, step, rows, kernels)
    batch_size = tf.constant(size, tf.int32)
    if not kernels:
        return lambda order: graph([tf.constant(order, tf.int32), batch_size, *data], variables)[0]
    at_once = size * max(1, STACKED // sum(reading.n_bytes for reading in kernels))

    def run(order: NDArray) -> Any:
        logs = None
        for start in range(0, len(order), at_once):
            part = tf.constant(order[start : start + at_once], tf.int32)
            logs, stacks = graph([part, batch_size, *data], variables)
            show([stack.numpy() for stack in stacks])
        return logs

    return run


def _graph(
    model: keras.Model, step: Callable[[Any], Any], rows: Rows, kernels: Sequence[Reading] | None = None
) -> tuple[_Graph, list[tf.Tensor], list[Any]]:
    """The graph, traced unless a model of the same making has left one, with the rows and the model's variables.

    Without ``kernels`` of one batch, else of an epoch.
    """
    data = [tf.constant(part) for part in rows.arrays]
    variables = variables_of(model)
    specs = [tf.TensorSpec([None, *part.shape[1:]], part.dtype) for part in data]
    made = making(model, step, variables)
    watched = None if kernels is None else tuple(_position(model, reading) for reading in kernels)
    layout = None if rows.inputs is None else rows.inputs.key
    key = None if made is None else (made, watched, layout, *specs)
    with _LOCK:
        graph = _KEPT.get(key)
    if graph is None:

        def on_batch(data: Any) -> Any:
            return step((arranged(model, data[0], rows.inputs), *data[1:]))

        graph = _traced(model, on_batch, specs, kernels, variables)
        if key is not None and graph.places is not None:
            with _LOCK:
                _KEPT[key] = graph
                while len(_KEPT) > MOST:
                    _KEPT.popitem(last=False)
    elif key is not None:
        with _LOCK:
            if key in _KEPT:
                _KEPT.move_to_end(key)
    return graph, data, variables


def _position(model: keras.Model, reading: Reading) -> int:
    """Of the layer that has the kernel."""
    return next(k for k, layer in enumerate(model._flatten_layers()) if layer is reading.layer)


def variables_of(model: keras.Model) -> list[Any]:
    """Each of the model's, its optimizer's and its metrics' variables once."""
    owners = model.variables, model.optimizer.variables, model.metrics_variables
    return list({id(v): v for owner in owners for v in owner}.values())


def _traced(
    model: keras.Model,
    step: Callable[[Any], Any],
    specs: list[tf.TensorSpec],
    kernels: Sequence[Reading] | None,
    variables: list[Any],
) -> _Graph:
    # as in Keras' own loop, the model's Python runs as it is written
    @tf.function(autograph=False, input_signature=[INDEX, *specs], jit_compile=model.jit_compile or None)
    def one(index: tf.Tensor, *data: tf.Tensor) -> Any:
        X, y, *weight = (tf.gather(part, index) for part in data)
        logs = step((X, y, *(tf.math.divide_no_nan(w, tf.reduce_mean(w)) for w in weight)))
        return logs if kernels is None else (logs, [reading.tensor for reading in kernels])

    function = one.get_concrete_function()
    if kernels is not None:
        results, _ = function.structured_outputs
        tensors = [v for v in tf.nest.flatten(results) if v is not None]

        @tf.function(autograph=False, input_signature=[INDEX, SIZE, *specs])
        def epoch(order: tf.Tensor, size: tf.Tensor, *data: tf.Tensor) -> Any:
            n_steps = (tf.shape(order)[0] + size - 1) // size

            def batch(k: tf.Tensor, _: Any, seen: list[tf.TensorArray]) -> tuple[tf.Tensor, Any, list[tf.TensorArray]]:
                logs, now = one(order[k * size : (k + 1) * size], *data)
                seen = [s.write(k, v) for s, v in zip(seen, now, strict=True)]
                return k + 1, [v for v in tf.nest.flatten(logs) if v is not None], seen

            none = [tf.zeros([n or 0 for n in v.shape], v.dtype) for v in tensors]
            seen = [tf.TensorArray(r.tensor.dtype, n_steps, element_shape=r.tensor.shape) for r in kernels]
            shapes = tf.TensorShape([]), [v.shape for v in tensors], [tf.TensorShape(None)] * len(seen)
            _, last, seen = tf.while_loop(lambda k, *_: k < n_steps, batch, (tf.constant(0), none, seen), shapes)
            logs = iter(last)
            return tf.nest.map_structure(lambda v: v if v is None else next(logs), results), [s.stack() for s in seen]

        function = epoch.get_concrete_function()
    return _Graph(function, _places(function, variables))


def _places(function: Any, variables: list[Any]) -> list[int] | None:
    """For each tensor that a function has captured the position of the variable whose handle it is."""
    position = {id(v.value.handle): k for k, v in enumerate(variables) if hasattr(v.value, "handle")}
    places = [position.get(id(tensor)) for tensor in function.captured_inputs]
    return None if None in places else places  # type: ignore[return-value]
