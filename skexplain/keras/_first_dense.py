"""Does the input go straight into one dense layer? Then that layer's work is done once, not once a node or column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ._activation import has_graph, nodes
from ._default import Standardise

#: Layers that pass rows on unchanged when nothing is trained.
PASSING = (
    keras.layers.InputLayer,
    keras.layers.Identity,
    keras.layers.Flatten,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
    keras.layers.ActivityRegularization,
)


@dataclass(frozen=True)
class FirstDense:
    """A dense layer whose pre-activations are affine in the model's input.

    Attributes
    ----------
    layer : keras.layers.Dense
    weight : ndarray of shape (n_features, units)
        Slope of the pre-activations, with the scales of what stands before folded in.
    """

    layer: Any
    weight: NDArray


def first_dense(layers: Iterable[Any], features: tuple[int, ...]) -> FirstDense | None:
    """Find the dense layer that takes all of the input and is the only one to see it, or None.

    Parameters
    ----------
    layers : iterable of keras.layers.Layer
        Of a built model, as from `each_alone`.
    features : tuple of int
        Shape of one row.
    """
    chain = _chain(layers)
    if chain is None:
        return None
    *before, dense = chain
    if len(features) > 1 and not any(isinstance(layer, keras.layers.Flatten) for layer in before):
        return None
    slope = np.ones(features)
    for layer in before:
        scale = _scale(layer)
        if scale is None:
            return None
        flat = isinstance(layer, keras.layers.Flatten)
        slope = (slope * scale).ravel() if flat else slope * scale
    kernel = np.asarray(dense.kernel, dtype=np.float64)
    if slope.size != len(kernel):
        return None
    return FirstDense(dense, slope.reshape(-1, 1) * kernel)


def _chain(layers: Iterable[Any]) -> list[Any] | None:
    """Layers from the input to the first dense one, each the only reader of the one before."""
    chain = []
    for layer in layers:
        if layer is None:
            return None
        chain.append(layer)
        if type(layer) is keras.layers.Dense and "call" not in vars(layer):
            return chain
        if _scale(layer) is None:
            return None
    return None


def each_alone(model: Any) -> Iterator[Any]:
    """Layers from the input on, as long as each is the only reader of the one before and used once; then None."""
    if not has_graph(model):
        yield None
    elif isinstance(model, keras.Sequential):
        for layer in model.layers:
            yield layer if sum(other is layer for other in model.layers) == 1 else None
    else:
        yield from _along(model)


def _along(model: Any) -> Iterator[Any]:
    """The same for a functional model."""
    calls, tensor = nodes(model), model.inputs[0]
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        yield None
        return
    while True:
        readers = [c for c in calls if any(t is tensor for t in c.arguments.keras_tensors)]
        if tensor is model.outputs[0] and not readers:
            return
        alone = len(readers) == 1 and tensor is not model.outputs[0] and len(readers[0].arguments.keras_tensors) == 1
        if not alone or sum(c.operation is readers[0].operation for c in calls) != 1:
            yield None
            return
        yield readers[0].operation
        tensor = readers[0].outputs[0]


def _scale(layer: Any) -> NDArray | float | None:
    """Factor by which a layer multiplies each of its inputs, None for layers that do something else."""
    affine = affine_of(layer)
    return None if affine is None else affine[0]


def affine_of(layer: Any) -> tuple[NDArray | float, NDArray | float] | None:
    """Scale and shift of layers that are nothing else when nothing is trained, with as many axes as a row or fewer."""
    kind = type(layer)  # a subclass may do anything
    if "call" in vars(layer):
        return None
    if kind in PASSING:
        return 1.0, 0.0
    if kind is Standardise:
        mean, scale = _numbers(layer.mean), _numbers(layer.scale)
        return (scale, mean) if layer.inverse else (1 / scale, -mean / scale)
    if kind is keras.layers.Rescaling:
        return np.asarray(layer.scale, dtype=np.float64), np.asarray(layer.offset, dtype=np.float64)
    if kind is keras.layers.Normalization:
        if not layer.built or layer.mean is None:
            return None
        mean, deviation = _numbers(layer.mean)[0], np.sqrt(_numbers(layer.variance)[0])
        deviation = np.maximum(deviation, keras.config.epsilon())
        return (deviation, mean) if layer.invert else (1 / deviation, -mean / deviation)
    if kind is keras.layers.BatchNormalization:
        if not layer.built or layer.axis not in (-1, layer.input_spec.ndim - 1):
            return None
        deviation = np.sqrt(_numbers(layer.moving_variance) + layer.epsilon)
        scale = (_numbers(layer.gamma) if layer.scale else 1.0) / deviation
        return scale, (_numbers(layer.beta) if layer.center else 0.0) - _numbers(layer.moving_mean) * scale
    return None


def _numbers(v: Any) -> NDArray:
    return np.asarray(keras.ops.convert_to_numpy(v), dtype=np.float64)
