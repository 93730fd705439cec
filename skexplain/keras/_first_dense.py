"""Does the input go straight into one dense layer? Then that layer's work is done once, not once a node or column."""

from __future__ import annotations

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


def first_dense(model: keras.Model, features: tuple[int, ...]) -> FirstDense | None:
    """Find the dense layer that takes all of the input and is the only one to see it, or None.

    Parameters
    ----------
    model : keras.Model
        Built.
    features : tuple of int
        Shape of one row.
    """
    chain = _chain(model)
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


def _chain(model: Any) -> list[Any] | None:
    """Layers from the input to the first dense one, each the only reader of the one before."""
    if not has_graph(model):
        return None
    return _sequential_chain(model) if isinstance(model, keras.Sequential) else _functional_chain(model)


def _sequential_chain(model: Any) -> list[Any] | None:
    chain = []
    for layer in model.layers:
        chain.append(layer)
        if type(layer) is keras.layers.Dense:
            return chain if sum(other is layer for other in model.layers) == 1 else None
        if _scale(layer) is None:
            return None
    return None


def _functional_chain(model: Any) -> list[Any] | None:
    calls, chain = nodes(model), []
    if len(model.inputs) != 1:
        return None
    tensor = model.inputs[0]
    while True:
        readers = [c for c in calls if any(t is tensor for t in c.arguments.keras_tensors)]
        if len(readers) != 1 or any(tensor is t for t in model.outputs):
            return None
        layer = readers[0].operation
        if sum(c.operation is layer for c in calls) != 1:
            return None
        chain.append(layer)
        if type(layer) is keras.layers.Dense:
            return chain
        if _scale(layer) is None:
            return None
        tensor = readers[0].outputs[0]


def _scale(layer: Any) -> NDArray | float | None:
    """Factor by which a layer multiplies each of its inputs, None for layers that do something else."""
    if isinstance(layer, PASSING):
        return 1.0
    if isinstance(layer, Standardise):
        scale = np.asarray(layer.scale, dtype=np.float64)
        return scale if layer.inverse else 1 / scale
    if isinstance(layer, keras.layers.Rescaling):
        return np.asarray(layer.scale, dtype=np.float64)
    if isinstance(layer, keras.layers.Normalization):
        if not layer.built or layer.mean is None:
            return None
        deviation = np.sqrt(np.asarray(keras.ops.convert_to_numpy(layer.variance), dtype=np.float64))
        deviation = np.maximum(deviation, keras.config.epsilon())[0]
        return deviation if layer.invert else 1 / deviation
    if isinstance(layer, keras.layers.BatchNormalization):
        if not layer.built or layer.axis not in (-1, layer.input_spec.ndim - 1):
            return None
        variance = np.asarray(layer.moving_variance, dtype=np.float64)
        gamma = np.asarray(layer.gamma, dtype=np.float64) if layer.scale else 1.0
        return gamma / np.sqrt(variance + layer.epsilon)
    return None
