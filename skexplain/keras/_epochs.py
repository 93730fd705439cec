"""A pass over rows as one TensorFlow graph, which models of the same making share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from numpy.typing import NDArray

from ._making import making

if TYPE_CHECKING:
    from ._training import Rows

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
    graph, data, variables = _graph(model, step, rows, whole=False)
    return lambda index: graph([tf.constant(index, tf.int32), *data], variables)


def epoch_graph(model: keras.Model, step: Callable[[Any], Any], rows: Rows, size: int) -> Callable[[NDArray], Any]:
    """All batches of rows in a given order; what the last one gave is the result."""
    graph, data, variables = _graph(model, step, rows, whole=True)
    batch_size = tf.constant(size, tf.int32)
    return lambda order: graph([tf.constant(order, tf.int32), batch_size, *data], variables)


def _graph(
    model: keras.Model, step: Callable[[Any], Any], rows: Rows, whole: bool
) -> tuple[_Graph, list[tf.Tensor], list[Any]]:
    """The graph, traced unless a model of the same making has left one, with the rows and the model's variables."""
    data = [tf.constant(part) for part in rows if part is not None]
    variables = variables_of(model)
    specs = [tf.TensorSpec([None, *part.shape[1:]], part.dtype) for part in data]
    made = making(model, step, variables)
    key = None if made is None else (made, whole, *specs)
    with _LOCK:
        graph = _KEPT.get(key)
    if graph is None:
        graph = _traced(model, step, specs, whole, variables)
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


def variables_of(model: keras.Model) -> list[Any]:
    """Each of the model's, its optimizer's and its metrics' variables once."""
    owners = model.variables, model.optimizer.variables, model.metrics_variables
    return list({id(v): v for owner in owners for v in owner}.values())


def _traced(
    model: keras.Model, step: Callable[[Any], Any], specs: list[tf.TensorSpec], whole: bool, variables: list[Any]
) -> _Graph:
    # as in Keras' own loop, the model's Python runs as it is written
    @tf.function(autograph=False, input_signature=[INDEX, *specs], jit_compile=model.jit_compile or None)
    def one(index: tf.Tensor, *data: tf.Tensor) -> Any:
        X, y, *weight = (tf.gather(part, index) for part in data)
        return step((X, y, *(tf.math.divide_no_nan(w, tf.reduce_mean(w)) for w in weight)))

    function = one.get_concrete_function()
    if whole:
        results = function.structured_outputs
        tensors = [v for v in tf.nest.flatten(results) if v is not None]

        @tf.function(autograph=False, input_signature=[INDEX, SIZE, *specs])
        def epoch(order: tf.Tensor, size: tf.Tensor, *data: tf.Tensor) -> Any:
            def batch(start: tf.Tensor, _: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
                logs = one(order[start : start + size], *data)
                return start + size, [v for v in tf.nest.flatten(logs) if v is not None]

            start = tf.constant(0), [tf.zeros([n or 0 for n in v.shape], v.dtype) for v in tensors]
            shapes = tf.TensorShape([]), [v.shape for v in tensors]
            _, last = tf.while_loop(lambda start, _: start < tf.shape(order)[0], batch, start, shapes)
            logs = iter(last)
            return tf.nest.map_structure(lambda v: v if v is None else next(logs), results)

        function = epoch.get_concrete_function()
    return _Graph(function, _places(function, variables))


def _places(function: Any, variables: list[Any]) -> list[int] | None:
    """For each tensor that a function has captured the position of the variable whose handle it is."""
    position = {id(v.value.handle): k for k, v in enumerate(variables) if hasattr(v.value, "handle")}
    places = [position.get(id(tensor)) for tensor in function.captured_inputs]
    return None if None in places else places  # type: ignore[return-value]
