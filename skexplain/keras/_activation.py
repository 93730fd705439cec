"""What a model ends in, and how to look behind it without changing the model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
from keras.src.models.functional import Functional  # not public, but what keras.Model(inputs, outputs) makes

from ..exceptions import UnsupportedModelError
from ._default import every_layer
from ._table import without_table

SQUASHING = ("softmax", "sigmoid")
#: Held for as long as part of any model is replaced, and by whoever runs a model's Python code or looks at its parts:
#: another thread would see the replacement, or take it for the model's own and put it back later.
exclusive = threading.RLock()
if keras.backend.backend() == "torch":  # where attributes are put back as well: with two locks threads might block
    from ..torch import _untouched

    exclusive = _untouched._ONE_AT_A_TIME
#: Layers and operations after which the numbers of a row are the same, in the same order.
PASSING = (
    "Reshape",
    "Flatten",
    "Identity",
    "Squeeze",
    "ExpandDims",
    "Ravel",
    "Cast",
    "Dropout",
    "ActivityRegularization",
)


def last_operation(model: keras.Model) -> Any | None:
    """The layer or operation that gives the model's output; None for models without a graph.

    Models inside models are looked into, and layers that only give numbers another shape are looked past. An operation
    that is used in more than one place gives None too, as taking it off at the end would change the other place.
    """
    model = without_table(model)
    while has_graph(model):
        last, uses = _last_sequential(model) if isinstance(model, keras.Sequential) else _last_functional(model)
        if uses != 1:
            return None
        if not isinstance(last, keras.Model):
            return last
        model = last
    return None


def _last_sequential(model: Any) -> tuple[Any, int]:
    last = next((layer for layer in reversed(model.layers) if not _passes_on(layer)), None)
    return last, sum(layer is last for layer in model.layers)


def _last_functional(model: Any) -> tuple[Any, int]:
    calls, tensor = nodes(model), model.outputs[0]
    while True:
        history = tensor._keras_history
        call = history.operation._inbound_nodes[history.node_index]
        readers = sum(any(t is tensor for t in other.arguments.keras_tensors) for other in calls)
        uses = sum(other.operation is history.operation for other in calls)
        if tensor is not model.outputs[0] and readers != 1:
            return None, 0
        if not _passes_on(history.operation) or len(call.arguments.keras_tensors) != 1:
            return history.operation, uses
        tensor = call.arguments.keras_tensors[0]


def _passes_on(operation: Any) -> bool:
    """Whether an operation leaves the numbers of a row as they are, when nothing is trained."""
    return type(operation).__name__ in PASSING and type(operation).__module__.startswith("keras.")


def has_graph(model: keras.Model) -> bool:
    """Whether the order of the model's layers is known: Sequential or functional, with Keras' own ``call``."""
    if isinstance(model, keras.Sequential):
        return type(model).call is keras.Sequential.call
    return isinstance(model, Functional) and type(model).call is Functional.call


def nodes(model: Any) -> list[Any]:
    """Calls of layers and operations that a functional model consists of."""
    return [node for depth in model._nodes_by_depth.values() for node in depth]


def activation_name(operation: Any) -> str:
    """The activation that an operation ends in: "softmax", "sigmoid", "linear" or "other"."""
    if operation is None:
        return "other"
    activation = getattr(operation, "activation", None)
    if callable(activation):
        name = getattr(activation, "__name__", type(activation).__name__)
    elif type(operation).__module__.startswith("keras."):
        name = type(operation).__name__
        name = name if name in ACTIVATIONS or "activation" in type(operation).__module__ else "linear"
    else:
        name = "linear"
    name = name.lower()
    return name if name in (*SQUASHING, "linear") else "other"


#: Operations and layers that are an activation and nothing else.
ACTIVATIONS = ("Softmax", "Sigmoid", "Relu", "Tanh", "LogSoftmax")


@contextmanager
def without_activation(operation: Any) -> Iterator[None]:
    """For the time of the block the operation gives what stands before its softmax or sigmoid."""
    with ExitStack() as stack:
        if callable(getattr(operation, "activation", None)):
            replace = stack.enter_context(replaced(operation, "activation"))
            replace(keras.activations.linear)
        else:
            replace = stack.enter_context(replaced(operation, "call"))
            replace(lambda inputs, *args, **kwargs: inputs)
        yield


@contextmanager
def calling(layer: keras.Layer, function: Any) -> Iterator[None]:
    """For the time of the block the layer does what ``function`` does."""
    with replaced(layer, "call") as replace:
        replace(function)
        yield


@contextmanager
def unrolled(model: keras.Model) -> Iterator[None]:
    """For the time of the block recurrent layers repeat their operations instead of running a loop."""
    with ExitStack() as stack:
        for layer in every_layer(model):
            if isinstance(layer, keras.layers.RNN):
                stack.enter_context(replaced(layer, "unroll"))(True)
        yield


@contextmanager
def replaced(owner: Any, name: str) -> Iterator[Any]:
    """Set an attribute past the framework's bookkeeping, and put it back."""
    with exclusive:
        own = name in vars(owner)
        old = vars(owner).get(name)
        try:
            yield lambda value: object.__setattr__(owner, name, value)
        finally:
            if own:
                object.__setattr__(owner, name, old)
            else:
                object.__delattr__(owner, name)


def is_built(model: keras.Model) -> bool:
    """Whether no layer waits for its first call to make its weights."""
    return model.built and all(layer.built for layer in every_layer(model))


@contextmanager
def unchanged(model: keras.Model, *, building: bool = False) -> Iterator[None]:
    """Put back the variables that a call of the model may assign although `call` asks it not to.

    These are all that there are when it is being built, and TensorFlow's own, which Keras does not know of.
    """
    owners = model._flatten_layers() if keras.backend.backend() == "tensorflow" else ()
    kept = [v for owner in owners for v in vars(owner).values() if hasattr(v, "read_value")]
    kept += model.variables if building else []
    with exclusive if kept else nullcontext():
        old = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in kept]
        try:
            yield
        finally:
            for v, value in old:
                v.assign(value)


def squashing_layers(model: keras.Model) -> list[Any]:
    """Layers that apply a softmax or sigmoid, last first: candidates in models without a graph."""
    return [layer for layer in reversed(every_layer(model)) if activation_name(layer) in SQUASHING]


def call(model: keras.Model, x: Any, *, building: bool = False) -> Any:
    """The model's output in inference mode, for inputs of whatever type it reads.

    Unless weights are still to be made, variables stay as they are: what a call assigns, such as a count or a
    recurrent state, is seen by the rest of that call only.
    """
    if getattr(model, "inputs", None):
        x = keras.ops.cast(x, model.inputs[0].dtype)
    with exclusive, nullcontext() if building else keras.StatelessScope():
        out = model(x, training=False) if getattr(model, "_call_has_training_arg", True) else model(x)
    out = list(out.values()) if isinstance(out, dict) else out
    if not isinstance(out, list | tuple):
        return out
    if len(out) != 1:
        raise UnsupportedModelError(f"The model has {len(out)} outputs; wrap it in a keras.Model with one of them.")
    return out[0]
