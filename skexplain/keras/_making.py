"""How a compiled model was made, as a key: models with equal keys train by the same operations."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from types import MethodType
from typing import Any

import keras
import numpy as np
from keras.src.models.functional import Functional  # not public, but what keras.Model(inputs, outputs) makes

from ._activation import nodes
from ._default import EmbedCodes, EncodeNumbers, Standardise
from ._gated import ColumnGatedMLP, GatedDense, MeanOfMembers, MembersDense

#: Layers that keep in variables all that training and data change in them.
LAYERS = {
    getattr(keras.layers, name)
    for name in (
        "InputLayer Dense Activation ReLU LeakyReLU PReLU ELU Softmax Dropout SpatialDropout1D GaussianNoise "
        "GaussianDropout AlphaDropout BatchNormalization LayerNormalization Flatten Reshape Permute Identity Rescaling "
        "Add Subtract Multiply Average Maximum Minimum Concatenate Embedding Conv1D Conv2D MaxPooling1D MaxPooling2D "
        "AveragePooling1D AveragePooling2D GlobalAveragePooling1D GlobalAveragePooling2D GlobalMaxPooling1D "
        "GlobalMaxPooling2D"
    ).split()
} | {EmbedCodes, EncodeNumbers, GatedDense, MeanOfMembers, MembersDense, Standardise}
#: Variables that a larger model may not have: a graph keeps those of the model that it was traced for, and next to the
#: training of large models tracing is nothing.
MOST_NUMBERS = 2**18


class _OwnCodeError(Exception):
    """Something is not Keras' own, so its configuration does not say what it does."""


def making(model: Any, step: Callable[[Any], Any], variables: list[Any]) -> Hashable | None:
    """Key of a compiled model with its step of training or testing; None if it cannot be told.

    Two models with the same key differ in their variables only, such as weights, the state of the optimizer with its
    learning rate, and the states of random generators. Names of layers do not count.

    Parameters
    ----------
    model : keras.Model
    step : bound method
        Its ``train_step`` or ``test_step``.
    variables : list
        All of the model's, its optimizer's and its metrics' variables.
    """
    kind = type(model)
    if (
        kind not in (keras.Sequential, ColumnGatedMLP, Functional)
        or sum(int(np.prod(v.shape)) for v in variables) > MOST_NUMBERS
    ):
        return None
    compiled = getattr(model, "_compile_config", None)
    if compiled is None or not isinstance(step, MethodType):
        return None
    try:
        return (
            kind,
            step.__func__,
            _layers(model),
            _optimizer(model.optimizer),
            _described({name: v for name, v in compiled.config.items() if name != "optimizer"}),
            _variables(model, variables),
            model.jit_compile,
            _settings(),
        )
    except _OwnCodeError:
        return None


def _layers(model: Any) -> Hashable:
    """Layers and, where they are more than a sequence, what is handed from which to which."""
    _refuse_own_code(model)
    operations = model.layers if isinstance(model, keras.Sequential) else model.operations
    described = tuple(_layer(layer) for layer in operations)
    if isinstance(model, keras.Sequential):
        order = {id(layer): k for k, layer in reversed(list(enumerate(operations)))}
        return described, tuple(order[id(layer)] for layer in operations)
    position = {id(operation): k for k, operation in enumerate(operations)}

    def place(tensor: Any) -> Hashable:
        history = tensor._keras_history
        return "tensor", position[id(history.operation)], history.node_index, history.tensor_index

    calls = tuple(
        (
            tuple(place(t) for t in call.outputs),
            _described(call.arguments.args, place),
            _described(call.arguments.kwargs, place),
        )
        for call in nodes(model)
    )
    return described, calls, tuple(place(t) for t in (*model.inputs, *model.outputs))


def _layer(layer: Any) -> Hashable:
    if type(layer) not in LAYERS:
        raise _OwnCodeError
    _refuse_own_code(layer)
    config = {name: v for name, v in layer.get_config().items() if name != "name"}
    return type(layer), type(layer).call, layer.autocast, _described(config)  # the method, as it may be replaced


def _optimizer(optimizer: Any) -> Hashable:
    if not _is_keras(optimizer):
        raise _OwnCodeError
    rate = optimizer._learning_rate  # not public; a schedule as it was given
    by_variable = isinstance(rate, keras.Variable)
    if not by_variable and not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        raise _OwnCodeError
    if type(optimizer) is keras.optimizers.LossScaleOptimizer or hasattr(optimizer, "_exclude_from_weight_decay"):
        raise _OwnCodeError
    _refuse_own_code(optimizer)
    config = {name: v for name, v in optimizer.get_config().items() if name not in ("name", "learning_rate")}
    return type(optimizer), _described(config), None if by_variable else _described(rate)


def _variables(model: Any, variables: list[Any]) -> Hashable:
    trained = {id(v): k for k, v in enumerate(variables)}
    slots = getattr(model.optimizer, "_trainable_variables", [])  # not public; those it was built for, in its order
    return (
        tuple(trained.get(id(v)) for v in slots),
        tuple((tuple(v.shape), v.dtype, v.value.device) for v in variables),
        tuple((trained[id(v)], _described(v.regularizer), _described(v.constraint)) for v in model.trainable_variables),
    )


def _settings() -> Hashable:
    """What is set for all of Keras."""
    config = keras.config
    return config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy().name


def _described(item: Any, place: Callable[[Any], Hashable] | None = None) -> Hashable:
    """An argument by its value, or by class and configuration."""
    if place is not None and isinstance(item, keras.KerasTensor):
        return place(item)
    if item is None or isinstance(item, bool | int | float | str):
        return type(item), item
    if isinstance(item, np.ndarray | np.generic):
        return type(item), str(item.dtype), item.shape, item.tobytes()
    if isinstance(item, list | tuple):
        return type(item), tuple(_described(one, place) for one in item)
    if isinstance(item, Mapping):
        return dict, tuple((name, _described(item[name], place)) for name in sorted(item))
    if not _is_keras(item):
        raise _OwnCodeError
    if not hasattr(item, "get_config"):
        return item
    _refuse_own_code(item)
    more = None
    if isinstance(item, keras.Loss | keras.Metric):  # whose configuration may leave these out
        more = item.dtype, _described(getattr(item, "_fn_kwargs", None))
    return type(item), _described(item.get_config(), place), more


def _refuse_own_code(item: Any) -> None:
    """Functions that are not Keras' own, in the place of a method or handed over, that names may hide."""
    for name, held in vars(item).items():
        if callable(held) and not (_is_keras(held) and name not in ("call", "train_step", "test_step")):
            raise _OwnCodeError


def _is_keras(item: Any) -> bool:
    module = getattr(item, "__module__", None) or type(item).__module__
    return module.startswith(("keras.", "skexplain.keras."))
