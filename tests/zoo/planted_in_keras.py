"""The networks of the planted truths in Keras, with the weights of those in torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from . import in_torch, planted_in_torch


def categories() -> keras.Model:
    x = layers.Input((4,))
    first = layers.Embedding(5, 3, name="first")(ops.cast(x[:, 1], "int32"))
    second = layers.Embedding(4, 2, name="second")(ops.cast(x[:, 3], "int32"))
    h = layers.Dense(16, "relu", name="a")(ops.concatenate([first, second, x[:, 0:1], x[:, 2:3]], axis=1))
    return keras.Model(x, layers.Dense(3, name="out")(h))


def pictures() -> keras.Model:
    """Channels last."""
    convolution = layers.Conv2D(8, 3, padding="same", activation="relu", name="a", data_format="channels_last")
    pool = layers.GlobalMaxPooling2D(data_format="channels_last")
    return keras.Sequential([layers.Input((6, 6, 1)), convolution, pool, layers.Dense(3, name="out")])


def sequences() -> keras.Model:
    convolution = layers.Conv1D(8, 3, padding="same", activation="relu", name="a", data_format="channels_last")
    dense = layers.Dense(16, "relu", name="b")
    return keras.Sequential([layers.Input((6, 2)), convolution, layers.Flatten(), dense, layers.Dense(3, name="out")])


def words() -> keras.Model:
    embed, dense = layers.Embedding(12, 6, name="embed"), layers.Dense(12, "relu", name="a")
    pool = layers.GlobalAveragePooling1D(data_format="channels_last")
    return keras.Sequential([layers.Input((5,)), embed, dense, pool, layers.Dense(3, name="out")])


def several() -> keras.Model:
    codes, numbers = layers.Input((1,), name="codes"), layers.Input((2,), name="numbers")
    vector = layers.Flatten()(layers.Embedding(5, 3, name="embed")(codes))
    h = layers.Dense(16, "relu", name="a")(layers.Concatenate()([vector, numbers]))
    return keras.Model({"codes": codes, "numbers": numbers}, layers.Dense(3, name="out")(h))


MADE: dict[str, Callable[[], keras.Model]] = {
    "categories": categories,
    "pictures": pictures,
    "sequences": sequences,
    "words": words,
    "several inputs": several,
}


@cache
def net(kind: str) -> keras.Model:
    """A network of the kind, as trained in torch."""
    model, teacher = MADE[kind](), dict(planted_in_torch.net(kind).named_modules())
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(in_torch.numbers(teacher[layer.name]))
    return model


def readable(kind: str, X: Any) -> Any:
    return X


def columns_last(kind: str, values: NDArray) -> NDArray:
    return np.asarray(values)
